// The metrics page is Prometheus text (exposition format 0.0.4), and sums what the workers counted.

import Foundation
import Proxy
import Testing
import Wire

@Suite struct MetricsTests {
  /// Samples by their name and labels, after checking the page line by line.
  private func samples(_ page: String) throws -> [String: UInt64] {
    #expect(page.hasSuffix("\n") && !page.contains("\n\n") && !page.contains("\r"))
    let sample = /([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*"\})? ([0-9]+)/
    var found: [String: UInt64] = [:]
    var types: [String: String] = [:]
    var family = ""
    var helped: Set<String> = []
    for line in page.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 3)
      if line.hasPrefix("# HELP ") {
        #expect(helped.insert(String(words[2])).inserted, "explained twice: \(line)")
        #expect(words.count == 4, "not explained: \(line)")
        family = String(words[2])
      } else if line.hasPrefix("# TYPE ") {
        // After its HELP, before its samples, once.
        #expect(words[2] == family && types[family] == nil, "\(line)")
        types[family] = String(words[3])
      } else {
        let match = try #require(try sample.wholeMatch(in: line), "\(line)")
        // Samples of one family stand together.
        #expect(String(match.1) == family && types[family] != nil, "\(line)")
        #expect(types[family] == "gauge" || (types[family] == "counter" && family.hasSuffix("_total")), "\(line)")
        let name = String(match.1) + String(match.2 ?? "")
        #expect(found[name] == nil, "told twice: \(line)")
        found[name] = UInt64(match.3)
      }
    }
    return found
  }

  @Test func thePageIsWellFormed() throws {
    let found = try samples(MetricsPage.text([Counters()]))
    #expect(found.count == Counter.allCases.count + Refusal.allCases.count)
    #expect(found.values.allSatisfy { $0 == 0 })
  }

  @Test func workersAreSummed() throws {
    let workers = [Counters(), Counters(), Counters()]
    for (i, counters) in workers.enumerated() {
      counters.add(.requests)
      counters.add(.bytesIn, UInt64(100 * (i + 1)))
      counters.set(.openDownstreams, 7 + i)
      counters.set(.idleUpstreams, -1)
      counters.add(.replay)
    }
    workers[1].add(.signatureInvalid)
    workers[2].set(.openDownstreams, 1)
    let found = try samples(MetricsPage.text(workers))
    #expect(found["countersign_requests_total"] == 3)
    #expect(found["countersign_bytes_total{direction=\"in\"}"] == 600)
    #expect(found["countersign_open_connections{side=\"downstream\"}"] == 7 + 8 + 1)
    #expect(found["countersign_idle_upstream_connections"] == 0)
    #expect(found["countersign_refusals_total{name=\"replay\"}"] == 3)
    #expect(found["countersign_refusals_total{name=\"signature-invalid\"}"] == 1)
    #expect(found["countersign_refusals_total{name=\"window-old\"}"] == 0)
  }

  @Test func everyCounterIsAWordOfItsOwn() {
    let counters = Counters()
    for (i, counter) in Counter.allCases.enumerated() { counters.add(counter, UInt64(i + 1)) }
    for refusal in Refusal.allCases { for _ in 0...refusal.rawValue { counters.add(refusal) } }
    for (i, counter) in Counter.allCases.enumerated() { #expect(counters.value(counter) == UInt64(i + 1)) }
    for refusal in Refusal.allCases { #expect(counters.value(refusal) == UInt64(refusal.rawValue) + 1) }
  }
}
