// A failed call of libcrypto, with its reason.

import COpenSSL

package struct CryptoError: Error, Sendable, CustomStringConvertible {
  package let operation: StaticString
  /// OpenSSL's reason, or empty.
  package let detail: String

  /// Takes the newest reason from the thread's error queue, and empties the queue.
  package init(_ operation: StaticString) {
    self.operation = operation
    var detail = ""
    let code = ERR_peek_last_error()
    // SAFETY: ERR_reason_error_string returns NULL or a constant NUL-terminated string.
    if code != 0, let reason = unsafe ERR_reason_error_string(code) { detail = unsafe String(cString: reason) }
    ERR_clear_error()
    self.detail = detail
  }

  package var description: String { detail.isEmpty ? "\(operation) failed" : "\(operation) failed: \(detail)" }
}
