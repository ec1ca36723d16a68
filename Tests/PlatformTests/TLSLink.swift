// Two transports with TLS between them, driven in turns inside the test; certificates made for it; and a client by
// hand, for what our own would never offer.

import COpenSSL
import Foundation
import Glibc
import Platform
import Testing
import Wire

/// Files of an authority and what it signed, for as long as the object lives.
final class Certificates {
  let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tls-\(UUID().uuidString)").path
  let authority: CertificateAuthority
  var ca: String { "\(directory)/ca.pem" }
  private var count = 0

  init() throws {
    authority = try CertificateAuthority(commonName: "Test authority", days: 2)
    try PrivateFile.makeDirectory(directory)
    try PrivateFile.write(authority.issued.certificate, to: ca, existing: .refuse)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  func server(_ names: [String], addresses: [IPAddress] = []) throws -> CertificateFiles {
    try files(.server(names: names, addresses: addresses))
  }

  func client() throws -> CertificateFiles { try files(.client) }

  private func files(_ role: CertificateRole) throws -> CertificateFiles {
    let issued = try authority.issue(role, commonName: "test")
    count += 1
    let files = CertificateFiles(certificate: "\(directory)/\(count).pem", key: "\(directory)/\(count).key")
    try PrivateFile.write(issued.certificate, to: files.certificate, existing: .refuse)
    try PrivateFile.write(issued.key, to: files.key, existing: .refuse)
    return files
  }

  /// SHA-256 of a PEM file's first certificate.
  static func digest(_ path: String) throws -> [UInt8] {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let body = text.components(separatedBy: "-----")[2].filter { !$0.isWhitespace }
    let digest = try SHA256.digest(Array(try #require(Data(base64Encoded: body))).span)
    return (0..<32).map { digest[$0] }
  }

  func context(
    _ certificates: [CertificateFiles], clients: String? = nil, require: Bool = false, minimumTLS13: Bool = false,
    session: [UInt8] = [1], tickets: TicketKeys? = nil
  ) throws -> TLSServerContext {
    try TLSServerContext(
      certificates: certificates, clientAuthorities: clients, requireClientCertificate: require,
      minimumTLS13: minimumTLS13, sessionContext: session, tickets: tickets ?? TicketKeys())
  }
}

/// A server's transport and a client's.
final class TLSLink {
  let server = Transport()
  let client = Transport()

  init(_ accepting: TLSServerContext, _ connecting: TLSClientContext) throws {
    let (one, two) = try SocketPair.unix()
    server.open(one)
    client.open(two)
    try #require(server.startTLS(accepting: accepting) && client.startTLS(connecting: connecting))
  }

  /// Both sides in turns until neither has anything left to do.
  func shake() -> (server: Handshake, client: Handshake) {
    var result = (server: Handshake.blocked, client: Handshake.blocked)
    for _ in 0..<20 {
      client.noteAll()
      if result.client == .blocked { result.client = client.shakeHands() }
      server.noteAll()
      if result.server == .blocked { result.server = server.shakeHands() }
      if result.client != .blocked, result.server != .blocked { break }
    }
    client.noteAll()
    server.noteAll()
    return result
  }
}

/// A client with OpenSSL's defaults but for what a test asks: it checks nothing and offers anything.
final class RawClient {
  let server = Transport()
  private let context: OpaquePointer
  private let session: OpaquePointer
  private let descriptor: Int32

  init(
    _ accepting: TLSServerContext, name: String? = nil, versions: ClosedRange<Int32> = TLS1_2_VERSION...TLS1_3_VERSION,
    protocols: [String] = [], resuming: OpaquePointer? = nil
  ) throws {
    let (one, two) = try SocketPair.unix()
    server.open(one)
    descriptor = two
    context = try #require(SSL_CTX_new(TLS_client_method()))
    session = try #require(SSL_new(context))
    SSL_set_security_level(session, 0)
    _ = SSL_ctrl(session, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(versions.lowerBound), nil)
    _ = SSL_ctrl(session, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(versions.upperBound), nil)
    let offered = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    if !offered.isEmpty { try #require(SSL_set_alpn_protos(session, offered, UInt32(offered.count)) == 0) }
    if let name { try #require(cs_set_host_name(session, name) == 1) }
    if let resuming { try #require(SSL_set_session(session, resuming) == 1) }
    try #require(SSL_set_fd(session, descriptor) == 1)
    SSL_set_connect_state(session)
    try #require(server.startTLS(accepting: accepting))
  }

  deinit {
    SSL_free(session)
    SSL_CTX_free(context)
    close(descriptor)
  }

  /// True where both sides are content.
  func shake() -> Bool {
    var done = false
    var answer = Handshake.blocked
    for _ in 0..<20 {
      ERR_clear_error()
      if !done {
        let result = SSL_do_handshake(session)
        done = result == 1
        if !done, SSL_get_error(session, result) != SSL_ERROR_WANT_READ {
          ERR_clear_error()
          server.noteAll()
          _ = server.shakeHands()
          return false
        }
      }
      server.noteAll()
      if answer == .blocked { answer = server.shakeHands() }
      if answer == .failed || (done && answer == .done) { break }
    }
    ERR_clear_error()
    return done && answer == .done
  }

  var isReused: Bool { SSL_session_reused(session) == 1 }

  var certificateDigest: [UInt8]? {
    guard let certificate = SSL_get0_peer_certificate(session) else { return nil }
    var digest = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 32
    return X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 ? digest : nil
  }

  /// What the server wrote, up to 64 bytes. Also takes in tickets.
  func read() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 64)
    let n = SSL_read(session, &bytes, 64)
    ERR_clear_error()
    return Array(bytes.prefix(max(0, Int(n))))
  }

  /// So many key updates of the client's (RFC 8446 section 4.6.3), and `text` behind them: their records, which have not come to the
  /// server.
  func keyUpdates(_ count: Int, then text: [UInt8] = []) throws -> [UInt8] {
    var records: [UInt8] = []
    func takeBack() {
      var bytes = [UInt8](repeating: 0, count: 65_536)
      while case let n = recv(server.descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT)), n > 0 {
        records += bytes.prefix(n)
      }
    }
    for _ in 0..<count {
      try #require(SSL_key_update(session, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(session) == 1)
      takeBack()
    }
    if !text.isEmpty { try #require(SSL_write(session, text, Int32(text.count)) == text.count) }
    takeBack()
    return records
  }

  /// Has the server get bytes as they are.
  func send(raw bytes: [UInt8]) throws {
    var size: Int32 = 1 << 20
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4)
    try SocketPair.send(descriptor, bytes)
  }

  /// The caller frees it.
  func takeSession() -> OpaquePointer? { SSL_get1_session(session) }
}
