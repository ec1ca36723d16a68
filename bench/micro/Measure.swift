// How a step is measured: as many times in a row as fill a batch, several batches, and what each cost in processor time
// and in allocations. Nothing is counted that was not seen to be right: every step says of every time whether it did
// what it claims, which also keeps the optimiser from leaving any of it out.

import AllocationCounter
import Glibc

/// A step by name. It is made ready only when it is wanted.
struct Step {
  let name: String
  let ready: () throws -> Operation

  init(_ name: String, _ ready: @escaping () throws -> Operation) {
    self.name = name
    self.ready = ready
  }
}

/// A step that is ready to be done.
struct Operation {
  /// Times that one batch can hold at most.
  let timesMax: Int
  /// Makes what a batch of so many uses up. Not on the clock.
  let prepare: (Int) -> Void
  /// Does it, for the nth time in this batch from 0, and says whether that came out right.
  let once: (Int) -> Bool

  init(timesMax: Int = 1 << 26, prepare: @escaping (Int) -> Void = { _ in }, once: @escaping (Int) -> Bool) {
    self.timesMax = timesMax
    self.prepare = prepare
    self.once = once
  }
}

/// What a step costs, each time that it is done.
struct Cost: Encodable {
  let step: String
  let medianNanoseconds: Double
  let minNanoseconds: Double
  let allocations: Double
  let timesInBatch: Int
  let batches: Int

  enum CodingKeys: String, CodingKey {
    case step, allocations, batches
    case medianNanoseconds = "median_ns"
    case minNanoseconds = "min_ns"
    case timesInBatch = "times_in_batch"
  }
}

struct WrongOutcome: Error, CustomStringConvertible {
  let step: String
  let wrong: Int
  let times: Int

  var description: String { "\(step): \(wrong) of \(times) did not come out as they should" }
}

struct NotReady: Error, CustomStringConvertible {
  let step: String
  let why: String

  var description: String { "\(step): \(why)" }
}

struct Measure {
  let batches: Int
  let batchMicroseconds: Int

  func cost(of step: Step) throws -> Cost {
    let operation: Operation
    do { operation = try step.ready() } catch { throw NotReady(step: step.name, why: "\(error)") }
    let times = try calibrate(operation, step)
    var nanoseconds: [Double] = []
    var allocations: UInt64 = 0
    for _ in 0..<batches {
      let batch = try run(operation, step, times: times)
      nanoseconds.append(Double(batch.microseconds) * 1_000 / Double(times))
      allocations += batch.allocations
    }
    nanoseconds.sort()
    return Cost(
      step: step.name, medianNanoseconds: nanoseconds[batches / 2], minNanoseconds: nanoseconds[0],
      allocations: Double(allocations) / Double(times * batches), timesInBatch: times, batches: batches)
  }

  /// How many times fill a batch. It takes at least a quarter of one to know, so everything is warm afterwards.
  private func calibrate(_ operation: Operation, _ step: Step) throws -> Int {
    var times = 1
    while true {
      let took = try run(operation, step, times: times).microseconds
      if took >= batchMicroseconds / 4 || times == operation.timesMax {
        return max(1, min(operation.timesMax, times * batchMicroseconds / max(1, took)))
      }
      times = min(operation.timesMax, times * 2)
    }
  }

  private func run(
    _ operation: Operation, _ step: Step, times: Int
  ) throws -> (microseconds: Int, allocations: UInt64) {
    operation.prepare(times)
    let allocationsBefore = allocation_count()
    // The processor time of this process, which has this one thread; in microseconds on every POSIX system.
    let before = clock()
    let right = Measure.count(operation.once, times: times)
    let after = clock()
    let allocations = allocation_count() - allocationsBefore
    guard right == times else { throw WrongOutcome(step: step.name, wrong: times - right, times: times) }
    return (after - before, allocations)
  }

  @inline(never) private static func count(_ once: (Int) -> Bool, times: Int) -> Int {
    var right = 0
    for time in 0..<times where once(time) { right &+= 1 }
    return right
  }
}
