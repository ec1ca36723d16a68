// What was counted by the processes that this one goes on for, so that counters never go back in an upgrade: what they had counted
// when this one began, and later what they counted while they drained. They go by name, because the two programs may differ.

import Platform
import Synchronization
import Wire

package final class CarriedCounters: Sendable {
  private let values = Mutex<[String: UInt64]>([:])

  package init() {}

  func value(_ counter: Counter) -> UInt64 { values.withLock { $0[counter.metric.name] ?? 0 } }
  func value(_ refusal: Refusal) -> UInt64 { values.withLock { $0[CarriedCounters.name(refusal)] ?? 0 } }

  /// What a process has counted by now, instead of what it had counted by `earlier`.
  func add(_ counts: [HandoverState.Count], insteadOf earlier: [HandoverState.Count] = []) {
    var known: [String: UInt64] = [:]
    for count in earlier { known[count.name] = count.value }
    values.withLock { values in
      for count in counts {
        let before = known[count.name] ?? 0
        guard count.value > before else { continue }
        values[count.name, default: 0] &+= count.value - before
      }
    }
  }

  private static func name(_ refusal: Refusal) -> String { "refusal \(refusal.name)" }

  /// All that this process and those before it have counted, but for what is open now.
  static func all(_ shared: ProcessShared) -> [HandoverState.Count] {
    let counters = Counter.allCases.filter { !$0.isGauge }.map {
      HandoverState.Count(name: $0.metric.name, value: shared.total($0))
    }
    return counters + Refusal.allCases.map { HandoverState.Count(name: name($0), value: shared.total($0)) }
  }
}
