// Sending: what a turn's events have written for a connection's two ends leaves when they have all been seen, and then
// exchanges end (docs/decisions/0015). Called by the loop; connections are put on the list by the relay.

import Platform

extension Worker {
  /// Has what was written for a connection's two ends sent once the other connections have had their events. Sending
  /// is most of a request's cost, and it is cheaper together: the receiver is woken once for many, and neither the
  /// kernel's code nor ours pushes the other out of the cache between two.
  func settleLater(_ d: Downstream) {
    guard !d.isSettling else { return }
    d.isSettling = true
    settling.append(Int32(d.slot))
  }

  func settleOnce() {
    swap(&settling, &settlingNow)
    for slot in settlingNow {
      let d = downstreams.all[Int(slot)]
      d.isSettling = false
      settle(d)
    }
    settlingNow.removeAll(keepingCapacity: true)
  }

  /// Requests that wait behind the ones that are done now come in further rounds, as many as a connection may have in
  /// a turn; what is left has the next turn.
  func settleAll() {
    var rounds = 0
    while !settling.isEmpty, rounds < Worker.requestsPerTurn {
      settleOnce()
      rounds += 1
    }
  }

  /// Sends what waits on both sides, ends the exchange if that was all of it, and says who owes what from now on.
  func settle(_ d: Downstream) {
    guard d.phase == .exchange, let x = d.exchange, !x.isBackingOff else { return }
    let upstream = x.upstream
    if let u = upstream, u.phase == .ready { flush(u) }
    let ending = x.machine.ending
    guard flush(d, last: ending.map { !$0.keepDownstream || isDraining } ?? false) else {
      fault(x, .clientGone)
      return
    }
    guard let ending, d.isFlushed else {
      if d.transport.sentBytes != d.sentSeen {
        d.sentSeen = d.transport.sentBytes
        x.downstreamProgressMilliseconds = nowMilliseconds
      }
      setDownstreamDeadline(x, d)
      if let u = upstream { setUpstreamDeadline(x, d, u) }
      return
    }
    finish(x, d, ending)
    pump(d)
  }

  /// Sends what waits for the client; `last` when its connection ends behind that. False when the connection is broken.
  func flush(_ d: Downstream, last: Bool = false) -> Bool {
    guard !d.isFlushed || last else { return true }
    let moved = d.transport.flush(d.output, last: last)
    d.output.releaseIfEmpty()
    return moved != .failed
  }
}
