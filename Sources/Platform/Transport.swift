// One connection's bytes: a socket, with or without TLS over it. Registered edge-triggered, so it remembers what the
// kernel last said: after a short read nothing more is there until the next event, and no call is spent to hear it.
//
//   open(fd) ──► [startTLS ──► handshake …] ──► read / write ──► finish ──► close
//
// Invariant: the SSL object, if any, belongs to this transport and its BIO points at `state`. One thread.

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
    var session: OpaquePointer?
  }

  // SAFETY: allocated in init, freed in deinit after the session that points to it; one thread.
  private let state: UnsafeMutablePointer<State>
  /// OpenSSL calls back into it to choose a certificate: it must outlive the session.
  private var accepting: TLSServerContext?
  /// Why the handshake failed, in OpenSSL's words; for the log.
  package private(set) var failure: String?

  package init() {
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
  }

  deinit {
    close()
    unsafe state.deinitialize(count: 1)
    unsafe state.deallocate()
  }

  package var isOpen: Bool { unsafe state.pointee.descriptor >= 0 }
  package var descriptor: Int32 { unsafe state.pointee.descriptor }
  package var isTLS: Bool { unsafe state.pointee.session != nil }

  /// Takes over a connected (or connecting) non-blocking socket.
  package func open(_ fd: Int32) {
    precondition(!isOpen && fd >= 0)
    unsafe state.pointee = State()
    unsafe state.pointee.descriptor = fd
    failure = nil
  }

  /// Takes in what an event said.
  package func note(_ readiness: Readiness) {
    if readiness.contains(.read) { noteReadable() }
    if !readiness.isDisjoint(with: [.ended, .failed]) { noteHangup() }
    if !readiness.isDisjoint(with: [.write, .failed]) { noteWritable() }
  }

  package func noteReadable() { unsafe state.pointee.drained = false }
  package func noteWritable() { unsafe state.pointee.stuffed = false }
  /// The peer sends no more. Its last bytes may still wait, and its end arrived with the same event as they did: a short
  /// read does not mean that nothing is left.
  package func noteHangup() {
    unsafe state.pointee.hangup = true
    unsafe state.pointee.drained = false
  }
  /// The peer's end was told of, if not yet read.
  package var hasHungUp: Bool { unsafe state.pointee.hangup }
  /// A write would be refused by the kernel as far as we know.
  package var isStuffed: Bool { unsafe state.pointee.stuffed }

  /// Whether a read may bring something before the next event.
  package var mayRead: Bool {
    if unsafe !state.pointee.drained { return true }
    guard let session = unsafe state.pointee.session else { return false }
    return unsafe SSL_has_pending(session) == 1
  }

  // MARK: TLS

  package func startTLS(accepting context: TLSServerContext) -> Bool {
    guard let session = unsafe context.makeSession() else { return false }
    unsafe SSL_set_accept_state(session)
    accepting = context
    return unsafe attach(session)
  }

  package func startTLS(connecting context: TLSClientContext) -> Bool {
    guard let session = unsafe context.makeSession() else { return false }
    unsafe SSL_set_connect_state(session)
    return unsafe attach(session)
  }

  private func attach(_ session: OpaquePointer) -> Bool {
    precondition(isOpen && !isTLS)
    guard let bio = unsafe BIO_new(SocketBIO.method) else {
      unsafe SSL_free(session)
      return false
    }
    unsafe BIO_set_data(bio, state)
    unsafe BIO_set_init(bio, 1)
    unsafe SSL_set_bio(session, bio, bio)
    unsafe state.pointee.session = session
    return true
  }

  package func handshake() -> Handshake {
    guard let session = unsafe state.pointee.session else { return .failed }
    ERR_clear_error()
    let result = unsafe SSL_do_handshake(session)
    if result == 1 { return .done }
    switch unsafe SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .blocked
    default:
      let verify = unsafe SSL_get_verify_result(session)
      if verify != Int(X509_V_OK) {
        // SAFETY: a static string.
        failure = unsafe "certificate: " + String(cString: X509_verify_cert_error_string(verify))
        ERR_clear_error()
      } else {
        failure = TLSError.lastReason() ?? "connection closed"
      }
      return .failed
    }
  }

  /// "TLSv1.3", "TLSv1.2"; empty without TLS.
  package var tlsVersion: StaticString {
    guard let session = unsafe state.pointee.session else { return "" }
    switch unsafe SSL_version(session) {
    case cs_TLS1_3: return "TLSv1.3"
    case cs_TLS1_2: return "TLSv1.2"
    default: return "TLS"
    }
  }

  /// The protocol version's name, as `tlsVersion`; empty without TLS.
  package func withVersionName<R>(_ body: (Span<UInt8>) -> R) -> R {
    guard let session = unsafe state.pointee.session, let name = unsafe SSL_get_version(session) else {
      return body(Span<UInt8>())
    }
    return unsafe lend(name, body)
  }

  /// The cipher suite's name (as in the PROXY header's SSL TLV); empty without TLS.
  package func withCipherName<R>(_ body: (Span<UInt8>) -> R) -> R {
    guard let session = unsafe state.pointee.session, let cipher = unsafe SSL_get_current_cipher(session),
      let name = unsafe SSL_CIPHER_get_name(cipher)
    else { return body(Span<UInt8>()) }
    return unsafe lend(name, body)
  }

  /// The name that the client asked for (SNI); empty where it asked for none.
  package func withServerName<R>(_ body: (Span<UInt8>) -> R) -> R {
    guard let session = unsafe state.pointee.session,
      let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)
    else { return body(Span<UInt8>()) }
    return unsafe lend(name, body)
  }

  /// The protocol agreed by ALPN; empty where none was.
  package func withApplicationProtocol<R>(_ body: (Span<UInt8>) -> R) -> R {
    guard let session = unsafe state.pointee.session else { return body(Span<UInt8>()) }
    var name: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    unsafe SSL_get0_alpn_selected(session, &name, &length)
    guard let name = unsafe name, length > 0 else { return body(Span<UInt8>()) }
    // SAFETY: OpenSSL keeps these bytes as long as the session.
    return unsafe body(Span<UInt8>(_unsafeStart: name, count: Int(length)))
  }

  private func lend<R>(_ text: UnsafePointer<CChar>, _ body: (Span<UInt8>) -> R) -> R {
    let length = unsafe strlen(text)
    // SAFETY: a NUL-terminated string that OpenSSL keeps as long as the session.
    return unsafe text.withMemoryRebound(to: UInt8.self, capacity: length) { bytes in
      unsafe body(Span<UInt8>(_unsafeStart: bytes, count: length))
    }
  }

  /// SHA-256 of the client's certificate (DER), 32 bytes; nil where none was shown. A certificate that
  /// was shown has been verified, or the handshake would have failed.
  package var peerCertificateDigest: [UInt8]? {
    guard let session = unsafe state.pointee.session, let certificate = unsafe cs_peer_certificate(session) else {
      return nil
    }
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 32
    // SAFETY: 32 bytes for a SHA-256.
    guard unsafe X509_digest(certificate, EVP_sha256(), &digest, &length) == 1, length == 32 else { return nil }
    return digest
  }

  // MARK: Bytes

  /// Reads once into the buffer's free space.
  package func read(into buffer: Buffer) -> Moved {
    guard mayRead else { return .blocked }
    guard let session = unsafe state.pointee.session else { return readPlain(into: buffer) }
    // Without room SSL_read is not called, and SSL_get_error would speak of a call before.
    guard buffer.room > 0 else { return .blocked }
    ERR_clear_error()
    var result: Int32 = 0
    let n = unsafe buffer.withWritable { base, free in
      var n = 0
      result = unsafe SSL_read_ex(session, base, free, &n)
      return result == 1 ? n : 0
    }
    if n > 0 { return .bytes(n) }
    switch unsafe SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .blocked
    case SSL_ERROR_ZERO_RETURN: return .ended
    default:
      ERR_clear_error()
      return .failed
    }
  }

  private func readPlain(into buffer: Buffer) -> Moved {
    var free = 0
    var error: Int32 = 0
    var received = 0
    let fd = descriptor
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
    if received == 0 { return .ended }
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
      let got = unsafe buffer.withWritable { base, room in unsafe cs_recv(fd, base, min(want, room)) }
      guard got > 0 else { return false }
      taken += got
      buffer.removeAll()
    }
    return true
  }

  /// Writes as much of `bytes` as the peer takes. After `.blocked` with TLS the next write must begin with the same
  /// bytes: a record of them is already sealed.
  package func write(_ bytes: Span<UInt8>) -> Moved {
    let count = bytes.count
    guard count > 0, unsafe !state.pointee.stuffed else { return .blocked }
    guard let session = unsafe state.pointee.session else { return writePlain(bytes) }
    ERR_clear_error()
    var written = 0
    // SAFETY: OpenSSL reads the span during the call only.
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

  private func writePlain(_ bytes: Span<UInt8>) -> Moved {
    let count = bytes.count
    let fd = descriptor
    // SAFETY: the kernel reads the span during the call only.
    let sent = unsafe bytes.withUnsafeBufferPointer { source in unsafe cs_send(fd, source.baseAddress, count) }
    if sent > 0 {
      if sent < count { unsafe state.pointee.stuffed = true }
      return .bytes(sent)
    }
    let error = cs_errno()
    if error == EAGAIN {
      unsafe state.pointee.stuffed = true
      return .blocked
    }
    return error == EINTR ? .blocked : .failed
  }

  /// Writes a buffer's waiting bytes and consumes what went out.
  package func flush(_ buffer: Buffer) -> Moved {
    var total = 0
    while !buffer.isEmpty {
      let moved = buffer.withReadable { write($0) }
      guard case .bytes(let n) = moved else {
        return total > 0 && moved == .blocked ? .bytes(total) : moved
      }
      buffer.consume(n)
      total += n
    }
    return .bytes(total)
  }

  /// Ends our sending side: close_notify, then FIN.
  package func finish() {
    guard isOpen else { return }
    if let session = unsafe state.pointee.session, unsafe SSL_is_init_finished(session) == 1 {
      ERR_clear_error()
      _ = unsafe SSL_shutdown(session)
      ERR_clear_error()
    }
    shutdown(descriptor, Int32(SHUT_WR))
  }

  /// Closes at once. With `reset`, the peer sees a reset instead of an end, so that it cannot take a truncated message
  /// for a whole one.
  package func close(reset: Bool = false) {
    guard isOpen else { return }
    if let session = unsafe state.pointee.session {
      if !reset, unsafe SSL_is_init_finished(session) == 1 {
        ERR_clear_error()
        _ = unsafe SSL_shutdown(session)
      }
      unsafe SSL_free(session)
      unsafe state.pointee.session = nil
      accepting = nil
      ERR_clear_error()
    }
    if reset {
      var option = linger(l_onoff: 1, l_linger: 0)
      // SAFETY: a local of the option's own type.
      _ = unsafe setsockopt(
        descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
    Glibc.close(descriptor)
    unsafe state.pointee.descriptor = -1
  }
}

/// OpenSSL's door to the socket: recv and send that remember what the kernel said in the transport's state.
private enum SocketBIO {
  // SAFETY: made once, never freed, immutable after.
  nonisolated(unsafe) static let method: OpaquePointer = {
    guard let made = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "countersign") else {
      fatalError("BIO_meth_new: out of memory")
    }
    unsafe BIO_meth_set_read(made, receive)
    unsafe BIO_meth_set_write(made, transmit)
    unsafe BIO_meth_set_ctrl(made, control)
    return unsafe made
  }()

  // SAFETY (all three): OpenSSL calls these on the worker's thread with the BIO that `attach` made, whose data is the
  // transport's state, and with a buffer of the length it gives.
  static let receive: @convention(c) (OpaquePointer?, UnsafeMutablePointer<CChar>?, Int32) -> Int32 = {
    bio, into, length in
    let state = unsafe BIO_get_data(bio).assumingMemoryBound(to: Transport.State.self)
    unsafe cs_bio_clear_retry(bio)
    if unsafe state.pointee.drained {
      unsafe cs_bio_retry_read(bio)
      return -1
    }
    let n = unsafe cs_recv(state.pointee.descriptor, into, Int(length))
    if n > 0 {
      if n < Int(length), unsafe !state.pointee.hangup { unsafe state.pointee.drained = true }
    } else if n == 0 {
      unsafe state.pointee.ended = true
    } else if cs_errno() == EAGAIN || cs_errno() == EINTR {
      unsafe state.pointee.drained = cs_errno() == EAGAIN
      unsafe cs_bio_retry_read(bio)
    }
    return Int32(n)
  }

  static let transmit: @convention(c) (OpaquePointer?, UnsafePointer<CChar>?, Int32) -> Int32 = { bio, from, length in
    let state = unsafe BIO_get_data(bio).assumingMemoryBound(to: Transport.State.self)
    unsafe cs_bio_clear_retry(bio)
    if unsafe state.pointee.stuffed {
      unsafe cs_bio_retry_write(bio)
      return -1
    }
    let n = unsafe cs_send(state.pointee.descriptor, from, Int(length))
    if n >= 0 {
      if n < Int(length) { unsafe state.pointee.stuffed = true }
    } else if cs_errno() == EAGAIN || cs_errno() == EINTR {
      unsafe state.pointee.stuffed = cs_errno() == EAGAIN
      unsafe cs_bio_retry_write(bio)
    }
    return Int32(n)
  }

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
