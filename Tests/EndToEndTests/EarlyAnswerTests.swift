// Answers that come before their request is over: they reach also a client that reads nothing before it has sent everything,
// and where the framing is intact the connection goes on.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct EarlyAnswers {
    /// The body of a request whose method is refused is not read as the next request: behind a load balancer that shares
    /// connections it would be a request that names its own client.
    @Test(arguments: ["Content-Length", "chunked"], [0, 1])
    func theBodyOfARefusedMethodIsNotARequest(_ framing: String, _ before: Int) throws {
      let backend = try RecordingBackend { try $0.reply($0.clientAddress) }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: forwarded"]
      let edge = try Countersign(configuration, in: Workspace())
      let connection = try Connection(to: edge["public"], from: Peer.balancer)
      let honest = ["X-Forwarded-For: \(Peer.client(1))"]
      func get(_ path: String) throws {
        let response = try connection.get(path, fields: honest)
        #expect(response.text == Peer.client(1), "\(path): \(response.status) \(response.text)\n\(edge.process.tail)")
      }
      for _ in 0..<before { try get("/before") }
      let inner = Text.request("/smuggled", fields: ["X-Forwarded-For: \(Peer.claimed)"])
      if framing == "chunked" {
        try connection.send(
          Text.request("/refused", method: "TRACE", fields: honest + ["Transfer-Encoding: chunked"])
            + Text.chunks([inner]))
      } else {
        try connection.send(
          "TRACE /refused HTTP/1.1\r\nHost: \(Site.host)\r\n\(honest[0])\r\nContent-Length: \(inner.utf8.count)\r\n\r\n"
            + inner)
      }
      #expect(try connection.readResponse().status == 405)
      // The connection is in step: what follows is the next request.
      try get("/after")
      #expect(!backend.saw("/smuggled"))
    }

    /// How a server answers without reading the body. A new finding is a new case.
    enum Server: String, CaseIterable, CustomTestStringConvertible {
      case keepsItsConnection, closes, closesAndSaysSo, resetsAfterwards, answersInChunks, answersALot
      var testDescription: String { rawValue }

      static let lot = 3 << 20

      var text: String { self == .answersALot ? String(repeating: "x", count: Self.lot) : "too large" }

      func answer(_ exchange: EndToEndTests.Exchange) throws {
        exchange.takesBodyItself()
        let head = "HTTP/1.1 413 Content Too Large\r\n"
        switch self {
        case .answersInChunks:
          try exchange.send(head + "Transfer-Encoding: chunked\r\n\r\n3\r\ntoo\r\n6\r\n large\r\n0\r\n\r\n")
        case .closesAndSaysSo:
          try exchange.send(head + "Connection: close\r\nContent-Length: \(text.utf8.count)\r\n\r\n" + text)
        default: try exchange.send(head + "Content-Length: \(text.utf8.count)\r\n\r\n" + text)
        }
        switch self {
        case .keepsItsConnection, .answersInChunks, .answersALot: _ = try exchange.connection.readToEnd()
        default: break
        }
        if self == .resetsAfterwards { exchange.reset() }
        exchange.end()
      }
    }

    private static let size = 8 << 20

    private static func upload(_ connection: Connection, chunked: Bool) throws {
      let block = [UInt8](repeating: 0x62, count: 1 << 20)
      let framing = chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(size)"
      try connection.send("POST /upload HTTP/1.1\r\nHost: \(Site.host)\r\n\(framing)\r\n\r\n")
      for _ in 0..<size / block.count {
        if chunked { try connection.send("\(String(block.count, radix: 16))\r\n") }
        try connection.send(block)
        if chunked { try connection.send("\r\n") }
      }
      if chunked { try connection.send("0\r\nX-Trailer: t\r\n\r\n") }
    }

    @Test(.threads(1), arguments: Server.allCases, Site.Mode.allCases)
    func anAnswerBeforeItsRequestIsOverReachesAClientThatSendsFirst(_ server: Server, _ mode: Site.Mode) throws {
      let site = try Site(mode, keepsBytes: false) { exchange in
        guard exchange.target == "/upload" else { return try exchange.reply(exchange.clientAddress) }
        try server.answer(exchange)
      }
      for chunked in [false, true] {
        let connection = try site.connect(from: Peer.client(21))
        try Self.upload(connection, chunked: chunked)
        let response: HTTPResponse
        if server == .answersALot {
          response = HTTPResponse(try #require(try connection.readHead()))
          #expect(response.head.contentLength == Server.lot)
          var left = Server.lot
          while left > 0 {
            if connection.heldCount == 0 { _ = try connection.fill() }
            left -= connection.take(min(left, connection.heldCount)).count
          }
        } else {
          response = try connection.readResponse()
          #expect(response.text == server.text)
        }
        #expect(response.status == 413)
        // The connection is in step: what comes behind the upload is served.
        #expect(response["connection"] == nil)
        #expect(try connection.get("/behind").text == Peer.client(21))
      }
    }

    @Test func ourOwnLimitIsHeardByAClientThatSendsFirst() throws {
      let site = try Site(.shared, keepsBytes: false, edge: { $0.limits = ["body: 100KiB"] })
      for chunked in [false, true] {
        let connection = try site.connect()
        try Self.upload(connection, chunked: chunked)
        #expect(try connection.readResponse().status == 413)
        #expect(try connection.readToEnd() == [])
      }
    }

    /// Refusals that leave the framing intact leave the connection too, with a body behind them.
    @Test func aRequestBehindARefusedBodyIsServed() throws {
      let site = try Site(.shared, edge: { $0.routes = ["path: \"/known\", to: monitor"] })
      let connection = try site.connect(from: Peer.client(22))
      try connection.send(
        Text.request("/unknown", method: "POST", body: "a body that is no request")
          + "POST /unknown HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
          + Text.request("/known"))
      #expect(try connection.readResponse().status == 404)
      #expect(try connection.readResponse().status == 404)
      #expect(try connection.readResponse().text == Peer.client(22))
    }

    /// Whether a body comes after a final answer to `Expect: 100-continue` is open, so the connection cannot be used again.
    @Test func anAnswerInPlaceOfContinueEndsTheConnection() throws {
      let site = try Site(
        .shared,
        script: { exchange in
          exchange.takesBodyItself()
          try exchange.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
          _ = try exchange.connection.readToEnd()
          exchange.end()
        }, edge: { $0.routes = ["path: \"/known\", to: monitor"] })
      for (path, status) in [("/known", 403), ("/unknown", 404)] {
        let connection = try site.connect()
        try connection.send(
          "POST \(path) HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n")
        let response = try connection.readResponse()
        #expect(response.status == status)
        #expect(response["connection"]?.lowercased() == "close")
        #expect(try connection.readToEnd() == [])
      }
    }

    /// Broken framing in what is only read to be dropped ends the connection, not in front of a request.
    @Test func brokenFramingBehindAnAnswerEndsTheConnection() throws {
      let site = try Site(.shared, edge: { $0.routes = ["path: \"/known\", to: monitor"] })
      let connection = try site.connect()
      try connection.send(
        "POST /unknown HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
          + Text.request("/known"))
      #expect(try connection.readResponse().status == 404)
      #expect(try connection.readToEnd() == [])
      #expect(!site.backend.saw("/known"))
    }

    /// Each direction has its own trailers: those of the request take nothing from the response.
    @Test func trailersOfARequestLeaveAnEarlyChunkedResponseWhole() throws {
      let site = try Site(.shared) { exchange in
        exchange.takesBodyItself()
        try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        let body = try exchange.connection.readChunked()
        try exchange.send("1\r\n\(body.trailers.count)\r\n0\r\n\r\n")
      }
      let connection = try site.connect()
      try connection.send("POST /early HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
      let head = try #require(try connection.readHead())
      #expect(head.isChunked)
      try connection.send("0\r\nX-Trailer: t\r\n\r\n")
      #expect(try connection.readChunked().text == "half1")
    }

    /// And the other way round: a response that begins between a request's trailers and its end brings no second end.
    @Test func aResponseThatBeginsWithTheTrailersBringsNoSecondEnd() throws {
      let gate = Guarded(0)
      let backend = try RecordingBackend { exchange in
        exchange.takesBodyItself()
        gate.with { $0 = 1 }
        _ = gate.wait(until: .usual) { $0 == 2 ? true : nil }
        try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        gate.with { $0 = 3 }
        let body = try exchange.connection.readChunked()
        let more = try exchange.connection.fill(withinSeconds: 0.2)
        try exchange.send(
          "4\r\n\(body.trailers.count) \(more == nil && exchange.connection.heldCount == 0 ? "ok" : "no")\r\n0\r\n\r\n")
      }
      let edge = try Countersign(Configuration.plainEdge(to: ["\(backend.address)"]), in: try Workspace())
      let connection = try Connection(to: edge["public"])
      try connection.send("POST /early HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
      _ = gate.wait(until: .usual) { $0 == 1 ? true : nil }
      // Both are there when the edge looks next.
      edge.process.signal(SIGSTOP)
      try connection.send("0\r\nX-Trailer: t\r\n\r\n")
      gate.with { $0 = 2 }
      _ = gate.wait(until: .usual) { $0 == 3 ? true : nil }
      edge.process.signal(SIGCONT)
      let head = try #require(try connection.readHead())
      #expect(head.isChunked)
      #expect(try connection.readChunked().text == "half1 ok")
    }
  }
}
