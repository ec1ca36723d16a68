// Whether a side that owes room takes what the kernel holds for it. The kernel takes megabytes at once, and says that there is room when a third of
// them is gone, for which a slow reader may need minutes. So it is asked how much it still holds: soon after that side's time has begun, and
// at its end.

struct RoomWatch {
  /// When that side made the progress since which it was looked at; 0: it was not.
  private var lookedSince: UInt64 = 0
  private var sentBytes: UInt32 = 0
  private var heldBytes = 0

  /// What is known of what goes out to a side.
  struct Way {
    /// What was ever sent, to be compared.
    let sent: UInt32
    /// How many bytes the kernel was ever given of the connection.
    let given: UInt64
    /// What it still has of them.
    let held: Int
    /// Behind so many bytes of the connection lies nothing that was written for this side.
    let ownEnd: UInt64
    /// The next bytes that this side takes are for others: it has a stream, which has nothing to send, or no window for it.
    let isHeldUp: Bool

    /// A peer that has not got all of a stream's bytes cannot have opened its window for more.
    var mayMove: Bool { !isHeldUp || given < ownEnd + UInt64(held) }
  }

  /// When to look, at a side that has made no progress for us since then, and has so many milliseconds.
  func deadline(since progress: UInt64, most: UInt64) -> UInt64 {
    progress + (lookedSince == progress ? most : RoomWatch.untilFirstLook(most))
  }

  /// What is taken before the first look is not seen.
  private static func untilFirstLook(_ most: UInt64) -> UInt64 { most / 16 }

  /// Looks, if it is time: something that was sent since the last look, or that the kernel has got rid of, is progress.
  /// - Returns: the next deadline; nil where the side's time is over.
  mutating func look(at way: @autoclosure () -> Way, since progress: inout UInt64, most: UInt64, now: UInt64) -> UInt64?
  {
    let due = deadline(since: progress, most: most)
    guard due <= now else { return due }
    let way = way()
    let isFirst = lookedSince != progress
    let hasMoved = way.mayMove && (way.sent != sentBytes || way.held < heldBytes)
    (sentBytes, heldBytes) = (way.sent, way.held)
    guard isFirst || hasMoved else { return nil }
    if !isFirst { progress = now }
    lookedSince = progress
    return max(progress + most, now + RoomWatch.untilFirstLook(most))
  }
}
