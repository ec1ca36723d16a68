// Random bytes for keys, epochs and connection identifiers. Failure is an error that the caller has to handle; there is no
// fallback.

import COpenSSL

package enum SecureRandom {
  /// Fills all of `bytes`.
  package static func fill(_ bytes: inout MutableSpan<UInt8>) throws(CryptoError) {
    guard !bytes.isEmpty else { return }
    ERR_clear_error()
    // SAFETY: libcrypto writes count bytes of the span during the call.
    let done = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
      unsafe RAND_bytes(buffer.baseAddress!, Int32(buffer.count))
    }
    guard done == 1 else { throw CryptoError("RAND_bytes") }
  }

  /// 64 random bits.
  package static func word() throws(CryptoError) -> UInt64 {
    var bytes = InlineArray<8, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    try fill(&room)
    var word: UInt64 = 0
    for i in 0..<8 { word = word << 8 | UInt64(bytes[i]) }
    return word
  }

  /// A new secret.
  package static func secret(count: Int) throws(CryptoError) -> SecretBytes {
    ERR_clear_error()
    // SAFETY: the closure gets room for the count bytes that libcrypto writes.
    guard let secret = unsafe SecretBytes(count: count, { unsafe RAND_bytes($0, Int32(count)) == 1 }) else {
      throw CryptoError("RAND_bytes")
    }
    return secret
  }
}
