// Compressed responses: whole for whoever takes them, prompt, bounded by what the client takes, visibly cut where the server's was, and
// never where a response may hold a secret beside what somebody else has chosen.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct CompressedResponses {
    private static let text = (0..<4_000).map { "line \($0 * 7_919 % 4_001) of a page that repeats itself\n" }.joined()
    private static let gzip = "Accept-Encoding: gzip"
    private static let html = "Content-Type: text/html; charset=utf-8"

    /// An edge whose routes lead to a backend with this script: what is below /as-is is not compressed.
    private final class Bench {
      let workspace: Workspace
      let edge: Countersign
      let backend: RecordingBackend
      let configuration: Configuration

      init(
        compress: String = "true", route: String = "", keepsBytes: Bool = true,
        _ script: @escaping RecordingBackend.Script = {
          try $0.reply(CompressedResponses.text, fields: [CompressedResponses.html])
        },
        change: (inout Configuration) throws -> Void = { _ in }
      ) throws {
        workspace = try Workspace()
        backend = try RecordingBackend(keepsBytes: keepsBytes, script)
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.listeners = [
          .init(), .init(name: "h2c", more: ["protocols: [h2c]"]),
          .init(name: "tls", certificates: [try Certificates.standard.app]),
        ]
        configuration.hasAdmin = true
        configuration.routes = ["path_prefix: /as-is, to: backend", "to: backend, compress: \(compress)\(route)"]
        try change(&configuration)
        self.configuration = configuration
        edge = try Countersign(configuration, in: workspace)
      }

      func connect() throws -> Connection { try Connection(to: edge["public"]) }

      func stream() throws -> HTTP2Client {
        let client = HTTP2Client(over: try Connection(to: edge["h2c"]), scheme: "http")
        try client.begin([])
        return client
      }

      func metric(_ name: String) throws -> Int { try edge.metric("countersign_\(name)") ?? -1 }
    }

    private static func unpacked(_ bytes: [UInt8]) throws -> String {
      String(decoding: try Gunzip.text(bytes), as: UTF8.self)
    }

    // MARK: Whole

    @Test(arguments: ["--http1.1", "--http2"]) func curlReadsIt(version: String) throws {
      let bench = try Bench {
        try $0.reply(
          $0.target == "/small" ? "small" : Self.text,
          fields: [Self.html, "ETag: \"v1\"", "Accept-Ranges: bytes", "Vary: Origin"])
      }
      let curl = Curl(workspace: bench.workspace)
      func ask(_ path: String, _ more: String...) throws -> Curl.Answer {
        try curl.fetch(
          "https://\(Site.host):\(try bench.edge["tls"].port)\(path)",
          [version, "--cacert", try Certificates.standard.ca] + more)
      }
      let packed = try ask("/page", "--compressed")
      #expect(packed.status == 200 && packed.body == Self.text && packed.exit == .code(0), "\(packed.error)")
      let heads = packed.heads.lowercased()
      #expect(packed.version == (version == "--http2" ? "2" : "1.1"))
      #expect(heads.contains("content-encoding: gzip\r\n") && heads.contains("etag: w/\"v1\"\r\n"))
      #expect(heads.contains("vary: origin\r\n") && heads.contains("vary: accept-encoding\r\n"))
      #expect(!heads.contains("content-length") && !heads.contains("accept-ranges"))
      #expect(heads.contains("transfer-encoding: chunked") == (version != "--http2"))
      // Another worker may serve the next one, and its line may come first.
      let entry = try bench.edge.access.wait(path: "/page")
      let plain = try ask("/page")
      #expect(plain.body == Self.text && plain.heads.lowercased().contains("vary: accept-encoding\r\n"))
      #expect(plain.heads.lowercased().contains("etag: \"v1\"\r\n"))
      #expect(plain.heads.lowercased().contains("content-length: \(Self.text.utf8.count)\r\n"))
      let small = try ask("/small", "--compressed")
      #expect(small.body == "small" && !small.heads.lowercased().contains("accept-encoding"))
      let other = try ask("/as-is", "--compressed")
      #expect(other.body == Self.text && !other.heads.lowercased().contains("accept-encoding"))
      // A large part of 200 KB is saved, and counted as what the client got.
      #expect(try #require(entry.bytes_out) < Self.text.utf8.count / 3)
      #expect(try bench.metric("compressed_responses_total") == 1)
      #expect(try bench.metric("compressed_bytes_total{stage=\"before\"}") == Self.text.utf8.count)
      #expect(try bench.metric("compressed_bytes_total{stage=\"after\"}") < Self.text.utf8.count / 3)
      #expect(try bench.metric("compressions_skipped_total") == 0)
    }

    /// However the server frames it; and the connection serves what follows.
    @Test func allWaysToFrameAResponse() throws {
      let bench = try Bench { exchange in
        let start = "HTTP/1.1 200 OK\r\n\(Self.html)\r\n"
        switch exchange.target {
        case "/chunked":
          let third = Self.text.utf8.count / 3
          let bytes = Array(Self.text.utf8)
          let parts = [bytes[..<third], bytes[third..<third + 1], bytes[(third + 1)...]]
          try exchange.send(
            start + "Transfer-Encoding: chunked\r\n\r\n"
              + Text.chunks(
                parts.map { String(decoding: $0, as: UTF8.self) },
                trailers: ["X-Sum: 7", "Content-Digest: sha-256=:x:", "digest: y"]))
        case "/close":
          try exchange.send(start + "\r\n" + Self.text)
          exchange.end()
        case "/old":
          try exchange.send("HTTP/1.0 200 OK\r\n\(Self.html)\r\n\r\n" + Self.text)
          exchange.end()
        case "/empty": try exchange.send(start + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        case "/post":
          let body = try exchange.readBody()
          try exchange.reply(Self.text + body.text, fields: [Self.html])
        default: try exchange.reply(Self.text, fields: [Self.html])
        }
      }
      let connection = try bench.connect()
      let client = try bench.stream()
      for target in ["/chunked", "/close", "/old", "/length", "/empty", "/length"] {
        let answer = try connection.get(target, fields: [Self.gzip])
        let expected = target == "/empty" ? "" : Self.text
        #expect(answer["content-encoding"] == "gzip" && answer["transfer-encoding"] == "chunked", "\(target)")
        #expect(try Self.unpacked(answer.body) == expected, "\(target)")
        // What digests tell is not true of what is sent.
        #expect(answer.trailers == (target == "/chunked" ? ["X-Sum: 7"] : []))
        let streamed = try client.get(target, fields: [("accept-encoding", "gzip")])
        #expect(streamed["content-encoding"] == "gzip" && streamed["content-length"] == nil, "\(target)")
        #expect(try Self.unpacked(streamed.body) == expected, "\(target)")
        let trailers = (streamed.trailers ?? []).map { field in "\(field.nameText): \(field.valueText)" }
        #expect(trailers == (target == "/chunked" ? ["x-sum: 7"] : []))
      }
      try connection.send(Text.request("/post", method: "POST", fields: [Self.gzip], body: "a body"))
      #expect(try Self.unpacked(connection.readResponse().body) == Self.text + "a body")
    }

    /// From a stream of HTTP/2 to a client of HTTP/1.1, behind a request with a body.
    @Test(arguments: Site.Mode.allCases) func anEdgeCompressesWhatItsValidatorSends(_ mode: Site.Mode) throws {
      let site = try Site(
        mode,
        script: { exchange in
          let body = try exchange.readBody()
          try exchange.reply("\(exchange.clientAddress) \(body.text) \(Self.text)", fields: [Self.html])
        },
        validator: { $0.listeners[0].more.append("protocols: [h2c]") },
        edge: {
          $0.upstreams[0].members.append("protocol: http2")
          $0.routes = ["to: monitor, compress: true"]
        })
      let connection = try site.connect()
      for target in ["/one", "/two"] {
        try connection.send(Text.request(target, method: "PUT", fields: [Self.gzip], body: "a body"))
        let answer = try connection.readResponse()
        #expect(answer["content-encoding"] == "gzip")
        #expect(try Self.unpacked(answer.body) == "\(Peer.client()) a body \(Self.text)")
      }
    }

    @Test func aRequestThatIsTriedAgainIsCompressedOnce() throws {
      let tries = Guarded(0)
      let bench = try Bench { exchange in
        let count = tries.with {
          $0 += 1
          return $0
        }
        let body = try exchange.readBody()
        if count == 1 { return exchange.reset() }
        try exchange.reply(Self.text + body.text, fields: [Self.html])
      }
      let connection = try bench.connect()
      try connection.send(Text.request("/again", method: "PUT", fields: [Self.gzip], body: "held"))
      #expect(try Self.unpacked(connection.readResponse().body) == Self.text + "held")
      #expect(tries.now == 2)
      #expect(try bench.metric("compressed_responses_total") == 1)
    }

    // MARK: Not for everybody

    @Test func whoShowsWhoHeIsGetsItAsItIs() throws {
      let bench = try Bench { exchange in
        try exchange.reply(
          Self.text, fields: [Self.html] + (exchange.target == "/login" ? ["Set-Cookie: id=secret"] : []))
      }
      let connection = try bench.connect()
      for field in ["Cookie: a=b", "Authorization: Bearer t"] {
        let answer = try connection.get("/page", fields: [Self.gzip, field])
        #expect(answer.text == Self.text && answer["content-encoding"] == nil && answer["vary"] == "Accept-Encoding")
      }
      let login = try connection.get("/login", fields: [Self.gzip])
      #expect(login.text == Self.text && login["content-encoding"] == nil && login["vary"] == nil)
      #expect(try Self.unpacked(connection.get("/page", fields: [Self.gzip]).body) == Self.text)
      let streamed = try bench.stream().get("/page", fields: [("accept-encoding", "gzip"), ("cookie", "a=b")])
      #expect(streamed.text == Self.text && streamed["content-encoding"] == nil)
      let open = try Bench(compress: "{ with_credentials: true }") { exchange in
        try exchange.reply(Self.text, fields: [Self.html, "Set-Cookie: id=secret"])
      }
      let answer = try open.connect().get("/page", fields: [Self.gzip, "Cookie: a=b", "Authorization: Bearer t"])
      #expect(try Self.unpacked(answer.body) == Self.text && answer["set-cookie"] == "id=secret")
    }

    @Test func aCertificateShowsWhoSomebodyIs() throws {
      let certificates = try Certificates.standard
      let bench = try Bench(change: {
        $0.listeners[2].clientCertificates = "ca: \"\(certificates.ca)\", require: false"
      })
      let curl = Curl(workspace: bench.workspace)
      let url = "https://\(Site.host):\(try bench.edge["tls"].port)/page"
      let options = ["--http1.1", "--cacert", certificates.ca, "--compressed"]
      let own = ["--cert", certificates.client.certificate, "--key", certificates.client.key]
      let shown = try curl.fetch(url, options + own)
      #expect(shown.body == Self.text && !shown.heads.lowercased().contains("content-encoding"), "\(shown.error)")
      #expect(try curl.fetch(url, options).heads.lowercased().contains("content-encoding: gzip"))
    }

    /// Of a client whose TLS ends at a load balancer; on each stream, and after a reload too.
    @Test func aCertificateThatAPROXYHeaderTellsOfIsOne() throws {
      let bench = try Bench(change: {
        for i in 0...1 {
          $0.listeners[i].trust = [
            "from: [\(Peer.balancers)], evidence: proxy-protocol", "from: any, evidence: socket",
          ]
        }
        $0.workers = "1"
      })
      func begin(_ listener: String, _ client: UInt8) throws -> Connection {
        let connection = try Connection(to: bench.edge[listener], from: Peer.balancer)
        try connection.send(
          SignedProxyHeader.signature
            + [0x21, 0x11, 0, 20, 127, 10, 0, 9, 127, 0, 0, 1, 4, 1, 1, 187, 0x20, 0, 5, client, 0, 0, 0, 0])
        return connection
      }
      var kept: [(Connection, HTTP2Client, String?)] = []
      // 1: TLS; 2 and 4: a certificate on this connection, in this session.
      for (bits, expected) in [(1, "gzip"), (3, nil), (5, nil), (7, nil)] as [(UInt8, String?)] {
        let client = HTTP2Client(over: try begin("h2c", bits), scheme: "http")
        try client.begin([])
        kept.append((try begin("public", bits), client, expected))
      }
      func ask() throws {
        for (connection, client, expected) in kept {
          let answer = try connection.get("/", fields: [Self.gzip])
          #expect(answer.status == 200 && answer["content-encoding"] == expected)
          #expect(answer["vary"] == "Accept-Encoding")
          let streamed = try client.get("/", fields: [("accept-encoding", "gzip")])
          #expect(streamed["content-encoding"] == expected && streamed["vary"] == "Accept-Encoding")
        }
      }
      try ask()
      var next = bench.configuration
      next.routes.insert("path_prefix: /more, to: backend", at: 0)
      try bench.edge.reloadAccepting(next)
      try eventually("the reload is in force") { try bench.metric("worker_reloads_total") == 1 }
      try ask()
    }

    @Test func anOldClientGetsItAsItIs() throws {
      let bench = try Bench()
      let connection = try bench.connect()
      try connection.send("GET /old HTTP/1.0\r\nHost: a\r\n\(Self.gzip)\r\n\r\n")
      let answer = try connection.readResponse()
      #expect(answer.text == Self.text && answer["vary"] == "Accept-Encoding")
    }

    /// As far as it can be told without the content (RFC 9110 section 9.3.2).
    @Test func headIsToldWhatGetIs() throws {
      let bench = try Bench { exchange in
        switch exchange.head["if-none-match"] {
        case nil: try exchange.reply(Self.text, fields: [Self.html, "ETag: \"v1\"", "Accept-Ranges: bytes"])
        case _?: try exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")
        }
      }
      let connection = try bench.connect()
      func names(_ head: HTTPHead) -> [String] { head.foldedNames.sorted() }
      for fields in [[Self.gzip], []] {
        let (get, head) = (
          try connection.get("/", fields: fields), try connection.get("/", method: "HEAD", fields: fields)
        )
        #expect(get.status == 200 && head.status == 200)
        #expect(names(head.head) == names(get.head).filter { $0 != "transfer-encoding" })
        #expect(get["etag"] == head["etag"])
        let again = try connection.get("/", fields: fields + ["If-None-Match: \(try #require(get["etag"]))"])
        #expect(again.status == 304 && again["etag"] == get["etag"] && again["vary"] == "Accept-Encoding")
      }
      #expect(try bench.metric("compressed_responses_total") == 1)
    }

    /// A part has the Vary of the whole, and a 304 the tag of what the client has.
    @Test func partsAndConditionsAreToldAsTheirClientsHaveThem() throws {
      let bench = try Bench { exchange in
        switch (exchange.head["range"], exchange.head["if-none-match"]) {
        case (_?, _):
          try exchange.send(
            "HTTP/1.1 206 Partial Content\r\n\(Self.html)\r\nContent-Range: bytes 0-3/9999\r\nContent-Length: 4\r\n"
              + "ETag: \"v1\"\r\n\r\nline")
        case (nil, _?): try exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")
        case (nil, nil): try exchange.reply(Self.text, fields: [Self.html, "ETag: \"v1\""])
        }
      }
      let connection = try bench.connect()
      let part = try connection.get("/", fields: [Self.gzip, "Range: bytes=0-3"])
      #expect(
        part.status == 206 && part.text == "line" && part["etag"] == "\"v1\"" && part["vary"] == "Accept-Encoding")
      for (tag, expected) in [("W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\""), ("\"v0\", W/\"v1\"", "W/\"v1\"")] {
        let answer = try connection.get("/", fields: [Self.gzip, "If-None-Match: \(tag)"])
        #expect(answer.status == 304 && answer["etag"] == expected && answer["vary"] == "Accept-Encoding")
      }
      let plain = try connection.get("/", fields: [Self.gzip, "Cache-Control: no-transform"])
      #expect(plain.text == Self.text && plain["content-encoding"] == nil && plain["vary"] == "Accept-Encoding")
    }

    @Test func whatARouteRemovesStaysAway() throws {
      let bench = try Bench(route: ", response_headers: { remove: [ETag], set: { X-A: b, Vary: Origin } }") {
        try $0.reply(Self.text, fields: [Self.html, "ETag: \"v1\"", "Vary: Accept-Encoding"])
      }
      let answer = try bench.connect().get("/", fields: [Self.gzip])
      #expect(answer.head.all("etag") == [] && answer["x-a"] == "b" && answer["content-encoding"] == "gzip")
      // But for what caches have to know.
      #expect(answer.head.all("vary") == ["Origin", "Accept-Encoding"])
    }
  }
}
