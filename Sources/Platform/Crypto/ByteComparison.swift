// Comparing bytes: in constant time where one side is a secret's product, as fast as can be where nothing is.

import COpenSSL
import Glibc

package enum ByteComparison {
  /// For tags: takes as long for a wrong first byte as for a wrong last one. Only the counts may be learnt.
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

  /// For public bytes.
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
