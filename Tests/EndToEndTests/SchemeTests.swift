// The scheme that the client used reaches the backend through both hops: signed by the edge, in plain words from the
// validator, in the PROXY header between them, and in the log with how it is known.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct Schemes {
    private func mark() -> String { "/scheme/\(UUID().uuidString)" }

    private static func site(_ mode: Site.Mode, _ rule: String, tls: Bool = false) throws -> Site {
      try Site(
        mode, tls: tls,
        edge: { $0.listeners[0].trust = ["from: [\(Peer.balancers)], \(rule)", "from: any, evidence: socket"] })
    }

    /// The backend is told this scheme, and both logs say it and how it is known.
    private func arrives(
      _ site: Site, _ connection: Connection, _ fields: [String], as scheme: String, by source: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let mark = mark()
      #expect(try connection.get(mark, fields: fields).status == 200, "\(fields)", sourceLocation: sourceLocation)
      let head = try site.backend.waitForRequest(to: mark).head
      #expect(head["x-forwarded-proto"] == scheme, "\(fields)", sourceLocation: sourceLocation)
      #expect(head["forwarded"]?.hasSuffix("proto=\(scheme)") == true, sourceLocation: sourceLocation)
      let edge = try site.edge.access.wait(path: mark)
      #expect(edge.scheme == scheme && edge.scheme_source == source, "\(edge)", sourceLocation: sourceLocation)
      let validator = try site.validator.access.wait(path: mark)
      #expect(validator.scheme == scheme && validator.scheme_source == "attested", sourceLocation: sourceLocation)
    }

    @Test(arguments: Site.Mode.allCases)
    func theTrustedHopsWordOnTheSchemeReachesTheBackend(_ mode: Site.Mode) throws {
      let site = try Self.site(mode, "evidence: forwarded, hops: [\(Peer.hops)]")
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      let client = Peer.client(4)
      for (fields, scheme) in [
        (["X-Forwarded-For: \(client)", "X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-For: \(client)", "X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-For: \(client), \(Peer.hop)", "X-Forwarded-Proto: https, http"], "https"),
        (["X-Forwarded-For: \(Peer.claimed), \(client)", "X-Forwarded-Proto: https, http"], "http"),
      ] {
        try arrives(site, connection, fields, as: scheme, by: "forwarded")
      }
      try arrives(site, connection, ["X-Forwarded-For: \(client)"], as: "http", by: "connection")
      // Nobody else's claim counts.
      let own = try site.connect()
      try arrives(
        site, own, ["X-Forwarded-Proto: https", "Forwarded: proto=https", "X-Forwarded-For: \(Peer.claimed)"],
        as: "http",
        by: "connection")
      #expect(!site.backend.saw(Peer.claimed))
    }

    @Test func theElementOfForwardedThatNamesTheClientNamesItsScheme() throws {
      let site = try Self.site(.bound, "evidence: forwarded, header: forwarded, hops: [\(Peer.hops)]")
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try arrives(
        site, connection,
        ["Forwarded: for=\(Peer.claimed);proto=http, for=\(Peer.client(4));proto=https, for=\(Peer.hop);proto=http"],
        as: "https", by: "forwarded")
    }

    /// nginx that ends TLS in front, as its manual has it.
    @Test func nginxEndsTLSAndSaysSo() throws {
      let site = try Self.site(.bound, "evidence: forwarded")
      let certificate = try Certificates.standard.app
      let balancer = try Nginx(
        .http,
        """
        server { listen LISTEN ssl; ssl_certificate \(certificate.certificate); ssl_certificate_key \(certificate.key);
          location / {
            proxy_pass http://\(try site.publicAddress); proxy_bind \(Peer.balancer); proxy_http_version 1.1;
            proxy_set_header Host $http_host; proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; } }
        """, in: site.workspace)
      let mark = mark()
      let answer = try site.curl.fetch(
        "https://\(Site.host):\(balancer.address.port)\(mark)", from: Peer.client(11),
        ["--cacert", try Certificates.standard.ca, "--header", "X-Forwarded-Proto: http"])
      #expect(answer.status == 200, "\(answer.error)")
      #expect(answer.body == Peer.client(11))
      #expect(try site.backend.waitForRequest(to: mark).head["x-forwarded-proto"] == "https")
    }

    @Test func aSchemeThatCannotBeReadIsRefused() throws {
      let site = try Self.site(.shared, "evidence: forwarded, hops: [\(Peer.hops)]")
      for proto in [["ftp"], [""], ["https, http"], ["https", "https"], ["https,"]] {
        let start = site.edge.access.end
        let mark = mark()
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        let response = try connection.get(
          mark, fields: ["X-Forwarded-For: \(Peer.client(1))"] + proto.map { "X-Forwarded-Proto: \($0)" })
        #expect(response.status == 400, "\(proto)")
        #expect(try site.edge.access.wait(path: mark, from: start).refusal == "forwarded-invalid")
        #expect(!site.backend.saw(mark))
      }
    }

    /// The SSL TLV says what the client used, before our own TLS, which then is the balancer's.
    @Test(arguments: [false, true])
    func theSSLTLVOfAPROXYHeaderDecides(_ tls: Bool) throws {
      let site = try Self.site(.bound, "evidence: proxy-protocol", tls: false)
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send(
        SignedProxyHeader.signature
          + [0x21, 0x11, 0, 20, 127, 10, 0, 9, 127, 0, 0, 1, 4, 1, 1, 187, 0x20, 0, 5, tls ? 1 : 0, 0, 0, 0, 0])
      try arrives(
        site, connection, ["X-Forwarded-Proto: \(tls ? "http" : "https")"], as: tls ? "https" : "http", by: "proxy-v2")
    }

    /// A balancer that ends TLS and cannot say so: the operator says it. And a reload takes it back, on a connection that
    /// was there before as on a new one.
    @Test(arguments: ["evidence: proxy-protocol", "evidence: forwarded", "evidence: socket"])
    func theRuleStatesTheScheme(_ evidence: String) throws {
      let site = try Self.site(.bound, "\(evidence), scheme: https")
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      if evidence.contains("proxy") { try connection.send("PROXY TCP4 \(Peer.client(9)) 127.0.0.1 1025 443\r\n") }
      // The field that `evidence: forwarded` reads; to the others it is a claim.
      let fields = ["X-Forwarded-For: \(Peer.client(9))", "X-Forwarded-Proto: http"]
      try arrives(site, connection, fields, as: "https", by: "rule")
      var next = site.edgeConfiguration
      next.listeners[0].trust[0] = "from: [\(Peer.balancers)], \(evidence), scheme: http"
      try site.edge.reloadAccepting(next)
      try eventually("the reload is in force", everyMilliseconds: 5) {
        let mark = mark()
        #expect(try connection.get(mark, fields: fields).status == 200)
        return try site.backend.waitForRequest(to: mark).head["x-forwarded-proto"] == "http"
      }
      next.listeners[0].trust[0] = "from: [\(Peer.balancers)], \(evidence)"
      // What the evidence says may be https, and http was stated.
      try site.edge.reloadAccepting(next)
      let source = evidence.contains("forwarded") ? "forwarded" : "connection"
      try eventually("the reload is in force", everyMilliseconds: 5) {
        let mark = mark()
        #expect(try connection.get(mark, fields: fields).status == 200)
        return try site.edge.access.wait(path: mark).scheme_source == source
      }
      try arrives(site, connection, fields, as: "http", by: source)
    }

    /// With TLS at our listener: the client's own, unless the evidence says otherwise.
    @Test func theEvidenceComesBeforeOurOwnTLS() throws {
      let site = try Self.site(.bound, "evidence: forwarded", tls: true)
      let balancer = try site.connectTLS(from: Peer.balancer)
      let client = "X-Forwarded-For: \(Peer.client(5))"
      try arrives(site, balancer, [client, "X-Forwarded-Proto: http"], as: "http", by: "forwarded")
      try arrives(site, balancer, [client], as: "https", by: "connection")
      try arrives(site, try site.connectTLS(), ["X-Forwarded-Proto: http"], as: "https", by: "connection")
    }

    /// The certificate that a proxy shows us is its own, not that of the client it speaks for.
    @Test func aProxysCertificateIsNotItsClients() throws {
      let certificates = try Certificates.standard
      let tap = try RecordingBackend()
      var configuration = Configuration.edge(keys: try Keys.standard, to: ["\(tap.address)"], bound: false)
      configuration.listeners[0].certificates = [certificates.app]
      configuration.listeners[0].clientCertificates = "ca: \"\(certificates.ca)\", require: false"
      configuration.listeners[0].trust = [
        "from: [\(Peer.balancers)], evidence: forwarded", "from: any, evidence: socket",
      ]
      let edge = try Countersign(configuration, in: try Workspace())
      let options = ["-cert", certificates.client.certificate, "-key", certificates.client.key]
      for (peer, isOwn) in [(Peer.balancer, false), (Peer.client(), true)] {
        let connection = try Connection.tls(to: try edge["public"], from: peer, options: options)
        let path = mark()
        #expect(try connection.get(path, fields: ["X-Forwarded-For: \(Peer.client(5))"]).status == 200)
        let attest = try #require(tap.waitForRequest(to: path).head["client-attest"])
        #expect(attest.contains("proto=\"https\"") && attest.contains("cert=") == isOwn, "\(attest)")
      }
    }

    @Test func explainSaysTheSchemeAndWhoSaysSo() throws {
      let workspace = try Workspace()
      var configuration = Configuration.edge(keys: try Keys.standard, to: ["127.0.0.1:9"], bound: true)
      configuration.listeners[0].certificates = [try Certificates.standard.app]
      configuration.listeners[0].trust = [
        "from: [10.0.0.0/24], evidence: proxy-protocol", "from: [10.0.1.0/24], evidence: forwarded",
        "from: [10.0.2.0/24], evidence: proxy-protocol, scheme: http",
      ]
      let file = try workspace.write("edge.yaml", configuration.text)
      func explain(_ arguments: String...) throws -> String {
        try ChildProcess.run([try Programs.countersign, "explain", "-c", file, "--listener", "public"] + arguments)
          .output
      }
      let source = ["--proxy-source", "203.0.113.7:4711"]
      #expect(try explain("--peer", "198.51.100.9").contains("scheme   https, by connection\n"))
      #expect(try explain("--peer", "10.0.0.5", source[0], source[1]).contains("scheme   https, by connection\n"))
      #expect(
        try explain("--peer", "10.0.0.5", source[0], source[1], "--proxy-tls", "off").contains(
          "scheme   http, by proxy-v2\n"))
      #expect(try explain("--peer", "10.0.2.5", source[0], source[1]).contains("scheme   http, by rule\n"))
      #expect(
        try explain("--peer", "10.0.1.5", "-H", "X-Forwarded-For: 203.0.113.7", "-H", "X-Forwarded-Proto: http")
          .contains(
            "scheme   http, by forwarded\n"))
    }
  }
}
