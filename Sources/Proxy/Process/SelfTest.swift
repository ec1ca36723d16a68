// A configuration tried out before it goes live, inside the process and without a connection. For each listener and trust rule two
// clients with different addresses are shown by the evidence that the rule demands. What is settled for them goes on as a request would:
// by each route, looked up in the table that workers use, to the upstream that the route names, in the form that this upstream gets,
// and is read there as by its validator or its backend (FarEnd). They must come out as these two, each by its own address.
//
// A rule that can settle nobody, a configuration that maps two clients to one or loses an address, and a key that cannot sign now,
// are findings with the step at which it happened. Called when a snapshot is built: at the start, before a reload, and by `check`.
// LiveValidators asks the validators themselves afterwards.

import Platform
import Policy
import Wire

struct SelfTest {
  private let config: Config
  private let keys: KeySet?
  private let infrastructure: Infrastructure
  private let names: FieldNames
  private let now: Clock.Reading
  private(set) var findings: [Diagnostic] = []
  /// The clients that came out of the trust rules.
  private var settled: [ClientIdentity] = []
  /// By the names of upstreams.
  private var farEnds: [String: FarEnd] = [:]

  /// Everything that is found; nothing where all is well.
  static func findings(
    _ config: Config, _ listeners: [Snapshot.Listener], keys: KeySet?, now: Clock.Reading = Clock.read()
  ) -> [Diagnostic] {
    var test = SelfTest(config: config, keys: keys, now: now)
    for (index, listener) in listeners.enumerated() { test.listener(listener, index) }
    test.upstreams()
    test.routes()
    return test.findings
  }

  private init(config: Config, keys: KeySet?, now: Clock.Reading) {
    self.config = config
    self.keys = keys
    self.now = now
    infrastructure = Infrastructure(config)
    names = FieldNames(claims: config.identity.claims)
  }

  // MARK: Trust rules

  /// Addresses of the internet, those for documentation first (RFC 5737, RFC 3849): nothing is sent to them.
  static let clients: [IPAddress] = [
    IPAddress(v4: 0xc000_024d), IPAddress(v4: 0xc633_644d), IPAddress(v4: 0xcb00_714d), IPAddress(v4: 0x0909_094d),
    IPAddress(v4: 0x172d_434d), IPAddress(v4: 0x5bc6_ae4d), IPAddress(v4: 0x9765_014d), IPAddress(v4: 0x0a4d_4d4d),
    IPAddress(v6High: 0x2001_0db8_0000_004d, v6Low: 0x4d), IPAddress(v6High: 0x2600_1f18_0000_004d, v6Low: 0x4d),
    IPAddress(v6High: 0x2a00_1450_0000_004d, v6Low: 0x4d),
  ]

  private mutating func listener(_ listener: Snapshot.Listener, _ index: Int) {
    let policy = listener.trust
    let isUnix = listener.config.address.isUnix
    for (number, rule) in listener.config.trust.enumerated() where rule.evidence != .refuse {
      let place = config.place(of: "listeners[\(index)].trust[\(number)]")
      guard rule.evidence != .attested else {
        attested(rule, policy, place)
        continue
      }
      // Who is at the other end of a unix socket has no address: `unixPeers` tells of rules that ask for one.
      let peers: [IPAddress]
      if isUnix {
        guard rule.from.isEmpty, rule.evidence != .socket else { continue }
        peers = []
      } else {
        guard let found = self.peers(rule, policy, number) else { continue }
        peers = found
      }
      var came: [IPAddress] = []
      var refused: [(IPAddress, String)] = []
      // The clients: the peers themselves, or those whom one peer names.
      for client in rule.evidence == .socket ? peers : Self.clients where came.count < 2 {
        if rule.evidence != .socket, !isPossible(client, rule) { continue }
        let settlement = settle(client, rule, policy, peer: rule.evidence == .socket ? client : peers.first)
        switch settlement {
        case .settled(let address, let port, let via, let scheme):
          guard address == client else {
            fail(place, "self-test: the client \(client) comes out as \(address) under this rule")
            return
          }
          came.append(address)
          settled.append(
            ClientIdentity(
              address: address, port: port, secure: scheme.isSecure, via: via, connection: ConnectionID(high: 1, low: 1)
            ))
        case .infrastructure(let address): refused.append((client, policy.whyInfrastructure(address, rule: number)))
        case .refused(let refusal): refused.append((client, "\(refusal.name)"))
        }
      }
      // Of addresses that are named one by one, `ownClients` has told already.
      let isTold = rule.evidence == .socket && !rule.from.isEmpty && rule.from.allSatisfy(\.isHost)
      guard came.isEmpty, !isTold, let (client, why) = refused.first else { continue }
      // A range of machinery may well be named by a rule; nobody is served by it, and that is worth to know.
      warn(place, "self-test: nobody can be a client under this rule; \(client) is refused: \(why)")
    }
  }

