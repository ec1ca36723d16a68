// Active health checks: whom they take out and bring back, and that a check of a validator goes the whole way, identity included.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Health {
    /// Two seconds for whoever is honest, on a busy machine too: the first check decides alone.
    private static let health = "health: { path: /healthz, interval: 2s, timeout: 2s, rise: 2, fall: 2 }"

    /// What a server does at the moment.
    private enum Manner { case well, failing, hanging }

    private func backend(_ manner: Guarded<Manner>) throws -> RecordingBackend {
      try RecordingBackend { exchange in
        guard exchange.target == "/healthz" else { return try exchange.reply(exchange.clientAddress) }
        switch manner.now {
        case .well: try exchange.reply("well")
        case .failing: try exchange.reply("failing", status: "500 Internal Server Error")
        case .hanging: _ = manner.wait(until: .usual) { $0 == .hanging ? nil : true }
        }
      }
    }

    private func checks(_ result: String, upstream: String, server: String, _ process: Countersign) throws -> Int {
      let labels = "upstream=\"\(upstream)\",server=\"\(server)\",result=\"\(result)\""
      return try process.metric("countersign_health_checks_total{\(labels)}") ?? 0
    }

    private func isUp(upstream: String, server: String, _ process: Countersign) throws -> Bool? {
      try process.metric("countersign_server_up{upstream=\"\(upstream)\",server=\"\(server)\"}").map { $0 == 1 }
    }

    // MARK: Servers of all kinds

    @Test func aServerThatFailsItsChecksGetsNoRequestsUntilItPassesThem() throws {
      let workspace = try Workspace()
      let manner = Guarded(Manner.well)
      let (steady, other) = (try backend(Guarded(.well)), try backend(manner))
      var configuration = Configuration.plainEdge(to: ["\(steady.address)", "\(other.address)"])
      configuration.upstreams[0].members.append(Self.health)
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let name = "\(other.address)"
      try eventually("it is checked") { try checks("passed", upstream: "backend", server: name, edge) > 0 }
      let client = try Connection(to: edge["public"])
      for i in 0..<8 { #expect(try client.get("/before/\(i)").status == 200) }
      #expect(other.requests.contains { $0.target.hasPrefix("/before/") })

      manner.with { $0 = .failing }
      try edge.said("upstream backend: server \(name) is down: status 500; 1 of 2 serve")
      try eventually("it is counted") { try isUp(upstream: "backend", server: name, edge) == false }
      #expect(try isUp(upstream: "backend", server: "\(steady.address)", edge) == true)
      for i in 0..<20 { #expect(try client.get("/down/\(i)").status == 200) }
      #expect(!other.requests.contains { $0.target.hasPrefix("/down/") })

      manner.with { $0 = .well }
      try edge.said("upstream backend: server \(name) is up: checks pass; 2 of 2 serve")
      for i in 0..<20 { #expect(try client.get("/after/\(i)").status == 200) }
      #expect(other.requests.contains { $0.target.hasPrefix("/after/") })
      // Checks are no requests: none is in the access log.
      #expect(!edge.access.entries.contains { $0.path == "/healthz" })
    }

    @Test func aServerThatHangsIsTakenOutAndTheOthersAreCheckedMeanwhile() throws {
      let workspace = try Workspace()
      let manner = Guarded(Manner.hanging)
      defer { manner.with { $0 = .well } }
      let hung = try backend(manner)
      let others = try (0..<2).map { _ in try backend(Guarded(.well)) }
      var configuration = Configuration.plainEdge(to: (others + [hung]).map { "\($0.address)" })
      configuration.upstreams[0].members.append(Self.health)
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      try edge.said("server \(hung.address) is down: no response in 2s; 2 of 3 serve")
      for other in others {
        try eventually("it is checked") {
          try checks("passed", upstream: "backend", server: "\(other.address)", edge) >= 3
        }
        #expect(try isUp(upstream: "backend", server: "\(other.address)", edge) == true)
      }
      let client = try Connection(to: edge["public"])
      for i in 0..<12 { #expect(try client.get("/\(i)").status == 200) }
      #expect(hung.requests.allSatisfy { $0.target == "/healthz" })
      // An array is freed after its last use, and these serve to the end.
      withExtendedLifetime(others) { #expect(others.allSatisfy { !$0.requests.isEmpty }) }
    }

    /// What checks had found is not known any more once none are made.
    @Test func withoutChecksAServerIsWellAgain() throws {
      let workspace = try Workspace()
      let (steady, other) = (try backend(Guarded(.well)), try backend(Guarded(.failing)))
      var configuration = Configuration.plainEdge(to: ["\(steady.address)", "\(other.address)"])
      configuration.upstreams[0].members.append(Self.health)
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      try edge.said("server \(other.address) is down: status 500")
      // A reload that keeps them keeps what they found.
      try edge.reloadAccepting(configuration)
      let client = try Connection(to: edge["public"])
      for i in 0..<8 { #expect(try client.get("/down/\(i)").status == 200) }
      #expect(!other.requests.contains { $0.target.hasPrefix("/down/") })
      configuration.upstreams[0].members.removeLast()
      try edge.reloadAccepting(configuration)
      try eventually("it has requests again") { () throws -> Bool in
        #expect(try client.get("/again").status == 200)
        return !other.requests(to: "/again").isEmpty
      }
      #expect(try isUp(upstream: "backend", server: "\(other.address)", edge) == true)
      #expect(try checks("failed", upstream: "backend", server: "\(other.address)", edge) == 0, "none are counted")
    }

    // MARK: Validators

    /// What is spoken between edge and validator.
    enum Hop: CaseIterable { case plain, tls, http2, http2TLS }

    @Test(arguments: Site.Mode.allCases, Hop.allCases)
    func aCheckOfAValidatorGoesTheWholeWay(_ mode: Site.Mode, _ hop: Hop) throws {
      let manner = Guarded(Manner.well)
      let hopTLS = hop == .tls || hop == .http2TLS
      let isHTTP2 = hop == .http2 || hop == .http2TLS
      let site = try Site(
        mode, hopTLS: hopTLS,
        script: { exchange in
          let fails = exchange.target == "/healthz?deep" && manner.now == .failing
          try exchange.reply(exchange.clientAddress, status: fails ? "503 Service Unavailable" : "200 OK")
        },
        validator: {
          $0.hasAdmin = true
          if isHTTP2 { $0.listeners[0].more.append("protocols: [\(hopTLS ? "h2" : "h2c")]") }
        },
        edge: {
          if isHTTP2 { $0.upstreams[0].members.append("protocol: http2") }
          $0.upstreams[0].members.append(
            "health: { path: \"/healthz?deep\", interval: 2s, timeout: 2s, fall: 2, host: \(Site.host) }")
          $0.hasAdmin = true
        })
      let server = try "\(site.validator["from-edge"])"
      try eventually("it passes") { try checks("passed", upstream: "monitor", server: server, site.edge) >= 2 }
      // The backend was asked, for the edge's own address, and never saw the probe.
      let request = try site.backend.waitForRequest(to: "/healthz?deep")
      #expect(request.head["x-forwarded-for"] == "127.0.0.1")
      #expect(request.head["x-forwarded-proto"] == (hopTLS ? "https" : "http"))
      #expect(request.head["host"] == Site.host)
      #expect(!site.backend.saw("countersign-probe"))
      let probe = try site.validator.access.wait(for: "a probe") {
        $0.path?.contains("countersign-probe") == true && $0.status == 200
      }
      #expect(probe.client == "127.0.0.1" && probe.via == "socket", "\(probe)")

      manner.with { $0 = .failing }
      try site.edge.said("upstream monitor: server \(server) is down: status 503; 0 of 1 serve")
      manner.with { $0 = .well }
      try site.edge.said("upstream monitor: server \(server) is up: checks pass; 1 of 1 serve")
      // Of clients, nobody came: checks do not count where collapses are watched for.
      #expect(try site.validator.metric("countersign_clients{listener=\"from-edge\"}") == 0)
      // It serves, and honest requests were never refused for what checks did.
      #expect(try site.connect().get("/served").status == 200)
      let refused = site.validator.access.entries.filter { $0.refusal != nil && $0.refusal != "starting" }
      #expect(refused.isEmpty, "\(refused)")
    }

    @Test(arguments: Site.Mode.allCases)
    func aValidatorWhoseBackendIsGoneIsDown(_ mode: Site.Mode) throws {
      let site = try Site(
        mode,
        edge: {
          $0.upstreams[0].members.append(Self.health)
          $0.hasAdmin = true
        })
      let server = try "\(site.validator["from-edge"])"
      try eventually("it passes") { try checks("passed", upstream: "monitor", server: server, site.edge) >= 1 }
      site.backend.close()
      try site.edge.said("upstream monitor: server \(server) is down: status 502; 0 of 1 serve")
    }

    @Test(arguments: Site.Mode.allCases, [Hop.plain, .http2])
    func aValidatorThatDoesNotKnowTheKeyIsDown(_ mode: Site.Mode, _ hop: Hop) throws {
      let strangers = try Workspace()
      let others = try Keys(in: strangers, prefix: "other-")
      let site = try Site(
        mode,
        validator: {
          $0.identity[0] = "keys: \"\(others.validator)\""
          if hop == .http2 { $0.listeners[0].more.append("protocols: [h2c]") }
        },
        edge: {
          if hop == .http2 { $0.upstreams[0].members.append("protocol: http2") }
          $0.upstreams[0].members.append(Self.health)
        })
      let line = try site.edge.said("is down: ")
      switch mode {
      case .shared: #expect(line.contains("the validator refused the signature: status 403"), "\(line)")
      // The header itself is refused, and the connection ends without a word.
      case .bound: #expect(line.contains("a refused PROXY header looks like that"), "\(line)")
      }
      #expect(site.backend.requests.isEmpty)
    }

    @Test func aValidatorOfAnotherAudienceIsDown() throws {
      let site = try Site(
        .shared,
        edge: {
          $0.upstreams[0].members[1] = "audience: monitor-2"
          $0.upstreams[0].members.append(Self.health)
        })
      let line = try site.edge.said("is down: ")
      #expect(line.contains("the validator refused the signature: status 421, it has another audience"), "\(line)")
    }

    @Test func aServerThatVerifiesNothingIsNoValidator() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend { try $0.reply("well") }
      var configuration = Configuration.edge(keys: try .standard, to: ["\(backend.address)"], bound: false)
      configuration.upstreams[0].members.append(Self.health)
      let edge = try Countersign(configuration, in: workspace)
      try edge.said(
        "server \(backend.address) is down: status 200 without a word on whether the signature was verified")
    }

    /// In observe mode everything passes, so what is behind decides; the edge says that nobody is protected.
    @Test func aValidatorInObserveModePassesWithAWarning() throws {
      let strangers = try Workspace()
      let others = try Keys(in: strangers, prefix: "other-")
      let site = try Site(
        .shared,
        validator: {
          $0.identity[0] = "keys: \"\(others.validator)\""
          $0.identity.append("mode: observe")
        },
        edge: {
          $0.upstreams[0].members.append(Self.health)
          $0.hasAdmin = true
        })
      let server = try "\(site.validator["from-edge"])"
      try site.edge.said("\(server) looks at signatures but lets every request pass (identity.mode: observe)")
      try eventually("it passes") { try checks("passed", upstream: "monitor", server: server, site.edge) >= 2 }
      #expect(try isUp(upstream: "monitor", server: server, site.edge) == true)
    }

    /// It is neither well nor ill.
    @Test(arguments: Site.Mode.allCases)
    func aValidatorThatIsStartingKeepsItsState(_ mode: Site.Mode) throws {
      let address = try Socket.reserve()
      let site = try Site(
        mode, validator: { $0.listeners[0].listen = "\(address)" },
        edge: {
          // While nobody listens, checks do fail.
          $0.upstreams[0].members.append("health: { path: /healthz, interval: 2s, timeout: 2s, fall: 100 }")
          $0.hasAdmin = true
        })
      let server = "\(address)"
      func count(_ result: String) throws -> Int {
        try checks(result, upstream: "monitor", server: server, site.edge)
      }
      try eventually("it passes") { try count("passed") >= 1 }
      site.validator.process.kill()
      var configuration = site.validatorConfiguration
      configuration.identity[configuration.identity.count - 1] = "clock_skew: 6s"
      let again = try Countersign(configuration, name: "again", in: site.workspace)
      try eventually("it says that it is starting") { try count("starting") >= 2 }
      #expect(try isUp(upstream: "monitor", server: server, site.edge) == true)
      let passed = try count("passed")
      try eventually("it passes again") { try count("passed") > passed }
      #expect(!site.edge.process.standardError.lines.contains { $0.contains("is down") })
      _ = try again.access.wait(refusal: "starting")
    }

    /// A check that only connects says so in its header, and the validator takes it for what it is.
    @Test(arguments: [false, true])
    func aCheckOfTCPBringsAHeaderWithoutAClient(hopTLS: Bool) throws {
      let site = try Site(
        .bound, hopTLS: hopTLS,
        edge: {
          $0.upstreams[0].members.append("health: { tcp: true, interval: 2s, timeout: 2s }")
          $0.hasAdmin = true
        })
      let server = try "\(site.validator["from-edge"])"
      try eventually("it passes") { try checks("passed", upstream: "monitor", server: server, site.edge) >= 3 }
      #expect(try site.connect().get("/served").status == 200)
      let refused = site.validator.access.entries.filter { $0.refusal != nil && $0.refusal != "starting" }
      #expect(refused.isEmpty, "\(refused)")
    }

    /// Behind another port is not the validator itself: nothing is signed for it.
    @Test func aCheckAtAnotherPortIsPlain() throws {
      let beside = try RecordingBackend { try $0.reply("well") }
      let site = try Site(
        .bound,
        edge: {
          $0.upstreams[0].members.append(
            "health: { path: /ready, interval: 2s, timeout: 2s, port: \(beside.address.port) }")
        })
      let request = try beside.waitForRequest(to: "/ready")
      #expect(request.head["client-attest"] == nil && request.head["signature"] == nil)
      #expect(try site.connect().get("/served").status == 200)
    }
  }
}
