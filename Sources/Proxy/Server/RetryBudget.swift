// How many tries beyond the first an upstream's requests may have, as one worker counts them: a share of the requests of the last ten
// seconds, beside a few that may always be. So a failing upstream gets at most that share more than it would have anyway.

package struct RetryBudget {
  package static let seconds = 10
  /// Tries that may be in any ten seconds however few the requests are.
  package static let retriesMin = 10

  private struct Second {
    var requests: UInt32 = 0
    var retries: UInt32 = 0
  }

  package let percent: Int
  private var ring = InlineArray<10, Second>(repeating: Second())
  private var second: UInt64 = 0
  package private(set) var requests = 0
  package private(set) var retries = 0

  package init(percent: Int) { self.percent = percent }

  /// Forgets the seconds that are over.
  private mutating func move(to second: UInt64) {
    guard second != self.second else { return }
    let gone =
      second > self.second ? min(second - self.second, UInt64(RetryBudget.seconds)) : UInt64(RetryBudget.seconds)
    for step in 0..<gone {
      let at = Int((second - step) % UInt64(RetryBudget.seconds))
      requests -= Int(ring[at].requests)
      retries -= Int(ring[at].retries)
      ring[at] = Second()
    }
    self.second = second
  }

  package mutating func noteRequest(nowMilliseconds: UInt64) {
    move(to: nowMilliseconds / 1_000)
    ring[Int(second % UInt64(RetryBudget.seconds))].requests += 1
    requests += 1
  }

  /// Whether another try may be made now.
  package mutating func allows(nowMilliseconds: UInt64) -> Bool {
    move(to: nowMilliseconds / 1_000)
    return retries < max(RetryBudget.retriesMin, requests * percent / 100)
  }

  package mutating func noteRetry(nowMilliseconds: UInt64) {
    move(to: nowMilliseconds / 1_000)
    ring[Int(second % UInt64(RetryBudget.seconds))].retries += 1
    retries += 1
  }
}
