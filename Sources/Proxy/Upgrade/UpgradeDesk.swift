// What became of the last upgrade, for whoever asked for it: the old process says so while it is under way and where it is refused,
// the new one once it serves, and no worker of the old one begins a request without knowing it. Set by the supervisor, asked for and read by the admin threads.

import Platform
import Synchronization
import Wire

package final class UpgradeDesk: Sendable {
  private enum State {
    case none
    case running
    case refused(String)
    case done
  }

  private struct Held {
    var state = State.none
    /// Tells one upgrade from another, also across processes.
    var attempt: UInt64 = 0
    /// Somebody asked, and the supervisor has not begun yet.
    var isRequested = false
  }

  private let held = Mutex(Held())

  package init() {}

  /// In a process that goes on for another. It is done when the other one begins nothing any more.
  init(takingOver attempt: UInt64) { held.withLock { $0 = Held(state: .running, attempt: attempt) } }

  func finish() {
    held.withLock { held in
      if case .running = held.state { held.state = .done }
    }
  }

  /// False while one is under way.
  func request() -> Bool {
    held.withLock { held in
      if case .running = held.state { return false }
      UpgradeDesk.renew(&held)
      held.isRequested = true
      return true
    }
  }

  /// The supervisor begins one, which may have been asked for here.
  func begin() -> UInt64 {
    held.withLock { held in
      if !held.isRequested { UpgradeDesk.renew(&held) }
      held.isRequested = false
      return held.attempt
    }
  }

  private static func renew(_ held: inout Held) {
    held.state = .running
    held.attempt = UInt64.random(in: 1 ... .max)
  }

  func refuse(_ why: String) {
    held.withLock { held in
      held.state = .refused(why)
      held.isRequested = false
    }
  }

  package var json: String {
    let (state, attempt) = held.withLock { ($0.state, $0.attempt) }
    let digits = String(attempt, radix: 16)
    let head = "{\"attempt\":\"\(String(repeating: "0", count: 16 - digits.count) + digits)\",\"state\":"
    return switch state {
    case .none: head + "\"none\"}"
    case .running: head + "\"running\"}"
    case .refused(let why): head + "\"refused\",\"why\":\(JSONText.quote(why))}"
    case .done: head + "\"done\",\"pid\":\(ProcessLimits.processIdentifier)}"
    }
  }
}
