// The engine against a simulated kernel (Tests/Simulation): 2,000 seeds of the same kind as `make simulate` runs a million of.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Simulation {
    @Test(.threads(1)) func nothingThatMustHoldIsBrokenInTwoThousandRuns() throws {
      let outcome = try ChildProcess.run([try Programs.simulate, "--seeds", "2000"], by: .after(300))
      #expect(outcome.succeeded, "\(outcome.output.suffix(20_000))\(outcome.error)")
      #expect(outcome.output.hasPrefix("2000 seeds from 1: nothing broken."), "\(outcome.output.suffix(2_000))")
    }

    /// A large head was sent again after a reload to smaller heads, and the buffer had room for all but the signed fields.
    @Test(arguments: [8_067, 28_960, 500_947, 506_259, 521_568, 540_603]) func runsThatOnceFoundAFaultDoNot(_ seed: Int)
      throws
    {
      let outcome = try ChildProcess.run([try Programs.simulate, "--seed", "\(seed)"], by: .after(60))
      #expect(outcome.succeeded, "\(outcome.output.suffix(5_000))\(outcome.error)")
    }

    @Test func aSeedMakesTheSameRunEachTime() throws {
      func trace() throws -> [Substring] {
        let outcome = try ChildProcess.run([try Programs.simulate, "--seed", "30", "--trace"])
        #expect(outcome.succeeded, "\(outcome.error)")
        // The keys' directory is made anew, and a log's lines have ids that are made by chance.
        return outcome.output.split(separator: "\n").filter { !$0.hasPrefix("identity:") && !$0.contains("'s log: {") }
      }
      let first = try trace()
      #expect(first.count > 20)
      #expect(try trace() == first)
    }
  }
}
