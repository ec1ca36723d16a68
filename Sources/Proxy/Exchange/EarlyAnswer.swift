// What becomes of a stream's request whose answer does not wait for it. RFC 9113 section 8.1 has a whole response first and a reset without
// an error behind it; but there are clients that lose the response to such a reset (curl 7.88 nearly always, httpx where its window is
// shut), because they look at it only when they have nothing more to send. So the rest is read and dropped for a while, as with HTTP/1.1,
// and the reset comes only then.
//
// With a success, and with whatever has no content, that does not help: curl 7.88 reads nothing more once it has one, not even windows and
// resets, and waits for good while its request is not whole. So such an answer of a route's own is sent when the request is. A server's
// comes when it comes, and so does the reset with it, which ends the waiting; but for a success with content whose request fits the
// window, for that is on its way already.

import Wire

enum EarlyAnswer {
  /// What is read of one request behind its answer, in bytes; and for how long without a byte. In all: `Downstream.discardMilliseconds`.
  /// A client that goes beyond has its stream counted as one that was reset for what it did (`HTTP2Budget`).
  static let bytesMax: UInt64 = 64 << 20
  static let quietMilliseconds: UInt64 = 1_000

  /// The client has the whole answer, and not sent all of its request, of which nobody has a use.
  static func isGiven(_ x: Exchange?, _ stream: StreamState) -> Bool {
    stream.isEndOut && x?.machine.isDiscarding ?? false
  }

  /// The rest of the request is read. Its response is over.
  static func readsRest(of x: Exchange, _ stream: StreamState) -> Bool {
    // The end of a call of gRPC ends it for both sides.
    guard stream.resetCode == 0, !stream.isGRPC, stream.hasBody else { return false }
    guard isSuccess(x.status) else {
      guard stream.discardedBytes >= bytesMax else { return true }
      stream.isRestTooMuch = true
      return false
    }
    return stream.declared.map { $0 <= HTTP2Server.streamWindow } ?? false
  }

  /// A route's answer of this status waits for its request.
  static func comesLast(status: Int, hasContent: Bool, _ x: Exchange) -> Bool {
    guard let stream = x.downstream.stream, x.machine.request == .body, isSuccess(status) || !hasContent else {
      return false
    }
    // Whoever asked whether to send its body waits for the answer.
    return !stream.isGRPC && !x.mayNotSend
  }

  private static func isSuccess(_ status: Int) -> Bool { status < 300 }

  /// One step of a request that is read before its route answers it, within the limit and the deadline of any request's body.
  static func readRequest(of x: Exchange, _ worker: Worker) -> Step {
    x.discardHeld()
    switch x.downstream.nextPiece(of: x, worker) {
    case .data(let count):
      x.request.bodyBytes += UInt64(count)
      let most = x.times.bodyBytesMax(worker)
      if most > 0, x.request.bodyBytes > most { return .fault(.request(.bodyTooLarge)) }
      x.useBody(count)
      return .moved
    case .trailers(let count):
      if let refusal = x.readTrailers(count, into: worker.trailers, worker) { return .fault(.request(refusal)) }
      x.useBody(count)
      return .moved
    case .end:
      x.machine.requestEnded()
      x.awaitsRequest = false
      guard let route = x.route, let answer = route.answer else { return .refuse(.routeNone) }
      return RouteAnswering.begin(x, route, answer, worker)
    case .head, .blocked: return .blocked
    case .fault(let fault): return .fault(fault)
    }
  }
}
