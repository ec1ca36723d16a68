// The rules after a reload: a request on an old connection gets exactly what the same request on a new connection from
// the same peer to the same socket would get, or 503 and the connection ends. Shown over random pairs of configurations, with
// the running program as its own oracle; and for what cannot be drawn at random, case by case.

import Foundation
import TestSupport
import Testing

/// One configuration of the property test, as drawn.
private struct DrawnRules {
  var configuration: Configuration
  /// By socket: where a listener is, and whether peers of `Peer.balancer` must begin with a PROXY header there.
  var sockets: [Int] = []
}

private struct RulesGenerator {
  var random: Seeded
  let tcp: [Address]
  let unixPath: String
  let backends: [Address]
  let keys: Keys

  static let names = ["pub", "internal", "office", "edge-facing", "spare"]

  private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

  private mutating func pick(_ choices: [String]) -> String { choices.randomElement(using: &random)! }

  /// Where listener `socket` is: the last one is a unix socket.
  func place(_ socket: Int) -> String { socket < tcp.count ? "\(tcp[socket])" : "unix:\(unixPath)" }

  private mutating func evidence() -> String {
    let evidence = pick([
      "socket", "socket", "refuse", "attested", "forwarded", "forwarded, header: forwarded",
      "forwarded, hops: [\(Peer.hops)]", "proxy-protocol", "proxy-protocol",
      "proxy-protocol, then: forwarded, hops: [\(Peer.hops)]",
    ])
    if evidence == "refuse" || evidence == "attested" { return evidence }
    return evidence + pick(["", "", ", scheme: https", ", scheme: http"])
  }

  private mutating func trust(isUnix: Bool) -> [String] {
    if isUnix { return ["from: any, evidence: \(evidence())"] }
    var rules: [String] = []
    if chance(60) { rules.append("from: [\(Peer.balancers)], evidence: \(evidence())") }
    if chance(40) { rules.append("from: [\(Peer.balancer)], evidence: \(evidence())") }
    if chance(40) { rules.append("from: [\(Peer.client(1))], evidence: \(evidence())") }
    rules.append("from: any, evidence: \(pick(["socket", "socket", "socket", "attested", "refuse"]))")
    return rules
  }

  mutating func draw() -> DrawnRules {
    var sockets = Array(0...tcp.count).filter { _ in chance(75) }
    if sockets.isEmpty { sockets = [Int.random(in: 0...tcp.count, using: &random)] }
    let names = Self.names.shuffled(using: &random)
    var configuration = Configuration.edge(keys: keys, to: [], bound: false)
    configuration.listeners = zip(sockets, names).map { socket, name in
      Configuration.Listener(name: name, listen: place(socket), trust: trust(isUnix: socket == tcp.count))
    }
    // Names of upstreams wander between servers and audiences too.
    let servers = backends.shuffled(using: &random)
    configuration.upstreams = zip(["one", "two"], servers).map { name, server in
      let identity =
        chance(70)
        ? ["identity: attest", "audience: \(pick(["monitor-1", "monitor-2"]))", "shared_audience: true"]
        : ["identity: plain"]
      return Configuration.Upstream(name: name, members: identity, servers: ["\(server)"])
    }
    configuration.routes = ["to: \(pick(["one", "two"]))"]
    configuration.identity = [
      "edge: \(pick(["edge-a", "edge-b"]))", "keys: \"\(keys.edge)\"", "sign_with: \(Keys.kid)",
    ]
    configuration.access = "off"
    configuration.hasAdmin = true
    return DrawnRules(configuration: configuration, sockets: sockets)
  }
}

extension EndToEnd {
  @Suite struct ReloadRules {
    /// How a connection is made, and what is asked on it.
    private struct Manner: Hashable {
      let socket: Int
      /// Nil: a unix socket's.
      let peer: String?
      let announces: Bool

      static let request = Text.request(
        "/",
        fields: [
          "X-Forwarded-For: \(Peer.claimed), 198.51.100.3", "X-Forwarded-Proto: http, https",
          "Forwarded: for=\(Peer.claimed), for=198.51.100.4;proto=https",
          "X-Real-IP: \(Peer.claimed)",
        ])

