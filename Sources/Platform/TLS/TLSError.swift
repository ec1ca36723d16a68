// What went wrong with TLS, in words that name the file and the mend. OpenSSL's error queue is cleared before each call
// whose result is asked about, and read here.

import COpenSSL

/// A TLS setting that cannot be used.
package struct TLSError: Error, CustomStringConvertible, Sendable {
  /// The file at fault; empty where there is none.
  package let file: String
  package let reason: String

  package var description: String { file.isEmpty ? reason : "\(file): \(reason)" }

  init(file: String, _ reason: String) {
    self.file = file
    self.reason = reason
  }

  /// With OpenSSL's own reason for its last failure behind ours.
  static func fromQueue(file: String, _ what: String) -> TLSError {
    guard let reason = lastReason() else { return TLSError(file: file, what) }
    return TLSError(file: file, "\(what): \(reason)")
  }

  /// The newest reason in this thread's queue, which is emptied.
  static func lastReason() -> String? {
    let code = ERR_peek_last_error()
    ERR_clear_error()
    // SAFETY: a static string or NULL; copied at once.
    guard code != 0, let text = unsafe ERR_reason_error_string(code) else { return nil }
    return unsafe String(cString: text)
  }
}
