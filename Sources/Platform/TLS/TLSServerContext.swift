// TLS of a listener: its certificates, chosen by the server name that the client sends, and whether clients need one.
// Immutable once made, and shared by the workers. A reload makes a new one; a connection keeps the one that it began with.

import COpenSSL
import Glibc

/// A certificate and its private key, both PEM files.
package struct CertificateFiles: Sendable, Equatable {
  package let certificate: String
  package let key: String
  package init(certificate: String, key: String) {
    self.certificate = certificate
    self.key = key
  }

  func checkReadable() throws(TLSError) {
    for file in [certificate, key] { try TLSError.checkReadable(file) }
  }
}

/// The end of a certificate's validity.
package struct CertificateExpiry: Sendable, Equatable {
  package enum Kind: Sendable { case certificate, revocationList }
  /// The file that it was read from.
  package let file: String
  /// Seconds since 1970.
  package let seconds: Int64
  /// Of a file of authorities: when the first of its revocation lists is to have been replaced.
  package var kind = Kind.certificate

  // SAFETY: the context is the caller's, and its store is only read.
  static func ofLists(in context: OpaquePointer, file: String) -> CertificateExpiry? {
    let end = unsafe cs_ctx_lists_end(context)
    return end == .max ? nil : CertificateExpiry(file: file, seconds: end, kind: .revocationList)
  }
}

