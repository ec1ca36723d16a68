// After a 101: bytes both ways, each side's buffer the other's, until both have ended. A direction may end before the other. The
// bytes pass as they come; where a frame ends is only followed, so that a Close frame can stand there (TunnelClosing).

import Platform
import Policy
import Wire

enum Tunnel {
  /// Reads of one tunnel in one turn, before other connections have theirs.
  private static let stepsPerTurn = 16

  /// Behind a 101 that was written to the client.
  static func begin(_ x: Exchange, _ u: Upstream, _ worker: Worker) {
    let d = x.downstream!
    x.status = 101
    x.responseStartedMicroseconds = worker.nowMicroseconds
    x.isTunnel = true
    // What has come already.
    var tunnel = x.tunnel
    tunnel.up.note(d.input)
    tunnel.down.note(u.input)
    x.tunnel = tunnel
    x.discardHeld()
    d.phase = .tunnel
    worker.openTunnels += 1
    worker.counters.add(.tunnels)
    worker.log.recordTunnelBegin(x, worker)
    worker.wheel.set(u.timer, deadlineMilliseconds: 0)
    let most = UInt64(x.times.tunnelMilliseconds(worker))
    worker.wheel.set(x.timer, deadlineMilliseconds: worker.nowMilliseconds + most)
    if let drain = worker.drain { TunnelClosing.schedule(x, drain, worker) }
    RouteGate.noteTunnel(x, worker)
  }

  /// Carries what can be carried now, and ends the tunnel if that was all. What may have ended it is taken first.
  static func relay(_ x: Exchange, _ worker: Worker) {
    guard let d = x.downstream, let u = x.upstream, !worker.putsOff(d) else { return }
    let client = d.stream.map { TunnelEnd.stream(d, $0) } ?? .socket(d.transport)
    let server = TunnelEnd.socket(u.transport)
    var steps = 0
    var delivered = false
    while true {
      guard steps < Tunnel.stepsPerTurn else {
        worker.enqueue(d)
        break
      }
      steps += 1
      // Changed as copies: properties that are passed on to be changed cost every exchange an exclusivity check where it reads them.
      var (upstreamDeaf, upstreamEnded, clientDeaf) = (x.upstreamDeaf, x.upstreamEnded, x.clientDeaf)
      var (tunnel, inputEnded) = (x.tunnel, d.inputEnded)
      let up = carry(
        from: client, d.input, to: server, u.output, &tunnel.up, sourceEnded: &inputEnded,
        sinkIsDeaf: &upstreamDeaf, sourceIsDeaf: &clientDeaf)
      let down = carry(
        from: server, u.input, to: client, d.output, &tunnel.down, sourceEnded: &upstreamEnded,
        sinkIsDeaf: &clientDeaf, sourceIsDeaf: &upstreamDeaf)
      (x.upstreamDeaf, x.upstreamEnded, x.clientDeaf) = (upstreamDeaf, upstreamEnded, clientDeaf)
      (x.tunnel, d.inputEnded) = (tunnel, inputEnded)
      if case .moved(let n) = up { x.bytesIn += UInt64(n) }
      if case .moved(let n) = down { x.bytesOut += UInt64(n) }
      if up.isDelivery || down.isDelivery { delivered = true }
      if up == .still, down == .still { break }
    }
    if isOver(x, d, u) || TunnelClosing.isOver(x, d, u) {
      end(x, worker)
      return
    }
    d.input.releaseIfEmpty()
    d.output.releaseIfEmpty()
    u.input.releaseIfEmpty()
    u.output.releaseIfEmpty()
    setDeadline(x, d, delivered: delivered, worker)
  }

  /// Nothing more can come from either side, or nothing that comes could be delivered.
  private static func isOver(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    if x.upstreamDeaf, x.clientDeaf { return true }
    guard d.inputEnded, x.upstreamEnded else { return false }
    let isUpDone = x.upstreamDeaf || d.input.isEmpty && u.isFlushed
    let isDownDone = x.clientDeaf || u.input.isEmpty && d.isFlushed
    return isUpDone && isDownDone
  }

  /// A tunnel may be quiet for `timeouts.tunnel`. Once a side has ended, or takes no more, the other has
  /// `timeouts.tunnel_close` without a byte that can still be delivered. Bytes that complete no TLS record count for
  /// neither.
  private static func setDeadline(_ x: Exchange, _ d: Downstream, delivered: Bool, _ worker: Worker) {
    guard !x.tunnel.isClosing else {
      TunnelClosing.setDeadline(x, delivered: delivered, worker)
      return
    }
    let isOneSided = d.inputEnded || x.upstreamEnded || x.upstreamDeaf || x.clientDeaf
    let justEnded = isOneSided && !x.isTunnelClosing
    if justEnded { x.isTunnelClosing = true }
    guard delivered || justEnded else { return }
    x.tunnel.owedBytes = .max
    beginTime(x, worker)
  }

