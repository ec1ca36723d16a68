// An exchange on its way. `advance` takes one step after another until nothing moves, and is the only place where a fault
// becomes a retry, an answer or the end: whatever is called from here returns what it found.
//
//   event ─► advance ─► step ─┬─ moved ──► next step
//              ▲              ├─ blocked ► sent at the end of the turn (Worker.flushBothSides)
//              └── verdict ◄──┴─ fault     retry | answer | abort | pass on
//
// Bytes stay in the buffer of the side they came from until the other side takes them: a slow reader fills the buffer, a full
// buffer is not read into, and the kernel tells the sender.

import Platform
import Policy
import Wire

extension Exchange {
  /// Steps of one exchange in one turn, before other connections have theirs.
  private static let stepsPerTurn = 128

  /// Does whatever can be done now. `first`: what an event, or the beginning, has come to.
  func advance(_ worker: Worker, _ first: Step = .moved) {
    let d = downstream!
    var step = first
    var steps = 0
    while true {
      switch step {
      case .moved:
        guard steps < Exchange.stepsPerTurn else {
          worker.enqueue(d)
          worker.flushLater(d)
          return
        }
        steps += 1
        step = nextStep(worker)
      case .blocked:
        worker.flushLater(d)
        return
      case .parked, .over: return
      case .refuse(let refusal): step = answer(refusal, worker)
      case .fault(let fault): step = judge(fault, worker)
      }
    }
  }

  /// What becomes of a fault. What it says of the server is noted first.
  @inline(never) private func judge(_ fault: ExchangeMachine.Fault, _ worker: Worker) -> Step {
    ServerReports.noteFailure(fault, of: self, worker)
    if fault == .unprocessed, let u = upstream, let stream = u.stream {
      machine.noteUnprocessed(isPassing: stream.client.refusedInPassing(u))
    }
    return act(on: verdict(on: fault, worker), worker)
  }

  /// What the machine says of a fault, with the upstream's budget for further tries.
  private func verdict(on fault: ExchangeMachine.Fault, _ worker: Worker) -> ExchangeMachine.Verdict {
    let verdict = machine.fault(fault, mayRetry: group?.budget.allows(nowMilliseconds: worker.nowMilliseconds) ?? false)
    if machine.isRetryDenied {
      worker.counters.add(.retriesDenied)
      if verdict != .passOn, case .none = detail { detail = Exchange.budgetIsUsedUp }
    }
    return verdict
  }

  private func act(on verdict: ExchangeMachine.Verdict, _ worker: Worker) -> Step {
    switch verdict {
    case .retry, .resend:
      worker.counters.add(.retries)
      timing.retries += 1
      if verdict == .retry { group?.budget.noteRetry(nowMilliseconds: worker.nowMilliseconds) }
      drop(worker)
      return tryAgain(worker)
    case .retryLater: return StartWait.begin(self, worker)
    case .answer(let refusal) where isTunnel:
      // Nothing is answered behind a tunnel's beginning.
      self.refusal = refusal
      worker.counters.add(refusal)
      abandon(refusal, worker)
      return .over
    case .answer(let refusal): return .refuse(refusal)
    case .abort(let refusal):
      abandon(refusal, worker)
      return .over
    case .passOn: return .blocked
    }
  }

  /// Sends the held request once more, signed anew; unless its route was closed since it began, for no server gets it from then on.
  func tryAgain(_ worker: Worker) -> Step {
    guard let group else { return .refuse(.upstreamNone) }
    ServerQueue.leave(self, worker)
    wait = .none
    guard machine.replayable else { return .refuse(.upstreamReset) }
    if worker.waitsForLine() { return waitForLine(worker) }
    if let refusal = RouteGate.refusal(self, worker) { return .refuse(refusal) }
    rewind(trailerBytesMax: worker.plan.trailerLimits(hasGrown: isVerified).headBytes)
    worker.wheel.set(timer, deadlineMilliseconds: 0)
    return Attempt.begin(self, group, worker)
  }

