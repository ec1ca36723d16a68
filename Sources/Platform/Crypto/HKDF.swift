// HKDF (RFC 5869) with SHA-256: derives keys for one purpose each from a common key.

import COpenSSL

package enum HKDF {
  /// Extract and expand in one step.
  package static func sha256(
    key: SecretBytes, salt: Span<UInt8>, info: Span<UInt8>, count: Int
  ) throws(CryptoError) -> SecretBytes {
    ERR_clear_error()
    // SAFETY: each pointer is passed with the number of bytes that it is good for; libcrypto keeps none of them.
    let derived = unsafe salt.withUnsafeBufferPointer { salt in
      unsafe info.withUnsafeBufferPointer { info in
        unsafe key.withPointer { keyBase in
          unsafe SecretBytes(count: count) { out in
            unsafe cs_hkdf_sha256(
              keyBase, key.count, salt.baseAddress, salt.count, info.baseAddress, info.count, out, count) == 1
          }
        }
      }
    }
    guard let derived else { throw CryptoError("HKDF") }
    return derived
  }
}
