// Signals, read by the supervisor's thread from a descriptor (signalfd). They are blocked in every thread.

import CLinux
import Glibc

package enum Signal: Sendable {
  case reload, terminate, interrupt, reopenLogs
}

package final class Signals {
  private let descriptor: Int32

  /// To be called before any thread is started: threads inherit the signal mask.
  package init() throws(SystemError) {
    cs_ignore_sigpipe()
    cs_ignore_sigxfsz()
    descriptor = cs_signalfd()
    guard descriptor >= 0 else { throw SystemError("signalfd") }
  }

  deinit { close(descriptor) }

  /// Waits for the next signal. Nil if `other` is signalled first, or after `timeoutMilliseconds` (negative: no limit).
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
