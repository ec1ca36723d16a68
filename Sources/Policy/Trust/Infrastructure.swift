// Addresses that can never be a client: what the configuration lists, the load balancers and proxies that its trust rules
// name, and the listeners' own addresses. When one of them turns up where a client should stand, somebody in front has
// stopped passing the client's address on, and the request does not reach a backend.
// Invariant: a range that means everybody is not infrastructure. Called by TrustPolicy for every client it settles.

import Wire

/// The addresses of our own machinery.
package struct Infrastructure: Sendable {
  private let declared: PrefixTable
  private let own: PrefixTable
  /// What is declared but for the ranges of rules with a cutover.
  private let declaredInCutover: PrefixTable
  /// Where ranges and addresses come from, for people; both tables have indices into it.
  private let sources: [String]
  /// What follows from `listeners`, beside what `identity.infrastructure` lists: each with where it comes from.
  package let derived: [(prefix: IPPrefix, source: String)]

  /// Every range that the configuration names, wherever it does; without the listeners' own addresses.
  package let declaredRanges: [IPPrefix]

  /// What `identity.infrastructure` lists, every `from` range that must show evidence or that checks come from, and the
  /// listeners' own addresses.
  package init(_ config: Config) {
    var sources = ["identity.infrastructure"]
    var declared = config.identity.infrastructure.map { ($0, UInt32(0)) }
    var own: [(IPPrefix, UInt32)] = []
    var cutoverRanges: Set<IPPrefix> = []
    for listener in config.listeners {
      if case .address(let address, _) = listener.address, !address.unmapped.isUnspecified {
        own.append((IPPrefix(host: address.unmapped), UInt32(sources.count)))
        sources.append("the listener \(listener.name)")
      }
      for rule in listener.trust where rule.evidence != .socket && rule.evidence != .refuse {
        declared += rule.from.map { ($0, UInt32(sources.count)) }
        if rule.cutoverEndMilliseconds != nil { cutoverRanges.formUnion(rule.from) }
      }
      sources.append("a trust rule of the listener \(listener.name)")
      for check in listener.checks { declared += check.from.map { ($0, UInt32(sources.count)) } }
      sources.append("`checks` of the listener \(listener.name)")
    }
    // "Everybody" in two spellings: as a rule's `from` it is `any`, and `any` makes nobody infrastructure.
    declared.removeAll { $0.0.length == 0 }
    declaredRanges = declared.map(\.0)
    self.declared = PrefixTable(declared)
    declaredInCutover = PrefixTable(
      declared.filter { $0.1 == 0 || !cutoverRanges.contains($0.0) })
    self.own = PrefixTable(own)
    self.sources = sources
    derived = (declared.filter { $0.1 > 0 } + own).map { (prefix: $0.0, source: sources[Int($0.1)]) }
  }

  package func contains(_ address: IPAddress) -> Bool { isDeclared(address) || isOwn(address) }

  /// In a range that the configuration names.
  package func isDeclared(_ address: IPAddress) -> Bool { declared.contains(address) }

  /// Whether it is infrastructure for a rule with a cutover, whose own range may hold clients until that ends.
  package func containsInCutover(_ address: IPAddress) -> Bool { declaredInCutover.contains(address) || isOwn(address) }

  /// An address that a listener is bound to.
  package func isOwn(_ address: IPAddress) -> Bool { own.contains(address) }

  /// Where it is said that `address` is infrastructure; nil where nowhere.
  package func source(of address: IPAddress) -> String? {
    (declared.longestMatch(address) ?? own.longestMatch(address)).map { sources[Int($0)] }
  }
}