      func connect(_ generator: RulesGenerator) throws -> Connection {
        let connection =
          if let peer { try Connection(to: generator.tcp[socket], from: peer) } else {
            try Connection(unix: generator.unixPath)
          }
        if announces, peer == Peer.balancer {
          // Version 2, and the client of the source used TLS.
          try connection.send(
            SignedProxyHeader.signature
              + [0x21, 0x11, 0, 20, 127, 30, 0, 1, 127, 0, 0, 1, 18, 103, 1, 187, 0x20, 0, 5, 1, 0, 0, 0, 0])
        } else if announces {
          try connection.send("PROXY TCP4 \(Peer.hop) 127.0.0.1 4711 443\r\n")
        }
        return connection
      }
    }

    private enum Outcome: Equatable {
      case answered(Int, String)
      case ended
    }

    /// The same request for every connection; what the backend was told, without port and connection id, which are
    /// each connection's own.
    private static func ask(_ connection: Connection) -> (Outcome, stays: Bool) {
      do {
        try connection.send(Manner.request)
        let response = try connection.readResponse()
        return (.answered(response.status, response.text), response["connection"]?.lowercased() != "close")
      } catch { return (.ended, false) }
    }

    private static func told(_ exchange: Exchange, by backend: String) -> String {
      let attest = exchange.head["client-attest"] ?? ""
      let facts = attest.components(separatedBy: ", ").filter { !$0.hasPrefix("port=") && !$0.hasPrefix("cid=") }
      let plain = ["x-forwarded-for", "x-forwarded-proto"].map { exchange.head.all($0).joined(separator: "|") }
      return "\(backend) \(facts.joined(separator: ", ")) \(plain.joined(separator: " "))"
    }

    /// 2,000 pairs of configurations, half of them from each seed.
    @Test(.threads(2), arguments: [20_210_819, 20_210_820] as [UInt64])
    func anOldConnectionIsUnderTheRulesOfItsSocketOrEnds(_ seed: UInt64) throws {
      let workspace = try Workspace()
      let backends = try ["A", "B"].map { name in
        try RecordingBackend(keepsBytes: false) { try $0.reply(Self.told($0, by: name)) }
      }
      var generator = RulesGenerator(
        random: Seeded(seed), tcp: try (2...4).map { try Socket.reserve("127.0.0.\($0)") },
        unixPath: workspace.file("public.sock"), backends: backends.map(\.address), keys: try Keys.standard)
      let manners = (0...generator.tcp.count).flatMap { socket -> [Manner] in
        let peers: [String?] = socket < generator.tcp.count ? [Peer.client(1), Peer.client(2), Peer.balancer] : [nil]
        return peers.flatMap { peer in [false, true].map { Manner(socket: socket, peer: peer, announces: $0) } }
      }

      var rules = generator.draw()
      let edge = try Countersign(rules.configuration, in: workspace)
      var admin = try edge["admin"]
      var old: [Manner: Connection] = [:]
      var tally: [String: Int] = [:]
      let pairs = 1_000
      for generation in 1...pairs {
        for manner in manners where old[manner] == nil && rules.sockets.contains(manner.socket) {
          // Where the rule is to refuse, the connection may be gone before its PROXY header is out.
          guard let connection = try? manner.connect(generator) else { continue }
          if case (.answered(200, _), true) = Self.ask(connection) { old[manner] = connection }
        }
        let before = rules.configuration.text
        rules = generator.draw()
        rules.configuration.more = ["# \(generation)"]
        // Nearly every pair weakens something.
        let ready = try edge.reloadAccepting(rules.configuration)
        guard let at = ready.range(of: "admin=") else {
          throw Trouble("not reloaded: \(ready) \(edge.process.tail)\n\(rules.configuration.text)")
        }
        admin = Address(ready[at.upperBound...].prefix { $0 != " " && $0 != "," }) ?? admin
        try eventually("both workers have generation \(generation)", everyMilliseconds: 1) {
          let page = try Connection(to: admin, from: nil).get("/metrics")
          return page.metric("countersign_worker_reloads_total") == 2 * generation
        }

        for (manner, connection) in old {
          let fresh: Outcome
          do { fresh = Self.ask(try manner.connect(generator)).0 } catch { fresh = .ended }
          let (outcome, stays) = Self.ask(connection)
          switch outcome {
          case fresh where fresh != .ended:
            tally["the same", default: 0] += 1
            if !stays { old[manner] = nil }
          case .ended, .answered(503, _):
            tally[fresh == .ended ? "ended, as a new one" : "ended", default: 0] += 1
            #expect(!stays, "a 503 that keeps the connection")
            old[manner] = nil
          default:
            Issue.record(
              "\(manner) got \(outcome), a new connection \(fresh)\nbefore:\n\(before)\nafter:\n\(rules.configuration.text)"
            )
            return
          }
        }
      }
      // Or nothing was shown.
      #expect(tally["the same", default: 0] > pairs && tally["ended", default: 0] > pairs / 10, "\(tally)")
      #expect(tally["ended, as a new one", default: 0] > pairs / 10, "\(tally)")
      withExtendedLifetime(backends) {}
    }

