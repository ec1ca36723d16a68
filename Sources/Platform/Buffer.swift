// A byte queue of fixed capacity: appended to at the end, consumed from the front. A connection owns two for its whole life.
// Their memory is a chunk of the worker's BufferPool, returned when they are empty, so an idle connection holds none. One of which
// there are many (a stream's) begins with a small chunk of another pool, and moves into a large one when it needs it.
// Invariants: 0 <= begin <= end <= limit <= capacity; base is nil only if begin == end == limit == 0; begin..<end is initialized. While the
// readable bytes are borrowed (`borrowCount` > 0) nothing may move, free or overwrite them; an attempt traps.
// Used by Transport (to read and write) and by the proxy's codecs. Confined to one worker's thread.

import CLinux
import Glibc
import Wire

@safe public final class Buffer: ByteSink {
  @usableFromInline
  @safe struct State {
    // SAFETY: nil, or a chunk of `limit` bytes that the pool gave, or `small` where `isSmall`, and only this buffer has.
    @usableFromInline var base: UnsafeMutablePointer<UInt8>?
    /// The size of the chunk.
    @usableFromInline var limit = 0
    @usableFromInline var begin = 0
    @usableFromInline var end = 0
    /// Calls of `withReadable` that have not returned.
    @usableFromInline var borrowCount: Int32 = 0
    @usableFromInline var isSmall = false
    @usableFromInline var overflowed = false
  }

  // Beside the rest of the object, so that there is one line of the processor's cache to fetch and not two.
  // SAFETY: no access is checked against another while the program runs, for there never are two: no method lends the state, or calls
  // anything while it changes it. Buffer is not Sendable: one thread uses it. The methods below that touch nothing but the state refer
  // to this as "the state's own memory".
  @exclusivity(unchecked) @usableFromInline var state = State()
  public let pool: BufferPool
  /// Where the first chunk comes from, if it is to be smaller than the pool's; the pool itself where it is not.
  @usableFromInline let small: BufferPool
  /// How many bytes the buffer can hold.
  public let capacity: Int

  /// An empty buffer that takes its memory from `pool`.
  /// - Parameter small: has smaller chunks, which are enough most of the time.
  public init(pool: BufferPool, small: BufferPool? = nil) {
    self.pool = pool
    self.small = small ?? pool
    capacity = pool.chunkBytes
  }

  /// An empty buffer that shares its memory with no other.
  public convenience init(capacity: Int) {
    self.init(pool: BufferPool(chunkBytes: capacity, keptMax: 0))
  }

  deinit {
    // SAFETY: nobody has a reference to self any more, so nothing is lent; the chunk goes back once, to where it came from.
    if let base = unsafe state.base { unsafe giveBack(base) }
  }

  /// Readable bytes: appended and not yet consumed.
  // SAFETY: the state's own memory.
  @inlinable public var count: Int { unsafe state.end &- state.begin }
  // SAFETY: the state's own memory.
  @inlinable public var isEmpty: Bool { unsafe state.end == state.begin }
  /// How many bytes can still be appended; the readable bytes are moved to the front if necessary.
  @inlinable public var room: Int { capacity &- count }
  /// An append did not fit since the last `removeAll`. Its bytes are missing, all of them.
  // SAFETY: the state's own memory.
  @inlinable public var overflowed: Bool { unsafe state.overflowed }

