// How a connection begins: the PROXY header that its peer must send first, who the client is as far as the connection tells,
// and TLS. Each step says whether the next one can go on.

import Platform
import Policy
import Wire

enum Announce {
  /// Takes over a connection that was accepted.
  static func begin(_ fd: Int32, _ peer: SocketAddress, _ listener: ListenerPlan, _ worker: Worker) {
    worker.counters.add(.connections)
    guard worker.shared.takeConnection(most: worker.plan.config.limits.connections) else {
      Sockets.closeDescriptor(fd)
      worker.log.recordUnserved(.connectionLimit, listener: listener, peer: peer, worker)
      return
    }
    let capacity = worker.pool.chunkBytes
    let made = worker.downstreams.take(
      replaces: { $0.input.capacity != capacity }, make: { Downstream(slot: $0, pool: worker.pool) })
    // Without random bytes from the system no connection is served.
    guard let d = made, let connection = try? ConnectionID.random() else {
      if let made { worker.downstreams.give(made.slot) }
      worker.shared.giveConnection()
      Sockets.closeDescriptor(fd)
      worker.log.recordUnserved(.connectionLimit, listener: listener, peer: peer, worker)
      return
    }
    d.transport.open(fd)
    d.phase = .announce
    d.listener = listener
    d.socket = listener.socket
    d.connection = connection
    d.peer = peer.ip
    d.peerPort = peer.port
    d.acceptedMilliseconds = worker.nowMilliseconds
    let local = Sockets.local(fd)
    d.local = local.ip
    d.localPort = local.port
    if peer.ip != nil { Sockets.setNoDelay(fd) }
    guard worker.poller.add(connection: fd, d.token) else {
      d.close(worker)
      return
    }
    d.rule = listener.trust.rule(for: d.peer)
    d.check = listener.checks.index(for: d.peer)
    let rule = listener.trust[d.rule]
    if rule.evidence == .refuse, d.check == nil {
      d.refuse(.peerRefused, worker)
      return
    }
    // A check may have a header under any rule.
    if rule.proxyProtocolRequired || d.check != nil {
      worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.handshakeMilliseconds)
    } else {
      d.settle(worker)
      d.beginTLS(worker)
    }
  }

}

extension ConnectionID {
  static func random() throws(CryptoError) -> ConnectionID {
    ConnectionID(high: try SecureRandom.word(), low: try SecureRandom.word())
  }
}

extension Downstream {
  /// What a step of a connection's beginning came to.
  enum Progress {
    /// The next phase has begun.
    case goesOn
    /// Nothing more before the next event, or the connection is closed.
    case waits
  }

  // MARK: The PROXY header

  /// The longest PROXY header that is looked at (docs/IDENTITY.md section 3).
  private static let proxyHeaderBytesMax = 1_024

  /// Reads the header that this peer owes, from below TLS and not a byte further.
  func announce(_ worker: Worker) -> Progress {
    guard let listener else { return .waits }
    let rule = listener.trust[rule]
    switch transport.peek(into: input) {
    case .blocked:
      input.reset()
      return .waits
    case .ended, .failed:
      if check != nil { endCheck(worker) } else { refuse(.proxyMissing, worker) }
      return .waits
    case .bytes: break
    }
    if check != nil {
      switch input.withReadable({ ProxyHeader.unnamed($0, limit: Downstream.proxyHeaderBytesMax) }) {
      case .complete(let length, let refusal):
        unnamed = refusal
        return goOn(behindHeaderOf: length, worker)
      case .incomplete:
        waitForHeader(worker)
        return .waits
      case .other: if !rule.proxyProtocolRequired { return goOn(behindHeaderOf: 0, worker) }
      }
    }
    let rules: ProxyRules = rule.evidence == .attested ? .attested : .balancer
    let outcome = input.withReadable {
      ProxyHeader.decode($0, rules: rules, limit: Downstream.proxyHeaderBytesMax)
    }
    switch outcome {
    case .incomplete:
      waitForHeader(worker)
      return .waits
    case .refused(.proxyMissing):
      // In a cutover it may be the client itself, and else a check: its request tells.
      if !listener.trust.isInCutover(rule: self.rule, nowMilliseconds: worker.wallMilliseconds) {
        guard check != nil else {
          refuse(.proxyMissing, worker)
          return .waits
        }
        unnamed = .proxyMissing
      }
      return goOn(behindHeaderOf: 0, worker)
    case .refused(let refusal):
      refuse(refusal, worker)
      return .waits
    // HAProxy's checks with a version 1 header name the connection's own addresses, there being no others.
    case .complete(let header)
    where check != nil && rule.evidence == .proxyProtocol && header.source == peer?.unmapped:
      unnamed = .clientInfrastructure
      return goOn(behindHeaderOf: header.length, worker)
    case .complete(let header):
      // A validator that has just started cannot tell a replay, and says so to each request of the connection, for the
      // edge to try anew (`Identification` refuses them; the header has not been believed).
      if let refusal = believe(header, rule, listener, worker), refusal != .starting {
        refuse(refusal, detail: ClockReport.detail(refusal, listener, edge: nil, peer: peer, worker), worker)
        return .waits
      }
      return goOn(behindHeaderOf: header.length, worker)
    }
  }

