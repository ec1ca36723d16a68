// SHA-256 of a whole message. For certificates, not for the path of a request.

import COpenSSL

package enum SHA256 {
  package static func digest(_ message: Span<UInt8>) throws(CryptoError) -> InlineArray<32, UInt8> {
    var digest = InlineArray<32, UInt8>(repeating: 0)
    var room = digest.mutableSpan
    ERR_clear_error()
    // SAFETY: libcrypto reads count bytes of the message, of which NULL has none, and writes the 32 of the digest.
    let done = unsafe message.withUnsafeBufferPointer { source in
      unsafe room.withUnsafeMutableBufferPointer { target in
        unsafe cs_sha256(source.baseAddress, source.count, target.baseAddress!)
      }
    }
    guard done == 1 else { throw CryptoError("SHA-256") }
    return digest
  }

  /// The first eight bytes of the digest in hexadecimal: enough to tell texts apart that nobody forges.
  package static func shortHex(_ message: Span<UInt8>) throws(CryptoError) -> String {
    let digest = try digest(message)
    return (0..<8).map { i in
      let hex = String(digest[i], radix: 16)
      return hex.utf8.count == 2 ? hex : "0\(hex)"
    }.joined()
  }
}