    /// The smallest input of the fault: what had been a client's own connection to a TCP socket was put under the rules of
    /// a unix socket that has the name now.
    @Test func aNameThatMovesToAnotherSocketTakesNoConnectionWithIt() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let address = try Socket.reserve("127.0.0.2")
      var first = Configuration.plainEdge(to: ["\(backend.address)"])
      first.listeners[0].name = "pub"
      first.listeners[0].listen = "\(address)"
      let edge = try Countersign(first, in: workspace)
      let connection = try Connection(to: address)
      #expect(try connection.get("/before").text == Peer.client())
      var second = first
      second.listeners[0].listen = "unix:\(workspace.file("pub.sock"))"
      second.listeners[0].trust = ["from: any, evidence: forwarded"]
      try edge.reloadAccepting(second)
      try eventually("the reload is in force") {
        (try? Connection(unix: workspace.file("pub.sock"))) != nil && (try? Connection(to: address)) == nil
      }
      if let response = try? connection.get("/after", fields: ["X-Forwarded-For: \(Peer.claimed)"]) {
        #expect(response.status == 503)
      }
      #expect(!backend.saw(Peer.claimed))
    }

    /// Same path, other content: a certificate that the new authorities did not sign is not passed on as the client's.
    @Test func aCertificateOfAuthoritiesThatWereReplacedIsNotCarriedOn() throws {
      let certificates = try Certificates.standard
      let workspace = try Workspace()
      let authorities = try workspace.write("clients.pem", String(contentsOfFile: certificates.ca, encoding: .utf8))
      let site = try Site(
        .shared, tls: true, edge: { $0.listeners[0].clientCertificates = "ca: \"\(authorities)\", require: false" })
      let client = certificates.client
      let connection = try site.connectTLS(options: ["-cert", client.certificate, "-key", client.key])
      let bystander = try site.connectTLS(from: Peer.client(8))
      #expect(try connection.get("/before").status == 200)
      #expect(try bystander.get("/before").status == 200)
      // The same content is no change.
      try site.edge.reloadAccepting(try reloadable(site.edgeConfiguration, 1))
      try inForce(1, site)
      #expect(try connection.get("/unchanged").status == 200)
      _ = try workspace.write("clients.pem", String(contentsOfFile: certificates.strangerCA, encoding: .utf8))
      try site.edge.reloadAccepting(try reloadable(site.edgeConfiguration, 2))
      try inForce(2, site)
      #expect(try connection.get("/after").status == 503)
      #expect(try connection.readToEnd() == [])
      #expect(!site.backend.saw("/after"))
    }

