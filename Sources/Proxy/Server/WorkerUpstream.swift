// Connections going out: choosing one for a try, making it, and what its socket says.

import Platform
import Policy
import Wire

extension Worker {
  // MARK: A try

  /// Sends the request at hand on its way. The parsed head must be the exchange's own.
  func attempt(_ x: Exchange, _ d: Downstream, _ group: UpstreamPlan) {
    // An edge knows it because another edge signed it; a client without a port can only be said to be `forwarded`.
    x.isSigned = group.config.identity == .attest
    if x.isSigned, x.isVerified, var known = x.identity, known.port != 0 {
      known.via = .attested
      x.identity = known
    }
    if x.isSigned, waitsForStart(x, group) { return }
    let identity = x.identity
    let found: Upstream?
    if group.isBound {
      guard let identity else {
        answer(x, .signFailed)
        return
      }
      found = boundConnection(d, x, group, identity)
    } else {
      found = sharedConnection(x, group)
    }
    // A failure on the way has already said what becomes of the exchange.
    guard let u = found, x.isActive, x.upstream === u else { return }
    guard write(x, d, group, into: u) else {
      answer(x, .signFailed)
      return
    }
    x.upstreamProgressMilliseconds = nowMilliseconds
    settleLater(d)
  }

  /// The head for the upstream, with the identity that its config asks for. False when it could not be signed, or does
  /// not fit.
  private func write(_ x: Exchange, _ d: Downstream, _ group: UpstreamPlan, into u: Upstream) -> Bool {
    let head = x.head
    let out = u.output
    x.asksContinue = !x.expectsContinue && mayHaveToHoldBack(x, d, u)
    let signed = x.headText.withReadable { bytes in
      HeadWriter.writeRequest(
        bytes, head: head, framing: x.requestFraming, webSocket: x.wantsWebSocket,
        expectsContinue: x.expectsContinue || x.asksContinue,
        into: out)
      switch group.config.identity {
      case .none: return true
      case .plain:
        // Observe mode lets a request pass without an identity: then none is written.
        if let identity = x.identity {
          HeadWriter.writePlainIdentity(
            identity, host: bytes.extracting(head.authority.range), fields: group.config.plainFields, into: out)
        }
        return true
      case .attest:
        guard let identity = x.identity, let signer = group.signer else { return false }
        return signer.writeFields(
          identity, head: bytes, method: head.methodRange, authority: head.authority, path: head.path,
          query: head.query, nowMilliseconds: wallMilliseconds, into: out)
      }
    }
    out.append("\r\n")
    return signed && !out.overflowed
  }

  // MARK: Choosing a connection

  private func sharedConnection(_ x: Exchange, _ group: UpstreamPlan) -> Upstream? {
    guard let (server, index) = chooseServer(x, group) else { return nil }
    while let u = server.idle.popLast() {
      idleUpstreams -= 1
      u.isIdle = false
      // From before a reload that changed the limits of heads.
      guard u.output.capacity == pool.chunkBytes else {
        close(u)
        continue
      }
      guard isQuiet(u, for: x) else { continue }
      take(u, for: x, server, index: index)
      counters.add(.upstreamReused)
      return u
    }
    return connect(x, group, server, index: index, preamble: nil)
  }

  /// The connection that speaks for this client alone: the one at hand if it still does, or a new one.
  private func boundConnection(
    _ d: Downstream, _ x: Exchange, _ group: UpstreamPlan, _ identity: ClientIdentity
  ) -> Upstream? {
    if let u = d.boundUpstream {
      if u.phase == .ready, u.exchange == nil, u.boundClient == identity,
        u.boundSigner.map({ $0.speaksAs(group.signer) })
          ?? false, let server = u.pool, let index = group.servers.firstIndex(where: { $0 === server }),
        isQuiet(u, for: x)
      {
        take(u, for: x, server, index: index)
        counters.add(.upstreamReused)
        return u
      }
      // Another client behind the same balancer connection, another upstream, or a connection that ended.
      if d.boundUpstream === u { close(u) }
    }
    guard let (server, index) = chooseServer(x, group) else { return nil }
    guard let signer = group.signer, let draft = makePreamble(d, x, signer, identity) else {
      answer(x, .signFailed)
      return nil
    }
    let u = connect(x, group, server, index: index, preamble: draft)
    if let u {
      u.owner = d
      u.boundClient = identity
      u.boundSigner = signer
      d.boundUpstream = u
    }
    return u
  }

  private func chooseServer(_ x: Exchange, _ group: UpstreamPlan) -> (ServerPool, Int)? {
    guard
      let (server, index) = group.choose(
        client: x.identity?.address, tried: x.triedServers, nowMilliseconds: nowMilliseconds)
    else {
      answer(x, .upstreamNone)
      return nil
    }
    return (server, index)
  }

  private func take(_ u: Upstream, for x: Exchange, _ server: ServerPool, index: Int) {
    u.exchange = x
    x.upstream = u
    x.server = server
    server.active += 1
    if index < 64 { x.triedServers |= 1 << UInt64(index) }
    x.upstreamStartedMicroseconds = nowMicroseconds
    x.machine.attempt(reused: u.served > 0)
    wheel.set(u.timer, deadlineMilliseconds: 0)
  }

