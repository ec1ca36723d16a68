// A configuration tried out before it goes live, inside the process and without a connection: for each listener and trust rule two
// clients with different addresses are shown by the evidence that the rule demands, and what is settled for them is signed for each
// attested upstream and verified as its validator would. They must come out as these two, each by its own address.
//
// A rule that can settle nobody, a configuration that maps two clients to one or loses an address, and a key that cannot sign now,
// are findings with the step at which it happened. Called when a snapshot is built: at the start, before a reload, and by `check`.

import Platform
import Policy
import Wire

struct SelfTest {
  private let config: Config
  private let infrastructure: Infrastructure
  private let now: Clock.Reading
  private(set) var findings: [Diagnostic] = []

  /// Everything that is found; nothing where all is well.
  static func findings(
    _ config: Config, _ listeners: [Snapshot.Listener], keys: KeySet?, now: Clock.Reading = Clock.read()
  ) -> [Diagnostic] {
    var test = SelfTest(config: config, infrastructure: Infrastructure(config), now: now)
    var settled: [ClientIdentity] = []
    for (index, listener) in listeners.enumerated() { test.listener(listener, index, &settled) }
    if let keys { test.upstreams(keys, settled) }
    return test.findings
  }

  private init(config: Config, infrastructure: Infrastructure, now: Clock.Reading) {
    self.config = config
    self.infrastructure = infrastructure
    self.now = now
  }

  // MARK: Trust rules

  /// Addresses of the internet, those for documentation first (RFC 5737, RFC 3849): nothing is sent to them.
  private static let clients: [IPAddress] = [
    IPAddress(v4: 0xc000_024d), IPAddress(v4: 0xc633_644d), IPAddress(v4: 0xcb00_714d), IPAddress(v4: 0x0909_094d),
    IPAddress(v4: 0x172d_434d), IPAddress(v4: 0x5bc6_ae4d), IPAddress(v4: 0x9765_014d), IPAddress(v4: 0x0a4d_4d4d),
    IPAddress(v6High: 0x2001_0db8_0000_004d, v6Low: 0x4d), IPAddress(v6High: 0x2600_1f18_0000_004d, v6Low: 0x4d),
    IPAddress(v6High: 0x2a00_1450_0000_004d, v6Low: 0x4d),
  ]

  private mutating func listener(_ listener: Snapshot.Listener, _ index: Int, _ settled: inout [ClientIdentity]) {
    let policy = listener.trust
    for (number, rule) in listener.config.trust.enumerated()
    where rule.evidence != .refuse && rule.evidence != .attested {
      let place = config.place(of: "listeners[\(index)].trust[\(number)]")
      guard let peers = peers(rule, policy, number) else { continue }
      var came: [IPAddress] = []
      var refused: [(IPAddress, String)] = []
      // The clients: the peers themselves, or those whom one peer names.
      for client in rule.evidence == .socket ? peers : Self.clients where came.count < 2 {
        if rule.evidence != .socket, !isPossible(client, rule) { continue }
        let settlement = settle(client, rule, policy, number, peer: rule.evidence == .socket ? client : peers[0])
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
    _ client: IPAddress, _ rule: Config.TrustRule, _ policy: TrustPolicy, _ number: Int, peer: IPAddress
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

  // MARK: Signing and verifying

  private mutating func upstreams(_ keys: KeySet, _ settled: [ClientIdentity]) {
    for upstream in config.upstreams where upstream.identity == .attest {
      guard let audience = upstream.audience, let edge = config.identity.edge, let kid = config.identity.signWith else {
        continue
      }
      let place = config.place(of: "upstreams.\(upstream.name)")
      do {
        let lanes = try SenderLanes.make(workers: 1, nowMilliseconds: now.wallMilliseconds)[0]
        let signer = try Signer(
          keys: keys, keyID: kid, audience: audience, edge: edge, lanes: lanes, headBytesMax: 1_024)
        let verifier = try Verifier(
          keys: try keys.exported(for: audience), audience: audience, edges: [edge], skewMilliseconds: 0,
          windows: ReplayWindows(
            // A validator that started long ago.
            start: Clock.Reading(
              wallMilliseconds: now.wallMilliseconds &- min(now.wallMilliseconds, 100_000),
              monotonicMilliseconds: now.monotonicMilliseconds &- min(now.monotonicMilliseconds, 100_000)),
            windowBits: 1 << 10), headBytesMax: 1_024)
        let probes =
          settled.isEmpty ? [ClientIdentity(probe: Self.clients[0]), ClientIdentity(probe: Self.clients[1])] : settled
        for identity in probes {
          guard let problem = roundTrip(identity, signer, verifier) else { continue }
          fail(place, "self-test: upstream \(upstream.name): a probe from \(identity.address) \(problem)")
          break
        }
      } catch {
        fail(place, "self-test: upstream \(upstream.name): \(error)")
      }
    }
  }

  /// What is wrong with a request that is signed and verified.
  private func roundTrip(_ identity: ClientIdentity, _ signer: Signer, _ verifier: Verifier) -> String? {
    let method = Array("GET".utf8)
    let authority = Array("self-test".utf8)
    let path = Array("/".utf8)
    let start = method + authority + path
    let ranges = [
      ByteRange(0, method.count), ByteRange(method.count, authority.count),
      ByteRange(method.count + authority.count, path.count),
    ]
    let lines = Buffer(capacity: 2_048)
    guard
      signer.writeFields(
        identity, head: start.span, method: ranges[0], authority: ranges[1], path: ranges[2], query: .empty,
        nowMilliseconds: now.wallMilliseconds, into: lines), !lines.overflowed
    else { return "cannot be signed: the key \(signer.keyID) is not valid now (`nbf`, `exp`)" }
    let head = Array("GET / HTTP/1.1\r\nHost: self-test\r\n".utf8) + lines.copyBytes() + Array("\r\n".utf8)
    let parsed = RequestHead(fieldsMax: 8)
    guard case .complete = parsed.parse(head.span, limits: HeadLimits(headBytes: head.count, fields: 8)) else {
      return "is no request once it is signed"
    }
    let outcome = verifier.verify(
      head: head.span, method: parsed.methodRange, authority: parsed.authority, path: parsed.path, query: parsed.query,
      attest: parsed.attest, signatureInput: parsed.signatureInput, signature: parsed.signature, at: now, bound: nil)
    switch outcome {
    case .refused(let refusal): return "is signed, and refused as \(refusal.name) by a validator with the exported keys"
    case .verified(let verified):
      guard verified.client.address == identity.address, verified.client.port == identity.port,
        verified.client.secure == identity.secure, verified.client.via == identity.via
      else { return "is verified as \(verified.client.address)" }
      return nil
    }
  }

  private mutating func fail(_ place: Place, _ message: String) {
    findings.append(Diagnostic(.error, at: place, message))
  }
  private mutating func warn(_ place: Place, _ message: String) {
    findings.append(Diagnostic(.warning, at: place, message))
  }
}

extension ClientIdentity {
  fileprivate init(probe: IPAddress) {
    self.init(address: probe, port: 40_000, secure: true, via: .socket, connection: ConnectionID(high: 1, low: 1))
  }
}
