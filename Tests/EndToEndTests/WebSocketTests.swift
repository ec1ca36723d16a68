// Tunnels: nothing of one before the backend's 101, everything after it.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct WebSocket {
    static let upgrade = [
      "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
    ]
    static let accepted =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

    /// Accepts, then sends back whatever comes, until the client has ended.
    @Sendable static func echo(_ exchange: Exchange) throws {
      guard exchange.target.hasPrefix("/ws") else { return try exchange.reply(exchange.clientAddress) }
      guard exchange.head["upgrade"] == "websocket" else {
        return try exchange.reply("no upgrade", status: "400 Bad Request")
      }
      if exchange.target == "/ws/refused" { return try exchange.reply("not for you", status: "403 Forbidden") }
      try exchange.send(accepted)
      try exchange.echoToEnd()
    }

    /// A masked text frame, as a browser sends one.
    static func frame(_ text: String) -> [UInt8] { WebSocketFrame(0x81, Array(text.utf8)).bytes(masked: true) }

    @Test(arguments: Site.Mode.allCases)
    func aTunnelCarriesBytesBothWays(_ mode: Site.Mode) throws {
      let site = try Site(mode, script: Self.echo)
      let connection = try site.connect(from: Peer.client(40))
      let response = try connection.get("/ws", fields: Self.upgrade)
      #expect(response.status == 101)
      #expect(response["upgrade"] == "websocket")
      #expect(response["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      for text in ["hello", "", String(repeating: "x", count: 100)] {
        let frame = Self.frame(text)
        try connection.send(frame)
        #expect(try connection.read(frame.count) == frame)
      }
      let head = try site.backend.waitForRequest(to: "/ws").head
      #expect(head["x-forwarded-for"] == Peer.client(40))
      #expect(head["connection"]?.lowercased() == "upgrade")
      connection.shutdownWrite()
      #expect(try connection.readToEnd() == [])
      let entry = try site.edge.access.wait(path: "/ws")
      #expect(entry.status == 101)
    }

    /// An upgrade may not be sent twice, and whoever has a kept connection may end it just then.
    @Test(arguments: Site.Mode.allCases)
    func anUpgradeGetsANewConnection(_ mode: Site.Mode) throws {
      let used = Guarded<Set<Int>>([])
      let site = try Site(
        mode,
        script: { exchange in
          guard used.with({ $0.insert(exchange.request.connection).inserted }) else { return exchange.end() }
          try Self.echo(exchange)
        }, validator: { $0.workers = "1" }, edge: { $0.workers = "1" })
      let connection = try site.connect()
      #expect(try connection.get("/first").status == 200)
      #expect(try connection.get("/ws", fields: Self.upgrade).status == 101)
      let frame = Self.frame("hello")
      try connection.send(frame)
      #expect(try connection.read(frame.count) == frame)
      #expect(site.backend.requests(to: "/ws").count == 1)
      connection.shutdownWrite()
      #expect(try connection.readToEnd() == [])
      let peers = try ["/first", "/ws"].map { try site.validator.access.wait(path: $0).peer }
      #expect(peers[0] != peers[1])
    }

    @Test func aTunnelOverTLSCarriesAMebibyte() throws {
      let site = try Site(.bound, tls: true, hopTLS: true, script: Self.echo)
      let connection = try site.connectTLS()
      #expect(try connection.get("/ws", fields: Self.upgrade).status == 101)
      let sent = (0..<64).map { index in [UInt8](repeating: UInt8(index), count: 16384) }
      let sender = Background("sender") { for block in sent { try connection.send(block) } }
      var received: [UInt8] = []
      while received.count < 1 << 20 { received += try connection.read(16384) }
      try sender.result()
      #expect(received == sent.flatMap { $0 })
    }

    /// A client may not slip bytes past the backend's refusal: what it sends before the 101 waits.
    @Test(arguments: Site.Mode.allCases)
    func bytesBeforeTheAcceptanceAreHeld(_ mode: Site.Mode) throws {
      let gate = Guarded(false)
      let site = try Site(mode) { exchange in
        guard exchange.target == "/ws" else { return try exchange.reply("ok") }
        _ = gate.wait(until: .usual) { $0 ? true : nil }
        let early = try exchange.connection.fill(withinSeconds: 0.05)
        #expect(early == nil, "bytes came before the 101")
        try Self.echo(exchange)
      }
      let connection = try site.connect()
      try connection.send(Text.request("/ws", fields: Self.upgrade) + "smuggled")
      _ = try site.backend.waitForRequest(to: "/ws")
      #expect(!site.backend.saw("smuggled"))
      gate.with { $0 = true }
      #expect(try connection.readResponse().status == 101)
      #expect(try connection.readText(8) == "smuggled")
    }

    @Test func aRefusedUpgradeIsAnOrdinaryResponse() throws {
      let site = try Site(.bound, script: Self.echo)
      let connection = try site.connect()
      let response = try connection.get("/ws/refused", fields: Self.upgrade)
      #expect(response.status == 403 && response.text == "not for you")
      // What follows is a request again, or the connection has ended; never a tunnel.
      do {
        #expect(try connection.get("/after").text == Peer.client())
      } catch { #expect("\(error)".contains("ended") || error is ConnectionReset) }
    }

    @Test func otherUpgradesAreNotTunnelled() throws {
      let site = try Site(.bound, script: Self.echo)
      let response = try site.connect().get(
        "/plain", fields: ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"])
      #expect(response.status == 200)
      let names = try site.backend.waitForRequest(to: "/plain").head.foldedNames
      #expect(Set(names).isDisjoint(with: ["upgrade", "http2-settings"]))
    }

    /// A backend that says 101 to one who did not ask is not believed.
    @Test func anUnaskedAcceptanceIsABadGateway() throws {
      let site = try Site(.bound) { exchange in try exchange.send(Self.accepted) }
      let response = try site.connect().get("/unasked")
      #expect(response.status == 502)
      #expect(try site.validator.access.wait(path: "/unasked").refusal == "upstream-response")
    }

    @Test func aTunnelOutlivesTheIdleTimeout() throws {
      let site = try Site(
        .bound, script: Self.echo, validator: { $0.timeouts = ["idle: 1s", "upstream_response: 1s"] },
        edge: { $0.timeouts = ["idle: 1s", "upstream_response: 1s"] })
      let connection = try site.connect()
      #expect(try connection.get("/ws", fields: Self.upgrade).status == 101)
      #expect(try connection.fill(withinSeconds: 2.5) == nil, "the tunnel was ended")
      try connection.send("still here")
      #expect(try connection.readText(10) == "still here")
    }

    @Test func eachSideMayEndATunnel() throws {
      let site = try Site(.bound) { exchange in
        try exchange.send(Self.accepted)
        if exchange.target == "/ws/ends" {
          try exchange.send("bye")
          exchange.end()
        } else {
          _ = try exchange.connection.readToEnd()
          exchange.end()
        }
      }
      let ended = try site.connect()
      #expect(try ended.get("/ws/ends", fields: Self.upgrade).status == 101)
      #expect(String(decoding: try ended.readToEnd(), as: UTF8.self) == "bye")
      let reset = try site.connect()
      #expect(try reset.get("/ws/reset", fields: Self.upgrade).status == 101)
      reset.reset()
      try site.backend.waitForOpenCount(0)
    }

    /// A server may say its last word and be gone while the client still sends: the word arrives.
    @Test(arguments: Site.Mode.allCases)
    func whatAServerSaidBeforeItBrokeOffReachesTheClient(_ mode: Site.Mode) throws {
      let word = String(repeating: "last words ", count: 2_000)
      let site = try Site(mode) { exchange in
        try exchange.send(Self.accepted)
        // It has read a part of what the client sends: its close is a reset.
        _ = try exchange.connection.read(1)
        try exchange.send(word)
        if exchange.target == "/ws/reset" { exchange.end() } else { exchange.connection.shutdownWrite() }
        if exchange.target == "/ws/ends" {
          _ = try exchange.connection.readToEnd()
          exchange.end()
        }
      }
      for target in ["/ws/reset", "/ws/ends"] {
        for _ in 0..<20 {
          let connection = try site.connect()
          #expect(try connection.get(target, fields: Self.upgrade).status == 101)
          let stop = Guarded(false)
          let sender = Background("sender") {
            // Until the other side takes no more.
            while !stop.now { do { try connection.send([UInt8](repeating: 7, count: 1000)) } catch { break } }
          }
          #expect(try connection.readText(word.utf8.count) == word)
          stop.with { $0 = true }
          try sender.result()
        }
      }
    }

    /// And what a client said before it left reaches the server.
    @Test func whatAClientSaidBeforeItBrokeOffReachesTheServer() throws {
      let received = Guarded("")
      let site = try Site(.bound) { exchange in
        try exchange.send(Self.accepted)
        // Unasked bytes that the client never reads make its close a reset.
        try exchange.send("hello")
        let text = String(decoding: try exchange.connection.readToEnd(), as: UTF8.self)
        received.with { $0 = text }
        exchange.end()
      }
      let connection = try site.connect()
      #expect(try connection.get("/ws", fields: Self.upgrade).status == 101)
      while connection.heldCount < 5 { _ = try connection.fill() }
      try connection.send("goodbye")
      connection.close()
      #expect(received.wait(until: .usual) { $0.isEmpty ? nil : $0 } == "goodbye")
    }

    /// One side alone has a short time; bytes that can still be delivered keep it.
    @Test(.threads(1), arguments: [true, false])
    func aTunnelWithOneSideLeftEndsSoonUnlessItMovesBytes(serverEnds: Bool) throws {
      // Whether the server had all that it waited for.
      let ended = Guarded<Bool?>(nil)
      let times = ["tunnel: 1h", "tunnel_close: 2s"]
      let site = try Site(
        .bound,
        script: { exchange in
          var hadAll = false
          defer { ended.with { $0 = hadAll } }
          try exchange.send(Self.accepted)
          if serverEnds { exchange.connection.shutdownWrite() }
          if exchange.target == "/ws/moves" {
            // Longer than the short time, in steps that are shorter: the half that is left goes on.
            for _ in 0..<6 {
              if serverEnds { _ = try exchange.connection.read(1) } else { try exchange.send("x") }
              poll(nil, 0, serverEnds ? 0 : 400)
            }
          } else {
            exchange.connection.patienceSeconds = 20
          }
          if serverEnds || exchange.target != "/ws/moves" { _ = try exchange.connection.readToEnd() }
          hadAll = true
          exchange.end()
        }, validator: { $0.timeouts = times }, edge: { $0.timeouts = times })
      let quiet = try site.connect()
      #expect(try quiet.get("/ws", fields: Self.upgrade).status == 101)
      if !serverEnds { quiet.shutdownWrite() }
      // The client does not close, and is closed all the same.
      #expect(try quiet.readToEnd() == [])
      #expect(ended.wait(until: .usual) { $0 } == true)
      if serverEnds {
        try eventually("the client's descriptor is given back") { try site.edge.process.openFileCount < 100 }
        #expect(try site.edge.access.wait(path: "/ws").status == 101)
      }

      // Where the machine had so much else to do that the steps were longer than they should be, it is done again.
      for _ in 0..<10 {
        ended.with { $0 = nil }
        var wasWhole = false
        let taken = try secondsTaken {
          let moving = try site.connect()
          #expect(try moving.get("/ws/moves", fields: Self.upgrade).status == 101)
          if serverEnds {
            for _ in 0..<6 {
              try? moving.send("x")
              observe(seconds: 0.4)
            }
            wasWhole = ended.wait(until: .usual) { $0 } == true
          } else {
            moving.shutdownWrite()
            wasWhole = String(decoding: try moving.readToEnd(), as: UTF8.self) == String(repeating: "x", count: 6)
          }
        }
        if wasWhole { return }
        #expect(taken > 3, "the half that is left was cut though it moved")
      }
      Issue.record("the steps were never as short as they should be")
    }
  }
}
