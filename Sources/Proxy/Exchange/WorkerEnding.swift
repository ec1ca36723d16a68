// Ends of exchanges and connections: faults become retries, answers or resets by the machine's verdict; every exchange
// is recorded exactly once.

import Platform
import Policy
import Wire

extension Worker {
  /// How long a client is read after its answer, so that it gets our last bytes and not a reset: in all, and without a
  /// byte. Bounded by time, for a client that reads only after it has sent everything sends as much as it has.
  static let discardMilliseconds: UInt64 = 30_000
  static let discardQuietMilliseconds: UInt64 = 5_000
  /// A response of more is seen to the client before its connection is closed; less is left to the kernel.
  private static let kernelBytesMax: UInt64 = 128 * 1024
  /// Reads of one closing connection in one turn.
  private static let lingerReadsPerTurn = 16
  /// How a TLS handshake begins (RFC 8446 section 5.1).
  private static let handshakeRecordType: UInt8 = 22

  // MARK: Faults

  /// Does what the machine decides about a fault. `refusal` names it more closely in the record of an abort.
  func fault(_ x: Exchange, _ fault: ExchangeMachine.Fault, refusal: Refusal? = nil) {
    guard x.isActive else { return }
    switch x.machine.fault(fault) {
    case .retry:
      counters.add(.retries)
      drop(x)
      tryAgain(x)
    case .retryLater: waitForStart(x)
    case .answer(let refusal): answer(x, refusal)
    case .abort(let name): abandon(x, refusal ?? name)
    case .passOn: settleLater(x.downstream)
    }
  }

  /// Sends the held request once more, signed anew.
  func tryAgain(_ x: Exchange) {
    guard let d = x.downstream, let group = x.group else { return }
    x.isBackingOff = false
    guard x.machine.replayable else {
      answer(x, .upstreamReset)
      return
    }
    x.machine.rewind(hasBody: x.hasBody)
    x.resentBytes = 0
    x.setBody(x.requestFraming, trailerBytesMax: trailerLimits(x.isVerified).headBytes)
    x.requestBodyBytes = 0
    x.bytesIn = UInt64(x.headBytes)
    x.requestTrailersSent = false
    x.upstreamDeaf = false
    x.holdUntilMilliseconds = 0
    x.holdIsOver = false
    clearDeadline(d)
    attempt(x, d, group)
    enqueue(d)
  }

  /// Lets go of the exchange's upstream connection, which is in no state to be kept.
  func drop(_ x: Exchange) {
    guard let u = x.upstream else { return }
    x.upstream = nil
    u.exchange = nil
    u.pool?.active -= 1
    close(u, reset: true)
  }

  // MARK: Answers of our own

  /// Refuses a request with its refusal's status. The exchange ends when the answer has gone out.
  func answer(_ x: Exchange, _ refusal: Refusal) {
    guard let d = x.downstream, x.machine.response == .awaiting else { return }
    drop(x)
    x.isBackingOff = false
    x.refusal = refusal
    counters.add(refusal)
    guard refusal.status > 0 else {
      abandon(x, refusal)
      return
    }
    let keep = !refusal.closes && x.machine.keepsDownstream && !mayNotSend(x) && !isDraining
    x.status = Int(refusal.status)
    let before = d.output.count
    HeadWriter.writeAnswer(
      status: x.status, reason: HeadWriter.reason(x.status),
      sentence: isTriedOut(d) && refusal.isNamedOnLoopback ? refusal.name : "", keepAlive: keep,
      isHead: x.method == .head,
      marksStarting: refusal == .starting, date: date.imf.span, into: d.output)
    x.bytesOut += UInt64(d.output.count - before)
    x.machine.answered(keepAlive: keep)
    enqueue(d)
  }

  /// The client is a program on this host, and speaks for nobody else: a proxy or an edge there would pass on what it is told.
  private func isTriedOut(_ d: Downstream) -> Bool {
    guard let listener = d.listener, d.peer?.unmapped.isLoopback == true else { return false }
    return listener.trust.evidence(of: d.rule) == .socket
  }

  /// Refuses a head that could not be taken. `headBytes`: its length where it was understood, or 0.
  func refuseHead(_ d: Downstream, _ refusal: Refusal, headBytes: Int) {
    guard let x = takeExchange(d) else { return }
    x.bytesIn = UInt64(headBytes > 0 ? headBytes : d.input.count)
    if headBytes > 0 { x.takeHead(headBytes, from: d.input) }
    x.method = .other
    x.minorVersion = 1
    x.wantsWebSocket = false
    x.expectsContinue = headBytes > 0 && x.head.expectsContinue
    // Of a request that was understood the body is read and discarded.
    x.setBody(headBytes > 0 ? x.head.framing : .none, trailerBytesMax: trailerLimits(isAttested(d)).headBytes)
    x.machine.begin(hasBody: x.hasBody, isIdempotent: false, keepAlive: headBytes > 0 && x.head.keepAlive, retries: 0)
    if refusal == .targetForm { x.detail = .text(x.head.targetFault.text) }
    if headBytes == 0, d.input.withReadable({ !$0.isEmpty && $0[0] == Worker.handshakeRecordType }) {
      x.detail = .text("TLS came to a listener without `tls`")
    }
    answer(x, refusal)
  }

  // MARK: Ends

