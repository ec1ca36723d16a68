// What the trust policy would say, for `countersign explain`: the same decoders and the same decisions as for a live
// connection, from values that a person typed. Invariant: nothing is decided here.

import Wire

/// Who the client would be, and which rule decided.
package struct TrustExplanation: Sendable {
  /// As `CompiledRule.description`.
  package let rule: String
  package let verdict: Verdict
  /// How it was found, one sentence each; none where the answer does not depend on what was described.
  package var steps: [String] = []

  package enum Verdict: Equatable, Sendable {
    case settlement(Settlement)
    /// The rule is `attested`: the client is whom a valid signature names.
    case signature
  }
}

extension TrustPolicy {
  /// What would become of a request with these field lines from `peer` (nil: over a unix socket), after a PROXY header that
  /// names `proxySource` where there is one, and says with `proxyTLS` whether the client used TLS. `isTLS`: the listener ends
  /// TLS. `local` is the connection's own address, where it is known.
  package func explain(
    peer: IPAddress?, peerPort: UInt16 = 50_000, local: IPAddress? = nil,
    isTLS: Bool = false, proxySource: (address: IPAddress, port: UInt16)? = nil, proxyTLS: Bool? = nil,
    fields: [(name: String, value: String)] = [], nowMilliseconds: UInt64
  ) -> TrustExplanation {
    let rule = rule(for: peer)
    let text = self[rule].description
    func settled(_ settlement: Settlement) -> TrustExplanation {
      TrustExplanation(rule: text, verdict: .settlement(settlement))
    }
    if self[rule].evidence == .attested { return TrustExplanation(rule: text, verdict: .signature) }

    var proxy: ProxyHeader?
    if self[rule].evidence == .proxyProtocol, let proxySource {
      let destination = local ?? .unspecified(proxySource.address.unmapped.family)
      var draft = ProxyHeaderDraft(
        source: proxySource.address, sourcePort: proxySource.port, destination: destination, destinationPort: 443)
      let unnamed: [UInt8] = []
      if let proxyTLS { draft.addTLS(version: unnamed.span, cipher: unnamed.span, client: proxyTLS ? 1 : 0) }
      guard draft.seal() else { return settled(.refused(.proxyMalformed)) }
      switch draft.withBytes({ ProxyHeader.decode($0, rules: .balancer) }) {
      case .complete(let header): proxy = header
      case .incomplete: return settled(.refused(.proxyMalformed))
      case .refused(let refusal): return settled(.refused(refusal))
      }
    }

    var bytes = Array("GET / HTTP/1.1\r\nHost: explain\r\n".utf8)
    for (name, value) in fields { bytes += Array("\(name): \(value)\r\n".utf8) }
    bytes += Array("\r\n".utf8)
    let head = RequestHead(fieldsMax: fields.count + 1)
    switch head.parse(bytes.span, limits: HeadLimits(headBytes: bytes.count, fields: fields.count + 1)) {
    // A value that ends the head early is not one field of one request.
    case .complete(let length) where length < bytes.count: return settled(.refused(.valueInvalid))
    case .complete: break
    case .incomplete: return settled(.refused(.valueInvalid))
    case .refused(let refusal): return settled(.refused(refusal))
    }
    let settlement = settle(
      rule: rule, peer: peer, peerPort: peerPort, local: local, isTLS: isTLS, proxy: proxy, bytes: bytes.span,
      head: head, nowMilliseconds: nowMilliseconds)
    var explanation = settled(settlement)
    explanation.steps =
      TrustWalk(
        self, rule: rule, proxy: proxy, bytes: bytes.span, head: head, settlement: settlement,
        isInCutover: proxy == nil && isInCutover(rule: rule, nowMilliseconds: nowMilliseconds)
      ).steps
    return explanation
  }

  /// Every step for one request, under any rule but `attested`.
  package func settle(
    rule: Int, peer: IPAddress?, peerPort: UInt16, local: IPAddress?, isTLS: Bool = false, proxy: ProxyHeader?,
    bytes: Span<UInt8>, head: RequestHead, nowMilliseconds: UInt64
  ) -> Settlement {
    let scheme = connectionScheme(rule: rule, proxy: proxy, isTLS: isTLS)
    switch self[rule].evidence {
    case .refuse: return .refused(.peerRefused)
    case .attested: return .refused(.identityMissing)
    case .socket: return settleSocket(rule: rule, peer: peer, peerPort: peerPort, local: local, scheme: scheme)
    case .forwarded:
      return settleForwarded(
        rule: rule, from: peer, fromPort: peerPort, version: 0, bytes: bytes, head: head, local: local,
        scheme: scheme)
    case .proxyProtocol:
      guard let proxy else {
        return settleUnannounced(
          rule: rule, peer: peer, peerPort: peerPort, local: local, scheme: scheme, nowMilliseconds: nowMilliseconds)
      }
      guard self[rule].thenForwarded else {
        return settleAnnounced(
          rule: rule, source: proxy.source, port: proxy.sourcePort, version: Int(proxy.version), local: local,
          scheme: scheme)
      }
      return settleForwarded(
        rule: rule, from: proxy.source, fromPort: proxy.sourcePort, version: Int(proxy.version), bytes: bytes,
        head: head, local: local, scheme: scheme)
    }
  }
}