  /// Not what the rule steps over, nor the peer itself.
  private func isPossible(_ client: IPAddress, _ rule: Config.TrustRule) -> Bool {
    !rule.hops.contains { $0.contains(client) } && !infrastructure.contains(client)
  }

  /// Two peers that come under this rule and no more specific one; nil where none is found.
  private func peers(_ rule: Config.TrustRule, _ policy: TrustPolicy, _ number: Int) -> [IPAddress]? {
    var candidates = rule.from.isEmpty ? Self.clients : []
    for prefix in rule.from {
      for offset in [UInt64(1), 2, 77, 0] {
        let base = prefix.address
        let last = base.low &+ offset
        candidates.append(
          base.family == .v4
            ? IPAddress(v4: UInt32(truncatingIfNeeded: last)) : IPAddress(v6High: base.high, v6Low: last))
      }
    }
    let found = candidates.filter { $0.isPossibleClient && policy.rule(for: $0) == number }
    return found.isEmpty ? nil : Array(found.prefix(4))
  }

  private func settle(
    _ client: IPAddress, _ rule: Config.TrustRule, _ policy: TrustPolicy, peer: IPAddress?
  ) -> Settlement {
    var source: (address: IPAddress, port: UInt16)?
    var fields: [(name: String, value: String)] = []
    func field() {
      let hop = rule.hops.first?.address
      // A hop that is written behind the client is stepped over.
      let value =
        rule.header == .forwarded
        ? "for=\(Self.node(client))\(hop.map { ", for=\(Self.node($0))" } ?? "")"
        : "\(client)\(hop.map { ", \($0)" } ?? "")"
      fields.append((rule.header.rawValue, value))
    }
    switch rule.evidence {
    case .proxyProtocol:
      if rule.thenForwarded, let hop = rule.hops.first {
        source = (hop.address, 40_000)
        field()
      } else {
        source = (client, 40_000)
      }
    case .forwarded: field()
    case .socket, .attested, .refuse: break
    }
    let explanation = policy.explain(
      peer: peer, local: nil, proxySource: source, fields: fields, nowMilliseconds: now.wallMilliseconds)
    guard case .settlement(let settlement) = explanation.verdict else { return .refused(.identityMissing) }
    return settlement
  }

  private static func node(_ address: IPAddress) -> String { address.family == .v4 ? "\(address)" : "\"[\(address)]\"" }

  /// Under a rule that demands signatures the clients are those whom an edge signs for, with the keys that are in the set here. A
  /// public key signs nothing: what it verifies is not tried.
  private mutating func attested(_ rule: Config.TrustRule, _ policy: TrustPolicy, _ place: Place) {
    guard let keys, let request = ProbeRequest(host: Self.host, path: Self.path) else { return }
    var came: [IPAddress] = []
    var problems: [String] = []
    var tried: [KeyID] = []
    for keyID in keys.keys.map(\.id) where !tried.contains(keyID) {
      tried.append(keyID)
      let edge: FarEnd?
      do {
        edge = try FarEnd(
          validator: config, keys: keys, keyID: keyID, isBound: rule.proxyProtocolRequired, now: now)
      } catch {
        fail(place, "self-test: \(error)")
        return
      }
      guard let edge else { continue }
      for client in Self.clients where came.count < 2 {
        guard policy.refusalOfAttested(client) == nil else { continue }
        let identity = ClientIdentity(probe: client)
        switch edge.receive(request, from: identity) {
        case .client(client):
          came.append(client)
          settled.append(identity)
        case .client(let other): fail(place, "self-test: the client \(client) comes out as \(other) under this rule")
        case .nobody: fail(place, "self-test: the client \(client) comes out as nobody under this rule")
        case .problem(let why): problems.append("a probe from \(client) \(why)")
        }
      }
    }
    guard came.isEmpty, let why = problems.first else { return }
    warn(place, "self-test: nobody can be a client under this rule; \(why)")
  }