@safe package final class TLSServerContext: @unchecked Sendable {
  // SAFETY: made and set up in init, before anybody else has the object, and freed in deinit. After that they only make and
  // serve sessions, which libssl allows on many threads at once; each session counts the context that it has. They call
  // back into self and into `tickets`: `Transport.serverContext` keeps self as long as its session.
  private let contexts: [OpaquePointer]
  private let names: NameTable
  /// The contexts call back into it.
  private let tickets: TicketKeys
  /// For the operator: what does not keep the listener from working, such as a certificate that is not valid yet.
  package let warnings: [String]
  /// Of each certificate, in the order of `certificates`, and of the revocation lists.
  package let expiries: [CertificateExpiry]

  /// - Parameters:
  ///   - certificates: at least one; the first is the default.
  ///   - clientAuthorities: PEM file of the authorities that may issue client certificates; nil: none are requested.
  ///   - minimumTLS13: refuse TLS 1.2.
  ///   - protocols: those that are spoken, by ALPN, in the order in which they are preferred.
  ///   - sessionContext: at most 32 bytes, different for each listener, so that a session of one cannot be resumed at another.
  package init(
    certificates: [CertificateFiles], clientAuthorities: String?, requireClientCertificate: Bool, minimumTLS13: Bool,
    protocols: [ALPNProtocol] = [.http1], sessionContext: [UInt8], tickets: TicketKeys
  ) throws(TLSError) {
    precondition(!certificates.isEmpty && sessionContext.count <= 32)
    var made: [OpaquePointer] = unsafe []
    var table = NameTable()
    var loaded: [(names: Set<String>, kind: Int32, context: Int)] = []
    var notes: [String] = []
    var expiries: [CertificateExpiry] = []
    // SAFETY: each context is new, and is freed here once unless it is in `made`, which self takes at the end, or which is
    // freed where the initializer throws.
    do {
      for files in certificates {
        let context = try unsafe TLSServerContext.makeContext(
          clientAuthorities: clientAuthorities, require: requireClientCertificate, minimumTLS13: minimumTLS13,
          protocols: protocols, sessionContext: sessionContext, tickets: tickets)
        var kept = false
        defer { if !kept { unsafe SSL_CTX_free(context) } }
        let leaf = try unsafe TLSServerContext.load(files, into: context, notes: &notes)
        expiries.append(CertificateExpiry(file: files.certificate, seconds: leaf.expirySeconds))
        if let file = clientAuthorities, let lists = unsafe CertificateExpiry.ofLists(in: context, file: file) {
          expiries.append(lists)
        }
        // The same names with another kind of key: one context gets both, and OpenSSL chooses by what the client supports.
        if let twin = loaded.first(where: { $0.names == leaf.names && !leaf.names.isEmpty && $0.kind != leaf.kind }) {
          _ = try unsafe TLSServerContext.loadChain(files, into: made[twin.context])
          continue
        }
        kept = true
        unsafe made.append(context)
        let index = unsafe made.count - 1
        loaded.append((leaf.names, leaf.kind, index))
        for name in leaf.names { table.add(name, index) }
      }
    } catch {
      unsafe made.forEach { unsafe SSL_CTX_free($0) }
      throw error
    }
    unsafe contexts = made
    names = table
    self.tickets = tickets
    warnings = notes
    self.expiries = expiries
    // SAFETY: the callback's argument is this object, not retained. It is called inside handshakes only, for a session of a
    // transport that keeps this object (`Transport.serverContext`) until it has freed the session.
    unsafe contexts.forEach {
      _ = unsafe cs_ctx_set_servername_arg($0, Unmanaged.passUnretained(self).toOpaque())
      _ = unsafe cs_ctx_set_servername_callback($0, chooseByName)
    }
  }

  // SAFETY: made in init and freed only here; sessions that are left have counted references of their own.
  deinit { unsafe contexts.forEach { unsafe SSL_CTX_free($0) } }

  /// A new server-side session. The caller frees it.
  // SAFETY: there is at least one context, and it lives as long as self.
  func makeSession() -> OpaquePointer? { unsafe SSL_new(contexts[0]) }

  /// Chooses the certificate by the server name. Called by OpenSSL during a handshake.
  fileprivate func choose(_ session: OpaquePointer) -> Int32 {
    // SAFETY: libssl gives the session for the time of the callback; its server name is NUL-terminated and copied at once. The
    // table has only indices of contexts, which live as long as self; the session counts the one that it gets.
    guard let text = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else { return SSL_TLSEXT_ERR_OK }
    let name = unsafe String(cString: text).lowercased()
    guard let index = names.find(name), index > 0 else { return SSL_TLSEXT_ERR_OK }
    return unsafe SSL_set_SSL_CTX(session, contexts[index]) != nil ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL
  }

  /// Whether a connection that was made for the name `connected` (empty: none was sent) may have requests for `host`, both in lower
  /// case: the certificate that it was shown has that name too (RFC 9113 section 9.1.1). Allocates; ask once for a name.
  package func serves(_ host: String, onConnectionTo connected: String) -> Bool {
    guard host != connected else { return true }
    guard let index = names.find(host) else { return false }
    return index == (names.find(connected) ?? 0)
  }

  private static func makeContext(
    clientAuthorities: String?, require: Bool, minimumTLS13: Bool, protocols: [ALPNProtocol], sessionContext: [UInt8],
    tickets: TicketKeys
  ) throws(TLSError) -> OpaquePointer {
    ERR_clear_error()
    // SAFETY: the context is new, and freed here or returned. It takes the list of authorities; the session context is copied,
    // and the path is a NUL-terminated copy for each call. Its callbacks are functions without a context of their own, but
    // for the tickets' (see TicketKeys.install), which the caller keeps as long as this context.
    guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw .fromQueue(file: "", "SSL_CTX_new") }
    var kept = false
    defer { if !kept { unsafe SSL_CTX_free(context) } }
    try unsafe applyCommon(context, minimumTLS13: minimumTLS13)
    _ = unsafe cs_ctx_set_options(context, cs_server_options())
    // Sessions are resumed by tickets; a server-side cache would be a lock that all workers share.
    _ = unsafe cs_ctx_set_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
    guard unsafe SSL_CTX_set_num_tickets(context, 1) == 1 else { throw .fromQueue(file: "", "tickets") }
    _ = unsafe SSL_CTX_set_max_early_data(context, 0)
    guard unsafe tickets.install(in: context) else { throw .fromQueue(file: "", "ticket keys") }
    _ = unsafe SSL_CTX_set_timeout(context, TicketKeys.ticketLifetimeSeconds)
    guard unsafe SSL_CTX_set_session_id_context(context, sessionContext, UInt32(sessionContext.count)) == 1 else {
      throw .fromQueue(file: "", "session context")
    }
    unsafe SSL_CTX_set_alpn_select_cb(
      context, chooseProtocol, UnsafeMutableRawPointer(bitPattern: ALPNProtocol.mark(of: protocols)))
    if let file = clientAuthorities {
      try TLSError.checkReadable(file)
      ERR_clear_error()
      guard unsafe SSL_CTX_load_verify_locations(context, file, nil) == 1,
        let list = unsafe SSL_load_client_CA_file(file)
      else { throw .fromQueue(file: file, "cannot be read as certificates of client authorities (PEM)") }
      unsafe SSL_CTX_set_client_CA_list(context, list)
      unsafe cs_ctx_check_revocation(context)
      unsafe SSL_CTX_set_session_ticket_cb(context, noteTicket, useTicket, nil)
      let mode = SSL_VERIFY_PEER | (require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0)
      unsafe SSL_CTX_set_verify(context, mode, nil)
    }
    kept = true
    return unsafe context
  }

  /// Loads a chain and its key, and returns what the certificate says.
  private static func load(
    _ files: CertificateFiles, into context: OpaquePointer, notes: inout [String]
  ) throws(TLSError) -> (names: Set<String>, kind: Int32, expirySeconds: Int64) {
    // SAFETY: the leaf belongs to the context, which is the caller's, and is only asked here.
    let leaf = try unsafe loadChain(files, into: context)
    if unsafe cs_is_early(leaf) != 0 { notes.append("\(files.certificate): the certificate is not valid yet") }
    let kind = unsafe X509_get0_pubkey(leaf).map { unsafe EVP_PKEY_get_id($0) } ?? 0
    return unsafe (CertificateNames.of(leaf), kind, cs_not_after(leaf))
  }

  /// Loads a certificate chain and its private key, and checks both; used for upstreams as well. Returns the leaf certificate,
  /// which belongs to the context.
  static func loadChain(_ files: CertificateFiles, into context: OpaquePointer) throws(TLSError) -> OpaquePointer {
    try files.checkReadable()
    ERR_clear_error()
    // SAFETY: the context is the caller's and not shared yet; leaf and chain belong to it and are not changed here. Paths are
    // NUL-terminated copies for their call. Each index of the chain is below its count.
    guard unsafe SSL_CTX_use_certificate_chain_file(context, files.certificate) == 1,
      let leaf = unsafe SSL_CTX_get0_certificate(context)
    else { throw .fromQueue(file: files.certificate, "cannot be read as a certificate chain (PEM, the leaf first)") }
    ERR_clear_error()
    var isEncrypted: Int32 = 0
    // SAFETY: libssl calls back with the pointer inside this call only; then it is taken out of the context.
    let keyIsLoaded = unsafe withUnsafeMutablePointer(to: &isEncrypted) { asked in
      unsafe cs_ctx_refuse_passphrases(context, asked)
      defer { unsafe cs_ctx_refuse_passphrases(context, nil) }
      return unsafe SSL_CTX_use_PrivateKey_file(context, files.key, SSL_FILETYPE_PEM) == 1
    }
    guard keyIsLoaded else {
      guard isEncrypted == 0 else {
        ERR_clear_error()
        throw TLSError(
          file: files.key,
          "is encrypted with a passphrase, which cannot be entered; decrypt it: openssl pkey -in FILE -out NEW")
      }
      let reason = TLSError.lastReason() ?? "not a private key"
      if reason.contains("mismatch") {
        throw TLSError(
          file: files.key, "is not the private key of \(files.certificate); use the key that it was made for")
      }
      throw TLSError(file: files.key, "cannot be read as a private key (PEM, without a passphrase): \(reason)")
    }
    guard unsafe SSL_CTX_check_private_key(context) == 1 else {
      ERR_clear_error()
      throw TLSError(
        file: files.key, "is not the private key of \(files.certificate); use the key that it was made for")
    }
    let chain = unsafe cs_ctx_chain(context)
    var below = unsafe leaf
    let count = unsafe Int(cs_x509_chain_count(chain))
    for i in 0..<count {
      guard let issuer = unsafe cs_x509_chain_at(chain, Int32(i)) else { break }
      guard unsafe X509_check_issued(issuer, below) == X509_V_OK else {
        throw TLSError(
          file: files.certificate,
          "certificate \(i + 2) in the file did not issue the one before it; put the leaf first, then its issuers")
      }
      unsafe below = issuer
    }
    ERR_clear_error()
    return unsafe leaf
  }

  /// Done once for the process.
  private static let promptsAreRefused = cs_refuse_prompts() == 1

  /// Settings that servers and clients have in common.
  static func applyCommon(_ context: OpaquePointer, minimumTLS13: Bool) throws(TLSError) {
    // SAFETY: the context is the caller's and not shared yet; libssl copies the strings.
    guard promptsAreRefused else { throw .fromQueue(file: "", "cannot switch off prompts for passphrases") }
    unsafe cs_ctx_refuse_passphrases(context, nil)
    _ = unsafe cs_ctx_set_mode(context, cs_modes())
    unsafe cs_no_auto_retry(context)
    unsafe cs_ctx_set_read_ahead(context, 1)
    unsafe SSL_CTX_set_default_read_buffer_len(context, Transport.readAheadBytes)
    guard unsafe cs_ctx_set_min_version(context, minimumTLS13 ? cs_TLS1_3 : cs_TLS1_2) == 1,
      unsafe cs_ctx_set_groups(context, "X25519:P-256:P-384") == 1,
      unsafe SSL_CTX_set_ciphersuites(
        context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1,
      unsafe SSL_CTX_set_cipher_list(
        context,
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
          + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305") == 1
    else { throw .fromQueue(file: "", "TLS settings") }
  }
}

/// A protocol that ALPN can choose.
package enum ALPNProtocol: UInt8, Sendable {
  case http1 = 1, http2

  var name: StaticString {
    switch self {
    case .http1: "http/1.1"
    case .http2: "h2"
    }
  }

  /// A list with this protocol alone (RFC 7301 section 3.1).
  var listed: [UInt8] {
    switch self {
    case .http1: [8] + Array("http/1.1".utf8)
    case .http2: [2] + Array("h2".utf8)
    }
  }

  /// The protocols in one number: a byte for each, the first one lowest.
  static func mark(of protocols: [ALPNProtocol]) -> UInt {
    protocols.reversed().reduce(0) { $0 << 8 | UInt($1.rawValue) }
  }
}

/// Finds a certificate by name: exact names, and wildcards for one label (RFC 6125 section 6.4.3).
package struct NameTable: Sendable {
  private var exact: [String: Int] = [:]
  private var wildcard: [String: Int] = [:]

  package init() {}

  /// Of several certificates with the same name, the first one wins.
  package mutating func add(_ name: String, _ index: Int) {
    if name.hasPrefix("*.") {
      let rest = String(name.dropFirst(2))
      if wildcard[rest] == nil { wildcard[rest] = index }
    } else if exact[name] == nil {
      exact[name] = index
    }
  }

  package func find(_ name: String) -> Int? {
    if let index = exact[name] { return index }
    guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return nil }
    return wildcard[String(name[name.index(after: dot)...])]
  }
}