  /// Calls `body` with the readable bytes. `body` may append to this buffer as long as the readable bytes need not be moved
  /// for it, and must not change it in any other way.
  @inlinable @inline(__always)
  public func withReadable<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    guard let base = unsafe state.base else { return try body(Span<UInt8>()) }
    // SAFETY: begin..<end is initialized. As long as borrowCount counts this call, whatever would move, free or overwrite
    // these bytes traps; an append writes behind end.
    unsafe state.borrowCount &+= 1
    defer { unsafe state.borrowCount &-= 1 }
    let span = unsafe Span<UInt8>(
      _unsafeStart: UnsafePointer(base + state.begin), count: state.end &- state.begin)
    return try body(span)
  }

  /// Removes the first `n` readable bytes.
  @inlinable public func consume(_ n: Int) {
    precondition(n >= 0 && n <= count)
    checkNotBorrowed()
    // SAFETY: the state's own memory; begin stays at most end.
    unsafe state.begin &+= n
    if unsafe state.begin == state.end {
      unsafe state.begin = 0
      unsafe state.end = 0
    }
  }

  /// Removes the last `n` readable bytes.
  public func removeLast(_ n: Int) {
    precondition(n >= 0 && n <= count)
    checkNotBorrowed()
    // SAFETY: the state's own memory; end stays at least begin.
    unsafe state.end -= n
  }

  /// Empties the buffer and clears `overflowed`; keeps its memory.
  @inlinable public func removeAll() {
    checkNotBorrowed()
    // SAFETY: the state's own memory.
    unsafe state.begin = 0
    unsafe state.end = 0
    unsafe state.overflowed = false
  }

  /// Returns the memory to the pool if the buffer is empty.
  @inlinable public func releaseIfEmpty() {
    checkNotBorrowed()
    // SAFETY: the state's own memory.
    if isEmpty, unsafe state.base != nil { release() }
  }

  /// Returns the memory to the pool; the buffer is empty.
  @usableFromInline @inline(never) func release() {
    // SAFETY: the chunk came from the pool, nothing in it is lent, and this buffer forgets it.
    guard let base = unsafe state.base else { return }
    unsafe giveBack(base)
    unsafe state.base = nil
    unsafe state.limit = 0
    unsafe state.begin = 0
    unsafe state.end = 0
  }

  /// Returns a chunk to the pool that it came from.
  // SAFETY: callers give the chunk that this buffer has, and forget it.
  @inlinable @inline(__always) func giveBack(_ chunk: UnsafeMutablePointer<UInt8>) {
    if unsafe state.isSmall { unsafe small.give(chunk) } else { unsafe pool.give(chunk) }
  }

  /// Empties the buffer and returns its memory to the pool.
  public func reset() {
    removeAll()
    releaseIfEmpty()
  }

  /// Makes room for `n` bytes behind `end`. False, and `overflowed` is set, if they do not fit.
  @inlinable public func reserve(_ n: Int) -> Bool {
    // SAFETY: the state's own memory.
    if unsafe n <= state.limit &- state.end, unsafe state.base != nil { return true }
    return reserveSlowly(n)
  }

  @usableFromInline @inline(never) func reserveSlowly(_ n: Int) -> Bool {
    // SAFETY: the state's own memory; a chunk of a pool holds its chunkBytes.
    guard n >= 0, n <= room else {
      unsafe state.overflowed = true
      return false
    }
    if unsafe state.base == nil {
      if small !== pool, n <= small.chunkBytes {
        unsafe state.base = small.take()
        unsafe state.limit = small.chunkBytes
        unsafe state.isSmall = true
      } else {
        unsafe state.base = pool.take()
        unsafe state.limit = capacity
        unsafe state.isSmall = false
      }
    }
    if unsafe n > state.limit - count { grow() }
    if unsafe n > state.limit - state.end { compact() }
    return true
  }

  /// Moves from a small chunk into a large one.
  private func grow() {
    guard let base = unsafe state.base, unsafe state.isSmall else { return }
    checkNotBorrowed()
    let held = count
    // SAFETY: the readable bytes, of which nothing is lent, lie within the small chunk, and the new one holds capacity bytes, which
    // are more. The small one goes back once.
    let chunk = unsafe pool.take()
    unsafe memcpy(chunk, base + state.begin, held)
    unsafe giveBack(base)
    unsafe state.base = chunk
    unsafe state.limit = capacity
    unsafe state.isSmall = false
    unsafe state.begin = 0
    unsafe state.end = held
  }

  /// Moves the readable bytes to the front of the chunk.
  public func compact() {
    guard let base = unsafe state.base, unsafe state.begin > 0 else { return }
    checkNotBorrowed()
    let held = count
    // SAFETY: both ranges lie inside the chunk, of which nothing is lent; memmove allows overlap.
    unsafe memmove(base, base + state.begin, held)
    unsafe state.begin = 0
    unsafe state.end = held
  }

  @inlinable public func append(_ byte: UInt8) {
    guard reserve(1), let base = unsafe state.base else { return }
    // SAFETY: reserve made sure of one byte behind end.
    unsafe base[state.end] = byte
    unsafe state.end &+= 1
  }

  @inlinable public func append(_ bytes: Span<UInt8>) {
    let n = bytes.count
    guard n > 0, reserve(n), let base = unsafe state.base else { return }
    // SAFETY: reserve made sure of n bytes behind end. A span of this same buffer ends where they begin, and reserve
    // moves nothing while it is lent.
    unsafe bytes.withUnsafeBufferPointer { source in
      _ = unsafe memcpy(base + state.end, source.baseAddress!, n)
    }
    unsafe state.end &+= n
  }

  // Always inlined: the length of a literal is then a constant, and the copy a few stores.
  @inlinable @inline(__always) public func append(_ literal: StaticString) {
    let n = literal.utf8CodeUnitCount
    guard n > 0, reserve(n), let base = unsafe state.base else { return }
    // SAFETY: reserve made sure of n bytes behind end; a literal's bytes are constants of the program.
    unsafe memcpy(base + state.end, literal.utf8Start, n)
    unsafe state.end &+= n
  }

  @inlinable @inline(__always) public func append(packed word: UInt64, count n: Int) {
    precondition(n >= 0 && n <= 8)
    guard let base = unsafe state.base, unsafe state.limit &- state.end >= 8 else {
      return appendSlowly(packed: word, 0, count: n)
    }
    // SAFETY: eight bytes of the chunk follow end, of which the first n count from now on.
    unsafe UnsafeMutableRawPointer(base + state.end).storeBytes(of: word.littleEndian, as: UInt64.self)
    unsafe state.end &+= n
  }

  @inlinable @inline(__always) public func append(packed word: UInt64, _ second: UInt64, count n: Int) {
    precondition(n >= 0 && n <= 16)
    guard let base = unsafe state.base, unsafe state.limit &- state.end >= 16 else {
      return appendSlowly(packed: word, second, count: n)
    }
    // SAFETY: sixteen bytes of the chunk follow end, of which the first n count from now on.
    let room = unsafe UnsafeMutableRawPointer(base + state.end)
    unsafe room.storeBytes(of: word.littleEndian, as: UInt64.self)
    unsafe room.storeBytes(of: second.littleEndian, toByteOffset: 8, as: UInt64.self)
    unsafe state.end &+= n
  }

  /// Byte by byte: for the end of the chunk, where whole words do not fit, and for a buffer that has no memory yet.
  @usableFromInline @inline(never) func appendSlowly(packed word: UInt64, _ second: UInt64, count n: Int) {
    guard n > 0, reserve(n), let base = unsafe state.base else { return }
    // SAFETY: reserve made sure of n bytes behind end.
    for i in 0..<n {
      let byte = (i < 8 ? word : second) &>> UInt64((i & 7) &<< 3)
      unsafe base[state.end &+ i] = UInt8(truncatingIfNeeded: byte)
    }
    unsafe state.end &+= n
  }

  /// Appends a string's UTF-8. Not for the hot path.
  public func append(text: String) {
    var copy = text
    copy.withUTF8 { bytes in
      guard !bytes.isEmpty, reserve(bytes.count), let base = unsafe state.base else { return }
      // SAFETY: reserve made sure of that many bytes behind end; the copy does not change meanwhile.
      unsafe memcpy(base + state.end, bytes.baseAddress!, bytes.count)
      unsafe state.end += bytes.count
    }
  }

  /// Appends a copy of the first `n` readable bytes of `other`.
  @inlinable public func append(first n: Int, of other: Buffer) {
    precondition(n <= other.count && other !== self)
    other.withReadable { append($0.extracting(first: n)) }
  }

  /// Overwrites readable bytes from `offset` on. The whole range must be readable. Called by bench/micro alone, which verifies many
  /// requests in one place of memory, as the product does.
  public func overwrite(at offset: Int, with bytes: Span<UInt8>) {
    precondition(offset >= 0 && offset + bytes.count <= count)
    checkNotBorrowed()
    guard bytes.count > 0, let base = unsafe state.base else { return }
    // SAFETY: the range lies within begin..<end, as was just checked, and nothing of it is lent.
    unsafe bytes.withUnsafeBufferPointer { source in
      _ = unsafe memcpy(base + state.begin + offset, source.baseAddress!, bytes.count)
    }
  }

  /// Calls `body`, which makes a system call, with the free space behind `end`. It returns how many bytes were written there;
  /// a negative number counts as none. Returns 0 without calling it if the buffer is full.
  func withWritable(_ body: (UnsafeMutableRawPointer, Int) -> Int) -> Int {
    guard room > 0, reserve(1) else { return 0 }
    // With little space behind the readable bytes and much in front of them, reads would become tiny.
    // SAFETY: the state's own memory.
    if unsafe state.limit - state.end < capacity / 4, unsafe state.begin > 0 { compact() }
    guard let base = unsafe state.base else { return 0 }
    let free = unsafe state.limit - state.end
    // SAFETY: free bytes of the chunk follow end; body, in Platform alone, writes at most as many and keeps no pointer.
    let written = unsafe body(UnsafeMutableRawPointer(base + state.end), free)
    precondition(written <= free)
    if written > 0 { unsafe state.end += written }
    return written
  }

  /// Traps if the readable bytes are borrowed. To be called before anything that moves, frees or overwrites them.
  @inlinable @inline(__always) func checkNotBorrowed() {
    // SAFETY: the state's own memory.
    precondition(unsafe state.borrowCount == 0, "a buffer was changed while its bytes were borrowed")
  }

  /// The readable bytes as an array.
  public func copyBytes() -> [UInt8] {
    guard let base = unsafe state.base, !isEmpty else { return [] }
    let held = count
    // SAFETY: held bytes are initialized from begin on, and the new array has room for as many.
    return unsafe [UInt8](unsafeUninitializedCapacity: held) { room, filled in
      unsafe memcpy(room.baseAddress!, base + state.begin, held)
      filled = held
    }
  }
}

