// The environment that the process was started with.

import Glibc

package enum Environment {
  /// Nil where it is not set.
  @Sendable package static func value(_ name: String) -> String? {
    // SAFETY: getenv's string is NUL-terminated and copied at once. It could change only under a call of setenv, which nothing in
    // this program makes.
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }
}
