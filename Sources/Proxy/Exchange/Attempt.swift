// One try of a request: a connection to a server is chosen or begun, and the head is written to it, with the identity that the
// upstream's configuration asks for. Every try signs anew.

import Platform
import Policy
import Wire

enum Attempt {
  /// Sends the request on its way. The head is the exchange's own, whatever the connection has read since.
  static func begin(_ x: Exchange, _ group: UpstreamPlan, _ worker: Worker) -> Step {
    // An edge knows it because another edge signed it; a client without a port can only be said to be `forwarded`.
    x.isSigned = group.config.identity == .attest
    if x.isSigned, x.isVerified, var known = x.identity, known.port != 0 {
      known.via = .attested
      x.identity = known
    }
    if x.isSigned, case .parked = StartWait.park(x, group, worker) { return .parked }
    let found: Found
    if group.isBound {
      guard let identity = x.identity else { return .refuse(.signFailed) }
      found = boundConnection(x, group, identity, worker)
    } else {
      found = sharedConnection(x, group, worker)
    }
    switch found {
    case .refused(let refusal):
      ServerQueue.leavePlace(x, worker)
      return .refuse(refusal)
    case .fault(let fault):
      ServerQueue.leavePlace(x, worker)
      return .fault(fault)
    case .connection(let u):
      if let refusal = write(x, group, into: u, worker) { return .refuse(refusal) }
      x.upstreamProgressMilliseconds = worker.nowMilliseconds
      // A request that is all written has nothing to do before its response comes, which cannot be there yet: a kept connection was
      // quiet. A stream may have ended meanwhile.
      return x.machine.request == .done && !u.isStream ? .blocked : .moved
    case .full: return ServerQueue.wait(x, for: group, worker)
    }
  }

  /// What the search for a connection came to.
  enum Found {
    case connection(Upstream)
    case refused(Refusal)
    case fault(ExchangeMachine.Fault)
    /// It has to wait for a place.
    case full
  }

  /// Writes the head for the upstream, or says why it cannot be sent.
  private static func write(_ x: Exchange, _ group: UpstreamPlan, into u: Upstream, _ worker: Worker) -> Refusal? {
    let head = x.head
    let isChanged = RequestTarget.isChanged(x, at: group)
    var target = RequestTarget(head)
    if isChanged {
      let made = RequestTarget.write(x, for: group, host: u.pool?.hostField ?? [])
      if let refusal = made.refusal { return refusal }
      target = made.target
    }
    let edit = x.route?.requestEdit
    if let stream = u.stream { return write(x, group, into: u, stream, target, isChanged: isChanged, worker) }
    let out = u.output
    x.asksContinue = !x.expectsContinue && StartWait.mayHoldBack(x, u)
    if isChanged || edit != nil, !RequestTarget.fits(x, edit, into: out) { return .headTooLarge }
    let signed = x.headText.withReadable { bytes in
      // The line as it is sent is the line as it is signed.
      func write(_ line: Span<UInt8>) -> Bool {
        HeadWriter.writeRequest(
          bytes, head: head, line: line, target, framing: x.request.goesInChunks ? .chunked : x.request.framing,
          webSocket: x.wantsWebSocket, expectsContinue: x.expectsContinue || x.asksContinue, edit: edit,
          edit == nil ? FieldValues() : FieldValues(x), into: out)
        if x.wantsWebSocket, let stream = x.downstream.stream, !WebSocketKey.write(for: stream, into: out) {
          return false
        }
        return writeIdentity(
          x.identity, as: group.config.identity, fields: group.config.plainFields, signer: group.signer,
          host: bytes.extracting(head.authority.range), line: line, target, wallMilliseconds: worker.wallMilliseconds,
          into: out)
      }
      return isChanged ? x.targetText.withReadable { write($0) } : write(bytes)
    }
    out.append("\r\n")
    // A reload has lowered the limit of heads since this one was taken, and new connections have smaller buffers.
    if out.overflowed { return .draining }
    return signed ? nil : .signFailed
  }

  /// The same, as the head of a stream.
  private static func write(
    _ x: Exchange, _ group: UpstreamPlan, into u: Upstream, _ stream: ServerStream, _ target: RequestTarget,
    isChanged: Bool, _ worker: Worker
  ) -> Refusal? {
    // A server is asked for no WebSocket over HTTP/2 (RFC 8441), and an ordinary request in its place would be another one.
    if x.wantsWebSocket { return .upgradeUnsupported }
    let head = x.head
    let edit = x.route?.requestEdit
    var isSigned = true
    var isFitting = true
    x.asksContinue = false
    let isBegun = stream.client.begin(u, hasBody: x.request.hasBody) { out in
      if isChanged || edit != nil, !RequestTarget.fits(x, edit, into: out) {
        isFitting = false
        return false
      }
      x.headText.withReadable { bytes in
        func write(_ line: Span<UInt8>) -> Bool {
          HeadWriter.writeStreamRequest(
            bytes, head: head, line: line, target, framing: x.request.framing, isSecure: u.pool?.tls != nil,
            expectsContinue: x.expectsContinue, edit: edit, edit == nil ? FieldValues() : FieldValues(x), into: out)
          return writeIdentity(
            x.identity, as: group.config.identity, fields: group.config.plainFields, signer: group.signer,
            host: bytes.extracting(head.authority.range), line: line, target,
            wallMilliseconds: worker.wallMilliseconds, into: out)
        }
        isSigned = isChanged ? x.targetText.withReadable { write($0) } : write(bytes)
      }
      return isSigned
    }
    guard isFitting else { return .headTooLarge }
    guard isSigned else { return .signFailed }
    guard !isBegun else { return nil }
    return worker.http2Lines.isTooLarge ? .headTooLarge : .upstreamNone
  }