/// The DNS names of a certificate, in lower case.
enum CertificateNames {
  static func of(_ certificate: OpaquePointer) -> Set<String> {
    var names: Set<String> = []
    // SAFETY: the certificate is the caller's. The extension is decoded into a list that is ours, freed once, when this function
    // ends. Indices are below its count; a name has `length` bytes, which are copied.
    guard let raw = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return names }
    let list = OpaquePointer(raw)
    defer { unsafe cs_general_names_free(list) }
    let count = unsafe cs_general_name_count(list)
    for i in 0..<count {
      var length: Int32 = 0
      guard let entry = unsafe cs_general_name(list, i), let bytes = unsafe cs_general_name_dns(entry, &length) else {
        continue
      }
      let text = unsafe String(decoding: UnsafeBufferPointer(start: bytes, count: Int(length)), as: UTF8.self)
      // A name with a NUL inside is an old attack (it reads differently as a C string), and is ignored.
      if !text.utf8.contains(0) { names.insert(text.lowercased()) }
    }
    return names
  }
}

// SAFETY: libssl calls it inside a handshake, on that connection's thread, with its session and the argument that init set:
// a TLSServerContext, which the connection's transport keeps meanwhile.
private let chooseByName:
  @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 =
    { session, _, argument in
      guard let session = unsafe session, let argument = unsafe argument else { return SSL_TLSEXT_ERR_ALERT_FATAL }
      return unsafe Unmanaged<TLSServerContext>.fromOpaque(argument).takeUnretainedValue().choose(session)
    }

