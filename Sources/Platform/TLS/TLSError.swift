// TLS errors for operators: which file is at fault, and how to fix it. OpenSSL's error queue is cleared before each call
// whose errors matter, and read here.

import COpenSSL

/// A TLS setting that cannot be used.
package struct TLSError: Error, CustomStringConvertible, Sendable {
  /// The file at fault; empty if it is none.
  package let file: String
  package let reason: String

  package var description: String { file.isEmpty ? reason : "\(file): \(reason)" }

  init(file: String, _ reason: String) {
    self.file = file
    self.reason = reason
  }

  /// Throws the reason if `file` cannot be read at all.
  static func checkReadable(_ file: String) throws(TLSError) {
    if let reason = TextFile.readFailure(path: file) { throw TLSError(file: file, reason) }
  }

  /// `what`, followed by OpenSSL's own reason for its last failure.
  static func fromQueue(file: String, _ what: String) -> TLSError {
    guard let reason = lastReason() else { return TLSError(file: file, what) }
    return TLSError(file: file, "\(what): \(reason)")
  }

  /// The newest reason in this thread's error queue, except for those that only name a part of the library ("PEM lib"), which
  /// count if there is nothing else. Empties the queue.
  static func lastReason() -> String? {
    var reason: String?
    while true {
      let code = ERR_get_error()
      guard code != 0 else { return reason }
      // SAFETY: ERR_reason_error_string returns NULL or a constant NUL-terminated string.
      guard let text = unsafe ERR_reason_error_string(code) else { continue }
      let words = unsafe String(cString: text)
      if reason == nil || !words.hasSuffix(" lib") { reason = words }
    }
  }
}