  /// Writes what an upstream is told of the client, behind the other fields of the head. False when it cannot be signed.
  /// - Parameters:
  ///   - host: as the client sent it.
  ///   - line: the text that the request line and Host were written from, at `target`: exactly that is signed.
  @inline(__always) static func writeIdentity(
    _ identity: ClientIdentity?, as kind: Config.UpstreamIdentity, fields: Config.PlainFields, signer: Signer?,
    host: Span<UInt8>, line: Span<UInt8>, _ target: RequestTarget, wallMilliseconds: UInt64, into out: Buffer
  ) -> Bool {
    switch kind {
    case .none: return true
    case .plain:
      // Observe mode lets a request pass without an identity: then none is written.
      if let identity {
        HeadWriter.writePlainIdentity(
          identity, host: host, fields: fields, into: out)
      }
      return true
    case .attest:
      guard let identity, let signer else { return false }
      return signer.writeFields(
        identity, head: line, method: target.method, authority: target.authority, path: target.path,
        query: target.query, nowMilliseconds: wallMilliseconds, into: out)
    }
  }

  // MARK: Choosing a connection

  /// Whether a kept connection of HTTP/1.1 may have the request: not when another one had ended, for what ended it may have ended
  /// them all. Nor an upgrade, which may not be sent twice, so that it must not meet such an end on its way; and a tunnel never gives
  /// its connection back. HTTP/2 says what it takes no more.
  private static func mayReuse(_ x: Exchange) -> Bool { !x.machine.hasMetStale && !x.wantsWebSocket }

  private static func sharedConnection(_ x: Exchange, _ group: UpstreamPlan, _ worker: Worker) -> Found {
    let choice = takePlace(x, group, worker)
    guard case .server(let server, _) = choice else { return without(choice) }
    if server.isHTTP2 {
      let client = x.machine.goesFirst ? nil : server.takeHTTP2(isNew: x.machine.hasMetStale)
      return stream(x, server, client, worker) { Dial.begin(x, server, preamble: nil, worker) }
    }
    while mayReuse(x), let u = server.takeIdle(worker) {
      // From before a reload that changed the limits of heads.
      guard u.output.capacity == worker.pool.chunkBytes else {
        u.close(worker)
        continue
      }
      guard case .usable = u.look(for: x, worker) else { continue }
      server.attach(u, to: x, worker)
      worker.counters.add(.upstreamReused)
      return .connection(u)
    }
    return Dial.begin(x, server, preamble: nil, worker)
  }

  /// A stream of a connection, or of a new one.
  private static func stream(
    _ x: Exchange, _ server: ServerPool, _ client: HTTP2Client?, _ worker: Worker, orElse dial: () -> Found
  ) -> Found {
    if let client, let u = client.open() {
      server.attach(u, to: x, worker)
      worker.counters.add(.upstreamReused)
      return .connection(u)
    }
    let found = dial()
    if case .connection(let u) = found, let client = u.stream?.client, client.connection.owner == nil {
      server.keepHTTP2(client.connection)
    }
    return found
  }

  /// The connection that speaks for this client alone: the one at hand if it still does, or a new one.
  private static func boundConnection(
    _ x: Exchange, _ group: UpstreamPlan, _ identity: ClientIdentity, _ worker: Worker
  ) -> Found {
    let d = x.downstream!
    if group.config.serverProtocol == .http2 { return boundStream(x, group, identity, worker) }
    if mayReuse(x), let stream = d.stream, d.boundUpstream == nil, let kept = stream.server.takeSpare() {
      kept.owner = d
      d.boundUpstream = kept
    }
    // While its server is full, another one may have the request.
    if mayReuse(x), let u = d.boundUpstream, u.phase == .ready, u.exchange == nil, u.boundClient == identity,
      u.boundSigner.map({ $0.speaksAs(group.signer) }) ?? false,
      let server = u.pool, group.servers.contains(where: { $0 === server }),
      mayGoOn(at: server, of: group, worker), case .usable = u.look(for: x, worker),
      takePlace(x, at: server)
    {
      server.attach(u, to: x, worker)
      worker.counters.add(.upstreamReused)
      return .connection(u)
    }
    let choice = takePlace(x, group, worker)
    guard case .server(let server, _) = choice else { return without(choice) }
    // Another client behind the same balancer connection, another upstream, a connection that ended, or an upgrade.
    if let u = d.boundUpstream { u.close(worker) }
    guard let signer = group.signer, let draft = preamble(x, signer, identity, worker) else {
      return .refused(.signFailed)
    }
    let found = Dial.begin(x, server, preamble: draft, worker)
    if case .connection(let u) = found {
      u.owner = d
      u.boundClient = identity
      u.boundSigner = signer
      d.boundUpstream = u
    }
    return found
  }

