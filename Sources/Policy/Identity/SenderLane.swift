// Where a signer's sequence numbers come from. A lane is one event loop's, for one of the two carriers, for the life of
// the process: signers come and go with the configuration, the lane goes on.
// Invariant: (epoch, sequence) never occurs twice. Confined to one worker's thread.

import Platform
import Wire

package final class SenderLane {
  /// When the lane began, in milliseconds as 48 bits, then 16 random bits.
  package let epoch: UInt64
  private var last: UInt64 = 0

  package init(epoch: UInt64, last: UInt64 = 0) {
    precondition(epoch > 1)
    self.epoch = epoch
    self.last = last
  }

  /// A number that was never given before. Running out would take 29,000 years at ten million a second.
  package func next() -> UInt64 {
    precondition(last < SignatureInput.sequenceMax)
    last &+= 1
    return last
  }
}

/// One worker's two lanes.
package struct SenderLanes {
  package let http: SenderLane
  package let pp2: SenderLane

  package init(http: SenderLane, pp2: SenderLane) {
    self.http = http
    self.pp2 = pp2
  }

  /// The random bits of both epochs.
  package var epochBits: Set<UInt16> {
    [UInt16(truncatingIfNeeded: http.epoch), UInt16(truncatingIfNeeded: pp2.epoch)]
  }

  /// Lanes for all workers of a process. They begin in the same millisecond, so the random parts are made to differ:
  /// with 64 workers, two equal draws of 16 bits would not be rare.
  /// - Parameter others: random bits that other lanes of the process have.
  package static func make(
    workers: Int, nowMilliseconds: UInt64, apartFrom others: Set<UInt16> = []
  ) throws(CryptoError) -> [SenderLanes] {
    precondition(workers >= 0 && workers <= 1 << 12)
    var taken = others
    var lanes: [SenderLanes] = []
    while lanes.count < workers {
      let word = try SecureRandom.word()
      let http = UInt16(truncatingIfNeeded: word)
      let pp2 = UInt16(truncatingIfNeeded: word >> 16)
      guard http != pp2, !taken.contains(http), !taken.contains(pp2) else { continue }
      taken.formUnion([http, pp2])
      let start = max(nowMilliseconds, 1) << 16
      lanes.append(
        SenderLanes(http: SenderLane(epoch: start | UInt64(http)), pp2: SenderLane(epoch: start | UInt64(pp2))))
    }
    return lanes
  }
}
