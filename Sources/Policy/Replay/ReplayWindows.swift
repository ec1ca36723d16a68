// All replay windows of a process: one table for each purpose and key name. They belong to the process, not to a
// configuration: a reload builds new verifiers on the same windows. In an upgrade they go to the next process as well, and both
// mark the same memory as long as both live (decision 25).

import Platform
import Synchronization
import Wire

package final class ReplayWindows: Sendable {
  private struct Serving {
    /// Whose messages are taken here; nil: nobody's.
    var audience: String?
    var start: StartWindow
    var hasBegun: Bool
    /// By which keys.
    var lanes: Set<Lane> = []
    /// Of keys that have come since.
    var lateStarts: [Lane: StartWindow] = [:]
  }
  private let serving: Mutex<Serving>

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
    serving = Mutex(Serving(audience: nil, start: StartWindow(start), hasBegun: false))
    self.windowBits = windowBits
    self.epochsMax = epochsMax
  }

  /// When the windows began to be kept, of the audience that is served now. What was signed earlier may have been used before and
  /// is not taken.
  package var start: StartWindow { serving.withLock { $0.start } }

  /// From now on messages to `audience` that these keys have signed are taken here; with nil, nobody's. An audience, or a key, that comes
  /// later than the process, by a reload or an upgrade, may have been another process's until now, which remembers what it took (one that
  /// served, and ended before the upgrade to it was over): it has a start of its own. To be said before any verifier for it is made.
  package func serve(_ audience: String?, keys: KeySet?, skewMilliseconds: UInt64, at now: Clock.Reading) {
    let lanes = ReplayWindows.lanes(of: keys, audience)
    serving.withLock { serving in
      if audience != serving.audience, audience != nil, serving.hasBegun {
        serving.start = StartWindow(now)
        serving.lateStarts = [:]
      } else if serving.hasBegun {
        serving.lateStarts = serving.lateStarts.filter { lanes.contains($0.key) }
        for lane in lanes.subtracting(serving.lanes) { serving.lateStarts[lane] = StartWindow(now) }
      }
      serving.audience = audience
      serving.hasBegun = true
      serving.lanes = lanes
      serving.start.note(skewMilliseconds: skewMilliseconds)
      for start in serving.lateStarts.values { start.note(skewMilliseconds: skewMilliseconds) }
    }
  }

  private static func lanes(of keys: KeySet?, _ audience: String?) -> Set<Lane> {
    guard let keys, let audience else { return [] }
    var lanes: Set<Lane> = []
    for id in keys.keys.map(\.id) {
      for purpose in KeyPurpose.allCases where keys.key(id, purpose: purpose, audience: audience) != nil {
        lanes.insert(Lane(purpose: purpose, keyID: id))
      }
    }
    return lanes
  }

  /// The same as `start` of one key; nil where it has none of its own.
  func start(purpose: KeyPurpose, keyID: KeyID) -> StartWindow? {
    serving.withLock { $0.lateStarts[Lane(purpose: purpose, keyID: keyID)] }
  }

  /// When nothing that is signed now is refused any more by the start of a key that came late (monotonic milliseconds); 0: there is none.
  /// Attestations count whole seconds.
  package var lateStartsEndMilliseconds: UInt64 {
    serving.withLock { serving in
      serving.lateStarts.values.map { $0.startMilliseconds + $0.skewMillisecondsMax + 1_000 }.max() ?? 0
    }
  }

  /// What the next process goes on with, which knows one start for all keys: the latest.
  var carriedStart: StartWindow.Carried {
    serving.withLock { serving in
      serving.lateStarts.values.reduce(serving.start.carried) { $0.later($1.carried) }
    }
  }

  /// A table of another process, by what it is for.
  package struct Carried: Sendable {
    package let purpose: KeyPurpose
    package let keyID: KeyID
    package let descriptor: Int32

    package init(purpose: KeyPurpose, keyID: KeyID, descriptor: Int32) {
      self.purpose = purpose
      self.keyID = keyID
      self.descriptor = descriptor
    }
  }

  /// The windows of the process before this one, which served `audience` and go on: for that audience this one has no starting time of
  /// its own. Takes the descriptors, also where it is nil: one of them has no such table in it, or two are for the same.
  package init?(
    continuing start: StartWindow.Carried, of audience: String?, windowBits: Int, epochsMax: Int, _ carried: [Carried]
  ) {
    let lanes = Set(carried.map { Lane(purpose: $0.purpose, keyID: $0.keyID) })
    serving = Mutex(Serving(audience: audience, start: StartWindow(start), hasBegun: true, lanes: lanes))
    self.windowBits = windowBits
    self.epochsMax = epochsMax
    var tables: [Lane: ReplayTable] = [:]
    var areWhole = true
    for each in carried {
      let table = ReplayTable(sharing: each.descriptor, windowBits: windowBits, epochsMax: epochsMax)
      let lane = Lane(purpose: each.purpose, keyID: each.keyID)
      if table == nil || tables.updateValue(table!, forKey: lane) != nil { areWhole = false }
    }
    guard areWhole else { return nil }
    self.tables.withLock { $0 = tables }
  }

  /// The tables of keys by which messages are taken here, for the next process, in which any other key has a start of its own. The
  /// descriptors stay this object's.
  package var carried: [Carried] {
    let lanes = serving.withLock { $0.lanes }
    return tables.withLock { tables in
      tables.filter { lanes.contains($0.key) }.map {
        Carried(purpose: $0.purpose, keyID: $0.keyID, descriptor: $1.descriptor)
      }
    }
  }

  /// Makes the tables of all keys that verify here, which workers would make one after another. False where there is no address
  /// space for one.
  package func makeTables(for keys: KeySet, audience: String) -> Bool {
    ReplayWindows.lanes(of: keys, audience).allSatisfy { table(purpose: $0.purpose, keyID: $0.keyID) != nil }
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