  /// More bytes of a header are due. The peek shows the same bytes again: once the peer has ended, no more will come.
  private func waitForHeader(_ worker: Worker) {
    let stuck = transport.hasHungUp
    input.reset()
    if stuck { refuse(.proxyMalformed, worker) }
  }

  /// Goes on behind a PROXY header of `length` bytes, or with the first byte where there is none.
  private func goOn(behindHeaderOf length: Int, _ worker: Worker) -> Progress {
    guard length == 0 || transport.discard(length, using: input) else {
      refuse(.proxyMalformed, worker)
      return .waits
    }
    input.reset()
    settle(worker)
    beginTLS(worker)
    return .goesOn
  }

  /// A check that only connects has ended: it is counted and not logged.
  func endCheck(_ worker: Worker) {
    worker.counters.add(.checksConnected)
    close(worker)
  }

  /// The time for a PROXY header, or for the first byte of a check, is over.
  func announceExpired(_ worker: Worker) {
    guard let listener, listener.trust[rule].proxyProtocolRequired else {
      endCheck(worker)
      return
    }
    refuse(.proxyTimeout, worker)
  }

  /// Takes over what the header says; a refusal when it may not be believed.
  private func believe(
    _ header: ProxyHeader, _ rule: TrustPolicy.CompiledRule, _ listener: ListenerPlan, _ worker: Worker
  ) -> Refusal? {
    if rule.evidence == .attested {
      guard let verifier = listener.verifier else { return .keyUnknown }
      switch input.withReadable({ verifier.verifyProxy($0, header: header, at: worker.clock) }) {
      case .refused(let refusal): return refusal
      case .verified(let bound):
        announcement = Announcement(bound)
        return nil
      }
    }
    announcement = Announcement(header)
    return nil
  }

  // MARK: Who the connection is

  /// Settles the client as far as the connection alone tells. Also done again when a reload brings new rules.
  func settle(_ worker: Worker) {
    guard let listener else { return }
    client = nil
    clientRefusal = nil
    refusedClient = nil
    // Counted anew, under the present limit and for whoever is the client now.
    if let counted = countedClient {
      worker.shared.giveClient(counted)
      countedClient = nil
    }
    let rule = listener.trust[rule]
    scheme = listener.trust.connectionScheme(rule: self.rule, proxy: announced, isTLS: isTLS)
    // Nobody is there but the load balancer, whatever the rule makes of its address.
    if let unnamed {
      clientRefusal = unnamed
      if unnamed == .clientInfrastructure { refusedClient = peer?.unmapped }
      return
    }
    let settlement: Settlement
    switch rule.evidence {
    case .refuse: settlement = .refused(.peerRefused)
    case .socket:
      settlement = listener.trust.settleSocket(
        rule: self.rule, peer: peer, peerPort: peerPort, local: local, scheme: scheme)
    case .proxyProtocol:
      guard let announced else {
        settlement = listener.trust.settleUnannounced(
          rule: self.rule, peer: peer, peerPort: peerPort, local: local, scheme: scheme,
          nowMilliseconds: worker.wallMilliseconds)
        break
      }
      if rule.thenForwarded { return }
      settlement = listener.trust.settleAnnounced(
        rule: self.rule, source: announced.source, port: announced.sourcePort, version: Int(announced.version),
        local: local, scheme: scheme)
    case .forwarded, .attested: return
    }
    switch settlement {
    case .refused(let refusal): clientRefusal = refusal
    case .infrastructure(let address):
      clientRefusal = .clientInfrastructure
      refusedClient = address
    case .settled(let address, let port, let via, let scheme):
      client = ClientIdentity(
        address: address, port: port, secure: scheme.isSecure, via: via, connection: connection,
        certificate: scheme.isOwnTLS ? certificate : nil)
      let most = worker.plan.config.limits.connectionsPerClient
      guard worker.shared.takeClient(address, most: most, counted: &countedClient) else {
        clientRefusal = .clientLimit
        return
      }
    }
  }

  /// The scheme of a connection whose TLS handshake is over; its client was settled before.
  private func settleScheme() {
    guard let listener else { return }
    scheme = listener.trust.connectionScheme(rule: rule, proxy: announced, isTLS: isTLS)
    guard var known = client else { return }
    known.secure = scheme.isSecure
    known.certificate = scheme.isOwnTLS ? certificate : nil
    client = known
  }

  /// Whether a connection that outlived a reload may go on: it comes under the present rules of the socket that it came in by.
  /// Where it may not, its request is answered 503 and it ends; one of HTTP/2 drains (`HTTP2Server.adoptRules`).
  func adopt(_ worker: Worker) -> Bool {
    guard let listener else { return false }
    guard listener.generation != worker.plan.generation else { return true }
    guard let present = worker.plan.listener(onSocket: socket) else { return false }
    let rule = present.trust.rule(for: peer)
    guard showsAll(for: present, rule: rule, worker) else { return false }
    self.listener = present
    self.rule = rule
    check = present.checks.index(for: peer)
    settle(worker)
    return true
  }