  private static func beginTime(_ x: Exchange, _ worker: Worker) {
    let tunnel = x.times.tunnelMilliseconds(worker)
    let most = x.isTunnelClosing ? min(worker.plan.config.timeouts.tunnelCloseMilliseconds, tunnel) : tunnel
    let deadline = worker.nowMilliseconds + UInt64(most)
    worker.wheel.set(x.timer, deadlineMilliseconds: min(deadline, x.tunnel.closesAtMilliseconds))
  }

  /// The tunnel's time is up: that of its side that owes something, or the one that a drain leaves it.
  static func expired(_ x: Exchange, _ worker: Worker) {
    if !x.tunnel.isClosing, worker.nowMilliseconds >= x.tunnel.closesAtMilliseconds {
      TunnelClosing.begin(x, worker)
    } else if !x.tunnel.isClosing, takesOn(x) {
      beginTime(x, worker)
    } else {
      end(x, isLate: true, worker)
    }
  }

  /// A side has taken some of what the kernels hold for the two. A server may have ended behind megabytes, for which its client needs
  /// longer than `timeouts.tunnel_close`.
  private static func takesOn(_ x: Exchange) -> Bool {
    guard let d = x.downstream, let u = x.upstream else { return false }
    let (toClient, toServer) = (d.carrier.transport.unacknowledgedBytes, u.carrier.transport.unacknowledgedBytes)
    let owed = toClient + toServer
    guard max(toClient, toServer) > 1, owed < x.tunnel.owedBytes else { return false }
    x.tunnel.owedBytes = owed
    return true
  }

  private enum Carried: Equatable {
    /// That many bytes went to the sink; 0 where some were only read.
    case moved(Int)
    /// Bytes were read that nobody takes.
    case discarded
    case still

    var isDelivery: Bool { if case .moved = self { true } else { false } }
  }

  /// One step of one direction: what is gathered first, then what lies in the source's buffer, then a read. A sink that
  /// fails ends this direction alone: what its socket has still to say is read by the other one, and the source is read on,
  /// so that it is not reset. A source that is reset has said what came before: that is delivered.
  private static func carry(
    from source: TunnelEnd, _ input: Buffer, to sink: TunnelEnd, _ gathered: Buffer, _ direction: inout TunnelDirection,
    sourceEnded: inout Bool, sinkIsDeaf: inout Bool, sourceIsDeaf: inout Bool
  ) -> Carried {
    var sent = 0
    if !sinkIsDeaf, !gathered.isEmpty || sink.hasUnsent {
      switch sink.flush(gathered) {
      case .bytes, .blocked: if !gathered.isEmpty || sink.hasUnsent { return .still }
      case .ended, .failed: sinkIsDeaf = true
      }
      if !sinkIsDeaf, sourceEnded, input.isEmpty { sink.finish() }
    }
    if !sinkIsDeaf, !input.isEmpty {
      switch sink.flush(input) {
      case .bytes(let n): sent = n
      case .blocked: return .still
      case .ended, .failed: sinkIsDeaf = true
      }
      if !sinkIsDeaf {
        guard input.isEmpty, !sink.hasUnsent else { return sent > 0 ? .moved(sent) : .still }
        // The source ended while its last bytes were still on their way.
        if sourceEnded { sink.finish() }
      }
    }
    if sinkIsDeaf {
      gathered.removeAll()
      input.removeAll()
      // The end of what it said is found by reading.
      sink.noteReadable()
    }
    // Behind the last byte that passes; where the source has ended, so has the sink's direction.
    if input.isEmpty, !sinkIsDeaf, !sourceEnded, direction.writeClose(into: input) { return .moved(sent) }
    guard !sourceEnded else { return sent > 0 ? .moved(sent) : .still }
    let read = source.read(into: input)
    switch read {
    case .bytes:
      let passes = direction.take(from: input)
      guard sinkIsDeaf || !passes else { return .moved(sent) }
      input.removeAll()
      return .discarded
    case .blocked: return sent > 0 ? .moved(sent) : .still
    case .ended, .failed:
      sourceEnded = true
      // Broken, it takes nothing either.
      if read == .failed { sourceIsDeaf = true }
      if !sinkIsDeaf, input.isEmpty { sink.finish() }
      // Once more, for what follows from that.
      return .discarded
    }
  }

  /// - Parameter isLate: its time is over; what a side did not take is not kept for it.
  static func end(_ x: Exchange, isLate: Bool = false, _ worker: Worker) {
    guard x.isTunnel else { return }
    let d = x.downstream!
    if isLate, worker.isDraining, !x.tunnel.closesAreOut { noteCut(x, worker) }
    worker.openTunnels -= 1
    worker.log.record(x, worker)
    if let u = x.upstream {
      u.pool?.detach(u, worker)
      u.close(worker, reset: isLate && u.transport.hasUndeliveredBytes)
    }
    x.giveBack(worker)
    if isLate { d.closeLate(worker) } else { d.close(worker) }
  }

  /// The end of a drain, or of the process, takes it, and its sides were not told by Close frames.
  static func noteCut(_ x: Exchange, _ worker: Worker) {
    worker.shared.noteCutTunnel()
    guard x.refusal == nil else { return }
    x.refusal = .draining
    worker.counters.add(.draining)
  }
}
