// TLS towards an upstream: whom we trust, the name we demand, and what we show of ourselves.

import COpenSSL
import Glibc

@safe package final class TLSClientContext: @unchecked Sendable {
  // SAFETY: as TLSServerContext's: set up in init, then only read; SSL_CTX is internally locked.
  private let context: OpaquePointer
  private let name: String
  private let nameIsAddress: Bool
  /// Of our own certificate, where there is one.
  package let expiry: CertificateExpiry?

  /// - Parameters:
  ///   - authorities: PEM file of the authorities that the upstream's certificate is checked against.
  ///   - name: the DNS name (or address) that it must carry; also sent as SNI where it is a name.
  ///   - certificate: what we show when asked; optional.
  package init(authorities: String, name: String, certificate: CertificateFiles?) throws(TLSError) {
    try TLSError.checkReadable(authorities)
    ERR_clear_error()
    guard let made = unsafe SSL_CTX_new(TLS_client_method()) else { throw .fromQueue(file: "", "SSL_CTX_new") }
    var kept = false
    defer { if !kept { unsafe SSL_CTX_free(made) } }
    try unsafe TLSServerContext.applyCommon(made, minimumTLS13: false)
    _ = unsafe cs_ctx_set_options(made, cs_client_options())
    guard unsafe SSL_CTX_load_verify_locations(made, authorities, nil) == 1 else {
      throw .fromQueue(file: authorities, "cannot be read as certificates of authorities (PEM)")
    }
    unsafe SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nil)
    let offered: [UInt8] = [8] + Array("http/1.1".utf8)
    // Zero is success here.
    guard unsafe SSL_CTX_set_alpn_protos(made, offered, UInt32(offered.count)) == 0 else {
      throw .fromQueue(file: "", "ALPN")
    }
    var expiry: CertificateExpiry?
    if let certificate {
      let leaf = try unsafe TLSServerContext.loadChain(certificate, into: made)
      expiry = unsafe CertificateExpiry(file: certificate.certificate, seconds: cs_not_after(leaf))
    }
    self.expiry = expiry
    ERR_clear_error()
    self.name = name
    var scratch = in6_addr()
    // SAFETY: C calls with strings and a local of the right size.
    nameIsAddress = unsafe (inet_pton(AF_INET, name, &scratch) == 1 || inet_pton(AF_INET6, name, &scratch) == 1)
    unsafe context = made
    kept = true
  }

  deinit { unsafe SSL_CTX_free(context) }

  /// A new client-side session that demands the name.
  func makeSession() -> OpaquePointer? {
    guard let session = unsafe SSL_new(context) else { return nil }
    let ready: Bool
    if nameIsAddress {
      ready = unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name) == 1
    } else {
      ready = unsafe (SSL_set1_host(session, name) == 1 && cs_set_host_name(session, name) == 1)
    }
    guard ready else {
      unsafe SSL_free(session)
      return nil
    }
    return unsafe session
  }
}
