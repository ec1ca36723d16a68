// Who sent a request: what the trust rule of its peer demands is looked at, and nothing else. Called once for a request, before
// its route is looked for.

import Platform
import Policy
import Wire

enum Identification {
  /// Settles who sent this request, or says why it is refused. Nothing of the client's own claims is used but what the
  /// trust rule demands from this peer.
  static func settle(_ x: Exchange, _ d: Downstream, _ worker: Worker) -> Refusal? {
    if let refusal = d.clientRefusal {
      if let address = d.refusedClient { x.detail = infrastructureDetail(d, address) }
      return refusal
    }
    x.isVerified = d.isAttested
    x.schemeSource = d.isAttested ? .attested : d.scheme.source
    switch d.evidence {
    case nil: return .clientUnknown
    case .refuse: return .peerRefused
    case .socket:
      x.identity = d.client
      return d.client == nil ? .clientUnknown : nil
    case .attested:
      guard let listener = d.listener else { return .clientUnknown }
      // Without a verified header only while starting (`announce`).
      if d.bound == nil, listener.trust[d.rule].proxyProtocolRequired { return .starting }
      return verify(x, d, listener, worker)
    case .proxyProtocol:
      guard let listener = d.listener else { return .clientUnknown }
      guard let announced = d.announced else {
        // For each request, because a cutover ends at its time whatever connections there are.
        guard listener.trust.isInCutover(rule: d.rule, nowMilliseconds: worker.wallMilliseconds) else {
          return .proxyMissing
        }
        x.isInCutover = true
        worker.counters.add(.cutoverRequests)
        x.identity = d.client
        return d.client == nil ? .clientUnknown : nil
      }
      guard !listener.trust[d.rule].thenForwarded else {
        return forwarded(
          x, d, listener, from: announced.source, port: announced.sourcePort, version: Int(announced.version))
      }
      x.identity = d.client
      return d.client == nil ? .clientUnknown : nil
    case .forwarded:
      guard let listener = d.listener else { return .clientUnknown }
      return forwarded(x, d, listener, from: d.peer, port: d.peerPort, version: 0)
    }
  }

  private static func forwarded(
    _ x: Exchange, _ d: Downstream, _ listener: ListenerPlan, from sender: IPAddress?, port: UInt16, version: Int
  ) -> Refusal? {
    let settlement = x.headText.withReadable {
      listener.trust.settleForwarded(
        rule: d.rule, from: sender, fromPort: port, version: version, bytes: $0, head: x.head, local: d.local,
        scheme: d.scheme)
    }
    switch settlement {
    case .refused(let refusal): return refusal
    case .infrastructure(let address):
      x.detail = infrastructureDetail(d, address)
      return .clientInfrastructure
    case .settled(let address, let port, let via, let scheme):
      x.schemeSource = scheme.source
      // A proxy's certificate is not the client's.
      x.identity = ClientIdentity(
        address: address, port: port, secure: scheme.isSecure, via: via, connection: d.connection,
        certificate: via != .forwarded && scheme.isOwnTLS ? d.certificate : nil)
      return nil
    }
  }

  private static func infrastructureDetail(_ d: Downstream, _ address: IPAddress) -> RefusalDetail {
    guard let listener = d.listener else { return .none }
    return .named("", Array(listener.trust.whyInfrastructure(address, rule: d.rule).utf8), "")
  }

  /// Believes only what is signed. In observe mode a refusal is recorded and the request goes on without an identity.
  private static func verify(
    _ x: Exchange, _ d: Downstream, _ listener: ListenerPlan, _ worker: Worker
  ) -> Refusal? {
    guard let verifier = listener.verifier else { return .keyUnknown }
    let head = x.head
    var refusal = head.identityRefusal
    if refusal == nil {
      let outcome = x.headText.withReadable { bytes in
        verifier.verify(
          head: bytes, method: head.methodRange, authority: head.authority, path: head.path, query: head.query,
          attest: head.attest, signatureInput: head.signatureInput, signature: head.signature,
          at: worker.clock, bound: d.bound, usedEarlyData: head.has(.earlyData))
      }
      switch outcome {
      case .verified(let verified):
        refusal = listener.trust.refusalOfAttested(verified.client.address)
        guard refusal != nil else {
          x.identity = verified.client
          x.edge = verified.edge
          return nil
        }
        x.detail = infrastructureDetail(d, verified.client.address)
      case .refused(let why):
        refusal = why
        x.detail = ClockReport.detail(why, listener, edge: x.headText, peer: d.peer, worker)
      }
    }
    guard worker.plan.config.identity.mode == .observe, let refusal else { return refusal }
    x.refusal = refusal
    worker.counters.add(refusal)
    worker.counters.add(.observed)
    x.identity = nil
    return nil
  }
}
