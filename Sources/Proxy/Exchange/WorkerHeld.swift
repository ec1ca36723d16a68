// The client's request as it is used up: held for another try, given up, or read and dropped because its response is over.

import Platform
import Policy
import Wire

extension Worker {
  /// The request's body as far as it is at hand and not used: on another try, first what is held.
  func withBody<R>(_ x: Exchange, _ d: Downstream, _ body: (Span<UInt8>) -> R) -> R {
    guard x.resentBytes < x.held.count else { return d.input.withReadable(body) }
    let used = x.resentBytes
    return x.held.withReadable { body($0.extracting(droppingFirst: used)) }
  }

  /// `n` bytes at the front of the body are used, for good. They are held as long as another try may want them; there is
  /// room, for payload was taken by `usable` and framing has its margin.
  func use(_ x: Exchange, _ n: Int) {
    guard n > 0, let d = x.downstream else { return }
    x.bytesIn += UInt64(n)
    if x.resentBytes < x.held.count {
      x.resentBytes += n
      if !x.machine.replayable, x.resentBytes == x.held.count { letGo(x) }
      return
    }
    if x.machine.replayable {
      x.held.append(first: n, of: d.input)
      x.resentBytes += n
    }
    d.input.consume(n)
  }

  /// Gives up what is held of the body: no other try is possible after this. What this try has still to use of it stays.
  func letGo(_ x: Exchange) {
    x.machine.noteNotHeld()
    guard x.resentBytes == x.held.count else { return }
    x.held.reset()
    x.resentBytes = 0
  }

  /// Room that is left for framing when payload is held: a chunk's line with its extension, and the line end before it. A step
  /// of the decoder passes over that before it offers payload, so it is used whatever becomes of the payload.
  private static let framingBytesMax = 512

  /// The most of a body that can be held for another try.
  func holdableBytes(_ x: Exchange) -> Int { x.held.capacity - Worker.framingBytesMax }

  /// How much of `count` bytes of payload or trailers can be used now: all, or less where the rest has to be held back, or
  /// none. What is held for another try makes way when room is needed.
  func usable(_ count: Int, _ x: Exchange, _ u: Upstream) -> Int {
    guard x.machine.replayable, x.resentBytes == x.held.count else { return count }
    let room = max(0, x.held.room - Worker.framingBytesMax)
    guard count > room else { return count }
    guard holdsBack(x, u) else {
      letGo(x)
      return count
    }
    return room
  }

  /// The request waits for its server's word before it gives up what is held. Nothing moved.
  func holdBack(_ u: Upstream) -> Bool {
    flush(u)
    return false
  }

  /// One step of a request whose response is over. True when something moved.
  func discardRequest(_ x: Exchange, _ d: Downstream) -> Bool {
    letGo(x)
    var decoder = x.requestDecoder
    let step = withBody(x, d) { decoder.step($0) }
    x.requestDecoder = decoder
    switch step {
    case .refused:
      x.machine.noteDownstreamCloses()
    case .data(let skip, let count):
      x.requestConsumed(count)
      use(x, skip + count)
      return true
    case .trailers(let skip, let count):
      use(x, skip)
      let outcome = withBody(x, d) {
        trailers.parse($0.extracting(first: count), limits: trailerLimits(x.isVerified))
      }
      guard case .complete = outcome else {
        x.machine.noteDownstreamCloses()
        return false
      }
      x.requestConsumed(count)
      use(x, count)
      return true
    case .end(let skip):
      use(x, skip)
      x.machine.requestEnded()
    case .incomplete(let skip):
      let isResending = x.resentBytes < x.held.count
      use(x, skip)
      if isResending { return true }
      switch d.transport.read(into: d.input) {
      case .bytes:
        x.downstreamProgressMilliseconds = nowMilliseconds
        return true
      case .blocked: d.input.releaseIfEmpty()
      case .ended, .failed: x.machine.noteDownstreamCloses()
      }
    }
    return false
  }
}
