// After a 101: bytes both ways, each side's buffer the other's, until both have ended. A direction may end before the other.

import Platform
import Policy
import Wire

extension Worker {
  /// Reads of one tunnel in one turn, before other connections have theirs.
  private static let tunnelStepsPerTurn = 16

  func beginTunnel(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ length: Int) {
    x.status = 101
    x.responseStartedMicroseconds = nowMicroseconds
    x.isTunnel = true
    write(responseHead, x, d, u, length, .none, isTunnel: true)
    u.input.consume(length)
    letGo(x)
    d.phase = .tunnel
    openTunnels += 1
    counters.add(.tunnels)
    wheel.set(u.timer, deadlineMilliseconds: 0)
    setDeadline(d, afterMilliseconds: plan.config.timeouts.tunnelMilliseconds)
  }

  func relayTunnel(_ x: Exchange) {
    guard let d = x.downstream, let u = x.upstream else { return }
    var steps = 0
    var delivered = false
    while true {
      guard steps < Worker.tunnelStepsPerTurn else {
        enqueue(d)
        break
      }
      steps += 1
      let up = carry(
        from: d.transport, d.input, to: u.transport, u.output, sourceEnded: &d.inputEnded, sinkIsDeaf: &x.upstreamDeaf,
        sourceIsDeaf: &x.clientDeaf)
      let down = carry(
        from: u.transport, u.input, to: d.transport, d.output, sourceEnded: &x.upstreamEnded,
        sinkIsDeaf: &x.clientDeaf, sourceIsDeaf: &x.upstreamDeaf)
      if case .moved(let n) = up { x.bytesIn += UInt64(n) }
      if case .moved(let n) = down { x.bytesOut += UInt64(n) }
      if up.isDelivery || down.isDelivery { delivered = true }
      if up == .still, down == .still { break }
    }
    if isTunnelOver(x, d, u) {
      endTunnel(x)
      return
    }
    d.input.releaseIfEmpty()
    d.output.releaseIfEmpty()
    u.input.releaseIfEmpty()
    u.output.releaseIfEmpty()
    setTunnelDeadline(x, d, delivered: delivered)
  }

  /// Nothing more can come from either side, or nothing that comes could be delivered.
  private func isTunnelOver(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    if x.upstreamDeaf, x.clientDeaf { return true }
    guard d.inputEnded, x.upstreamEnded else { return false }
    let isUpDone = x.upstreamDeaf || d.input.isEmpty && u.isFlushed
    let isDownDone = x.clientDeaf || u.input.isEmpty && d.isFlushed
    return isUpDone && isDownDone
  }

  /// A tunnel may be quiet for `timeouts.tunnel`. Once a side has ended, or takes no more, the other has
  /// `timeouts.tunnel_close` without a byte that can still be delivered. Bytes that complete no TLS record count for
  /// neither.
  private func setTunnelDeadline(_ x: Exchange, _ d: Downstream, delivered: Bool) {
    let isOneSided = d.inputEnded || x.upstreamEnded || x.upstreamDeaf || x.clientDeaf
    let justEnded = isOneSided && !x.isTunnelClosing
    if justEnded { x.isTunnelClosing = true }
    guard delivered || justEnded else { return }
    let timeouts = plan.config.timeouts
    let tunnel = timeouts.tunnelMilliseconds
    setDeadline(d, afterMilliseconds: isOneSided ? min(timeouts.tunnelCloseMilliseconds, tunnel) : tunnel)
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
  private func carry(
    from source: Transport, _ input: Buffer, to sink: Transport, _ gathered: Buffer, sourceEnded: inout Bool,
    sinkIsDeaf: inout Bool, sourceIsDeaf: inout Bool
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
    guard !sourceEnded else { return sent > 0 ? .moved(sent) : .still }
    let read = source.read(into: input)
    switch read {
    case .bytes:
      guard sinkIsDeaf else { return .moved(sent) }
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
  func endTunnel(_ x: Exchange, isLate: Bool = false) {
    guard x.isTunnel, let d = x.downstream else { return }
    openTunnels -= 1
    record(x)
    if let u = x.upstream {
      x.upstream = nil
      u.exchange = nil
      u.pool?.active -= 1
      close(u, reset: isLate && u.transport.isOwedRoom)
    }
    endExchange(x, d)
    if isLate { closeLate(d) } else { close(d) }
  }
}
