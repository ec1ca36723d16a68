// From bytes to an exchange: the head is read and parsed, the client is settled, a route is found. What is refused here
// never reaches an upstream.

import Platform
import Policy
import Wire

extension Worker {
  /// Reads and parses a request head. True when the connection's phase changed or another head may be there.
  func readHead(_ d: Downstream) -> Bool {
    while true {
      if !d.input.isEmpty, d.input.count > d.headSeen {
        switch parseHead(d) {
        case .complete(let length):
          return begin(d, headBytes: length)
        case .refused(let refusal):
          // A refused method has a head that was understood: the connection is still in step.
          refuseHead(d, refusal, headBytes: refusal.closes ? 0 : requestHead.length)
          return true
        case .incomplete: d.headSeen = d.input.count
        }
      }
      let wasEmpty = d.input.isEmpty
      switch d.transport.read(into: d.input) {
      case .bytes:
        // The head's own deadline begins with its first byte.
        if wasEmpty { setDeadline(d, afterMilliseconds: plan.config.timeouts.headMilliseconds) }
      case .blocked:
        if d.input.isEmpty { rest(d) }
        return false
      case .ended:
        d.inputEnded = true
        close(d)
        return false
      case .failed:
        close(d)
        return false
      }
    }
  }

  private func parseHead(_ d: Downstream) -> HeadOutcome {
    // An older connection's buffer may be smaller than the limit that a reload has brought.
    let limits = requestLimits(of: d)
    let most = min(limits.headBytes, d.input.capacity - Worker.headGrowthBytes)
    let outcome = d.input.withReadable {
      requestHead.parse($0, limits: HeadLimits(headBytes: most, fields: limits.fields), seen: d.headSeen)
    }
    // A new connection, with its larger buffer, may have taken it.
    if case .refused(.headTooLarge) = outcome, most < limits.headBytes { return .refused(.draining) }
    return outcome
  }

  /// A connection without a request: it holds no memory and has the idle deadline, from when it came to rest. Bytes that
  /// complete no TLS record do not put it off.
  private func rest(_ d: Downstream) {
    if isDraining {
      // One that has just come may have its first request on the way.
      guard d.requestCount == 0 else {
        close(d)
        return
      }
      setDeadline(d, afterMilliseconds: Worker.drainFirstRequestMilliseconds)
    }
    // A session ticket waits for the first answer; where the request has not come with the handshake it leaves now.
    d.transport.push()
    d.input.releaseIfEmpty()
    d.output.releaseIfEmpty()
    if wheel.deadline(of: d.timer) == 0 {
      setDeadline(d, afterMilliseconds: plan.config.timeouts.idleMilliseconds)
    }
  }

  // MARK: The exchange begins

  /// The exchange of the request whose head was just parsed. It takes the parsed head, and gives its own, of a request
  /// before, to be parsed into next. Nil, and the connection is closed, when there is no slot left.
  func takeExchange(_ d: Downstream) -> Exchange? {
    let chunkBytes = pool.chunkBytes
    guard
      let x = exchanges.take(
        replaces: { $0.chunkBytes != chunkBytes },
        make: { Exchange(slot: $0, pool: pool, head: makeHead(), headMake: headMake) })
    else {
      close(d)
      return nil
    }
    let parsed = requestHead
    requestHead = x.headMake == headMake ? x.head : makeHead()
    x.head = parsed
    x.headMake = headMake
    x.downstream = d
    d.exchange = x
    d.requestCount += 1
    d.phase = .exchange
    d.headSeen = 0
    clearDeadline(d)
    counters.add(.requests)
    x.schemeSource = d.scheme.source
    x.startedMicroseconds = nowMicroseconds
    return x
  }

  /// The exchange is over; the next one may have its slot at once. A connection to a server that it still has goes with it, for it
  /// would belong to the next.
  func endExchange(_ x: Exchange, _ d: Downstream) {
    drop(x)
    x.clear()
    d.exchange = nil
    exchanges.give(x.slot)
  }

  /// False when the connection is closed.
  private func begin(_ d: Downstream, headBytes: Int) -> Bool {
    guard let x = takeExchange(d) else { return false }
    x.takeHead(headBytes, from: d.input)
    d.input.releaseIfEmpty()
    x.bytesIn = UInt64(headBytes)
    takeOver(x.head, x)
    x.setBody(x.head.framing, trailerBytesMax: trailerLimits(isAttested(d)).headBytes)
    x.machine.begin(
      hasBody: x.hasBody, isIdempotent: x.method.isIdempotent, keepAlive: x.head.keepAlive && !isDraining, retries: 0)
    x.downstreamProgressMilliseconds = nowMilliseconds
    send(x, d)
    return true
  }

  /// Settles who sent the request and where it goes, and sends it on its way; or answers with a refusal.
  private func send(_ x: Exchange, _ d: Downstream) {
    guard adopt(d) else {
      answer(x, .draining)
      return
    }
    if let refusal = identify(d, x) {
      answer(x, refusal)
      return
    }
    let group: UpstreamPlan
    switch plan.route(x.headText, x.head) {
    case .undecided:
      answer(x, .routeUndecided)
      return
    case .none:
      answer(x, .routeNone)
      return
    case .group(let found): group = found
    }
    x.group = group
    if let refusal = bodyRefusal(x) {
      answer(x, refusal)
      return
    }
    x.machine.allow(retries: group.config.retries)
    attempt(x, d, group)
  }

