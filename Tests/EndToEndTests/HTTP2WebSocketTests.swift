// WebSockets over HTTP/2 (RFC 8441), joined to backends that speak HTTP/1.1. By a browser: Tests/Browser.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2WebSocket {
    private static func accept(_ exchange: Exchange) throws {
      let answer = WebSocketAccept.answer(to: exchange.request.head["sec-websocket-key"] ?? "")
      try exchange.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(answer)\r\n\r\n"
      )
    }

    private static func echo(_ exchange: Exchange) throws {
      try accept(exchange)
      try exchange.echoToEnd()
    }

    private static func site(_ mode: Site.Mode = .shared, _ script: @escaping RecordingBackend.Script) throws -> Site {
      try Site(mode, script: script, edge: { $0.listeners[0].more.append("protocols: [h2c]") })
    }

    private func open(_ path: String, by client: HTTP2Client, more: [(String, String)] = []) throws -> UInt32 {
      let fields = client.fields(path, method: "CONNECT", more).map { ($0.nameText, $0.valueText) }
      let all = [fields[0], (":protocol", "websocket")] + fields.dropFirst() + [("sec-websocket-version", "13")]
      return try client.open(HPACKBlock(all.map { HPACKField($0.0, $0.1) }).bytes, ends: false)
    }

    private func waitForStatus(_ client: HTTP2Client, _ stream: UInt32) throws -> Int {
      try client.wait(for: "an answer on stream \(stream)") { $0.streams[stream]?.blocks.isEmpty == false }
      return HTTP2Response(client.streams[stream]!).status
    }

    @Test(arguments: [
      ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), ("", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="),
    ]) func keysAreAnswered(_ key: String, _ answer: String) { #expect(WebSocketAccept.answer(to: key) == answer) }

    /// The client waits for the answer and sends nothing before, nor does anybody else on its connection.
    @Test(arguments: Site.Mode.allCases) func theAnswerComesBeforeAnythingElse(_ mode: Site.Mode) throws {
      let gate = Guarded(false)
      let site = try Self.site(mode) { exchange in
        _ = gate.wait(until: .usual) { $0 ? true : nil }
        try Self.echo(exchange)
      }
      defer { gate.with { $0 = true } }
      let client = try HTTP2Client.cleartext(to: site.publicAddress)
      #expect(client.settings[HTTP2Setting(rawValue: 8)] == 1)
      let stream = try open("/ws", by: client, more: [("x-forwarded-for", Peer.claimed)])
      let head = try site.backend.waitForRequest(to: "/ws").head
      #expect(head["x-forwarded-for"] == Peer.client() && head["connection"]?.lowercased() == "upgrade")
      try client.settle()
      gate.with { $0 = true }
      #expect(try waitForStatus(client, stream) == 200)
      #expect(client.streams[stream]?.isOver == false)
    }

    @Test(arguments: Site.Mode.allCases) func bytesPassBothWaysUntilBothHaveEnded(_ mode: Site.Mode) throws {
      let site = try Self.site(mode, Self.echo)
      let client = try HTTP2Client.cleartext(to: site.publicAddress)
      let streams = try (0..<3).map { try open("/ws/\($0)", by: client) }
      for stream in streams { #expect(try waitForStatus(client, stream) == 200) }
      var sent: [UInt32: [UInt8]] = [:]
      for size in [0, 1, 125, 126, 65_536, 300_000] {
        for stream in streams {
          let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ Int(stream)) }
          let frame = WebSocketFrame(0x82, payload).bytes(masked: true)
          sent[stream, default: []] += frame
          try client.send(body: frame, on: stream, ends: false)
        }
        for stream in streams {
          try client.wait(for: "what was sent") { $0.streams[stream]?.body.count == sent[stream]?.count }
          #expect(client.streams[stream]?.body == sent[stream])
        }
      }
      try client.send(.data(streams[0], [], ends: true))
      #expect(try client.response(on: streams[0]).hasEnded)
      let line = try site.edge.access.wait(path: "/ws/0")
      #expect(line.status == 101 && line.client == Peer.client() && line.refusal == nil)
      // Its neighbours go on, and one that is taken back ends at the backend.
      try client.send(.data(streams[1], [0x89, 0x80, 1, 2, 3, 4]))
      sent[streams[1]]! += [0x89, 0x80, 1, 2, 3, 4]
      try client.wait(for: "a neighbour") { $0.streams[streams[1]]?.body == sent[streams[1]] }
      try client.send(.reset(streams[1]), .reset(streams[2]))
      try site.backend.waitForOpenCount(0)
      try client.settle()
      #expect(client.goAway == nil)
    }

    /// What the server says behind its 101 is not lost, in one piece with it or after it.
    @Test func aServerMaySpeakFirst() throws {
      let site = try Self.site { exchange in
        try Self.accept(exchange)
        try exchange.connection.send(WebSocketFrame(0x81, Array("first".utf8)).bytes(masked: false))
        exchange.end()
      }
      let client = try HTTP2Client.cleartext(to: site.publicAddress)
      let stream = try open("/ws", by: client)
      try client.wait(for: "the server's word and its end") { $0.streams[stream]?.isOver == true }
      #expect(client.streams[stream]?.body == WebSocketFrame(0x81, Array("first".utf8)).bytes(masked: false))
    }

    @Test func whatTheServerRefusesIsRefused() throws {
      let site = try Self.site { exchange in
        guard exchange.target != "/no" else { return try exchange.reply("not for you", status: "403 Forbidden") }
        try exchange.send(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
        )
        _ = try? exchange.connection.readToEnd()
        exchange.end()
      }
      let client = try HTTP2Client.cleartext(to: site.publicAddress)
      let refused = try open("/no", by: client)
      #expect(try waitForStatus(client, refused) == 403)
      // A 101 by a server that has not understood what it was asked.
      let wrong = try open("/wrong", by: client)
      #expect(try waitForStatus(client, wrong) == 502)
      _ = try site.validator.access.wait(for: "the validator's line") { $0.path == "/wrong" }
      try client.settle()
      #expect(client.goAway == nil)
    }
  }
}
