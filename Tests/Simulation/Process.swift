// One process of the proxy: its worker, with what the threads of a process share, on the simulated kernel.

import Platform
import Policy
import Proxy

final class Process {
  let shared: ProcessShared
  let worker: Worker
  private let sources: [ListenerSource]
  private let operational: LogQueue
  /// Lines about exchanges in its access log.
  private(set) var recorded: UInt64 = 0
  private(set) var isOver = false

  init(_ snapshot: Snapshot, listeners: [(name: String, at: Endpoint)]) throws {
    operational = try LogQueue(bytesMax: 1 << 20)
    shared = try ProcessShared(workers: 1, replayWindowBits: 1 << 10, log: OperationalLog(queue: operational))
    sources = listeners.enumerated().map { index, listener in
      ListenerSource(
        name: listener.name, socket: index + 1, descriptor: kernel.makeListener(listener.at), isShared: false)
    }
    worker = try Worker(index: 0, shared: shared, snapshot: snapshot, sources: sources)
  }

  func turn() {
    guard !isOver else { return }
    worker.turn()
    if worker.isStopped { end() }
  }

  /// A reload takes effect at once, between two events.
  func reload(_ snapshot: Snapshot) {
    guard !isOver else { return }
    shared.mailboxes[0].post(.reload(snapshot, sources))
    worker.turn()
  }

  func drain(_ schedule: DrainSchedule) { shared.mailboxes[0].post(.drain(schedule)) }

  func end() {
    guard !isOver else { return }
    isOver = true
    worker.end()
  }

  func count(_ counter: Counter) -> UInt64 { shared.counters[0].value(counter) }

  func readLog(_ take: (String) -> Void) {
    for lines in shared.accessLog.takeLines(most: 1 << 20) {
      for line in String(decoding: lines, as: UTF8.self).split(separator: "\n") {
        // A connection that was refused before any request has none of these.
        if line.contains("\"bytes_in\":"), !line.contains(",\"bytes_in\":0,\"bytes_out\":0,\"duration_ms\"") {
          recorded += 1
        }
        take(String(line))
      }
    }
    _ = operational.takeLines(most: 1 << 20)
  }
}