  private func takeOver(_ head: RequestHead, _ x: Exchange) {
    x.method = head.method
    x.minorVersion = head.minorVersion
    x.wantsWebSocket = head.wantsWebSocket
    x.expectsContinue = head.expectsContinue
  }

  var trailerBytesMax: Int { min(8_192, plan.config.limits.headBytes) }

  private func bodyRefusal(_ x: Exchange) -> Refusal? {
    let most = plan.config.limits.bodyBytes
    if most > 0, case .length(let length) = x.requestFraming, length > UInt64(most) { return .bodyTooLarge }
    return nil
  }

  /// Brings a connection that outlived a reload under the present rules of the socket that it came in by. False when it
  /// may not go on: then its request is answered 503 and it ends.
  private func adopt(_ d: Downstream) -> Bool {
    guard let listener = d.listener else { return false }
    guard listener.generation != plan.generation else { return true }
    guard let present = plan.listener(onSocket: d.socket) else { return false }
    let rule = present.trust.rule(for: d.peer)
    guard showsAll(d, for: present, rule: rule) else { return false }
    d.listener = present
    d.rule = rule
    settleConnection(d)
    return true
  }

  /// Whether a connection has shown what a new one from its peer would have to show now. What a connection shows only
  /// when it begins cannot be asked for later: TLS, a client certificate, a PROXY header.
  private func showsAll(_ d: Downstream, for present: ListenerPlan, rule: Int) -> Bool {
    guard let listener = d.listener else { return false }
    let before = listener.trust[d.rule]
    let now = present.trust[rule]
    guard now.evidence != .refuse, before.proxyProtocolRequired == now.proxyProtocolRequired,
      (now.evidence == .attested) == (before.evidence == .attested), (present.tls == nil) == (listener.tls == nil),
      present.clientDemand == listener.clientDemand
    else { return false }
    if present.tls != nil, present.tlsMinimum == .tls13, !d.transport.isTLS13 { return false }
    // The header that an edge signed must be one that it could sign now.
    guard let bound = d.bound else { return true }
    guard let old = listener.verifier, let verifier = present.verifier else { return false }
    return verifier.believes(bound, audience: old.audience, nowMilliseconds: wallMilliseconds)
  }

  // MARK: Who is it

  /// Settles who sent this request, or says why it is refused. Nothing of the client's own claims is used but what the
  /// trust rule demands from this peer.
  private func identify(_ d: Downstream, _ x: Exchange) -> Refusal? {
    if let refusal = d.clientRefusal {
      if let address = d.refusedClient { x.detail = infrastructureDetail(d, address) }
      return refusal
    }
    guard let listener = d.listener else { return .clientUnknown }
    let evidence = listener.trust.evidence(of: d.rule)
    x.isVerified = evidence == .attested
    x.schemeSource = evidence == .attested ? .attested : d.scheme.source
    switch evidence {
    case .refuse: return .peerRefused
    case .socket:
      x.identity = d.client
      return d.client == nil ? .clientUnknown : nil
    case .attested:
      // Without a verified header only while starting (`announce`).
      if d.bound == nil, listener.trust[d.rule].proxyProtocolRequired { return .starting }
      return verify(d, x, listener)
    case .proxyProtocol:
      guard let announced = d.announced else { return .proxyMissing }
      guard !listener.trust[d.rule].thenForwarded else {
        return settleForwarded(
          d, x, listener, from: announced.source, port: announced.sourcePort, version: Int(announced.version))
      }
      x.identity = d.client
      return d.client == nil ? .clientUnknown : nil
    case .forwarded: return settleForwarded(d, x, listener, from: d.peer, port: d.peerPort, version: 0)
    }
  }

  private func settleForwarded(
    _ d: Downstream, _ x: Exchange, _ listener: ListenerPlan, from sender: IPAddress?, port: UInt16, version: Int
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

  private func infrastructureDetail(_ d: Downstream, _ address: IPAddress) -> RefusalDetail {
    guard let listener = d.listener else { return .none }
    return .named("", Array(listener.trust.whyInfrastructure(address, rule: d.rule).utf8), "")
  }

  /// Believes only what is signed. In observe mode a refusal is recorded and the request goes on without an identity.
  private func verify(_ d: Downstream, _ x: Exchange, _ listener: ListenerPlan) -> Refusal? {
    guard let verifier = listener.verifier else { return .keyUnknown }
    let head = x.head
    var refusal = head.identityRefusal
    if refusal == nil {
      let outcome = x.headText.withReadable { bytes in
        verifier.verify(
          head: bytes, method: head.methodRange, authority: head.authority, path: head.path, query: head.query,
          attest: head.attest, signatureInput: head.signatureInput, signature: head.signature,
          at: clock, bound: d.bound, usedEarlyData: head.has(.earlyData))
      }
      switch outcome {
      case .verified(let verified):
        refusal = listener.trust.refusalOfAttested(verified.client.address)
        guard refusal != nil else {
          x.identity = verified.client
          return nil
        }
        x.detail = infrastructureDetail(d, verified.client.address)
      case .refused(let why):
        refusal = why
        x.detail = timeDetail(why, listener, edge: x.headText, peer: d.peer)
      }
    }
    guard plan.config.identity.mode == .observe, let refusal else { return refusal }
    x.refusal = refusal
    counters.add(refusal)
    counters.add(.observed)
    x.identity = nil
    return nil
  }
}
