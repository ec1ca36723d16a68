// Counters that one thread writes and any thread reads.

import Synchronization

@safe package final class CounterWords: @unchecked Sendable {
  // SAFETY: allocated and initialised in init, freed in deinit, indices checked; the words themselves are atomic.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  package let count: Int

  package init(count: Int) {
    self.count = count
    unsafe words = .allocate(capacity: count)
    for i in 0..<count { unsafe (words + i).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe words.deinitialize(count: count)
    unsafe words.deallocate()
  }

  /// Adds, by the one writing thread: a load and a store, no locked instruction.
  package func add(_ i: Int, _ n: UInt64) {
    precondition(i >= 0 && i < count)
    let now = unsafe words[i].load(ordering: .relaxed)
    unsafe words[i].store(now &+ n, ordering: .relaxed)
  }

  package func store(_ i: Int, _ value: UInt64) {
    precondition(i >= 0 && i < count)
    unsafe words[i].store(value, ordering: .relaxed)
  }

  package func load(_ i: Int) -> UInt64 {
    precondition(i >= 0 && i < count)
    return unsafe words[i].load(ordering: .relaxed)
  }
}