/// A session goes on only as long as what its client showed when it began is believed: each resumption gives a new ticket, so that one
/// session could be carried on for ever.
// SAFETY: libssl calls it inside a handshake, with its session.
private let noteTicket: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { session, _ in
  guard let session = unsafe session else { return 0 }
  return unsafe cs_session_note_end(session)
}

/// After that the handshake is a full one, in which the certificate is refused.
private let useTicket:
  @convention(c) (
    OpaquePointer?, OpaquePointer?, UnsafePointer<UInt8>?, Int, Int32, UnsafeMutableRawPointer?
  ) -> Int32 = { _, session, _, _, status, _ in
    guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
      return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    // SAFETY: libssl gives the session for the time of the call.
    if let session = unsafe session, unsafe cs_session_is_over(session) != 0 { return SSL_TICKET_RETURN_IGNORE_RENEW }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
  }

// SAFETY: libssl calls it inside a handshake with `offeredLength` bytes at `offered`, and nothing is read beyond them; each
// of the two outputs has room for one result. What is chosen points into `offered`, which libssl allows. The argument is a number
// in the place of a pointer (`ALPNProtocol.mark`), and is never followed.
private let chooseProtocol:
  @convention(c) (
    OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?, UnsafePointer<UInt8>?,
    UInt32, UnsafeMutableRawPointer?
  ) -> Int32 = { _, out, outLength, offered, offeredLength, argument in
    var marks = UInt(bitPattern: argument)
    while let wanted = ALPNProtocol(rawValue: UInt8(truncatingIfNeeded: marks)) {
      // The client's list has length-prefixed names (RFC 7301 section 3.1).
      var at = 0
      let end = Int(offeredLength)
      while at < end {
        let length = unsafe Int(offered![at])
        guard at + 1 + length <= end else { break }
        let name = wanted.name
        if length == name.utf8CodeUnitCount, unsafe memcmp(offered! + at + 1, name.utf8Start, length) == 0 {
          unsafe out!.pointee = offered! + at + 1
          unsafe outLength!.pointee = UInt8(length)
          return SSL_TLSEXT_ERR_OK
        }
        at += 1 + length
      }
      marks >>= 8
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
  }
