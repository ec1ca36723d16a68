// What an honest client of HTTP/2 gets: everything that HTTP/1 has, many at a time on one connection.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Honest {
    /// Edge and validator: each connection's requests carry its own address, in whatever order they come.
    @Test(arguments: Site.Mode.allCases) func everyConnectionHasItsOwnAddress(_ mode: Site.Mode) throws {
      let site = try Site(mode, tls: true)
      let clients = try (1...3).map { try HTTP2Client.tls(to: site.publicAddress, from: Peer.client($0)) }
      var streams: [(client: Int, stream: UInt32)] = []
      for round in 0..<20 {
        for (index, client) in clients.enumerated() {
          streams.append(
            (index, try client.begin("/own/\(index)/\(round)", fields: [("x-forwarded-for", Peer.claimed)])))
        }
      }
      for (index, stream) in streams {
        let response = try clients[index].response(on: stream)
        #expect(response.status == 200 && response.text == Peer.client(index + 1))
      }
      #expect(!site.backend.saw(Peer.claimed))
      let entry = try site.edge.access.wait(path: "/own/0/0")
      #expect(entry.client == Peer.client(1) && entry.tls?.hasPrefix("TLSv1.3") == true)
    }

    @Test func aSlowStreamStopsNoOther() throws {
      let gate = Guarded(false)
      let site = try HTTP2Site { exchange in
        if exchange.target == "/slow" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply(exchange.target)
      }
      let client = try site.begun()
      let slow = try client.begin("/slow")
      for index in 0..<30 { #expect(try client.get("/fast/\(index)").text == "/fast/\(index)") }
      #expect(client.streams[slow]?.blocks.isEmpty == true)
      gate.with { $0 = true }
      #expect(try client.response(on: slow).text == "/slow")
    }

    /// By PRIORITY_UPDATE, as browsers do (RFC 9218 section 7.1). With libnghttp2's own reading of it such streams stayed in one of its
    /// lists behind their ends, and soon a client ended the whole process.
    @Test func streamsMayBePrioritizedBeforeTheyBegin() throws {
      let site = try HTTP2Site(change: { $0.workers = "1" })
      let client = try site.begun()
      for index in 0..<300 {
        for stream in [client.nextStream, client.nextStream + 2] {
          try client.send(.priorityUpdate(stream, "u=\(index % 8), i"))
        }
        #expect(try client.get("/\(index)").status == 200)
      }
    }

    /// RFC 9218: of responses that lie ready the most urgent one leaves first, however and whenever its client says what it is.
    @Test(arguments: ["by its field", "before it begins", "when it has begun"])
    func theMostUrgentResponseLeavesFirst(_ said: String) throws {
      let sent = Guarded(0)
      let site = try HTTP2Site { exchange in
        try exchange.reply(String(repeating: "x", count: 20_000))
        sent.with { $0 += 1 }
      } change: {
        $0.workers = "1"
      }
      let client = try site.begun(settings: [(.initialWindowSize, 0)])
      client.givesWindowsBack = false
      var streams: [(urgency: Int, stream: UInt32)] = []
      for urgency in [6, 5, 0, 4] {
        let stream = client.nextStream
        let update = HTTP2Frame.priorityUpdate(stream, "u=\(urgency)")
        if said == "before it begins" { try client.send(update) }
        try client.begin("/\(urgency)", fields: said == "by its field" ? [("priority", "u=\(urgency)")] : [])
        if said == "when it has begun" { try client.send(update) }
        streams.append((urgency, stream))
      }
      // The server has sent all of them, so one who has answered since has read them.
      try eventually("all responses are sent") { sent.now == streams.count }
      for _ in 0..<3 { try client.settle() }
      try client.send([.windowUpdate(0, by: 100_000)] + streams.map { .windowUpdate($0.stream, by: 20_000) })
      for (_, stream) in streams { #expect(try client.response(on: stream).body.count == 20_000) }
      let order = client.dataOrder.reduce(into: [UInt32]()) { if $0.last != $1 { $0.append($1) } }
      #expect(order == streams.sorted { $0.urgency < $1.urgency }.map(\.stream), "\(client.dataOrder)")
    }

    @Test(arguments: [false, true]) func bodiesBothWays(saysItsLength: Bool) throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        let body = try exchange.readBody()
        try exchange.reply(body.text)
      }
      let client = try site.begun()
      var random = Seeded(9113)
      for count in [0, 1, 16_384, 65_535, 65_536, 1 << 20] {
        let body = (0..<count).map { _ in UInt8.random(in: 0x61...0x7a, using: &random) }
        let length = saysItsLength ? [("content-length", "\(count)")] : []
        let response = try client.get("/echo", method: "POST", fields: length, body: body)
        #expect(response.status == 200 && response.body == body, "\(count) bytes")
      }
      // Many at a time, of which none mixes with another.
      let streams = try (0..<20).map { index in
        try client.begin("/echo", method: "POST", body: [UInt8](repeating: UInt8(0x41 + index), count: 50_000 + index))
      }
      for (index, stream) in streams.enumerated() {
        #expect(
          try client.response(on: stream).body == [UInt8](repeating: UInt8(0x41 + index), count: 50_000 + index))
      }
    }

    /// A head in many frames, none of which counts for more than one however many reads it takes.
    @Test func aHeadMayComeByteByByte() throws {
      let site = try HTTP2Site(change: { $0.workers = "1" })
      let other = try site.begun(from: Peer.client(1))
      /// The server has read what was sent before when it answers a request that was sent behind it.
      func untilRead() throws { #expect(try other.get("/between").status == 200) }
      let client = try site.begun()
      let bytes = Self.inEightFrames(client, "/bytes")
      for byte in bytes {
        try client.send([byte])
        try untilRead()
      }
      #expect(try client.response(on: client.nextStream - 2).text == Peer.client())
      for split in 1..<bytes.count {
        let bytes = Self.inEightFrames(client, "/split/\(split)")
        try client.send(Array(bytes[..<split]))
        try untilRead()
        try client.send(Array(bytes[split...]))
        #expect(try client.response(on: client.nextStream - 2).text == Peer.client(), "split at \(split)")
      }
      #expect(client.goAway == nil)
    }

    /// A request's head in HEADERS and seven CONTINUATION, on the next stream.
    private static func inEightFrames(_ client: HTTP2Client, _ path: String) -> [UInt8] {
      let block = client.block(path)
      let cuts = (0...8).map { block.count * $0 / 8 }
      let pieces = zip(cuts, cuts.dropFirst()).map { Array(block[$0..<$1]) }
      let stream = client.nextStream
      let first = HTTP2Frame.headers(stream, pieces[0], isWhole: false)
      client.note(first)
      let rest = (1..<8).map { HTTP2Frame.continuation(stream, pieces[$0], isWhole: $0 == 7) }
      return first.bytes + rest.flatMap(\.bytes)
    }

    @Test func trailersBothWays() throws {
      let site = try HTTP2Site { exchange in
        let body = try exchange.readBody()
        try exchange.send(
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + Text.chunks([body.text], trailers: ["X-Back: \(body.trailers.joined(separator: "|"))"]))
      }
      let client = try site.begun()
      for index in 0..<3 {
        let response = try client.get(
          "/trailers", method: "POST", body: Array("body".utf8), trailers: [("x-there", "\(index)"), ("x-more", "b")])
        #expect(response.status == 200 && response.text == "body")
        #expect(response.trailers == [HPACKField("x-back", "x-there: \(index)|x-more: b")])
        #expect(response["transfer-encoding"] == nil && response["connection"] == nil)
      }
    }

    @Test func interimResponsesComeFirst() throws {
      let site = try HTTP2Site { exchange in
        try exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        try exchange.reply("late")
      }
      let response = try site.begun().get("/hints")
      #expect(response.interim.map(\.status) == [103])
      #expect(response.interim.first?.all("link") == ["</a.css>"])
      #expect(response.status == 200 && response.text == "late")
    }

    @Test func responsesWithoutABody() throws {
      let site = try HTTP2Site { exchange in
        let status = exchange.target.dropFirst()
        if status == "200" { return try exchange.reply("twelve bytes", fields: ["ETag: \"x\""]) }
        try exchange.send("HTTP/1.1 \(status) Word\r\nETag: \"x\"\r\n\r\n")
      }
      let client = try site.begun()
      let head = try client.get("/200", method: "HEAD")
      #expect(head.status == 200 && head["content-length"] == "12" && head.body.isEmpty && head["etag"] == "\"x\"")
      for status in [204, 304] {
        let response = try client.get("/\(status)")
        #expect(response.status == status && response.body.isEmpty && response["etag"] == "\"x\"")
      }
      #expect(try client.get("/200").text == "twelve bytes")
    }

    /// A request that the client takes back is ended at the backend, too.
    @Test func aResetEndsTheRequestAtTheBackend() throws {
      let ended = Guarded(0)
      let site = try HTTP2Site { exchange in
        guard exchange.target == "/taken-back" else { return try exchange.reply("other") }
        _ = try? exchange.connection.readToEnd()
        ended.with { $0 += 1 }
        exchange.end()
      }
      let client = try site.begun()
      let stream = try client.begin("/taken-back")
      _ = try site.backend.waitForRequest(to: "/taken-back")
      try client.send(.reset(stream))
      #expect(ended.wait(until: .usual) { $0 == 1 ? true : nil } == true)
      #expect(try site.edge.access.wait(path: "/taken-back").refusal == "client-reset")
      #expect(try client.get("/other").text == "other")
    }

    /// A backend that breaks off is a stream's failure and nobody else's.
    @Test func aBackendThatBreaksOffResetsItsStream() throws {
      let site = try HTTP2Site { exchange in
        guard exchange.target == "/broken" else { return try exchange.reply("whole") }
        try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        exchange.reset()
      }
      let client = try site.begun()
      let response = try client.outcome(on: client.begin("/broken"))
      #expect(response.status == 200 && !response.hasEnded && response.reset != nil && response.reset != 0)
      #expect(try client.get("/whole").text == "whole")
    }

    // MARK: Which protocol

    private func alpn(_ address: Address, _ offered: String) throws -> String? {
      let outcome = try ChildProcess.run([
        try Programs.openssl, "s_client", "-connect", "\(address)", "-servername", Site.host, "-alpn", offered,
      ])
      return outcome.output.split(separator: "\n").first { $0.hasPrefix("ALPN protocol: ") }.map {
        String($0.dropFirst(15))
      }
    }

    @Test func theListenerChoosesByALPN() throws {
      let site = try HTTP2Site(change: { configuration in
        var old = configuration.listeners[1]
        old.name = "old"
        old.more = ["protocols: [http/1.1]"]
        configuration.listeners.append(old)
      })
      for offered in ["h2,http/1.1", "http/1.1,h2", "h2"] { #expect(try alpn(site.edge["tls"], offered) == "h2") }
      #expect(try alpn(site.edge["tls"], "http/1.1") == "http/1.1")
      #expect(try alpn(site.edge["old"], "h2,http/1.1") == "http/1.1")
      #expect(try Connection.tls(to: site.edge["tls"]).get("/none-offered").status == 200)
    }

    /// RFC 9110 section 7.4: a connection is for the names of its certificate.
    @Test func anotherNameIsMisdirected() throws {
      let site = try HTTP2Site()
      let client = try site.connectTLS()
      try client.begin()
      #expect(try client.get("/misdirected", host: "other.example").status == 421)
      #expect(try site.edge.access.wait(path: "/misdirected").refusal == "misdirected")
      for host in [Site.host, Site.host.uppercased(), "\(Site.host):443", "localhost"] {
        #expect(try client.get("/named", host: host).status == 200, "\(host)")
      }
      #expect(!site.backend.saw("/misdirected"))
    }

    @Test func whatIsNotThePrefaceIsEnded() throws {
      let site = try HTTP2Site()
      let connection = try Connection(to: site.edge["cleartext"])
      try connection.send(Text.request("/old"))
      _ = try connection.readToEnd()
      #expect(try site.edge.access.wait(refusal: "http2-protocol").client == Peer.client())
      #expect(!site.backend.saw("/old"))
    }

    // MARK: The end

    /// RFC 9113 section 6.8: first no stream is refused, for some are on their way, and then the last one is named.
    @Test func aDrainIsAnnouncedInTwoSteps() throws {
      let gate = Guarded(false)
      let site = try HTTP2Site { exchange in
        if exchange.target == "/under-way" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply(exchange.target)
      }
      let client = try site.begun()
      let underWay = try client.begin("/under-way")
      _ = try site.backend.waitForRequest(to: "/under-way")
      site.edge.process.signal(SIGTERM)
      try client.wait(for: "the first GOAWAY") { $0.goAwayCount == 1 }
      #expect(client.goAway?.code == 0 && client.goAway?.lastStream == .max >> 1)
      let crossing = try client.begin("/crossing")
      #expect(try client.response(on: crossing).text == "/crossing")
      try client.wait(for: "the second GOAWAY") { $0.goAwayCount == 2 }
      #expect(client.goAway?.code == 0 && client.goAway?.lastStream == crossing)
      gate.with { $0 = true }
      #expect(try client.response(on: underWay).text == "/under-way")
      try client.waitForEnd()
      #expect(try site.edge.process.waitForExit() == .code(0))
    }

    /// The last bytes of its last stream leave behind a GOAWAY, from either side: that is an end in order.
    @Test(arguments: [true, false]) func aConnectionThatGoesEndsWithItsLastStream(isClientGoing: Bool) throws {
      let body = String(repeating: "n", count: 70_000)
      let site = try HTTP2Site { try $0.reply(body) }
      let client = try site.begun()
      client.givesWindowsBack = false
      let stream = try client.begin("/last")
      try client.wait(for: "as much as its window") { $0.streams[stream]?.body.count == HTTP2Client.windowUsual }
      if isClientGoing {
        try client.send(.goAway())
      } else {
        site.edge.process.signal(SIGTERM)
        try client.wait(for: "the second GOAWAY") { $0.goAwayCount == 2 }
      }
      try client.send(.windowUpdate(0, by: 1 << 20), .windowUpdate(stream, by: 1 << 20))
      let response = try client.response(on: stream)
      #expect(response.text == body && response.hasEnded && response.reset == nil)
      try client.waitForEnd()
      #expect(client.goAway?.code ?? 0 == 0)
      let entry = try site.edge.access.wait(path: "/last")
      #expect(entry.status == 200 && entry.refusal == nil)
      #expect(!site.edge.access.entries.contains { $0.refusal == "http2-protocol" })
    }

    @Test func anIdleConnectionIsEndedWithoutAnError() throws {
      let site = try HTTP2Site(change: { $0.timeouts = ["idle: 1s"] })
      let client = try site.begun()
      #expect(try client.get("/once").status == 200)
      try client.waitForEnd()
      #expect(client.goAway?.code == 0 && client.goAway?.lastStream == 1)
    }
  }
}
