// Whether a side that owes room takes what the kernel holds for it. The kernel takes megabytes at once, and says that there is room when a third of
// them is gone, for which a slow reader may need minutes. So it is asked how much it still holds: at half of the time that the side has, and
// at its end.

import Platform

struct RoomWatch {
  /// When that side made the progress since which it was looked at; 0: it was not.
  private var lookedSince: UInt64 = 0
  private var sentBytes: UInt32 = 0
  private var heldBytes = 0

  enum Found {
    /// Nothing is known yet.
    case firstLook
    /// The kernel has got rid of bytes since the last look.
    case moved
    case stuck
  }

  /// When to look, at a side that has made no progress for us since then, and has so many milliseconds.
  func deadline(since progress: UInt64, most: UInt64) -> UInt64 {
    progress + (lookedSince == progress ? most : most / 2)
  }

  /// - Parameter isHeldUp: what the kernel holds is for others.
  mutating func look(_ transport: Transport, since progress: UInt64, now: UInt64, isHeldUp: Bool) -> Found {
    let (sent, held) = (transport.sentBytes, transport.unacknowledgedBytes)
    defer { (sentBytes, heldBytes) = (sent, held) }
    guard lookedSince == progress else {
      lookedSince = progress
      return .firstLook
    }
    guard !isHeldUp, sent != sentBytes || held < heldBytes else { return .stuck }
    lookedSince = now
    return .moved
  }
}
