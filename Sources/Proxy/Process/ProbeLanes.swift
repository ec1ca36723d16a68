// The sender lanes of the probes that loads sign for validators. No worker has them, so no number is a request's; and they live as long
// as the process, so that a validator need not remember another sender with each reload. A lock, because a load that hangs may be
// followed by another.

import Platform
import Policy
import Synchronization

package final class ProbeLanes: Sendable {
  private let lanes: Mutex<SenderLanes>
  /// The random bits of its two epochs, which a worker's must not have.
  let epochBits: Set<UInt16>

  package init() throws(CryptoError) {
    let made = try SenderLanes.make(workers: 1, nowMilliseconds: Clock.wallMilliseconds())[0]
    epochBits = made.epochBits
    lanes = Mutex(made)
  }

  /// What is signed with the lanes is made in `body`.
  func sign<Signed: Sendable>(_ body: (SenderLanes) throws -> Signed) rethrows -> Signed {
    try lanes.withLock { try body($0) }
  }
}
