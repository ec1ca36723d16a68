// Checks a password against its hash from an htpasswd file, by libcrypt. That takes as long as the hash says, tens of milliseconds
// and more, so it is not for a thread that serves requests.
// Called by PasswordChecker (Proxy), on a thread of its own.

import CCrypt
import COpenSSL
import Glibc

package enum PasswordHash {
  /// libcrypt takes no longer ones.
  package static let passwordBytesMax = 511

  /// Whether `password` is what `hash` was made of. False also where libcrypt does not know the hash, and for a password with a
  /// zero byte, of which it would see only a part.
  package static func isRight(_ password: SecretBytes, _ hash: String) -> Bool {
    guard password.count <= passwordBytesMax else { return false }
    let room = Int(cs_crypt_bytes())
    // SAFETY: as many zeroed bytes as libcrypt asks for, aligned for any structure, cleansed and freed below, with the copy of the
    // password in them.
    let data = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 16)
    unsafe data.initializeMemory(as: UInt8.self, repeating: 0, count: room)
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: passwordBytesMax + 1)
    unsafe copy.initialize(repeating: 0, count: passwordBytesMax + 1)
    defer {
      unsafe OPENSSL_cleanse(data, room)
      unsafe data.deallocate()
      unsafe OPENSSL_cleanse(copy, passwordBytesMax + 1)
      unsafe copy.deallocate()
    }
    let hasZero = password.withBytes { bytes in
      var hasZero = false
      for i in bytes.indices {
        // SAFETY: the password has at most as many bytes as the copy has room for, besides the zero at its end.
        unsafe copy[i] = CChar(bitPattern: bytes[i])
        if bytes[i] == 0 { hasZero = true }
      }
      return hasZero
    }
    guard !hasZero else { return false }
    // SAFETY: both texts end in a zero byte; the result is one of `data`'s, or NULL where the hash is none that libcrypt knows.
    guard let made = unsafe crypt_rn(copy, hash, data, Int32(room)) else { return false }
    let count = unsafe strlen(made)
    guard count == hash.utf8.count else { return false }
    // SAFETY: `made` has so many bytes, and so has the NUL-terminated copy of `hash`, which lives for the call.
    return unsafe CRYPTO_memcmp(made, hash, count) == 0
  }
}