  // MARK: Connecting

  private func connect(
    _ x: Exchange, _ group: UpstreamPlan, _ server: ServerPool, index: Int, preamble: ProxyHeaderDraft?
  ) -> Upstream? {
    let opened: (fd: Int32, connected: Bool)
    do {
      opened = try Sockets.connect(to: server.address)
    } catch {
      if index < 64 { x.triedServers |= 1 << UInt64(index) }
      x.machine.attempt(reused: false)
      x.server = server
      x.upstreamStartedMicroseconds = nowMicroseconds
      // Want of our own is not the server's fault, and another try would want the same.
      if error.isWantOfOurOwn {
        shared.report(
          "no connection to an upstream can be made: \(error); raise the limit of open files or lower "
            + "limits.connections", once: "descriptors")
        answer(x, .upstreamNone)
        return nil
      }
      noteUnreachable(server, SystemError.text(error.code))
      fault(x, .connect)
      return nil
    }
    counters.add(.upstreamConnections)
    let capacity = pool.chunkBytes
    guard
      let u = upstreams.take(replaces: { $0.input.capacity != capacity }, make: { Upstream(slot: $0, pool: pool) })
    else {
      Sockets.closeDescriptor(opened.fd)
      answer(x, .upstreamNone)
      return nil
    }
    let generation = u.generation
    u.transport.open(opened.fd)
    u.pool = server
    u.phase = .connecting
    server.noteOpening()
    take(u, for: x, server, index: index)
    guard poller.add(connection: opened.fd, u.token) else {
      fault(x, .connect)
      return nil
    }
    if let preamble {
      preamble.withBytes { u.output.append($0) }
      u.preambleBytes = u.output.count
    }
    // Until the kernel says writable nothing is known, even for a unix socket that connected at once: one event.
    wheel.set(
      u.timer, deadlineMilliseconds: nowMilliseconds + UInt64(plan.config.timeouts.upstreamConnectMilliseconds))
    if opened.connected { connected(u) }
    // A connection that failed at once may have made way for the next try's, which has its own head already.
    return u.generation == generation ? u : nil
  }

  private func makePreamble(
    _ d: Downstream, _ x: Exchange, _ signer: Signer, _ identity: ClientIdentity
  ) -> ProxyHeaderDraft? {
    // Version and cipher are those of the client's own TLS, not of a proxy's.
    let isOwnTLS = x.schemeSource == .connection && identity.via != .forwarded
    // The destination is the address that the client came to. Behind a balancer or a unix socket it may be of the other
    // family, which a PROXY header cannot say: then it is left unspecified in the client's family.
    let unspecified = identity.address.family == .v4 ? IPAddress(v4: 0) : IPAddress(v6High: 0, v6Low: 0)
    let known = d.local.map { $0.family == identity.address.family } ?? false
    let destination = known ? d.local ?? unspecified : unspecified
    return d.transport.withServerName { name in
      d.transport.withApplicationProtocol { alpn in
        d.transport.withVersionName { version in
          d.transport.withCipherName { cipher in
            signer.makeProxyHeader(
              identity, destination: destination, destinationPort: known ? d.localPort : 0, alpn: alpn,
              authority: name, tlsVersion: isOwnTLS ? version : version.extracting(first: 0),
              tlsCipher: isOwnTLS ? cipher : cipher.extracting(first: 0), nowMilliseconds: wallMilliseconds)
          }
        }
      }
    }
  }

  // MARK: What its socket says

  /// Carries an upstream connection on after an event.
  func progress(_ u: Upstream) {
    switch u.phase {
    case .free: return
    case .connecting:
      let result = Sockets.connectResult(u.transport.descriptor)
      guard result == 0 else {
        unreachable(u, SystemError.text(result))
        return
      }
      guard !u.transport.isStuffed else { return }
      guard u.exchange != nil else {
        // Nobody waited for it, and all that was to be learnt is that it can be reached.
        if u.pool?.tls == nil { u.pool?.noteReached() }
        close(u)
        return
      }
      connected(u)
    case .preamble: sendPreamble(u)
    case .handshake: handshake(u)
    case .ready: break
    }
    guard u.phase == .ready else { return }
    if let x = u.exchange {
      // The client's side drives: it may have to go on once the exchange is over.
      pump(x.downstream)
    } else {
      checkIdle(u)
    }
  }

  private func connected(_ u: Upstream) {
    guard let server = u.pool else { return }
    guard server.tls != nil else {
      becomeReady(u)
      return
    }
    u.phase = .preamble
    sendPreamble(u)
  }

