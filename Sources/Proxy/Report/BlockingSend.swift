// Sending for those who may wait: commands, and threads that ask a validator. No worker does.

import Platform

extension Transport {
  enum BlockingSend {
    case sent
    /// The time is over.
    case late
    case broken
  }

  /// Sends all of `output`, waiting for room until the deadline.
  func sendAll(_ output: Buffer, deadlineMilliseconds: UInt64) -> BlockingSend {
    while !output.isEmpty {
      noteWritable()
      switch flush(output) {
      case .bytes: continue
      case .blocked:
        let now = Clock.monotonicMilliseconds()
        guard now < deadlineMilliseconds,
          Sockets.waitWritable(descriptor, timeoutMilliseconds: Int32(deadlineMilliseconds - now))
        else { return .late }
      case .ended, .failed: return .broken
      }
    }
    return .sent
  }
}
