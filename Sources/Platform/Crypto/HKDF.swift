// RFC 5869 with SHA-256: keys for one purpose from a key for all.

import COpenSSL

package enum HKDF {
  /// Extract and expand in one step.
  package static func sha256(
    key: SecretBytes, salt: Span<UInt8>, info: Span<UInt8>, count: Int
  ) throws(CryptoError) -> SecretBytes {
    ERR_clear_error()
    // SAFETY: every pointer is good for the count that goes with it; libcrypto keeps none of them.
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
