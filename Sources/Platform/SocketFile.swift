// The file of a unix socket that this process listens on, to be removed when it does not any more. By then another process may listen at the
// same path, with a file of its own, which stays: so it is told apart by what the file system knows of it, and not by its path.

import Glibc

package struct SocketFile: Equatable, Sendable {
  private let path: String
  private let device: UInt64
  private let number: UInt64
  /// When it was made; a number is used again as soon as its file is gone.
  private let seconds: Int
  private let nanoseconds: Int

  /// Of a socket that was just bound there, or came from another process. Nil where the address has no file.
  package init?(_ address: SocketAddress) {
    guard case .unix(let path) = address else { return nil }
    self.init(path: path)
  }

  private init?(path: String) {
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat for it to fill.
    guard unsafe lstat(path, &status) == 0 else { return nil }
    self.path = path
    device = UInt64(status.st_dev)
    number = UInt64(status.st_ino)
    (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
  }

  /// Removes it, unless another one has its place.
  package func remove() {
    guard SocketFile(path: path) == self else { return }
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    _ = unsafe unlink(path)
  }
}
