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
  /// as it sends a byte now and then. But behind an answer it may send first and read later, for a while.
  static func noteClientSent(_ x: Exchange, _ worker: Worker) {
    let now = worker.nowMilliseconds
    guard !x.clientOwesRoom || x.machine.isDiscarding && now < x.discardEndMilliseconds else { return }
    x.downstreamProgressMilliseconds = now
  }

  /// The client owes us bytes of its body, or room for ours. Its time begins when it comes to owe them: what the other
  /// side took before does not count.
  static func setClient(_ x: Exchange, _ d: Downstream, _ worker: Worker) {
    guard d.phase == .exchange else { return }
    let now = worker.nowMilliseconds
    let owesRoom = owesRoom(x, d)
    let isDiscarding = x.machine.isDiscarding
    if owesRoom != x.clientOwesRoom || isDiscarding && x.discardEndMilliseconds == 0 {
      x.clientOwesRoom = owesRoom
      x.downstreamProgressMilliseconds = now
      if isDiscarding { x.discardEndMilliseconds = now + Downstream.discardMilliseconds }
    }
    if isDiscarding, !owesRoom {
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
      worker.wheel.set(x.timer, deadlineMilliseconds: latest + UInt64(x.times.tunnelMilliseconds(worker)))
      return
    }
    let (since, idle) = (x.downstreamProgressMilliseconds, UInt64(x.times.idleMilliseconds(worker)))
    worker.wheel.set(
      x.timer, deadlineMilliseconds: owesRoom ? x.clientRoom.deadline(since: since, most: idle) : since + idle)
  }

  private static func owesRoom(_ x: Exchange, _ d: Downstream) -> Bool {
    !d.isFlushed || (x.machine.response == .body && d.isWriteBlocked)
  }

  /// A client that owes room has its time again, or the rest of it, if it takes what the kernel holds. A stream takes part in what its
  /// connection takes, until all that was sent for it has arrived and it is its own window that is shut.
  private static func clientTakesOn(_ x: Exchange, _ d: Downstream, _ worker: Worker) -> Bool {
    guard owesRoom(x, d) else {
      // What it owed has left in this turn.
      setClient(x, d, worker)
      return true
    }
    // Changed as copies, as each exchange reads them.
    var (room, progress) = (x.clientRoom, x.downstreamProgressMilliseconds)
    let deadline = room.look(
      at: way(to: d), since: &progress, most: UInt64(x.times.idleMilliseconds(worker)), now: worker.nowMilliseconds)
    (x.clientRoom, x.downstreamProgressMilliseconds) = (room, progress)
    guard let deadline else { return false }
    worker.wheel.set(x.timer, deadlineMilliseconds: deadline)
    return true
  }

  private static func way(to d: Downstream) -> RoomWatch.Way {
    let connection = d.carrier
    // A head, and trailers that follow the last byte, need no window. libnghttp2 wants one also for an end without a byte.
    let isHeldUp = d.stream.map { $0.headsWaiting == 0 && !$0.server.session.hasWindow(stream: $0.id) } ?? false
    return RoomWatch.Way(
      sent: connection.http2?.sentBytes ?? connection.sentBytes, given: connection.transport.allSentBytes,
      held: connection.transport.unacknowledgedBytes, ownEnd: d.stream?.ownEnd ?? 0, isHeldUp: isHeldUp)
  }

  private static func way(to u: Upstream) -> RoomWatch.Way {
    let connection = u.carrier
    // A head waits for room, or for the end of other streams where the server has come to allow fewer.
    let isHeldUp =
      u.stream.map {
        u.isFlushed
          || ($0.headsWaiting > 0
            ? $0.client.streams.count > $0.client.session.peerStreamsMax : !$0.client.session.hasWindow(stream: $0.id))
      } ?? false
    return RoomWatch.Way(
      sent: connection.http2?.sentBytes ?? connection.transport.sentBytes, given: connection.transport.allSentBytes,
      held: connection.transport.unacknowledgedBytes, ownEnd: u.stream?.ownEnd ?? 0, isHeldUp: isHeldUp)
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
    let (since, most) = (x.upstreamProgressMilliseconds, serverMilliseconds(x, u, worker))
    worker.wheel.set(u.timer, deadlineMilliseconds: x.serverRoom.deadline(since: since, most: most))
  }

  private static func serverMilliseconds(_ x: Exchange, _ u: Upstream, _ worker: Worker) -> UInt64 {
    let mayBeSilent = x.isGRPC && x.machine.response == .body && u.isFlushed
    return UInt64(mayBeSilent ? x.times.tunnelMilliseconds(worker) : x.times.responseMilliseconds(worker))
  }

  /// The same as `clientTakesOn` of a server, which may also be asked for its response while the kernel still holds much of the request.
  static func serverTakesOn(_ x: Exchange, _ u: Upstream, _ worker: Worker) -> Bool {
    let (now, most) = (worker.nowMilliseconds, serverMilliseconds(x, u, worker))
    var (room, progress) = (x.serverRoom, x.upstreamProgressMilliseconds)
    let deadline = room.look(at: way(to: u), since: &progress, most: most, now: now)
    (x.serverRoom, x.upstreamProgressMilliseconds) = (room, progress)
    guard let deadline else { return false }
    worker.wheel.set(u.timer, deadlineMilliseconds: deadline)
    return true
  }

  private static func waitIsOver(_ x: Exchange, _ worker: Worker) {
    switch x.wait {
    case .none: return
    case .serverStart, .line: x.advance(worker, x.tryAgain(worker))
    case .place: x.advance(worker, .refuse(.queueTimeout))
    case .login: x.advance(worker, .refuse(.credentialsBusy))
    }
  }

  /// The exchange's time is up.
  static func expired(_ x: Exchange, _ worker: Worker) {
    // Of an exchange that is over.
    guard let d = x.downstream else { return }
    if x.isTunnel {
      Tunnel.expired(x, worker)
    } else if x.isWaiting {
      waitIsOver(x, worker)
    } else if x.machine.isDiscarding, d.isFlushed {
      if let stream = d.stream, worker.nowMilliseconds >= x.discardEndMilliseconds { stream.isRestTooMuch = true }
      x.machine.noteDownstreamCloses()
      worker.flushBothSides(of: d)
      // It had its time.
      if d.phase == .linger { d.lingerExpired(worker) }
    } else if StartWait.isHoldingBack(x) {
      x.holdIsOver = true
      x.advance(worker)
    } else if x.clientOwesRoom {
      if !clientTakesOn(x, d, worker) { x.advance(worker, .fault(.clientTimeout)) }
    } else {
      x.advance(worker, .fault(x.machine.request == .body ? .request(.bodyTimeout) : .clientTimeout))
    }
  }
}
