// What routes change about requests and responses on their way. Whatever is changed, what is signed is what is sent: the validator verifies
// it, and the client's address arrives.

import Testing

extension EndToEnd {
  @Suite struct RouteChanges {
    // MARK: The target

    /// Through edge and validator: the path that the backend sees, and the client that it is told.
    @Test(arguments: Site.Mode.allCases) func aChangedPathIsSignedAsItIsSent(_ mode: Site.Mode) throws {
      let site = try Site(
        mode,
        edge: {
          $0.routes = [
            "path_prefix: /api, strip_prefix: /api, to: monitor",
            "path_prefix: /deep/er/, strip_prefix: /deep, to: monitor",
            "path_regex: '/v([0-9]+)/(.*)', rewrite: '/new/$2?version=$1', to: monitor",
            "path_regex: '/user/([^/]+)', rewrite: '/u/$1', to: monitor",
            "path: /fixed, rewrite: /other/page, to: monitor",
            "path_prefix: /norm, strip_prefix: /norm, normalize: true, to: monitor", "to: monitor",
          ]
        })
      let connection = try site.connect()
      for (sent, seen) in [
        ("/api", "/"), ("/api/", "/"), ("/api/x/y?z=1", "/x/y?z=1"), ("/api//evil.example/x", "/evil.example/x"),
        ("/deep/er/x", "/er/x"), ("/v12/a/b", "/new/a/b?version=12"), ("/v3/?q=1", "/new/?version=3"),
        ("/user/ada%20b?x", "/u/ada%20b?x"), ("/fixed?q", "/other/page?q"), ("/%6eorm/a%2Fb%20c", "/a/b%20c"),
        ("/rest", "/rest"),
      ] {
        let answer = try connection.get(sent)
        #expect(answer.status == 200 && answer.text == Peer.client(), "\(sent)")
        #expect(site.backend.requests.last?.target == seen)
        // The log has what the client asked for.
        #expect(try site.edge.access.wait(path: sent).verified == "enforce")
        #expect(try site.validator.access.wait(path: seen).client == Peer.client())
      }
    }

    /// A server would resolve the rest of the path together with what the route put in front of it.
    @Test(arguments: [
      "/t/x/../../t/secret", "/t/%2e%2e/t/secret", "/t/./x", "/strip/../strip/x", "/../any/x", "/%2E%2e/any",
    ]) func noPathLeadsOutOfWhatItIsChangedTo(_ path: String) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = [
        "path_regex: '/t/(.*)', rewrite: '/tenant-a/$1', to: backend",
        "path_prefix: /strip, strip_prefix: /strip, to: backend",
        "path_regex: '/(.*)', rewrite: '/rest/$1', to: backend",
      ]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      #expect(try connection.get(path).status == 400)
      let entry = try edge.access.wait(refusal: "path-ambiguous")
      #expect(entry.detail == "the path has `.` or `..`, or does not begin as the route's change needs it")
      #expect(backend.requests.isEmpty)
      // The connection goes on, and other encodings are no hindrance.
      #expect(try connection.get("/t/a%20b/c%2Fd//e").status == 200)
      #expect(backend.requests.last?.target == "/tenant-a/a%20b/c%2Fd//e")
    }

