// Requests that wait for a place at a server of one upstream (`max_connections`), over all workers: how many, and which worker has
// the oldest. The requests themselves stand in their worker's ServerQueue.
//
// No place is left free while somebody waits: whoever waits says so here and then looks for a place once more; whoever gives a place
// back looks here afterwards. Both in sequentially consistent order, so that one of the two sees the other.

import Synchronization

package final class WaitingRequests: Sendable {
  private let total = Atomic<Int>(0)
  /// For each worker, when its oldest waiting request came (monotonic ms); 0: it has none.
  private let oldest: [OldestWord]

  private final class OldestWord: Sendable {
    let value = Atomic<UInt64>(0)
  }

  package init(workers: Int) { oldest = (0..<max(1, workers)).map { _ in OldestWord() } }

  /// How many wait.
  package var count: Int { total.load(ordering: .sequentiallyConsistent) }

  /// One more waits, unless there are `most`.
  package func add(most: Int) -> Bool {
    if total.add(1, ordering: .sequentiallyConsistent).newValue > most {
      total.subtract(1, ordering: .sequentiallyConsistent)
      return false
    }
    return true
  }

  package func remove() { total.subtract(1, ordering: .sequentiallyConsistent) }

  /// A worker's oldest waiting request came then; 0: none waits there.
  package func setOldest(worker: Int, milliseconds: UInt64) {
    oldest[worker].value.store(milliseconds, ordering: .sequentiallyConsistent)
  }

  /// The worker whose oldest request waits longest; nil: none waits.
  package var next: Int? {
    var found: (worker: Int, milliseconds: UInt64)?
    for worker in oldest.indices {
      let time = oldest[worker].value.load(ordering: .sequentiallyConsistent)
      if time > 0, time < found?.milliseconds ?? .max { found = (worker, time) }
    }
    return found?.worker
  }
}