  private func nextStep(_ worker: Worker) -> Step {
    if isWaiting { return .parked }
    if machine.isDiscarding {
      if let stream = downstream.stream, !EarlyAnswer.readsRest(of: self, stream) { machine.noteDownstreamCloses() }
      release(worker, keep: false)
      return discardRequest(worker)
    }
    if awaitsRequest { return EarlyAnswer.readRequest(of: self, worker) }
    guard let u = upstream, u.phase == .ready else {
      return route?.answer != nil && machine.response == .body ? AnswerBody.relay(self, worker) : .blocked
    }
    var isMoving = false
    if machine.request == .body {
      switch relayRequest(u, worker) {
      case .moved: isMoving = true
      case .blocked: break
      case let other: return other
      }
    }
    switch relayResponse(u, worker) {
    case .blocked: return isMoving ? .moved : .blocked
    case let other: return other
    }
  }

  // MARK: The request's body

  private func relayRequest(_ u: Upstream, _ worker: Worker) -> Step {
    switch downstream.nextPiece(of: self, worker) {
    case .data(let count):
      let most = usable(count, isDivisible: true, u, worker)
      guard most > 0 else { return waitForServer(u, worker) }
      return sendBody(most, u, worker)
    case .trailers(let count):
      guard usable(count, isDivisible: false, u, worker) == count else { return waitForServer(u, worker) }
      return sendTrailers(count, u, worker)
    case .end:
      guard u.writeEnd(of: self, worker) else { return .blocked }
      downstream.input.releaseIfEmpty()
      machine.requestEnded()
      upstreamProgressMilliseconds = worker.nowMilliseconds
      return .moved
    case .head, .blocked: return waitForServer(u, worker)
    case .fault(let fault): return .fault(fault)
    }
  }

  /// Nothing more of the request comes now: what there is of it leaves.
  private func waitForServer(_ u: Upstream, _ worker: Worker) -> Step {
    u.flush(worker)
    return .blocked
  }

  /// How much of `count` bytes of payload or trailers can be used now: all, or less where the rest has to be held back, or
  /// none. What is held for another try makes way when room is needed.
  private func usable(_ count: Int, isDivisible: Bool, _ u: Upstream, _ worker: Worker) -> Int {
    guard let room = holdableRoom, count > room else { return count }
    // Of a stream that its server turns out not to have taken, no more has left than the window that it had at first. So that another try
    // can be made, what is held is given up only when more is asked for.
    if let stream = u.stream {
      if room > 0, isDivisible { return room }
      u.flush(worker)
      // One that is over has lost what it had not sent.
      guard u.output.isEmpty, !stream.isClosed, !stream.isReset else { return room }
    }
    guard case .held = StartWait.holdBack(self, u, worker) else {
      discardHeld()
      return count
    }
    return room
  }

  private func sendBody(_ count: Int, _ u: Upstream, _ worker: Worker) -> Step {
    let most = times.bodyBytesMax(worker)
    if most > 0, request.bodyBytes + UInt64(count) > most { return .fault(.request(.bodyTooLarge)) }
    // The upstream takes no more. What it said before is for the reading side to find; once that is on its way to the
    // client, the client may go on sending.
    guard !upstreamDeaf else {
      guard machine.response != .awaiting else { return .blocked }
      useBody(count)
      return .moved
    }
    switch u.writeBody(count, of: self, worker) {
    case .took(let n):
      request.bodyBytes += UInt64(n)
      useBody(n)
      return .moved
    case .blocked: return .blocked
    case .fault(let fault): return .fault(fault)
    }
  }

  /// Passes a trailer section on, without what speaks of identity; a validator refuses one that does.
  private func sendTrailers(_ count: Int, _ u: Upstream, _ worker: Worker) -> Step {
    let trailers = worker.trailers(of: self)
    if let refusal = readTrailers(count, into: trailers, worker) { return .fault(.request(refusal)) }
    if trailers.hasIdentity, isVerified {
      guard worker.plan.config.identity.mode == .observe else { return .fault(.request(.trailerIdentity)) }
      if refusal == nil {
        refusal = .trailerIdentity
        worker.counters.add(.trailerIdentity)
      }
    }
    guard u.makeRoom(forTrailers: count, worker) else { return .blocked }
    withBody { RouteLogin.withhold(trailers, of: $0.extracting(first: count)) }
    guard u.write(trailers, count, of: self) else { return .fault(.request(.headTooLarge)) }
    request.trailersSent = true
    useBody(count)
    return .moved
  }

