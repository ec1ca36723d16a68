// The memory that libssl takes for each record and gives back with it, so that an idle connection holds none: a buffer to
// read into, one to write into, and some blocks of 40 bytes. The system's malloc serves large blocks slowly, so a thread
// keeps some of them, and the next connection's record finds them warm in its cache.
// Invariant: every block comes from malloc with the size of its kind, and nothing but that size, which malloc knows, tells a
// block of a kind from others: so it does not matter which thread took it, or before this was installed.
// Called once, before anything of libcrypto is used; after that by libcrypto, on any thread.

import CLinux
import COpenSSL
import Glibc

package enum RecordMemory {
  /// Sizes that are served with one kind of block, and how many of it a thread keeps.
  private struct Kind {
    let sizes: ClosedRange<Int>
    let keptMax: Int
    /// What malloc says of a block of the largest of these sizes.
    let usableBytes: Int

    init(_ sizes: ClosedRange<Int>, keptMax: Int) {
      self.sizes = sizes
      self.keptMax = keptMax
      // SAFETY: asked about a block that malloc just gave, and freed.
      let probe = unsafe malloc(sizes.upperBound)
      usableBytes = unsafe malloc_usable_size(probe)
      unsafe free(probe)
    }
  }

  // A thread works on one record at a time: few are taken at once, but for those of which a part has not come yet.
  /// To read records.
  private static let inbound = Kind((Transport.readAheadBytes - 1_024)...(Transport.readAheadBytes + 1_024), keptMax: 4)
  /// To write one.
  private static let outbound = Kind(recordMin...17_408, keptMax: 4)
  private static let packets = Kind(25...packetMax, keptMax: 16)
  // A handshake allocates a thousand times, and hardly anything of it is of a kind: constants say so without a look at
  // the kinds, which are made when first used and so cost a check each time.
  private static var packetMax: Int { 40 }
  private static var recordMin: Int { 16_385 }

  /// Blocks of one kind that a thread keeps, linked through their first words.
  @safe private struct Kept {
    // SAFETY: nil, or a free block of at least two words that malloc made, whose first word is the next one's address. It is on
    // this list alone, which belongs to one thread.
    var first: UnsafeMutableRawPointer?
    var count = 0
  }

  private struct Cache {
    var inbound = Kept()
    var outbound = Kept()
    var packets = Kept()
  }

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    // SAFETY: the destructor gets what `cache` has set. What libcrypto frees later on this thread makes a new one, and
    // the destructor comes again.
    let failure = unsafe pthread_key_create(&key) { unsafe RecordMemory.drop($0) }
    precondition(failure == 0, "pthread_key_create")
    return key
  }()

  /// Has libcrypto ask here. False when it has allocated already: then the system's malloc goes on serving it.
  @discardableResult
  package static func install() -> Bool {
    // The first use of each of these is not to be inside an allocation.
    _ = (key, inbound.keptMax, outbound.keptMax, packets.keptMax)
    // SAFETY: malloc's own contract, which all three keep.
    return unsafe CRYPTO_set_mem_functions(
      { size, _, _ in unsafe RecordMemory.take(size) },
      { block, size, _, _ in unsafe realloc(block, size) },
      { block, _, _ in unsafe RecordMemory.give(block) }) == 1
  }

  // SAFETY: `key` has what this function set on this thread: an initialized Cache from malloc, which only this thread reaches.
  private static func cache() -> UnsafeMutablePointer<Cache>? {
    if let known = unsafe pthread_getspecific(key) { return unsafe known.assumingMemoryBound(to: Cache.self) }
    guard let made = unsafe malloc(MemoryLayout<Cache>.size) else { return nil }
    let cache = unsafe made.initializeMemory(as: Cache.self, repeating: Cache(), count: 1)
    guard unsafe pthread_setspecific(key, cache) == 0 else {
      unsafe free(made)
      return nil
    }
    return unsafe cache
  }

  // SAFETY: the cache is this thread's. A block of a kind has the kind's largest size, so it is large enough.
  private static func take(_ size: Int) -> UnsafeMutableRawPointer? {
    if size > packetMax, size < recordMin { return unsafe malloc(size) }
    if packets.sizes.contains(size) {
      guard let cache = unsafe cache() else { return unsafe malloc(size) }
      return unsafe take(packets, &cache.pointee.packets)
    }
    if outbound.sizes.contains(size) {
      guard let cache = unsafe cache() else { return unsafe malloc(size) }
      return unsafe take(outbound, &cache.pointee.outbound)
    }
    if inbound.sizes.contains(size) {
      guard let cache = unsafe cache() else { return unsafe malloc(size) }
      return unsafe take(inbound, &cache.pointee.inbound)
    }
    return unsafe malloc(size)
  }

  // SAFETY: by the invariant of Kept; the block leaves the list and is the caller's.
  private static func take(_ kind: Kind, _ kept: inout Kept) -> UnsafeMutableRawPointer? {
    guard let block = unsafe kept.first else { return unsafe malloc(kind.sizes.upperBound) }
    unsafe kept.first = block.load(as: UnsafeMutableRawPointer?.self)
    kept.count -= 1
    return unsafe block
  }

  // SAFETY: libcrypto gives back a block that malloc made, and forgets it. The cache is this thread's.
  private static func give(_ block: UnsafeMutableRawPointer?) {
    guard let block = unsafe block else { return }
    let usable = unsafe malloc_usable_size(block)
    // What malloc gives may be larger than what was asked for, but it is never smaller.
    if usable > packetMax + 16, usable < recordMin {
      unsafe free(block)
      return
    }
    if usable == packets.usableBytes, let cache = unsafe cache(), unsafe give(block, packets, &cache.pointee.packets) {
      return
    }
    if usable == outbound.usableBytes, let cache = unsafe cache(), unsafe give(block, outbound, &cache.pointee.outbound)
    {
      return
    }
    if usable == inbound.usableBytes, let cache = unsafe cache(), unsafe give(block, inbound, &cache.pointee.inbound) {
      return
    }
    unsafe free(block)
  }

  // SAFETY: callers pass a free block of the kind's size, which holds a pointer; it is on no list yet.
  private static func give(_ block: UnsafeMutableRawPointer, _ kind: Kind, _ kept: inout Kept) -> Bool {
    guard kept.count < kind.keptMax else { return false }
    unsafe block.storeBytes(of: kept.first, as: UnsafeMutableRawPointer?.self)
    unsafe kept.first = block
    kept.count += 1
    return true
  }

  // SAFETY: the thread has ended and its cache is nobody else's; each block on a list is free and freed once.
  private static func drop(_ cache: UnsafeMutableRawPointer?) {
    guard let cache = unsafe cache else { return }
    let kept = unsafe cache.assumingMemoryBound(to: Cache.self).pointee
    for list in [kept.inbound, kept.outbound, kept.packets] {
      var block = unsafe list.first
      while let this = unsafe block {
        unsafe block = this.load(as: UnsafeMutableRawPointer?.self)
        unsafe free(this)
      }
    }
    unsafe free(cache)
  }
}
