// What one worker has counted of the requests of one route, or of one server: how many by class of status, how long they took, as a
// histogram, and how many were tried again or failed. A worker writes to those of its own plan without a lock, a text or an allocation;
// the admin thread adds up those of all workers (RouteMetrics, ServerMetrics).

import Platform

/// The histogram's buckets.
package enum DurationBuckets {
  /// Upper bounds, each within its bucket, and as the metrics page writes them, in seconds. One more bucket has no bound.
  package static let bounds: [(microseconds: UInt64, text: String)] = [
    (1_000, "0.001"), (2_500, "0.0025"), (5_000, "0.005"), (10_000, "0.01"), (25_000, "0.025"), (50_000, "0.05"),
    (100_000, "0.1"), (250_000, "0.25"), (500_000, "0.5"), (1_000_000, "1"), (2_500_000, "2.5"), (5_000_000, "5"),
    (10_000_000, "10"), (30_000_000, "30"), (60_000_000, "60"),
  ]
  package static let count = 16

  /// The bucket of a duration. Written out, so that no table is looked for on a request's path.
  @inline(__always) package static func index(microseconds: UInt64) -> Int {
    switch microseconds {
    case ...1_000: 0
    case ...2_500: 1
    case ...5_000: 2
    case ...10_000: 3
    case ...25_000: 4
    case ...50_000: 5
    case ...100_000: 6
    case ...250_000: 7
    case ...500_000: 8
    case ...1_000_000: 9
    case ...2_500_000: 10
    case ...5_000_000: 11
    case ...10_000_000: 12
    case ...30_000_000: 13
    case ...60_000_000: 14
    default: 15
    }
  }
}

package final class RequestCounts: Sendable {
  /// Classes of status, in the order of the words. `none`: the connection ended without an answer.
  package static let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]

  private static let firstBucket = classes.count
  private static let sum = firstBucket + DurationBuckets.count
  private static let retries = sum + 1
  private static let failures = sum + 2
  static let wordCount = sum + 3

  private let words = CounterWords(count: RequestCounts.wordCount)

  package init() {}

  // MARK: By the worker

  /// A response, or the end of a request without one. RFC 9110 section 15: a status over 599 counts as a server's error.
  @inline(__always) package func note(status: Int) { words.add(min(max(status, 0) / 100, 5), 1) }

  @inline(__always) package func note(microseconds: UInt64) {
    words.add(RequestCounts.firstBucket + DurationBuckets.index(microseconds: microseconds), 1)
    words.add(RequestCounts.sum, microseconds)
  }

  package func noteRetries(_ count: Int) { if count > 0 { words.add(RequestCounts.retries, UInt64(count)) } }
  package func noteFailure() { words.add(RequestCounts.failures, 1) }

  // MARK: By the admin thread

  /// The sum over all workers.
  package struct Total: Sendable {
    private var words = [UInt64](repeating: 0, count: RequestCounts.wordCount)

    package init(_ counts: [RequestCounts] = []) { for each in counts { add(each) } }

    package mutating func add(_ counts: RequestCounts) {
      for i in words.indices { words[i] &+= counts.words.load(i) }
    }

    package func responses(_ index: Int) -> UInt64 { words[index] }
    package func bucket(_ index: Int) -> UInt64 { words[RequestCounts.firstBucket + index] }
    package var microseconds: UInt64 { words[RequestCounts.sum] }
    package var retries: UInt64 { words[RequestCounts.retries] }
    package var failures: UInt64 { words[RequestCounts.failures] }

    /// Samples by class of status.
    func responses(_ name: String, _ labels: String) -> String {
      var text = ""
      for (index, name_) in RequestCounts.classes.enumerated() {
        text += "\(name){\(labels),class=\"\(name_)\"} \(responses(index))\n"
      }
      return text
    }

    /// Samples of a histogram. Its count is that of its buckets, whatever was counted while they were read.
    func histogram(_ name: String, _ labels: String) -> String {
      var text = ""
      var count: UInt64 = 0
      for (index, bound) in DurationBuckets.bounds.enumerated() {
        count &+= bucket(index)
        text += "\(name)_bucket{\(labels),le=\"\(bound.text)\"} \(count)\n"
      }
      count &+= bucket(DurationBuckets.bounds.count)
      text += "\(name)_bucket{\(labels),le=\"+Inf\"} \(count)\n"
      text += "\(name)_sum{\(labels)} \(Total.seconds(microseconds))\n\(name)_count{\(labels)} \(count)\n"
      return text
    }

    /// With six places.
    package static func seconds(_ microseconds: UInt64) -> String {
      let rest = "\(microseconds % 1_000_000)"
      return "\(microseconds / 1_000_000).\(String(repeating: "0", count: 6 - rest.utf8.count))\(rest)"
    }
  }
}
