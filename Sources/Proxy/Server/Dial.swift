// How a connection to a server is made, and what its socket says. Nothing here decides what a failure means for the request: it
// is returned.

import Platform
import Policy
import Wire

enum Dial {
  /// Begins a connection for an exchange. `preamble`: the PROXY header that goes first.
  static func begin(
    _ x: Exchange, _ server: ServerPool, preamble: ProxyHeaderDraft?, _ worker: Worker
  ) -> Attempt.Found {
    let opened: (fd: Int32, connected: Bool)
    do {
      opened = try Sockets.connect(to: server.address)
    } catch {
      server.noteTry(of: x, isReused: false, worker)
      // That we lack descriptors or memory is not the server's fault, and another try would lack the same.
      if error.isLocalExhaustion {
        worker.shared.report(
          "no connection to an upstream can be made: \(error); raise the limit of open files or lower "
            + "limits.connections", once: "descriptors")
        return .refused(.upstreamNone)
      }
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
    if opened.connected, case .fault(let fault) = u.connected(worker) { return .fault(fault) }
    return .connection(found)
  }

  /// A server could not be reached: it rests, and the operator is told why.
  static func noteUnreachable(_ server: ServerPool, _ why: @autoclosure () -> String, _ worker: Worker) {
    guard server.noteFailure(nowMilliseconds: worker.nowMilliseconds) else { return }
    let name = String(decoding: server.text, as: UTF8.self)
    worker.shared.report("upstream server \(name) cannot be reached: \(why())", once: "server \(name)")
  }
}

extension Upstream {
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
  func progress(_ worker: Worker) -> Progress {
    switch phase {
    case .free: return .waits
    case .connecting:
      let result = Sockets.connectResult(transport.descriptor)
      guard result == 0 else { return unreachable(SystemError.text(result), worker) }
      guard !transport.isWriteBlocked else { return .waits }
      guard exchange != nil || http2 != nil else {
        if pool?.tls == nil { pool?.noteReached() }
        return .unwanted
      }
      return connected(worker)
    case .preamble: return sendPreamble(worker)
    case .handshake: return shakeHands(worker)
    case .ready: return .ready
    }
  }

  fileprivate func connected(_ worker: Worker) -> Progress {
    guard pool?.tls != nil else { return becomeReady(worker) }
    phase = .preamble
    return sendPreamble(worker)
  }

  /// The PROXY header goes out in the clear, before TLS.
  private func sendPreamble(_ worker: Worker) -> Progress {
    while preambleBytes > 0 {
      switch output.withReadable({ transport.write($0.extracting(first: preambleBytes)) }) {
      case .bytes(let n):
        output.consume(n)
        preambleBytes -= n
      case .blocked: return .waits
      case .ended, .failed: return unreachable("it ended the connection before TLS began", worker)
      }
    }
    guard let tls = pool?.tls, transport.startTLS(connecting: tls) else {
      return unreachable("TLS cannot be begun", worker)
    }
    phase = .handshake
    worker.wheel.set(
      timer, deadlineMilliseconds: worker.nowMilliseconds + UInt64(worker.plan.config.timeouts.handshakeMilliseconds))
    return shakeHands(worker)
  }

  private func shakeHands(_ worker: Worker) -> Progress {
    switch transport.handshake() {
    case .blocked: return .waits
    case .failed: return unreachable(transport.failure ?? "connection closed", worker)
    case .done: return becomeReady(worker)
    }
  }

  private func becomeReady(_ worker: Worker) -> Progress {
    if http2 != nil, transport.isTLS, !transport.withApplicationProtocol({ $0.equals("h2") }) {
      return unreachable("it does not speak HTTP/2 (ALPN), which the upstream's protocol asks for", worker)
    }
    phase = .ready
    pool?.noteOpened()
    pool?.noteReached()
    preambleBytes = 0
    worker.wheel.set(timer, deadlineMilliseconds: 0)
    if let http2 {
      http2.becameReady()
    } else if let x = exchange {
      x.upstreamProgressMilliseconds = worker.nowMilliseconds
      x.timing.noteReady(worker.nowMicroseconds)
      flush(worker)
      Deadlines.setServer(x, x.downstream, self, worker)
    }
    return .ready
  }

  /// The connection could not be made, in time or at all, or not secured.
  func unreachable(_ why: String, timedOut: Bool = false, _ worker: Worker) -> Progress {
    let isSecuring = phase != .connecting
    if let server = pool {
      let what = timedOut ? (isSecuring ? "no TLS handshake in time" : "no connection in time") : why
      Dial.noteUnreachable(server, isSecuring ? "TLS: \(what)" : what, worker)
    }
    return .fault(isSecuring ? .upstreamTLS : timedOut ? .connectTimeout : .connect)
  }

  /// A client that does not wait for a connection leaves it to find out whether the server can be reached: otherwise
  /// a server that swallows everything would never rest where clients are less patient than `upstream_connect`. One at
  /// a time for each server.
  func leaveConnecting(_ worker: Worker) {
    guard !isStream, phase == .connecting, let server = pool, server.opening == 1 else { return }
    server.detach(self, worker)
    output.reset()
    preambleBytes = 0
    owner?.boundUpstream = nil
    owner = nil
  }

  /// Its time is up.
  func expire(_ worker: Worker) {
    let step: Progress
    switch phase {
    case .free: return
    case .connecting, .preamble, .handshake: step = unreachable("", timedOut: true, worker)
    case .ready:
      if let x = exchange, Deadlines.serverTakesOn(x, self, worker) { return }
      if let stream, let x = exchange { stream.client.noteSilence(milliseconds: x.times.responseMilliseconds(worker)) }
      step = exchange == nil ? .unwanted : .fault(.responseTimeout)
    }
    worker.carryOn(self, step)
  }
}
