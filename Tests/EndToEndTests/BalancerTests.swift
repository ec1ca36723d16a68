// Real HAProxy and nginx in front of the edge, in each way that they can pass a client's address on; and what happens
// when one of them forgets to.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct Balancers {
    /// The edge believes balancers, and only in the way its rule names; the way on is bound.
    private static func site(_ rule: String, tls: Bool = false, more: [String] = []) throws -> Site {
      try Site(
        .bound, tls: tls,
        edge: { $0.listeners[0].trust = ["from: [\(Peer.balancers)], \(rule)", "from: any, evidence: socket"] + more })
    }

    private static let proxied = Result { try site("evidence: proxy-protocol") }
    private static let forwarded = Result {
      try site("evidence: forwarded, header: x-forwarded-for, hops: [\(Peer.hops)]")
    }
    private static let chained = Result { try site("evidence: proxy-protocol, then: forwarded, hops: [\(Peer.hops)]") }

    private func mark() -> String { "/balanced/\(UUID().uuidString)" }

    /// A request through the balancer arrives with its client's address, known in this way.
    private func arrives(
      _ site: Site, through address: Address, from source: String = Peer.client(11), as client: String? = nil,
      via: String,
      scheme: String = "http", fields: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let mark = mark()
      let options = fields.flatMap { ["--header", $0] } + ["--cacert", try Certificates.standard.ca]
      let answer = try site.curl.fetch("\(scheme)://\(Site.host):\(address.port)\(mark)", from: source, options)
      #expect(answer.status == 200, "\(answer.error) \(answer.heads)", sourceLocation: sourceLocation)
      #expect(answer.body == client ?? source, sourceLocation: sourceLocation)
      let entry = try site.edge.access.wait(path: mark)
      #expect(entry.via == via, sourceLocation: sourceLocation)
      #expect(entry.client == client ?? source, sourceLocation: sourceLocation)
      #expect(entry.peer?.hasPrefix("127.20.0.") == true, sourceLocation: sourceLocation)
      #expect(entry.rule?.hasPrefix("line ") == true, sourceLocation: sourceLocation)
      let head = try site.backend.waitForRequest(to: mark).head
      #expect(head["x-forwarded-proto"] == scheme, sourceLocation: sourceLocation)
      #expect(!head.text.contains("127.20.0."), sourceLocation: sourceLocation)
      #expect(!head.text.contains(Peer.claimed), sourceLocation: sourceLocation)
    }

    /// It is refused by this name, the client gets no answer from the backend, and the backend sees nothing.
    private func isRefused(
      _ site: Site, as refusal: String, sourceLocation: SourceLocation = #_sourceLocation,
      _ attempt: (String) throws -> Void
    ) throws {
      let start = site.edge.access.end
      let mark = mark()
      try attempt(mark)
      let entry = try site.edge.access.wait(from: start, for: refusal) { $0.refusal != nil }
      #expect(entry.refusal == refusal, sourceLocation: sourceLocation)
      let honest = "\(mark)/honest"
      #expect(try site.connect().get(honest).text == Peer.client(), sourceLocation: sourceLocation)
      #expect(!site.backend.saw("\(mark) "), sourceLocation: sourceLocation)
    }

    // MARK: PROXY protocol

    @Test(arguments: [("send-proxy", "proxy-v1"), ("send-proxy-v2", "proxy-v2")])
    func haproxysHeaderIsBelieved(_ option: String, _ via: String) throws {
      let site = try Self.proxied.get()
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: option, in: site.workspace)
      try arrives(site, through: balancer.address, via: via)
      try arrives(
        site, through: balancer.address, from: Peer.client(200), via: via, fields: ["X-Forwarded-For: \(Peer.claimed)"])
    }

    @Test(arguments: [("send-proxy", "proxy-v1"), ("send-proxy-v2", "proxy-v2")])
    func haproxysHeaderComesBeforeTheClientsTLS(_ option: String, _ via: String) throws {
      let site = try Self.site("evidence: proxy-protocol", tls: true)
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: option, in: site.workspace)
      try arrives(site, through: balancer.address, via: via, scheme: "https")
    }

    /// The balancer took the client's TLS off and says so; then the client used https.
    @Test func haproxysWordOnTLSIsBelieved() throws {
      let site = try Self.proxied.get()
      let certificate = try Certificates.standard.app
      let both = try site.workspace.write(
        "haproxy.pem",
        String(contentsOfFile: certificate.certificate, encoding: .utf8)
          + String(contentsOfFile: certificate.key, encoding: .utf8))
      let balancer = try HAProxy(
        """
        listen balancer
          mode tcp
          bind fd@3 ssl crt \(both) alpn http/1.1
          server edge \(try site.publicAddress) source \(Peer.balancer) send-proxy-v2-ssl-cn \
            proxy-v2-options ssl,authority,unique-id,crc32c
          unique-id-format %{+X}o\\ %ci:%cp
        """, in: site.workspace)
      try arrives(site, through: balancer.address, via: "proxy-v2", scheme: "https")
    }

    @Test func nginxsHeaderIsBelieved() throws {
      let site = try Self.proxied.get()
      let balancer = try Nginx(
        .stream,
        "server { listen LISTEN; proxy_pass \(try site.publicAddress); proxy_protocol on; proxy_bind \(Peer.balancer); }",
        in: site.workspace)
      try arrives(site, through: balancer.address, via: "proxy-v1", fields: ["Forwarded: for=\(Peer.claimed)"])
    }

    @Test(arguments: [false, true])
    func aBalancerThatForgetsTheHeaderIsRefused(_ tls: Bool) throws {
      let site = try Self.site("evidence: proxy-protocol", tls: tls)
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: "", in: site.workspace)
      let start = site.edge.access.end
      let scheme = tls ? "https" : "http"
      let mark = mark()
      let answer = try site.curl.fetch("\(scheme)://\(Site.host):\(balancer.address.port)\(mark)", ["--insecure"])
      #expect(answer.status == 0)
      #expect(try site.edge.access.wait(from: start, for: "a refusal") { $0.refusal != nil }.refusal == "proxy-missing")
      #expect(site.backend.requests.isEmpty && !site.backend.saw(mark))
      #expect(site.validator.access.entries.allSatisfy { $0.path != mark })
    }

    /// What HAProxy sends for its own health checks names no client. With `checks` it is answered (BalancerCheckTests).
    @Test func aHealthCheckThatNamesNoClientIsRefused() throws {
      let site = try Self.proxied.get()
      let start = site.edge.access.end
      let balancer = try HAProxy(
        """
        listen balancer
          mode tcp
          option httpchk GET /check
          bind fd@3
          server edge \(try site.publicAddress) source \(Peer.balancer) send-proxy-v2 check inter 50ms
        """, in: site.workspace)
      _ = try site.edge.access.wait(refusal: "proxy-local", from: start)
      #expect(!site.backend.saw("/check"))
      withExtendedLifetime(balancer) {}
    }

    @Test func aHeaderThatNamesNobodyOrIsBrokenIsRefused() throws {
      let site = try Self.proxied.get()
      let v2 = SignedProxyHeader.signature
      let cases: [(String, [UInt8])] = [
        ("proxy-missing", []),
        ("proxy-local", v2 + [0x20, 0x00, 0, 0]),
        ("proxy-local", v2 + [0x20, 0x11, 0, 12, 203, 0, 113, 66, 127, 0, 0, 1, 4, 1, 1, 187]),
        ("proxy-family", v2 + [0x21, 0x00, 0, 0]),
        ("proxy-family", v2 + [0x21, 0x12, 0, 12, 203, 0, 113, 66, 127, 0, 0, 1, 4, 1, 1, 187]),
        ("proxy-version", v2 + [0x11, 0x11, 0, 12, 203, 0, 113, 66, 127, 0, 0, 1, 4, 1, 1, 187]),
        ("proxy-length", v2 + [0x21, 0x11, 0, 4, 203, 0, 113, 66]),
        ("proxy-length", v2 + [0x21, 0x11, 255, 255, 203, 0, 113, 66]),
        ("proxy-address", v2 + [0x21, 0x11, 0, 12, 0, 0, 0, 0, 127, 0, 0, 1, 4, 1, 1, 187]),
        ("proxy-family", Array("PROXY UNKNOWN\r\n".utf8)),
        ("proxy-malformed", Array("PROXY TCP4 203.0.113.066 127.0.0.1 1025 443\r\n".utf8)),
        ("proxy-malformed", Array("PROXY TCP4 203.0.113.66 127.0.0.1 1025\r\n".utf8)),
        ("proxy-malformed", Array("PROXY TCP4  203.0.113.66 127.0.0.1 1025 443\r\n".utf8)),
        ("proxy-malformed", Array("PROXY TCP4 203.0.113.66 127.0.0.1 1025 443\n".utf8)),
      ]
      for (refusal, header) in cases {
        try isRefused(site, as: refusal) { mark in
          let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
          try connection.send(header + Array(Text.request(mark).utf8))
          #expect(try connection.readToEnd() == [], "\(refusal)")
        }
      }
    }

    /// A balancer's own range, and that of the edges, is nobody's address.
    @Test func aHeaderThatNamesABalancerAsTheClientIsRefused() throws {
      let site = try Self.proxied.get()
      try isRefused(site, as: "client-infrastructure") { mark in
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        try connection.send("PROXY TCP4 127.20.0.9 127.0.0.1 1025 443\r\n" + Text.request(mark))
        _ = try? connection.readToEnd()
      }
    }

    @Test func onlyTheNamedPeersMayAnnounceClients() throws {
      let site = try Self.proxied.get()
      try isRefused(site, as: "request-line") { mark in
        let connection = try Connection(to: site.publicAddress, from: Peer.client(3))
        try connection.send("PROXY TCP4 \(Peer.claimed) 127.0.0.1 1025 443\r\n" + Text.request(mark))
        #expect(try connection.readResponse().status == 400)
      }
      #expect(!site.backend.saw(Peer.claimed))
    }

    @Test func aSecondHeaderIsBadHTTP() throws {
      let site = try Self.proxied.get()
      try isRefused(site, as: "request-line") { mark in
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        try connection.send(
          "PROXY TCP4 \(Peer.client(5)) 127.0.0.1 1025 443\r\nPROXY TCP4 \(Peer.claimed) 127.0.0.1 1025 443\r\n"
            + Text.request(mark))
        #expect(try connection.readResponse().status == 400)
      }
    }

    @Test func aHeaderMayComeByteByByte() throws {
      let site = try Self.proxied.get()
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      for byte in "PROXY TCP4 \(Peer.client(6)) 127.0.0.1 1025 443\r\n".utf8 { try connection.send([byte]) }
      #expect(try connection.get(mark()).text == Peer.client(6))
      #expect(try connection.get(mark()).text == Peer.client(6))
    }

    // MARK: Forwarded

    /// nginx in front, with what its manual tells people to write.
    private func nginx(
      _ site: Site, xff: String = "$proxy_add_x_forwarded_for", from: String = Peer.balancer, to: Address? = nil
    ) throws -> Nginx {
      try Nginx(
        .http,
        """
        server { listen LISTEN; location / {
          proxy_pass http://\(try to ?? site.publicAddress); proxy_bind \(from); proxy_http_version 1.1;
          proxy_set_header Host $http_host; proxy_set_header Connection "";
          proxy_set_header X-Forwarded-For \(xff); } }
        """, in: site.workspace)
    }

    @Test func nginxsForwardedForIsReadFromTheRight() throws {
      let site = try Self.forwarded.get()
      let balancer = try nginx(site)
      try arrives(site, through: balancer.address, via: "forwarded")
      try arrives(site, through: balancer.address, via: "forwarded", fields: ["X-Forwarded-For: \(Peer.claimed)"])
      try arrives(
        site, through: balancer.address, via: "forwarded",
        fields: ["X-Forwarded-For: \(Peer.claimed), \(Peer.hop)", "X-Real-IP: \(Peer.claimed)"])
      try arrives(
        site, through: balancer.address, via: "forwarded", fields: ["X-Forwarded-For: garbage, \(Peer.claimed)"])
    }

    @Test func twoNginxesInARowAreSteppedOver() throws {
      let site = try Self.forwarded.get()
      let inner = try nginx(site)
      let outer = try nginx(site, from: Peer.hop, to: inner.address)
      try arrives(site, through: outer.address, via: "forwarded", fields: ["X-Forwarded-For: \(Peer.claimed)"])
    }

    @Test func aForwardedFieldThatSaysNothingSureIsRefused() throws {
      let site = try Self.forwarded.get()
      let cases: [(String, [String], Int)] = [
        ("forwarded-missing", [], 403),
        ("forwarded-invalid", ["X-Forwarded-For: unknown"], 400),
        ("forwarded-invalid", ["X-Forwarded-For: \(Peer.claimed), "], 400),
        ("forwarded-invalid", ["X-Forwarded-For: \(Peer.claimed), garbage"], 400),
        ("forwarded-invalid", ["X-Forwarded-For: \(Peer.claimed), garbage, \(Peer.hop)"], 400),
        ("forwarded-invalid", ["X-Forwarded-For: 203.0.113.066"], 400),
        ("forwarded-exhausted", ["X-Forwarded-For: \(Peer.hop)"], 403),
        ("forwarded-exhausted", ["X-Forwarded-For: \(Peer.hop), 127.30.9.9"], 403),
        ("client-infrastructure", ["X-Forwarded-For: \(Peer.client(1)), 127.20.0.77"], 403),
      ]
      for (refusal, fields, status) in cases {
        try isRefused(site, as: refusal) { mark in
          let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
          #expect(try connection.get(mark, fields: fields).status == status, "\(fields)")
        }
      }
      #expect(!site.backend.saw(Peer.claimed))
    }

    /// All lines count, in their order, as one list.
    @Test func theLastLineIsTheRightEnd() throws {
      let site = try Self.forwarded.get()
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(
        try connection.get(mark(), fields: ["X-Forwarded-For: \(Peer.claimed)", "X-Forwarded-For: \(Peer.client(8))"])
          .text == Peer.client(8))
      #expect(
        try connection.get(
          mark(), fields: ["X-Forwarded-For: \(Peer.client(9)), \(Peer.hop)", "X-Forwarded-For: 127.30.4.4"]
        ).text == Peer.client(9))
      // Each request of a balancer's connection speaks for its own client.
      #expect(try connection.get(mark(), fields: ["X-Forwarded-For: \(Peer.client(10))"]).text == Peer.client(10))
    }

    @Test func theStandardForwardedFieldIsReadToo() throws {
      let site = try Self.site("evidence: forwarded, header: forwarded, hops: [\(Peer.hops)]")
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      let cases = [
        ("for=\(Peer.client(8))", Peer.client(8)),
        ("for=\(Peer.claimed), for=\"\(Peer.client(9)):4711\";proto=https;by=\(Peer.hop)", Peer.client(9)),
        ("FOR=\(Peer.client(10)), for=\(Peer.hop)", Peer.client(10)),
        ("for=\"[2001:db8::5]:80\"", "2001:db8::5"),
      ]
      for (value, client) in cases {
        #expect(
          try connection.get(mark(), fields: ["Forwarded: \(value)", "X-Forwarded-For: \(Peer.claimed)"]).text
            == client, "\(value)")
      }
      for value in ["for=unknown", "for=_hidden", "by=\(Peer.client())", "for=\(Peer.client(1));for=\(Peer.claimed)"] {
        try isRefused(site, as: "forwarded-invalid") { mark in
          let response = try Connection(to: site.publicAddress, from: Peer.balancer).get(
            mark, fields: ["Forwarded: \(value)"])
          #expect(response.status == 400, "\(value)")
        }
      }
    }

    /// A balancer that announces a proxy further out, which in turn names its client.
    @Test func aProxyBehindABalancerIsSteppedOver() throws {
      let site = try Self.chained.get()
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: "send-proxy-v2", in: site.workspace)
      let outer = try nginx(site, from: Peer.hop, to: balancer.address)
      try arrives(site, through: outer.address, via: "forwarded", fields: ["X-Forwarded-For: \(Peer.claimed)"])
    }

    /// Where no rule lets a peer in, it gets nothing at all.
    @Test func aRefusedPeerGetsNoAnswer() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: refuse", "from: any, evidence: socket"]
        })
      try isRefused(site, as: "peer-refused") { mark in
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        try? connection.send(Text.request(mark))
        #expect(try connection.readToEnd() == [])
      }
    }

    @Test func theLongestPrefixDecides() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.listeners[0].trust = [
            "from: [127.20.0.0/16], evidence: refuse", "from: [127.20.5.0/24], evidence: proxy-protocol",
            "from: [127.20.7.0/24], evidence: socket", "from: [127.20.7.7], evidence: refuse",
            "from: any, evidence: socket",
          ]
        })
      #expect(try Connection(to: site.publicAddress, from: "127.20.7.5").get("/five").text == "127.20.7.5")
      let announced = try Connection(to: site.publicAddress, from: "127.20.5.6")
      try announced.send("PROXY TCP4 \(Peer.client(5)) 127.0.0.1 1025 443\r\n")
      #expect(try announced.get("/six").text == Peer.client(5))
      for source in ["127.20.6.6", "127.20.7.7"] {
        let refused = try Connection(to: site.publicAddress, from: source)
        try? refused.send(Text.request("/refused"))
        #expect(try refused.readToEnd() == [])
      }
      #expect(!site.backend.saw("/refused"))
    }

    // MARK: An edge in front of an edge

    @Test(arguments: Site.Mode.allCases)
    func anotherEdgesWordIsBelieved(_ mode: Site.Mode) throws {
      let workspace = try Workspace()
      let outerKeys = try Keys(in: workspace, prefix: "outer-", kid: "k0")
      let joined = workspace.file("inner.jwks.json")
      try KeySetFile.join([Keys.standard.edge, outerKeys.validator], into: joined)
      let required = mode == .bound ? ", proxy_protocol: required" : ""
      let site = try Site(
        mode,
        edge: {
          $0.identity[1] = "keys: \"\(joined)\""
          $0.identity += ["audience: \(Keys.audience)", "edges: [edge-outer]", "clock_skew: 100ms"]
          $0.listeners[0].trust = ["from: [127.0.0.1], evidence: attested\(required)", "from: any, evidence: refuse"]
        })
      var outer = Configuration.edge(keys: outerKeys, to: ["\(try site.publicAddress)"], bound: mode == .bound)
      outer.identity = ["edge: edge-outer", "keys: \"\(outerKeys.edge)\"", "sign_with: k0"]
      let front = try Countersign(outer, name: "outer", in: workspace)
      let connection = try Connection(to: front["public"], from: Peer.client(15))
      let response = try connection.get("/relayed", fields: ["X-Forwarded-For: \(Peer.claimed)"])
      #expect(response.status == 200)
      #expect(response.text == Peer.client(15))
      #expect(
        try site.validator.access.wait(from: 0, for: "/relayed") { $0.path == "/relayed" && $0.status == 200 }.via
          == "attested")
    }
  }
}
