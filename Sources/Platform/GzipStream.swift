// gzip (RFC 1952) as it comes, by zlib: any number of members, one behind the other, as `gzip -c >>` leaves them.
// Invariant: one thread. Used by LineInput.

import CZlib
import Glibc

@safe final class GzipStream {
  enum Outcome {
    /// That many bytes were taken, and that many written.
    case moved(taken: Int, written: Int)
    case failed(String)
  }

  // SAFETY: initialized in init, ended and freed in deinit, never lent: zlib keeps a pointer to it, so it must not move.
  private let stream: UnsafeMutablePointer<z_stream>
  /// The last member is whole, and another one may follow.
  private(set) var isBetweenMembers = false

  init() throws(SystemError) {
    // SAFETY: room for one z_stream, initialized to zeros before zlib sees it.
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    guard unsafe cs_inflate_init(stream) == Z_OK else { throw SystemError("inflateInit", code: ENOMEM) }
  }

  deinit {
    // SAFETY: nobody has a reference to self any more; inflateEnd frees what inflateInit took, and nothing where it failed.
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Inflates from `source` into `target`, until one of both is used up or a member ends.
  // SAFETY: zlib reads at most `count` bytes of the source and writes at most `room` to the target, and the caller, in
  // Platform alone, passes no more than there are. It keeps neither pointer: both are set anew by each call.
  func inflate(
    _ source: UnsafeMutablePointer<UInt8>, _ count: Int, into target: UnsafeMutablePointer<UInt8>, _ room: Int
  ) -> Outcome {
    if isBetweenMembers {
      // What follows a member is another one, or no gzip (RFC 1952 section 2.2).
      guard unsafe inflateReset(stream) == Z_OK else { return .failed("cannot be read on") }
      isBetweenMembers = false
    }
    unsafe stream.pointee.next_in = source
    unsafe stream.pointee.avail_in = UInt32(count)
    unsafe stream.pointee.next_out = target
    unsafe stream.pointee.avail_out = UInt32(room)
    let code = unsafe CZlib.inflate(stream, Z_NO_FLUSH)
    let left = unsafe stream.pointee.avail_in
    let free = unsafe stream.pointee.avail_out
    switch code {
    case Z_STREAM_END: isBetweenMembers = true
    // Z_BUF_ERROR: nothing could be done with what there is, which is no error.
    case Z_OK, Z_BUF_ERROR: break
    default:
      return .failed(unsafe stream.pointee.msg.map { unsafe String(cString: $0) } ?? "cannot be inflated")
    }
    return .moved(taken: count - Int(left), written: room - Int(free))
  }
}
