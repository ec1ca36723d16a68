// A digest of a file's content, to find out whether it changed between two loads.

import CLinux
import COpenSSL
import Glibc

package enum FileDigest {
  /// SHA-256 of the first 16 MiB of a file; nil if it cannot be read.
  package static func sha256(path: String) -> [UInt8]? {
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let fd = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var state = SHA256_CTX()
    var digest = [UInt8](repeating: 0, count: 32)
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    // SAFETY: all are locals. read writes at most chunk.count bytes, of which n are read again; the digest has the 32 bytes
    // that SHA256_Final writes.
    guard unsafe SHA256_Init(&state) == 1 else { return nil }
    for _ in 0..<256 {
      let n = unsafe read(fd, &chunk, chunk.count)
      if n < 0, cs_errno() == EINTR { continue }
      guard n >= 0 else { return nil }
      if n == 0 { break }
      guard unsafe SHA256_Update(&state, chunk, n) == 1 else { return nil }
    }
    guard unsafe SHA256_Final(&digest, &state) == 1 else { return nil }
    return digest
  }
}
