// Reads files that an operator names, up to a size: configurations, certificates.

import CLinux
import Glibc

package enum TextFile {
  /// The errno of reading a directory.
  package static let isDirectory = EISDIR

  /// Why a file cannot be read, in the system's words ("no such file", "permission denied"); nil if it can. For files that
  /// libssl reads, which does not say why.
  /// - Parameter refusesPipes: a named pipe counts as unreadable, because opening it would wait for a writer without limit.
  package static func readFailure(path: String, refusesPipes: Bool = false) -> String? {
    var status = stat()
    // SAFETY: here and below the path is a NUL-terminated copy that lives for its call; `status` is a whole struct stat.
    guard unsafe stat(path, &status) == 0 else { return SystemError("stat").reason }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: return "is a directory"
    // Not opened here: its writer would take this for the reader.
    case S_IFIFO: return refusesPipes ? "is a named pipe" : nil
    default: break
    }
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else { return SystemError("open").reason }
    close(file)
    return nil
  }

  /// The first `bytesMax` bytes of a file, or fewer. A pipe or device is read until it ends.
  package static func read(path: String, bytesMax: Int) throws(SystemError) -> [UInt8] {
    // O_NONBLOCK: opening a FIFO does not wait for a writer; one without a writer reads as empty.
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
