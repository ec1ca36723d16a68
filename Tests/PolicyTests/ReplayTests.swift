// The replay window: its edges, its generations, its epochs, and threads that race for one message.

import Platform
import Policy
import Testing
import Wire

@Suite struct ReplayTests {
  static let bits = 1 << 10
  let table = ReplayTable(windowBits: bits, epochsMax: 4)!

  private func mark(
    _ epoch: UInt64, _ sequence: UInt64, expires: UInt64 = 40_000, now: UInt64 = 10_000
  ) -> String {
    let seen = table.peek(epoch: epoch, sequence: sequence)
    let refusal = table.mark(epoch: epoch, sequence: sequence, expiresMilliseconds: expires, nowMilliseconds: now)
    // A look never says more than the mark does, and a replay is seen by both.
    if let seen { #expect(seen == refusal) }
    return refusal.map { "\($0.name)" } ?? "fresh"
  }

  @Test func eachNumberPassesOnce() {
    for sequence in 1...5000 as ClosedRange<UInt64> {
      #expect(mark(9, sequence) == "fresh")
      #expect(mark(9, sequence) == "replay")
    }
  }

  @Test func numbersMayComeInAnyOrderWithinTheWindow() {
    // A fixed shuffle: 7 is prime to 1000.
    var passed = 0
    for step in 0..<1000 as Range<UInt64> {
      if mark(9, 1 + step * 7 % 1000) == "fresh" { passed += 1 }
    }
    #expect(passed == 1000)
    for sequence in 1...1000 as ClosedRange<UInt64> { #expect(mark(9, sequence) == "replay") }
  }

  @Test func whatIsOlderThanTheWindowIsRefused() {
    let newest = 100 * UInt64(Self.bits) + 37
    #expect(mark(9, newest) == "fresh")
    // Exactly a window behind is too old; up to 15 numbers that share a word with the newest are, too.
    #expect(mark(9, newest - UInt64(Self.bits)) == "window-old")
    #expect(mark(9, newest - UInt64(Self.bits) - 1) == "window-old")
    #expect(mark(9, 1) == "window-old")
    #expect(mark(9, newest - UInt64(Self.bits) + 16) == "fresh")
    #expect(mark(9, newest - UInt64(Self.bits) + 16) == "replay")
    for back in 1...UInt64(Self.bits) - 17 { #expect(mark(9, newest - back) == "fresh", "\(back) back") }
  }

  @Test func aGenerationThatWrapsForgetsNothingThatCouldComeBack() {
    var sequence: UInt64 = 1
    while sequence < 10 * UInt64(Self.bits) {
      #expect(mark(9, sequence) == "fresh")
      #expect(mark(9, sequence) == "replay")
      if sequence > UInt64(Self.bits) {
        let old = mark(9, sequence - UInt64(Self.bits))
        #expect(old == "window-old" || old == "replay")
      }
      sequence += 13
    }
  }

  @Test func aLeapOfAnyLengthIsTaken() {
    var last: UInt64 = 0
    for sequence in [1, 1 << 20, 1 << 32, 1 << 53, 1 << 57, 1 << 58 - 1] as [UInt64] {
      #expect(mark(9, sequence) == "fresh")
      #expect(mark(9, sequence) == "replay")
      if last > 0 { #expect(mark(9, last) == "window-old") }
      last = sequence
    }
    // Generations have 48 bits; with the smallest window that ends at 2^58.
    #expect(mark(9, 1 << 58) == "window-old")
    #expect(mark(9, UInt64(Int64.max)) == "window-old")
  }

  @Test func epochsAreApart() {
    for epoch in [5, 6, 7, 8] as [UInt64] { #expect(mark(epoch, 3) == "fresh") }
    for epoch in [5, 6, 7, 8] as [UInt64] { #expect(mark(epoch, 3) == "replay") }
    #expect(table.epochCount == 4)
  }

  @Test func reservedEpochsAreRefused() {
    #expect(mark(0, 3) == "window-old")
    #expect(mark(1, 3) == "window-old")
  }

  // MARK: Dropping epochs

  @Test func aFullTableRefusesUntilAnEpochHasExpired() {
    for epoch in 11...14 as ClosedRange<UInt64> { #expect(mark(epoch, 1, expires: 40_000 + epoch) == "fresh") }
    #expect(mark(15, 1, expires: 60_000, now: 20_000) == "epochs-full")
    #expect(mark(15, 1, expires: 60_000, now: 40_000) == "epochs-full")
    // Epoch 11 has expired, and the margin after it is over.
    #expect(mark(15, 1, expires: 80_000, now: 50_012) == "fresh")
    #expect(table.epochCount == 4)
    #expect(mark(14, 1, expires: 40_014, now: 50_012) == "replay")
    #expect(mark(16, 1, expires: 80_000, now: 50_012) == "epochs-full")
  }

  @Test func aMessageKeepsItsEpoch() {
    #expect(mark(11, 1, expires: 40_000) == "fresh")
    #expect(mark(11, 2, expires: 70_000) == "fresh")
    for epoch in 12...14 as ClosedRange<UInt64> { #expect(mark(epoch, 1, expires: 90_000) == "fresh") }
    #expect(mark(15, 1, expires: 90_000, now: 60_000) == "epochs-full")
    #expect(mark(11, 2, expires: 70_000, now: 60_000) == "replay")
  }

  @Test func aDroppedEpochComesBackWithNewMessagesOnly() {
    #expect(mark(11, 1, expires: 40_000) == "fresh")
    #expect(mark(12, 1, expires: 90_000, now: 60_000) == "fresh")
    #expect(table.epochCount == 1)
    // The clock was set back, or the thread's was stale: what expires no later than what was forgotten stays out.
    #expect(mark(11, 1, expires: 40_000, now: 30_000) == "window-old")
    #expect(mark(99, 1, expires: 39_000, now: 30_000) == "window-old")
    #expect(mark(11, 1, expires: 40_001, now: 60_000) == "fresh")
    #expect(mark(11, 1, expires: 40_001, now: 60_000) == "replay")
  }

  @Test func aDroppedRingIsClear() {
    for round in 1...50 as ClosedRange<UInt64> {
      let now = round * 100_000
      for epoch in 1...4 as ClosedRange<UInt64> {
        for sequence in [1, 500, 2000] as [UInt64] {
          #expect(mark(round * 1000 + epoch, sequence, expires: now + 30_000, now: now) == "fresh")
        }
        for sequence in [1, 500] as [UInt64] {
          #expect(mark(round * 1000 + epoch, sequence, expires: now + 30_000, now: now) == "window-old")
        }
        #expect(mark(round * 1000 + epoch, 2000, expires: now + 30_000, now: now) == "replay")
      }
      #expect(table.epochCount == 4)
    }
  }

  @Test func aLargeRingIsGivenBackAndClear() throws {
    let table = try #require(ReplayTable(windowBits: 1 << 18, epochsMax: 2))
    for round in 1...4 as ClosedRange<UInt64> {
      let now = round * 100_000
      for sequence in stride(from: 1, to: 1 << 18, by: 997) as StrideTo<UInt64> {
        #expect(
          table.mark(epoch: round + 100, sequence: sequence, expiresMilliseconds: now + 30_000, nowMilliseconds: now)
            == nil)
      }
      #expect(table.epochCount == 1)
    }
  }

  // MARK: Threads

  /// Every message is offered by two of four threads, which run over the same numbers in different orders.
  @Test func ofTwoCopiesExactlyOnePasses() throws {
    let table = try #require(ReplayTable(windowBits: 1 << 16, epochsMax: 8))
    let epochs: [UInt64] = [101, 102, 103]
    let count: UInt64 = 20_000
    let passes = try #require(AtomicWords(count: epochs.count * Int(count)))
    try run(threads: 4) { thread in
      // The two of a pair go over the same half, one up and one down.
      let half = UInt64(thread / 2)
      for step in 0..<count / 2 {
        let sequence = 1 + half * (count / 2) + (thread % 2 == 0 ? step : count / 2 - 1 - step)
        for (index, epoch) in epochs.enumerated() {
          _ = table.peek(epoch: epoch, sequence: sequence)
          let refusal = table.mark(
            epoch: epoch, sequence: sequence, expiresMilliseconds: 40_000, nowMilliseconds: 10_000)
          guard refusal == nil else { continue }
          passes.add(1, at: index * Int(count) + Int(sequence - 1))
        }
      }
    }
    let wrong = (0..<passes.count).filter { passes.load($0) != 1 }
    #expect(wrong.isEmpty)
  }

  // MARK: Two processes

  /// A second mapping of a table's memory, as another process has one.
  private func shared(_ table: ReplayTable) throws -> ReplayTable {
    try #require(
      ReplayTable(
        sharing: try Sockets.duplicate(table.descriptor), windowBits: table.windowBits, epochsMax: table.epochsMax))
  }

  /// The senders are unknown to both when it begins. Each message is offered once to either mapping, in different orders.
  @Test func ofTwoCopiesInTwoMappingsExactlyOnePasses() throws {
    let first = try #require(ReplayTable(windowBits: 1 << 16, epochsMax: 8))
    let tables = [first, try shared(first)]
    let epochs: [UInt64] = [101, 102, 103, 104, 105]
    let count: UInt64 = 8_000
    let passes = try #require(AtomicWords(count: epochs.count * Int(count)))
    try run(threads: 4) { thread in
      let table = tables[thread / 2]
      let half = UInt64(thread % 2)
      for step in 0..<count / 2 {
        let sequence = 1 + half * (count / 2) + (thread / 2 == 0 ? step : count / 2 - 1 - step)
        for (index, epoch) in epochs.enumerated() {
          _ = table.peek(epoch: epoch, sequence: sequence)
          let refusal = table.mark(
            epoch: epoch, sequence: sequence, expiresMilliseconds: 40_000, nowMilliseconds: 10_000)
          guard refusal == nil else { continue }
          passes.add(1, at: index * Int(count) + Int(sequence - 1))
        }
      }
    }
    #expect((0..<passes.count).allSatisfy { passes.load($0) == 1 })
    #expect(tables.allSatisfy { $0.epochCount == epochs.count })
  }

  @Test func whatOneMappingForgotTheOtherDoesNotTakeAgain() throws {
    let other = try shared(table)
    #expect(mark(11, 1, expires: 40_000) == "fresh")
    #expect(other.mark(epoch: 12, sequence: 1, expiresMilliseconds: 90_000, nowMilliseconds: 60_000) == nil)
    #expect(table.epochCount == 1)
    #expect(mark(11, 1, expires: 40_000, now: 30_000) == "window-old")
    #expect(mark(12, 1, expires: 90_000, now: 60_000) == "replay")
  }

  @Test func whatIsNoSuchTableIsNotShared() throws {
    func isTaken(_ descriptor: Int32, bits: Int = ReplayTests.bits, epochs: Int = 4) -> Bool {
      ReplayTable(sharing: descriptor, windowBits: bits, epochsMax: epochs) != nil
    }
    #expect(isTaken(try Sockets.duplicate(table.descriptor)))
    #expect(!isTaken(try Sockets.duplicate(table.descriptor), bits: Self.bits * 2))
    // Of the same size, for other limits.
    #expect(!isTaken(try Sockets.duplicate(table.descriptor), epochs: 3))
    let words = try #require(AtomicWords(count: 1_024))
    #expect(!isTaken(try Sockets.duplicate(words.descriptor)))
    // A file whose size can still change could be made shorter under a reader.
    #expect(!isTaken(try Sockets.listen(on: .ip(IPAddress(v4: 0x7f00_0001), port: 0))))
  }

  /// A process ends where it is, here: with an epoch's slot dropped and its ring not clear yet.
  @Test func whatAProcessThatEndedLeftIsFinishedByTheNext() throws {
    #expect(mark(11, 1, expires: 40_000) == "fresh")
    // Seen through the words of the memory itself.
    let layout = 512 + 512 + 8 * Self.bits / 16
    let words = try #require(AtomicWords(sharing: try Sockets.duplicate(table.descriptor), count: layout))
    let slot = try #require(stride(from: 512, to: 512 + 64, by: 8).first { words.load($0) == 11 })
    words.store(1, at: slot)
    #expect(table.epochCount == 0)
    for epoch in 21...24 as ClosedRange<UInt64> {
      #expect(mark(epoch, 1, expires: 90_000, now: 60_000) == "fresh")
      #expect(mark(epoch, 1, expires: 90_000, now: 60_000) == "replay")
    }
    #expect(mark(11, 1, expires: 40_000, now: 30_000) == "window-old")
  }

  /// Senders come and go while their messages are offered twice; no message may pass twice, and in epochs that were not
  /// dropped meanwhile each passes once.
  @Test func droppingEpochsLetsNothingPassTwice() throws {
    let table = try #require(ReplayTable(windowBits: 1 << 10, epochsMax: 4))
    let rounds: UInt64 = 400
    let each: UInt64 = 32
    let passes = try #require(AtomicWords(count: Int(rounds * each)))
    try run(threads: 4) { thread in
      for round in 0..<rounds {
        // Time goes on, so that entering a new epoch drops an old one.
        let now = 100_000 + round * 15_000
        for sequence in 1...each {
          let refusal = table.mark(
            epoch: 1000 + round, sequence: sequence, expiresMilliseconds: now + 30_000, nowMilliseconds: now)
          guard refusal == nil else { continue }
          passes.add(1, at: Int(round * each + sequence - 1))
        }
      }
    }
    let twice = (0..<passes.count).filter { passes.load($0) > 1 }
    #expect(twice.isEmpty)
  }

  /// Runs the body on so many threads and waits for all of them.
  private func run(threads count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
    let threads = try (0..<count).map { index in
      try WorkerThread.start(name: "replay-\(index)", processor: nil) { body(index) }
    }
    for thread in threads { thread.join() }
  }
}

extension AtomicWords {
  fileprivate func add(_ n: UInt64, at i: Int) {
    while true {
      let before = load(i)
      if exchange(at: i, old: before, new: before + n).done { return }
    }
  }
}
