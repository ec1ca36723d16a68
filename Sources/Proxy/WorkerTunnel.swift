// After a 101: bytes both ways, each side's buffer the other's, until both have ended.

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
    // What the client sent behind its request was held until now.
    saveRecord(x)
    d.input.consume(x.heldBytes)
    x.heldBytes = 0
    d.phase = .tunnel
    openTunnels += 1
    counters.add(.tunnels)
    wheel.set(u.timer, deadlineMilliseconds: 0)
  }

  func relayTunnel(_ x: Exchange) {
    guard let d = x.downstream, let u = x.upstream else { return }
    var steps = 0
    var moved = true
    while moved {
      guard steps < Worker.tunnelStepsPerTurn else {
        enqueue(d)
        break
      }
      steps += 1
      moved = false
      switch carry(from: d.transport, d.input, to: u.transport, u.output, ended: &d.inputEnded) {
      case .moved(let n):
        x.bytesIn += UInt64(n)
        moved = true
      case .still: break
      case .broken:
        endTunnel(x)
        return
      }
      switch carry(from: u.transport, u.input, to: d.transport, d.output, ended: &x.upstreamEnded) {
      case .moved(let n):
        x.bytesOut += UInt64(n)
        moved = true
      case .still: break
      case .broken:
        endTunnel(x)
        return
      }
    }
    if d.inputEnded, x.upstreamEnded, d.input.isEmpty, u.input.isEmpty, !d.transport.hasUnsent, !u.transport.hasUnsent {
      endTunnel(x)
      return
    }
    d.input.releaseIfEmpty()
    d.output.releaseIfEmpty()
    u.input.releaseIfEmpty()
    u.output.releaseIfEmpty()
    setDeadline(d, afterMilliseconds: plan.config.timeouts.tunnelMilliseconds)
  }

  private enum Carried { case moved(Int), still, broken }

  /// One step of one direction: what is gathered first, then what lies in the source's buffer, then a read.
  private func carry(
    from source: Transport, _ input: Buffer, to sink: Transport, _ gathered: Buffer, ended: inout Bool
  ) -> Carried {
    if !gathered.isEmpty || sink.hasUnsent {
      switch sink.flush(gathered) {
      case .bytes, .blocked: if !gathered.isEmpty || sink.hasUnsent { return .still }
      case .ended, .failed: return .broken
      }
      if ended, input.isEmpty { sink.finish() }
    }
    var sent = 0
    if !input.isEmpty {
      switch sink.flush(input) {
      case .bytes(let n): sent = n
      case .blocked: return .still
      case .ended, .failed: return .broken
      }
      guard input.isEmpty, !sink.hasUnsent else { return sent > 0 ? .moved(sent) : .still }
      // The source ended while its last bytes were still on their way.
      if ended { sink.finish() }
    }
    guard !ended else { return sent > 0 ? .moved(sent) : .still }
    switch source.read(into: input) {
    case .bytes: return .moved(sent)
    case .blocked: return sent > 0 ? .moved(sent) : .still
    case .ended:
      ended = true
      if input.isEmpty { sink.finish() }
      return .moved(sent)
    case .failed: return .broken
    }
  }

  func endTunnel(_ x: Exchange) {
    guard x.isActive, x.isTunnel, let d = x.downstream else { return }
    openTunnels -= 1
    record(x)
    if let u = x.upstream {
      x.upstream = nil
      u.exchange = nil
      u.pool?.active -= 1
      close(u)
    }
    x.clear()
    close(d)
  }
}
