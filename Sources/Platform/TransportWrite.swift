// A transport's way out: bytes to the kernel, or with TLS into records that gather in a chunk and leave together.

import CLinux
import COpenSSL
import Glibc
import Wire

extension Transport {
  /// Writes as much of `bytes` as is taken: by the kernel, or with TLS as one record among those that wait to be sent
  /// (`flush` sends them). `more`: the last bytes may wait in the kernel for what follows at once.
  package func write(_ bytes: Span<UInt8>, more: Bool = false) -> Moved {
    let count = bytes.count
    // SAFETY: the session belongs to this transport, and nothing below frees it. libssl reads the span's count bytes during the
    // call; where it has to be called again, that is with bytes that it may compare but does not keep
    // (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER).
    guard count > 0, unsafe !state.pointee.stuffed else { return .blocked }
    guard let session = unsafe state.pointee.session else { return writePlain(bytes, more: more) }
    // With room for the whole record it is taken or the connection is broken: none is left half sealed.
    if sealedRoom < Transport.recordBytesMax {
      guard push() != .failed else { return .failed }
      guard sealedRoom >= Transport.recordBytesMax else { return .blocked }
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

  private func writePlain(_ bytes: Span<UInt8>, more: Bool) -> Moved {
    // SAFETY: the kernel reads the span's count bytes during the call.
    unsafe bytes.withUnsafeBufferPointer { source in
      unsafe send(source.baseAddress, source.count, more: more)
    }
  }

  private func send(_ bytes: UnsafePointer<UInt8>?, _ count: Int, more: Bool) -> Moved {
    // SAFETY: callers pass `count` readable bytes, which the kernel reads during the call.
    let sent = unsafe cs_send(state.pointee.descriptor, bytes, count, more ? cs_MSG_MORE : 0)
    if sent > 0 {
      unsafe state.pointee.sentBytes &+= UInt32(truncatingIfNeeded: sent)
      if sent < count { unsafe state.pointee.stuffed = true }
      return .bytes(sent)
    }
    let error = cs_errno()
    if error == EAGAIN {
      unsafe state.pointee.stuffed = true
      return .blocked
    }
    guard error != EINTR else { return .blocked }
    // EPIPE says that the peer had ended its side before, in order: what it sent is whole.
    if error != EPIPE { unsafe state.pointee.wasReset = true }
    return .failed
  }

  // MARK: Sealed records

  private var sealedRoom: Int {
    // SAFETY: the state's own memory.
    unsafe pool.chunkBytes - Int(state.pointee.sealedEnd - state.pointee.sealedBegin)
  }

  /// Keeps sealed bytes until they are pushed; says how many it had room for.
  static func keep(
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

  /// Sends the records that wait, as far as the kernel takes them.
  @discardableResult
  package func push(more: Bool = false) -> Moved {
    // SAFETY: sealedBegin..<sealedEnd of the chunk is initialized, by the invariant, and send keeps no pointer.
    guard let chunk = unsafe state.pointee.sealed else { return .bytes(0) }
    guard unsafe !state.pointee.stuffed else { return .blocked }
    let begin = unsafe Int(state.pointee.sealedBegin)
    let moved = unsafe send(chunk + begin, Int(state.pointee.sealedEnd) - begin, more: more)
    if case .bytes(let n) = moved {
      unsafe state.pointee.sealedBegin += Int32(n)
      if unsafe state.pointee.sealedBegin == state.pointee.sealedEnd {
        dropSealed()
        if unsafe state.pointee.isFinishing { shutdown(descriptor, Int32(SHUT_WR)) }
      }
    } else if moved == .failed {
      dropSealed()
    }
    return moved
  }

  func dropSealed() {
    // SAFETY: the chunk came from the pool, and is forgotten here as it goes back.
    guard let chunk = unsafe state.pointee.sealed else { return }
    unsafe state.pointee.sealed = nil
    unsafe state.pointee.sealedBegin = 0
    unsafe state.pointee.sealedEnd = 0
    unsafe pool.give(chunk)
  }

  /// Writes a buffer's waiting bytes, which what follows at once may join on the wire: the kernel keeps back what fills no
  /// segment until then.
  package func flushBefore(more buffer: Buffer) -> Moved {
    let taken = take(buffer, more: true)
    guard taken != .failed, push(more: true) != .failed else { return .failed }
    return taken
  }

  /// Takes a buffer's waiting bytes as far as there is room, and sends none of the records that they became before more
  /// have gathered. `more`: without TLS, the last bytes may wait in the kernel for what follows at once.
  package func take(_ buffer: Buffer, more: Bool = false) -> Moved {
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

  /// Writes a buffer's waiting bytes, consumes what was taken of them, and sends what was sealed. `.bytes` says how many
  /// were taken; all is sent when the buffer is empty and `hasUnsent` is false.
  /// - Parameter last: nothing follows but `finish`, whose words leave together with these bytes.
  package func flush(_ buffer: Buffer, last: Bool = false) -> Moved {
    let taken = take(buffer, more: last)
    if taken == .failed { return .failed }
    if last, buffer.isEmpty { sayGoodbye() }
    guard push(more: last && buffer.isEmpty) != .failed else { return .failed }
    return taken
  }
}
