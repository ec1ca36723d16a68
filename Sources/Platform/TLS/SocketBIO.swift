// The BIO through which libssl reads and writes the socket.
// Called by libssl, inside calls of Transport, with the BIO that `Transport.attach` made.

import CLinux
import COpenSSL
import Glibc

/// Reads with recv, and notes in the transport's state whether reading would block; writes into the transport's chunk of sealed
/// records.
enum SocketBIO {
  // SAFETY: made once, by whichever thread asks first, never freed, and not changed after.
  nonisolated(unsafe) static let method: OpaquePointer = {
    guard let made = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "countersign") else {
      fatalError("BIO_meth_new: out of memory")
    }
    unsafe BIO_meth_set_read(made, receive)
    unsafe BIO_meth_set_write(made, transmit)
    unsafe BIO_meth_set_ctrl(made, control)
    return unsafe made
  }()

  // SAFETY: libssl calls it inside a call of Transport, on that thread, with the BIO that `attach` made, whose data is the
  // transport's state: that lives until the session and its BIO are freed. `into` has room for `length` bytes, of which the
  // first n are initialized where they are read.
  static let receive: @convention(c) (OpaquePointer?, UnsafeMutablePointer<CChar>?, Int32) -> Int32 = {
    bio, into, length in
    let state = unsafe BIO_get_data(bio).assumingMemoryBound(to: Transport.State.self)
    unsafe cs_bio_clear_retry(bio)
    if unsafe state.pointee.readBlocked {
      unsafe cs_bio_retry_read(bio)
      return -1
    }
    let n = unsafe cs_recv(state.pointee.descriptor, into, Int(length))
    if n > 0 {
      if unsafe state.pointee.firstBytes == 0, let into = unsafe into {
        var first: UInt64 = 0
        for i in 0..<8 { first = first << 8 | (i < n ? unsafe UInt64(UInt8(bitPattern: into[i])) : 0) }
        unsafe state.pointee.firstBytes = first
      }
      if n < Int(length), unsafe !state.pointee.hangup { unsafe state.pointee.readBlocked = true }
    } else if n == 0 {
      unsafe state.pointee.ended = true
    } else if cs_errno() == EAGAIN || cs_errno() == EINTR {
      unsafe state.pointee.readBlocked = cs_errno() == EAGAIN
      unsafe cs_bio_retry_read(bio)
    }
    return Int32(n)
  }

  // SAFETY: as `receive`; `from` has `length` bytes, which `appendSealed` copies.
  static let transmit: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32 = { bio, from, length in
    let state = unsafe BIO_get_data(bio).assumingMemoryBound(to: Transport.State.self)
    unsafe cs_bio_clear_retry(bio)
    guard let from = unsafe from, length > 0 else { return 0 }
    let n = unsafe Transport.appendSealed(state, from, Int(length))
    if n == 0 {
      unsafe cs_bio_retry_write(bio)
      return -1
    }
    return Int32(n)
  }

  // SAFETY: as `receive`.
  static let control: @convention(c) (OpaquePointer?, Int32, Int, UnsafeMutableRawPointer?) -> Int = {
    bio, command, _, _ in
    switch command {
    case BIO_CTRL_FLUSH: return 1
    case BIO_CTRL_EOF:
      let state = unsafe BIO_get_data(bio).assumingMemoryBound(to: Transport.State.self)
      return unsafe state.pointee.ended ? 1 : 0
    default: return 0
    }
  }
}
