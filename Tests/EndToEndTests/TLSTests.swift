// TLS on every side: which certificate is shown to whom, what is negotiated, and which peer is not spoken to.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct TLS {
    private static let site = Result {
      let certificates = try Certificates.standard
      return try Site(.bound, edge: { $0.listeners[0].certificates = [certificates.app, certificates.wild] })
    }

    /// What `openssl s_client` reports of a handshake.
    private func handshake(_ address: Address, _ options: String...) throws -> ChildProcess.Outcome {
      try ChildProcess.run(
        [
          try Programs.openssl, "s_client", "-connect", "\(address)", "-bind", "\(Peer.client()):0", "-CAfile",
          Certificates.standard.ca,
        ] + options)
    }

    @Test func theNameChoosesTheCertificate() throws {
      let address = try Self.site.get().publicAddress
      for (name, subject) in [
        ("app.example.com", "CN = app"), ("APP.example.com", "CN = app"), ("a.wild.example.com", "CN = wild"),
        ("localhost", "CN = app"), ("a.b.wild.example.com", "CN = app"), ("wild.example.com", "CN = app"),
        ("unknown.example", "CN = app"),
      ] {
        let outcome = try handshake(address, "-servername", name)
        #expect(outcome.output.contains("subject=\(subject)\n"), "\(name): \(outcome.output.prefix(400))")
      }
      #expect(try handshake(address, "-noservername").output.contains("subject=CN = app\n"))
    }

    @Test func bothKindsOfKeyServeBothVersions() throws {
      let address = try Self.site.get().publicAddress
      for name in ["app.example.com", "x.wild.example.com"] {
        for version in ["-tls1_2", "-tls1_3"] {
          let outcome = try handshake(
            address, "-servername", name, "-verify_hostname", name, "-verify_return_error", version)
          #expect(outcome.output.contains("Verify return code: 0 (ok)"), "\(name) \(version)")
        }
      }
    }

    @Test func theServersPreferenceDecides() throws {
      let address = try Self.site.get().publicAddress
      let outcome = try handshake(
        address, "-servername", Site.host, "-tls1_3", "-ciphersuites",
        "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
      #expect(outcome.output.contains("TLS_AES_128_GCM_SHA256"))
    }

    @Test func oldVersionsAndWeakCiphersAreNotSpoken() throws {
      let address = try Self.site.get().publicAddress
      for options in [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
      ] {
        let outcome = try ChildProcess.run(
          [
            try Programs.openssl, "s_client", "-connect", "\(address)", "-bind", "\(Peer.client()):0", "-servername",
            Site.host,
          ] + options)
        #expect(!outcome.succeeded, "\(options)")
      }
      _ = try Self.site.get().edge.access.wait(refusal: "tls-handshake")
    }

    /// It is told what is wrong, in what it speaks, and reaches no backend; whatever its method is.
    @Test(arguments: Array(["GET", "POST", "OPTIONS", "DELETE", "CONNECT", "PROPFIND"].enumerated()))
    func plainHTTPWhereTLSIsSpokenIsAnsweredInPlainHTTP(_ row: (Int, String)) throws {
      let site = try Self.site.get()
      let start = site.edge.access.end
      let (index, method) = row
      let body = String(repeating: "a", count: 100_000)
      // Each with lines of its own in the log.
      let connection = try site.connect(from: Peer.client(20 + index))
      try connection.send(Text.request("/plain", method: method, body: method == "GET" ? "" : body))
      let answer = try connection.readResponse()
      #expect(answer.status == 400)
      #expect(answer.text.contains("This port speaks HTTPS, and the request came as plain HTTP."))
      #expect(try connection.readToEnd() == [])
      let entry = try site.edge.access.wait(refusal: "plain-http", from: start)
      #expect(entry.status == 400)
      #expect(entry.detail == "a request in plain HTTP came where TLS is spoken")
      #expect(!site.backend.saw("/plain"))
    }

    @Test func whatIsNeitherTLSNorHTTPIsNotAnswered() throws {
      let site = try Self.site.get()
      for bytes in [[0, 1, 2, 3, 4, 5], Array("get / HTTP/1.1\r\n\r\n".utf8), [0x80, 0x2e, 1, 0, 2, 0, 0]] as [[UInt8]]
      {
        let start = site.edge.access.end
        // Lines for connections that come to nothing are few for one peer.
        let connection = try site.connect(from: Peer.client(40 + bytes.count))
        try connection.send(bytes)
        connection.shutdownWrite()
        #expect(!String(decoding: try connection.readToEnd(), as: UTF8.self).contains("HTTP/"))
        _ = try site.edge.access.wait(refusal: "tls-handshake", from: start)
      }
    }

    @Test(arguments: ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n"])
    func aPROXYHeaderThatNoRuleReadsIsNamedInTheLog(_ text: String) throws {
      let site = try Self.site.get()
      let connection = try site.connect(from: Peer.client(60 + text.utf8.count))
      let start = site.edge.access.end
      try connection.send(text)
      connection.shutdownWrite()
      #expect(!String(decoding: try connection.readToEnd(), as: UTF8.self).contains("HTTP/"))
      let entry = try site.edge.access.wait(refusal: "tls-handshake", from: start)
      #expect(entry.detail == "a PROXY header came from a peer whose trust rule does not read one")
    }

    @Test func tlsWherePlainHTTPIsSpokenIsNamedInTheLog() throws {
      let site = try Site(.shared)
      _ = try? site.connectTLS().get("/")
      let entry = try site.edge.access.wait(refusal: "request-line")
      #expect(entry.detail == "TLS came to a listener without `tls`")
    }

    @Test func alpnIsAnsweredWithWhatIsSpoken() throws {
      let address = try Self.site.get().publicAddress
      #expect(
        try handshake(address, "-servername", Site.host, "-alpn", "http/1.1").output.contains("ALPN protocol: http/1.1")
      )
      #expect(
        try handshake(address, "-servername", Site.host, "-alpn", "foo,http/1.1").output.contains(
          "ALPN protocol: http/1.1"))
    }

    @Test func aSessionIsResumedWithoutEarlyData() throws {
      let site = try Self.site.get()
      let session = site.workspace.file("session.pem")
      let address = try site.publicAddress
      for version in ["-tls1_2", "-tls1_3"] {
        // The ticket of TLS 1.3 comes after the handshake, so a response is awaited.
        let first = try Connection.tls(to: address, options: [version, "-sess_out", session])
        #expect(try first.get("/session", fields: ["Connection: close"]).status == 200)
        _ = try first.readToEnd()
        try eventually("a session was written") { FileManager.default.fileExists(atPath: session) }
        let second = try handshake(address, "-servername", Site.host, version, "-sess_in", session)
        #expect(second.output.contains("Reused, "), "\(version)")
        #expect(!second.output.contains("Max Early Data: 16384"))
        try? FileManager.default.removeItem(atPath: session)
      }
    }

    /// The ticket leaves with the first answer, but does not wait for a request that has not come with the handshake.
    @Test func aClientThatAsksNothingYetHasItsTicketAllTheSame() throws {
      let site = try Self.site.get()
      let session = site.workspace.file("early-session.pem")
      let address = try site.publicAddress
      let connection = try Connection.tls(to: address, options: ["-tls1_3", "-sess_out", session])
      try eventually("the ticket came") {
        let text = FileManager.default.contents(atPath: session).map { String(decoding: $0, as: UTF8.self) }
        return text?.contains("END SSL SESSION") ?? false
      }
      #expect(
        try handshake(address, "-servername", Site.host, "-tls1_3", "-sess_in", session).output.contains("Reused, "))
      #expect(try connection.get("/after-the-ticket").status == 200)
    }

    /// A client certificate is asked for; who shows a good one is known by it, who shows a bad one is not served.
    @Test func aClientsCertificateIsAttested() throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      let tap = try RecordingBackend()
      var configuration = Configuration.edge(keys: try Keys.standard, to: ["\(tap.address)"], bound: false)
      configuration.listeners[0].certificates = [certificates.app]
      configuration.listeners[0].clientCertificates = "ca: \"\(certificates.ca)\", require: false"
      let edge = try Countersign(configuration, in: workspace)
      let address = try edge["public"]

      func get(_ path: String, _ client: Certificate?) throws -> HTTPResponse {
        let options = client.map { ["-cert", $0.certificate, "-key", $0.key] } ?? []
        return try Connection.tls(to: address, options: options).get(path)
      }
      #expect(try get("/with", certificates.client).status == 200)
      let attest = try #require(tap.waitForRequest(to: "/with").head["client-attest"])
      #expect(attest.hasSuffix(", cert=:\(try certificates.client.digest):"))
      #expect(try get("/without", nil).status == 200)
      #expect(try tap.waitForRequest(to: "/without").head["client-attest"]?.contains("cert=") == false)
      #expect(throws: (any Error).self) { try get("/stranger", certificates.stranger) }
      #expect(!tap.saw("/stranger"))
      _ = try edge.access.wait(refusal: "tls-handshake")
    }

    @Test func aRequiredCertificateIsRequired() throws {
      let certificates = try Certificates.standard
      let site = try Site(
        .bound, tls: true, edge: { $0.listeners[0].clientCertificates = "ca: \"\(certificates.ca)\", require: true" })
      let with = try site.connectTLS(options: [
        "-cert", certificates.client.certificate, "-key", certificates.client.key,
      ])
      #expect(try with.get("/with").status == 200)
      let without = try site.curl.fetch(site.url("/without", scheme: "https"), ["--cacert", certificates.ca])
      #expect(without.status == 0)
      #expect(!site.backend.saw("/without"))
    }

    // MARK: To upstreams

    /// The edge in front of a TLS server of somebody else's making.
    private func edge(to server: Address, tls: String, in workspace: Workspace) throws -> Countersign {
      var configuration = Configuration.plainEdge(to: ["\(server)"])
      configuration.upstreams[0].tls = tls
      return try Countersign(configuration, in: workspace)
    }

    private func nginx(in workspace: Workspace, more: String = "") throws -> Nginx {
      let monitor = try Certificates.standard.monitor
      return try Nginx(
        .http,
        """
        server { listen LISTEN ssl; ssl_protocols TLSv1.2 TLSv1.3; \(more)
          ssl_certificate \(monitor.certificate); ssl_certificate_key \(monitor.key);
          location / { return 200 "$ssl_server_name|$ssl_client_s_dn|$http_x_forwarded_for|$ssl_protocol"; } }
        """, in: workspace)
    }

    @Test func anUpstreamsCertificateIsChecked() throws {
      let workspace = try Workspace()
      let certificates = try Certificates.standard
      let server = try nginx(in: workspace)
      let good = try edge(
        to: server.address, tls: "ca: \"\(certificates.ca)\", name: monitor-1.internal", in: workspace)
      #expect(try Connection(to: good["public"]).get("/").text == "monitor-1.internal||\(Peer.client())|TLSv1.3")

      for (what, tls) in [
        ("another name", "ca: \"\(certificates.ca)\", name: other.internal"),
        ("another authority", "ca: \"\(certificates.strangerCA)\", name: monitor-1.internal"),
      ] {
        let bad = try edge(to: server.address, tls: tls, in: workspace)
        let response = try Connection(to: bad["public"]).get("/bad")
        #expect(response.status == 502, "\(what)")
        #expect(try bad.access.wait(path: "/bad").refusal == "upstream-tls", "\(what)")
      }
    }

    @Test func anUpstreamIsShownOurCertificate() throws {
      let workspace = try Workspace()
      let certificates = try Certificates.standard
      let server = try nginx(in: workspace, more: "ssl_client_certificate \(certificates.ca); ssl_verify_client on;")
      let tls = "ca: \"\(certificates.ca)\", name: monitor-1.internal"
      let with = try edge(
        to: server.address,
        tls: tls + ", certificate: \"\(certificates.client.certificate)\", key: \"\(certificates.client.key)\"",
        in: workspace)
      #expect(
        try Connection(to: with["public"]).get("/").text == "monitor-1.internal|CN=client|\(Peer.client())|TLSv1.3")
      let without = try edge(to: server.address, tls: tls, in: workspace)
      #expect(try Connection(to: without["public"]).get("/").status == 400)
    }

    @Test(arguments: Site.Mode.allCases)
    func edgeAndValidatorSpeakMutualTLS(_ mode: Site.Mode) throws {
      let certificates = try Certificates.standard
      let site = try Site(
        mode, tls: true, hopTLS: true,
        validator: { $0.listeners[0].clientCertificates = "ca: \"\(certificates.ca)\", require: true" },
        edge: {
          $0.upstreams[0].tls! +=
            ", certificate: \"\(certificates.client.certificate)\", key: \"\(certificates.client.key)\""
        })
      let answer = try site.curl.fetch(
        site.url("/mutual", scheme: "https"), from: Peer.client(2), ["--cacert", certificates.ca])
      #expect(answer.body == Peer.client(2))
      #expect(try site.validator.access.wait(path: "/mutual").tls == "TLSv1.3")
      let direct = try site.curl.fetch(
        "https://\(Site.host):\(try site.validator["from-edge"].port)/direct", ["--insecure"])
      #expect(direct.status == 0)
      #expect(!site.backend.saw("/direct"))
    }

    @Test func aPlainServerBehindTLSIsABadGateway() throws {
      let workspace = try Workspace()
      let server = try Nginx(.http, "server { listen LISTEN; location / { return 200; } }", in: workspace)
      let edge = try edge(
        to: server.address, tls: "ca: \"\(Certificates.standard.ca)\", name: monitor-1.internal", in: workspace)
      #expect(try Connection(to: edge["public"]).get("/plain").status == 502)
      #expect(try edge.access.wait(path: "/plain").refusal == "upstream-tls")
    }
  }
}
