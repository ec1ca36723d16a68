// Comparing bytes: in constant time if they depend on a secret, or else as fast as possible.

import COpenSSL
import Glibc

package enum ByteComparison {
  /// For authentication tags. The time depends on the counts only, not on the contents.
  package static func isEqualInConstantTime(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    guard !a.isEmpty else { return true }
    // SAFETY: both spans have count bytes, at least one, so both have an address; they are only read.
    return unsafe a.withUnsafeBufferPointer { left in
      unsafe b.withUnsafeBufferPointer { right in
        unsafe CRYPTO_memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
      }
    }
  }

  /// For bytes that do not depend on a secret.
  package static func isEqual(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    guard !a.isEmpty else { return true }
    // SAFETY: both spans have count bytes, at least one, so both have an address; they are only read.
    return unsafe a.withUnsafeBufferPointer { left in
      unsafe b.withUnsafeBufferPointer { right in
        unsafe memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
      }
    }
  }
}