    /// Neither does one whose segments of dots come about only where a group of the pattern is put behind a slash, or between two.
    @Test(arguments: [
      "/x../secret", "/x..", "/x./y", "/x..%2Fsecret", "/x%2e%2e/secret", "/x.%2e/secret", "/y../secret",
      "/y%2e%2e/secret",
      "/z/a..b/secret", "/r../secret", "/x.//secret",
    ]) func noSegmentOfDotsComesAbout(_ path: String) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = [
        "path_regex: '/x(.*)', rewrite: '/tenant/$1', to: backend",
        "path_regex: '/y(.*)', normalize: true, rewrite: '/tenant/$1', to: backend",
        "path_regex: '/z/a(.*)b/(.*)', rewrite: '/tenant/$1/$2', to: backend",
        "path_regex: '/r(.*)', redirect: { path: '/tenant/$1' }",
      ]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      #expect(try connection.get(path).status == 400)
      #expect(try edge.access.wait(refusal: "path-ambiguous").path == path)
      #expect(backend.requests.isEmpty)
      // Other dots are no hindrance, and a query has no segments.
      for (sent, seen) in [
        ("/x...", "/tenant/..."), ("/x.well-known/a", "/tenant/.well-known/a"), ("/xa..b/c%20d", "/tenant/a..b/c%20d"),
        ("/xa?b=/../c", "/tenant/a?b=/../c"),
      ] {
        #expect(try connection.get(sent).status == 200)
        #expect(backend.requests.last?.target == seen)
      }
    }

    /// The normal form has no such segments.
    @Test func aPathInNormalFormIsChangedAsItIsRead() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = [
        "path_regex: '/t/(.*)', normalize: true, rewrite: '/tenant-a/$1', to: backend",
        "path_regex: '/old/(.*)', normalize: true, redirect: { path: '/new/$1' }", "to: backend",
      ]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      #expect(try connection.get("/t/x/../%61/y").status == 200)
      #expect(backend.requests.last?.target == "/tenant-a/a/y")
      #expect(try connection.get("/x/../%6fld/a%20b").head["location"] == "http://\(Site.host)/new/a%20b")
    }

    /// With the stricter of two routes a path may begin with other segments that begin alike.
    @Test func aPrefixIsTakenAwayOfWholeSegments() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = ["path_prefix: /api, strip_prefix: /api, to: backend", "to: backend"]
      configuration.more = ["path_mismatch: stricter"]
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).get("/api%2Fx").status == 400)
      #expect(backend.requests.isEmpty)
    }

    /// A body, and another try: each is written and signed anew.
    @Test func aChangedPathIsChangedOnEachTry() throws {
      let site = try Site(
        .shared,
        script: { exchange in
          if exchange.head["x-try"] == nil, exchange.target.hasPrefix("/first") { return exchange.reset() }
          try exchange.reply(exchange.clientAddress)
        },
        edge: { $0.routes = ["path_prefix: /api, strip_prefix: /api, to: monitor"] })
      let connection = try site.connect()
      try connection.send(Text.request("/api/x", method: "PUT", body: "a body"))
      #expect(try connection.readResponse().text == Peer.client())
      #expect(try connection.get("/api/first").status == 502)
      #expect(site.backend.requests(to: "/first").count >= 2, "the validator tries again")
    }

    // MARK: The host

    @Test func aRewrittenHostIsSignedAsItIsSent() throws {
      let site = try Site(.shared, edge: { $0.upstreams[0].members.append("host: rewritten") })
      #expect(try site.connect().get("/").text == Peer.client())
      let request = try #require(site.backend.requests.last)
      let server = try site.validator["from-edge"]
      #expect(request.head["host"] == "\(server)")
      #expect(try site.validator.access.wait(path: "/").client == Peer.client())
    }

    @Test func aRewrittenHostIsTheServersName() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["localhost:\(backend.address.port)"])
      configuration.upstreams[0].members.append("host: rewritten")
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).get("/").status == 200)
      let head = try #require(backend.requests.last).head
      #expect(head["host"] == "localhost:\(backend.address.port)")
      #expect(head["x-forwarded-host"] == Site.host)
    }

    // MARK: Fields

    @Test func fieldsOfARequestAreSetAddedAndRemoved() throws {
      let site = try Site(
        .shared,
        edge: {
          $0.routes = [
            "to: monitor, request_headers: { set: { X-Kind: edge, X-From: \"$client/$scheme/$host/$tls_version\" }, "
              + "add: { X-More: two }, remove: [X-Secret, Cookie] }"
          ]
        })
      let answer = try site.connect().get(
        "/",
        fields: [
          "X-Kind: mine", "x_kind: mine too", "X-More: one", "X-Secret: s", "Cookie: a=b", "X-From: nobody",
          "X-Other: o",
          "X-Forwarded-For: 6.6.6.6",
        ])
      #expect(answer.text == Peer.client())
      let head = try #require(site.backend.requests.last).head
      #expect(head.all("x-kind") == ["edge"] && head.all("x_kind") == [])
      #expect(head["x-from"] == "\(Peer.client())/http/\(Site.host)/")
      #expect(head.all("x-more") == ["one", "two"])
      #expect(head.all("x-secret") == [] && head.all("cookie") == [])
      #expect(head["x-other"] == "o" && head["x-forwarded-for"] == Peer.client())
    }

    @Test func fieldsOfAResponseAreSetAddedAndRemoved() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend {
        try $0.reply("fine", fields: ["Server: secret/1.2", "X-Powered-By: it", "Cache-Control: public", "X-A: 1"])
      }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [try Certificates.standard.app]
      configuration.listeners.append(Configuration.Listener(name: "plain"))
      configuration.routes = [
        "to: backend, hsts: { max_age: 180d, include_subdomains: true }, response_headers: { set: { Cache-Control: no-store }, "
          + "add: { X-A: $tls_version }, remove: [X-Powered-By] }"
      ]
      configuration.more = ["headers: { server: edge, via: edge-a }"]
      let edge = try Countersign(configuration, in: workspace)
      let secure = try Connection.tls(to: edge["public"]).get("/")
      #expect(secure.text == "fine" && secure["server"] == "edge" && secure["via"] == "1.1 edge-a")
      #expect(secure.head.all("cache-control") == ["no-store"] && secure.head.all("x-powered-by") == [])
      #expect(secure.head.all("x-a") == ["1", "TLSv1.3"])
      #expect(secure["strict-transport-security"] == "max-age=15552000; includeSubDomains")
      // RFC 6797 section 7.2: not without TLS.
      let plain = try Connection(to: edge["plain"]).get("/")
      #expect(plain["strict-transport-security"] == nil && plain.head.all("x-a") == ["1", ""])
      #expect(try #require(backend.requests.last).head["via"] == "1.1 edge-a")
    }

    /// RFC 9110 section 7.6.3.
    @Test(arguments: ["1.0", "1.1", "2.0"]) func viaSaysByWhichVersionAMessageCame(_ version: String) throws {
      let site = try Site(
        .shared,
        validator: {
          $0.listeners[0].more.append("protocols: [h2c]")
          $0.more.append("headers: { via: validator }")
        },
        edge: {
          $0.listeners[0].more.append("protocols: [h2c, http/1.1]")
          $0.upstreams[0].members.append("protocol: http2")
          $0.more.append("headers: { via: edge }")
        })
      let answer: [String]
      if version == "2.0" {
        let client = try HTTP2Client.cleartext(to: site.publicAddress, from: Peer.client())
        answer = try client.get("/").fields.all("via")
      } else {
        let connection = try site.connect()
        try connection.send("GET / HTTP/\(version)\r\nHost: \(Site.host)\r\n\r\n")
        answer = try connection.readResponse().head.all("via")
      }
      #expect(answer == ["1.1 validator", "2.0 edge"])
      #expect(try #require(site.backend.requests.last).head.all("via") == ["\(version) edge", "2.0 validator"])
    }

    /// A server may take what stands in trailers for what stands in a head.
    @Test func whatARouteTakesAwayComesInNoTrailers() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.routes = ["to: backend, request_headers: { set: { X-Kind: edge }, remove: [X-Secret] }"]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      try connection.send(
        Text.request("/", method: "POST", fields: ["Transfer-Encoding: chunked"])
          + Text.chunks(["body"], trailers: ["x_kind: mine", "X-Other: o", "X-Secret: s"]))
      #expect(try connection.readResponse().status == 200)
      #expect(try #require(backend.requests.last).head["x-kind"] == "edge")
      #expect(backend.saw("X-Other: o") && !backend.saw("mine") && !backend.saw("X-Secret"))
    }

    @Test func aServerFieldCanBeRemoved() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend { try $0.reply("fine", fields: ["Server: secret/1.2"]) }
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.more = ["headers: { server: remove }"]
      let edge = try Countersign(configuration, in: workspace)
      #expect(try Connection(to: edge["public"]).get("/").head.all("server") == [])
      withExtendedLifetime(backend) {}
    }

    // MARK: X-Request-Id

    @Test(arguments: ["pass", "keep", "make"]) func aRequestHasTheNumberThatIsConfigured(_ mode: String) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.more = ["headers: { request_id: \(mode) }"]
      configuration.routes = ["to: backend, response_headers: { set: { X-Seen: $request_id } }"]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      func ask(_ fields: [String]) throws -> (seen: [String], told: String?) {
        let answer = try connection.get("/", fields: fields)
        return (backend.requests.last?.head.all("x-request-id") ?? [], answer["x-seen"])
      }
      let own = try ask(["X-Request-Id: abc-1.2"])
      let bad = try ask(["X-Request-Id: a\u{22}b"])
      let two = try ask(["X-Request-Id: a", "x-request-id: b"])
      let none = try ask([])
      func isNumber(_ text: String?) -> Bool { text?.wholeMatch(of: /[0-9a-f]{32}-[0-9]+/) != nil }
      func isOurs(_ answer: (seen: [String], told: String?)) -> Bool {
        answer.seen.count == 1 && answer.seen.first == answer.told && isNumber(answer.told)
      }
      switch mode {
      case "pass":
        #expect(own.seen == ["abc-1.2"] && own.told == "abc-1.2")
        #expect(bad.seen == ["a\"b"] && two.seen == ["a", "b"] && none.seen == [])
        for answer in [bad, two, none] { #expect(isNumber(answer.told)) }
      case "keep":
        #expect(own.seen == ["abc-1.2"] && own.told == "abc-1.2")
        for answer in [bad, two, none] {
          #expect(isOurs(answer))
        }
      default:
        for answer in [own, bad, two, none] {
          #expect(isOurs(answer))
        }
        #expect(Set([own, bad, two, none].map { $0.told }).count == 4, "each request has its own")
      }
    }

    /// What a route says of it comes before what `headers` says.
    @Test func aRouteMaySayTheNumberItself() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.more = ["headers: { request_id: make }"]
      configuration.routes = [
        "path: /set, to: backend, request_headers: { set: { x_request_id: mine } }",
        "path: /none, to: backend, request_headers: { remove: [X-Request-Id] }", "to: backend",
      ]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      func seen(_ path: String, _ name: String) throws -> [String] {
        #expect(try connection.get(path, fields: ["X-Request-Id: theirs"]).status == 200)
        return backend.requests.last?.head.all(name) ?? []
      }
      #expect(try seen("/set", "x-request-id") == [] && seen("/set", "x_request_id") == ["mine"])
      #expect(try seen("/none", "x-request-id") == [])
      #expect(try seen("/", "x-request-id").count == 1)
    }

    /// A retry, a tunnel and a large head carry the changes as well.
    @Test func aTunnelCarriesTheChanges() throws {
      let site = try Site(
        .shared,
        script: { exchange in
          try exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nServer: secret\r\n\r\n")
          exchange.end()
        },
        edge: {
          $0.routes = [
            "path_prefix: /ws, strip_prefix: /ws, to: monitor, request_headers: { set: { X-Kind: tunnel } }, response_headers: { remove: [Server], set: { X-B: c } }"
          ]
        })
      let connection = try site.connect()
      try connection.send(
        Text.request(
          "/ws/room",
          fields: [
            "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
          ]))
      let head = try #require(try connection.readHead())
      #expect(head.startLine.contains("101") && head["x-b"] == "c" && head.all("server") == [])
      let request = try #require(site.backend.requests.last)
      #expect(request.target == "/room" && request.head["x-kind"] == "tunnel")
    }

    @Test func aHeadThatGrowsTooLargeIsRefused() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.limits = ["head: 512KiB"]
      configuration.routes = ["path_regex: '/(.*)', rewrite: '/$1$1$1', to: backend"]
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      try connection.send(Text.request("/" + String(repeating: "a", count: 300_000)))
      #expect(try connection.readResponse().status == 431)
      #expect(try edge.access.wait(refusal: "head-too-large").status == 431)
      #expect(backend.requests.isEmpty)
    }
  }
}
