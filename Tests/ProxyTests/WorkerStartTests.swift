// None of a process's workers runs before all are made, and none where one cannot be.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct WorkerStartTests {
  private static let count = 3
  private let (shared, snapshot): (ProcessShared, Snapshot)

  init() throws {
    snapshot = try TurnedWorker.snapshot(
      """
      listeners: [{ name: web, listen: "127.0.0.1:0", trust: [{ from: [127.0.0.1], evidence: socket }] }]
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      """)
    shared = try TurnedWorker.shared(snapshot, workers: Self.count)
    // Whoever runs sees that it is to stop, and is counted.
    for mailbox in shared.mailboxes { mailbox.post(.stop) }
  }

  private func makeAll(
    _ start: WorkerStart, before: @escaping @Sendable (Int) throws(SystemError) -> Void = { _ in }
  ) throws(SystemError) -> [WorkerThread] {
    let (shared, snapshot) = (shared, snapshot)
    return try start.makeAll { index throws(SystemError) in
      try before(index)
      // The listening socket is the worker's to close.
      let descriptor = try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))
      let source = ListenerSource(name: "web", socket: 1, descriptor: descriptor, isShared: false)
      return try Worker(index: index, shared: shared, snapshot: snapshot, sources: [source])
    }
  }

  @Test func noneRunsBeforeItIsToldTo() throws {
    let start = try WorkerStart(count: Self.count)
    let threads = try makeAll(start)
    #expect(threads.count == Self.count && shared.stoppedWorkers == 0)
    start.run()
    for thread in threads { thread.join() }
    #expect(shared.stoppedWorkers == Self.count)
  }

  @Test func noneRunsWhereTheStartIsGivenUp() throws {
    let start = try WorkerStart(count: Self.count)
    start.giveUp(try makeAll(start))
    #expect(shared.stoppedWorkers == 0)
  }

  @Test(arguments: 0..<count) func noneRunsWhereOneCannotBeMade(_ one: Int) throws {
    let start = try WorkerStart(count: Self.count)
    let fault = #expect(throws: SystemError.self) {
      _ = try makeAll(start) { index throws(SystemError) in
        if index == one { throw SystemError("epoll_create1", code: 24) }
      }
    }
    #expect(fault?.call == "epoll_create1" && shared.stoppedWorkers == 0)
  }
}
