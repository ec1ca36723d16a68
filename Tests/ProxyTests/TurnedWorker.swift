// A process with one worker that a test turns by hand, on a listening socket of its own.

import Platform
import Policy
import Proxy
import Testing
import Wire

struct TurnedWorker {
  let listener: TestSocket
  let (shared, worker): (ProcessShared, Worker)

  init(_ text: String) throws {
    let snapshot = try Self.snapshot(text)
    listener = try TestSocket.listening()
    shared = try Self.shared(snapshot)
    worker = try Worker(index: 0, shared: shared, snapshot: snapshot, sources: [try Self.source(of: listener)])
  }

  /// What a worker accepts from; another one for each snapshot.
  var source: ListenerSource { get throws { try Self.source(of: listener) } }

  private static func source(of listener: TestSocket) throws -> ListenerSource {
    ListenerSource(name: "web", socket: 1, descriptor: try Sockets.duplicate(listener.descriptor), isShared: false)
  }

  /// - Parameter text: a configuration whose only listener is `web`.
  static func snapshot(_ text: String, generation: UInt64 = 1) throws -> Snapshot {
    let read = ConfigReader.read(text: text, path: "edge.yaml")
    let built = Snapshot.build(
      try #require(read.config, "\(read.diagnostics)"), generation: generation, tickets: try TicketKeys())
    return try #require(built.snapshot, "\(built.diagnostics)")
  }

  static func shared(_ snapshot: Snapshot, workers: Int = 1) throws -> ProcessShared {
    let shared = try ProcessShared(
      workers: workers, replayWindowBits: 1 << 10, log: OperationalLog(queue: try LogQueue(bytesMax: 1 << 16)))
    shared.routes.take(snapshot.config)
    shared.servers.take(snapshot, isFirst: true, nowMilliseconds: Clock.monotonicMilliseconds())
    return shared
  }

  /// A client's connection, from another address than the listener's own.
  func connect() throws -> TestSocket {
    let address = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: listener.port)
    return TestSocket(try Sockets.connect(to: address, from: IPAddress(v4: 0x7f00_0002)).fd)
  }
}
