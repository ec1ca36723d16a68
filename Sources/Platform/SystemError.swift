// A failed system call as a value.

import CLinux
import Glibc

/// errno with the call that set it.
public struct SystemError: Error, CustomStringConvertible, Sendable {
  public let code: Int32
  public let call: String

  public init(_ call: String, code: Int32 = cs_errno()) {
    self.code = code
    self.call = call
  }

  public var description: String { "\(call): \(SystemError.text(code))" }

  /// The system's words for `code`, as they stand in a sentence: "no such file", "permission denied".
  package var reason: String {
    if code == ENOENT { return "no such file" }
    let text = SystemError.text(code)
    return text.prefix(1).lowercased() + text.dropFirst()
  }

  /// The system's words for an errno.
  public static func text(_ code: Int32) -> String {
    // SAFETY: strerror returns a NUL-terminated string: a constant, or for an unknown number a buffer of the calling thread
    // (glibc 2.32 and later). It is copied at once.
    unsafe String(cString: strerror(code))
  }

  /// Descriptors, ports or memory have run out on this side.
  package var isLocalExhaustion: Bool {
    switch code {
    case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: true
    default: false
    }
  }
}