    /// A PROXY header that was signed with a key which is gone, or is another under the same name, speaks for nobody.
    @Test(arguments: [false, true])
    func aHeaderWhoseKeyIsGoneSpeaksForNobody(keepsName: Bool) throws {
      let workspace = try Workspace()
      let old = try Keys(in: workspace, prefix: "old-")
      let new = try Keys(in: workspace, prefix: "new-", kid: keepsName ? Keys.kid : "k2")
      let set = workspace.file("validator.jwks.json")
      try KeySetFile.join([old.validator], into: set)
      let bench = try ValidatorBench(.bound, keys: old, change: { $0.identity[0] = "keys: \"\(set)\"" })
      let newForger = try Forger(validatorKeys: new.validator, kid: keepsName ? Keys.kid : "k2")
      let connection = try Connection(to: bench.address)
      var request = SignedRequest("/before", by: bench.forger)
      try connection.send(bench.bytes(request))
      #expect(try connection.readResponse().status == 200)
      try KeySetFile.join([new.validator], into: set)
      try bench.validator.reloadAccepting(bench.workspace.read("validator.yaml"))
      try eventually("the old key is gone") { try bench.send(SignedRequest("/gone", by: bench.forger)).status != 200 }
      // Signed with the new key, for the very client that the old key's header named.
      let cid = request.cid
      request = SignedRequest("/after", by: newForger)
      request.cid = cid
      try connection.send(request.text)
      #expect(try connection.readResponse().status == 503)
      #expect(try connection.readToEnd() == [])
      #expect(!bench.backend.saw("/after"))
    }

    /// And the edge does not go on with a connection whose header it could not sign now.
    @Test func anEdgeWhoseKeyChangedUnderItsNameConnectsAnew() throws {
      let workspace = try Workspace()
      let old = try Keys(in: workspace, prefix: "old-")
      let new = try Keys(in: workspace, prefix: "new-")
      let (edgeSet, validatorSet) = (workspace.file("edge.jwks.json"), workspace.file("validator.jwks.json"))
      try KeySetFile.join([old.edge], into: edgeSet)
      try KeySetFile.join([old.validator], into: validatorSet)
      let site = try Site(
        .bound, validator: { $0.identity[0] = "keys: \"\(validatorSet)\"" },
        edge: { $0.identity[1] = "keys: \"\(edgeSet)\"" })
      let connection = try site.connect()
      #expect(try connection.get("/before").status == 200)
      try KeySetFile.join([new.validator], into: validatorSet)
      try KeySetFile.join([new.edge], into: edgeSet)
      try site.validator.reloadAccepting(site.validatorConfiguration)
      try site.edge.reload(try reloadable(site.edgeConfiguration, 1))
      try eventually("the edge signs with the new key") { try site.connect().get("/generation/1").status == 200 }
      #expect(try connection.get("/after").status == 200)
      #expect(try connection.get("/after-that").text == Peer.client())
    }

    /// Other limits do not reach back to a request that is under way: its second try is taken as the first was.
    @Test func aRetryIsUnderTheLimitsThatItsRequestBeganWith() throws {
      let tries = Guarded(0)
      let reloaded = Guarded(false)
      let site = try Site(.shared) { exchange in
        guard exchange.target == "/twice" else { return try exchange.reply("ok") }
        let number = tries.with { count in
          count += 1
          return count
        }
        if number > 1 { return try exchange.reply("second try") }
        _ = reloaded.wait(until: .usual) { $0 ? true : nil }
        exchange.reset()
      }
      // The try that fails is between edge and backend, for a validator would pass a 502 on.
      var plain = Configuration.plainEdge(to: ["\(site.backend.address)"])
      let edge = try Countersign(plain, name: "plain", in: site.workspace)
      let connection = try Connection(to: edge["public"])
      try connection.send(Text.request("/twice", fields: (0..<20).map { "X-\($0): y" }))
      _ = try site.backend.waitForRequest(to: "/twice")
      plain.limits = ["fields: 5", "head: 1KiB"]
      try edge.reload(plain)
      try eventually("the new limits are in force") {
        try Connection(to: edge["public"]).get("/limits", fields: (0..<20).map { "X-\($0): y" }).status == 431
      }
      reloaded.with { $0 = true }
      let response = try connection.readResponse()
      #expect(response.status == 200 && response.text == "second try")
    }

    private func reloadable(_ base: Configuration, _ generation: Int) throws -> Configuration {
      var next = base
      next.routes = [#"path: "/generation/\#(generation)", to: monitor"#, #"path_regex: "/[a-z-]+", to: monitor"#]
      return next
    }

    private func inForce(_ generation: Int, _ site: Site) throws {
      try eventually("generation \(generation) is in force") {
        try site.connectTLS(from: Peer.client(99)).get("/generation/\(generation)").status == 200
      }
    }
  }
}
