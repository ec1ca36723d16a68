// Key material in memory: never moved, never copied by us, overwritten before it is given back.
// Invariant: the bytes do not change between init and deinit, so any thread may read them.

import COpenSSL
import Glibc

@safe package final class SecretBytes: @unchecked Sendable {
  package let count: Int
  // SAFETY: allocated in init with count bytes (at least one), written only there, cleansed and freed in deinit; it
  // leaves this type only as a span or pointer that lives no longer than a call.
  private let base: UnsafeMutablePointer<UInt8>

  /// Takes a copy of `bytes`.
  package init(_ bytes: Span<UInt8>) {
    count = bytes.count
    unsafe base = UnsafeMutablePointer<UInt8>.allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: 0, count: max(count, 1))
    for i in bytes.indices { unsafe base[i] = bytes[i] }
  }

  /// Lets `fill` write `count` bytes; nil when it fails.
  init?(count: Int, _ fill: (UnsafeMutablePointer<UInt8>) -> Bool) {
    self.count = count
    unsafe base = UnsafeMutablePointer<UInt8>.allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: 0, count: max(count, 1))
    guard unsafe fill(base) else { return nil }
  }

  deinit {
    // SAFETY: the last reference is gone. OPENSSL_cleanse is not optimised away as a plain store would be.
    unsafe OPENSSL_cleanse(base, count)
    unsafe base.deallocate()
  }

  /// Lends the bytes.
  package func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    // SAFETY: base holds count initialised bytes as long as self lives, which is longer than the call.
    try body(unsafe Span(_unsafeStart: UnsafePointer(base), count: count))
  }

  /// Lends the bytes to libcrypto.
  func withPointer<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R { unsafe body(UnsafePointer(base)) }
}

extension SecretBytes {
  /// Whether both hold the same bytes, without saying by its time where they differ.
  package func isSame(as other: SecretBytes) -> Bool {
    guard count == other.count else { return false }
    // SAFETY: both hold count bytes.
    return unsafe CRYPTO_memcmp(base, other.base, count) == 0
  }
}
