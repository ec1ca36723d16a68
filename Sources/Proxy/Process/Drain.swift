// The orderly end of a process that serves, from the signal until its workers have stopped. The supervisor's thread is here meanwhile:
//
//   delay: serves as before, says that it is not ready ─► drain: no new connections, what is under way comes to its end ─► (stop)
//
// A second signal ends either at once; to a process that drains beside another, the first one only says that the time is shorter. systemd is told to wait as long as this goes on, a little at a time, so that a process
// that hangs is not waited for.

import Logging
import Platform
import Policy

struct Drain {
  let shared: ProcessShared
  let timeouts: Config.Timeouts
  let signals: Signals
  let logger: Logger
  /// In an upgrade: the sockets that the process which serves goes on with.
  var handedOver: Set<Int>?
  /// And it may answer requests otherwise than this process.
  var refusesHeads = false
  /// What it says further.
  var line: SuccessorLine?

  /// How often systemd is told, and how long it is to wait from then on: more than a stop takes behind it.
  private static let noticeMilliseconds: UInt64 = 5_000
  private static let patienceMicroseconds = 20_000_000
  private static let waitMilliseconds: UInt64 = 50

  enum Outcome: Equatable {
    /// `end`: of the time that a first signal gives to a process that drains beside another; nil: none has come.
    case done(endMilliseconds: UInt64?)
    case interrupted
  }

  /// Returns when all workers have stopped, when the drain is over, or at another signal.
  /// - Parameter begun: done once the workers have been told.
  /// - Returns: whether another signal has ended it.
  @discardableResult
  func run(reopenLogs: () -> Void, begun: () -> Void = {}) -> Outcome {
    // Beside another process that accepts, nobody has to be sent elsewhere first.
    let delay = handedOver == nil ? timeouts.drainDelayMilliseconds : 0
    if delay > 0 {
      logger.info("not ready from now on; draining begins in \(delay) ms")
      let until = Clock.monotonicMilliseconds() + UInt64(delay)
      if wait(until: until, "not ready, about to drain", reopenLogs) == .interrupted { return .interrupted }
    }
    let tunnels = timeouts.drainTunnelsMilliseconds ?? timeouts.drainMilliseconds
    let schedule = DrainSchedule(
      fromMilliseconds: Clock.monotonicMilliseconds(), requests: timeouts.drainMilliseconds, tunnels: tunnels,
      tunnelClose: timeouts.tunnelCloseMilliseconds)
    logger.info(
      "draining: \(shared.total(.openRequests)) requests under way have at most \(timeouts.drainMilliseconds) ms, \(shared.total(.openTunnels)) tunnels are closed within \(tunnels) ms"
    )
    shared.tell { _ in
      .drain(schedule, handedOver: handedOver ?? [], refusesHeads: refusesHeads, line: line)
    }
    begun()
    return wait(until: schedule.endMilliseconds, "draining", reopenLogs)
  }

  /// To be called when the workers have stopped.
  func sayWhatWasCut() {
    let cut = shared.cut
    let text = "drained: \(cut.requests) requests and \(cut.tunnels) tunnels were cut"
    if cut.requests + cut.tunnels > 0 { logger.warning("\(text)") } else { logger.info("\(text)") }
  }

  private func wait(until end: UInt64, _ status: String, _ reopenLogs: () -> Void) -> Outcome {
    var end = end
    // What ends the service is the first signal to a process that drains beside it.
    let mayShorten = handedOver != nil
    var shortened: UInt64?
    var noticeDue: UInt64 = 0
    while true {
      let now = Clock.monotonicMilliseconds()
      if now >= noticeDue, handedOver == nil {
        noticeDue = now + Drain.noticeMilliseconds
        let left = "\(shared.total(.openRequests)) requests, \(shared.total(.openTunnels)) tunnels"
        ServiceNotifier.notify(
          "STOPPING=1\nEXTEND_TIMEOUT_USEC=\(Drain.patienceMicroseconds)\nSTATUS=\(status): \(left)")
      }
      guard shared.stoppedWorkers < shared.mailboxes.count, now < end else {
        return .done(endMilliseconds: shortened)
      }
      switch signals.next(timeoutMilliseconds: Int32(min(Drain.waitMilliseconds, end - now))) {
      case .terminate where mayShorten && shortened == nil:
        end = min(end, now + UInt64(timeouts.drainMilliseconds))
        shortened = end
      case .terminate, .interrupt:
        logger.warning("told to end a second time: what is under way is cut")
        return .interrupted
      case .reopenLogs: reopenLogs()
      case .reload: logger.warning("not reloaded: the process is about to end")
      case .upgrade: shared.upgrades.refuse("the process is about to end")
      case nil: break
      }
    }
  }
}
