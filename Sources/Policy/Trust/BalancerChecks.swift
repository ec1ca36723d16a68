// Whose connections may be a load balancer's checks, at one listener. Immutable, shared by all workers.
// Called by the downstream connection (Proxy): once when it begins, and again for the rules that a reload brought.

import Platform
import Wire

package struct BalancerChecks: Sendable {
  private let peers: PrefixTable
  private let paths: [[UInt8]?]

  package init(_ checks: [Config.BalancerCheck]) {
    var entries: [(IPPrefix, UInt32)] = []
    for (index, check) in checks.enumerated() { entries += check.from.map { ($0, UInt32(index)) } }
    peers = PrefixTable(entries)
    paths = checks.map { check in check.path.map { Array($0.utf8) } }
  }

  /// The check whose range holds `peer`, the longest first; nil where it is in none, and for a unix socket's peer.
  package func index(for peer: IPAddress?) -> Int? {
    guard !paths.isEmpty, let peer else { return nil }
    return peers.longestMatch(peer).map { Int($0) }
  }

  /// Whether a request for this path is one that the check answers.
  package func answers(_ index: Int, path: Span<UInt8>) -> Bool {
    paths[index].map { ByteComparison.isEqual($0.span, path) } ?? false
  }
}
