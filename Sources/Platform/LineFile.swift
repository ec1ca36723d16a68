// Reads a file line by line, however large it is: for commands that look through logs.

import CLinux
import Glibc

package enum LineFile {
  /// A longer line is skipped.
  package static let lineBytesMax = 1 << 20

  /// How large the file is.
  package static func size(path: String) throws(SystemError) -> Int {
    var status = stat()
    // SAFETY: the path is a NUL-terminated copy that lives for the call; `status` is a whole struct stat.
    guard unsafe stat(path, &status) == 0 else { throw SystemError("stat") }
    return Int(status.st_size)
  }

  /// Gives each line to `body`, without its end; what follows the last line feed is a line as well.
  /// - Parameter offset: where it begins, in bytes.
  package static func read(path: String, from offset: Int = 0, _ body: (Span<UInt8>) -> Void) throws(SystemError) {
    // SAFETY: the path is a NUL-terminated copy that lives for the call.
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard file >= 0 else { throw SystemError("open") }
    defer { close(file) }
    if offset > 0 { guard lseek(file, off_t(offset), SEEK_SET) >= 0 else { throw SystemError("lseek") } }
    var chunk = [UInt8](repeating: 0, count: lineBytesMax)
    // The bytes at the front that begin a line.
    var held = 0
    var isTooLong = false
    while true {
      // SAFETY: held is at most chunk.count, and the call writes at most the bytes from there to its end.
      let n = unsafe chunk.withUnsafeMutableBytes { room in
        unsafe Glibc.read(file, room.baseAddress! + held, room.count - held)
      }
      if n < 0, cs_errno() == EINTR { continue }
      guard n >= 0 else { throw SystemError("read") }
      if n == 0 { break }
      let end = held + n
      var start = 0
      for i in held..<end where chunk[i] == 0x0a {
        if !isTooLong { body(chunk.span.extracting(start..<i)) }
        isTooLong = false
        start = i + 1
      }
      held = end - start
      if held == chunk.count {
        isTooLong = true
        held = 0
      } else if start > 0 {
        for i in 0..<held { chunk[i] = chunk[start + i] }
      }
    }
    if held > 0, !isTooLong { body(chunk.span.extracting(0..<held)) }
  }
}