  // MARK: Upstreams

  /// For requests of which only the client counts.
  private static let host = Array("self-test.invalid".utf8)
  private static let path = Array("/".utf8)

  /// What a client may say of itself, and what must not go on.
  private static let claims = """
    X-Forwarded-For: 203.0.113.249\r
    X-Forwarded-Proto: gopher\r
    X-Forwarded-Host: claimed.invalid\r
    X-Real-IP: 203.0.113.249\r
    Forwarded: for=203.0.113.249\r
    X_Forwarded_For: 203.0.113.249\r
    client-attest: ip="203.0.113.249"\r

    """

  /// Two clients with different addresses: those that came out of the trust rules, as far as there are any.
  private var twoClients: [ClientIdentity] {
    var two: [ClientIdentity] = []
    for identity in settled + Self.clients.map({ ClientIdentity(probe: $0) })
    where two.count < 2 && identity.address != two.first?.address { two.append(identity) }
    return two
  }

  private mutating func upstreams() {
    guard let request = ProbeRequest(host: Self.host, path: Self.path, claims: Self.claims, names: names) else {
      preconditionFailure("the self-test's own request is none")
    }
    let probes = settled + twoClients.filter { !settled.contains($0) }
    for upstream in config.upstreams {
      let place = config.place(of: "upstreams.\(upstream.name)")
      do {
        guard let farEnd = try FarEnd(upstream, config, keys: keys, now: now) else { continue }
        farEnds[upstream.name] = farEnd
        if let problem = problem(request, probes, farEnd) {
          fail(place, "self-test: upstream \(upstream.name): \(problem)")
          farEnds[upstream.name] = nil
        }
      } catch {
        fail(place, "self-test: upstream \(upstream.name): \(error)")
      }
    }
  }

  /// What is wrong with one of these clients at the far end.
  private func problem(
    _ request: ProbeRequest, _ probes: [ClientIdentity], _ farEnd: FarEnd,
    _ changes: ProbeRequest.Changes = ProbeRequest.Changes()
  ) -> String? {
    for identity in probes {
      switch farEnd.receive(request, from: identity, changes) {
      case .client(identity.address), .nobody: continue
      case .client(let other): return "a probe from \(identity.address) comes out as \(other)"
      case .problem(let why): return "a probe from \(identity.address) \(why)"
      }
    }
    return nil
  }

  // MARK: Routes

  /// Of more routes than these only the way is looked up: with 100,000 of them signatures would take long.
  private static let wholeRoutesMax = 2_000

  private mutating func routes() {
    let probes: RouteProbes
    do {
      probes = try RouteProbes(config, host: Self.host, path: Self.path, claims: Self.claims, names: names)
    } catch {
      fail(config.place(of: "routes"), "self-test: the routes cannot be looked up: \(error.reason)")
      return
    }
    let clients = twoClients
    var whole = 0
    let (workspace, scratch) = (PatternWorkspace(), Buffer(capacity: 4_096))
    for (index, route) in config.routes.enumerated() where route.isEnabled {
      let place = config.place(of: "routes[\(index)]")
      switch probes.way(to: index) {
      // The upstream itself was tried already.
      case .unknown: continue
      case .lost(let why): fail(place, "self-test: \(why)")
      case .found(let request):
        guard whole < Self.wholeRoutesMax, let farEnd = farEnds[route.to] else { continue }
        whole += 1
        let changes = ProbeRequest.Changes(
          path: (try? PathChange(route, workspace, scratch: scratch)) ?? nil,
          fields: HeadEdit.request(route.changes.request, config.headers))
        if let problem = problem(request, clients, farEnd, changes) {
          fail(place, "self-test: on the way to the upstream \(route.to) \(problem)")
        }
      }
    }
  }

  private mutating func fail(_ place: Place, _ message: String) {
    findings.append(Diagnostic(.error, at: place, message))
  }
  private mutating func warn(_ place: Place, _ message: String) {
    findings.append(Diagnostic(.warning, at: place, message))
  }
}
