// Reading a whole file of a bounded size. For what an operator names: configurations, certificates.

import CLinux
import Glibc

package enum TextFile {
  /// The error's code where the path is a directory.
  package static let isDirectory = EISDIR

  /// Why a file cannot be read, in the system's words ("no such file", "permission denied"); nil where it can. Libssl, which
  /// reads the file then, says only that it could not.
  /// With `refusesPipes` a named pipe is one: whoever opens it to read waits for a writer, for as long as it takes.
  package static func obstacle(path: String, refusesPipes: Bool = false) -> String? {
    var status = stat()
    // SAFETY: here and below the path is a NUL-terminated copy that lives for its call; `status` is a whole struct stat.
    guard unsafe stat(path, &status) == 0 else { return SystemError("stat").reason }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return "is a directory"
    // Not opened here: whoever writes to it would take this for its reader.
    case S_IFIFO: return refusesPipes ? "is a named pipe" : nil
    default: break
    }
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else { return SystemError("open").reason }
    close(file)
    return nil
  }

  /// At most `bytesMax` bytes from the front of a file. What is no file, such as a pipe, is read until it ends.
  package static func read(path: String, bytesMax: Int) throws(SystemError) -> [UInt8] {
    // O_NONBLOCK: a FIFO without a writer is empty, and opening it does not wait for one.
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else { throw SystemError("open") }
    defer { close(file) }
    _ = fcntl(file, F_SETFL, 0)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while bytes.count < bytesMax {
      // SAFETY: the call writes at most as many bytes as the array holds.
      let n = unsafe Glibc.read(file, &chunk, min(chunk.count, bytesMax - bytes.count))
      if n < 0, cs_errno() == EINTR { continue }
      guard n >= 0 else { throw SystemError("read") }
      if n == 0 { break }
      bytes += chunk[..<n]
    }
    return bytes
  }
}
