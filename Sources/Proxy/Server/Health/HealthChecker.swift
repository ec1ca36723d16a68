// Active health checks: one checker for the process, on a thread of its own. It is given the servers that are to be checked, again
// whenever they change; what checks decide it tells each server's HealthObserver.
//
// Files beside this one: HealthTarget (a server, and how it is checked), HealthLoop (the thread's loop), ServerCheck (one server's checks),
// HealthRequest (what is asked, and what answers mean), HealthJudge (`rise` and `fall`, and the pace), HealthCounts (metrics).

import Platform
import Policy
import Synchronization

package final class HealthChecker: Sendable {
  package let metrics = HealthMetrics()
  private let mailbox: Mailbox<HealthLoop.Message>
  private let thread = Mutex<WorkerThread?>(nil)

  package init() throws(SystemError) { mailbox = try Mailbox() }

  /// Begins the thread.
  /// - Parameters:
  ///   - lanes: used by nobody else.
  ///   - report: tells the operator something, the same `once` at most once in a while.
  package func start(
    lanes: SenderLanes, report: @escaping @Sendable (_ text: String, _ once: String) -> Void
  ) throws(SystemError) {
    let box = LoopBox(try HealthLoop(mailbox: mailbox, metrics: metrics, lanes: lanes, report: report))
    let started = try WorkerThread.start(name: "health", processor: nil) { box.loop.run() }
    thread.withLock { $0 = started }
  }

  package var isRunning: Bool { thread.withLock { $0 != nil } }

  /// Checks these servers from now on, and no others.
  package func check(_ targets: [HealthTarget]) { mailbox.post(.targets(targets)) }

  /// Ends the thread; it waits for nothing for long.
  package func stop() {
    let running = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let running else { return }
    mailbox.post(.stop)
    running.join()
  }

  // SAFETY: a loop is made here and handed to its thread, which alone uses it from then on.
  private final class LoopBox: @unchecked Sendable {
    let loop: HealthLoop
    init(_ loop: HealthLoop) { self.loop = loop }
  }
}
