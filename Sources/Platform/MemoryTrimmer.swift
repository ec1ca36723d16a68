// Returns memory to the system that malloc keeps after a burst: whole free pages between blocks that are still in use. By
// itself malloc returns only the end of a heap.

import CLinux
import Glibc
import Synchronization

package final class MemoryTrimmer: Sendable {
  /// Calls of `trim` since the thread was started; 0 while there is no thread.
  private let requested = Atomic<Int>(0)

  package init() {}

  /// Starts a thread that trims, unless one is running. malloc_trim holds each heap's lock while it works on that heap, and a
  /// worker should not wait for that. All memory that was freed before this call is covered: a thread that is running
  /// starts again.
  package func trim() {
    guard requested.add(1, ordering: .acquiringAndReleasing).oldValue == 0 else { return }
    let started = try? WorkerThread.start(name: "memory-trim", processor: nil) { [self] in
      var served = requested.load(ordering: .acquiring)
      while true {
        _ = malloc_trim(0)
        let (done, now) = requested.compareExchange(expected: served, desired: 0, ordering: .acquiringAndReleasing)
        if done { return }
        served = now
      }
    }
    if let started { started.detach() } else { requested.store(0, ordering: .releasing) }
  }
}
