// What is counted of the checks of each server. Written by the checker's thread, read by the admin listener's.

import Platform
import Synchronization

/// One server's.
package final class HealthCounts: Sendable {
  package enum Result: Int, CaseIterable, Sendable {
    case passed, failed
    /// A validator that has just started and verifies nothing yet.
    case starting
    /// The check could not be made: there was no descriptor, or no key that is valid now.
    case skipped
  }

  private let words = CounterWords(count: Result.allCases.count)

  func add(_ result: Result) { words.add(result.rawValue, 1) }
  package func value(_ result: Result) -> UInt64 { words.load(result.rawValue) }
}

/// All of them, by upstream and server.
package final class HealthMetrics: Sendable {
  private let counts = Mutex<[HealthTarget.Key: HealthCounts]>([:])

  package init() {}

  /// Those of a server, counted from now on.
  func counts(of key: HealthTarget.Key) -> HealthCounts {
    counts.withLock { counts in
      if let known = counts[key] { return known }
      let new = HealthCounts()
      counts[key] = new
      return new
    }
  }

  func forget(_ key: HealthTarget.Key) { counts.withLock { $0[key] = nil } }

  package subscript(_ key: HealthTarget.Key) -> HealthCounts? { counts.withLock { $0[key] } }

  /// Prometheus text; empty where no server is checked.
  package var text: String {
    let all = counts.withLock { counts in
      counts.sorted { ($0.key.upstream, $0.key.server) < ($1.key.upstream, $1.key.server) }
    }
    guard !all.isEmpty else { return "" }
    var page = """
      # HELP countersign_health_checks_total Checks of servers, by what they came to.
      # TYPE countersign_health_checks_total counter

      """
    for (key, counts) in all {
      for result in HealthCounts.Result.allCases {
        page +=
          "countersign_health_checks_total{\(HealthMetrics.labels(key)),result=\"\(result)\"} \(counts.value(result))\n"
      }
    }
    return page
  }

  private static func labels(_ key: HealthTarget.Key) -> String {
    "upstream=\"\(key.upstream)\",server=\"\(MetricsPage.escaped(key.server))\""
  }
}
