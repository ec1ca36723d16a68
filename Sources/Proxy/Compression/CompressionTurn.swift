// How much a worker compresses in one turn of its loop, for all responses together: nothing else that is done for a response takes as
// long, and everybody else waits for it. A response that finds nothing left waits, behind those that wait already, and each gets as much
// as all may have in a turn before the next one does.
//
//   begin ─► events ─► those that wait, in their order (Worker.compressFurther) ─► wait for events
//
// Invariant: `bytesMax` is granted once a turn, so that no more is compressed in it, however often an exchange advances. While somebody
// waits it is granted to him, not to those whom events bring first.

import Platform

package final class CompressionTurn {
  /// Of content. On documents this takes 2 ms at level 4 (decision 29).
  package static let usualBytesMax = 64 * 1024

  /// What a turn may have. Tests have less, so that responses wait.
  private let bytesMax: Int
  /// What may still be compressed now.
  private(set) var bytesLeft = 0
  private let waiting = WorkList<Downstream>()
  /// What this turn may have is kept for those that wait.
  private var isReserved = false

  init(bytesMax: Int) { self.bytesMax = bytesMax }

  /// Whether somebody waits for the next turn.
  var isAwaited: Bool { !waiting.isEmpty }

  func begin() {
    isReserved = isAwaited
    bytesLeft = isReserved ? 0 : bytesMax
  }

  func take(_ count: Int) { bytesLeft -= count }

  /// Has a connection carried on when it is its turn.
  func wait(_ d: Downstream) {
    guard !d.awaitsCompression else { return }
    d.awaitsCompression = true
    waiting.append(d)
  }

  /// Who carries on now; nil where nobody waits, or nothing is left. One whose response has ended meanwhile may be among them.
  func next() -> Downstream? {
    if isReserved {
      isReserved = false
      bytesLeft = bytesMax
    }
    guard bytesLeft > 0, !waiting.isEmpty else { return nil }
    let d = waiting.remove(at: 0)
    d.awaitsCompression = false
    return d
  }
}
