// `doctor`: two probes through a real load balancer must arrive as two clients.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Doctor {
    private let workspace: Workspace
    init() throws { workspace = try Workspace() }

    private func site(_ rule: String, tls: Bool = false) throws -> Site {
      let admin = "unix:\(workspace.file("edge.sock"))"
      let behind = "unix:\(workspace.file("validator.sock"))"
      return try Site(
        .bound, tls: tls, validator: { $0.more.append("admin: { listen: \"\(behind)\" }") },
        edge: {
          $0.listeners[0].trust = ["from: [\(Peer.balancers)], \(rule)", "from: any, evidence: socket"]
          $0.more.append("admin: { listen: \"\(admin)\" }")
        })
    }

    private func doctor(_ url: String, _ more: [String] = []) throws -> ChildProcess.Outcome {
      try ChildProcess.run(
        [
          try Programs.countersign, "doctor", url, "--from", Peer.client(1), "--from", Peer.client(2), "--admin",
          "unix:\(workspace.file("edge.sock"))", "--validator", "unix:\(workspace.file("validator.sock"))",
        ] + more)
    }

    @Test func twoProbesThroughHAProxyArriveAsTwo() throws {
      let site = try site("evidence: proxy-protocol")
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: "send-proxy-v2", in: site.workspace)
      let outcome = try doctor("http://127.0.0.1:\(balancer.address.port)/ignored?x")
      #expect(outcome.succeeded, "\(outcome.output)\(outcome.error)")
      #expect(
        outcome.output.contains("probe    1 from \(Peer.client(1)): status 200, verified as \(Peer.client(1))\n"),
        "\(outcome.output)")
      #expect(outcome.output.contains("a PROXY header of version 2 names \(Peer.client(2)) port "), "\(outcome.output)")
      #expect(outcome.output.contains("validator on probe 2"), "\(outcome.output)")
      #expect(
        outcome.output.hasSuffix("well     2 probes arrived as 2 clients, each with its own address\n"),
        "\(outcome.output)")
    }

    /// From outside: whoever has two addresses and knows where the service is.
    @Test func fromOutsideTheValidatorsAnswerIsEnough() throws {
      let site = try site("evidence: proxy-protocol")
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: "send-proxy-v2", in: site.workspace)
      let command = [try Programs.countersign, "doctor", "http://127.0.0.1:\(balancer.address.port)"]
      let two = ["--from", Peer.client(1), "--from", Peer.client(2)]
      let outcome = try ChildProcess.run(command + two)
      #expect(outcome.succeeded, "\(outcome.output)\(outcome.error)")
      #expect(!site.backend.saw("/.well-known/countersign-probe"))
      // The edge's own probes may have come while the validator was starting.
      _ = try site.validator.access.wait(for: "a probe") {
        $0.path?.contains("countersign-probe") == true && $0.client == Peer.client(1) && $0.status == 200
      }

      // Without a validator nobody can say.
      let backend = try RecordingBackend(keepsBytes: false) { try $0.reply("client=\(Peer.client(1))") }
      let plain = try Countersign(.plainEdge(to: ["\(backend.address)"]), name: "plain", in: site.workspace)
      let nobody = try ChildProcess.run(
        [try Programs.countersign, "doctor", "http://\(try #require(plain.listeners.values.first))"] + two)
      #expect(nobody.exit == .code(1))
      #expect(nobody.output.contains("status 200, and no validator says whom it verified"), "\(nobody.output)")
    }

    /// Each is told who he is, and nobody else.
    @Test func aProbeIsAnsweredWithItsOwnClient() throws {
      let site = try site("evidence: proxy-protocol")
      let answer = try site.connect(from: Peer.client(9)).get("/.well-known/countersign-probe/x")
      #expect(answer.status == 200 && answer.text.hasPrefix("client=\(Peer.client(9)) port="), "\(answer.text)")
      #expect(answer.text.hasSuffix(" proto=http via=socket\n"), "\(answer.text)")
      #expect(answer["countersign-verified"] == nil && answer["cache-control"] == "no-store")
      let connection = try site.connect(from: Peer.client(9))
      for path in [
        "/.well-known/countersign-prob", "/.well-known/countersign-probe", "/x/.well-known/countersign-probe/",
        "/.Well-Known/countersign-probe/",
      ] {
        #expect(try connection.get(path).text == Peer.client(9), "\(path) is the application's")
      }
      #expect(
        try connection.get("/.well-known/countersign-probe/", fields: ["X-Forwarded-For: \(Peer.claimed)"]).text
          .hasPrefix("client=\(Peer.client(9)) "))
    }

    /// The accident: the balancer is reconfigured and sends its header no more.
    @Test func aBalancerWithoutItsHeaderIsNoticed() throws {
      let site = try site("evidence: proxy-protocol")
      let balancer = try HAProxy.tcp(to: site.publicAddress, options: "", in: site.workspace)
      let outcome = try doctor("http://127.0.0.1:\(balancer.address.port)")
      #expect(outcome.exit == .code(1))
      #expect(
        outcome.output.contains("probe 1 from \(Peer.client(1)) did not arrive at the edge as anybody"),
        "\(outcome.output)")
      #expect(
        outcome.output.contains("probe 1 from \(Peer.client(1)) reached no validator that says whom it verified"),
        "\(outcome.output)")
    }

    @Test func aProxyThatMakesTwoClientsOneIsNoticed() throws {
      let site = try site("evidence: forwarded")
      let balancer = try Nginx(
        .http,
        """
        server { listen LISTEN; location / {
          proxy_pass http://\(try site.publicAddress); proxy_bind \(Peer.balancer); proxy_http_version 1.1;
          proxy_set_header Host $http_host; proxy_set_header Connection "";
          proxy_set_header X-Forwarded-For 198.51.100.9; } }
        """, in: site.workspace)
      for nat in [[], ["--nat"]] {
        let outcome = try doctor("http://127.0.0.1:\(balancer.address.port)", nat)
        #expect(outcome.exit == .code(1))
        #expect(
          outcome.output.contains("wrong    probes 1 and 2 are one client for the edge: 198.51.100.9"),
          "\(outcome.output)")
        #expect(outcome.output.contains("is 198.51.100.9 for the edge") == nat.isEmpty, "\(outcome.output)")
      }
    }

    @Test func overTLSTheCertificateIsChecked() throws {
      let site = try site("evidence: proxy-protocol", tls: true)
      let url = "https://127.0.0.1:\(try site.publicAddress.port)"
      let wrong = try doctor(url)
      #expect(wrong.exit == .code(1) && wrong.output.contains("TLS: certificate"), "\(wrong.output)\(wrong.error)")
      // The name of its certificate, which leads to this host by itself.
      let named = try doctor(
        "https://localhost:\(try site.publicAddress.port)", ["--ca", try Certificates.standard.ca])
      #expect(named.succeeded, "\(named.output)\(named.error)")
    }

    @Test(arguments: [false, true])
    func aListenerOfHTTP2AloneIsAskedInHTTP2(tls: Bool) throws {
      let site = try Site(tls: tls, edge: { $0.listeners[0].more.append("protocols: [\(tls ? "h2" : "h2c")]") })
      let url = "\(tls ? "https" : "http")://localhost:\(try site.publicAddress.port)"
      let command = [
        try Programs.countersign, "doctor", url, "--ca", try Certificates.standard.ca, "--from", Peer.client(1),
        "--from",
        Peer.client(2),
      ]
      let outcome = try ChildProcess.run(command + ["--http2"])
      #expect(outcome.succeeded, "\(outcome.output)\(outcome.error)")
      #expect(
        outcome.output.contains("probe    2 from \(Peer.client(2)): status 200, verified as \(Peer.client(2))\n"),
        "\(outcome.output)")
      let without = try ChildProcess.run(command)
      #expect(without.exit == .code(1), "\(without.output)")
    }

    @Test(arguments: [
      (["ftp://x", "--from", "127.0.0.1", "--from", "127.0.0.2"], "begins with http:// or https://"),
      (["http://x", "--from", "127.0.0.1"], "give two or more different addresses"),
      (["http://x", "--from", "127.0.0.1", "--from", "127.0.0.1"], "give two or more different addresses"),
      (["http://x", "--from", "127.0.0.1", "--from", "here"], "--from takes an address"),
    ]) func whatIsNotUnderstoodIsSaid(_ arguments: [String], _ message: String) throws {
      let outcome = try ChildProcess.run(
        [try Programs.countersign, "doctor"] + arguments)
      #expect(outcome.exit == .code(2) && outcome.error.contains(message), "\(outcome.exit) \(outcome.error)")
    }
  }
}
