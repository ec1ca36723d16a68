// Time in the tests: a deadline only ever ends a wait that has already failed. Nothing here sleeps for luck; where
// the kernel offers no event (a figure in /proc, a behaviour that a reload changes), `eventually` asks again.

import Foundation

/// What went wrong in the harness or was not seen in time, said so that the reader need not run it again.
struct Trouble: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

struct Deadline: Sendable {
  let instant: ContinuousClock.Instant

  static func after(_ seconds: Double) -> Deadline {
    Deadline(instant: ContinuousClock.now + .milliseconds(Int(seconds * 1000)))
  }

  /// How long any single wait may take before the test has failed, also where the machine has much else to do.
  static var usualSeconds: Double { 60 }
  static var usual: Deadline { after(usualSeconds) }

  var hasPassed: Bool { ContinuousClock.now >= instant }

  var secondsLeft: Double {
    let left = instant - ContinuousClock.now
    return max(0, Double(left.components.seconds) + Double(left.components.attoseconds) / 1e18)
  }

  var millisecondsLeft: Int32 { Int32(min(secondsLeft * 1000 + 1, 1e9)) }

  var date: Date { Date(timeIntervalSinceNow: secondsLeft) }
}

/// Asks until the answer is there or the deadline has passed.
func eventually<Value>(
  _ what: String, by deadline: Deadline = .usual, everyMilliseconds: Int32 = 10, _ ask: () throws -> Value?
) throws -> Value {
  while true {
    if let value = try ask() { return value }
    guard !deadline.hasPassed else { throw Trouble("waited in vain: \(what)") }
    poll(nil, 0, everyMilliseconds)
  }
}

/// Asks until it is so or the deadline has passed.
func eventually(
  _ what: String, by deadline: Deadline = .usual, everyMilliseconds: Int32 = 10, isTrue: () throws -> Bool
) throws {
  let _: Bool = try eventually(what, by: deadline, everyMilliseconds: everyMilliseconds) {
    try isTrue() ? true : nil
  }
}

/// Watches for a stretch of time, to measure what a process does in it.
func observe(seconds: Double) {
  let end = Deadline.after(seconds)
  while !end.hasPassed { poll(nil, 0, end.millisecondsLeft) }
}

func secondsTaken(_ work: () throws -> Void) rethrows -> Double {
  let start = ContinuousClock.now
  try work()
  let taken = ContinuousClock.now - start
  return Double(taken.components.seconds) + Double(taken.components.attoseconds) / 1e18
}
