// Connections coming in: accepting them, the PROXY header they must send first, and their TLS handshake.

import Platform
import Policy
import Wire

/// A listening socket as a worker holds it: TCP sockets are the worker's own, a unix socket is one that all share.
package struct ListenerSource: Sendable {
  let name: String
  /// Names the socket as long as the process lives; the same for every worker.
  let socket: Int
  let descriptor: Int32
  let isShared: Bool

  package init(name: String, socket: Int, descriptor: Int32, isShared: Bool) {
    self.name = name
    self.socket = socket
    self.descriptor = descriptor
    self.isShared = isShared
  }
}

extension Worker {
  /// Connections taken in one turn from one listener.
  private static let acceptsPerTurn = 64
  /// How long accepting rests when descriptors or memory have run out.
  private static let acceptPauseMilliseconds: UInt64 = 100

  /// Closes the listening sockets that are not in `new`, after taking what waits on them. To be done while the plan is
  /// still theirs: what came to a socket is never put under the rules of another.
  func closeSources(notIn new: [ListenerSource]) {
    for (i, source) in sources.enumerated() where !new.contains(where: { $0.socket == source.socket }) {
      while accept(i) {}
      poller.remove(source.descriptor)
      Sockets.closeDescriptor(source.descriptor)
    }
    let known = sources
    sources = known.filter { old in new.contains { $0.socket == old.socket } }
  }

  /// Listens on a set of sockets; `closeSources` has closed those that are no longer in it.
  func open(_ new: [ListenerSource]) {
    let known = sources
    sources = new
    for (i, source) in new.enumerated() {
      if known.contains(where: { $0.socket == source.socket }) { poller.remove(source.descriptor) }
      _ = poller.add(
        source: source.descriptor, Token(.listener, slot: i, generation: 0), exclusive: source.isShared)
    }
    pausedSources = false
  }

  func closeSources() {
    for source in sources {
      poller.remove(source.descriptor)
      Sockets.closeDescriptor(source.descriptor)
    }
    sources = []
  }

  /// Takes what waits on a listener, within bounds. True when more may wait.
  func accept(_ index: Int) -> Bool {
    guard index < sources.count, !pausedSources else { return false }
    let source = sources[index]
    guard let listener = plan.listener(onSocket: source.socket) else { return false }
    for _ in 0..<Worker.acceptsPerTurn {
      switch Sockets.accept(source.descriptor) {
      case .none: return false
      case .again: continue
      case .exhausted(let error):
        pauseAccepting(error)
        return false
      case .connection(let fd, let peer): begin(fd, peer, listener)
      }
    }
    return true
  }

  /// Level-triggered listeners would wake the loop without end: they are taken out until the pause is over.
  private func pauseAccepting(_ error: SystemError) {
    counters.add(.acceptPauses)
    shared.report(
      "accepting rests for \(Worker.acceptPauseMilliseconds) ms: \(error); raise the limit of open files "
        + "or lower limits.connections", once: "accept")
    pausedSources = true
    for source in sources { poller.remove(source.descriptor) }
    wheel.set(Worker.acceptTimer, deadlineMilliseconds: nowMilliseconds + Worker.acceptPauseMilliseconds)
  }

  func resumeAccepting() {
    guard pausedSources else { return }
    pausedSources = false
    for (i, source) in sources.enumerated() {
      _ = poller.add(
        source: source.descriptor, Token(.listener, slot: i, generation: 0), exclusive: source.isShared)
    }
  }

  private func begin(_ fd: Int32, _ peer: SocketAddress, _ listener: ListenerPlan) {
    counters.add(.connections)
    guard shared.takeConnection(most: plan.config.limits.connections) else {
      Sockets.closeDescriptor(fd)
      recordUnserved(.connectionLimit, listener: listener, peer: peer)
      return
    }
    let capacity = pool.chunkBytes
    let made = downstreams.take(replaces: { $0.input.capacity != capacity }, make: { Downstream(slot: $0, pool: pool) })
    guard let d = made, let connection = Worker.newConnectionID() else {
      if let made { downstreams.give(made.slot) }
      shared.giveConnection()
      Sockets.closeDescriptor(fd)
      recordUnserved(.connectionLimit, listener: listener, peer: peer)
      return
    }
    d.transport.open(fd)
    d.phase = .announce
    d.listener = listener
    d.socket = listener.socket
    d.connection = connection
    d.peer = peer.ip
    d.peerPort = peer.port
    d.acceptedMilliseconds = nowMilliseconds
    let local = Sockets.local(fd)
    d.local = local.ip
    d.localPort = local.port
    if peer.ip != nil { Sockets.setNoDelay(fd) }
    guard poller.add(connection: fd, d.token) else {
      close(d)
      return
    }
    d.rule = listener.trust.rule(for: d.peer)
    let rule = listener.trust[d.rule]
    if rule.evidence == .refuse {
      refuseConnection(d, .peerRefused)
      return
    }
    if rule.proxyProtocolRequired {
      setDeadline(d, afterMilliseconds: plan.config.timeouts.handshakeMilliseconds)
    } else {
      settleConnection(d)
      beginTLS(d)
    }
  }

  /// Nil when the system has no random bytes to give: then no connection is served.
  private static func newConnectionID() -> ConnectionID? {
    guard let high = try? SecureRandom.word(), let low = try? SecureRandom.word() else { return nil }
    return ConnectionID(high: high, low: low)
  }

  // MARK: The PROXY header

