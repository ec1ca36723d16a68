// One honest request, in every form that HTTP/1.1 allows it, from a real client through edge and validator to the
// backend.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct HonestRequest {
    private static let bound = Result { try Site(.bound, script: HonestRequest.script) }
    private static let shared = Result { try Site(.shared, script: HonestRequest.script) }
    private static let secure = Result { try Site(.bound, tls: true, hopTLS: true, script: HonestRequest.script) }

    private static func site(_ mode: Site.Mode) throws -> Site { try (mode == .bound ? bound : shared).get() }

    /// What the backend does, by path.
    @Sendable private static func script(_ exchange: Exchange) throws {
      switch exchange.target.prefix(while: { $0 != "?" }) {
      case "/echo":
        let body = try exchange.readBody()
        try exchange.reply(
          body.text,
          fields: ["X-Trailers: \(body.trailers.joined(separator: "|"))", "X-Was-Chunked: \(exchange.head.isChunked)"])
      case "/chunked":
        try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n")
        try exchange.send(Text.chunks(["one,", "two,", "three"], trailers: ["X-Checksum: 42"]))
      case "/until-close":
        try exchange.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is")
        exchange.end()
      case "/http10":
        try exchange.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        exchange.end()
      case "/no-content": try exchange.send("HTTP/1.1 204 No Content\r\n\r\n")
      case "/not-modified":
        try exchange.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n")
      case "/head": try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
      case "/early-hints":
        try exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        try exchange.reply("hinted")
      case "/continue":
        try exchange.send("HTTP/1.1 100 Continue\r\n\r\n")
        try exchange.reply("got \(try exchange.readBody().text)")
      case "/refuse-body":
        exchange.takesBodyItself()
        try exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        exchange.end()
      default:
        try exchange.reply(
          exchange.clientAddress, fields: ["X-Secret-Of-The-Hop: 1", "Connection: X-Secret-Of-The-Hop"])
      }
    }

    @Test(arguments: Site.Mode.allCases)
    func theBackendIsToldTheTrueAddressInPlainWords(_ mode: Site.Mode) throws {
      let site = try Self.site(mode)
      let path = "/plain/\(mode)"
      let connection = try site.connect(from: Peer.client(21))
      let port = try connection.localAddress.port
      let response = try connection.get(path, fields: ["User-Agent: test", "Cookie: a=b"])
      #expect(response.status == 200)
      #expect(response.text == Peer.client(21))
      let head = try site.backend.waitForRequest(to: path).head
      #expect(head["X-Forwarded-For"] == Peer.client(21))
      #expect(head["X-Forwarded-Proto"] == "http")
      #expect(head["X-Forwarded-Host"] == Site.host)
      #expect(head["X-Real-IP"] == Peer.client(21))
      let forwarded = try #require(head["Forwarded"])
      #expect(forwarded.contains("for=") && forwarded.contains(Peer.client(21)) && forwarded.contains("proto=http"))
      #expect(head["Host"] == Site.host)
      #expect(head["User-Agent"] == "test")
      #expect(head["Cookie"] == "a=b")
      #expect(Set(head.foldedNames).isDisjoint(with: ["client-attest", "signature", "signature-input", "connection"]))

      for (process, listener, via) in [(site.edge, "public", "socket"), (site.validator, "from-edge", "socket")] {
        let entry = try process.access.wait(path: path)
        #expect(entry.client == Peer.client(21))
        #expect(entry.client_port == Int(port))
        #expect(entry.via == via)
        #expect(entry.listener == listener)
        #expect(entry.method == "GET" && entry.status == 200 && entry.host == Site.host)
        #expect(entry.refusal == nil)
        #expect(entry.connection?.count == 32)
      }
      let ids = try [site.edge, site.validator].map { try $0.access.wait(path: path).connection }
      #expect(ids[0] == ids[1], "the two logs name one connection")
      #expect(try site.edge.access.wait(path: path).peer == "\(Peer.client(21)):\(port)")
    }

    @Test(arguments: ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
    func curlIsServedOverTLS(_ version: String) throws {
      let site = try Self.secure.get()
      let path = "/tls/\(version.count)"
      let options = version.split(separator: " ").map(String.init) + ["--cacert", try Certificates.standard.ca]
      let answer = try site.curl.fetch(site.url(path, scheme: "https"), from: Peer.client(5), options)
      #expect(answer.exit == .code(0), "\(answer.error)")
      #expect(answer.status == 200)
      #expect(answer.body == Peer.client(5))
      let head = try site.backend.waitForRequest(to: path).head
      #expect(head["X-Forwarded-Proto"] == "https")
      #expect(head["Forwarded"]?.contains("proto=https") == true)
      #expect(try site.edge.access.wait(path: path).tls == (version.contains("1.3") ? "TLSv1.3" : "TLSv1.2"))
    }

    @Test func aConnectionServesManyRequests() throws {
      for mode in Site.Mode.allCases {
        let connection = try Self.site(mode).connect(from: Peer.client(30))
        for index in 0..<50 {
          let response = try connection.get("/many/\(index)")
          #expect(response.status == 200 && response.text == Peer.client(30))
        }
      }
    }

    @Test(arguments: Site.Mode.allCases)
    func pipelinedRequestsAreAnsweredInOrder(_ mode: Site.Mode) throws {
      let connection = try Self.site(mode).connect()
      let bodies = (0..<40).map { "number \($0)" }
      try connection.send(bodies.map { Text.request("/echo?\($0.count)", method: "POST", body: $0) }.joined())
      for body in bodies { #expect(try connection.readResponse().text == body) }
    }

    @Test(arguments: Site.Mode.allCases)
    func requestsArriveWholeHoweverTheyAreCut(_ mode: Site.Mode) throws {
      let site = try Self.site(mode)
      let request =
        Text.request("/echo", method: "POST", fields: ["Transfer-Encoding: chunked"]) + Text.chunks(["split", "here"])
      let connection = try site.connect()
      for byte in request.utf8 { try connection.send([byte]) }
      #expect(try connection.readResponse().text == "splithere")
      for cut in stride(from: 1, to: request.utf8.count, by: 13) {
        try connection.send(Array(request.utf8.prefix(cut)))
        poll(nil, 0, 1)
        try connection.send(Array(request.utf8.dropFirst(cut)))
        #expect(try connection.readResponse().text == "splithere")
      }
    }

    @Test func theQueryAndPathReachTheBackendAsTheyWereSent() throws {
      let connection = try Self.bound.get().connect()
      for target in [
        "/a/./b/../c", "/%2e%2e/x", "//double//slash", "/x?a=b&c=%20&d=?/:@", "/x?", "/~user;p=1", "/a%2Fb?%00",
      ] {
        #expect(try connection.get(target).status == 200)
        #expect(try Self.bound.get().backend.waitForRequest(to: target).target == target)
      }
    }

    @Test func responsesWithoutABodyEndWithTheirHead() throws {
      for mode in Site.Mode.allCases {
        let connection = try Self.site(mode).connect()
        let head = try connection.get("/head", method: "HEAD")
        #expect(head.status == 200 && head["content-length"] == "1234")
        let none = try connection.get("/no-content")
        #expect(none.status == 204 && none["content-length"] == nil && none["transfer-encoding"] == nil)
        let same = try connection.get("/not-modified")
        #expect(same.status == 304 && same["etag"] == "\"a\"")
        #expect(try connection.get("/plain").status == 200)
        #expect(connection.heldCount == 0)
      }
    }

    @Test(arguments: Site.Mode.allCases)
    func chunkedBodiesAndTheirTrailersPassBothWays(_ mode: Site.Mode) throws {
      let connection = try Self.site(mode).connect()
      try connection.send(
        Text.request("/echo", method: "POST", fields: ["Transfer-Encoding: chunked", "Trailer: X-Sum"])
          + Text.chunks(["a", String(repeating: "b", count: 70_000), "c"], trailers: ["X-Sum: 7"]))
      let echo = try connection.readResponse()
      #expect(echo.text == "a" + String(repeating: "b", count: 70_000) + "c")
      #expect(echo["x-trailers"] == "X-Sum: 7")
      let down = try connection.get("/chunked")
      #expect(down.text == "one,two,three")
      #expect(down.trailers == ["X-Checksum: 42"])
      #expect(down.head.isChunked)
    }

    @Test func chunkExtensionsDoNotPass() throws {
      let connection = try Self.bound.get().connect()
      try connection.send(
        Text.request("/echo", method: "POST", fields: ["Transfer-Encoding: chunked"])
          + "5;x=\"y\"\r\nhello\r\n0;z\r\n\r\n")
      #expect(try connection.readResponse().text == "hello")
    }

    @Test(arguments: Site.Mode.allCases)
    func aResponseThatEndsWithItsConnectionArrivesWhole(_ mode: Site.Mode) throws {
      let connection = try Self.site(mode).connect()
      #expect(try connection.get("/until-close").text == "all there is")
      #expect(try Self.site(mode).connect().get("/http10").text == "old")
    }

    @Test(arguments: ["1.1", "2"]) func curlSendsABodyAfterTheBackendsContinue(_ version: String) throws {
      let site = try Self.secure.get()
      let answer = try site.curl.fetch(
        site.url("/continue", scheme: "https"),
        options([
          "--http\(version)", "--data-binary", "the body", "--header", "Expect: 100-continue", "--expect100-timeout",
          "30",
        ]))
      #expect(answer.exit == .code(0), "\(answer.error)")
      #expect(answer.heads.hasPrefix("HTTP/\(version) 100"))
      #expect(answer.body == "got the body")
    }

    private func options(_ more: [String]) throws -> [String] { ["--cacert", try Certificates.standard.ca] + more }

    /// The body is not sent before somebody wants it: the interim response is the backend's own.
    @Test(arguments: Site.Mode.allCases)
    func continueIsRelayedAndNotMadeUp(_ mode: Site.Mode) throws {
      let site = try Self.site(mode)
      let connection = try site.connect()
      try connection.send(
        "POST /continue HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
      #expect(try connection.readResponse(interim: true).status == 100)
      try connection.send("later")
      #expect(try connection.readResponse().text == "got later")

      let refused = try site.connect()
      try refused.send(
        "POST /refuse-body HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
      #expect(try refused.readResponse(interim: true).status == 413)
    }

    @Test func otherInterimResponsesAreRelayed() throws {
      let connection = try Self.bound.get().connect()
      try connection.send(Text.request("/early-hints"))
      let hints = try connection.readResponse(interim: true)
      #expect(hints.status == 103 && hints["link"] == "</a.css>")
      #expect(try connection.readResponse().text == "hinted")
    }

    /// RFC 9110 section 15.2: an HTTP/1.0 client is sent no 1xx.
    @Test func anOldClientIsServedInItsOwnTerms() throws {
      let site = try Self.bound.get()
      let connection = try site.connect()
      try connection.send("GET /early-hints HTTP/1.0\r\nHost: \(Site.host)\r\n\r\n")
      let response = try connection.readResponse(interim: true)
      #expect(response.status == 200 && response.text == "hinted")
      #expect(try connection.readToEnd() == [])

      let chunked = try site.connect()
      try chunked.send("GET /chunked HTTP/1.0\r\nHost: \(Site.host)\r\n\r\n")
      let head = try #require(try chunked.readHead())
      #expect(head["transfer-encoding"] == nil)
      #expect(String(decoding: try chunked.readToEnd(), as: UTF8.self) == "one,two,three")

      let kept = try site.connect()
      for _ in 0..<2 {
        try kept.send("GET /kept HTTP/1.0\r\nHost: \(Site.host)\r\nConnection: keep-alive\r\n\r\n")
        let response = try kept.readResponse()
        #expect(response.status == 200)
        #expect(response["connection"]?.lowercased() == "keep-alive")
      }
    }

    @Test func anAbsoluteTargetIsNormalised() throws {
      let site = try Self.bound.get()
      let connection = try site.connect()
      try connection.send("GET http://\(Site.host)/absolute?q=1 HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      #expect(try connection.readResponse().status == 200)
      #expect(try site.backend.waitForRequest(to: "/absolute?q=1").head["host"] == Site.host)
      try connection.send("GET http://\(Site.host) HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      #expect(try connection.readResponse().status == 200)
      _ = try site.backend.waitForRequest(to: "/")
    }

    @Test func theHopsOwnFieldsStayOnTheHop() throws {
      let site = try Self.bound.get()
      let connection = try site.connect()
      let response = try connection.get(
        "/hop",
        fields: [
          "Connection: keep-alive, X-Private", "X-Private: 1", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
          "TE: trailers", "X-Public: 2",
        ])
      #expect(response.status == 200)
      #expect(response["x-secret-of-the-hop"] == nil)
      let names = try site.backend.waitForRequest(to: "/hop").head.foldedNames
      #expect(Set(names).isDisjoint(with: ["x-private", "keep-alive", "proxy-connection"]))
      #expect(names.contains("x-public"))
    }

    @Test func closeIsHonoured() throws {
      let connection = try Self.bound.get().connect()
      let response = try connection.get("/close", fields: ["Connection: close"])
      #expect(response.status == 200)
      #expect(try connection.readToEnd() == [])
    }

    @Test func errorsSayNothingOfTheInside() throws {
      let site = try Site(.bound, edge: { $0.routes = ["path: \"/known\", to: monitor"] })
      let response = try site.connect().get("/unknown")
      #expect(response.status == 404)
      #expect(response.body.count < 200)
      for word in ["route", "upstream", "monitor", "validator", "countersign"] {
        #expect(!response.text.lowercased().contains(word))
      }
      #expect(try site.edge.access.wait(path: "/unknown").refusal == "route-none")
      #expect(site.backend.requests.isEmpty)
    }

    @Test func routesChooseByHostAndPathAnchoredAtBothEnds() throws {
      let second = try RecordingBackend { try $0.reply("second") }
      let site = try Site(
        .shared,
        edge: {
          $0.upstreams.append(
            Configuration.Upstream(name: "second", members: ["identity: none"], servers: ["\(second.address)"]))
          $0.routes = [
            #"host: second.example.com, to: second"#, #"path_prefix: /second/, to: second"#, "to: monitor",
          ]
        })
      let connection = try site.connect()
      #expect(try connection.get("/x", host: "second.example.com").text == "second")
      #expect(try connection.get("/x", host: "SECOND.example.com").text == "second")
      #expect(try connection.get("/second/x").text == "second")
      for (target, host) in [
        ("/x/second/x", Site.host), ("/second", Site.host), ("/x", "second.example.com.evil"),
        ("/x", "secondXexample.com"),
      ] {
        #expect(try connection.get(target, host: host).text == Peer.client())
      }
      #expect(
        Set(second.requests.flatMap(\.head.foldedNames)).isDisjoint(with: [
          "x-forwarded-for", "client-attest", "x-real-ip", "forwarded",
        ]))
    }

    @Test(arguments: Site.Mode.allCases)
    func anIPv6ClientIsKnownByItsAddress(_ mode: Site.Mode) throws {
      let site = try Site(
        mode,
        edge: {
          $0.listeners[0].trust = [
            "from: [\(Peer.balancers)], evidence: proxy-protocol", "from: any, evidence: socket",
          ]
        })
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send("PROXY TCP6 2001:db8:0:0:0:0:0:5 2001:db8::1 1025 443\r\n")
      #expect(try connection.get("/six").text == "2001:db8::5")
      let head = try site.backend.waitForRequest(to: "/six").head
      #expect(head["x-real-ip"] == "2001:db8::5")
      #expect(head["forwarded"]?.contains("for=\"[2001:db8::5]\"") == true, "\(head["forwarded"] ?? "")")
    }

    /// A proxy on this machine that forgot to pass its client on looks just like a client on this machine: neither is
    /// served.
    @Test func whoComesFromTheListenersOwnAddressIsNobody() throws {
      let site = try Site(.bound)
      let response = try site.connect(from: "127.0.0.1").get("/own")
      #expect(response.status == 403)
      // Somebody is trying it out.
      #expect(response.text == "403 Forbidden\nclient-infrastructure\n")
      let entry = try site.edge.access.wait(path: "/own")
      #expect(entry.refusal == "client-infrastructure")
      #expect(
        entry.detail
          == "127.0.0.1 is the address of the listener public; where programs on this host are clients write "
          + "{ from: [127.0.0.1], evidence: socket }")
      #expect(!site.backend.saw("/own"))
    }

    /// The operator's word for exactly that address, and `check` says what it means.
    @Test(arguments: Site.Mode.allCases)
    func whoComesFromTheListenersOwnAddressIsAClientWhereARuleNamesIt(_ mode: Site.Mode) throws {
      let site = try Site(mode, edge: { $0.listeners[0].trust = ["from: [127.0.0.1], evidence: socket"] })
      #expect(
        try site.connect(from: "127.0.0.1").get("/own", fields: ["X-Forwarded-For: \(Peer.claimed)"]).text
          == "127.0.0.1")
      #expect(try site.edge.access.wait(path: "/own").via == "socket")
      let file = try site.workspace.write("checked.yaml", site.edgeConfiguration.text)
      let check = try Countersign.command("check", "-c", file)
      #expect(check.exit == .code(0))
      #expect(
        check.error.contains("warning: every program on this host that connects from 127.0.0.1 is taken for a client"))
    }

    @Test func listenersAndServersMayBeUnixSockets() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let inner = workspace.file("inner.sock")
      let keys = try Keys.standard
      var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: true)
      behind.listeners[0].listen = "unix:\(inner)"
      let validator = try Countersign(behind, name: "validator", in: workspace)
      #expect(validator.process.standardError.text.contains("from-edge=unix:\(inner)"))
      let edge = try Countersign(Configuration.edge(keys: keys, to: ["unix:\(inner)"], bound: true), in: workspace)
      let response = try Connection(to: edge["public"], from: Peer.client(9)).get("/unix")
      #expect(response.text == Peer.client(9))
      #expect(try validator.access.wait(path: "/unix").peer == "unix")
    }
  }
}
