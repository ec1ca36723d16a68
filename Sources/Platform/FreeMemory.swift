// Giving back to the system what malloc keeps after a burst: free pages between blocks that are still in use, which it
// would only return from the end of a heap.

import CLinux
import Glibc
import Synchronization

package final class FreeMemory: Sendable {
  /// Calls since the thread began; none while there is no thread.
  private let asked = Atomic<Int>(0)

  package init() {}

  /// Has a thread of its own do it, one at a time: it takes each heap's lock for as long as that heap takes, which a
  /// thread that serves should not wait for. What is freed before this call is given back, also while that is under way.
  package func giveBack() {
    guard asked.add(1, ordering: .acquiringAndReleasing).oldValue == 0 else { return }
    let started = try? WorkerThread.start(name: "free-memory", processor: nil) { [self] in
      var answered = asked.load(ordering: .acquiring)
      while true {
        _ = malloc_trim(0)
        let (done, now) = asked.compareExchange(expected: answered, desired: 0, ordering: .acquiringAndReleasing)
        if done { return }
        answered = now
      }
    }
    if let started { started.detach() } else { asked.store(0, ordering: .releasing) }
  }
}
