// The engine against a simulated kernel (Tests/Simulation): 2,000 seeds of the same kind as `make simulate` runs a million of.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Simulation {
    @Test(.threads(1)) func nothingThatMustHoldIsBrokenInTwoThousandRuns() throws {
      let outcome = try ChildProcess.run([try Programs.simulate, "--seeds", "2000"], by: .after(900))
      #expect(outcome.succeeded, "\(outcome.output.suffix(20_000))\(outcome.error)")
      #expect(outcome.output.hasPrefix("2000 seeds from 1: nothing broken."), "\(outcome.output.suffix(2_000))")
    }

    @Test(arguments: [8_067, 28_960, 56_178, 500_947, 506_259, 521_568, 539_768, 540_603, 573_692])
    func runsThatOnceFoundAFaultDoNot(_ seed: Int)
      throws
    {
      let outcome = try ChildProcess.run([try Programs.simulate, "--seed", "\(seed)"], by: .after(60))
      #expect(outcome.succeeded, "\(outcome.output.suffix(5_000))\(outcome.error)")
    }

    /// In the second a head is cut where what it says of the client ends, which depends on random bytes.
    @Test(arguments: [30, 62]) func aSeedMakesTheSameRunEachTime(_ seed: Int) throws {
      func trace() throws -> String {
        let outcome = try ChildProcess.run([try Programs.simulate, "--seed", "\(seed)", "--trace"])
        #expect(outcome.succeeded, "\(outcome.error)")
        // A configuration's digest is also one of where its keys are, which is made anew.
        return outcome.output.replacing(/"config":"[0-9a-f]+"/, with: "")
      }
      let first = try trace()
      #expect(first.count > 1_000)
      for _ in 0..<3 { #expect(try trace() == first) }
    }
  }
}
