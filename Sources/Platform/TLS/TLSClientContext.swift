// TLS to an upstream: the authorities that are trusted, the name that is required, and the client certificate, if any.

import COpenSSL
import Glibc

@safe package final class TLSClientContext: @unchecked Sendable {
  // SAFETY: made and set up in init, before anybody else has the object, and freed in deinit. After that it only makes
  // sessions, which libssl allows on many threads at once; each session counts it, so it lives as long as they do.
  private let context: OpaquePointer
  private let name: String
  private let nameIsAddress: Bool
  /// Of the client certificate, and of the authorities' revocation lists, where there are any.
  package let expiries: [CertificateExpiry]

  /// - Parameters:
  ///   - authorities: PEM file of the authorities that may have issued the upstream's certificate.
  ///   - name: the DNS name or address that its certificate must have; a name is also sent as SNI.
  ///   - certificate: the client certificate, for an upstream that asks for one.
  ///   - application: the protocol that is offered, by ALPN.
  package init(
    authorities: String, name: String, certificate: CertificateFiles?, application: ALPNProtocol = .http1
  ) throws(TLSError) {
    try TLSError.checkReadable(authorities)
    ERR_clear_error()
    // SAFETY: the context is new, and freed here unless self takes it at the end. Paths and names are NUL-terminated copies
    // for their call; the protocol's name is copied by libssl. The leaf belongs to the context and is asked while that lives.
    guard let made = unsafe SSL_CTX_new(TLS_client_method()) else { throw .fromQueue(file: "", "SSL_CTX_new") }
    var kept = false
    defer { if !kept { unsafe SSL_CTX_free(made) } }
    try unsafe TLSServerContext.applyCommon(made, minimumTLS13: false)
    _ = unsafe cs_ctx_set_options(made, cs_client_options())
    guard unsafe SSL_CTX_load_verify_locations(made, authorities, nil) == 1 else {
      throw .fromQueue(file: authorities, "cannot be read as certificates of authorities (PEM)")
    }
    unsafe cs_ctx_check_revocation(made)
    unsafe SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nil)
    let offered = application.listed
    // Zero is success here.
    guard unsafe SSL_CTX_set_alpn_protos(made, offered, UInt32(offered.count)) == 0 else {
      throw .fromQueue(file: "", "ALPN")
    }
    var expiries: [CertificateExpiry] = []
    if let certificate {
      let leaf = try unsafe TLSServerContext.loadChain(certificate, into: made)
      expiries.append(unsafe CertificateExpiry(file: certificate.certificate, seconds: cs_not_after(leaf)))
    }
    if let lists = unsafe CertificateExpiry.ofLists(in: made, file: authorities) { expiries.append(lists) }
    self.expiries = expiries
    ERR_clear_error()
    self.name = name
    var scratch = in6_addr()
    // SAFETY: inet_pton writes at most the sixteen bytes of an in6_addr.
    nameIsAddress = unsafe (inet_pton(AF_INET, name, &scratch) == 1 || inet_pton(AF_INET6, name, &scratch) == 1)
    unsafe context = made
    kept = true
  }

  // SAFETY: made in init and freed only here; sessions that are left have counted references of their own.
  deinit { unsafe SSL_CTX_free(context) }

  /// A new client-side session that requires the name. The caller frees it.
  func makeSession() -> OpaquePointer? {
    // SAFETY: the session is new, and freed here or returned; its parameters belong to it. Names are NUL-terminated copies
    // for their call.
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
