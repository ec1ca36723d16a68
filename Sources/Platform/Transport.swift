// One connection's bytes: a socket, with or without TLS over it. Registered edge-triggered, so it remembers what the
// kernel last said: after a short read nothing more is there until the next event, and no call is spent to hear it.
//
//   open(fd) ──► [startTLS ──► handshake …] ──► read / write / flush ──► finish ──► close
//
// With TLS, what is written becomes records that gather in a chunk and leave together, when a flush asks for it or when
// there is no room for another. `hasUnsent` says that some wait: whoever ends a message or a connection waits for them.
//
// Invariants: the SSL object, if any, belongs to this transport and its BIO points at `state`; a chunk is held exactly
// while sealed bytes wait in it. One thread. Beside this file: TransportWrite, TLS/TransportTLS, TLS/SocketBIO.

import CLinux
import COpenSSL
import Glibc
import Wire

/// How a read or a write ended.
package enum Moved: Equatable, Sendable {
  /// That many bytes, at least one.
  case bytes(Int)
  /// Nothing now; an event will come.
  case blocked
  /// The peer ended its side in order.
  case ended
  /// The connection is broken.
  case failed
}

package enum Handshake: Equatable, Sendable {
  case done, blocked
  case failed
}

@safe package final class Transport {
  @safe struct State {
    var descriptor: Int32 = -1
    /// Nothing to read until the next event.
    var drained = false
    /// No room to write until the next event.
    var stuffed = false
    /// recv returned 0: OpenSSL asks for this to tell an end from an error.
    var ended = false
    /// The kernel told of the peer's end, which no further event will: reads go on until they meet it.
    var hangup = false
    /// A write told that the peer reset the connection. The kernel tells it once: a read after that finds an end.
    var wasReset = false
    /// Our close_notify was sealed: nothing follows it.
    var saidGoodbye = false
    /// The first bytes that came for TLS, as many as came at once and up to eight, the first one highest; 0 before.
    var firstBytes: UInt64 = 0
    /// Our side is to be closed behind what is sealed.
    var isFinishing = false
    /// How reading ended, found behind bytes that were handed on first.
    var over: Over = .not
    // SAFETY: this and `sealed`, by the invariant at `state` below.
    var session: OpaquePointer?
    /// Sealed bytes that the kernel has not taken: `sealedBegin..<sealedEnd` of a chunk.
    var sealed: UnsafeMutablePointer<UInt8>?
    var sealedBegin: Int32 = 0
    var sealedEnd: Int32 = 0
    /// Bytes that the kernel has taken since `open`; wraps.
    var sentBytes: UInt32 = 0
    let pool: Unmanaged<BufferPool>
  }

  enum Over: UInt8 { case not, ended, failed }

  /// What a full record takes when sealed: 16 KiB, and what TLS 1.2 and 1.3 add to it at most (RFC 8446 section 5.2).
  static let recordBytesMax = 16_384 + 256
  /// Sealed bytes taken from the kernel at once: two full records. Held only while a part of one waits for its rest.
  static let readAheadBytes = 2 * recordBytesMax

  // SAFETY: initialized in init and freed in deinit, after the session whose BIO points to it; lent to that BIO alone.
  // Transport is not Sendable: one thread uses it, and libssl calls back inside its calls only. The session, if any, belongs
  // to this transport alone and is freed where it is set to nil. `sealed`, if any, is a chunk of the pool that only this
  // transport has; sealedBegin <= sealedEnd <= its size, and what lies between is initialized. `pool` below keeps the pool.
  // Methods that touch nothing but the fields refer to this as "the state's own memory".
  let state: UnsafeMutablePointer<State>
  let pool: BufferPool
  /// OpenSSL calls back into it to choose a certificate: it must outlive the session.
  var accepting: TLSServerContext?
  /// Why the handshake failed, in OpenSSL's words; for the log.
  package internal(set) var failure: String?

  /// - Parameter pool: where the chunks for sealed records come from; at least 32 KiB each.
  package init(pool: BufferPool = BufferPool(chunkBytes: 32 * 1024, keptMax: 0)) {
    precondition(pool.chunkBytes >= 32 * 1024 && pool.chunkBytes <= Int(Int32.max))
    self.pool = pool
    // SAFETY: room for one State, initialized at once; `pool` is kept as long as the state.
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State(pool: Unmanaged.passUnretained(pool)))
  }

  deinit {
    close()
    // SAFETY: the session went with close, so nothing points to the state; nobody has a reference to self any more.
    unsafe state.deinitialize(count: 1)
    unsafe state.deallocate()
  }

  // SAFETY: the state's own memory.
  package var isOpen: Bool { unsafe state.pointee.descriptor >= 0 }
  // SAFETY: the state's own memory.
  package var descriptor: Int32 { unsafe state.pointee.descriptor }
  // SAFETY: the state's own memory.
  package var isTLS: Bool { unsafe state.pointee.session != nil }

  /// Takes over a connected (or connecting) non-blocking socket.
  package func open(_ fd: Int32) {
    precondition(!isOpen && fd >= 0)
    // SAFETY: a transport that is not open has neither a session nor a chunk that would be lost here.
    unsafe state.pointee = State(pool: Unmanaged.passUnretained(pool))
    unsafe state.pointee.descriptor = fd
    failure = nil
  }

  /// Takes in what an event said.
  package func note(_ readiness: Readiness) {
    if readiness.contains(.read) { noteReadable() }
    if !readiness.isDisjoint(with: [.ended, .failed]) { noteHangup() }
    if !readiness.isDisjoint(with: [.write, .failed]) { noteWritable() }
  }

  // SAFETY: the state's own memory.
  package func noteReadable() { unsafe state.pointee.drained = false }
  // SAFETY: the state's own memory.
  package func noteWritable() { unsafe state.pointee.stuffed = false }
  /// The peer sends no more. Its last bytes may still wait, and its end arrived with the same event as they did: a short
  /// read does not mean that nothing is left.
  package func noteHangup() {
    // SAFETY: the state's own memory.
    unsafe state.pointee.hangup = true
    unsafe state.pointee.drained = false
  }
  /// The peer's end was told of, if not yet read.
  // SAFETY: the state's own memory.
  package var hasHungUp: Bool { unsafe state.pointee.hangup }
  /// A write would be refused by the kernel as far as we know.
  // SAFETY: the state's own memory.
  package var isStuffed: Bool { unsafe state.pointee.stuffed }
  /// Sealed records wait to be sent.
  // SAFETY: the state's own memory.
  package var hasUnsent: Bool { unsafe state.pointee.sealed != nil }
  /// Bytes that the kernel has taken since `open`, modulo 2^32: whether the peer makes room shows in its changes.
  // SAFETY: the state's own memory.
  package var sentBytes: UInt32 { unsafe state.pointee.sentBytes }

  /// Whether a read may bring something before the next event.
  package var mayRead: Bool {
    // SAFETY: the session belongs to this transport.
    if unsafe !state.pointee.drained || state.pointee.over != .not { return true }
    guard let session = unsafe state.pointee.session else { return false }
    return unsafe SSL_has_pending(session) == 1
  }

  /// The peer has not taken all that was written: sealed records wait, or bytes in the kernel that it has not
  /// acknowledged. They would be held for it after a close, for minutes if it reads nothing.
  package var isOwedRoom: Bool { isOpen && (hasUnsent || unacknowledgedBytes > 1) }

  /// Bytes in the kernel that the peer has not acknowledged; our FIN counts as one.
  package var unacknowledgedBytes: Int { isOpen ? max(0, Int(cs_unacknowledged(descriptor))) : 0 }

  // MARK: Bytes

  /// Reads what there is, as far as it fits into the buffer's free space: at most one call to the kernel without TLS.
  package func read(into buffer: Buffer) -> Moved {
    guard mayRead else { return .blocked }
    // SAFETY: the session belongs to this transport, and nothing below frees it. libssl writes at most the `free` bytes that
    // withWritable lends.
    guard let session = unsafe state.pointee.session else { return readPlain(into: buffer) }
    var total = 0
    // All records that have come are opened before anything is done with them, so that what follows is done once.
    // Without room SSL_read is not called, and SSL_get_error would speak of a call before.
    while unsafe state.pointee.over == .not, buffer.room > 0 {
      cs_clear_errors()
      var result: Int32 = 0
      let n = unsafe buffer.withWritable { base, free in
        var n = 0
        result = unsafe SSL_read_ex(session, base, free, &n)
        return result == 1 ? n : 0
      }
      guard n > 0 else {
        switch unsafe SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ: return total > 0 ? .bytes(total) : .blocked
        case SSL_ERROR_WANT_WRITE:
          // The peer has us say so much (key updates) that there is no room for it: it goes first.
          if total == 0, case .bytes(let sent) = push(), sent > 0 { continue }
          return total > 0 ? .bytes(total) : .blocked
        case SSL_ERROR_ZERO_RETURN: unsafe state.pointee.over = .ended
        default:
          ERR_clear_error()
          unsafe state.pointee.over = .failed
        }
        break
      }
      total += n
      if unsafe state.pointee.drained, unsafe SSL_has_pending(session) == 0 { break }
    }
    if total > 0 { return .bytes(total) }
    switch unsafe state.pointee.over {
    case .not: return .blocked
    case .ended: return .ended
    case .failed: return .failed
    }
  }

  private func readPlain(into buffer: Buffer) -> Moved {
    var free = 0
    var error: Int32 = 0
    var received = 0
    let fd = descriptor
    // SAFETY: recv writes at most the `room` bytes that withWritable lends.
    _ = unsafe buffer.withWritable { base, room in
      free = room
      received = unsafe cs_recv(fd, base, room)
      error = received < 0 ? cs_errno() : 0
      return received
    }
    if received > 0 {
      if received < free, unsafe !state.pointee.hangup { unsafe state.pointee.drained = true }
      return .bytes(received)
    }
    if free == 0 { return .blocked }
    if received == 0 { return unsafe state.pointee.wasReset ? .failed : .ended }
    if error == EAGAIN {
      unsafe state.pointee.drained = true
      return .blocked
    }
    return error == EINTR ? .blocked : .failed
  }

  /// Looks at the first bytes on the wire (below TLS) and leaves them there. Only before startTLS.
  package func peek(into buffer: Buffer) -> Moved {
    precondition(!isTLS)
    var error: Int32 = 0
    var received = 0
    let fd = descriptor
    buffer.removeAll()
    // SAFETY: recv writes at most the `room` bytes that withWritable lends.
    _ = unsafe buffer.withWritable { base, room in
      received = unsafe cs_peek(fd, base, room)
      error = received < 0 ? cs_errno() : 0
      return received
    }
    if received > 0 { return .bytes(received) }
    if received == 0 { return .ended }
    return error == EAGAIN || error == EINTR ? .blocked : .failed
  }

  /// Takes `n` bytes that a peek has shown off the wire.
  package func discard(_ n: Int, using buffer: Buffer) -> Bool {
    buffer.removeAll()
    var taken = 0
    let fd = descriptor
    while taken < n {
      let want = n - taken
      // SAFETY: recv writes at most the `room` bytes that withWritable lends.
      let got = unsafe buffer.withWritable { base, room in unsafe cs_recv(fd, base, min(want, room)) }
      guard got > 0 else { return false }
      taken += got
      buffer.removeAll()
    }
    return true
  }

  /// Seals our close_notify, once.
  func sayGoodbye() {
    // SAFETY: the session belongs to this transport.
    guard let session = unsafe state.pointee.session, unsafe !state.pointee.saidGoodbye,
      unsafe SSL_is_init_finished(session) == 1
    else { return }
    unsafe state.pointee.saidGoodbye = true
    ERR_clear_error()
    _ = unsafe SSL_shutdown(session)
    ERR_clear_error()
  }

  /// Ends our sending side: close_notify, then FIN.
  package func finish() {
    guard isOpen else { return }
    sayGoodbye()
    // SAFETY: the state's own memory.
    unsafe state.pointee.isFinishing = true
    push(more: true)
    // Behind what the kernel does not take yet, `push` closes the side when that has left.
    if !hasUnsent { shutdown(descriptor, Int32(SHUT_WR)) }
  }

  /// Closes at once. With `reset`, the peer sees a reset instead of an end, so that it cannot take a truncated message
  /// for a whole one.
  package func close(reset: Bool = false) {
    guard isOpen else { return }
    // SAFETY: the session belongs to this transport, which forgets it as it is freed.
    if let session = unsafe state.pointee.session {
      if !reset {
        sayGoodbye()
        push()
      }
      dropSealed()
      unsafe SSL_free(session)
      unsafe state.pointee.session = nil
      accepting = nil
      ERR_clear_error()
    }
    if reset {
      var option = linger(l_onoff: 1, l_linger: 0)
      // SAFETY: the call reads one `linger`, a local.
      _ = unsafe setsockopt(
        descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
    Glibc.close(descriptor)
    unsafe state.pointee.descriptor = -1
  }
}