  /// The same with HTTP/2: a connection that speaks for this client has as many of its requests as come.
  private static func boundStream(
    _ x: Exchange, _ group: UpstreamPlan, _ identity: ClientIdentity, _ worker: Worker
  ) -> Found {
    let owner = x.downstream.carrier
    for u in owner.boundConnections where !x.machine.goesFirst {
      guard let client = u.http2, client.mayOpen, !x.machine.hasMetStale || u.served == 0, u.boundClient == identity,
        u.boundSigner.map({ $0.speaksAs(group.signer) }) ?? false,
        let server = u.pool, group.servers.contains(where: { $0 === server }),
        mayGoOn(at: server, of: group, worker), takePlace(x, at: server)
      else { continue }
      return stream(x, server, client, worker) { .refused(.upstreamNone) }
    }
    let choice = takePlace(x, group, worker)
    guard case .server(let server, _) = choice else { return without(choice) }
    guard let signer = group.signer, let draft = preamble(x, signer, identity, worker) else {
      return .refused(.signFailed)
    }
    let found = Dial.begin(x, server, preamble: draft, worker)
    if case .connection(let u) = found {
      let connection = u.carrier
      connection.owner = owner
      connection.boundClient = identity
      connection.boundSigner = signer
      owner.keepBound(connection, worker)
    }
    return found
  }

  /// Whether a bound connection's server may have the next request too: not when another one could that does not fail.
  private static func mayGoOn(at server: ServerPool, of group: UpstreamPlan, _ worker: Worker) -> Bool {
    switch server.availability(nowMilliseconds: worker.nowMilliseconds) {
    case .serving, .starting: true
    case .failing: group.servers.count == 1
    case .withdrawn: false
    }
  }

  /// Chooses a server, and takes one of its places where these are counted.
  private static func takePlace(_ x: Exchange, _ group: UpstreamPlan, _ worker: Worker) -> ServerChoice {
    // Whoever waits already goes first.
    guard group.queue.isEmpty || x.queueEndMilliseconds > 0 else { return .full }
    while true {
      let choice = group.choose(for: x, nowMilliseconds: worker.nowMilliseconds)
      guard case .server(let server, let isLastResort) = choice else { return choice }
      // Another worker may have had the last place since.
      guard takePlace(x, at: server) else { continue }
      if isLastResort { ServerReports.noteLastResort(group, worker) }
      return choice
    }
  }

  /// What becomes of a request for which no server was found.
  private static func without(_ choice: ServerChoice) -> Found {
    if case .full = choice { .full } else { .refused(.upstreamNone) }
  }

  private static func takePlace(_ x: Exchange, at server: ServerPool) -> Bool {
    guard server.connectionsMax > 0 else { return true }
    guard server.status.takePlace(most: server.connectionsMax) else { return false }
    x.place = server.status
    return true
  }

  /// The signed PROXY header for a connection that speaks for one client.
  private static func preamble(
    _ x: Exchange, _ signer: Signer, _ identity: ClientIdentity, _ worker: Worker
  ) -> ProxyHeaderDraft? {
    let d = x.downstream!
    // Version and cipher are those of the client's own TLS, not of a proxy's.
    let isOwnTLS = x.schemeSource == .connection && identity.via != .forwarded
    // The destination is the address that the client came to. Behind a balancer or a unix socket it may be of the other
    // family, which a PROXY header cannot say: then it is left unspecified in the client's family.
    let unspecified = IPAddress.unspecified(identity.address.family)
    let known = d.local.map { $0.family == identity.address.family } ?? false
    let destination = known ? d.local ?? unspecified : unspecified
    let transport = d.carrier.transport
    return transport.withServerName { name in
      transport.withApplicationProtocol { alpn in
        transport.withVersionName { version in
          transport.withCipherName { cipher in
            signer.makeProxyHeader(
              identity, destination: destination, destinationPort: known ? d.localPort : 0, alpn: alpn,
              authority: name, tlsVersion: isOwnTLS ? version : version.extracting(first: 0),
              tlsCipher: isOwnTLS ? cipher : cipher.extracting(first: 0), nowMilliseconds: worker.wallMilliseconds)
          }
        }
      }
    }
  }
}
