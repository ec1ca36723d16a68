// Who the client is, by what the peer must show. One for each listener, immutable, shared by all workers.
//
//     peer ── longest prefix ──> rule ──> socket          the peer itself
//                                         proxy-protocol  the source that its PROXY header names
//                                           then forwarded  ... and where that source is a listed hop, the field it sent
//                                           in a cutover    the peer itself, if it sends no header
//                                         forwarded       the field that the peer sent
//                                         attested        an edge's signature: the verifier's, not settled here
//                                         refuse          nobody
//
// A forwarded field is read from its right end: the peer wrote the last element, and as long as an element is a listed
// hop, that hop wrote the one before it. The first that is not a hop is the client; nothing to its left is even parsed,
// for the client may have made it up. What cannot be parsed is never skipped.
//
// The scheme comes from the same hand as the address: see `connectionScheme` and `forwardedScheme`.
//
// After `proxy-protocol, then: forwarded` the sender of the field is the source of the PROXY header. It is believed only if it
// is a listed hop. If it is not, it reached the load balancer by itself: then it IS the client, and the field it sent is
// a claim about itself that is not read.
//
// Invariant: a settled client can be one (`isPossibleClient`) and is not infrastructure. Lookups and walks do not
// allocate. Called by the downstream connection (Proxy): the rule once, and settled once or for each request; and by
// `explain`.

import Wire

