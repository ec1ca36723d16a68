// From a parsed head to the first try: who sent the request is settled, a route is found, and a body that is too large is
// refused. What is refused here never reaches an upstream.

import Platform
import Policy
import Wire

enum Begin {
  /// The exchange of the request whose head was just parsed. It takes the parsed head, and gives its own, of a request
  /// before, to be parsed into next. Nil when there is no slot left.
  static func take(_ d: Downstream, _ worker: Worker) -> Exchange? {
    let chunkBytes = worker.pool.chunkBytes
    let taken = worker.exchanges.take(
      replaces: { $0.chunkBytes != chunkBytes },
      make: {
        Exchange(
          slot: $0, pool: worker.pool, middle: worker.streamPool, head: worker.makeHead(),
          headVersion: worker.headVersion)
      })
    guard let x = taken else { return nil }
    let parsed = worker.requestHead
    worker.requestHead = x.headVersion == worker.headVersion ? x.head : worker.makeHead()
    x.head = parsed
    x.headVersion = worker.headVersion
    x.downstream = d
    d.exchange = x
    d.requestCount += 1
    x.timing.number = d.requestCount
    d.phase = .exchange
    d.headSeen = 0
    worker.clearDeadline(d)
    worker.counters.add(.requests)
    x.schemeSource = d.scheme.source
    x.startedMicroseconds = worker.nowMicroseconds
    return x
  }

  /// The exchange of a head that was understood, of `headBytes` bytes at the front of the connection's input.
  static func request(_ x: Exchange, _ headBytes: Int, _ worker: Worker) -> Step {
    let d = x.downstream!
    x.takeHead(headBytes, from: d.input)
    d.input.releaseIfEmpty()
    x.bytesIn = UInt64(headBytes)
    x.method = x.head.method
    x.minorVersion = x.head.minorVersion
    x.wantsWebSocket = x.head.wantsWebSocket || d.stream?.wantsWebSocket == true
    x.expectsContinue = x.head.expectsContinue
    let framing = d.requestFraming(x.head)
    x.request = MessageState(
      framing, trailerBytesMax: worker.plan.trailerLimits(hasGrown: d.isAttested).headBytes,
      goesInChunks: framing == .chunked || framing == .untilClose)
    x.machine.begin(
      hasBody: x.request.hasBody, isIdempotent: x.method.isIdempotent && !x.wantsWebSocket,
      keepAlive: x.head.keepAlive && !worker.isDraining)
    x.downstreamProgressMilliseconds = worker.nowMilliseconds
    if case .outlived = ConnectionRules.adopt(d, worker) { return .refuse(.draining) }
    if d.check != nil, BalancerCheck.asks(d, x.head, in: x.headText) { return BalancerCheck.answer(x, worker) }
    let refusal = Identification.settle(x, d, worker)
    if worker.shared.walks.isArmed { worker.shared.walks.note(x, d, refusal: refusal, worker) }
    if let refusal { return .refuse(refusal) }
    if let server = d.stream?.server, let identity = x.identity, identity.via == .forwarded,
      server.clientResets.areSpent(by: identity.address.clientUnit, nowMilliseconds: worker.nowMilliseconds)
    {
      x.detail = .text("this client takes back too many requests (HTTP/2)")
      return .refuse(.rateLimited)
    }
    if ValidatorProbe.asks(x) { return ValidatorProbe.answer(x, worker) }
    // Whoever asked for a probe before is the edge itself, which checks this validator and is no client of it.
    if let identity = x.identity, let listener = d.listener, d.probedBy != identity.connection {
      listener.watch.note(identity.address, isFirst: d.requestCount == 1 && identity.via != .forwarded)
    }
    switch RouteGate.choose(x, worker) {
    case .refused(let refusal): return .refuse(refusal)
    case .route(let route):
      x.group = route.group
      x.times = route.times
      if route.needsRequestID { x.requestID = RequestID.settle(x, route.requestIDMode) }
      if let demands = route.demands, let step = demands.step(x, worker) { return step }
      if isBodyTooLarge(x, worker) { return .refuse(.bodyTooLarge) }
      return send(x, route, worker)
    }
  }

  static func isBodyTooLarge(_ x: Exchange, _ worker: Worker) -> Bool {
    let most = x.times.bodyBytesMax(worker)
    if most > 0, case .length(let length) = x.request.framing { return length > most }
    return false
  }

  /// The first try of a request that its route lets pass, or the route's own answer to it.
  static func send(_ x: Exchange, _ route: RoutePlan, _ worker: Worker) -> Step {
    if let answer = route.answer { return RouteAnswering.begin(x, route, answer, worker) }
    guard let group = route.group else { return .refuse(.routeNone) }
    x.machine.allow(group.retries)
    group.budget.noteRequest(nowMilliseconds: worker.nowMilliseconds)
    return Attempt.begin(x, group, worker)
  }

  /// The exchange of a check in HTTP/1.0 without Host, whose connection ends with the answer.
  static func check(_ x: Exchange, _ worker: Worker) -> Step {
    x.bytesIn = UInt64(x.downstream.input.count)
    x.method = x.head.method
    x.minorVersion = 0
    x.wantsWebSocket = false
    x.expectsContinue = false
    x.request = MessageState(.none, trailerBytesMax: 0)
    x.machine.begin(hasBody: false, isIdempotent: false, keepAlive: false)
    return BalancerCheck.answer(x, worker)
  }

  /// The exchange of a head that is refused. `headBytes`: its length where it was understood, or 0.
  static func refused(_ x: Exchange, _ refusal: Refusal, headBytes: Int, _ worker: Worker) -> Step {
    let d = x.downstream!
    x.bytesIn = UInt64(headBytes > 0 ? headBytes : d.input.count)
    if headBytes > 0 { x.takeHead(headBytes, from: d.input) }
    x.method = .other
    x.minorVersion = 1
    x.wantsWebSocket = false
    x.expectsContinue = headBytes > 0 && x.head.expectsContinue
    // Of a request that was understood the body is read and discarded.
    x.request = MessageState(
      headBytes > 0 ? d.requestFraming(x.head) : .none,
      trailerBytesMax: worker.plan.trailerLimits(hasGrown: d.isAttested).headBytes)
    x.machine.begin(
      hasBody: x.request.hasBody, isIdempotent: false, keepAlive: headBytes > 0 && x.head.keepAlive)
    if refusal == .targetForm { x.detail = .text(x.head.targetFault.text) }
    if headBytes == 0, d.beginsWithTLS { x.detail = .text("TLS came to a listener without `tls`") }
    return .refuse(refusal)
  }
}
