// libnghttp2's memory, from lists of free blocks, so that a stream that begins and ends allocates nothing. Each worker has one.
// Blocks have sizes of powers of two; in front of each stands its class. Larger ones come from the system and go back there.
// Invariant: a block in list i has 32 << i bytes behind its header, and nobody has it. One thread.

import CNGHTTP2
import Glibc

@safe package final class HTTP2Memory {
  /// 32 bytes to 32 KiB.
  private static let classes = 11
  /// The class of a block that came from the system for itself.
  private static let systemClass = 255
  /// What stands in front of a block: its class and, from the system, its size. Keeps blocks aligned to 16 bytes.
  private static let headerBytes = 16
  /// What the lists hold at most, so that a burst of streams does not keep its memory for good.
  private static let keptBytesMax = 8 * 1024 * 1024

  // SAFETY: entry i is nil or the first block of list i, each of which points to the next one in its first bytes. Allocated in init,
  // freed in deinit, never lent. HTTP2Memory is not Sendable: one thread uses it.
  private let lists: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private var keptBytes = 0

  package init() {
    // SAFETY: room for every class, initialized at once.
    unsafe lists = .allocate(capacity: HTTP2Memory.classes)
    unsafe lists.initialize(repeating: nil, count: HTTP2Memory.classes)
  }

  deinit {
    release()
    // SAFETY: the lists are empty, and nobody has a reference to self any more.
    unsafe lists.deallocate()
  }

  /// Gives back what lies free.
  package func release() {
    // SAFETY: a block in a list is nobody's, and is forgotten as it is freed; its header is where malloc's pointer is.
    for i in 0..<HTTP2Memory.classes {
      while let block = unsafe lists[i] {
        unsafe lists[i] = block.load(as: UnsafeMutableRawPointer?.self)
        unsafe free(block - HTTP2Memory.headerBytes)
      }
    }
    keptBytes = 0
  }

  // SAFETY: the returned block is the caller's alone: it comes from a list, which forgets it, or from the system.
  fileprivate func take(_ size: Int) -> UnsafeMutableRawPointer? {
    let index = HTTP2Memory.index(size)
    guard index < HTTP2Memory.classes else {
      guard size < Int.max - HTTP2Memory.headerBytes, let raw = unsafe malloc(size + HTTP2Memory.headerBytes) else {
        return nil
      }
      unsafe raw.storeBytes(of: HTTP2Memory.systemClass, as: Int.self)
      unsafe raw.storeBytes(of: size, toByteOffset: 8, as: Int.self)
      return unsafe raw + HTTP2Memory.headerBytes
    }
    if let block = unsafe lists[index] {
      unsafe lists[index] = block.load(as: UnsafeMutableRawPointer?.self)
      keptBytes -= 32 << index
      return unsafe block
    }
    guard let raw = unsafe malloc((32 << index) + HTTP2Memory.headerBytes) else { return nil }
    unsafe raw.storeBytes(of: index, as: Int.self)
    return unsafe raw + HTTP2Memory.headerBytes
  }

  // SAFETY: the caller gives a block that it took here, and forgets it; its header says where it belongs.
  fileprivate func give(_ block: UnsafeMutableRawPointer) {
    let index = unsafe (block - HTTP2Memory.headerBytes).load(as: Int.self)
    guard index < HTTP2Memory.classes, keptBytes + (32 << index) <= HTTP2Memory.keptBytesMax else {
      unsafe free(block - HTTP2Memory.headerBytes)
      return
    }
    unsafe block.storeBytes(of: lists[index], as: UnsafeMutableRawPointer?.self)
    unsafe lists[index] = block
    keptBytes += 32 << index
  }

  // SAFETY: the block is the caller's, and its header says how large it is.
  fileprivate func resize(_ block: UnsafeMutableRawPointer, to size: Int) -> UnsafeMutableRawPointer? {
    let header = unsafe block - HTTP2Memory.headerBytes
    let index = unsafe header.load(as: Int.self)
    let held = unsafe index < HTTP2Memory.classes ? 32 << index : header.load(fromByteOffset: 8, as: Int.self)
    if size <= held, index < HTTP2Memory.classes { return unsafe block }
    guard let new = unsafe take(size) else { return nil }
    unsafe memcpy(new, block, min(held, size))
    unsafe give(block)
    return unsafe new
  }

  private static func index(_ size: Int) -> Int {
    size <= 32 ? 0 : Int.bitWidth - (size - 1).leadingZeroBitCount - 5
  }

  /// The functions that libnghttp2 is given.
  // SAFETY: libnghttp2 calls them with this object, which HTTP2Session keeps as long as its session, and with blocks that it got
  // from them.
  func withFunctions<R>(_ body: (UnsafeMutablePointer<nghttp2_mem>) -> R) -> R {
    var functions = unsafe nghttp2_mem(
      mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
      malloc: { size, memory in unsafe HTTP2Memory.with(memory) { unsafe $0.take(size) } },
      free: { block, memory in
        guard let block = unsafe block else { return }
        unsafe HTTP2Memory.with(memory) { unsafe $0.give(block) }
      },
      calloc: { count, size, memory in
        let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow else { return nil }
        guard let block = unsafe HTTP2Memory.with(memory, { unsafe $0.take(bytes) }) else { return nil }
        unsafe memset(block, 0, bytes)
        return unsafe block
      },
      realloc: { block, size, memory in
        guard let block = unsafe block else { return unsafe HTTP2Memory.with(memory) { unsafe $0.take(size) } }
        return unsafe HTTP2Memory.with(memory) { unsafe $0.resize(block, to: size) }
      })
    return unsafe withUnsafeMutablePointer(to: &functions) { unsafe body($0) }
  }

  // SAFETY: the pointer is the one of `withFunctions`, and the object is alive in the calls that libnghttp2 is in.
  @inline(__always) private static func with<R>(_ memory: UnsafeMutableRawPointer?, _ body: (HTTP2Memory) -> R) -> R {
    unsafe Unmanaged<HTTP2Memory>.fromOpaque(memory!)._withUnsafeGuaranteedRef { body($0) }
  }
}
