// Which side owes something while an exchange is under way, and until when.

import Platform
import Policy
import Wire

extension Worker {
  /// The client owes us bytes of its body, or room for ours. Its time begins when it comes to owe them: what the other
  /// side took before does not count.
  func setDownstreamDeadline(_ x: Exchange, _ d: Downstream) {
    guard d.phase == .exchange else { return }
    if x.machine.isDiscarding, d.isFlushed {
      if x.discardEndMilliseconds == 0 {
        x.discardEndMilliseconds = nowMilliseconds + Worker.discardMilliseconds
        x.downstreamProgressMilliseconds = nowMilliseconds
      }
      let quiet = x.downstreamProgressMilliseconds + Worker.discardQuietMilliseconds
      wheel.set(d.timer, deadlineMilliseconds: min(x.discardEndMilliseconds, quiet))
      return
    }
    if isHoldingBack(x) {
      wheel.set(d.timer, deadlineMilliseconds: x.holdUntilMilliseconds)
      return
    }
    let owesRoom = !d.isFlushed || (x.machine.response == .body && d.transport.isStuffed)
    guard owesRoom || owesBody(x) else {
      clearDeadline(d)
      return
    }
    if wheel.deadline(of: d.timer) == 0 { x.downstreamProgressMilliseconds = nowMilliseconds }
    let idle = UInt64(plan.config.timeouts.idleMilliseconds)
    wheel.set(d.timer, deadlineMilliseconds: x.downstreamProgressMilliseconds + idle)
  }

  /// The body is not all there, and the upstream would take more of it.
  private func owesBody(_ x: Exchange) -> Bool {
    guard x.machine.request == .body, let u = x.upstream, u.phase == .ready else { return false }
    // A client that asked to be told before it sends its body waits for the upstream's word.
    if x.expectsContinue, x.requestBodyBytes == 0, x.machine.response == .awaiting { return false }
    return u.isFlushed && !u.transport.isStuffed
  }

  /// The upstream owes us a response, or room for the request.
  func setUpstreamDeadline(_ x: Exchange, _ d: Downstream, _ u: Upstream) {
    guard u.phase == .ready else { return }
    let blockedByClient = x.machine.response == .body && (!d.isFlushed || d.transport.isStuffed)
    // Nor does it owe anything for a response that is all here, however long the client takes for its end.
    guard x.machine.response != .done, !blockedByClient, !owesBody(x) else {
      wheel.set(u.timer, deadlineMilliseconds: 0)
      return
    }
    if wheel.deadline(of: u.timer) == 0 { x.upstreamProgressMilliseconds = nowMilliseconds }
    let most = UInt64(plan.config.timeouts.upstreamResponseMilliseconds)
    wheel.set(u.timer, deadlineMilliseconds: x.upstreamProgressMilliseconds + most)
  }
}
