// Key material in memory: never moved, never copied by this code, overwritten before it is freed.
// Invariant: the bytes do not change between init and deinit, so any thread may read them.

import COpenSSL
import Glibc

@safe package final class SecretBytes: @unchecked Sendable {
  package let count: Int
  // SAFETY: max(count, 1) initialized bytes, allocated and written in init, read by any thread from then on, cleansed and
  // freed in deinit. They leave this type only as a span or pointer for the time of a call, during which self lives.
  private let base: UnsafeMutablePointer<UInt8>

  /// Copies `bytes`.
  package init(_ bytes: Span<UInt8>) {
    count = bytes.count
    // SAFETY: room for count bytes, initialized before they are written; the indices of `bytes` are below count.
    unsafe base = UnsafeMutablePointer<UInt8>.allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: 0, count: max(count, 1))
    for i in bytes.indices { unsafe base[i] = bytes[i] }
  }

  /// `fill` writes `count` bytes. Nil if it returns false.
  init?(count: Int, _ fill: (UnsafeMutablePointer<UInt8>) -> Bool) {
    precondition(count >= 0)
    self.count = count
    // SAFETY: room for count bytes, initialized before `fill` writes at most as many. Where it fails, deinit frees them.
    unsafe base = UnsafeMutablePointer<UInt8>.allocate(capacity: max(count, 1))
    unsafe base.initialize(repeating: 0, count: max(count, 1))
    guard unsafe fill(base) else { return nil }
  }

  deinit {
    // OPENSSL_cleanse is not optimized away as a plain store would be.
    // SAFETY: count bytes that init allocated; nobody has a reference to self any more.
    unsafe OPENSSL_cleanse(base, count)
    unsafe base.deallocate()
  }

  /// Calls `body` with the bytes.
  package func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    // SAFETY: base holds count initialized bytes as long as self lives, which is longer than the call.
    try body(unsafe Span(_unsafeStart: UnsafePointer(base), count: count))
  }

  /// Calls `body` with a pointer to the bytes, for libcrypto.
  // SAFETY: base holds count initialized bytes as long as self lives; callers, in Platform alone, keep no pointer.
  func withPointer<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R { unsafe body(UnsafePointer(base)) }
}

extension SecretBytes {
  /// Whether both have the same bytes. The time does not depend on where they differ.
  package func isSame(as other: SecretBytes) -> Bool {
    guard count == other.count else { return false }
    // SAFETY: both hold count bytes, as was just compared, and live for the call.
    return unsafe CRYPTO_memcmp(base, other.base, count) == 0
  }
}
