// Who the client of a connection is, as far as the connection tells, by the trust rule of its peer; and whether one that outlived a reload
// may go on under the rules that came with it. Called when a connection begins (Announce) and before each request (Begin, HTTP2Server).

import Platform
import Policy
import Wire

enum ConnectionRules {
  /// Settles the client as far as the connection alone tells. Also done again when a reload brings new rules.
  static func settle(_ d: Downstream, _ worker: Worker) {
    guard let listener = d.listener else { return }
    d.client = nil
    d.clientRefusal = nil
    d.refusedClient = nil
    // Counted anew, under the present limit and for whoever is the client now.
    if let counted = d.countedClient {
      worker.shared.giveClient(counted)
      d.countedClient = nil
    }
    let rule = listener.trust[d.rule]
    d.scheme = listener.trust.connectionScheme(rule: d.rule, proxy: d.announced, isTLS: d.isTLS)
    // Nobody is there but the load balancer, whatever the rule makes of its address.
    if let unnamed = d.unnamed {
      d.clientRefusal = unnamed
      if unnamed == .clientInfrastructure { d.refusedClient = d.peer?.unmapped }
      return
    }
    let settlement: Settlement
    switch rule.evidence {
    case .refuse: settlement = .refused(.peerRefused)
    case .socket:
      settlement = listener.trust.settleSocket(
        rule: d.rule, peer: d.peer, peerPort: d.peerPort, local: d.local, scheme: d.scheme)
    case .proxyProtocol:
      guard let announced = d.announced else {
        settlement = listener.trust.settleUnannounced(
          rule: d.rule, peer: d.peer, peerPort: d.peerPort, local: d.local, scheme: d.scheme,
          nowMilliseconds: worker.wallMilliseconds)
        break
      }
      if rule.thenForwarded { return }
      settlement = listener.trust.settleAnnounced(
        rule: d.rule, source: announced.source, port: announced.sourcePort, version: Int(announced.version),
        local: d.local, scheme: d.scheme)
    case .forwarded, .attested: return
    }
    switch settlement {
    case .refused(let refusal): d.clientRefusal = refusal
    case .infrastructure(let address):
      d.clientRefusal = .clientInfrastructure
      d.refusedClient = address
    case .settled(let address, let port, let via, let scheme):
      d.client = ClientIdentity(
        address: address, port: port, secure: scheme.isSecure, via: via, connection: d.connection,
        certificate: scheme.isOwnTLS ? d.certificate : nil)
      let most = worker.plan.config.limits.connectionsPerClient
      var counted = d.countedClient
      let isTaken = worker.shared.takeClient(address, most: most, counted: &counted)
      d.countedClient = counted
      guard isTaken else {
        d.clientRefusal = .clientLimit
        return
      }
    }
  }

  /// The scheme of a connection whose TLS handshake is over; its client was settled before.
  static func settleScheme(_ d: Downstream) {
    guard let listener = d.listener else { return }
    d.scheme = listener.trust.connectionScheme(rule: d.rule, proxy: d.announced, isTLS: d.isTLS)
    guard var known = d.client else { return }
    known.secure = d.scheme.isSecure
    known.certificate = d.scheme.isOwnTLS ? d.certificate : nil
    d.client = known
  }

  enum Adoption {
    case underPresentRules
    /// It has not shown what they demand, or there are none for its socket.
    case outlived
  }

  /// A connection that outlived a reload comes under the present rules of the socket that it came in by.
  /// Where it cannot, its request is answered 503 and it ends; one of HTTP/2 drains (`HTTP2Server.adoptRules`). Beside a process of
  /// an upgrade that serves by other rules none may, for these are not known here.
  static func adopt(_ d: Downstream, _ worker: Worker) -> Adoption {
    guard !worker.refusesHeads, let listener = d.listener else { return .outlived }
    guard listener.generation != worker.plan.generation else { return .underPresentRules }
    guard let present = worker.plan.listener(onSocket: d.socket) else { return .outlived }
    let rule = present.trust.rule(for: d.peer)
    guard showsAll(d, for: present, rule: rule, worker) else { return .outlived }
    d.listener = present
    d.rule = rule
    d.check = present.checks.index(for: d.peer)
    settle(d, worker)
    return .underPresentRules
  }

  /// Whether the connection has shown what a new one from its peer would have to show now. What a connection shows only
  /// when it begins cannot be asked for later: TLS, a client certificate, a PROXY header, the protocol.
  private static func showsAll(
    _ d: Downstream, for present: ListenerPlan, rule: Int, _ worker: Worker
  ) -> Bool {
    guard let listener = d.listener else { return false }
    let before = listener.trust[d.rule]
    let now = present.trust[rule]
    guard now.evidence != .refuse, before.proxyProtocolRequired == now.proxyProtocolRequired,
      (now.evidence == .attested) == (before.evidence == .attested), (present.tls == nil) == (listener.tls == nil),
      present.clientDemand == listener.clientDemand
    else { return false }
    if present.tls != nil, present.tlsMinimum == .tls13, !d.isTLS13 { return false }
    // By TLS a client that names no protocol speaks HTTP/1.1, whatever the listener prefers.
    let isSpoken = d.carrier.http2 != nil ? present.speaksHTTP2 : present.tls != nil || present.opening != .http2
    if !isSpoken { return false }
    // The header that an edge signed must be one that it could sign now.
    guard let bound = d.bound else { return true }
    guard let old = listener.verifier, let verifier = present.verifier else { return false }
    return verifier.believes(bound, audience: old.audience, nowMilliseconds: worker.wallMilliseconds)
  }

  /// Whether requests for this authority belong on the connection: its client was shown a certificate with that name (RFC 9110
  /// section 7.4). Asked of HTTP/2 alone, whose clients send requests for many names over one connection; and of clients alone, for a
  /// proxy or an edge connects to us by our name and brings requests for any.
  static func mayBeAsked(_ d: Downstream, for authority: Span<UInt8>) -> Bool {
    guard d.isTLS, let tls = d.transport.serverContext, let rule = d.listener?.trust[d.rule],
      rule.evidence == .socket || rule.evidence == .proxyProtocol && !rule.thenForwarded
    else { return true }
    var end = authority.count
    if let colon = (0..<end).last(where: { authority[$0] == 0x3a }), authority[end - 1] != 0x5d { end = colon }
    let host = authority.extracting(first: end)
    return d.transport.withServerName { name in
      if name.isEmpty || name.equalsIgnoringCase(host) { return true }
      return tls.serves(String(lowercasing: host), onConnectionTo: String(lowercasing: name))
    }
  }
}
