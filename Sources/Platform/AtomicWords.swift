// A large array of 64-bit words that threads share without a lock. A page takes memory only once one of its words is
// written, so an array may be much larger than the part that is used, and ranges can be returned to the kernel.
// Used by ReplayTable.

import Glibc
import Synchronization

@safe package final class AtomicWords: @unchecked Sendable {
  package let count: Int
  // SAFETY: an anonymous mapping of `count` words, made in init and unmapped in deinit, and never lent. An Atomic<UInt64>
  // is one word and Atomic(0) is all zero bits, so zero pages are initialized storage. Threads reach the words only by
  // atomic operations, at indices that each method checks.
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>

  /// `count` words, all zero; nil if the address space or a memory limit does not allow it.
  package init?(count: Int) {
    precondition(count > 0 && count <= 1 << 40)
    self.count = count
    let bytes = count * MemoryLayout<UInt64>.stride
    // SAFETY: the kernel chooses a place where nothing is mapped, and the result is compared with MAP_FAILED.
    guard
      let memory = unsafe mmap(
        nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | Int32(MAP_ANONYMOUS) | Int32(MAP_NORESERVE), -1, 0),
      unsafe memory != UnsafeMutableRawPointer(bitPattern: -1)
    else { return nil }
    unsafe base = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
  }

  // SAFETY: the mapping of init, with the same size; nobody else has a reference to self any more.
  deinit { unsafe munmap(base, count * MemoryLayout<UInt64>.stride) }

  @inlinable package func load(_ i: Int) -> UInt64 {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count; the mapping lives as long as self.
    return unsafe base[i].load(ordering: .sequentiallyConsistent)
  }

  @inlinable package func store(_ value: UInt64, at i: Int) {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count; the mapping lives as long as self.
    unsafe base[i].store(value, ordering: .sequentiallyConsistent)
  }

  /// Compare and exchange: stores `new` if the word is `old`. `found` is the word as it was.
  @inlinable package func exchange(at i: Int, old: UInt64, new: UInt64) -> (done: Bool, found: UInt64) {
    precondition(i >= 0 && i < count)
    // SAFETY: i is below count; the mapping lives as long as self.
    let result = unsafe base[i].compareExchange(expected: old, desired: new, ordering: .sequentiallyConsistent)
    return (result.exchanged, result.original)
  }

  /// Raises the word to `value`; does not write if it is that large already.
  @inlinable package func raise(_ i: Int, to value: UInt64) {
    var found = load(i)
    while found < value {
      let (done, now) = exchange(at: i, old: found, new: value)
      if done { return }
      found = now
    }
  }

  /// Zeroes a range, and returns its whole pages to the kernel.
  package func clear(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let page = Int(getpagesize()) / MemoryLayout<UInt64>.stride
    let first = (range.lowerBound + page - 1) / page * page
    let last = range.upperBound / page * page
    guard first < last else {
      for i in range { store(0, at: i) }
      return
    }
    for i in range.lowerBound..<first { store(0, at: i) }
    // SAFETY: the pages from first to last lie inside the mapping, since first and last are within the range that was
    // checked. Private anonymous memory reads as zero afterwards, which is what the words are set to.
    if unsafe madvise(base + first, (last - first) * MemoryLayout<UInt64>.stride, MADV_DONTNEED) != 0 {
      for i in first..<last { store(0, at: i) }
    }
    for i in last..<range.upperBound { store(0, at: i) }
  }
}
