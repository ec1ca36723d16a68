// What a worker is told holds from then on, whatever its next events are: a head that waited before is judged by it.

import Glibc
import Platform
import Policy
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct ToldWorkerTests {
  private final class Socket {
    let descriptor: Int32
    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { Sockets.closeDescriptor(descriptor) }

    static func listening() throws -> Socket {
      Socket(try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0)))
    }

    var port: UInt16 { if case .ip(_, let port) = Sockets.local(descriptor) { port } else { 0 } }

    func send(_ text: String) {
      let bytes = Array(text.utf8)
      #expect(
        bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } == bytes.count)
    }
  }

  private let listener: Socket
  private let (shared, worker): (ProcessShared, Worker)

  private static func snapshot(_ rule: String = "socket", generation: UInt64) throws -> Snapshot {
    let read = ConfigReader.read(
      text: """
        listeners: [{ name: web, listen: "127.0.0.1:0", trust: [{ from: any, evidence: \(rule) }] }]
        routes: [{ name: all, respond: { status: 200, body: here } }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        """, path: "edge.yaml")
    let built = Snapshot.build(
      try #require(read.config, "\(read.diagnostics)"), generation: generation, tickets: try TicketKeys())
    return try #require(built.snapshot, "\(built.diagnostics)")
  }

  private var source: ListenerSource {
    get throws {
      ListenerSource(
        name: "web", socket: 1, descriptor: try Sockets.duplicate(listener.descriptor), isShared: false)
    }
  }

  init() throws {
    listener = try Socket.listening()
    let snapshot = try Self.snapshot(generation: 1)
    shared = try ProcessShared(
      workers: 1, replayWindowBits: 1 << 10, log: OperationalLog(queue: try LogQueue(bytesMax: 1 << 16)))
    shared.routes.take(snapshot.config)
    shared.servers.take(snapshot, isFirst: true, nowMilliseconds: Clock.monotonicMilliseconds())
    let source = ListenerSource(
      name: "web", socket: 1, descriptor: try Sockets.duplicate(listener.descriptor), isShared: false)
    worker = try Worker(index: 0, shared: shared, snapshot: snapshot, sources: [source])
  }

  private func connect() throws -> Socket {
    let connection = Socket(
      try Sockets.connect(to: .ip(IPAddress(v4: 0x7f00_0001), port: listener.port), from: IPAddress(v4: 0x7f00_0002)).fd
    )
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in 0..<5 where worker.census.clientConnections == 0 { worker.turn() }
    worker.turn()
    return connection
  }

  private func status(_ connection: Socket) throws -> String {
    var answer: [UInt8] = []
    for _ in 0..<20 where answer.isEmpty {
      worker.turn()
      answer = waitingBytes(connection.descriptor)
    }
    return String(decoding: answer.prefix { $0 != 0x0d }, as: UTF8.self)
  }

  @Test func aHeadIsJudgedByTheReloadThatCameBeforeIt() throws {
    defer { worker.end() }
    let connection = try connect()
    // Its event is in front of that of the message.
    connection.send("\r\n")
    let (next, source) = (try Self.snapshot("refuse", generation: 2), try source)
    shared.tell { _ in .reload(next, [source]) }
    let status = try status(connection)
    #expect(status == "HTTP/1.1 503 Service Unavailable")
  }

  @Test func aHeadIsJudgedByTheClosureThatCameBeforeIt() throws {
    defer { worker.end() }
    let connection = try connect()
    connection.send("\r\n")
    #expect(shared.routes.close("all", forMilliseconds: nil, why: "", user: 0, now: Clock.read()))
    shared.tellOfRoutes()
    let status = try status(connection)
    #expect(status == "HTTP/1.1 503 Service Unavailable")
  }

  @Test func aHeadIsAnsweredWhereNothingWasTold() throws {
    defer { worker.end() }
    let connection = try connect()
    connection.send("\r\n")
    let status = try status(connection)
    #expect(status == "HTTP/1.1 200 OK")
  }
}
