// Counters that one thread writes and every thread may read.

import Synchronization

@safe package final class CounterWords: @unchecked Sendable {
  // SAFETY: `count` words, allocated and initialized in init, freed in deinit, never lent. Threads reach them only by atomic
  // operations, at indices that each method checks.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  package let count: Int

  package init(count: Int) {
    self.count = count
    // SAFETY: room for count words, each initialized once.
    unsafe words = .allocate(capacity: count)
    for i in 0..<count { unsafe (words + i).initialize(to: Atomic(0)) }
  }

  deinit {
    // SAFETY: what init allocated, with the same count; nobody else has a reference to self any more.
    unsafe words.deinitialize(count: count)
    unsafe words.deallocate()
  }

  /// For the one writing thread: a load and a store instead of an atomic addition, which is slower.
  package func add(_ i: Int, _ n: UInt64) {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count. Two threads that add would lose a count, but not memory safety.
    let now = unsafe words[i].load(ordering: .relaxed)
    unsafe words[i].store(now &+ n, ordering: .relaxed)
  }

  package func store(_ i: Int, _ value: UInt64) {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count.
    unsafe words[i].store(value, ordering: .relaxed)
  }

  package func load(_ i: Int) -> UInt64 {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count.
    return unsafe words[i].load(ordering: .relaxed)
  }
}
