// Reads and writes one connection: a socket, with or without TLS. The socket is registered edge-triggered, so the transport
// remembers whether reading or writing would block: after a short read or write it makes no system call until the next event.
//
//   open(fd) ──► [startTLS ──► handshake …] ──► read / write / flush ──► finish ──► close
//
// With TLS, written bytes become records that are collected in a chunk. They are sent together by `flush`, or when the chunk
// has no space for another record. While records wait, `hasUnsent` is true; a message or connection has not ended before.
//
// Invariants: the SSL object, if any, belongs to this transport, and its BIO points to `state`; the transport has a chunk
// exactly while sealed bytes wait in it. One thread. See also TransportWrite, TLS/TransportTLS, TLS/SocketBIO.

import CLinux
import COpenSSL
import Glibc
import Wire

/// The result of a read or a write.
package enum IOResult: Equatable, Sendable {
  /// So many bytes. At least one, unless there was nothing to write.
  case bytes(Int)
  /// Nothing can be read or written before the next event.
  case blocked
  /// End of stream: the peer has closed its sending side in order.
  case ended
  /// The connection is broken.
  case failed
}

/// The result of a handshake's step.
package enum Handshake: Equatable, Sendable {
  case done, blocked
  case failed
}

@safe package final class Transport {
  @safe struct State {
    var descriptor: Int32 = -1
    /// Reading would block; cleared by the next event.
    var readBlocked = false
    /// Writing would block; cleared by the next event.
    var writeBlocked = false
    /// recv returned 0. OpenSSL asks the BIO for this, to tell an end of stream from an error.
    var ended = false
    /// An event reported that the peer has closed its sending side. No other event will, so reads go on until they get there.
    var hangup = false
    /// A write reported that the peer has reset the connection. The kernel reports it once: a read after that returns 0.
    var wasReset = false
    /// Our close_notify is among the sealed records. Nothing may be written after it.
    var closeNotifyIsSealed = false
    /// The first bytes received for TLS: as many as came at once, eight at most, the first one in the highest byte. 0 before.
    var firstBytes: UInt64 = 0
    /// The sending side is to be shut down once the sealed records are sent.
    var isFinishing = false
    /// The end of stream or error that `read` found behind bytes that it returned first.
    var readEnd = ReadEnd.none
    // SAFETY: this and `sealed`, by the invariant at `state` below.
    var session: OpaquePointer?
    /// The chunk of sealed records that are not sent yet: `sealedBegin..<sealedEnd`.
    var sealed: UnsafeMutablePointer<UInt8>?
    var sealedBegin: Int32 = 0
    var sealedEnd: Int32 = 0
    /// Bytes sent since `open`.
    var sentBytes: UInt64 = 0
    let pool: Unmanaged<BufferPool>
  }

  enum ReadEnd: UInt8 { case none, ended, failed }

  /// The largest sealed record: 16 KiB, and at most 256 bytes that TLS 1.2 and 1.3 add (RFC 8446 section 5.2).
  static let recordBytesMax = 16_384 + 256
  /// How often in a row a read may find nothing but records of the protocol itself, each time as many as are read ahead.
  private static let emptyReadsMax = 4
  /// How much libssl reads at once: two full records. It holds the buffer only while it has a part of a record.
  static let readAheadBytes = 2 * recordBytesMax

  // SAFETY: initialized in init and freed in deinit, after the session whose BIO points to it; lent to that BIO alone.
  // Transport is not Sendable: one thread uses it, and libssl calls back inside its calls only. The session, if any, belongs
  // to this transport alone and is freed where it is set to nil. `sealed`, if any, is a chunk of the pool that only this
  // transport has; sealedBegin <= sealedEnd <= its size, and what lies between is initialized. `pool` below keeps the pool.
  // Methods that touch nothing but the fields refer to this as "the state's own memory".
  let state: UnsafeMutablePointer<State>
  let pool: BufferPool
  /// On the server's side. OpenSSL calls back into it, so it is kept as long as the session.
  package var serverContext: TLSServerContext? { context }
  var context: TLSServerContext?
  /// Why the handshake failed, as OpenSSL puts it. For the log.
  package internal(set) var failure: String?

  /// - Parameter pool: provides the chunks for sealed records, of at least 32 KiB each.
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

  /// Takes ownership of a non-blocking socket that is connected or connecting.
  package func open(_ fd: Int32) {
    precondition(!isOpen && fd >= 0)
    // SAFETY: a transport that is not open has neither a session nor a chunk that would be lost here.
    unsafe state.pointee = State(pool: Unmanaged.passUnretained(pool))
    unsafe state.pointee.descriptor = fd
    failure = nil
  }

  /// Updates the state by an event.
  package func note(_ readiness: Readiness) {
    if readiness.contains(.read) { noteReadable() }
    if !readiness.isDisjoint(with: [.ended, .failed]) { noteHangup() }
    if !readiness.isDisjoint(with: [.write, .failed]) { noteWritable() }
  }

  // SAFETY: the state's own memory.
  package func noteReadable() { unsafe state.pointee.readBlocked = false }
  // SAFETY: the state's own memory.
  package func noteWritable() { unsafe state.pointee.writeBlocked = false }
  /// The peer has closed its sending side. Its last bytes may still be unread. There will be no other event, so from now on a
  /// short read does not count as the last one.
  package func noteHangup() {
    // SAFETY: the state's own memory.
    unsafe state.pointee.hangup = true
    unsafe state.pointee.readBlocked = false
  }
  /// The peer has closed its sending side, as an event said; `read` may not have got there yet.
  // SAFETY: the state's own memory.
  package var hasHungUp: Bool { unsafe state.pointee.hangup }
  /// Writing would block, as far as is known.
  // SAFETY: the state's own memory.
  package var isWriteBlocked: Bool { unsafe state.pointee.writeBlocked }
  /// Sealed records are waiting to be sent.
  // SAFETY: the state's own memory.
  package var hasUnsent: Bool { unsafe state.pointee.sealed != nil }
  /// How many bytes they have.
  // SAFETY: the state's own memory.
  package var unsentBytes: Int { unsafe Int(state.pointee.sealedEnd - state.pointee.sealedBegin) }
  /// Bytes sent since `open`, modulo 2^32. While it changes, the peer is receiving.
  // SAFETY: the state's own memory.
  package var sentBytes: UInt32 { unsafe UInt32(truncatingIfNeeded: state.pointee.sentBytes) }
  /// Bytes sent since `open`.
  // SAFETY: the state's own memory.
  package var allSentBytes: UInt64 { unsafe state.pointee.sentBytes }
  /// The same with the sealed records that wait.
  package var writtenBytes: UInt64 { allSentBytes + UInt64(unsentBytes) }

  /// Whether a read before the next event may return something.
  package var mayRead: Bool {
    // SAFETY: the session belongs to this transport.
    if unsafe !state.pointee.readBlocked || state.pointee.readEnd != .none { return true }
    guard let session = unsafe state.pointee.session else { return false }
    return unsafe SSL_has_pending(session) == 1
  }

  /// Written bytes have not arrived: sealed records wait, or the peer has not acknowledged bytes in the kernel. After a close
  /// the kernel would keep those, for minutes if the peer reads nothing.
  package var hasUndeliveredBytes: Bool { isOpen && (hasUnsent || unacknowledgedBytes > 1) }

  /// Bytes in the kernel's send queue that the peer has not acknowledged. Our FIN counts as one.
  package var unacknowledgedBytes: Int { isOpen ? max(0, Int(cs_unacknowledged(descriptor))) : 0 }

  // MARK: Reading

  /// Reads what is available and fits into the buffer's free space. Without TLS that is one system call at most.
  package func read(into buffer: Buffer) -> IOResult {
    guard mayRead else { return .blocked }
    // SAFETY: the session belongs to this transport, and nothing below frees it. libssl writes at most the `free` bytes that
    // withWritable lends.
    guard let session = unsafe state.pointee.session else { return readPlain(into: buffer) }
    var total = 0
    var emptyReads = 0
    // All records that have arrived are decrypted in one go, so that what the caller does next is done once for all of them.
    // With a full buffer SSL_read_ex is not called; SSL_get_error would report on an earlier call then.
    while unsafe state.pointee.readEnd == .none, buffer.room > 0 {
      cs_clear_errors()
      var result: Int32 = 0
      let n = unsafe buffer.withWritable { base, free in
        var n = 0
        result = unsafe SSL_read_ex(session, base, free, &n)
        return result == 1 ? n : 0
      }
      guard n > 0 else {
        switch unsafe SSL_get_error(session, result) {
        case SSL_ERROR_WANT_READ:
          if total > 0 { return .bytes(total) }
          // The kernel may have more, of which no event will tell. All that was at hand was records of the protocol itself, such as key
          // updates: nobody has so many of them, and each costs more than it is long.
          guard unsafe !state.pointee.readBlocked else { return .blocked }
          emptyReads += 1
          if emptyReads < Transport.emptyReadsMax { continue }
          unsafe state.pointee.readEnd = .failed
        case SSL_ERROR_WANT_WRITE:
          // The peer has demanded so many answers (key updates) that the chunk is full: they are sent first.
          if total == 0, case .bytes(let sent) = sendRecords(), sent > 0 { continue }
          return total > 0 ? .bytes(total) : .blocked
        case SSL_ERROR_ZERO_RETURN: unsafe state.pointee.readEnd = .ended
        default:
          ERR_clear_error()
          unsafe state.pointee.readEnd = .failed
        }
        break
      }
      total += n
      if unsafe state.pointee.readBlocked, unsafe SSL_has_pending(session) == 0 { break }
    }
    if total > 0 { return .bytes(total) }
    switch unsafe state.pointee.readEnd {
    case .none: return .blocked
    case .ended: return .ended
    case .failed: return .failed
    }
  }

  private func readPlain(into buffer: Buffer) -> IOResult {
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
      if received < free, unsafe !state.pointee.hangup { unsafe state.pointee.readBlocked = true }
      return .bytes(received)
    }
    if free == 0 { return .blocked }
    if received == 0 { return unsafe state.pointee.wasReset ? .failed : .ended }
    if error == EAGAIN {
      unsafe state.pointee.readBlocked = true
      return .blocked
    }
    return error == EINTR ? .blocked : .failed
  }

  /// Reads bytes from the socket without removing them from it. Only before `startTLS`.
  package func peek(into buffer: Buffer) -> IOResult {
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

  /// Removes `n` bytes from the socket that `peek` has returned. False if that fails.
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

  // MARK: Ending

  /// Seals our close_notify, unless that was done before.
  func sealCloseNotify() {
    // SAFETY: the session belongs to this transport.
    guard let session = unsafe state.pointee.session, unsafe !state.pointee.closeNotifyIsSealed,
      unsafe SSL_is_init_finished(session) == 1
    else { return }
    unsafe state.pointee.closeNotifyIsSealed = true
    ERR_clear_error()
    _ = unsafe SSL_shutdown(session)
    ERR_clear_error()
  }

  /// Ends the sending side: sends close_notify, then FIN.
  package func finish() {
    guard isOpen else { return }
    sealCloseNotify()
    // SAFETY: the state's own memory.
    unsafe state.pointee.isFinishing = true
    sendRecords(more: true)
    // If records are left, `sendRecords` shuts the socket down once it has sent them.
    if !hasUnsent { shutdown(descriptor, Int32(SHUT_WR)) }
  }

  /// Closes at once. With `reset` the peer gets a reset instead of an end of stream, so that it cannot take a truncated
  /// message for a complete one.
  package func close(reset: Bool = false) {
    guard isOpen else { return }
    // SAFETY: the session belongs to this transport, which forgets it as it is freed.
    if let session = unsafe state.pointee.session {
      if !reset {
        sealCloseNotify()
        sendRecords()
      }
      discardSealed()
      unsafe SSL_free(session)
      unsafe state.pointee.session = nil
      context = nil
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
