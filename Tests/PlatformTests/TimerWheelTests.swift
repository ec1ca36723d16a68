// The wheel against a table of deadlines, with a clock that the test turns.

import Platform
import TestSupport
import Testing

@Suite struct TimerWheelTests {
  private static let slot = TimerWheel.slotMilliseconds

  /// Deadlines as a table, and when the wheel said of each that it was due.
  private struct Bench {
    let wheel: TimerWheel
    var deadlines: [Int: UInt64] = [:]
    /// When each was set: one that was over then counts from there.
    var setAt: [Int: UInt64] = [:]
    var now: UInt64

    init(now: UInt64) {
      self.now = now
      wheel = TimerWheel(nowMilliseconds: now)
    }

    mutating func set(_ index: Int, _ deadline: UInt64) {
      wheel.set(index, deadlineMilliseconds: deadline)
      deadlines[index] = deadline > 0 ? deadline : nil
      setAt[index] = now
      #expect(wheel.deadline(of: index) == deadline)
    }

    /// Turns the clock and takes what is due: never early, never later than a slot.
    mutating func turn(to new: UInt64) throws {
      now = new
      while let index = wheel.due(nowMilliseconds: now) {
        let deadline = try #require(deadlines[index], "\(index) was due without a deadline")
        deadlines[index] = nil
        try #require(deadline <= now, "\(index) is early: \(deadline) at \(now)")
        #expect(wheel.deadline(of: index) == 0)
      }
      for (index, deadline) in deadlines {
        let since = max(deadline, setAt[index] ?? 0)
        try #require(now < since + slot, "\(index) is late: \(deadline), set at \(since), at \(now)")
      }
    }

    /// What it says about sleeping may be too short, but never lets a deadline pass by more than a slot.
    func checkDelay(most: UInt64) {
      let delay = wheel.delay(nowMilliseconds: now, most: most)
      #expect(delay <= most)
      if let next = deadlines.values.min() {
        #expect(now + delay <= max(now, next) + slot, "asleep until \(now + delay), due at \(next)")
      }
    }
  }

  @Test(arguments: [UInt64](1...24))
  func isATableOfDeadlines(seed: UInt64) throws {
    var random = Seeded(seed)
    var bench = Bench(now: UInt64.random(in: 0...5_000_000, using: &random))
    let indices = [1, 8, 200, 3_000][Int(seed % 4)]
    let reach: UInt64 = seed % 3 == 0 ? 200_000 : seed % 3 == 1 ? 5_000 : 400
    for _ in 0..<600 {
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        let index = Int.random(in: 0..<indices, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: bench.set(index, 0)
        // Later, as with each request of a connection.
        case 1, 2:
          bench.set(index, max(bench.now, bench.deadlines[index] ?? 0) + UInt64.random(in: 0...reach, using: &random))
        // Earlier than it was.
        case 3: bench.set(index, max(1, (bench.now + (bench.deadlines[index] ?? bench.now)) / 2))
        // Over already.
        case 4: bench.set(index, max(1, bench.now - min(bench.now, UInt64.random(in: 0...100, using: &random))))
        default: bench.set(index, bench.now + UInt64.random(in: 1...reach, using: &random))
        }
      }
      bench.checkDelay(most: UInt64.random(in: 0...2_000, using: &random))
      let step: UInt64 =
        switch Int.random(in: 0..<10, using: &random) {
        case 0: UInt64.random(in: 0...reach, using: &random)
        case 1: 0
        default: UInt64.random(in: 0...100, using: &random)
        }
      try bench.turn(to: bench.now + step)
    }
    // In the end everything has been due.
    try bench.turn(to: bench.now + 3 * reach + 300_000)
    #expect(bench.deadlines.isEmpty)
    #expect(bench.wheel.armedCount == 0)
  }

  /// A worker that sleeps as long as it is told to wakes for each deadline in time.
  @Test(arguments: [UInt64](30...37))
  func sleepingAsToldMissesNothing(seed: UInt64) throws {
    var random = Seeded(seed)
    var bench = Bench(now: 1_000_000)
    for index in 0..<50 { bench.set(index, bench.now + UInt64.random(in: 1...100_000, using: &random)) }
    var wakes = 0
    while !bench.deadlines.isEmpty {
      wakes += 1
      try #require(wakes < 5_000)
      let delay = bench.wheel.delay(nowMilliseconds: bench.now, most: 60_000)
      try bench.turn(to: bench.now + max(delay, 1))
    }
    // And not much more often than there are deadlines, turns of the wheel and slots passed over.
    #expect(wakes < 1_000)
  }

  @Test func aDeadlineBeyondOneTurnIsKept() throws {
    var bench = Bench(now: 77)
    let turn = Self.slot * 1_024
    let deadlines = [turn - Self.slot, turn - 1, turn, turn + 1, 2 * turn, 10 * turn + 5].map { $0 + 77 }
    for (index, deadline) in deadlines.enumerated() { bench.set(index, deadline) }
    while bench.now < 12 * turn {
      try bench.turn(to: bench.now + 1_000)
      bench.checkDelay(most: 60_000)
    }
    #expect(bench.deadlines.isEmpty)
  }

  @Test func oneLongJumpFindsAll() throws {
    var bench = Bench(now: 5)
    for index in 0..<1_000 { bench.set(index, 6 + UInt64(index) * 97) }
    try bench.turn(to: 100_000_000)
    #expect(bench.deadlines.isEmpty && bench.wheel.armedCount == 0)
  }

  @Test func aDeadlineIsMetInItsSlot() {
    for offset in UInt64(0)..<Self.slot {
      let wheel = TimerWheel(nowMilliseconds: 1_000)
      wheel.set(3, deadlineMilliseconds: 2_000 + offset)
      var now: UInt64 = 1_000
      while wheel.due(nowMilliseconds: now) == nil { now += 1 }
      #expect(now >= 2_000 + offset && now <= 2_000 + offset + Self.slot)
    }
  }

  @Test func takingADeadlineAwayAndSettingItAnew() {
    let wheel = TimerWheel(nowMilliseconds: 0)
    wheel.set(0, deadlineMilliseconds: 100)
    wheel.set(0, deadlineMilliseconds: 0)
    #expect(wheel.due(nowMilliseconds: 1_000) == nil && wheel.armedCount == 0)
    wheel.set(0, deadlineMilliseconds: 1_100)
    wheel.set(0, deadlineMilliseconds: 5_000)
    #expect(wheel.due(nowMilliseconds: 4_000) == nil && wheel.armedCount == 1)
    wheel.set(0, deadlineMilliseconds: 4_100)
    #expect(wheel.due(nowMilliseconds: 4_099) == nil)
    #expect(wheel.due(nowMilliseconds: 4_200) == 0)
    #expect(wheel.due(nowMilliseconds: 100_000) == nil)
  }

  @Test func withoutTimersThereIsNoHurry() {
    let wheel = TimerWheel(nowMilliseconds: 123)
    #expect(wheel.delay(nowMilliseconds: 123, most: 777) == 777)
    #expect(wheel.deadline(of: 9) == 0)
    wheel.set(9, deadlineMilliseconds: 124)
    #expect(wheel.delay(nowMilliseconds: 123, most: 777) <= 1 + Self.slot)
    #expect(wheel.delay(nowMilliseconds: 500, most: 777) == 0)
  }
}
