// What becomes of one request and its response: decided here, done by the worker. A value without sockets or clocks,
// so that every fault can be put in at every step in a test.
//
//             begin                 requestEnded
//   request:  idle ───► body ─────────────────────► done
//                        │  (no body: done at once)
//             responseHead            responseEnded
//   response: awaiting ───────► body ─────────────► done      both done ──► Ending
//                ▲    │ fault
//                └────┴──► retry (signed anew) | answer (a refusal's status) | abort (the client sees a reset)
//
//   A response that is done before its request: the rest of the request is discarded, then Ending.
//
// Invariants. Nothing is answered once a response head went out. Nothing is tried again
// - once bytes that are no longer held were sent;
// - once a response's head came in, unless it asks for another try by itself: a status that the upstream's configuration names
//   (`badStatus`), or a validator that has just started (`starting`);
// - once anything was sent of a request that is not idempotent, unless the server says that it did nothing with it: that validator,
//   or a server of HTTP/2 (`unprocessed`, RFC 9113 section 8.7).

import Policy
import Wire

package struct ExchangeMachine: Sendable {
  package enum RequestPhase: Sendable { case idle, body, done }
  package enum ResponsePhase: Sendable { case awaiting, body, done }

  package private(set) var request = RequestPhase.idle
  package private(set) var response = ResponsePhase.awaiting
  /// Bytes of this request were handed to the kernel on the present try.
  package private(set) var sent = false
  /// The present try's connection had served before, so that its end may only mean that it was stale.
  package private(set) var reused = false
  /// Everything taken from the client is still held and can be sent again.
  package private(set) var replayable = true
  package private(set) var isIdempotent = false
  /// Further tries that are left, and what they may follow.
  private var retries = Retries()
  /// After the last fault another try was not made only because the budget for them is used up.
  package private(set) var isRetryDenied = false
  /// A kept connection that this exchange had was stale.
  package private(set) var hasMetStale = false
  private var unprocessedTriesLeft = 0
  /// What did not process it last was a connection that ends or begins.
  private var isPassedOver = false
  /// It was turned away as often as it is sent again, perhaps by servers that close their connections behind each answer: now it is to be
  /// the first on one, which they take if they take any. Not where a server refuses streams, as one does that has too many.
  package var goesFirst: Bool { unprocessedTriesLeft == 0 && isPassedOver }
  private var startingTriesLeft = 0
  private var downstreamKeepAlive = false
  private var upstreamKeepAlive = false

  /// How often a server may say that it did nothing with the request, apart from the configured retries.
  package static let unprocessedTriesMax = 2
  /// How often a validator that has just started is asked again, in the edge's next second each time.
  package static let startingTriesMax = 6

  package init() {}

  /// The further tries that an upstream's configuration allows. Made once for each plan, because the operations on a set of
  /// occasions are generic code of another module: about 800 instructions if each request asked anew, and an exclusivity check
  /// wherever the machine is looked at.
  package struct Retries: Sendable {
    fileprivate var left = 0
    fileprivate let afterConnect: Bool
    fileprivate let afterReset: Bool
    fileprivate let afterTimeout: Bool

    /// None.
    fileprivate init() {
      afterConnect = false
      afterReset = false
      afterTimeout = false
    }

    package init(_ count: Int, on occasions: Config.Retries.Occasions) {
      left = count
      afterConnect = occasions.contains(.connect)
      afterReset = occasions.contains(.reset)
      afterTimeout = occasions.contains(.timeout)
    }
  }

  /// What went wrong.
  package enum Fault: Equatable, Sendable {
    /// No connection to a server could be made.
    case connect, connectTimeout, upstreamTLS
    /// The upstream ended before a whole response head came.
    case closedBeforeResponse
    /// The server has said that it did nothing with the request (RFC 9113 section 8.7).
    case unprocessed
    case responseTimeout
    /// A response's head came whose status asks for another try.
    case badStatus
    /// While no response's head had come, the server was found to fail, or an operator took it away.
    case serverDown(isTakenAway: Bool)
    /// The response cannot be understood, or is ambiguous.
    case badResponse
    /// Its head is larger than the limit, as a request may have made it (a redirect that repeats the path).
    case responseHeadTooLarge
    /// The response ended before its body did, or stalled.
    case truncatedResponse
    /// An answer of our own cannot be read to its end.
    case answerCut
    /// The validator has just started and cannot tell a replay yet.
    case starting
    /// The client is gone, or ended before its request did.
    case clientGone
    /// It took too long to take the response.
    case clientTimeout
    /// The rest of the request is refused (its framing, its trailers, its size), or came too slowly.
    case request(Refusal)

    static func response(_ what: ResponseFault) -> Fault {
      what == .headTooLarge ? .responseHeadTooLarge : .badResponse
    }
  }

  package enum Verdict: Equatable, Sendable {
    case retry
    /// As `retry`, because a kept connection was closed just as the request went out: that is nobody's failure.
    case resend
    case retryLater
    /// Answer with the refusal's status; then the connection is kept or closed as its table says.
    case answer(Refusal)
    /// The response was begun: end the client's connection so that it cannot take it for whole.
    case abort(Refusal)
    /// Go on as if nothing had happened: relay the response as any other, or end the exchange in order.
    case passOn
  }

  /// How a finished exchange leaves its connections.
  package struct Ending: Equatable, Sendable {
    package let keepDownstream: Bool
    package let keepUpstream: Bool

    package init(keepDownstream: Bool, keepUpstream: Bool) {
      self.keepDownstream = keepDownstream
      self.keepUpstream = keepUpstream
    }
  }

  /// A request head was taken from the client.
  package mutating func begin(hasBody: Bool, isIdempotent: Bool, keepAlive: Bool) {
    self = ExchangeMachine()
    request = hasBody ? .body : .done
    self.isIdempotent = isIdempotent
    downstreamKeepAlive = keepAlive
    unprocessedTriesLeft = ExchangeMachine.unprocessedTriesMax
    startingTriesLeft = ExchangeMachine.startingTriesMax
  }

  /// The route's upstream allows these further tries.
  package mutating func allow(_ retries: Retries) { self.retries = retries }

  /// An answer of our own stands in for the response.
  package mutating func answered(keepAlive: Bool) {
    precondition(response == .awaiting)
    response = .done
    downstreamKeepAlive = keepAlive
    upstreamKeepAlive = false
  }

  /// A connection was chosen for a try.
  package mutating func attempt(reused: Bool) {
    self.reused = reused
    sent = false
  }

  /// The client's side goes back to the body's beginning for another try.
  package mutating func rewind(hasBody: Bool) {
    precondition(replayable && response == .awaiting)
    request = hasBody ? .body : .done
  }

  package mutating func noteSent() { sent = true }
  /// Before a fault that says so: whether that was because the connection ends or begins, and not because its server takes no stream.
  package mutating func noteUnprocessed(isPassing: Bool) { isPassedOver = isPassing }
  /// What was sent of the body is no longer held: room was needed, or no other try will be made.
  package mutating func noteNotHeld() { replayable = false }
  package mutating func noteDownstreamCloses() { downstreamKeepAlive = false }

  package var keepsDownstream: Bool { downstreamKeepAlive }

  package mutating func requestEnded() {
    precondition(request == .body)
    request = .done
  }

  /// A final response head was taken from the upstream and will be relayed.
  package mutating func responseHead(keepAlive: Bool) {
    precondition(response == .awaiting)
    response = .body
    // After an early answer to a request that is still coming, how much of it the server wants is unknown.
    upstreamKeepAlive = keepAlive && request == .done
  }

  package mutating func responseEnded() {
    precondition(response == .body)
    response = .done
  }

  /// The response is over and the request is not: its rest is read and dropped, so that the client, which may read nothing
  /// before it has sent everything, gets the answer, and its connection can be used again.
  package var isDiscarding: Bool { response == .done && request == .body && downstreamKeepAlive }

  /// Set once both are over, or the response is and the rest of the request is not to be read in step.
  package var ending: Ending? {
    guard response == .done, !isDiscarding else { return nil }
    return Ending(
      keepDownstream: downstreamKeepAlive && request == .done, keepUpstream: upstreamKeepAlive && request == .done)
  }

  /// - Parameter mayRetry: the upstream's budget allows another try.
  package mutating func fault(_ fault: Fault, mayRetry: Bool = true) -> Verdict {
    isRetryDenied = false
    switch fault {
    case .clientGone:
      guard isDiscarding else { return .abort(.clientReset) }
      // It has its answer, and went instead of sending what nobody wants.
      downstreamKeepAlive = false
      return .passOn
    case .clientTimeout: return .abort(.clientTimeout)
    case .request(let refusal): return response == .awaiting ? .answer(refusal) : .abort(refusal)
    case .truncatedResponse: return .abort(.upstreamReset)
    case .answerCut: return .abort(.fileUnreadable)
    case .badResponse, .responseHeadTooLarge:
      return response == .awaiting ? .answer(.upstreamResponse) : .abort(.upstreamResponse)
    case .responseTimeout: return tryAgain(retries.afterTimeout, mayRetry, orElse: .upstreamTimeout)
    case .badStatus:
      // The upstream's configuration names the status itself.
      guard isHarmless, replayable, retries.left > 0, response == .awaiting else { return .passOn }
      guard mayRetry else {
        isRetryDenied = true
        return .passOn
      }
      retries.left -= 1
      return .retry
    case .serverDown(let isTakenAway):
      guard response == .awaiting else { return .passOn }
      let verdict = tryAgain(retries.afterReset, mayRetry, orElse: .upstreamReset)
      // Where it cannot be tried again, an answer may still come.
      if case .retry = verdict { return verdict }
      return isTakenAway ? verdict : .passOn
    case .starting:
      guard replayable, response == .awaiting, startingTriesLeft > 0 else { return .passOn }
      startingTriesLeft -= 1
      return .retryLater
    case .connect: return tryAgain(retries.afterConnect, mayRetry, orElse: .upstreamConnect)
    case .connectTimeout: return tryAgain(retries.afterConnect, mayRetry, orElse: .upstreamConnectTimeout)
    case .upstreamTLS: return tryAgain(retries.afterConnect, mayRetry, orElse: .upstreamTls)
    case .unprocessed:
      guard response == .awaiting else { return .abort(.upstreamReset) }
      // Whatever was sent of it: nobody has acted on it.
      guard replayable, unprocessedTriesLeft > 0 else { return .answer(.upstreamReset) }
      unprocessedTriesLeft -= 1
      return .resend
    case .closedBeforeResponse:
      guard response == .awaiting else { return .abort(.upstreamReset) }
      // A connection that was idle may have been closed just as the request went out: that is no failed try. What closed it, as the
      // end of a process does, may have closed the other kept ones too, so from here on this request gets new ones.
      if reused, isHarmless, replayable, !hasMetStale {
        hasMetStale = true
        return .resend
      }
      return tryAgain(retries.afterReset, mayRetry, orElse: .upstreamReset)
    }
  }

  /// Another try does nothing that was not asked for (RFC 9110 section 9.2.2). Asked of every fault but those in which the server
  /// says that it did nothing: that a connection which was never made took no bytes is for the worker to be right about, not for
  /// this to rely on.
  private var isHarmless: Bool { !sent || isIdempotent }

  /// - Parameter isAllowed: the configuration has a further try after what went wrong.
  private mutating func tryAgain(_ isAllowed: Bool, _ mayRetry: Bool, orElse refusal: Refusal) -> Verdict {
    guard response == .awaiting else { return .abort(refusal) }
    guard isHarmless, replayable, retries.left > 0, isAllowed else { return .answer(refusal) }
    guard mayRetry else {
      isRetryDenied = true
      return .answer(refusal)
    }
    retries.left -= 1
    return .retry
  }

  /// The connection at hand ended before its response, as kept ones do: no sign that the server fails.
  package var isStale: Bool { reused && response == .awaiting }
}