  /// Reads the trailer section at the front of the request's body. What is wrong with it; nil where it is whole.
  func readTrailers(_ count: Int, into trailers: TrailerSection, _ worker: Worker) -> Refusal? {
    let limits = worker.plan.trailerLimits(hasGrown: isVerified)
    return switch withBody({ trailers.parse($0.extracting(first: count), limits: limits) }) {
    case .complete: nil
    case .refused(let refusal): refusal
    case .incomplete: .framingChunk
    }
  }

  /// One step of a request whose response is over: its rest is read and used for nothing.
  func discardRequest(_ worker: Worker) -> Step {
    discardHeld()
    switch downstream.nextPiece(of: self, worker) {
    case .data(let count):
      downstream.stream?.discardedBytes += UInt64(count)
      useBody(count)
      return .moved
    case .trailers(let count):
      if readTrailers(count, into: worker.trailers, worker) == nil {
        useBody(count)
        return .moved
      }
      machine.noteDownstreamCloses()
    case .end: machine.requestEnded()
    case .head, .blocked: downstream.input.releaseIfEmpty()
    case .fault: machine.noteDownstreamCloses()
    }
    return .blocked
  }

  // MARK: The response

  private func relayResponse(_ u: Upstream, _ worker: Worker) -> Step {
    switch machine.response {
    case .awaiting: return relayResponseHead(u, worker)
    case .body: return relayResponseBody(u, worker)
    case .done: return .blocked
    }
  }

  private func relayResponseHead(_ u: Upstream, _ worker: Worker) -> Step {
    // An interim response must not pile up behind a client that does not read.
    if downstream.output.room < u.input.capacity / 2, !downstream.output.isEmpty {
      guard downstream.flush() else { return .fault(.clientGone) }
      guard downstream.output.isEmpty else { return .blocked }
    }
    // A stream's heads wait in its session.
    if let stream = downstream.stream, stream.headsWaiting > 0 {
      guard downstream.flush() else { return .fault(.clientGone) }
      guard stream.headsWaiting == 0 else { return .blocked }
    }
    switch u.nextHead(of: self, worker) {
    case .head(let length):
      switch downstream.makeRoom(forHead: length + HeadWriter.responseGrowthBytes + addedToResponse) {
      case .room: return takeResponse(length, u, worker)
      case .blocked: return .blocked
      case .never: return badResponse(.headTooLarge)
      case .clientGone: return .fault(.clientGone)
      }
    case .blocked: return .blocked
    case .fault(let fault): return .fault(fault)
    case .data, .trailers, .end: preconditionFailure("a head was asked for")
    }
  }

  /// The most that the route adds to a response's head.
  private var addedToResponse: Int {
    route?.responseEdit?.lines.bytesMax(hostBytes: Int(head.authority.count)) ?? 0
  }

  /// The log says what it was that cannot be taken.
  func badResponse(_ what: ResponseFault) -> Step {
    detail = .text(what.text)
    return .fault(.response(what))
  }

