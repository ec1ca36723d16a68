// All replay windows of a process: one table for each purpose and key name. They belong to the process, not to a
// configuration: a reload builds new verifiers on the same windows.

import Platform
import Synchronization
import Wire

package final class ReplayWindows: Sendable {
  /// When the windows began to be kept. What was signed earlier may have been used before and is not taken.
  package let start: StartWindow
  package let windowBits: Int
  package let epochsMax: Int

  private struct Lane: Hashable {
    let purpose: KeyPurpose
    let keyID: KeyID
  }
  private let tables = Mutex<[Lane: ReplayTable]>([:])

  /// - Parameters:
  ///   - start: the clocks when the process began.
  ///   - windowBits: numbers that a window spans, a power of two from 2^10 to 2^24.
  ///   - epochsMax: senders of one key at the same time.
  package init(start: Clock.Reading, windowBits: Int = 1 << 18, epochsMax: Int = 1024) {
    self.start = StartWindow(start)
    self.windowBits = windowBits
    self.epochsMax = epochsMax
  }

  /// The table of a key; it is made at the first call and stays for the life of the process. Nil when there is no
  /// address space for it.
  package func table(purpose: KeyPurpose, keyID: KeyID) -> ReplayTable? {
    tables.withLock { tables in
      let lane = Lane(purpose: purpose, keyID: keyID)
      if let table = tables[lane] { return table }
      guard let table = ReplayTable(windowBits: windowBits, epochsMax: epochsMax) else { return nil }
      tables[lane] = table
      return table
    }
  }

  /// Epochs that are remembered now, of all keys; for the status page.
  package var epochCount: Int { tables.withLock { $0.values.reduce(0) { $0 + $1.epochCount } } }
}
