// The end of a connection of HTTP/2, with a worker that is turned by hand: a request goes between its steps.

import Platform
import Policy
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct HTTP2DrainTests {
  private let client: TestSocket
  private let (shared, worker): (ProcessShared, Worker)

  init() throws {
    let turned = try TurnedWorker(
      """
      listeners: [{ name: web, listen: "127.0.0.1:0", protocols: [h2c], trust: [{ from: any, evidence: socket }] }]
      routes: [{ name: all, respond: { status: 200, body: here } }]
      upstreams: { app: { servers: ["127.0.0.1:1"] } }
      """)
    (shared, worker) = (turned.shared, turned.worker)
    client = try turned.connect()
  }

  private func ask(on stream: UInt32) throws {
    let block = HPACKBlock([
      HPACKField(":method", "GET"), HPACKField(":scheme", "http"), HPACKField(":path", "/"),
      HPACKField(":authority", "a"),
    ])
    let bytes = HTTP2Frame.headers(stream, block.bytes).bytes
    try #require(client.send(bytes[...]) == bytes.count)
  }

  /// The frames that have come.
  private func frames() -> [HTTP2Frame] {
    var (rest, found) = (client.receive()[...], [HTTP2Frame]())
    while rest.count >= HTTP2Frame.headBytes {
      let count = HTTP2Frame.payloadCount(rest)
      let payload = rest.dropFirst(HTTP2Frame.headBytes).prefix(count)
      found.append(HTTP2Frame(head: Array(rest.prefix(HTTP2Frame.headBytes)), payload: Array(payload)))
      rest = rest.dropFirst(HTTP2Frame.headBytes + count)
    }
    return found
  }

  /// RFC 9113 section 6.8: the client may begin those again that are behind the last one, wherever it likes.
  @Test func whatTheClientIsToldNotToHaveBeenDoneIsNotDone() throws {
    defer { worker.end() }
    try client.send(text: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    try #require(client.send(HTTP2Frame.settings().bytes[...]) == HTTP2Frame.headBytes)
    try ask(on: 1)
    var seen: [HTTP2Frame] = []
    for _ in 0..<20 where !seen.contains(where: { $0.kind == .data && $0.has(HTTP2Frame.endStream) }) {
      worker.turn()
      seen += frames()
    }
    let begun = Clock.monotonicMilliseconds()
    shared.tell { _ in .drain(DrainSchedule(fromMilliseconds: begun, requests: 30_000, tunnels: 30_000, tunnelClose: 0))
    }
    // It waits for its timer here.
    while Clock.monotonicMilliseconds() < begun + 990 { worker.turn() }
    seen += frames()
    #expect(seen.filter { $0.kind == .goAway }.map { HTTP2Frame.number($0.payload.prefix(4)) } == [0x7fff_ffff])
    // A client that does not care, or has not heard of it yet: its requests come in front of the last step, and behind it.
    var (stream, sent) = (UInt32(1), UInt64(1))
    while seen.filter({ $0.kind == .goAway }).count < 2 {
      stream += 2
      sent += 1
      try ask(on: stream)
      worker.turn()
      seen += frames()
      try #require(sent < 1_000_000)
    }
    let last = HTTP2Frame.number(try #require(seen.last { $0.kind == .goAway }).payload.prefix(4))
    #expect(stream > last, "nothing came behind it, so that nothing was shown")
    #expect(shared.total(.requests) == UInt64(last / 2 + 1))
    #expect(shared.total(.draining) == sent - shared.total(.requests))
    #expect(seen.allSatisfy { $0.kind != .headers || $0.stream <= last })
  }
}
