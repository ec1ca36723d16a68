// How an exchange ends: with an answer of our own, whole, or cut so that the client sees it. Each is recorded exactly once.

import Platform
import Policy
import Wire

extension Exchange {
  // MARK: An answer of our own

  /// Answers with a refusal's status. The exchange ends when the answer has gone out.
  func answer(_ refusal: Refusal, _ worker: Worker) -> Step {
    guard machine.response == .awaiting else { return .blocked }
    drop(worker)
    ServerQueue.leave(self, worker)
    RouteLogin.leave(self, worker)
    wait = .none
    awaitsRequest = false
    self.refusal = refusal
    worker.counters.add(refusal)
    guard refusal.status > 0 else {
      abandon(refusal, worker)
      return .over
    }
    // A stream is no connection that could be out of step: what closes one is no reason to lose the answer.
    let mayGoOn = downstream.stream.map { $0.resetCode == 0 } ?? (!refusal.closes && !worker.isDraining)
    let keep = mayGoOn && machine.keepsDownstream && !mayNotSend
    status = Int(refusal.status)
    bytesOut += UInt64(
      downstream.writeAnswer(
        status: status, sentence: downstream.isTriedOut && refusal.isNamedOnLoopback ? refusal.name : "",
        keepAlive: keep, isHead: method == .head, mark: ValidatorMark.own(self, worker),
        retryAfterSeconds: retryAfterSeconds, parts: AnswerParts(of: refusal, self, worker), worker))
    machine.answered(keepAlive: keep)
    return .moved
  }

  // MARK: Ends

  /// Both messages are over, and what was written has gone out: the connection can have the next request, or closes.
  func finish(_ ending: ExchangeMachine.Ending, _ worker: Worker) {
    let d = downstream!
    worker.log.record(self, worker)
    // What could not be sent is gone from its buffer: that connection is out of step.
    let isClean = !upstreamDeaf && !serverIsIrregular && !response.decoder.isIrregular
    release(worker, keep: ending.keepUpstream && isClean)
    // Of a head that was refused it is not known where its request ends.
    let mayComeMore = machine.request != .done || headBytes == 0
    let isLarge = bytesOut > Downstream.kernelBytesMax
    giveBack(worker)
    if let stream = d.stream {
      d.endStream(stream)
    } else if ending.keepDownstream, !worker.closesKept {
      d.phase = .head
      d.headSeen = 0
      if !d.input.isEmpty {
        worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      }
    } else {
      // A client that was told that its connection stays open, before the process began to drain, may have sent more.
      d.closeInOrder(waits: mayComeMore || isLarge || ending.keepDownstream, worker)
    }
  }

  /// Ends an exchange that cannot end well: the connection ends so that the client cannot take what it has for the whole.
  func abandon(_ refusal: Refusal, _ worker: Worker) {
    if isTunnel {
      Tunnel.end(self, worker)
      return
    }
    let d = downstream!
    if self.refusal == nil {
      self.refusal = refusal
      worker.counters.add(refusal)
    }
    worker.log.record(self, worker)
    if let u = upstream { Dial.leaveConnecting(u, worker) }
    drop(worker)
    // What the server sent so far is passed on; a reset could take it from the client again. Where the response ends with
    // its connection, an orderly close would make a cut response look whole: then it is reset.
    let tellsByReset = endsWithConnection
    if refusal != .clientReset { _ = d.flush() }
    giveBack(worker)
    // Nor is anything kept in the kernel for a client that takes nothing.
    d.close(worker, reset: tellsByReset || refusal == .clientReset || refusal == .clientTimeout)
  }

  /// Ends it whatever is under way. Where the client has the whole answer, and only sends what nobody reads, it has ended well.
  func cut(_ refusal: Refusal, _ worker: Worker) {
    if hasWholeAnswer {
      machine.noteDownstreamCloses()
      if let ending = machine.ending { return finish(ending, worker) }
    }
    abandon(refusal, worker)
  }

  /// All of the response has left, though the request may not be over.
  var hasWholeAnswer: Bool {
    guard !isTunnel, machine.response == .done, downstream.isFlushed else { return false }
    return downstream.stream.map { $0.isEndOut || $0.resetCode != 0 } ?? true
  }

  /// The exchange is over; the next one may have its slot at once. A connection to a server that it still has goes with it, for it
  /// would belong to the next.
  func giveBack(_ worker: Worker) {
    CompressedResponse.giveBack(self, worker)
    drop(worker)
    ServerQueue.leave(self, worker)
    downstream.exchange = nil
    worker.wheel.set(timer, deadlineMilliseconds: 0)
    clear()
    worker.exchanges.give(slot)
  }

  // MARK: Its connection to a server

  /// Closes the connection to the server, which is in no state to be kept.
  func drop(_ worker: Worker) {
    guard let u = upstream else { return }
    u.pool?.detach(u, worker)
    u.close(worker, reset: true)
  }

  /// Gives the connection to the server back: kept for another request if it may be, or closed.
  func release(_ worker: Worker, keep: Bool) {
    guard let u = upstream, let server = u.pool else { return }
    server.detach(u, worker)
    u.served += 1
    // A stream is over; its connection goes on.
    guard !u.isStream else {
      u.close(worker)
      return
    }
    guard keep, u.phase == .ready, u.input.isEmpty, u.isFlushed, !server.isRetired, !worker.isDraining else {
      u.close(worker)
      return
    }
    u.input.releaseIfEmpty()
    u.output.releaseIfEmpty()
    // One that has an owner waits for its client's next request, and ends with that client's connection at the latest.
    let isKept: Bool
    if let owner = u.owner {
      isKept = owner.stream.map { $0.server.keep(u) } ?? true
      if owner.isStream { owner.boundUpstream = nil }
    } else {
      isKept = server.keep(u, worker)
    }
    guard isKept else {
      u.close(worker)
      return
    }
    u.setIdleDeadline(worker)
    // Its end, or bytes too many, may have come together with the response: no other event will tell.
    if u.transport.mayRead { u.checkIdle(worker) }
  }
}
