// How a connection to a server is made, and what its socket says. Nothing here decides what a failure means for the request: it
// is returned. Called by Attempt, which needs one, and by the worker with each event and deadline.

import Platform
import Policy
import Wire

enum Dial {
  /// Begins a connection for an exchange. `preamble`: the PROXY header that goes first.
  static func begin(
    _ x: Exchange, _ server: ServerPool, preamble: ProxyHeaderDraft?, _ worker: Worker
  ) -> Attempt.Found {
    let opened: (fd: Int32, connected: Bool)
    guard takePlace(worker) else {
      server.noteTry(of: x, isReused: false, worker)
      return exhausted("all descriptors that are set aside for servers are in use", worker)
    }
    do {
      opened = try Sockets.connect(to: server.address)
    } catch {
      worker.shared.giveServerConnection()
      server.noteTry(of: x, isReused: false, worker)
      // That we lack descriptors or memory is not the server's fault, and another try would lack the same.
      if error.isLocalExhaustion { return exhausted("\(error)", worker) }
      noteUnreachable(server, SystemError.text(error.code), worker)
      return .fault(.connect)
    }
    worker.counters.add(.upstreamConnections)
    let capacity = worker.pool.chunkBytes
    guard
      let u = worker.upstreams.take(
        replaces: { $0.input.capacity != capacity }, make: { Upstream(slot: $0, pool: worker.pool) })
    else {
      Sockets.closeDescriptor(opened.fd)
      worker.shared.giveServerConnection()
      return .refused(.upstreamNone)
    }
    u.transport.open(opened.fd)
    u.pool = server
    u.phase = .connecting
    server.noteOpening()
    // The exchange has the connection, or a stream of it.
    var found = u
    if server.isHTTP2 {
      guard let client = HTTP2Client(u, worker), let stream = client.open() else {
        u.close(worker)
        return .refused(.upstreamNone)
      }
      u.http2 = client
      found = stream
    }
    server.attach(found, to: x, worker)
    guard worker.poller.add(connection: opened.fd, u.token) else {
      u.close(worker)
      return .fault(.connect)
    }
    if let preamble {
      preamble.withBytes { u.output.append($0) }
      u.preambleBytes = u.output.count
    }
    // Until the kernel says writable nothing is known, even for a unix socket that connected at once: one event.
    worker.wheel.set(
      u.timer,
      deadlineMilliseconds: worker.nowMilliseconds + UInt64(x.times.connectMilliseconds(worker)))
    if opened.connected, case .fault(let fault) = connected(u, worker) { return .fault(fault) }
    return .connection(found)
  }

  /// A descriptor for one more connection. Those without a request make way, whosever they are.
  private static func takePlace(_ worker: Worker) -> Bool {
    if worker.shared.takeServerConnection() { return true }
    for group in worker.plan.groups {
      for server in group.servers {
        guard let u = server.oldestIdle else { continue }
        u.close(worker)
        return worker.shared.takeServerConnection()
      }
    }
    return false
  }

  private static func exhausted(_ why: String, _ worker: Worker) -> Attempt.Found {
    worker.shared.report(
      "no connection to an upstream can be made: \(why); raise the limit of open files, or lower limits.connections or "
        + "limits.streams", once: "descriptors", everyMilliseconds: 60_000)
    return .refused(.upstreamNone)
  }

  /// A server could not be reached: it rests, and the operator is told why.
  static func noteUnreachable(_ server: ServerPool, _ why: @autoclosure () -> String, _ worker: Worker) {
    guard server.noteFailure(nowMilliseconds: worker.nowMilliseconds) else { return }
    let name = String(decoding: server.text, as: UTF8.self)
    worker.shared.report("upstream server \(name) cannot be reached: \(why())", once: "server \(name)")
  }

  // MARK: Events

  /// What an event on a server's connection has come to.
  enum Progress {
    /// Nothing more before the next event.
    case waits
    /// It is ready for requests, or for more of one.
    case ready
    /// Nothing was to be learnt but that it can be reached: it may be closed.
    case unwanted
    case fault(ExchangeMachine.Fault)
  }

  /// Carries the connection on after an event.
  static func progress(_ u: Upstream, _ worker: Worker) -> Progress {
    switch u.phase {
    case .free: return .waits
    case .connecting:
      let result = Sockets.connectResult(u.transport.descriptor)
      guard result == 0 else { return unreachable(u, SystemError.text(result), worker) }
      guard !u.transport.isWriteBlocked else { return .waits }
      guard u.exchange != nil || u.http2 != nil else {
        if u.pool?.tls == nil { u.pool?.noteReached() }
        return .unwanted
      }
      return connected(u, worker)
    case .preamble: return sendPreamble(u, worker)
    case .handshake: return shakeHands(u, worker)
    case .ready: return .ready
    }
  }

