// What a worker is told holds from then on, whatever its next events are: a head that waited before is judged by it.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct ToldWorkerTests {
  private let turned: TurnedWorker
  private var shared: ProcessShared { turned.shared }
  private var worker: Worker { turned.worker }

  private static func configuration(_ rule: String = "socket") -> String {
    """
    listeners: [{ name: web, listen: "127.0.0.1:0", trust: [{ from: any, evidence: \(rule) }] }]
    routes: [{ name: all, respond: { status: 200, body: here } }]
    upstreams: { app: { servers: ["127.0.0.1:1"] } }
    """
  }

  init() throws { turned = try TurnedWorker(Self.configuration()) }

  private func connect() throws -> TestSocket {
    let connection = try turned.connect()
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
    let next = try TurnedWorker.snapshot(Self.configuration("refuse"), generation: 2)
    let source = try turned.source
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
