// How a connection begins: the PROXY header that its peer must send first, and TLS; between them its client is settled
// (ConnectionRules). Each step says whether the next one can go on. Called by the acceptor, and by `pump` with each event.

import Platform
import Policy
import Wire

enum Announce {
  /// What a step of a connection's beginning came to.
  enum Progress {
    /// The next phase has begun.
    case goesOn
    /// Nothing more before the next event, or the connection is closed.
    case waits
  }

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
      ConnectionRules.settle(d, worker)
      beginTLS(d, worker)
    }
  }

  // MARK: The PROXY header

  /// The longest PROXY header that is looked at (docs/IDENTITY.md section 3).
  private static let proxyHeaderBytesMax = 1_024

  /// Reads the header that this peer owes, from below TLS and not a byte further.
  static func readHeader(_ d: Downstream, _ worker: Worker) -> Progress {
    guard let listener = d.listener else { return .waits }
    let rule = listener.trust[d.rule]
    switch d.transport.peek(into: d.input) {
    case .blocked:
      d.input.reset()
      return .waits
    case .ended, .failed:
      if d.check != nil { endCheck(d, worker) } else { d.refuse(.proxyMissing, worker) }
      return .waits
    case .bytes: break
    }
    if d.check != nil {
      switch d.input.withReadable({ ProxyHeader.unnamed($0, limit: proxyHeaderBytesMax) }) {
      case .complete(let length, let refusal):
        d.unnamed = refusal
        return goOn(d, behindHeaderOf: length, worker)
      case .incomplete:
        waitForHeader(d, worker)
        return .waits
      case .other: if !rule.proxyProtocolRequired { return goOn(d, behindHeaderOf: 0, worker) }
      }
    }
    let rules: ProxyRules = rule.evidence == .attested ? .attested : .balancer
    let outcome = d.input.withReadable { ProxyHeader.decode($0, rules: rules, limit: proxyHeaderBytesMax) }
    switch outcome {
    case .incomplete:
      waitForHeader(d, worker)
      return .waits
    case .refused(.proxyMissing):
      // In a cutover it may be the client itself, and else a check: its request tells.
      if !listener.trust.isInCutover(rule: d.rule, nowMilliseconds: worker.wallMilliseconds) {
        guard d.check != nil else {
          d.refuse(.proxyMissing, worker)
          return .waits
        }
        d.unnamed = .proxyMissing
      }
      return goOn(d, behindHeaderOf: 0, worker)
    case .refused(let refusal):
      d.refuse(refusal, worker)
      return .waits
    // HAProxy's checks with a version 1 header name the connection's own addresses, there being no others.
    case .complete(let header)
    where d.check != nil && rule.evidence == .proxyProtocol && header.source == d.peer?.unmapped:
      d.unnamed = .clientInfrastructure
      return goOn(d, behindHeaderOf: header.length, worker)
    case .complete(let header):
      // A validator that has just started cannot tell a replay, and says so to each request of the connection, for the
      // edge to try anew (`Identification` refuses them; the header has not been believed).
      if let refusal = believe(d, header, rule, listener, worker), refusal != .starting {
        d.refuse(refusal, detail: ClockReport.detail(refusal, listener, edge: nil, peer: d.peer, worker), worker)
        return .waits
      }
      return goOn(d, behindHeaderOf: header.length, worker)
    }
  }

  /// More bytes of a header are due. The peek shows the same bytes again: once the peer has ended, no more will come.
  private static func waitForHeader(_ d: Downstream, _ worker: Worker) {
    let stuck = d.transport.hasHungUp
    d.input.reset()
    if stuck { d.refuse(.proxyMalformed, worker) }
  }

  /// Goes on behind a PROXY header of `length` bytes, or with the first byte where there is none.
  private static func goOn(_ d: Downstream, behindHeaderOf length: Int, _ worker: Worker) -> Progress {
    guard length == 0 || d.transport.discard(length, using: d.input) else {
      d.refuse(.proxyMalformed, worker)
      return .waits
    }
    d.input.reset()
    ConnectionRules.settle(d, worker)
    beginTLS(d, worker)
    return .goesOn
  }

  /// A check that only connects has ended: it is counted and not logged.
  static func endCheck(_ d: Downstream, _ worker: Worker) {
    worker.counters.add(.checksConnected)
    d.close(worker)
  }

  /// The time for a PROXY header, or for the first byte of a check, is over.
  static func expired(_ d: Downstream, _ worker: Worker) {
    guard let listener = d.listener, listener.trust[d.rule].proxyProtocolRequired else {
      endCheck(d, worker)
      return
    }
    d.refuse(.proxyTimeout, worker)
  }

  /// Takes over what the header says; a refusal when it may not be believed.
  private static func believe(
    _ d: Downstream, _ header: ProxyHeader, _ rule: TrustPolicy.CompiledRule, _ listener: ListenerPlan,
    _ worker: Worker
  ) -> Refusal? {
    if rule.evidence == .attested {
      guard let verifier = listener.verifier else { return .keyUnknown }
      switch d.input.withReadable({ verifier.verifyProxy($0, header: header, at: worker.clock) }) {
      case .refused(let refusal): return refusal
      case .verified(let bound):
        d.announcement = Announcement(bound)
        return nil
      }
    }
    d.announcement = Announcement(header)
    return nil
  }

  // MARK: TLS

  private static func beginTLS(_ d: Downstream, _ worker: Worker) {
    guard d.phase != .free, let listener = d.listener else { return }
    if d.clientRefusal == .clientLimit {
      d.refuse(.clientLimit, worker)
      return
    }
    guard let tls = listener.tls else {
      d.phase = .head
      worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      if listener.opening == .http2 { beginHTTP2(d, worker) }
      return
    }
    guard d.transport.startTLS(accepting: tls) else {
      d.refuse(.tlsHandshake, worker)
      return
    }
    d.phase = .handshake
    worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.handshakeMilliseconds)
  }

  static func handshake(_ d: Downstream, _ worker: Worker) -> Progress {
    switch d.transport.handshake() {
    case .blocked: return .waits
    case .failed:
      if d.check != nil, d.transport.hasReceivedNothing {
        endCheck(d, worker)
      } else if d.transport.beganWithPlainHTTP {
        d.transport.abandonTLS()
        answerPlainHTTP(d, worker)
      } else if d.transport.beganWithProxyHeader {
        d.refuse(
          .tlsHandshake, detail: .text("a PROXY header came from a peer whose trust rule does not read one"), worker)
      } else {
        d.refuse(.tlsHandshake, worker)
      }
      return .waits
    case .done:
      d.isTLS = true
      d.isTLS13 = d.transport.isTLS13
      if let digest = d.transport.peerCertificateDigest { d.certificate = CertificateDigest(digest.span) }
      ConnectionRules.settleScheme(d)
      d.phase = .head
      worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      if d.transport.withApplicationProtocol({ $0.equals("h2") }) { beginHTTP2(d, worker) }
      return .goesOn
    }
  }

  /// Goes on as HTTP/2; without memory for that, not at all.
  static func beginHTTP2(_ d: Downstream, _ worker: Worker) {
    guard let made = HTTP2Server(d, worker) else {
      d.clientRefusal = .connectionLimit
      return
    }
    d.http2 = made
    d.phase = .http2
    // One that was accepted before the drain began has its first requests, as with HTTP/1.
    if worker.isDraining { made.drain() }
  }

  /// Tells a client that speaks plain HTTP to a listener with TLS what is wrong, and ends its connection. Nothing that it
  /// sent is read as a request.
  private static func answerPlainHTTP(_ d: Downstream, _ worker: Worker) {
    worker.counters.add(.plainHttp)
    worker.log.recordRefused(
      d, .plainHttp, .text("a request in plain HTTP came where TLS is spoken"), worker)
    _ = d.writeAnswer(
      status: Int(Refusal.plainHttp.status), sentence: "This port speaks HTTPS, and the request came as plain HTTP.",
      keepAlive: false, isHead: false, worker)
    guard d.flush() else {
      d.close(worker)
      return
    }
    d.closeInOrder(waits: true, worker)
  }
}

extension ConnectionID {
  static func random() throws(CryptoError) -> ConnectionID {
    ConnectionID(high: try SecureRandom.word(), low: try SecureRandom.word())
  }
}
