// TLS of a transport: starting it as server or client, the handshake, and what was negotiated.
// Invariant: a session is attached to an open transport that has none, and freed by `close` or `abandonTLS`.

import COpenSSL
import Glibc
import Wire

extension Transport {
  package func startTLS(accepting context: TLSServerContext) -> Bool {
    // SAFETY: the session is new and goes to `attach`, which takes it over. `serverContext` keeps what libssl calls back into.
    guard let session = unsafe context.makeSession() else { return false }
    unsafe SSL_set_accept_state(session)
    self.context = context
    return unsafe attach(session)
  }

  package func startTLS(connecting context: TLSClientContext) -> Bool {
    // SAFETY: the session is new and goes to `attach`, which takes it over.
    guard let session = unsafe context.makeSession() else { return false }
    unsafe SSL_set_connect_state(session)
    return unsafe attach(session)
  }

  private func attach(_ session: OpaquePointer) -> Bool {
    precondition(isOpen && !isTLS)
    // SAFETY: the session takes over the BIO, and this transport the session; without a BIO it is freed here. The BIO points
    // to the transport's state, which deinit frees after the session.
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
    // SAFETY: the session belongs to this transport; nothing below frees it.
    guard let session = unsafe state.pointee.session else { return .failed }
    while true {
      ERR_clear_error()
      let result = unsafe SSL_do_handshake(session)
      // A session ticket, or the client's last flight, is sealed now, and is sent together with the first bytes written.
      if result == 1 { return .done }
      switch unsafe SSL_get_error(session, result) {
      case SSL_ERROR_WANT_READ:
        guard sendRecords() == .failed else { return .blocked }
        failure = "connection closed"
        return .failed
      case SSL_ERROR_WANT_WRITE:
        // A flight that is longer than a chunk continues once a part of it is sent.
        switch sendRecords() {
        case .bytes(let sent) where sent > 0: continue
        case .bytes, .blocked: return .blocked
        case .ended, .failed:
          failure = "connection closed"
          return .failed
        }
      default: return unsafe handshakeFailed(session)
      }
    }
  }

  private func handshakeFailed(_ session: OpaquePointer) -> Handshake {
    // SAFETY: the session belongs to this transport; X509_verify_cert_error_string returns a constant string.
    let verify = unsafe SSL_get_verify_result(session)
    if verify != Int(X509_V_OK) {
      failure = unsafe "certificate: " + String(cString: X509_verify_cert_error_string(verify))
      ERR_clear_error()
    } else {
      failure = TLSError.lastReason() ?? "connection closed"
    }
    // This sends the alert.
    if !beganWithPlainHTTP { _ = sendRecords() }
    return .failed
  }

  /// The first byte was a capital letter, as in a request of plain HTTP. A TLS record begins with 20 to 23 (RFC 8446
  /// section 5.1).
  package var beganWithPlainHTTP: Bool {
    // SAFETY: the state's own memory.
    unsafe (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(UInt8(state.pointee.firstBytes >> 56))
      && !beganWithProxyHeader
  }

  /// Not a byte came.
  package var hasReceivedNothing: Bool {
    // SAFETY: the state's own memory.
    unsafe state.pointee.firstBytes == 0
  }

  /// The first bytes were those of a PROXY header, version 1 or 2, on a listener that expects none.
  package var beganWithProxyHeader: Bool {
    // SAFETY: the state's own memory.
    let first = unsafe state.pointee.firstBytes
    return first >> 16 == 0x5052_4f58_5920 || first == 0x0d0a_0d0a_000d_0a51
  }

  /// Drops a TLS session whose handshake failed, without sending an alert. What is written from now on is not encrypted.
  package func abandonTLS() {
    // SAFETY: the session belongs to this transport, which forgets it as it is freed.
    guard let session = unsafe state.pointee.session else { return }
    discardSealed()
    unsafe SSL_free(session)
    unsafe state.pointee.session = nil
    context = nil
    ERR_clear_error()
  }

  package var isTLS13: Bool {
    // SAFETY: the session belongs to this transport.
    guard let session = unsafe state.pointee.session else { return false }
    return unsafe SSL_version(session) == cs_TLS1_3
  }

  /// The name of the protocol version: "TLSv1.3", "TLSv1.2"; empty without TLS.
  package func withVersionName<R>(_ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: the session belongs to this transport; the name is one of libssl's constants.
    guard let session = unsafe state.pointee.session, let name = unsafe SSL_get_version(session) else {
      return body(Span<UInt8>())
    }
    return unsafe lend(name, body)
  }

  /// The cipher suite's name (as in the PROXY header's SSL TLV); empty without TLS.
  package func withCipherName<R>(_ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: the session belongs to this transport; cipher and name are libssl's constants.
    guard let session = unsafe state.pointee.session, let cipher = unsafe SSL_get_current_cipher(session),
      let name = unsafe SSL_CIPHER_get_name(cipher)
    else { return body(Span<UInt8>()) }
    return unsafe lend(name, body)
  }

  /// The server name that the client sent (SNI); empty if it sent none.
  package func withServerName<R>(_ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: the session belongs to this transport and the name to the session, which is counted once more for the time of
    // body: that may close this transport.
    guard let session = unsafe state.pointee.session,
      let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)
    else { return body(Span<UInt8>()) }
    _ = unsafe SSL_up_ref(session)
    defer { unsafe SSL_free(session) }
    return unsafe lend(name, body)
  }

  /// The protocol negotiated by ALPN; empty if there is none.
  package func withApplicationProtocol<R>(_ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: as for the server name; libssl gives `length` bytes at `name`.
    guard let session = unsafe state.pointee.session else { return body(Span<UInt8>()) }
    var name: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    unsafe SSL_get0_alpn_selected(session, &name, &length)
    guard let name = unsafe name, length > 0 else { return body(Span<UInt8>()) }
    _ = unsafe SSL_up_ref(session)
    defer { unsafe SSL_free(session) }
    return unsafe body(Span<UInt8>(_unsafeStart: name, count: Int(length)))
  }

  private func lend<R>(_ text: UnsafePointer<CChar>, _ body: (Span<UInt8>) -> R) -> R {
    // SAFETY: callers pass a NUL-terminated string that is not freed before body returns.
    let length = unsafe strlen(text)
    return unsafe text.withMemoryRebound(to: UInt8.self, capacity: length) { bytes in
      unsafe body(Span<UInt8>(_unsafeStart: bytes, count: length))
    }
  }

  /// SHA-256 of the peer's certificate (DER), 32 bytes; nil if it sent none. The certificate has been verified; otherwise the
  /// handshake would have failed.
  package var peerCertificateDigest: [UInt8]? {
    // SAFETY: the session belongs to this transport and the certificate to the session; libcrypto writes a SHA-256's 32 bytes.
    guard let session = unsafe state.pointee.session, let certificate = unsafe cs_peer_certificate(session) else {
      return nil
    }
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 32
    guard unsafe X509_digest(certificate, EVP_sha256(), &digest, &length) == 1, length == 32 else { return nil }
    return digest
  }
}
