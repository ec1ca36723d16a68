// Signals, read by the supervisor's thread from a descriptor (signalfd). They are blocked in every thread.

import CLinux
import Glibc

package enum Signal: Sendable {
  case reload, terminate, interrupt, reopenLogs, upgrade
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

  /// Has the supervisor of this process serve a signal as if somebody had sent it.
  package static func raise(_ signal: Signal) { send(signal, to: getpid()) }

  package static func send(_ signal: Signal, to process: Int32) {
    let number =
      switch signal {
      case .reload: SIGHUP
      case .terminate: SIGTERM
      case .interrupt: SIGINT
      case .reopenLogs: SIGUSR1
      case .upgrade: SIGUSR2
      }
    // 0 and below are groups of processes.
    if process > 0 { _ = Glibc.kill(process, number) }
  }

  /// Ends a child that nobody has waited for.
  package static func kill(_ process: Int32) { if process > 0 { _ = Glibc.kill(process, SIGKILL) } }

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
    case SIGUSR2: return .upgrade
    default: return nil
    }
  }
}