  /// Reads the header that this peer owes, from below TLS and not a byte further. True when the next phase can go on.
  func announce(_ d: Downstream) -> Bool {
    guard let listener = d.listener else { return false }
    let rule = listener.trust[d.rule]
    switch d.transport.peek(into: d.input) {
    case .blocked:
      d.input.reset()
      return false
    case .ended, .failed:
      refuseConnection(d, .proxyMissing)
      return false
    case .bytes: break
    }
    let rules: ProxyRules = rule.evidence == .attested ? .attested : .balancer
    let outcome = d.input.withReadable { ProxyHeader.decode($0, rules: rules, limit: Worker.proxyHeaderBytesMax) }
    switch outcome {
    case .incomplete:
      // The peek shows the same bytes again: once the peer has ended, no more will come.
      let stuck = d.transport.hasHungUp
      d.input.reset()
      if stuck { refuseConnection(d, .proxyMalformed) }
      return false
    case .refused(let refusal):
      refuseConnection(d, refusal)
      return false
    case .complete(let header):
      // A validator that has just started cannot tell a replay, and says so to each request of the connection, for the
      // edge to try anew (`identify` refuses them; the header has not been believed).
      if let refusal = accept(header, d, rule, listener), refusal != .starting {
        refuseConnection(d, refusal, detail: timeDetail(refusal, listener, edge: nil, peer: d.peer))
        return false
      }
      guard d.transport.discard(header.length, using: d.input) else {
        refuseConnection(d, .proxyMalformed)
        return false
      }
      d.input.reset()
      settleConnection(d)
      beginTLS(d)
      return true
    }
  }

  /// The longest PROXY header that is looked at (docs/IDENTITY.md section 3).
  private static let proxyHeaderBytesMax = 1_024

  /// Takes over what the header says; a refusal when it may not be believed.
  private func accept(
    _ header: ProxyHeader, _ d: Downstream, _ rule: TrustPolicy.CompiledRule, _ listener: ListenerPlan
  ) -> Refusal? {
    if rule.evidence == .attested {
      guard let verifier = listener.verifier else { return .keyUnknown }
      let outcome = d.input.withReadable {
        verifier.verifyProxy($0, header: header, at: clock)
      }
      switch outcome {
      case .refused(let refusal): return refusal
      case .verified(let bound):
        d.bound = bound
        return nil
      }
    }
    d.announced = header
    return nil
  }

  // MARK: Who the connection is

  /// Settles the client as far as the connection alone tells. Also done again when a reload brings new rules.
  func settleConnection(_ d: Downstream) {
    guard let listener = d.listener else { return }
    d.client = nil
    d.clientRefusal = nil
    d.refusedClient = nil
    // Counted anew, under the present limit and for whoever is the client now.
    if let counted = d.countedClient {
      shared.giveClient(counted)
      d.countedClient = nil
    }
    let rule = listener.trust[d.rule]
    d.scheme = listener.trust.connectionScheme(rule: d.rule, proxy: d.announced, isTLS: d.isTLS)
    let settlement: Settlement
    switch rule.evidence {
    case .refuse: settlement = .refused(.peerRefused)
    case .socket:
      settlement = listener.trust.settleSocket(
        rule: d.rule, peer: d.peer, peerPort: d.peerPort, local: d.local, scheme: d.scheme)
    case .proxyProtocol:
      guard let announced = d.announced else {
        d.clientRefusal = .proxyMissing
        return
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
      guard shared.takeClient(address, most: plan.config.limits.connectionsPerClient, counted: &d.countedClient) else {
        d.clientRefusal = .clientLimit
        return
      }
    }
  }

  /// The scheme of a connection whose TLS handshake is over; its client was settled before.
  private func settleScheme(_ d: Downstream) {
    guard let listener = d.listener else { return }
    d.scheme = listener.trust.connectionScheme(rule: d.rule, proxy: d.announced, isTLS: d.isTLS)
    d.client?.secure = d.scheme.isSecure
    d.client?.certificate = d.scheme.isOwnTLS ? d.certificate : nil
  }

  // MARK: TLS

  private func beginTLS(_ d: Downstream) {
    guard d.phase != .free, let listener = d.listener else { return }
    if d.clientRefusal == .clientLimit {
      refuseConnection(d, .clientLimit)
      return
    }
    guard let tls = listener.tls else {
      d.phase = .head
      setDeadline(d, afterMilliseconds: plan.config.timeouts.headMilliseconds)
      return
    }
    guard d.transport.startTLS(accepting: tls) else {
      refuseConnection(d, .tlsHandshake)
      return
    }
    d.phase = .handshake
    setDeadline(d, afterMilliseconds: plan.config.timeouts.handshakeMilliseconds)
  }

  func handshake(_ d: Downstream) -> Bool {
    switch d.transport.handshake() {
    case .blocked: return false
    case .failed:
      if d.transport.beganWithText {
        d.transport.abandonTLS()
        answerPlainHTTP(d)
      } else if d.transport.beganWithProxyHeader {
        refuseConnection(
          d, .tlsHandshake, detail: .text("a PROXY header came from a peer whose trust rule does not read one"))
      } else {
        refuseConnection(d, .tlsHandshake)
      }
      return false
    case .done:
      d.isTLS = true
      d.tlsVersion = d.transport.tlsVersion
      if let digest = d.transport.peerCertificateDigest {
        d.certificate = CertificateDigest(digest.span)
      }
      settleScheme(d)
      d.phase = .head
      setDeadline(d, afterMilliseconds: plan.config.timeouts.headMilliseconds)
      return true
    }
  }
}
