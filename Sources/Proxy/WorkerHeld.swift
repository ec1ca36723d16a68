// The client's request as it is used up: held for another try, given up, or read and dropped because its response is over.

import Platform
import Policy
import Wire

extension Worker {
  /// Marks bytes at the front of the request's unread part as used: held as long as another try may want them.
  func use(_ x: Exchange, _ n: Int) {
    guard n > 0, let d = x.downstream else { return }
    x.bytesIn += UInt64(n)
    if x.heldBytes > 0 { x.heldBytes += n } else { d.input.consume(n) }
  }

  /// Gives up what is held: no other try is possible after this, and the record's text is made now.
  func letGo(_ x: Exchange) {
    guard let d = x.downstream, x.heldBytes > 0 else { return }
    saveRecord(x)
    d.input.consume(x.heldBytes)
    x.heldBytes = 0
    x.machine.noteNotHeld()
  }

  /// One step of a request whose response is over. True when something moved.
  func discardRequest(_ x: Exchange, _ d: Downstream) -> Bool {
    letGo(x)
    var decoder = x.requestDecoder
    let step = d.input.withReadable { decoder.step($0) }
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
      let outcome = d.input.withReadable {
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
      use(x, skip)
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
