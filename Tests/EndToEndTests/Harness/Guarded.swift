// A value that several threads share, with waiting: the harness's threads meet here and nowhere else.

import Foundation

final class Guarded<Value>: @unchecked Sendable {
  private let condition = NSCondition()
  private var value: Value

  init(_ value: Value) { self.value = value }

  /// Reads or changes the value; whoever waits looks again afterwards.
  @discardableResult
  func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    condition.lock()
    defer {
      condition.broadcast()
      condition.unlock()
    }
    return try body(&value)
  }

  var now: Value {
    condition.lock()
    defer { condition.unlock() }
    return value
  }

  /// Waits for a change after which `found` gives something; nil when the deadline passes first.
  func wait<Result>(until deadline: Deadline, _ found: (inout Value) throws -> Result?) rethrows -> Result? {
    condition.lock()
    defer { condition.unlock() }
    while true {
      if let result = try found(&value) { return result }
      guard condition.wait(until: deadline.date) || !deadline.hasPassed else { return nil }
    }
  }
}

/// Runs on a thread of its own and gives the result, or the error, when asked.
final class Background<Result: Sendable>: Sendable {
  private let outcome = Guarded<Swift.Result<Result, any Error>?>(nil)
  private let what: String

  init(_ what: String, _ work: @escaping @Sendable () throws -> Result) {
    self.what = what
    let outcome = self.outcome
    let thread = Thread {
      let result = Swift.Result<Result, any Error> { try work() }
      outcome.with { $0 = result }
    }
    thread.stackSize = 1 << 20
    thread.start()
  }

  func result(by deadline: Deadline = .usual) throws -> Result {
    guard let result = outcome.wait(until: deadline, { $0 }) else { throw Trouble("did not end in time: \(what)") }
    return try result.get()
  }
}

/// Does `count` pieces of work on as many threads and waits for them all; the first error is thrown.
func together(_ count: Int, by deadline: Deadline, _ work: @escaping @Sendable (Int) throws -> Void) throws {
  let all = (0..<count).map { index in Background("thread \(index)") { try work(index) } }
  for one in all { try one.result(by: deadline) }
}
