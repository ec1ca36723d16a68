// What the checks of one server come to: whether it is up or down, by `rise` and `fall`, and when the next check is due. Values
// without sockets and without a clock; ServerCheck has one of each server.
//
//            first check passes                `fall` failures in a row
//   unknown ────────────────────► up ─────────────────────────────────────► down
//      │                           ▲ ◄───────────────────────────────────── ▲
//      │                               `rise` passes in a row               │
//      └────────────────────────────────────────────────────────────────────┘ first check fails
//
// A server is taken to be up until its first check has ended, and that one decides alone, as in HAProxy: a server that is down when
// it is added costs requests no longer than one check takes.

package struct HealthJudge: Sendable, Equatable {
  package enum State: Sendable, Equatable { case unknown, up, down }

  /// What a check has shown. `undecided`: nothing about whether the server is well.
  package enum Result: Sendable, Equatable { case passed, failed, undecided }

  package private(set) var state = State.unknown
  /// Results in a row that contradict the state.
  private var contrary = 0
  private var rise: Int
  private var fall: Int

  package init(rise: Int, fall: Int) {
    precondition(rise > 0 && fall > 0)
    (self.rise, self.fall) = (rise, fall)
  }

  /// Other numbers, by a reload. They count from the next result on.
  package mutating func setThresholds(rise: Int, fall: Int) {
    precondition(rise > 0 && fall > 0)
    (self.rise, self.fall) = (rise, fall)
  }

  /// The last result contradicts the state, and more of the same would change it.
  package var isInTransition: Bool { contrary > 0 }

  /// Takes the next result in. True where it has changed the state.
  package mutating func take(_ result: Result) -> Bool {
    guard result != .undecided else { return false }
    let seen = result == .passed ? State.up : State.down
    guard seen != state else {
      contrary = 0
      return false
    }
    contrary += 1
    guard state == .unknown || contrary >= (seen == .up ? rise : fall) else { return false }
    state = seen
    contrary = 0
    return true
  }
}

/// When a server is checked next.
package enum HealthPace {
  /// While a server is in transition it is checked this many times as often: it is known sooner which way it goes, for a few checks
  /// more (`fastinter` of HAProxy, with a value of its own).
  package static let transitionFactor = 4
  /// Each wait is longer or shorter by up to a tenth, so that checks of many proxies do not stay in step.
  package static let jitterPercent = 10

  /// How long to wait from the start of one check to the start of the next.
  /// - Parameters:
  ///   - isFirst: it was the server's first; the next comes within one interval, spread evenly, so that servers which were added
  ///     together are not checked together for ever.
  ///   - random: any 64 bits.
  package static func waitMilliseconds(
    interval: Int, isFirst: Bool, isInTransition: Bool, random: UInt64
  ) -> UInt64 {
    let parts = 1_024
    let part = Int(random % UInt64(parts + 1))
    if isInTransition {
      let base = max(1, interval / transitionFactor)
      return UInt64(max(1, base + spread(base, part, parts)))
    }
    if isFirst { return UInt64(max(1, interval * part / parts)) }
    return UInt64(max(1, interval + spread(interval, part, parts)))
  }

  private static func spread(_ base: Int, _ part: Int, _ parts: Int) -> Int {
    let most = base * jitterPercent / 100
    return 2 * most * part / parts - most
  }
}
