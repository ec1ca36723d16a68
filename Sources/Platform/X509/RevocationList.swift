// A certificate revocation list (RFC 5280 section 5), as far as two of them are compared: whose it is, and when it was made. Whether its
// signature is right libssl finds out when a certificate is looked for in it.

import COpenSSL
import Wire

package struct RevocationList: Sendable, Equatable {
  /// SHA-256 of its issuer's name, base64url.
  package let issuer: String
  /// `thisUpdate`, in seconds since 1970.
  package let made: Int64

  package init(issuer: String, made: Int64) {
    self.issuer = issuer
    self.made = made
  }

  /// Nil where the bytes are not one list in DER.
  package init?(_ der: [UInt8]) {
    var issuer = [UInt8](repeating: 0, count: 32)
    var made: Int64 = 0
    ERR_clear_error()
    // SAFETY: the call reads the array, whose count it gets, and writes 32 bytes and one word of the other two. It keeps nothing.
    let isRead = unsafe der.withUnsafeBufferPointer { bytes in
      unsafe issuer.withUnsafeMutableBufferPointer {
        unsafe cs_crl_read(bytes.baseAddress, bytes.count, $0.baseAddress, &made)
      }
    }
    guard isRead == 1 else { return nil }
    self.init(issuer: Base64.text(issuer, .url), made: made)
  }
}
