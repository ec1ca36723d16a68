// Sending for those who may wait: the admin thread, and commands. No worker does.

import Platform

extension Transport {
  enum BlockingSend {
    case sent
    /// The time is over, or whoever waits is wanted elsewhere.
    case late
    case broken
  }

  /// Sends all of `output`, waiting for room until the deadline, or until `other` is readable.
  func sendAll(_ output: Buffer, deadlineMilliseconds: UInt64, or other: Int32 = -1) -> BlockingSend {
    while !output.isEmpty {
      noteWritable()
      switch flush(output) {
      case .bytes: continue
      case .blocked:
        let now = Clock.monotonicMilliseconds()
        guard now < deadlineMilliseconds,
          Sockets.waitWritable(descriptor, or: other, timeoutMilliseconds: Int32(deadlineMilliseconds - now))
        else { return .late }
      case .ended, .failed: return .broken
      }
    }
    return .sent
  }
}
