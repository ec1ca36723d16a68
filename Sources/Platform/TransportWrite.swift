// The writing half of Transport: bytes to the kernel, or with TLS into records that are collected in a chunk and sent together.

import CLinux
import COpenSSL
import Glibc
import Wire

extension Transport {
  /// Writes bytes, and returns how many were taken. Without TLS they go to the kernel; with TLS they become one record among
  /// those that wait for `flush`.
  /// - Parameter more: more bytes follow at once, so the kernel may delay a packet that is not full (MSG_MORE).
  package func write(_ bytes: Span<UInt8>, more: Bool = false) -> IOResult {
    let count = bytes.count
    // SAFETY: the session belongs to this transport, and nothing below frees it. libssl reads the span's count bytes during the
    // call; where it has to be called again, that is with bytes that it may compare but does not keep
    // (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER).
    guard count > 0, unsafe !state.pointee.writeBlocked else { return .blocked }
    guard let session = unsafe state.pointee.session else { return writePlain(bytes, more: more) }
    // With space for the largest record, SSL_write_ex either takes the bytes or fails for good: it never stops halfway.
    if sealedFreeBytes < Transport.recordBytesMax {
      guard sendRecords() != .failed else { return .failed }
      guard sealedFreeBytes >= Transport.recordBytesMax else { return .blocked }
    }
    cs_clear_errors()
    var written = 0
    let result = unsafe bytes.withUnsafeBufferPointer { source in
      unsafe SSL_write_ex(session, source.baseAddress, count, &written)
    }
    if result == 1 { return .bytes(written) }
    switch unsafe SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .blocked
    default:
      ERR_clear_error()
      return .failed
    }
  }

  private func writePlain(_ bytes: Span<UInt8>, more: Bool) -> IOResult {
    // SAFETY: the kernel reads the span's count bytes during the call.
    unsafe bytes.withUnsafeBufferPointer { source in
      unsafe send(source.baseAddress, source.count, more: more)
    }
  }

  private func send(_ bytes: UnsafePointer<UInt8>?, _ count: Int, more: Bool) -> IOResult {
    // SAFETY: callers pass `count` readable bytes, which the kernel reads during the call.
    let sent = unsafe cs_send(state.pointee.descriptor, bytes, count, more ? cs_MSG_MORE : 0)
    if sent > 0 {
      unsafe state.pointee.sentBytes &+= UInt64(sent)
      if sent < count { unsafe state.pointee.writeBlocked = true }
      return .bytes(sent)
    }
    let error = cs_errno()
    if error == EAGAIN {
      unsafe state.pointee.writeBlocked = true
      return .blocked
    }
    guard error != EINTR else { return .blocked }
    // With EPIPE the peer has closed the connection in order before: what it sent is complete.
    if error != EPIPE { unsafe state.pointee.wasReset = true }
    return .failed
  }

  // MARK: Sealed records

  private var sealedFreeBytes: Int {
    // SAFETY: the state's own memory.
    unsafe pool.chunkBytes - Int(state.pointee.sealedEnd - state.pointee.sealedBegin)
  }

  /// Appends sealed bytes to the chunk. Returns how many fit.
  static func appendSealed(
    _ state: UnsafeMutablePointer<State>, _ bytes: UnsafePointer<CChar>, _ count: Int
  ) -> Int {
    // SAFETY: the transport, which owns the state, keeps the pool. A chunk has chunkBytes; the offsets lie in it, by the
    // invariant, so the bytes that are moved and the n that are written do. libssl passes count bytes of its own.
    unsafe state.pointee.pool._withUnsafeGuaranteedRef { pool in
      if unsafe state.pointee.sealed == nil {
        unsafe state.pointee.sealed = pool.take()
        unsafe state.pointee.sealedBegin = 0
        unsafe state.pointee.sealedEnd = 0
      }
      guard let chunk = unsafe state.pointee.sealed else { return 0 }
      if unsafe state.pointee.sealedBegin > 0, unsafe pool.chunkBytes - Int(state.pointee.sealedEnd) < count {
        let held = unsafe state.pointee.sealedEnd - state.pointee.sealedBegin
        unsafe memmove(chunk, chunk + Int(state.pointee.sealedBegin), Int(held))
        unsafe state.pointee.sealedBegin = 0
        unsafe state.pointee.sealedEnd = held
      }
      let end = unsafe Int(state.pointee.sealedEnd)
      let n = min(count, pool.chunkBytes - end)
      unsafe memcpy(chunk + end, bytes, n)
      unsafe state.pointee.sealedEnd = Int32(end + n)
      return n
    }
  }

  /// Sends the waiting records, as far as the kernel takes them. `.bytes(0)` if there are none.
  @discardableResult
  package func sendRecords(more: Bool = false) -> IOResult {
    // SAFETY: sealedBegin..<sealedEnd of the chunk is initialized, by the invariant, and send keeps no pointer.
    guard let chunk = unsafe state.pointee.sealed else { return .bytes(0) }
    guard unsafe !state.pointee.writeBlocked else { return .blocked }
    let begin = unsafe Int(state.pointee.sealedBegin)
    let moved = unsafe send(chunk + begin, Int(state.pointee.sealedEnd) - begin, more: more)
    if case .bytes(let n) = moved {
      unsafe state.pointee.sealedBegin += Int32(n)
      if unsafe state.pointee.sealedBegin == state.pointee.sealedEnd {
        discardSealed()
        if unsafe state.pointee.isFinishing { shutdown(descriptor, Int32(SHUT_WR)) }
      }
    } else if moved == .failed {
      discardSealed()
    }
    return moved
  }

  func discardSealed() {
    // SAFETY: the chunk came from the pool, and is forgotten here as it goes back.
    guard let chunk = unsafe state.pointee.sealed else { return }
    unsafe state.pointee.sealed = nil
    unsafe state.pointee.sealedBegin = 0
    unsafe state.pointee.sealedEnd = 0
    unsafe pool.give(chunk)
  }

  /// Writes a buffer's readable bytes, as far as they are taken, and consumes those. With TLS nothing is sent unless the chunk
  /// of sealed records gets full.
  /// - Parameter more: as in `write`; without effect with TLS.
  package func write(contentsOf buffer: Buffer, more: Bool = false) -> IOResult {
    var total = 0
    while !buffer.isEmpty {
      let moved = buffer.withReadable { write($0, more: more) }
      guard case .bytes(let n) = moved else {
        return total > 0 && moved == .blocked ? .bytes(total) : moved
      }
      buffer.consume(n)
      total += n
    }
    return .bytes(total)
  }

  /// Writes a buffer's readable bytes, consumes those that were taken, and sends the waiting records. `.bytes` says how many
  /// were taken. Everything is sent once the buffer is empty and `hasUnsent` is false.
  /// - Parameters:
  ///   - more: more bytes follow at once, so the kernel may delay a packet that is not full (MSG_MORE).
  ///   - last: only `finish` follows. Its close_notify is sent together with these bytes.
  package func flush(_ buffer: Buffer, more: Bool = false, last: Bool = false) -> IOResult {
    let taken = write(contentsOf: buffer, more: more || last)
    if taken == .failed { return .failed }
    if last, buffer.isEmpty { sealCloseNotify() }
    guard sendRecords(more: more || (last && buffer.isEmpty)) != .failed else { return .failed }
    return taken
  }
}