  /// The PROXY header goes out in the clear, before TLS.
  private func sendPreamble(_ u: Upstream) {
    while u.preambleBytes > 0 {
      let moved = u.output.withReadable { u.transport.write($0.extracting(first: u.preambleBytes)) }
      switch moved {
      case .bytes(let n):
        u.output.consume(n)
        u.preambleBytes -= n
      case .blocked: return
      case .ended, .failed:
        unreachable(u, "it ended the connection before TLS began")
        return
      }
    }
    guard let tls = u.pool?.tls, u.transport.startTLS(connecting: tls) else {
      unreachable(u, "TLS cannot be begun")
      return
    }
    u.phase = .handshake
    wheel.set(u.timer, deadlineMilliseconds: nowMilliseconds + UInt64(plan.config.timeouts.handshakeMilliseconds))
    handshake(u)
  }

  private func handshake(_ u: Upstream) {
    switch u.transport.handshake() {
    case .blocked: return
    case .failed:
      unreachable(u, u.transport.failure ?? "connection closed")
    case .done: becomeReady(u)
    }
  }

  private func becomeReady(_ u: Upstream) {
    u.phase = .ready
    u.pool?.noteOpened()
    u.pool?.noteReached()
    u.preambleBytes = 0
    wheel.set(u.timer, deadlineMilliseconds: 0)
    if let x = u.exchange {
      x.upstreamProgressMilliseconds = nowMilliseconds
      _ = flush(u)
      if u.phase == .ready, u.exchange === x { setUpstreamDeadline(x, x.downstream, u) }
    }
  }

  /// Sends what waits for an upstream. False when the connection failed (which the reading side will find and judge).
  @discardableResult
  func flush(_ u: Upstream) -> Bool {
    guard !u.isFlushed else { return true }
    let sent = u.transport.sentBytes
    let moved = u.transport.flush(u.output)
    if u.transport.sentBytes != sent, let x = u.exchange {
      x.machine.noteSent()
      x.upstreamProgressMilliseconds = nowMilliseconds
    }
    switch moved {
    case .bytes, .blocked:
      u.output.releaseIfEmpty()
      return true
    case .ended, .failed:
      // What the server said before it went is still to be read: a refusal with its reason, perhaps.
      u.output.removeAll()
      u.output.releaseIfEmpty()
      u.transport.noteReadable()
      if let x = u.exchange {
        x.upstreamDeaf = true
        enqueue(x.downstream)
      }
      return false
    }
  }

  /// Whether a kept connection may have a request now: bytes that wait on it would be taken for the answer to another
  /// client's request. What the poller has told so far was acted on before any request of this turn. A request that
  /// may not be sent twice is worth a system call more, to see whether the server has hung up this moment.
  private func isQuiet(_ u: Upstream, for x: Exchange) -> Bool {
    if !x.method.isIdempotent { u.transport.noteReadable() }
    guard u.transport.mayRead else { return true }
    checkIdle(u)
    return u.phase == .ready
  }

  /// A connection without a request has nothing to say: an end, or bytes that nobody asked for, take it away.
  private func checkIdle(_ u: Upstream) {
    switch u.transport.read(into: u.input) {
    case .blocked: u.input.releaseIfEmpty()
    case .bytes, .ended, .failed: close(u)
    }
  }

  // MARK: Giving back

  /// Takes an exchange's connection from it: kept for another request if it may be, or closed.
  func release(_ x: Exchange, keep: Bool) {
    guard let u = x.upstream else { return }
    x.upstream = nil
    u.exchange = nil
    u.served += 1
    guard let server = u.pool else { return }
    server.active -= 1
    guard keep, u.phase == .ready, u.input.isEmpty, u.isFlushed, !server.isRetired, !isDraining else {
      close(u)
      return
    }
    u.input.releaseIfEmpty()
    u.output.releaseIfEmpty()
    // One that has an owner waits for its client's next request, and ends with that client's connection at the latest.
    if u.owner == nil {
      guard server.idle.count < server.idleMax else {
        close(u)
        return
      }
      server.idle.append(u)
      u.isIdle = true
      idleUpstreams += 1
    }
    // A little less than the other side's usual patience, so that it is we who close: a request that crosses the other
    // side's end on the way is lost where it may not be sent twice.
    wheel.set(
      u.timer, deadlineMilliseconds: nowMilliseconds + UInt64(plan.config.timeouts.idleMilliseconds) * 3 / 4)
    // Its end, or bytes too many, may have come together with the response: no other event will tell.
    if u.transport.mayRead { checkIdle(u) }
  }

  func close(_ u: Upstream, reset: Bool = false) {
    guard u.phase != .free else { return }
    if u.isIdle, let server = u.pool, let at = server.idle.lastIndex(where: { $0 === u }) {
      server.idle.remove(at: at)
      idleUpstreams -= 1
    }
    if let x = u.exchange, x.upstream === u {
      x.upstream = nil
      u.pool?.active -= 1
    }
    if u.isOpening { u.pool?.noteOpened() }
    if u.hasAnswered { u.pool?.noteAnsweringEnded() }
    if let owner = u.owner, owner.boundUpstream === u { owner.boundUpstream = nil }
    wheel.set(u.timer, deadlineMilliseconds: 0)
    u.transport.close(reset: reset)
    u.clear()
    upstreams.give(u.slot)
  }
}
