// The standard streams of a command that prints a report and says on the way how far it is.

import CLinux
import Glibc

package enum StandardOutput {
  package static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Writes all of it.
  package static func write(_ bytes: [UInt8]) throws(SystemError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      // SAFETY: the slice is not empty, so it has an address, and it does not change during the call.
      let n = unsafe rest.withUnsafeBufferPointer { unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress!, $0.count) }
      if n < 0, cs_errno() == EINTR { continue }
      guard n > 0 else { throw SystemError("cannot write") }
      rest = rest.dropFirst(n)
    }
  }
}

/// For messages before the operational log exists.
package enum StandardError {
  package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  package static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      // SAFETY: the slice is not empty, so it has an address, and it does not change during the call.
      let n = unsafe rest.withUnsafeBufferPointer { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress!, $0.count) }
      if n < 0, cs_errno() == EINTR { continue }
      guard n > 0 else { return }
      rest = rest.dropFirst(n)
    }
  }
}
