// A file, or standard output, that whole lines are written to. Called by the log thread only.

import CLinux
import Glibc

package final class LogFile {
  private var descriptor: Int32
  private let path: String?

  /// Standard output.
  package init() {
    descriptor = STDOUT_FILENO
    path = nil
  }

  /// Appends to a file, made with mode 0640 if it is not there.
  package init(path: String) throws(SystemError) {
    self.path = path
    descriptor = LogFile.open(path)
    guard descriptor >= 0 else { throw SystemError(path) }
  }

  deinit { if path != nil { close(descriptor) } }

  private static func open(_ path: String) -> Int32 {
    // SAFETY: a C call with a string.
    unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
  }

  /// Opens the path anew, after the old file was moved away; the old one is kept if that fails.
  package func reopen() throws(SystemError) {
    guard let path else { return }
    let new = LogFile.open(path)
    guard new >= 0 else { throw SystemError(path) }
    close(descriptor)
    descriptor = new
  }

  /// Writes all of it; false when the system would not take it.
  package func write(_ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
      // SAFETY: the slice lies inside the array for the call.
      let n = unsafe bytes.withUnsafeBufferPointer { all in
        unsafe Glibc.write(descriptor, all.baseAddress! + done, bytes.count - done)
      }
      if n < 0, cs_errno() == EINTR { continue }
      guard n > 0 else { return false }
      done += n
    }
    return true
  }
}

package enum StandardError {
  package static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      // SAFETY: the slice lives for the call.
      let n = unsafe rest.withUnsafeBufferPointer { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress!, $0.count) }
      if n < 0, cs_errno() == EINTR { continue }
      guard n > 0 else { return }
      rest = rest.dropFirst(n)
    }
  }
}
