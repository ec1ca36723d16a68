// Responses of servers that speak HTTP/2 and keep to it loosely: what is no response is named, what never ends is ended, and nothing of it
// costs the client more than its request.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Responses {
    typealias Field = (String, String)

    /// A server's end of a connection, for what `serve` is to answer.
    struct Answering {
      let connection: Connection
      let stream: UInt32

      func head(_ fields: [Field], ends: Bool = false) -> [HTTP2Frame] {
        let block = HPACKBlock(fields.map { HPACKField($0.0, $0.1) }).bytes
        let pieces = stride(from: 0, to: max(1, block.count), by: 16_000).map {
          Array(block[$0..<min(block.count, $0 + 16_000)])
        }
        return pieces.enumerated().map { index, piece in
          let isLast = index == pieces.count - 1
          return index == 0
            ? .headers(stream, piece, ends: ends, isWhole: isLast) : .continuation(stream, piece, isWhole: isLast)
        }
      }

      func data(_ text: String, ends: Bool = false) -> [HTTP2Frame] { data(Array(text.utf8), ends: ends) }

      func data(_ bytes: [UInt8], ends: Bool = false) -> [HTTP2Frame] {
        stride(from: 0, to: bytes.count, by: 16_000).map {
          let end = min(bytes.count, $0 + 16_000)
          return .data(stream, Array(bytes[$0..<end]), ends: ends && end == bytes.count)
        }
      }

      func send(_ frames: [HTTP2Frame]) throws { try connection.send(frames.flatMap(\.bytes)) }

      /// Reads what comes until a frame is like that.
      func wait(for isIt: (HTTP2Frame) -> Bool) throws {
        while true {
          let frame = try connection.readHTTP2Frame()
          if frame.kind == .settings, !frame.has(HTTP2Frame.ack) { try send([.settingsAck]) }
          if isIt(frame) { return }
        }
      }
    }

    static let ok: [Field] = [(":status", "200"), ("content-type", "text/plain")]

    /// An edge in front of a server that answers each request by `answer`, and reads on behind that until the connection ends.
    static func site(
      _ settings: [(HTTP2Setting, UInt32)] = [], timeouts: [String] = [],
      _ answer: @escaping @Sendable (Answering, String) throws -> Void
    ) throws -> HTTP2Site {
      try HTTP2Site(keepsBytes: false) { exchange in
        let connection = try exchange.speakHTTP2(.settings(settings))
        var decoder = HPACKDecoder()
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .headers else { continue }
          let path = try decoder.decode(frame.payload).all(":path").first ?? ""
          try answer(Answering(connection: connection, stream: frame.stream), path)
        }
      } change: {
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
        $0.routes.insert("path_prefix: /gzip/, to: backend, compress: { types: [text/plain], minimum: 1B }", at: 0)
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = timeouts
        $0.workers = "1"
      }
    }

    // MARK: Trailers

    /// What waits for room that there never is waits until its time is over, a call of gRPC for an hour.
    @Test(arguments: [9_500, 17_000, 40_000], [false, true])
    func trailersBeyondTheLimitEndTheirStreamAtOnce(_ bytes: Int, isGRPC: Bool) throws {
      let site = try Self.site { server, _ in
        try server.send(server.head(Self.ok) + server.data("x"))
        try server.send(
          server.head([("grpc-status", "3"), ("x-large", String(repeating: "A", count: bytes))], ends: true))
      }
      let client = try site.begun()
      let fields = isGRPC ? [("content-type", "application/grpc"), ("te", "trailers")] : []
      let stream = try client.begin("/large", method: "POST", fields: fields, body: [0, 0, 0, 0, 0])
      let response = try client.response(on: stream, by: .after(30))
      #expect(response.reset == HTTP2Code.internalError.rawValue && response.trailers == nil, "\(client.summary)")
      let line = try site.edge.access.wait(path: "/large")
      #expect(line.refusal == "upstream-response")
      #expect(line.detail == "the response's trailers are malformed, too long, or hold a field that frames a message")
    }

    /// Those within it have room, also behind as much of a body as a server may send, of which the client has taken nothing.
    @Test func trailersHaveRoomBehindABodyThatWaits() throws {
      // What the client's stream holds, and a byte: the rest of it lies where the server's comes in.
      let (first, rest) = (32 * 1024 + 1, 65_534)
      let body = (0..<first + rest).map { UInt8(truncatingIfNeeded: $0 / 251) }
      let isSent = Guarded(false)
      let site = try Self.site { server, _ in
        try server.send(server.head(Self.ok) + server.data(Array(body[..<first])))
        try server.wait { $0.kind == .windowUpdate && $0.stream == server.stream }
        try server.send(server.data(Array(body[first...])))
        try server.send(server.head([("x-last", String(repeating: "A", count: 8_000))], ends: true) + [.ping()])
        try server.wait { $0.kind == .ping && $0.has(HTTP2Frame.ack) }
        isSent.with { $0 = true }
      }
      let client = try site.begun(settings: [(.initialWindowSize, 0)])
      let stream = try client.begin("/waits")
      try eventually("all of it is at the edge") { isSent.now }
      try client.send(.windowUpdate(stream, by: 200_000))
      let response = try client.response(on: stream)
      #expect(response.hasEnded && response.body == body, "\(client.summary)")
      #expect(response.trailers?.all("x-last").first?.count == 8_000)
    }

    // MARK: Lost connections

    /// The rest of its request had nowhere to go, and was sent for ever.
    @Test func aWholeResponseOnALostConnectionWaitsForItsClientWithoutWork() throws {
      let body = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
      let (isSent, mayBreak, isBroken) = (Guarded(false), Guarded(false), Guarded(false))
      let site = try Self.site([(.initialWindowSize, 0)]) { server, _ in
        try server.send(server.head(Self.ok) + server.data(body, ends: true) + [.ping()])
        try server.wait { $0.kind == .ping && $0.has(HTTP2Frame.ack) }
        isSent.with { $0 = true }
        _ = mayBreak.wait(until: .usual) { $0 ? true : nil }
        // DATA of no stream: an error of the connection.
        try server.send([.data(0, [1, 2, 3])])
        try server.wait { $0.kind == .goAway }
        isBroken.with { $0 = true }
        _ = try server.connection.readToEnd()
      }
      let client = try site.begun(settings: [(.initialWindowSize, 0)])
      let stream = try client.open(client.block("/waits", method: "POST"), ends: false)
      try eventually("the response is at the edge") { isSent.now }
      // By now the edge knows that the server has no window.
      try client.send(.data(stream, [UInt8](repeating: 0x79, count: 1_000)))
      try client.settle()
      mayBreak.with { $0 = true }
      try eventually("the edge has seen the error") { isBroken.now }
      let before = try site.edge.process.processorSeconds
      observe(seconds: 2)
      let used = try site.edge.process.processorSeconds - before
      #expect(used < 0.2, "\(used) s of 2 s")
      // It is whole all the same.
      try client.send(.windowUpdate(stream, by: 100_000))
      try client.wait(for: "the whole response") { $0.streams[stream]?.hasEnded == true }
      #expect(client.streams[stream]?.body == body)
      try client.send(.data(stream, [], ends: true))
      try eventually("its connection is closed behind it") {
        try site.edge.metric("countersign_open_connections{side=\"upstream\"}") == 0
      }
    }

    // MARK: Heads in time

    /// Interim responses are no sign that the head comes in time.
    @Test func interimResponsesDoNotPutTheEndOfTheHeadsTimeOff() throws {
      let site = try Self.site(timeouts: ["upstream_response: 700ms"]) { server, _ in
        for _ in 0..<60 {
          try server.send(server.head([(":status", "103"), ("link", "<x>")]))
          Thread.sleep(forTimeInterval: 0.1)
        }
        try server.send(server.head(Self.ok) + server.data("late", ends: true))
      }
      let response = try site.begun().get("/slow")
      #expect(response.status == 504 && (2...20).contains(response.interim.count), "\(response.interim.count)")
      #expect(try site.edge.access.wait(path: "/slow").refusal == "upstream-timeout")
    }

    @Test func moreInterimResponsesThanAnyoneNeedsAreRefused() throws {
      let site = try Self.site { server, path in
        let interim = server.head([(":status", "103"), ("link", "<x>")])
        for _ in 0..<(path == "/flood" ? 101 : 100) { try server.send(interim) }
        try server.send(server.head(Self.ok) + server.data("here", ends: true))
      }
      let client = try site.begun()
      let most = try client.get("/most")
      #expect(most.text == "here" && most.interim.count == 100)
      let flood = try client.get("/flood")
      #expect(flood.status == 502 && flood.interim.count == 100)
      let line = try site.edge.access.wait(path: "/flood")
      #expect(line.refusal == "upstream-response" && line.detail == "more interim responses (1xx) than are passed on")
    }

    // MARK: What is wrong is named

    struct Row: Sendable {
      let name: String
      /// What the server sends; then it waits.
      let frames: @Sendable (Answering) -> [HTTP2Frame]
      let detail: String
    }

    private static let excess = "the response's body is longer than its Content-Length"
    private static let pseudoField =
      "the response has no :status of three digits in front, or a pseudo-field that has no place there"
    private static let trailers =
      "the response's trailers are malformed, too long, or hold a field that frames a message"
    private static let interimEnd = "an interim response (1xx) ends its stream"

    /// Add a line for what the next server sends.
    static let rows: [Row] = [
      Row(
        name: "trailers-pseudo", frames: { $0.head(ok) + $0.data("x") + $0.head([(":status", "200")], ends: true) },
        detail: pseudoField),
      Row(
        name: "trailers-large",
        frames: {
          $0.head(ok) + $0.data("x")
            + $0.head((0..<2).map { ("x-\($0)", String(repeating: "z", count: 40_000)) }, ends: true)
        }, detail: trailers),
      Row(
        name: "trailers-length",
        frames: { $0.head(ok) + $0.data("x") + $0.head([("content-length", "1")], ends: true) },
        detail: trailers),
      Row(
        name: "second-head", frames: { $0.head(ok) + $0.data("x") + $0.head([("a", "b")]) },
        detail: "a second head behind the response's, or trailers that do not end it"),
      Row(
        name: "101", frames: { $0.head([(":status", "101")]) },
        detail: "the response has status 101, which HTTP/2 does not have"),
      Row(
        name: "upper-case", frames: { $0.head(ok + [("Upper", "x")]) },
        detail: "an upper-case letter in a field's name of the response"),
      Row(
        name: "transfer-encoding", frames: { $0.head(ok + [("transfer-encoding", "chunked")]) },
        detail: "the response has a field of HTTP/1 connections, such as Transfer-Encoding"),
      Row(name: "no-status", frames: { $0.head([("x", "y")], ends: true) }, detail: pseudoField),
      Row(name: "status-text", frames: { $0.head([(":status", "2x0")]) }, detail: pseudoField),
      Row(name: "status-twice", frames: { $0.head([(":status", "200"), (":status", "200")]) }, detail: pseudoField),
      Row(
        name: "value", frames: { $0.head(ok + [("x", "a\r\nb: c")]) },
        detail: "a control character, or an empty element, in a field's value of the response"),
      Row(name: "interim-ends", frames: { $0.head([(":status", "103")], ends: true) }, detail: interimEnd),
      Row(
        name: "content-first", frames: { $0.head([(":status", "103")]) + $0.data("x") },
        detail: "content came before the response's head"),
      Row(
        name: "too-long", frames: { $0.head(ok + [("content-length", "1")]) + $0.data("xx", ends: true) },
        detail: excess),
      Row(
        name: "large",
        frames: { $0.head(ok + (0..<3).map { ("x-\($0)", String(repeating: "z", count: 12_000)) }) },
        detail: "the response's head is larger than the limit"),
    ]

    /// The log says what a response was that cannot be taken, before its head was passed on and behind it, compressed or not.
    @Test func whatIsNoResponseIsNamed() throws {
      let site = try Self.site { server, path in
        guard let row = Self.rows.first(where: { path.hasSuffix("/" + $0.name) }) else { throw Trouble(path) }
        try server.send(row.frames(server))
      }
      for row in Self.rows {
        for path in ["/\(row.name)", "/gzip/\(row.name)"] {
          let client = try site.begun()
          let stream = try client.begin(path, fields: [("accept-encoding", "gzip")])
          let response = try client.response(on: stream)
          #expect(response.status == 502 || response.reset != nil, "\(path)")
          let line = try site.edge.access.wait(path: path)
          #expect(line.refusal == "upstream-response" && line.detail == row.detail, "\(path): \(line)")
        }
      }
    }

    // MARK: Ends

    /// Its client has all that was stated, and its connection is free for the next request, though the server leaves its stream open.
    @Test(arguments: ["/plain", "/gzip/a"]) func aResponseOfItsStatedLengthIsWholeThoughItsStreamDoesNotEnd(
      _ path: String
    ) throws {
      let isReset = Guarded(false)
      let site = try Self.site(timeouts: ["upstream_response: 1s"]) { server, path in
        guard path != "/next" else { return try server.send(server.head(Self.ok) + server.data("next", ends: true)) }
        try server.send(server.head(Self.ok + [("content-length", "4")]) + server.data("here"))
        try server.wait { $0.kind == .reset && $0.stream == server.stream }
        isReset.with { $0 = true }
      }
      let connection = try Connection(to: site.edge["cleartext"])
      #expect(try connection.get(path).text == "here")
      #expect(try connection.get("/next").text == "next")
      #expect(isReset.now)
      let line = try site.edge.access.wait(path: path)
      #expect(line.status == 200 && line.refusal == nil)
      // A stream ends as well.
      let response = try site.begun().get(path + "2")
      #expect(response.text == "here" && response.hasEnded)
    }
  }

  @Suite struct SlowHeads {
    /// With HTTP/1: neither single bytes of a head nor heads of interim responses hold its request for longer than its time.
    @Test(arguments: ["/bytes", "/interim"]) func theWholeHeadOfAResponseIsToComeInTime(_ path: String) throws {
      let backend = try RecordingBackend { exchange in
        for index in 0..<60 {
          try exchange.send(
            exchange.target == "/interim" ? "HTTP/1.1 103 E\r\n\r\n" : index == 0 ? "HTTP/1.1 200 OK\r\nX: " : "y")
          Thread.sleep(forTimeInterval: 0.1)
        }
        try exchange.send("\r\n\r\n")
      }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.timeouts = ["upstream_response: 700ms"]
      configuration.upstreams[0].members.append("retries: { count: 0 }")
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: try Workspace())
      let connection = try Connection(to: edge["public"])
      try connection.send(Text.request(path))
      var (status, interims) = (0, -1)
      repeat {
        status = try #require(try connection.readHead()).startLine.hasPrefix("HTTP/1.1 103 ") ? 103 : 504
        interims += 1
      } while status == 103
      #expect(path == "/bytes" ? interims == 0 : (2...20).contains(interims), "\(interims)")
      let line = try edge.access.wait(path: path)
      #expect(line.status == 504 && line.refusal == "upstream-timeout")
    }
  }
}
