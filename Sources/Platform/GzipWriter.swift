// gzip (RFC 1952) as it is made, by zlib: one member after the other, each from `begin` to the end of `finish`. All memory is taken
// when it is made (deflate takes none), so a worker makes few and uses them again and again.
//
//   begin ─► compress* ─► finish* until true
//                ▲ │
//                └─┴─ flush* until true: all that was compressed can be read
//
// Invariant: one thread. What does not fit into the output stays inside, and comes with the next call. Used by Proxy's Compressor.

import CZlib
import Glibc
import Wire

@safe package final class GzipWriter {
  /// A window of 16 KiB and the tables for it: 32 KiB of window, 32 KiB for each of two tables of positions, 32 KiB of output that
  /// waits, and the rest: about 134 KiB. Twice as much memory makes content 2 % smaller.
  private static let windowBits: Int32 = 14
  private static let memoryLevel: Int32 = 7
  /// How far zlib searches above level 6: as at level 6. Level 9 follows up to 4,096 earlier places for each byte, and of content that
  /// repeats itself without an order (text of two letters) 16 KiB take it 70 ms, for which everybody else waits; so they take 3 ms.
  private static let search = (goodLength: Int32(8), lazyLength: Int32(16), niceLength: Int32(128), chain: Int32(128))
  private static let searchedLevelMax: Int32 = 6
  /// Into less room no flush begins: zlib would repeat the mark at its end (zlib.h, "greater than six").
  private static let flushRoomMin = 8

  // SAFETY: initialized in init, ended and freed in deinit, never lent: zlib keeps a pointer to it, so it must not move.
  private let stream: UnsafeMutablePointer<z_stream>
  private var level: Int32 = 1
  private var isFlushing = false

  /// Nil without memory.
  package init?() {
    // SAFETY: room for one z_stream, initialized to zeros before zlib sees it.
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    guard
      unsafe cs_deflate_init(stream, level, GzipWriter.windowBits, GzipWriter.memoryLevel) == Z_OK
    else {
      // deinit, which runs here, ends what was not begun: zlib says so and does nothing.
      return nil
    }
  }

  deinit {
    // SAFETY: nobody has a reference to self any more; deflateEnd frees what deflateInit took, and nothing where it failed.
    unsafe deflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Begins a member. `level`: 1 (quick) to 9 (small). False where zlib does not take it: versions before 1.2.12 want to end what a
  /// stream holds before they change its level, also where it holds nothing.
  package func begin(level: Int) -> Bool {
    precondition((1...9).contains(level))
    isFlushing = false
    // SAFETY: the stream was initialized; neither call reads input or writes output, for nothing of this member was compressed.
    guard unsafe deflateReset(stream) == Z_OK else { return false }
    if Int32(level) != self.level {
      guard unsafe deflateParams(stream, Int32(level), Z_DEFAULT_STRATEGY) == Z_OK else { return false }
      self.level = Int32(level)
    }
    guard self.level > GzipWriter.searchedLevelMax else { return true }
    // Both calls above have set what zlib has for the level.
    let search = GzipWriter.search
    // SAFETY: the stream was initialized; the call sets four numbers.
    return unsafe deflateTune(stream, search.goodLength, search.lazyLength, search.niceLength, search.chain) == Z_OK
  }

  /// Takes bytes from the front of `bytes`, until all are taken or `out` is full. Returns how many.
  package func compress(_ bytes: Span<UInt8>, into out: Buffer) -> Int {
    precondition(!isFlushing, "a flush goes on until it is done")
    let most = min(bytes.count, Int(UInt32.max))
    guard most > 0 else { return 0 }
    return unsafe bytes.withUnsafeBufferPointer { source in
      // SAFETY: zlib reads at most avail_in bytes of the source, and writes none, though its field is not const; the pointer is
      // taken away again before the bytes are given back.
      unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
      unsafe stream.pointee.avail_in = UInt32(most)
      _ = deflate(Z_NO_FLUSH, into: out)
      let left = unsafe Int(stream.pointee.avail_in)
      unsafe stream.pointee.next_in = nil
      unsafe stream.pointee.avail_in = 0
      return most - left
    }
  }

  /// Writes what is needed to read all that was compressed so far. False when `out` is full: to be called again, before anything else.
  package func flush(into out: Buffer) -> Bool {
    guard isFlushing || (out.room >= GzipWriter.flushRoomMin && out.reserve(GzipWriter.flushRoomMin)) else {
      return false
    }
    isFlushing = true
    if case .isDone = deflateAll(Z_SYNC_FLUSH, into: out) { isFlushing = false }
    return !isFlushing
  }

  /// Ends the member. False when `out` is full: to be called again.
  package func finish(into out: Buffer) -> Bool {
    precondition(!isFlushing, "a flush goes on until it is done")
    return deflateAll(Z_FINISH, into: out) == .isDone
  }

  private enum Progress { case isDone, needsRoom }

  /// Without input.
  private func deflateAll(_ flush: Int32, into out: Buffer) -> Progress {
    while out.room > 0 {
      let (code, hasRoom) = deflate(flush, into: out)
      if code == Z_STREAM_END { return .isDone }
      // Room that is left says that nothing waits inside (zlib.h). Z_BUF_ERROR: there was nothing to flush.
      if flush == Z_SYNC_FLUSH, hasRoom || code == Z_BUF_ERROR { return .isDone }
    }
    return .needsRoom
  }

  /// One call of zlib's, into what lies free behind the output's bytes. `hasRoom`: it did not need all of that.
  private func deflate(_ flush: Int32, into out: Buffer) -> (code: Int32, hasRoom: Bool) {
    var code = Z_OK
    var hasRoom = false
    _ = unsafe out.withWritable { target, room in
      // SAFETY: zlib writes at most `room` bytes to the target, which is the buffer's for the length of this call, and the pointer
      // is taken away behind it.
      unsafe stream.pointee.next_out = target.assumingMemoryBound(to: UInt8.self)
      unsafe stream.pointee.avail_out = UInt32(room)
      code = unsafe CZlib.deflate(stream, flush)
      let left = unsafe Int(stream.pointee.avail_out)
      unsafe stream.pointee.next_out = nil
      unsafe stream.pointee.avail_out = 0
      hasRoom = left > 0
      return room - left
    }
    precondition(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR, "a stream of zlib's is damaged")
    return (code, hasRoom)
  }
}
