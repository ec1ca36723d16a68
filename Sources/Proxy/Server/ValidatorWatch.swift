// Whether somebody behind the attested upstreams verifies what is signed: counted and warned of where nobody says so, and a reason not
// to be ready while every validator refuses.

import Platform
import Policy
import Synchronization
import Wire

/// What all workers know of the validators' answers.
final class ValidatorWatch: Sendable {
  /// Refusals in a row, of whichever server, from which on every validator counts as refusing.
  static let refusalsMin = 20
  /// For how long after the last of them: as nothing is sent to a process that is not ready, only trying tells that it is over.
  static let refusingMilliseconds: UInt64 = 10_000

  private let refusalsInRow = Atomic<Int>(0)
  private let lastRefusalMilliseconds = Atomic<UInt64>(0)

  func note(isRefused: Bool, nowMilliseconds: UInt64) {
    guard isRefused else {
      if refusalsInRow.load(ordering: .relaxed) != 0 { refusalsInRow.store(0, ordering: .relaxed) }
      return
    }
    refusalsInRow.add(1, ordering: .relaxed)
    lastRefusalMilliseconds.store(nowMilliseconds, ordering: .relaxed)
  }

  /// Every answer of late was a refusal.
  func isRefusing(nowMilliseconds: UInt64) -> Bool {
    refusalsInRow.load(ordering: .relaxed) >= ValidatorWatch.refusalsMin
      && nowMilliseconds < lastRefusalMilliseconds.load(ordering: .relaxed) + ValidatorWatch.refusingMilliseconds
  }

  /// How often one upstream is warned of.
  private static let warningMilliseconds: UInt64 = 60_000

  /// Notes what the answer to a signed request says about its signature.
  static func note(_ x: Exchange, _ mark: ValidatorMark, _ u: Upstream, _ worker: Worker) {
    x.verified = mark
    switch mark {
    case .starting: return
    case .enforced: worker.counters.add(.verifiedEnforced)
    case .observed: worker.counters.add(.verifiedObserved)
    case .refused: worker.counters.add(.verifiedRefused)
    case .none: worker.counters.add(.verifiedNot)
    }
    worker.shared.validators.note(isRefused: mark == .refused, nowMilliseconds: worker.nowMilliseconds)
    guard mark != .enforced, let group = x.group, worker.nowMilliseconds >= group.nextWarningMilliseconds else {
      return
    }
    group.nextWarningMilliseconds = worker.nowMilliseconds + warningMilliseconds
    let server = String(decoding: u.pool?.text ?? [], as: UTF8.self)
    worker.shared.report(
      "upstream \(group.config.name): \(server) \(mark.warning)", once: mark.warningKey(group.config.name),
      everyMilliseconds: warningMilliseconds)
  }
}
