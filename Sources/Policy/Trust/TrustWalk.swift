// How the trust policy comes to its answer, told step by step: for `explain`, and for real requests on `explain --live`.
// Invariant: nothing is decided here. The steps are read with the decoders that decide, and end with the decision itself, which is
// the caller's; a test holds both against each other.

import Wire

package struct TrustWalk: Sendable {
  package private(set) var steps: [String] = []

  private mutating func add(_ text: String) { steps.append(text) }

  /// The steps to the settlement of one request.
  /// - Parameters:
  ///   - proxy: the PROXY header that came first, if the rule reads one and one came.
  ///   - unnamed: the connection began with a header that names nobody, or without the one that it owes, from where checks come.
  package init(
    _ policy: TrustPolicy, rule index: Int, proxy: ProxyHeader?, unnamed: Refusal? = nil,
    bytes: Span<UInt8>, head: RequestHead, settlement: Settlement, isInCutover: Bool = false
  ) {
    let rule = policy[index]
    if let unnamed { add(Self.text(unnamed)) }
    switch rule.evidence {
    case .socket: add("the rule takes the peer itself for the client")
    case .refuse: add("the rule turns the peer away")
    case .attested: break
    case .forwarded:
      add("the rule reads who the client is from \(rule.header.rawValue)")
      elements(rule, bytes, head)
    case .proxyProtocol:
      if let proxy {
        add("a PROXY header of version \(proxy.version) names \(proxy.source) port \(proxy.sourcePort)")
        if proxy.contents.contains(.ssl) {
          add("its SSL TLV says that the client \(proxy.sslClient ? "used" : "did not use") TLS")
        }
        if rule.thenForwarded {
          if rule.hops.contains(proxy.source) {
            add("\(proxy.source) is one of `hops`, so the field that it sent is read")
            elements(rule, bytes, head)
          } else {
            add("\(proxy.source) is none of `hops`, so it is the client itself, and no field is read")
          }
        }
      } else if unnamed == nil {
        add("no PROXY header came, which the rule demands")
        if isInCutover { add("a cutover lets the peer itself be the client until then") }
      }
    }
    switch settlement {
    case .settled(let client, _, let via, _): add("\(client), by \(via.text), is no infrastructure, and so the client")
    case .infrastructure(let address): add(policy.whyInfrastructure(address, rule: index))
    case .refused: break
    }
  }

  private static func text(_ unnamed: Refusal) -> String {
    switch unnamed {
    case .proxyLocal: "a PROXY header with LOCAL came, which names no client: a load balancer's own connection"
    case .proxyFamily: "a PROXY header without a family came, which names no client"
    case .clientInfrastructure: "a PROXY header came that names the peer itself, and so no client"
    default: "no PROXY header came, from where a load balancer's checks come"
    }
  }

  /// Each element that is looked at, from the right end on.
  private mutating func elements(_ rule: TrustPolicy.CompiledRule, _ bytes: Span<UInt8>, _ head: RequestHead) {
    let kind: FieldKind = rule.header == .forwarded ? .forwarded : .xForwardedFor
    guard head.has(kind) else { return add("the request has no \(rule.header.rawValue)") }
    var index = head.fieldCount
    while index > 0 {
      index -= 1
      guard head.kind(index) == kind else { continue }
      var elements = ForwardedElements(
        head.value(index), syntax: rule.header == .forwarded ? .forwarded : .xForwardedFor)
      line: while true {
        switch elements.previous(bytes) {
        case .end: break line
        case .malformed: return add("the next element from the right cannot be read, and is not skipped")
        case .node(let node):
          guard rule.hops.contains(node.address) else {
            return add("\(node.address) stands next from the right and is none of `hops`; nothing to its left is read")
          }
          add("\(node.address) stands next from the right and is one of `hops`: stepped over")
        }
      }
    }
    add("the field holds hops alone")
  }
}