  private static func connected(_ u: Upstream, _ worker: Worker) -> Progress {
    guard u.pool?.tls != nil else { return becomeReady(u, worker) }
    u.phase = .preamble
    return sendPreamble(u, worker)
  }

  /// The PROXY header goes out in the clear, before TLS.
  private static func sendPreamble(_ u: Upstream, _ worker: Worker) -> Progress {
    while u.preambleBytes > 0 {
      switch u.output.withReadable({ u.transport.write($0.extracting(first: u.preambleBytes)) }) {
      case .bytes(let n):
        u.output.consume(n)
        u.preambleBytes -= n
      case .blocked: return .waits
      case .ended, .failed: return unreachable(u, "it ended the connection before TLS began", worker)
      }
    }
    guard let tls = u.pool?.tls, u.transport.startTLS(connecting: tls) else {
      return unreachable(u, "TLS cannot be begun", worker)
    }
    u.phase = .handshake
    worker.wheel.set(
      u.timer, deadlineMilliseconds: worker.nowMilliseconds + UInt64(worker.plan.config.timeouts.handshakeMilliseconds))
    return shakeHands(u, worker)
  }

  private static func shakeHands(_ u: Upstream, _ worker: Worker) -> Progress {
    switch u.transport.handshake() {
    case .blocked: return .waits
    case .failed: return unreachable(u, u.transport.failure ?? "connection closed", worker)
    case .done: return becomeReady(u, worker)
    }
  }

  private static func becomeReady(_ u: Upstream, _ worker: Worker) -> Progress {
    if u.http2 != nil, u.transport.isTLS, !u.transport.withApplicationProtocol({ $0.equals("h2") }) {
      return unreachable(u, "it does not speak HTTP/2 (ALPN), which the upstream's protocol asks for", worker)
    }
    u.phase = .ready
    u.pool?.noteOpened()
    u.pool?.noteReached()
    u.preambleBytes = 0
    worker.wheel.set(u.timer, deadlineMilliseconds: 0)
    if let client = u.http2 {
      client.becameReady()
    } else if let x = u.exchange {
      guard RouteGate.maySend(x, worker) else { return .fault(.unprocessed) }
      x.upstreamProgressMilliseconds = worker.nowMilliseconds
      x.timing.noteReady(worker.nowMicroseconds)
      u.flush(worker)
      Deadlines.setServer(x, x.downstream, u, worker)
    }
    return .ready
  }

  /// The connection could not be made, in time or at all, or not secured.
  private static func unreachable(
    _ u: Upstream, _ why: String, timedOut: Bool = false, _ worker: Worker
  ) -> Progress {
    let isSecuring = u.phase != .connecting
    if let server = u.pool {
      let what = timedOut ? (isSecuring ? "no TLS handshake in time" : "no connection in time") : why
      noteUnreachable(server, isSecuring ? "TLS: \(what)" : what, worker)
    }
    return .fault(isSecuring ? .upstreamTLS : timedOut ? .connectTimeout : .connect)
  }

  /// A client that does not wait for a connection leaves it to find out whether the server can be reached: otherwise
  /// a server that swallows everything would never rest where clients are less patient than `upstream_connect`. One at
  /// a time for each server.
  static func leaveConnecting(_ u: Upstream, _ worker: Worker) {
    guard !u.isStream, u.phase == .connecting, let server = u.pool, server.opening == 1 else { return }
    server.detach(u, worker)
    u.output.reset()
    u.preambleBytes = 0
    u.owner?.boundUpstream = nil
    u.owner = nil
  }

  /// Its time is up.
  static func expire(_ u: Upstream, _ worker: Worker) {
    let step: Progress
    switch u.phase {
    case .free: return
    case .connecting, .preamble, .handshake: step = unreachable(u, "", timedOut: true, worker)
    case .ready:
      if let x = u.exchange, Deadlines.serverTakesOn(x, u, worker) { return }
      if let stream = u.stream, let x = u.exchange, u.owesOnlyEnd(of: x) {
        stream.endIsOverdue = true
        worker.pump(x.downstream)
        return
      }
      if let stream = u.stream, let x = u.exchange {
        stream.client.noteSilence(milliseconds: x.times.responseMilliseconds(worker))
      }
      step = u.exchange == nil ? .unwanted : .fault(.responseTimeout)
    }
    worker.carryOn(u, step)
  }
}