/// Chunks of one size. The one that was returned last is handed out first, since it is most likely to be in the processor's
/// cache. Each worker has its own.
@safe public final class BufferPool {
  private struct State {
    var freeCount = 0
    var lent = 0
  }

  /// Size of each chunk.
  public let chunkBytes: Int
  private let keptMax: Int
  // Behind pointers, because stored properties of a class would cost dynamic exclusivity checks on the hot path.
  // SAFETY: initialized in init, freed in deinit, never lent. BufferPool is not Sendable: one thread uses it. `free` has
  // keptMax entries, of which the first freeCount are chunks of chunkBytes that `take` allocated and nobody else has.
  private let state: UnsafeMutablePointer<State>
  private let free: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>>

  /// Chunks in use, for the metrics page and for tests.
  // SAFETY: the state is initialized in init and lives as long as self.
  public var lent: Int { unsafe state.pointee.lent }

  /// - Parameters:
  ///   - chunkBytes: size of each chunk.
  ///   - keptMax: how many free chunks are kept for reuse; others are freed.
  public init(chunkBytes: Int, keptMax: Int) {
    precondition(chunkBytes > 0 && keptMax >= 0)
    self.chunkBytes = chunkBytes
    self.keptMax = keptMax
    // SAFETY: room for one State, initialized at once, and for keptMax entries, read only below freeCount.
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
    unsafe free = .allocate(capacity: max(1, keptMax))
  }