  /// A response went out whole.
  func finish(_ x: Exchange, _ d: Downstream, _ ending: ExchangeMachine.Ending) {
    record(x)
    // What could not be sent is gone from its buffer: that connection is out of step.
    let isClean = !x.upstreamDeaf && !x.serverIsBent && !x.responseDecoder.isBent
    release(x, keep: ending.keepUpstream && isClean)
    // Of a head that was refused it is not known where its request ends.
    let mayComeMore = x.machine.request != .done || x.headBytes == 0
    let isLarge = x.bytesOut > Worker.kernelBytesMax
    endExchange(x, d)
    if ending.keepDownstream, !isDraining {
      d.phase = .head
      d.headSeen = 0
      clearDeadline(d)
      if !d.input.isEmpty { setDeadline(d, afterMilliseconds: plan.config.timeouts.headMilliseconds) }
    } else {
      closeInOrder(d, waits: mayComeMore || isLarge)
    }
  }

  /// Ends an exchange that cannot end well: the connection ends so that the client cannot take what it has for the whole.
  func abandon(_ x: Exchange, _ refusal: Refusal) {
    guard let d = x.downstream else { return }
    if x.isTunnel {
      endTunnel(x)
      return
    }
    if x.refusal == nil {
      x.refusal = refusal
      counters.add(refusal)
    }
    record(x)
    leaveConnecting(x)
    drop(x)
    // What came is given on; a reset would take it back. Where only the connection's end tells the length, the reset is
    // what tells the client that this is not it.
    let tellsByReset = x.endsWithConnection
    if refusal != .clientReset { _ = flush(d) }
    endExchange(x, d)
    // Nor is anything kept in the kernel for a client that takes nothing.
    close(d, reset: tellsByReset || refusal == .clientReset || refusal == .clientTimeout)
  }

  /// Ends our side, and waits for the client's if it may still be sending: what came after a close would be answered
  /// with a reset, which can take our last bytes from it.
  private func closeInOrder(_ d: Downstream, waits: Bool) {
    if let u = d.boundUpstream { close(u) }
    d.transport.finish()
    if !waits, d.input.isEmpty, !d.transport.mayRead {
      close(d)
      return
    }
    d.phase = .linger
    d.input.removeAll()
    d.lingerEndMilliseconds = nowMilliseconds + Worker.discardMilliseconds
    d.lingerOwedBytes = .max
    wheel.set(d.timer, deadlineMilliseconds: nowMilliseconds + Worker.discardQuietMilliseconds)
  }

  func linger(_ d: Downstream) {
    for _ in 0..<Worker.lingerReadsPerTurn {
      switch d.transport.read(into: d.input) {
      case .bytes:
        d.input.removeAll()
        wheel.set(
          d.timer,
          deadlineMilliseconds: min(d.lingerEndMilliseconds, nowMilliseconds + Worker.discardQuietMilliseconds))
      case .blocked:
        d.input.releaseIfEmpty()
        return
      case .ended:
        // It sends no more, but may still be taking.
        if !d.transport.isOwedRoom { close(d) }
        return
      case .failed:
        close(d)
        return
      }
    }
    enqueue(d)
  }

  /// A closing connection's time is over, unless the client has taken some of what the kernel holds for it.
  func lingerExpired(_ d: Downstream) {
    let owed = d.transport.unacknowledgedBytes
    guard owed > 1, owed < d.lingerOwedBytes else {
      closeLate(d)
      return
    }
    d.lingerOwedBytes = owed
    wheel.set(d.timer, deadlineMilliseconds: nowMilliseconds + Worker.discardQuietMilliseconds)
  }

  /// Closes a connection whose time is over. What its peer did not take in all that time is not kept for it.
  func closeLate(_ d: Downstream) { close(d, reset: d.transport.isOwedRoom) }

  /// Refuses a connection that never came to a request: nothing is sent, one line is written.
  func refuseConnection(_ d: Downstream, _ refusal: Refusal, detail: RefusalDetail = .none) {
    counters.add(refusal)
    recordRefused(d, refusal, detail)
    close(d)
  }

  /// Tells a client that speaks plain HTTP to a listener with TLS what is wrong, and ends its connection. Nothing that it
  /// sent is read as a request.
  func answerPlainHTTP(_ d: Downstream) {
    counters.add(.plainHttp)
    recordRefused(d, .plainHttp, .text("a request in plain HTTP came where TLS is spoken"))
    HeadWriter.writeAnswer(
      status: Int(Refusal.plainHttp.status), reason: HeadWriter.reason(Int(Refusal.plainHttp.status)),
      sentence: "This port speaks HTTPS, and the request came as plain HTTP.", keepAlive: false, isHead: false,
      marksStarting: false, date: date.imf.span, into: d.output)
    guard flush(d) else {
      close(d)
      return
    }
    closeInOrder(d, waits: true)
  }

  /// Frees the connection and everything that lives and dies with it.
  func close(_ d: Downstream, reset: Bool = false) {
    guard d.phase != .free else { return }
    if let u = d.boundUpstream { close(u) }
    if let client = d.countedClient { shared.giveClient(client) }
    clearDeadline(d)
    d.transport.close(reset: reset)
    if let x = d.exchange { endExchange(x, d) }
    d.clear()
    downstreams.give(d.slot)
    shared.giveConnection()
  }
}
