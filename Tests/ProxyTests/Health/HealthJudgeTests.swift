// What a server's checks come to, for every sequence of results, and how long the next one is waited for.

import Proxy
import Testing

@Suite struct HealthJudgeTests {
  /// The state after a sequence, by its definition: the last run of equal results that was long enough, or else the first result.
  private static func state(after results: [HealthJudge.Result], rise: Int, fall: Int) -> HealthJudge.State {
    let decided = results.filter { $0 != .undecided }
    guard let first = decided.first else { return .unknown }
    var state: HealthJudge.State = first == .passed ? .up : .down
    for end in decided.indices {
      let run = decided[...end].reversed().prefix { $0 == decided[end] }.count
      if decided[end] == .passed, run >= rise { state = .up }
      if decided[end] == .failed, run >= fall { state = .down }
    }
    return state
  }

  @Test(arguments: 1...3, 1...3)
  func everySequenceEndsInTheStateThatItsRunsSay(rise: Int, fall: Int) {
    let results: [HealthJudge.Result] = [.passed, .failed, .undecided]
    let length = 8
    let total = Int(repeatElement(3, count: length).reduce(1, *))
    for number in 0..<total {
      var judge = HealthJudge(rise: rise, fall: fall)
      var sequence: [HealthJudge.Result] = []
      var rest = number
      for _ in 0..<length {
        let result = results[rest % 3]
        rest /= 3
        sequence.append(result)
        let before = judge
        let hasChanged = judge.take(result)
        let expected = Self.state(after: sequence, rise: rise, fall: fall)
        guard judge.state == expected, hasChanged == (before.state != expected), result != .undecided || judge == before
        else {
          Issue.record("rise \(rise), fall \(fall), \(sequence): \(judge), expected \(expected), news: \(hasChanged)")
          return
        }
      }
      // In transition exactly where the last result contradicts the state.
      let last = sequence.last { $0 != .undecided }
      let contradicts = last.map { ($0 == .passed) != (judge.state == .up) } ?? false
      #expect(judge.isInTransition == contradicts, "\(sequence)")
    }
  }

  @Test func otherThresholdsCountWhatWasSeen() {
    var judge = HealthJudge(rise: 2, fall: 5)
    for _ in 0..<3 { _ = judge.take(judge.state == .unknown ? .passed : .failed) }
    #expect(judge.state == .up)
    judge.setThresholds(rise: 2, fall: 3)
    #expect(judge.take(.failed) && judge.state == .down)
  }

  @Test(arguments: [1, 2, 10, 999, 2_000, 3_600_000])
  func aWaitStaysWithinItsBounds(interval: Int) {
    for random in (0...2_048).map({ UInt64($0) }) + [.max] {
      func wait(first: Bool, transition: Bool) -> Int {
        Int(
          HealthPace.waitMilliseconds(
            interval: interval, isFirst: first, isInTransition: transition, random: random))
      }
      let tenth = interval / 10
      #expect((max(1, interval - tenth)...(interval + tenth)).contains(wait(first: false, transition: false)))
      #expect((1...max(1, interval)).contains(wait(first: true, transition: false)))
      let quarter = max(1, interval / HealthPace.transitionFactor)
      for first in [true, false] {
        #expect(
          (max(1, quarter - quarter / 10)...(quarter + quarter / 10)).contains(wait(first: first, transition: true)))
      }
    }
  }

  /// Servers that were added together are not checked together any more.
  @Test func firstWaitsAreSpreadOverTheInterval() {
    var parts: Set<UInt64> = []
    for random: UInt64 in 0..<1_025 {
      let wait = HealthPace.waitMilliseconds(interval: 10_000, isFirst: true, isInTransition: false, random: random)
      parts.insert(wait / 1_000)
    }
    #expect(parts.count >= 10)
  }
}
