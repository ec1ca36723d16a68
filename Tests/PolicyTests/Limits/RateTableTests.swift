// The counts of rates, by a clock that the test sets: what passes, what does not, when it may come again, and that no client ever has
// more because the table is small or because threads meet in it.

import Foundation
import Policy
import Synchronization
import Testing
import Wire

@Suite struct RateTableTests {
  private static let second: UInt64 = 1_000_000
  private static let start: UInt64 = 7_000_000_000

  private func table(lines: Int = RateTable.usualLines) throws -> RateTable {
    try #require(RateTable(lines: lines, key0: 1, key1: 2, nowMicroseconds: Self.start))
  }

  private func limit(_ requests: Int, _ period: Config.RatePeriod = .second, burst: Int) -> RateLimit {
    RateLimit(Config.Rate(requests: requests, period: period, burst: burst))
  }

  private func who(_ number: UInt64, _ table: RateTable) -> UInt64 {
    var hash = table.hash
    hash.add(number)
    return hash.value
  }

  @Test func aBurstPassesAndThenTheRate() throws {
    let table = try table()
    let limit = limit(20, burst: 40)
    let client = who(1, table)
    for n in 1...40 {
      let decision = table.take(client, limit, nowMicroseconds: Self.start)
      #expect(decision.isAllowed && decision.remaining == 40 - n && !decision.isShared)
    }
    let refused = table.take(client, limit, nowMicroseconds: Self.start)
    #expect(!refused.isAllowed && refused.remaining == 0)
    #expect(refused.waitMicroseconds == 50_000 && refused.resetMicroseconds == 2 * Self.second)
    // One request is earned each 50 ms, not a microsecond earlier.
    #expect(!table.take(client, limit, nowMicroseconds: Self.start + 49_999).isAllowed)
    #expect(table.take(client, limit, nowMicroseconds: Self.start + 50_000).isAllowed)
    #expect(!table.take(client, limit, nowMicroseconds: Self.start + 50_000).isAllowed)
    // Refusals cost nothing, and a pause earns a burst and no more.
    let later = Self.start + 1_000 * Self.second
    #expect((0..<41).count { _ in table.take(client, limit, nowMicroseconds: later).isAllowed } == 40)
  }

  @Test func overALongTimeTheRateIsKept() throws {
    let table = try table()
    for (requests, period, seconds, step) in [
      (3, Config.RatePeriod.second, 100, 1_000), (7, .minute, 600, 100_000), (10_000, .second, 1, 50),
      (1, .hour, 36_000, 1_000_000),
    ] as [(Int, Config.RatePeriod, UInt64, UInt64)] {
      let limit = limit(requests, period, burst: 1)
      let client = who(UInt64(requests), table)
      // A try in each step, of which most are too many.
      let times = stride(from: Self.start, to: Self.start + seconds * Self.second, by: UInt64.Stride(step))
      let allowed = times.count { table.take(client, limit, nowMicroseconds: $0).isAllowed }
      let most = Int(seconds * Self.second * UInt64(requests) / period.microseconds)
      #expect(allowed <= most + 1, "\(requests)/\(period.rawValue)")
      #expect(allowed >= most * 99 / 100, "\(requests)/\(period.rawValue)")
    }
  }

  @Test func clientsAndRatesAreCountedApart() throws {
    let table = try table()
    let limit = limit(1, burst: 1)
    for number in 0..<1_000 as Range<UInt64> {
      #expect(table.take(who(number, table), limit, nowMicroseconds: Self.start).isAllowed)
      #expect(!table.take(who(number, table), limit, nowMicroseconds: Self.start).isAllowed)
    }
  }

  /// Eight clients have a place in a line of eight; the ninth shares one, and nobody's count is dropped for it.
  @Test func aFullTableRefusesMoreAndNeverLess() throws {
    let table = try table(lines: 1)
    let limit = limit(1, burst: 4)
    let clients = (0..<200 as Range<UInt64>).map { who($0, table) }
    var allowed = [UInt64: Int]()
    var shared = 0
    for _ in 0..<10 {
      for client in clients {
        let decision = table.take(client, limit, nowMicroseconds: Self.start)
        if decision.isAllowed { allowed[client, default: 0] += 1 }
        if decision.isShared { shared += 1 }
      }
    }
    #expect(allowed.values.allSatisfy { $0 <= 4 })
    // All of them together have no more than what eight words hold.
    #expect(allowed.values.reduce(0, +) == 8 * 4)
    #expect(shared > 1_000)
    // When the counts say nothing any more, there is room for others.
    #expect(table.take(who(1_000, table), limit, nowMicroseconds: Self.start + 4 * Self.second).isAllowed)
    #expect(!table.take(who(1_000, table), limit, nowMicroseconds: Self.start + 4 * Self.second).isShared)
  }

  @Test func threadsTogetherHaveNoMoreThanOne() throws {
    let table = try table(lines: 2)
    let limit = limit(1, .hour, burst: 5_000)
    let client = who(1, table)
    #expect(table.take(client, limit, nowMicroseconds: Self.start).isAllowed)
    let allowed = Atomic(1)
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      for _ in 0..<2_000 where table.take(client, limit, nowMicroseconds: Self.start).isAllowed {
        allowed.add(1, ordering: .relaxed)
      }
    }
    #expect(allowed.load(ordering: .relaxed) == 5_000)
  }

  /// Another key puts clients into other places: who shares one cannot be worked out from outside.
  @Test func placesDependOnTheKey() throws {
    func sharing(_ key: UInt64) throws -> Set<UInt64> {
      let table = try #require(RateTable(lines: 4, key0: key, key1: 2, nowMicroseconds: Self.start))
      let limit = limit(1, burst: 1)
      return Set(
        (0..<64 as Range<UInt64>).filter { table.take(who($0, table), limit, nowMicroseconds: Self.start).isShared })
    }
    #expect(try sharing(1) != sharing(2))
  }
}
