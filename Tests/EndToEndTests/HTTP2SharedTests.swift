// Connections of HTTP/2 that many share, and their ends: nobody is stopped by what others leave undone, no message reaches further
// than its length, and a connection that may have no further request is told so.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Shared {
    /// Each stream has 64 KiB that its client need not take. Those of many clients together are more than a connection's window was,
    /// and stopped every response of the servers' connection.
    @Test func clientsThatTakeNothingStopNoOthersOfTheirServersConnection() throws {
      let (asked, sent) = (Guarded(0), Guarded(0))
      let body = String(repeating: "0123456789abcdef", count: 20_000)
      let site = try Site(.shared, keepsBytes: false) { exchange in
        asked.with { $0 += 1 }
        try exchange.reply(body)
        sent.with { $0 += 1 }
      } validator: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.workers = "1"
      } edge: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.upstreams[0].members.append("protocol: http2")
        $0.workers = "1"
      }
      let stalled = try HTTP2Client.cleartext(
        to: site.publicAddress, from: Peer.client(1), settings: [(.initialWindowSize, 0)])
      for index in 0..<40 { try stalled.begin("/stalled/\(index)") }
      var last = (-1, -1)
      try eventually("the stalled responses come to a stop", everyMilliseconds: 300) {
        defer { last = (asked.now, sent.now) }
        return asked.now == 40 && (asked.now, sent.now) == last
      }
      let honest = try HTTP2Client.cleartext(to: site.publicAddress, from: Peer.client(2))
      for index in 0..<5 { #expect(try honest.get("/honest/\(index)").text == body) }
      // None was served because the time of the others was over.
      try stalled.settle()
      #expect(stalled.streams.values.allSatisfy { !$0.isOver })
    }

    /// Heads that are under way have room for each client's own. An edge's connection has those of many: one client that never ends its
    /// requests had the others' refused, for as long as it liked.
    @Test func headsOfOneClientTakeNoRoomFromOthers() throws {
      let site = try Site(.shared, keepsBytes: false) { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      } validator: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.hasAdmin = true
        $0.workers = "1"
      } edge: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.upstreams[0].members.append("protocol: http2")
        $0.workers = "1"
      }
      let field = ("x-a", String(repeating: "b", count: 12_000))
      let holders = try (0..<2).map { _ in try HTTP2Client.cleartext(to: site.publicAddress, from: Peer.client(1)) }
      for holder in holders {
        for index in 0..<30 {
          try holder.open(holder.block("/held/\(index)", method: "POST", [field]), ends: false)
        }
      }
      try eventually("all are under way") { try site.validator.metric("countersign_open_requests") == 60 }
      let honest = try HTTP2Client.cleartext(to: site.publicAddress, from: Peer.client(2))
      for index in 0..<20 { #expect(try honest.get("/honest/\(index)", fields: [field]).status == 200) }
    }

    /// On a client's own connection they are bounded, and what is more it may send again.
    @Test func headsOfAClientAreBoundedTogether() throws {
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      }
      let client = try site.begun()
      let field = ("x-a", String(repeating: "b", count: 12_000))
      let streams = try (0..<60).map { try client.open(client.block("/\($0)", method: "POST", [field]), ends: false) }
      func isRefused(_ stream: UInt32) -> Bool { client.streams[stream]?.reset == HTTP2Code.refusedStream.rawValue }
      try client.wait(for: "the last is refused") { _ in isRefused(streams.last!) }
      let refused = streams.filter(isRefused)
      #expect((10...25).contains(refused.count), "\(refused.count)")
      #expect(try site.refusals("http2-busy") == refused.count)
      for stream in streams where !refused.contains(stream) {
        try client.send(.data(stream, [], ends: true))
        #expect(try client.response(on: stream).text == "here")
      }
      #expect(try client.get("/again", method: "POST", fields: [field], body: [1]).text == "here")
    }

    /// What HTTP/2 cannot carry (a field of more than 64 KiB, a head of more than some frames) would end the servers' connection, and
    /// with it the requests of others.
    @Test(arguments: [[70_000], [30_000, 30_000, 30_000, 30_000, 30_000]])
    func aHeadThatHTTP2CannotCarryIsRefusedAlone(_ sizes: [Int]) throws {
      let site = try Site(.shared) { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      } validator: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.limits = ["head: 256KiB"]
        $0.workers = "1"
      } edge: {
        $0.upstreams[0].members.append("protocol: http2")
        $0.limits = ["head: 256KiB"]
        $0.workers = "1"
      }
      let other = try site.connect(from: Peer.client(2))
      try other.send(Text.request("/held", method: "POST", fields: ["Content-Length: 4"]))
      _ = try site.backend.waitForRequest(to: "/held")
      let large = try site.connect(from: Peer.client(1))
      let fields = sizes.enumerated().map { "X-\($0): " + String(repeating: "~", count: $1) }
      #expect(try large.get("/large", fields: fields).status == 431)
      _ = try site.edge.access.wait(refusal: "head-too-large")
      try other.send("body")
      #expect(try other.readResponse().status == 200)
      #expect(!site.backend.saw("/large"))
    }

    /// What came by HTTP/1.1 has only its bytes counted, and goes on by HTTP/2, where a field counts 32 more.
    @Test func trailersThatAnEdgeTakesAValidatorTakes() throws {
      let site = try Self.shared()
      let trailers = (0..<99).map { "x-\(10 + $0): " + String(repeating: "t", count: 70) }
      let client = try site.connect(from: Peer.client(1))
      try client.send(
        Text.request("/trailers", method: "POST", fields: ["Transfer-Encoding: chunked"])
          + Text.chunks(["body"], trailers: trailers))
      #expect(try client.readResponse().status == 200)
      #expect(site.backend.saw("/trailers"))
    }

    /// What a validator refuses of one client of an edge is not the others'. Each refusal resets its stream, and there are more of them than
    /// one client may have.
    @Test(arguments: [150, 900]) func trailersThatAValidatorRefusesEndTheirOwnRequestAlone(_ count: Int) throws {
      let site = try Self.shared(validator: { $0.limits = ["fields: 20"] }, edge: { $0.limits = ["fields: 1000"] })
      let other = try site.connect(from: Peer.client(2))
      try other.send(Text.request("/held", method: "POST", fields: ["Content-Length: 4"]))
      _ = try site.backend.waitForRequest(to: "/held")
      let hostile = try site.connect(from: Peer.client(1))
      let request =
        Text.request("/refused", method: "POST", fields: ["Transfer-Encoding: chunked"])
        + Text.chunks(["body"], trailers: (0..<count).map { "x-\($0 % 10): t" })
      for _ in 0..<Self.resetsMax + 20 {
        try hostile.send(request)
        #expect(try hostile.readResponse().status == 431)
      }
      try other.send("body")
      #expect(try other.readResponse().status == 200)
    }

    /// Of one client (docs/CONFIG.md, "HTTP/2"), at once.
    private static let resetsMax = 200

    private static func shared(
      validator: (inout Configuration) -> Void = { _ in }, edge: (inout Configuration) -> Void = { _ in }
    ) throws -> Site {
      try Site(.shared) { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      } validator: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.workers = "1"
        validator(&$0)
      } edge: {
        $0.upstreams[0].members.append("protocol: http2")
        $0.workers = "1"
        edge(&$0)
      }
    }

    /// RFC 9113 section 5.1.2: a stream error, also of a client that has acknowledged how many there may be.
    @Test func aStreamBeyondTheLimitIsRefusedAlone() throws {
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("here")
      } change: {
        $0.limits = ["streams: 10"]
      }
      let client = try site.begun()
      #expect(client.settings[.maxConcurrentStreams] == 10)
      #expect(try client.get("/acknowledged").status == 200)
      let streams = try (0..<15).map { try client.open(client.block("/\($0)", method: "POST", []), ends: false) }
      for stream in streams.dropFirst(10) {
        try client.wait(for: "it is refused") { $0.streams[stream]?.reset == HTTP2Code.refusedStream.rawValue }
      }
      for stream in streams.prefix(10) {
        try client.send(.data(stream, [1], ends: true))
        #expect(try client.response(on: stream).text == "here")
      }
      #expect(client.goAway == nil)
      #expect(try client.get("/after").text == "here")
    }

    /// Trailers are a header block like another.
    @Test func trailersAreNoMoreThanTheServerTakes() throws {
      let site = try HTTP2Site { exchange in
        let connection = try exchange.speakHTTP2(.settings([(.maxHeaderListSize, 2_000)]))
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .headers, frame.stream == 1 else { continue }
          try connection.send(Self.head([(":status", "200")]).bytes + HTTP2Frame.data(1, [], ends: true).bytes)
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.workers = "1"
      }
      let client = try site.begun()
      // Behind this its limit is known.
      #expect(try client.get("/first").status == 200)
      let response = try client.get(
        "/trailers", method: "POST", body: [1], trailers: [("x-long", String(repeating: "t", count: 3_000))])
      // It is the client's fault, and not the server's.
      #expect(response.status == 431)
      #expect(try site.edge.access.wait(path: "/trailers").refusal == "head-too-large")
    }

    /// Such a response is the server's fault, and ends its own stream alone.
    @Test func aResponseThatHTTP2CannotCarryIsRefusedAlone() throws {
      let site = try HTTP2Site { exchange in
        let field = exchange.target == "/large" ? "X-Large: \(String(repeating: "~", count: 70_000))\r\n" : ""
        try exchange.send("HTTP/1.1 200 OK\r\n\(field)Content-Length: 4\r\n\r\nhere")
      } change: {
        $0.limits = ["head: 256KiB"]
      }
      let client = try site.begun()
      let large = try client.begin("/large")
      #expect(try client.get("/small").text == "here")
      let response = try client.response(on: large)
      #expect(response.status == 0 && response.reset == HTTP2Code.internalError.rawValue, "\(client.summary)")
      let line = try site.edge.access.wait(path: "/large")
      #expect(line.refusal == "upstream-response")
      #expect(try client.get("/after").text == "here")
    }

    /// As a call of gRPC goes on for hours: each small message that comes is answered by a window for its stream and one for the connection.
    @Test func smallMessagesWithTheirWindowsAreNoFlood() throws {
      let site = try HTTP2Site { exchange in
        let connection = try exchange.speakHTTP2(.settings([]))
        while true {
          let frame = try connection.readHTTP2Frame()
          if frame.kind == .headers {
            let head = HTTP2Frame.headers(frame.stream, HPACKBlock([HPACKField(":status", "200")]).bytes, ends: false)
            try connection.send(head.bytes)
          } else if frame.kind == .data, !frame.payload.isEmpty {
            let windows = [0, frame.stream].map { HTTP2Frame.windowUpdate($0, by: UInt32(frame.payload.count)) }
            try connection.send((windows + [.data(frame.stream, frame.payload)]).flatMap(\.bytes))
          }
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2"]
        $0.workers = "1"
      }
      let client = try site.begun()
      let stream = try client.open(client.block("/echo", method: "POST"), ends: false)
      for round in 1...1_500 {
        try client.send(.data(stream, Array("0123456789".utf8)))
        try client.wait(for: "echo \(round)") { $0.streams[stream]!.body.count == 10 * round }
        // Whatever the client gives back by itself.
        try client.send(.windowUpdate(stream, by: 10), .windowUpdate(0, by: 10))
      }
      #expect(client.goAway == nil && client.streams[stream]?.isOver == false)
    }

    /// RFC 9113 section 8.7: whatever its method, for nobody has acted on it.
    @Test func whatAServerRefusesToLookAtIsSentAgain() throws {
      let refused = Guarded(0)
      let site = try HTTP2Site { exchange in
        let connection = try exchange.speakHTTP2(.settings([]))
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .headers else { continue }
          guard
            refused.with({
              $0 += 1; return $0 > 1
            })
          else {
            try connection.send(HTTP2Frame.reset(frame.stream, HTTP2Code.refusedStream.rawValue).bytes)
            continue
          }
          let head = HTTP2Frame.headers(frame.stream, HPACKBlock([HPACKField(":status", "200")]).bytes, ends: false)
          try connection.send(head.bytes + HTTP2Frame.data(frame.stream, Array("here".utf8), ends: true).bytes)
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.workers = "1"
      }
      let response = try site.begun().get("/refused-once", method: "POST", body: [1, 2, 3])
      #expect(response.status == 200 && response.text == "here")
      #expect(refused.now == 2)
    }

    /// A server that is gone without a word takes its connection with it, and not those that come after.
    @Test func aConnectionThatFallsSilentHasNoFurtherRequest() throws {
      let site = try HTTP2Site { exchange in
        let response = [Self.head([(":status", "200")]), HTTP2Frame.data(1, Array("here".utf8), ends: true)]
        try Self.answer(exchange, response)
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = ["upstream_response: 1s"]
        $0.workers = "1"
      }
      let client = try site.begun()
      #expect(try client.get("/first").text == "here")
      #expect(try client.get("/lost").status == 504)
      #expect(try client.get("/next").text == "here")
      #expect(site.backend.connectionCount == 2)
    }

    /// A server that takes no streams, and clients that do not wait for it: nobody can use such a connection again.
    @Test func connectionsThatTakeNoRequestDoNotPileUp() throws {
      let told = Guarded(0)
      let site = try HTTP2Site { exchange in
        let connection = try exchange.speakHTTP2(.settings([(.maxConcurrentStreams, 0)]))
        while true {
          let frame = try connection.readHTTP2Frame()
          if frame.kind == .settings, frame.has(HTTP2Frame.ack) { told.with { $0 += 1 } }
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2"]
        $0.timeouts = ["idle: 1h"]
        $0.workers = "1"
      }
      let client = try site.begun()
      for index in 0..<20 {
        let stream = try client.begin("/\(index)")
        // Before the edge knows of the limit it would give the connection the next request.
        try eventually("its connection") { told.now > index }
        try client.send(.reset(stream))
        try eventually("no connection is left") {
          try site.edge.metric("countersign_open_connections{side=\"upstream\"}") == 0
        }
      }
    }

    /// Those without a request are as many as `idle_connections` at most, and are counted.
    @Test(arguments: [0, 2]) func connectionsWithoutARequestAreNoMoreThanConfigured(_ most: Int) throws {
      let arrived = Guarded(0)
      let mayAnswer = Guarded(false)
      let site = try Site(.shared, keepsBytes: false) { exchange in
        arrived.with { $0 += 1 }
        _ = mayAnswer.wait(until: .usual) { $0 ? true : nil }
        try exchange.reply("here")
      } validator: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.limits = ["streams: 1"]
        $0.workers = "1"
      } edge: {
        $0.listeners[0].more.append("protocols: [h2c]")
        $0.upstreams[0].members += ["protocol: http2", "idle_connections: \(most)"]
        $0.hasAdmin = true
        $0.timeouts = ["idle: 1h"]
        $0.workers = "1"
      }
      let client = try HTTP2Client.cleartext(to: site.publicAddress, from: Peer.client(1))
      let streams = try (0..<5).map { try client.begin("/\($0)") }
      try eventually("all are asked") { arrived.now == 5 }
      mayAnswer.with { $0 = true }
      for stream in streams { #expect(try client.response(on: stream).text == "here") }
      try eventually("the others are closed") {
        try site.edge.metric("countersign_open_connections{side=\"upstream\"}") == most
          && site.edge.metric("countersign_idle_upstream_connections") == most
      }
      #expect(try client.get("/once/more").text == "here")
    }

    /// All of them, also those that are closed one behind the other.
    @Test func connectionsToAServerThatAReloadTakesAwayEnd() throws {
      let other = try RecordingBackend()
      let mayAnswer = Guarded(true)
      let arrived = Guarded(0)
      let site = try HTTP2Site { exchange in
        let connection = try exchange.speakHTTP2(.settings([(.maxConcurrentStreams, 1)]))
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .headers else { continue }
          arrived.with { $0 += 1 }
          _ = mayAnswer.wait(until: .usual) { $0 ? true : nil }
          let head = HTTP2Frame.headers(frame.stream, HPACKBlock([HPACKField(":status", "200")]).bytes, ends: true)
          try connection.send(head.bytes)
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2"]
        $0.timeouts = ["idle: 1h"]
        $0.workers = "1"
      }
      func open() throws -> Int? { try site.edge.metric("countersign_open_connections{side=\"upstream\"}") }
      let client = try site.begun()
      // Until this is answered the edge does not know how many streams a connection may have.
      #expect(try client.get("/first").status == 200)
      mayAnswer.with { $0 = false }
      // A connection that is new takes them all, for its limit is not known either.
      let streams = try (0..<6).map { count in
        let stream = try client.begin("/\(count)")
        try eventually("its connection") { arrived.now == count + 2 }
        return stream
      }
      try eventually("each has one") { try open() == streams.count }
      mayAnswer.with { $0 = true }
      for stream in streams { #expect(try client.response(on: stream).status == 200) }
      #expect(try open() == streams.count)
      var configuration = site.configuration
      configuration.upstreams[0].servers = ["\(other.address)"]
      try site.edge.reloadAccepting(configuration)
      try eventually("they end") { try open() == 0 }
    }

    // MARK: Responses

    /// Answers the first request of a connection of HTTP/2 with these frames.
    private static func answer(_ exchange: Exchange, _ frames: [HTTP2Frame]) throws {
      let connection = try exchange.speakHTTP2(.settings([]))
      while try connection.readHTTP2Frame().kind != .headers {}
      try connection.send(frames.flatMap(\.bytes))
      _ = try connection.readToEnd()
    }

    private static func head(_ fields: [(String, String)]) -> HTTP2Frame {
      .headers(1, HPACKBlock(fields.map { HPACKField($0.0, $0.1) }).bytes, ends: false)
    }

    private static func trailers(_ fields: [(String, String)]) -> HTTP2Frame {
      .headers(1, HPACKBlock(fields.map { HPACKField($0.0, $0.1) }).bytes, ends: true)
    }

    private static let longBodies: [[HTTP2Frame]] = [
      // What is too much looks like a trailer.
      [.data(1, Array("abcevil: 1\r\n\r\n".utf8), ends: false), trailers([("good", "22")])],
      [.data(1, Array("abc".utf8), ends: false), .data(1, Array("d".utf8), ends: true)],
      [.data(1, Array("abcd".utf8), ends: true)],
    ]

    /// RFC 9113 section 8.1.1: such a response is malformed, and none of it beyond its length passes, as trailers least of all.
    @Test(arguments: longBodies) func aResponseThatIsLongerThanItSaysIsCut(_ frames: [HTTP2Frame]) throws {
      let site = try HTTP2Site { exchange in
        try Self.answer(exchange, [Self.head([(":status", "200"), ("content-length", "3")])] + frames)
      } change: {
        $0.upstreams[0].members.append("protocol: http2")
      }
      let client = try site.begun()
      let stream = try client.begin("/long")
      let response = try client.response(on: stream)
      #expect(response.reset != nil && !response.hasEnded && response.trailers == nil)
      #expect(response.text == "abc" || response.text.isEmpty)
      #expect(try site.edge.access.wait(path: "/long").refusal == "upstream-response")
    }

    // MARK: Tunnels

    private static func upgrade(_ client: HTTP2Client, _ path: String, _ more: [(String, String)] = []) throws -> UInt32
    {
      let fields =
        [
          (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path),
          (":authority", Site.host), ("sec-websocket-version", "13"),
        ] + more
      return try client.open(HPACKBlock(fields.map { HPACKField($0.0, $0.1) }).bytes, ends: false)
    }

    /// RFC 9113 section 8.5: what is no DATA has no place in a tunnel, and its text must not come out at the other end.
    @Test func trailersAreNoBytesOfATunnel() throws {
      let site = try HTTP2Site { exchange in
        // It has not decided yet.
        exchange.takesBodyItself()
        _ = try exchange.connection.readToEnd()
      }
      let client = try site.begun()
      let stream = try Self.upgrade(client, "/tunnel")
      _ = try site.backend.waitForRequest(to: "/tunnel")
      try client.send(.headers(stream, HPACKBlock([HPACKField("x-trailer", "1")]).bytes))
      let response = try client.response(on: stream)
      try client.wait(for: "the reset") { $0.streams[stream]?.reset != nil }
      #expect(response.status == 400 || response.status == 0)
      #expect(client.streams[stream]?.reset == HTTP2Code.protocolError.rawValue)
      #expect(!site.backend.saw("x-trailer"))
    }

    /// Opens the tunnel that was asked for.
    private static func accept(_ exchange: Exchange) throws {
      let answer = WebSocketAccept.answer(to: exchange.head["sec-websocket-key"] ?? "")
      try exchange.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          + "Sec-WebSocket-Accept: \(answer)\r\n\r\n")
      exchange.takesBodyItself()
    }

    /// Neither side says anything before the tunnel is open, and nothing else is said on the connection.
    @Test func aTunnelIsOpenBeforeAnybodySpeaks() throws {
      let site = try HTTP2Site { exchange in
        try Self.accept(exchange)
        let said = try exchange.connection.readText(5)
        try exchange.send("\(said) back")
        _ = try exchange.connection.readToEnd()
      }
      let client = try site.begun()
      let stream = try Self.upgrade(client, "/tunnel")
      try client.wait(for: "the open tunnel") { $0.streams[stream]?.blocks.first?.status == 200 }
      try client.send(.data(stream, Array("hello".utf8), ends: false))
      try client.wait(for: "the answer") { $0.streams[stream]?.body == Array("hello back".utf8) }
      // It ends with what has no place in it, and nothing is answered behind its beginning.
      try client.send(.headers(stream, HPACKBlock([HPACKField("x-trailer", "1")]).bytes))
      try client.wait(for: "the reset") { $0.streams[stream]?.reset != nil }
      #expect(client.streams[stream]?.reset == HTTP2Code.protocolError.rawValue)
      #expect(client.streams[stream]?.blocks.count == 1 && client.streams[stream]?.body.count == 10)
      #expect(try site.edge.access.wait(refusal: "http2-pseudo-field").path == "/tunnel")
      #expect(!site.backend.saw("x-trailer"))
      try eventually("no tunnel is open") { try site.edge.metric("countersign_open_tunnels") == 0 }
    }

    @Test func aTunnelHasNoContentLength() throws {
      let site = try HTTP2Site()
      let client = try site.begun()
      let refused = try Self.upgrade(client, "/stated", [("content-length", "5")])
      #expect(try client.response(on: refused).status == 400)
      #expect(try site.edge.access.wait(path: "/stated").refusal == "content-length-mismatch")
      // Nothing is stated by none. The backend answers, and opens no tunnel.
      let empty = try Self.upgrade(client, "/empty", [("content-length", "0")])
      _ = try site.backend.waitForRequest(to: "/empty")
      try client.send(.data(empty, Array("early".utf8), ends: false))
      #expect(try client.response(on: empty).text == Peer.client())
      #expect(!site.backend.saw("/stated"))
    }

    // MARK: The end

    /// A connection whose first bytes come while the process drains is told like those before it.
    @Test func aConnectionThatBeginsInADrainIsToldToEnd() throws {
      let site = try HTTP2Site(change: {
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
        $0.workers = "1"
      })
      let client = try site.connect()
      try client.send(Array(HTTP2Client.preface.prefix(10)))
      // It was accepted, and its first bytes read, before what comes on another connection.
      #expect(try site.connect().connection.get("/before").status == 200)
      site.edge.process.signal(SIGTERM)
      _ = try site.edge.said("draining")
      try client.send(HTTP2Client.preface.dropFirst(10) + HTTP2Frame.settings([]).bytes)
      try client.wait(for: "the server's SETTINGS") { $0.hasSettings }
      let crossing = try client.begin("/crossing")
      #expect(try client.response(on: crossing).status == 200)
      try client.wait(for: "the second GOAWAY") { $0.goAwayCount == 2 }
      #expect(client.goAway?.lastStream == crossing)
      try client.waitForEnd()
      #expect(try site.edge.process.waitForExit() == .code(0))
    }
  }
}
