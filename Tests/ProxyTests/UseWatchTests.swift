// When a burst is over.

import Proxy
import Testing

@Suite struct UseWatchTests {
  /// What was in use in each second, and by how much the watch says that this is less than the most.
  private func lacks(_ watch: inout UseWatch, _ seconds: [[Int]], givesBackFrom least: Int = .max) -> [Int] {
    seconds.map { second in
      for count in second { watch.note(count) }
      let lack = watch.endSecond()
      watch.beginSecond(second.last ?? 0, isGivenBack: lack >= least)
      return lack
    }
  }

  @Test func aBurstIsOverAfterAWholeSecondWithoutIt() {
    var watch = UseWatch()
    #expect(lacks(&watch, [[1, 500, 0], [500, 2], [3], [2]]) == [0, 0, 497, 497])
  }

  @Test func whatIsGivenBackOnceIsNotGivenBackAgain() {
    var watch = UseWatch()
    #expect(lacks(&watch, [[500], [0], [0], [0], [90, 0], [0]], givesBackFrom: 128) == [0, 0, 500, 0, 0, 90])
  }

  /// Load that comes and goes within a second is no burst.
  @Test func swingsWithinASecondAreNone() {
    var watch = UseWatch()
    #expect(lacks(&watch, [[900, 0], [0, 900, 0], [0, 900, 0]]) == [0, 0, 0])
  }
}
