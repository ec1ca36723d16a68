// Signals as events for the supervisor's thread. Blocked in every thread, read from a descriptor.

import CLinux
import Glibc

package enum Signal: Sendable {
  case reload, terminate, interrupt, reopenLogs
}

package final class Signals {
  private let descriptor: Int32

  /// Call before any thread is made: they inherit the blocked mask.
  package init() throws(SystemError) {
    cs_ignore_sigpipe()
    cs_ignore_sigxfsz()
    descriptor = cs_signalfd()
    guard descriptor >= 0 else { throw SystemError("signalfd") }
  }

  deinit { close(descriptor) }

  /// The next signal, or nil when `other` is signalled or after `timeoutMilliseconds` (negative: waits for ever).
  package func next(or other: Wakeup? = nil, timeoutMilliseconds: Int32) -> Signal? {
    guard Sockets.waitReadable(descriptor, or: other?.descriptor ?? -1, timeoutMilliseconds: timeoutMilliseconds) else {
      return nil
    }
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    // SAFETY: the call writes at most `size` bytes, the size of this local.
    guard unsafe read(descriptor, &information, size) == size else { return nil }
    switch Int32(information.ssi_signo) {
    case SIGHUP: return .reload
    case SIGTERM: return .terminate
    case SIGINT: return .interrupt
    case SIGUSR1: return .reopenLogs
    default: return nil
    }
  }
}
