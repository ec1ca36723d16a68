// A large array of 64-bit words that threads, and processes, share without a lock. It lies in a memory file (memfd_create(2)):
// whoever has its descriptor can map the same words. A page takes memory only once one of its words is touched, so an array may be
// much larger than the part that is used, and ranges can be returned to the kernel.
// Used by ReplayTable.

import CLinux
import Glibc
import Synchronization

@safe package final class AtomicWords: @unchecked Sendable {
  package let count: Int
  /// The memory file, open as long as this object lives.
  package let descriptor: Int32
  // SAFETY: a shared mapping of `count` words of a file that can neither shrink nor grow (it is sealed), made in init and
  // unmapped in deinit, and never lent. An Atomic<UInt64> is one word and Atomic(0) is all zero bits, so zero pages are
  // initialized storage. Threads and processes reach the words only by atomic operations, at indices that each method checks.
  @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>

  /// `count` words, all zero; nil if the address space or a limit does not allow it.
  package convenience init?(count: Int) {
    precondition(count > 0 && count <= 1 << 40)
    // SAFETY: the name is a NUL-terminated copy that lives for the call.
    let file = unsafe cs_memory_file("countersign")
    guard file >= 0 else { return nil }
    guard ftruncate(file, count * MemoryLayout<UInt64>.stride) == 0, cs_seal_size(file) == 0 else {
      close(file)
      return nil
    }
    self.init(sharing: file, count: count)
  }

  /// The words that another process made. The descriptor is this object's from here on, also where it is nil: the file is of
  /// another size, or could change its size.
  package init?(sharing file: Int32, count: Int) {
    precondition(count > 0 && count <= 1 << 40)
    let bytes = count * MemoryLayout<UInt64>.stride
    var status = stat()
    // SAFETY: `status` is a whole struct stat for the call to fill. The kernel chooses a place where nothing is mapped, and
    // the result is compared with MAP_FAILED.
    guard cs_has_sealed_size(file) == 1, unsafe fstat(file, &status) == 0, status.st_size == bytes,
      let memory = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | Int32(MAP_NORESERVE), file, 0),
      unsafe memory != UnsafeMutableRawPointer(bitPattern: -1)
    else {
      close(file)
      return nil
    }
    self.count = count
    descriptor = file
    unsafe base = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
  }

  // SAFETY: the mapping of init, with the same size; nobody else has a reference to self any more.
  deinit {
    unsafe munmap(base, count * MemoryLayout<UInt64>.stride)
    close(descriptor)
  }

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
    // A hole reads as zero in every process that has mapped the file.
    let word = MemoryLayout<UInt64>.stride
    if cs_punch_hole(descriptor, first * word, (last - first) * word) != 0 {
      for i in first..<last { store(0, at: i) }
    }
    for i in last..<range.upperBound { store(0, at: i) }
  }

  /// Runs `body` while no other process does, and returns nil, without running it, where one does for longer than
  /// `waitMilliseconds`. The threads of this process have to see to themselves. A process that ends gives the lock back.
  package func withProcessLock<R>(waitMilliseconds: Int, _ body: () -> R) -> R? {
    var waited = 0
    while cs_lock_file(descriptor) != 0 {
      guard waited < waitMilliseconds else { return nil }
      Clock.sleep(milliseconds: 1)
      waited += 1
    }
    defer { _ = cs_unlock_file(descriptor) }
    return body()
  }
}
