// The end that we give a WebSocket, when the process drains or its route was closed: a Close frame to both sides, status 1001
// (RFC 6455 section 7.4.1), each at the end of a frame; then their Close frames are waited for.
//
//   each direction   none ─► due ──a frame ends──► atBoundary ──what came before has left──► said
//
// Invariants: up to the boundary every byte passes as it came, and behind our Close frame none; a direction in which a Close
// frame has passed gets no second one; what is not a WebSocket's frames is left as it is until its time is over.
// Callers: Tunnel, and what ends tunnels (`WorkerMessages`, `RouteGate`).

import Platform
import Wire

/// One direction of a tunnel: where its frames end, and our Close frame in it.
struct TunnelDirection {
  enum Close: UInt8 { case none, due, atBoundary, said }

  let sender: WebSocketFrames.Sender
  /// Follows what has come, which may not have been passed on yet.
  private(set) var frames: WebSocketFrames
  private(set) var close = Close.none

  init(from sender: WebSocketFrames.Sender) {
    self.sender = sender
    frames = WebSocketFrames(from: sender)
  }

  /// Notes bytes that all pass.
  mutating func note(_ input: Buffer) { input.withReadable { frames.follow($0) } }

  /// Looks at all of `input`, which has just come: follows its frames, and leaves in it what passes.
  /// - Returns: whether anything does.
  mutating func take(from input: Buffer) -> Bool {
    guard close == .due else {
      note(input)
      return close == .none
    }
    let count = input.count
    let kept = input.withReadable { bytes in
      let n = frames.followFrame(bytes)
      guard frames.isBetweenFrames || frames.hasClosed else { return count }
      close = frames.hasClosed ? .said : .atBoundary
      // Nothing of the rest passes, but a Close frame in it is the answer to ours.
      frames.follow(bytes.extracting(droppingFirst: n))
      return n
    }
    input.removeLast(count - kept)
    return true
  }

  /// Our Close frame is due in this direction.
  mutating func beginClose() {
    if frames.hasClosed { close = .said } else if frames.isBetweenFrames { close = .atBoundary } else { close = .due }
  }

  /// Writes our Close frame if it is due and a frame has ended with what was passed on. `input` is empty.
  /// - Returns: whether it was written.
  mutating func writeClose(into input: Buffer) -> Bool {
    guard close == .atBoundary else { return false }
    close = .said
    guard sender == .client else {
      WebSocketClose.append(WebSocketClose.goingAway, mask: nil, to: input)
      return true
    }
    // Without random bytes there is no mask, and the connection ends without the frame.
    guard let word = try? SecureRandom.word() else { return false }
    WebSocketClose.append(WebSocketClose.goingAway, mask: UInt32(truncatingIfNeeded: word), to: input)
    return true
  }

  /// Its sink gets nothing more, or has got its sender's Close frame.
  var isLast: Bool { close == .said || frames.hasClosed && close == .none }

  /// Its sender has nothing to say that is waited for: it has sent its Close frame, or can send none.
  var isAnswered: Bool { frames.hasClosed || frames.isBroken }
}

/// What an exchange knows of its tunnel's frames and of its end.
struct TunnelState {
  var up = TunnelDirection(from: .client)
  var down = TunnelDirection(from: .server)
  /// When its Close frames are due; or when it ends without, if it is no WebSocket.
  var closesAtMilliseconds = UInt64.max
  /// When it ends, however much it still moves.
  var endMilliseconds = UInt64.max
  var isClosing = false
  /// Its route is closed to it: nothing more passes.
  var isRefused = false
  /// What the kernels held for both sides when its time was last over.
  var owedBytes = Int.max
  /// In a drain.
  var isScheduled: Bool { closesAtMilliseconds != .max }
  /// Both sides were sent a Close frame.
  var closesAreOut = false
  /// Their answers have their time.
  var isWaiting = false
  var isWebSocket: Bool { !up.frames.isBroken && !down.frames.isBroken }
}

enum TunnelClosing {
  /// Gives a tunnel its time in a drain.
  static func schedule(_ x: Exchange, _ drain: DrainSchedule, _ worker: Worker) {
    guard !x.tunnel.isClosing else { return }
    x.tunnel.closesAtMilliseconds = drain.closeMilliseconds(worker.shared.nextDrainedTunnel(), worker.nowMilliseconds)
    x.tunnel.endMilliseconds = drain.tunnelsEndMilliseconds
    let deadline = worker.wheel.deadline(of: x.timer)
    worker.wheel.set(x.timer, deadlineMilliseconds: min(deadline, x.tunnel.closesAtMilliseconds))
  }

  /// Has both sides sent a Close frame as soon as a frame ends. What is no WebSocket keeps its connection until the drain is over.
  static func begin(_ x: Exchange, _ worker: Worker) {
    guard x.tunnel.isWebSocket else {
      let end = worker.drain?.closesEndMilliseconds ?? 0
      if worker.nowMilliseconds >= end {
        Tunnel.end(x, isLate: true, worker)
      } else {
        x.tunnel.closesAtMilliseconds = end
        worker.wheel.set(x.timer, deadlineMilliseconds: end)
      }
      return
    }
    var tunnel = x.tunnel
    tunnel.isClosing = true
    tunnel.up.beginClose()
    tunnel.down.beginClose()
    x.tunnel = tunnel
    worker.counters.add(.tunnelsClosed)
    extend(x, worker)
    Tunnel.relay(x, worker)
  }

  /// Ends a tunnel of which nothing that comes from now on may pass: with Close frames where both directions stand between two
  /// frames, and at once where one would have to be broken off.
  static func beginAtOnce(_ x: Exchange, _ worker: Worker) {
    let (up, down) = (x.tunnel.up, x.tunnel.down)
    guard !x.tunnel.isClosing, up.frames.isBetweenFrames || up.frames.hasClosed,
      down.frames.isBetweenFrames || down.frames.hasClosed
    else {
      Tunnel.end(x, worker)
      return
    }
    begin(x, worker)
  }

  /// Both sides were sent a Close frame and have sent theirs, or can send none. In a drain that is the end also where none of the
  /// frames was ours.
  static func isOver(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    let (up, down) = (x.tunnel.up, x.tunnel.down)
    guard x.tunnel.isClosing || x.tunnel.isScheduled && up.frames.hasClosed && down.frames.hasClosed else {
      return false
    }
    let isUpOut = x.upstreamDeaf || (up.isLast || d.inputEnded) && d.input.isEmpty && u.isFlushed
    let isDownOut = x.clientDeaf || (down.isLast || x.upstreamEnded) && u.input.isEmpty && d.isFlushed
    guard isUpOut, isDownOut else { return false }
    x.tunnel.closesAreOut = true
    return (up.isAnswered || d.inputEnded) && (down.isAnswered || x.upstreamEnded)
  }

  /// While our Close frames are not out, what moves keeps the tunnel; then the others' have `timeouts.tunnel_close`.
  static func setDeadline(_ x: Exchange, delivered: Bool, _ worker: Worker) {
    guard delivered, !x.tunnel.isWaiting else { return }
    x.tunnel.isWaiting = x.tunnel.closesAreOut
    extend(x, worker)
  }

  private static func extend(_ x: Exchange, _ worker: Worker) {
    let deadline = worker.nowMilliseconds + UInt64(worker.plan.config.timeouts.tunnelCloseMilliseconds)
    worker.wheel.set(x.timer, deadlineMilliseconds: min(deadline, x.tunnel.endMilliseconds))
  }
}
