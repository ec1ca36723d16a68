// SHA-1 of a whole message, for the handshake of WebSocket (RFC 6455 section 1.3), which needs no more than that it is this function.

import COpenSSL

package enum SHA1 {
  package static func digest(_ message: Span<UInt8>) throws(CryptoError) -> InlineArray<20, UInt8> {
    var digest = InlineArray<20, UInt8>(repeating: 0)
    var room = digest.mutableSpan
    ERR_clear_error()
    // SAFETY: libcrypto reads count bytes of the message, of which NULL has none, and writes the 20 of the digest.
    let done = unsafe message.withUnsafeBufferPointer { source in
      unsafe room.withUnsafeMutableBufferPointer { target in
        unsafe cs_sha1(source.baseAddress, source.count, target.baseAddress!)
      }
    }
    guard done == 1 else { throw CryptoError("SHA-1") }
    return digest
  }
}