  deinit {
    // SAFETY: nobody has a reference to self any more, no buffer either, so no chunk is in use; each free one is freed once.
    for i in 0..<(unsafe state.pointee.freeCount) { unsafe free[i].deallocate() }
    unsafe free.deallocate()
    unsafe state.deallocate()
  }

  /// Keeps at most so many free chunks.
  public func release(keeping most: Int) {
    precondition(most >= 0)
    // SAFETY: entries below freeCount are chunks that `take` allocated; each is forgotten as it is freed.
    while unsafe state.pointee.freeCount > most {
      unsafe state.pointee.freeCount -= 1
      unsafe free[state.pointee.freeCount].deallocate()
    }
  }

  @usableFromInline func take() -> UnsafeMutablePointer<UInt8> {
    // SAFETY: entry count - 1 is a chunk that nobody has, and it is handed to one taker. A new one has chunkBytes.
    unsafe state.pointee.lent += 1
    let count = unsafe state.pointee.freeCount
    guard count > 0 else { return UnsafeMutablePointer<UInt8>.allocate(capacity: chunkBytes) }
    unsafe state.pointee.freeCount = count - 1
    return unsafe free[count - 1]
  }

  @usableFromInline func give(_ chunk: UnsafeMutablePointer<UInt8>) {
    // SAFETY: callers, in Platform alone, give a chunk that they took here, and forget it. freeCount is below keptMax where
    // an entry is written.
    unsafe state.pointee.lent -= 1
    let count = unsafe state.pointee.freeCount
    guard count < keptMax else {
      unsafe chunk.deallocate()
      return
    }
    unsafe free[count] = chunk
    unsafe state.pointee.freeCount = count + 1
  }
}
