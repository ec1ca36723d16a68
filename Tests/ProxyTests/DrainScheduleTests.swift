// When the Close frames of a drain are due: spread over the time that there is, whatever the number of tunnels.

import Proxy
import Testing

@Suite struct DrainScheduleTests {
  @Test(arguments: [2, 3, 7, 20, 100, 5_000]) func anyNumberIsSpreadOverAllOfTheTime(_ count: Int) {
    let schedule = DrainSchedule(fromMilliseconds: 1_000_000, requests: 1, tunnels: 30_000, tunnelClose: 10_000)
    let times = (0..<count).map { schedule.closeMilliseconds(UInt64($0), 1_000_000) }.sorted()
    #expect(times.first == 1_000_000, "the first does not wait")
    #expect(times.allSatisfy { $0 < 1_030_000 })
    // The three gaps of the golden ratio: none is wider than 1.9 times the mean.
    let widest = zip(times, times.dropFirst() + [1_030_000]).map { $1 - $0 }.max()!
    #expect(Double(widest) <= 1.9 * 30_000 / Double(count) + 1, "\(widest)")
  }

  @Test func aTunnelThatBeginsLaterHasAPartOfWhatIsLeft() {
    let schedule = DrainSchedule(fromMilliseconds: 1_000, requests: 1, tunnels: 1_000, tunnelClose: 5)
    for number in 0..<100 as Range<UInt64> {
      #expect((1_900..<2_000).contains(schedule.closeMilliseconds(number, 1_900)))
    }
    #expect(schedule.closeMilliseconds(7, 2_500) == 2_500, "at once where none is left")
  }

  @Test func withoutTimeAllAreDueAtOnce() {
    let schedule = DrainSchedule(fromMilliseconds: 1_000, requests: 20, tunnels: 0, tunnelClose: 5)
    #expect(schedule.closeMilliseconds(1, 1_000) == 1_000)
    #expect(schedule.tunnelsEndMilliseconds == 1_005)
    #expect(schedule.endMilliseconds == 1_020, "requests have theirs")
  }
}
