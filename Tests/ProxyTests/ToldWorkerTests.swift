// What a worker is told holds from then on, whatever its next events are: a head that waited before is judged by it.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct ToldWorkerTests {
  private let listener: TestSocket
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
    listener = try TestSocket.listening()
    let snapshot = try Self.snapshot(generation: 1)
    shared = try ProcessShared(
      workers: 1, replayWindowBits: 1 << 10, log: OperationalLog(queue: try LogQueue(bytesMax: 1 << 16)))
    shared.routes.take(snapshot.config)
    shared.servers.take(snapshot, isFirst: true, nowMilliseconds: Clock.monotonicMilliseconds())
    let source = ListenerSource(
      name: "web", socket: 1, descriptor: try Sockets.duplicate(listener.descriptor), isShared: false)
    worker = try Worker(index: 0, shared: shared, snapshot: snapshot, sources: [source])
  }

  private func connect() throws -> TestSocket {
    let connection = TestSocket(
      try Sockets.connect(to: .ip(IPAddress(v4: 0x7f00_0001), port: listener.port), from: IPAddress(v4: 0x7f00_0002)).fd
    )
    try connection.send(text: "GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in 0..<5 where worker.census.clientConnections == 0 { worker.turn() }
    worker.turn()
    return connection
  }

  private func status(_ connection: TestSocket) throws -> String {
    var answer: [UInt8] = []
    for _ in 0..<20 where answer.isEmpty {
      worker.turn()
      answer = connection.receive()
    }
    return String(decoding: answer.prefix { $0 != 0x0d }, as: UTF8.self)
  }

  @Test func aHeadIsJudgedByTheReloadThatCameBeforeIt() throws {
    defer { worker.end() }
    let connection = try connect()
    // Its event is in front of that of the message.
    try connection.send(text: "\r\n")
    let (next, source) = (try Self.snapshot("refuse", generation: 2), try source)
    shared.tell { _ in .reload(next, [source]) }
    let status = try status(connection)
    #expect(status == "HTTP/1.1 503 Service Unavailable")
  }

  @Test func aHeadIsJudgedByTheClosureThatCameBeforeIt() throws {
    defer { worker.end() }
    let connection = try connect()
    try connection.send(text: "\r\n")
    #expect(shared.routes.close("all", forMilliseconds: nil, why: "", user: 0, now: Clock.read()))
    shared.tellOfRoutes()
    let status = try status(connection)
    #expect(status == "HTTP/1.1 503 Service Unavailable")
  }

  @Test func aHeadIsAnsweredWhereNothingWasTold() throws {
    defer { worker.end() }
    let connection = try connect()
    try connection.send(text: "\r\n")
    let status = try status(connection)
    #expect(status == "HTTP/1.1 200 OK")
  }
}
