// What went wrong with TLS, in words that name the file and what to do about it. OpenSSL's error queue is cleared before each call
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

  /// Says why where `file` cannot be read at all.
  static func checkReadable(_ file: String) throws(TLSError) {
    if let obstacle = TextFile.obstacle(path: file) { throw TLSError(file: file, obstacle) }
  }

  /// With OpenSSL's own reason for its last failure behind ours.
  static func fromQueue(file: String, _ what: String) -> TLSError {
    guard let reason = lastReason() else { return TLSError(file: file, what) }
    return TLSError(file: file, "\(what): \(reason)")
  }

  /// The newest reason in this thread's queue that says something, and not only in which part of the library it was found
  /// ("PEM lib"). The queue is emptied.
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