package final class TrustPolicy: Sendable {
  private let rules: [CompiledRule]
  private let peers: PrefixTable
  /// The rule for a peer in no range, and for a unix socket's peer, who has no address.
  private let anyRule: Int
  private let infrastructure: Infrastructure

  /// Of two rules for the same range the first counts. Without a rule for `any` the default is added: `socket`.
  package init(rules: [Config.TrustRule], infrastructure: Infrastructure) {
    var compiled = rules.map { CompiledRule($0) }
    var entries: [(IPPrefix, UInt32)] = []
    for (index, rule) in rules.enumerated() {
      for prefix in rule.from { entries.append((prefix, UInt32(index))) }
    }
    if let any = rules.firstIndex(where: { $0.from.isEmpty }) {
      anyRule = any
    } else {
      anyRule = compiled.count
      compiled.append(CompiledRule(Config.TrustRule(evidence: .socket), isDefault: true))
    }
    self.rules = compiled
    peers = PrefixTable(entries)
    self.infrastructure = infrastructure
  }

  /// The policy of one listener.
  package convenience init(_ listener: Config.Listener, infrastructure: Infrastructure) {
    self.init(rules: listener.trust, infrastructure: infrastructure)
  }

  /// The rule for a peer; nil is the peer of a unix socket.
  package func rule(for peer: IPAddress?) -> Int {
    guard let peer, let found = peers.longestMatch(peer) else { return anyRule }
    return Int(found)
  }

  /// All of them, in the order in which they are numbered.
  package var all: [CompiledRule] { rules }
  package subscript(rule: Int) -> CompiledRule { rules[rule] }
  package func evidence(of rule: Int) -> Config.Evidence { rules[rule].evidence }
  /// A connection under this rule, with that source in its PROXY header, may bring the requests of many clients: an edge's, or those that a
  /// proxy names.
  package func bringsMany(rule: Int, announced source: IPAddress?) -> Bool {
    switch rules[rule].evidence {
    case .attested, .forwarded: true
    case .proxyProtocol: rules[rule].thenForwarded && source.map { rules[rule].hops.contains($0) } ?? false
    case .socket, .refuse: false
    }
  }

  // MARK: By the connection

  /// What the client used, as far as the connection tells: always the same for the same facts, at first and after a reload.
  /// A header that says whether the client used TLS is believed before our own TLS, which then is the load balancer's.
  package func connectionScheme(rule: Int, proxy: ProxyHeader?, isTLS: Bool) -> ClientScheme {
    let compiled = rules[rule]
    switch compiled.scheme {
    case .http, .https: return ClientScheme(isSecure: compiled.scheme == .https, source: .rule)
    case .evidence: break
    }
    if compiled.evidence == .proxyProtocol, let proxy, proxy.contents.contains(.ssl) {
      return ClientScheme(isSecure: proxy.sslClient, source: .proxy)
    }
    return ClientScheme(isSecure: isTLS, source: .connection)
  }

  /// The peer itself is the client. A listener's own address is one only under a rule that names this very address: a
  /// proxy on this machine that forgot to pass the client on looks just like a local client (decision 3).
  package func settleSocket(
    rule: Int, peer: IPAddress?, peerPort: UInt16, local: IPAddress?, scheme: ClientScheme = .plain
  ) -> Settlement {
    guard let client = peer?.unmapped, client.isPossibleClient else { return .refused(.clientUnknown) }
    if rules[rule].namedClients.contains(client) {
      if infrastructure.isDeclared(client) { return .infrastructure(client) }
      return .settled(client, port: peerPort, .socket, scheme)
    }
    return admit(client, port: peerPort, .socket, scheme, local: local)
  }

  /// The source of the peer's PROXY header is the client. Not to be asked under a rule with `thenForwarded`, where each
  /// request says more.
  package func settleAnnounced(
    rule: Int, source: IPAddress, port: UInt16, version: Int, local: IPAddress?, scheme: ClientScheme = .plain
  ) -> Settlement {
    guard rules[rule].evidence == .proxyProtocol else { return .refused(.clientUnknown) }
    // A TCP client has a port; only its absence from a forwarded field can be told on the wire (`via="forwarded"`).
    guard source.isPossibleClient, port > 0 else { return .refused(.proxyAddress) }
    return admit(source, port: port, version == 1 ? .proxyV1 : .proxyV2, scheme, local: local)
  }

  /// The peer sent no PROXY header although it owes one: it is the client itself as long as the rule's cutover lasts.
  /// `nowMilliseconds`: the wall clock.
  package func settleUnannounced(
    rule: Int, peer: IPAddress?, peerPort: UInt16, local: IPAddress?, scheme: ClientScheme = .plain,
    nowMilliseconds: UInt64
  ) -> Settlement {
    guard isInCutover(rule: rule, nowMilliseconds: nowMilliseconds) else { return .refused(.proxyMissing) }
    guard let client = peer?.unmapped, client.isPossibleClient else { return .refused(.clientUnknown) }
    if infrastructure.containsInCutover(client) || client == local?.unmapped { return .infrastructure(client) }
    return .settled(client, port: peerPort, .socket, scheme)
  }

  /// Whether a peer under this rule may come without its PROXY header now.
  package func isInCutover(rule: Int, nowMilliseconds: UInt64) -> Bool {
    guard let end = rules[rule].cutoverEndMilliseconds else { return false }
    return nowMilliseconds < end
  }

  // MARK: By the request

  /// The client that the forwarded field names. `sender` is who sent the field: the peer (nil: over a unix socket), or
  /// under `proxy-protocol, then: forwarded` the source that a PROXY header of `version` announced, with its port. `scheme`
  /// is what the connection tells.
  package func settleForwarded(
    rule: Int, from sender: IPAddress?, fromPort: UInt16, version: Int, bytes: Span<UInt8>, head: RequestHead,
    local: IPAddress?, scheme: ClientScheme = .plain
  ) -> Settlement {
    let compiled = rules[rule]
    switch compiled.evidence {
    case .forwarded: break
    case .proxyProtocol where compiled.thenForwarded:
      guard let sender else { return .refused(.proxyMissing) }
      guard compiled.hops.contains(sender) else {
        return settleAnnounced(
          rule: rule, source: sender, port: fromPort, version: version, local: local, scheme: scheme)
      }
    default: return .refused(.clientUnknown)
    }
    let kind: FieldKind = compiled.header == .forwarded ? .forwarded : .xForwardedFor
    guard head.has(kind) else { return .refused(.forwardedMissing) }
    let syntax: ForwardedElements.Syntax = compiled.header == .forwarded ? .forwarded : .xForwardedFor
    // Several lines are one list in their order (RFC 9110 section 5.3): the last element of the last line comes first.
    var index = head.fieldCount
    var hops = 0
    while index > 0 {
      index -= 1
      guard head.kind(index) == kind else { continue }
      var elements = ForwardedElements(head.value(index), syntax: syntax)
      walk: while true {
        switch elements.previous(bytes) {
        case .end: break walk
        case .malformed: return .refused(.forwardedInvalid)
        case .node(let node):
          if compiled.hops.contains(node.address) {
            hops += 1
            continue walk
          }
          guard node.address.isPossibleClient else { return .refused(.forwardedInvalid) }
          guard let scheme = forwardedScheme(compiled, node, hops: hops, bytes, head, connection: scheme) else {
            return .refused(.forwardedInvalid)
          }
          return admit(node.address, port: node.port, .forwarded, scheme, local: local)
        }
      }
    }
    return .refused(.forwardedExhausted)
  }

  /// What the hop that named the client says of its scheme: `proto` in the same element of Forwarded. In X-Forwarded-Proto,
  /// the element as far from the right end as the address is; or the only one, for most proxies write one value over what
  /// came. Lists of different lengths were not written by the same hops, and then no element is sure to be a hop's: nil,
  /// as where it cannot be read. Where nothing is said, the connection decides.
  private func forwardedScheme(
    _ compiled: CompiledRule, _ node: ForwardedNode, hops: Int, _ bytes: Span<UInt8>, _ head: RequestHead,
    connection: ClientScheme
  ) -> ClientScheme? {
    guard compiled.scheme == .evidence else { return connection }
    if compiled.header == .forwarded {
      return node.isSecure.map { ClientScheme(isSecure: $0, source: .forwarded) } ?? connection
    }
    guard head.has(.xForwardedProto) else { return connection }
    var schemes = 0
    var addresses = 0
    for index in 0..<head.fieldCount {
      switch head.kind(index) {
      case .xForwardedProto: schemes += ForwardedScheme.count(bytes, head.value(index))
      case .xForwardedFor: addresses += ForwardedScheme.count(bytes, head.value(index))
      default: break
      }
    }
    guard schemes == 1 || schemes == addresses else { return nil }
    var behind = schemes == 1 ? 0 : hops
    var index = head.fieldCount
    while index > 0 {
      index -= 1
      guard head.kind(index) == .xForwardedProto else { continue }
      switch ForwardedScheme.element(bytes, head.value(index), behind: behind) {
      case .secure(let isSecure): return ClientScheme(isSecure: isSecure, source: .forwarded)
      case .malformed: return nil
      case .none: behind -= ForwardedScheme.count(bytes, head.value(index))
      }
    }
    return nil
  }

  /// What an edge signed is believed, but its list of machinery may be shorter than ours: an address that this
  /// configuration names as infrastructure is no client whoever says so. Our listeners' own addresses are not looked
  /// for: the edge is another machine, to which somebody on this one may well be a client.
  package func refusalOfAttested(_ client: IPAddress) -> Refusal? {
    infrastructure.isDeclared(client) ? .clientInfrastructure : nil
  }

  /// The last check of an address that somebody else named.
  private func admit(
    _ client: IPAddress, port: UInt16, _ via: Via, _ scheme: ClientScheme, local: IPAddress?
  ) -> Settlement {
    if infrastructure.contains(client) || client == local?.unmapped { return .infrastructure(client) }
    return .settled(client, port: port, via, scheme)
  }

  /// Why `client` is infrastructure, and what to do about it, for the log and for `explain`. `rule`: the one by which it
  /// was refused.
  package func whyInfrastructure(_ client: IPAddress, rule: Int) -> String {
    let isDeclared = infrastructure.isDeclared(client)
    let source = infrastructure.source(of: client)
    let what =
      switch source {
      case nil: "\(client) is the address that the connection came to"
      case let source? where isDeclared: "\(client) is infrastructure by \(source)"
      case let source?: "\(client) is the address of \(source)"
      }
    if !isDeclared, rules[rule].evidence == .socket {
      // A YAML list takes an IPv6 address in quotes only.
      let from = client.family == .v4 ? "\(client)" : "\"\(client)\""
      return what + "; where programs on this host are clients write { from: [\(from)], evidence: socket }"
    }
    return what + "; the proxy there does not pass its client on"
  }
}
