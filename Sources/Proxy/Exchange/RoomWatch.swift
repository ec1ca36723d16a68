// Whether a side that owes room takes what the kernel holds for it. The kernel takes megabytes at once, and says that there is room when a third of
// them is gone, for which a slow reader may need minutes. So it is asked how much it still holds: soon after that side's time has begun, and
// at its end.

struct RoomWatch {
  /// When that side made the progress since which it was looked at; 0: it was not.
  private var lookedSince: UInt64 = 0
  private var sentBytes: UInt32 = 0
  private var heldBytes = 0

  enum Found {
    /// Nothing is known yet.
    case firstLook
    /// Something was sent since the last look, or the kernel has got rid of bytes.
    case moved
    case stuck
  }

  /// When to look, at a side that has made no progress for us since then, and has so many milliseconds.
  func deadline(since progress: UInt64, most: UInt64) -> UInt64 {
    progress + (lookedSince == progress ? most : RoomWatch.untilFirstLook(most))
  }

  /// What is taken before the first look is not seen.
  static func untilFirstLook(_ most: UInt64) -> UInt64 { most / 16 }

  /// - Parameters:
  ///   - sent: what was ever sent, to be compared.
  ///   - held: what the kernel still has of it.
  ///   - isHeldUp: that is for others, and none of it for this side.
  mutating func look(sent: UInt32, held: Int, since progress: UInt64, now: UInt64, isHeldUp: Bool) -> Found {
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