  /// Acts on a whole response head at the front of the upstream's input.
  private func takeResponse(_ length: Int, _ u: Upstream, _ worker: Worker) -> Step {
    let head = worker.responseHead
    u.headSeen = 0
    if head.isIrregular { serverIsIrregular = true }
    let mark = isSigned ? u.input.withReadable { ValidatorMark.read($0, head) } : .none
    if head.status == 101 {
      guard wantsWebSocket, head.wantsWebSocket else { return badResponse(.upgrade) }
      if let stream = downstream.stream {
        guard u.input.withReadable({ WebSocketKey.isAccepted($0, head, stream) }) else { return badResponse(.upgrade) }
      }
      if isSigned { ValidatorWatch.note(self, mark, u, worker) }
      ServerReports.noteStatus(head.status, of: u, self, worker)
      downstream.write(head, length, from: u, for: self, .none, .asIs, isTunnel: true, worker)
      u.input.consume(length)
      if downstream.stream?.isHeadTooLarge == true { return badResponse(.headTooLarge) }
      Tunnel.begin(self, u, worker)
      return .parked
    }
    if head.status < 200 {
      u.noteAnswered()
      interimCount += 1
      guard interimCount <= Exchange.interimMax else { return badResponse(.interimFlood) }
      // The word that we asked for is not the client's. RFC 9110 section 15.2: none to one of HTTP/1.0.
      let isOurs = head.status == 100 && asksContinue
      if isOurs { asksContinue = false } else if head.status == 100 { expectsContinue = false }
      if minorVersion > 0, !isOurs {
        downstream.write(head, length, from: u, for: self, .none, .asIs, isTunnel: false, worker)
      }
      u.input.consume(length)
      return .moved
    }
    // What says by its head alone that another try is to be made; where none is, it is relayed as any other.
    var fault: ExchangeMachine.Fault?
    if mark == .starting {
      fault = .starting
    } else {
      u.noteAnswered()
      ServerReports.noteStatus(head.status, of: u, self, worker)
      if group?.config.retries.statuses.contains(head.status) == true { fault = .badStatus }
    }
    if let fault {
      let verdict = verdict(on: fault, worker)
      if verdict != .passOn { return act(on: verdict, worker) }
    }
    if isSigned { ValidatorWatch.note(self, mark, u, worker) }
    var outgoing = HeadWriter.ResponseFraming(head, requestWasHead: method == .head, clientMinorVersion: minorVersion)
    var framing = head.framing
    // A stream's end says that there is no body; HTTP/1 has to be told.
    if u.stream?.endedWithHead == true, framing == .untilClose {
      framing = .none
      outgoing = downstream.isStream ? .none : .length(0)
    }
    if case .close = outgoing {
      machine.noteDownstreamCloses()
      endsWithConnection = true
    }
    if mayNotSend || worker.isDraining { machine.noteDownstreamCloses() }
    // A server that gives up waiting says 408 by itself (RFC 9110 section 15.5.9): to no request, and it may say more to the next.
    machine.responseHead(keepAlive: head.keepAlive && head.status != 408)
    // No other try is made from here on, and a response may take hours.
    discardHeld()
    status = head.status
    responseStartedMicroseconds = worker.nowMicroseconds
    // The time of its content begins.
    upstreamProgressMilliseconds = worker.nowMilliseconds
    let coding = route?.compression.map { CompressedResponse.choose(self, $0, head, u, &outgoing, worker) } ?? .asIs
    var isChunked = false
    if case .chunked = outgoing { isChunked = true }
    response = MessageState(
      framing, trailerBytesMax: worker.plan.trailerLimits(hasGrown: isSigned).headBytes, goesInChunks: isChunked,
      isLenient: true)
    response.isCoded = coding.isGzip
    downstream.write(head, length, from: u, for: self, outgoing, coding, isTunnel: false, worker)
    u.input.consume(length)
    if downstream.stream?.isHeadTooLarge == true { return badResponse(.headTooLarge) }
    if !response.hasBody { machine.responseEnded() }
    return .moved
  }

  private func relayResponseBody(_ u: Upstream, _ worker: Worker) -> Step {
    if let compressor, let step = CompressedResponse.relay(self, compressor, u, worker) { return step }
    switch u.nextPiece(of: self, worker) {
    case .data(let count):
      switch downstream.writeBody(count, from: u.input, for: self) {
      case .took(let n):
        u.useBody(n, of: self)
        return .moved
      case .blocked: return .blocked
      case .fault(let fault): return .fault(fault)
      }
    case .trailers(let count):
      // Judged before they wait: for more than the limit there may never be room.
      let outcome = u.input.withReadable {
        worker.responseTrailers.parse(
          $0.extracting(first: count), limits: worker.plan.trailerLimits(hasGrown: isSigned))
      }
      guard case .complete = outcome else { return badResponse(.trailers) }
      guard downstream.makeRoom(forTrailers: count) else { return .blocked }
      if response.isCoded { u.input.withReadable { ContentDigest.withhold($0, worker.responseTrailers) } }
      downstream.write(worker.responseTrailers, count, from: u, for: self)
      u.useBody(count, of: self)
      return .moved
    case .end:
      guard downstream.writeEnd(of: self) else { return .blocked }
      machine.responseEnded()
      // Where the request is over too, all that is left is to send.
      return machine.request == .done ? .blocked : .moved
    case .head, .blocked: return .blocked
    case .fault(let fault): return .fault(fault)
    }
  }
}