  /// Whether the connection has shown what a new one from its peer would have to show now. What a connection shows only
  /// when it begins cannot be asked for later: TLS, a client certificate, a PROXY header, the protocol.
  private func showsAll(for present: ListenerPlan, rule: Int, _ worker: Worker) -> Bool {
    guard let listener else { return false }
    let before = listener.trust[self.rule]
    let now = present.trust[rule]
    guard now.evidence != .refuse, before.proxyProtocolRequired == now.proxyProtocolRequired,
      (now.evidence == .attested) == (before.evidence == .attested), (present.tls == nil) == (listener.tls == nil),
      present.clientDemand == listener.clientDemand
    else { return false }
    if present.tls != nil, present.tlsMinimum == .tls13, !isTLS13 { return false }
    // By TLS a client that names no protocol speaks HTTP/1.1, whatever the listener prefers.
    let isSpoken = carrier.http2 != nil ? present.speaksHTTP2 : present.tls != nil || present.opening != .http2
    if !isSpoken { return false }
    // The header that an edge signed must be one that it could sign now.
    guard let bound else { return true }
    guard let old = listener.verifier, let verifier = present.verifier else { return false }
    return verifier.believes(bound, audience: old.audience, nowMilliseconds: worker.wallMilliseconds)
  }

  // MARK: TLS

  func beginTLS(_ worker: Worker) {
    guard phase != .free, let listener else { return }
    if clientRefusal == .clientLimit {
      refuse(.clientLimit, worker)
      return
    }
    guard let tls = listener.tls else {
      phase = .head
      if listener.opening == .http2 { beginHTTP2(worker) }
      worker.setDeadline(self, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      return
    }
    guard transport.startTLS(accepting: tls) else {
      refuse(.tlsHandshake, worker)
      return
    }
    phase = .handshake
    worker.setDeadline(self, afterMilliseconds: worker.plan.config.timeouts.handshakeMilliseconds)
  }

  func handshake(_ worker: Worker) -> Progress {
    switch transport.handshake() {
    case .blocked: return .waits
    case .failed:
      if check != nil, transport.hasReceivedNothing {
        endCheck(worker)
      } else if transport.beganWithPlainHTTP {
        transport.abandonTLS()
        answerPlainHTTP(worker)
      } else if transport.beganWithProxyHeader {
        refuse(
          .tlsHandshake, detail: .text("a PROXY header came from a peer whose trust rule does not read one"), worker)
      } else {
        refuse(.tlsHandshake, worker)
      }
      return .waits
    case .done:
      isTLS = true
      isTLS13 = transport.isTLS13
      if let digest = transport.peerCertificateDigest { certificate = CertificateDigest(digest.span) }
      settleScheme()
      phase = .head
      if transport.withApplicationProtocol({ $0.equals("h2") }) { beginHTTP2(worker) }
      worker.setDeadline(self, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      return .goesOn
    }
  }

  /// Goes on as HTTP/2; without memory for that, not at all.
  func beginHTTP2(_ worker: Worker) {
    guard let made = HTTP2Server(self, worker) else {
      clientRefusal = .connectionLimit
      return
    }
    http2 = made
    phase = .http2
  }

  /// Whether requests for this authority belong on the connection: its client was shown a certificate with that name (RFC 9110
  /// section 7.4). Asked of HTTP/2 alone, whose clients send requests for many names over one connection; and of clients alone, for a
  /// proxy or an edge connects to us by our name and brings requests for any.
  func mayBeAsked(for authority: Span<UInt8>) -> Bool {
    guard isTLS, let tls = transport.serverContext, let rule = listener?.trust[rule],
      rule.evidence == .socket || rule.evidence == .proxyProtocol && !rule.thenForwarded
    else { return true }
    var end = authority.count
    if let colon = (0..<end).last(where: { authority[$0] == 0x3a }), authority[end - 1] != 0x5d { end = colon }
    let host = authority.extracting(first: end)
    return transport.withServerName { name in
      if name.isEmpty || name.equalsIgnoringCase(host) { return true }
      return tls.serves(String(lowercasing: host), onConnectionTo: String(lowercasing: name))
    }
  }

  /// Tells a client that speaks plain HTTP to a listener with TLS what is wrong, and ends its connection. Nothing that it
  /// sent is read as a request.
  private func answerPlainHTTP(_ worker: Worker) {
    worker.counters.add(.plainHttp)
    worker.log.recordRefused(
      self, .plainHttp, .text("a request in plain HTTP came where TLS is spoken"), worker)
    _ = writeAnswer(
      status: Int(Refusal.plainHttp.status), sentence: "This port speaks HTTPS, and the request came as plain HTTP.",
      keepAlive: false, isHead: false, worker)
    guard flush() else {
      close(worker)
      return
    }
    closeInOrder(waits: true, worker)
  }
}
