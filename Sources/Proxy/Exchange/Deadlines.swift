// Which side owes something while an exchange is under way, and until when; and what its timer's end means.
//
// A call of gRPC may be a stream on which nobody has anything to say for hours. While its client may send more, and once its response
// has begun, silence has the deadline of a tunnel; a server that was asked and has not begun to answer has that of any response, and
// whoever takes nothing that of any other.

import Platform
import Policy
import Wire

enum Deadlines {
  /// The client has sent something of its request. That is no progress while it takes nothing: else it could hold its exchange for as long
  /// as it sends a byte now and then.
  static func noteClientSent(_ x: Exchange, _ worker: Worker) {
    if !x.clientOwesRoom { x.downstreamProgressMilliseconds = worker.nowMilliseconds }
  }

  /// The client owes us bytes of its body, or room for ours. Its time begins when it comes to owe them: what the other
  /// side took before does not count.
  static func setClient(_ x: Exchange, _ d: Downstream, _ worker: Worker) {
    guard d.phase == .exchange else { return }
    let now = worker.nowMilliseconds
    let owesRoom = !d.isFlushed || (x.machine.response == .body && d.isWriteBlocked)
    if owesRoom != x.clientOwesRoom {
      x.clientOwesRoom = owesRoom
      x.downstreamProgressMilliseconds = now
    }
    if x.machine.isDiscarding, d.isFlushed {
      if x.discardEndMilliseconds == 0 {
        x.discardEndMilliseconds = now + Downstream.discardMilliseconds
        x.downstreamProgressMilliseconds = now
      }
      let most = d.isStream ? EarlyAnswer.quietMilliseconds : Downstream.discardQuietMilliseconds
      let quiet = x.downstreamProgressMilliseconds + most
      worker.wheel.set(x.timer, deadlineMilliseconds: min(x.discardEndMilliseconds, quiet))
      return
    }
    if StartWait.isHoldingBack(x) {
      worker.wheel.set(x.timer, deadlineMilliseconds: x.holdUntilMilliseconds)
      return
    }
    guard owesRoom || owesBody(x) else {
      worker.wheel.set(x.timer, deadlineMilliseconds: 0)
      return
    }
    if worker.wheel.deadline(of: x.timer) == 0 { x.downstreamProgressMilliseconds = now }
    if x.isGRPC, !owesRoom {
      let latest = max(x.downstreamProgressMilliseconds, x.upstreamProgressMilliseconds)
      worker.wheel.set(x.timer, deadlineMilliseconds: latest + UInt64(x.tunnelMilliseconds(worker)))
      return
    }
    let idle = UInt64(x.idleMilliseconds(worker))
    worker.wheel.set(x.timer, deadlineMilliseconds: x.downstreamProgressMilliseconds + idle)
  }

  /// The body is not all there, and the upstream would take more of it.
  private static func owesBody(_ x: Exchange) -> Bool {
    if x.awaitsRequest { return true }
    guard x.machine.request == .body, let u = x.upstream, u.phase == .ready else { return false }
    // A client that asked to be told before it sends its body waits for the upstream's word.
    if x.mayNotSend, x.machine.response == .awaiting { return false }
    return u.isFlushed && !u.isWriteBlocked
  }

  /// The upstream owes us a response, or room for the request.
  static func setServer(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ worker: Worker) {
    guard u.phase == .ready else { return }
    let blockedByClient = x.machine.response == .body && (!d.isFlushed || d.isWriteBlocked)
    // Nor does it owe anything for a response that is all here, however long the client takes for its end, or while what it sent waits
    // to be compressed.
    guard x.machine.response != .done, !blockedByClient, !owesBody(x), !d.awaitsCompression else {
      worker.wheel.set(u.timer, deadlineMilliseconds: 0)
      return
    }
    if worker.wheel.deadline(of: u.timer) == 0 { x.upstreamProgressMilliseconds = worker.nowMilliseconds }
    let mayBeSilent = x.isGRPC && x.machine.response == .body && u.isFlushed
    let most = UInt64(mayBeSilent ? x.tunnelMilliseconds(worker) : x.responseMilliseconds(worker))
    worker.wheel.set(u.timer, deadlineMilliseconds: x.upstreamProgressMilliseconds + most)
  }

  /// The exchange's time is up.
  static func expired(_ x: Exchange, _ worker: Worker) {
    // Of an exchange that is over.
    guard let d = x.downstream else { return }
    if x.isTunnel {
      Tunnel.expired(x, worker)
    } else if x.queueTicket != 0 {
      x.advance(worker, .refuse(.queueTimeout))
    } else if x.awaitsLogin {
      x.advance(worker, .refuse(.credentialsBusy))
    } else if x.isBackingOff {
      x.advance(worker, x.tryAgain(worker))
    } else if x.machine.isDiscarding, d.isFlushed {
      if let stream = d.stream, worker.nowMilliseconds >= x.discardEndMilliseconds { stream.isRestTooMuch = true }
      x.machine.noteDownstreamCloses()
      worker.flushBothSides(of: d)
      // It had its time.
      if d.phase == .linger { d.closeLate(worker) }
    } else if StartWait.isHoldingBack(x) {
      x.holdIsOver = true
      x.advance(worker)
    } else if x.machine.request == .body, !x.clientOwesRoom {
      x.advance(worker, .fault(.request(.bodyTimeout)))
    } else {
      x.advance(worker, .fault(.clientTimeout))
    }
  }
}
