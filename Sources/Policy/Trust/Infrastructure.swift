// Addresses that can never be a client: what the configuration lists, the load balancers and proxies that its trust rules
// name, and the listeners' own addresses. When one of them turns up where a client should stand, somebody in front has
// stopped passing the client's address on, and the request does not reach a backend.
// Invariant: a range that means everybody is not infrastructure. Called by TrustPolicy for every client it settles.

import Wire

/// The addresses of our own machinery.
package struct Infrastructure: Sendable {
  private let declared: PrefixTable
  private let own: PrefixTable
  /// As `declared` and `own`, for people: each with where it comes from.
  package let descriptions: [(prefix: IPPrefix, source: String)]

  /// `declared` are ranges; `own` are addresses that listeners are bound to.
  package init(declared: [IPPrefix], own: [IPAddress] = []) {
    self.init(declared: declared.map { ($0, "declared") }, own: own.map { ($0, "a listener") })
  }

  private init(declared: [(IPPrefix, String)], own: [(IPAddress, String)]) {
    // "Everybody" in two spellings: as a rule's `from` it is `any`, and `any` makes nobody infrastructure.
    let declared = declared.filter { $0.0.length > 0 }
    let own = own.filter { !$0.0.unmapped.isUnspecified }.map { (IPPrefix(host: $0.0.unmapped), $0.1) }
    self.declared = PrefixTable(declared.map(\.0))
    self.own = PrefixTable(own.map(\.0))
    descriptions = (declared + own).map { (prefix: $0.0, source: $0.1) }
  }

  /// What `identity.infrastructure` lists, every `from` range that must show evidence, and the listeners' own addresses.
  package init(_ config: Config) {
    var declared = config.identity.infrastructure.map { ($0, "identity.infrastructure") }
    var own: [(IPAddress, String)] = []
    for listener in config.listeners {
      if case .address(let address, _) = listener.address { own.append((address, "the listener \(listener.name)")) }
      for rule in listener.trust where rule.evidence != .socket && rule.evidence != .refuse {
        declared += rule.from.map { ($0, "a trust rule of the listener \(listener.name)") }
      }
    }
    self.init(declared: declared, own: own)
  }

  package func contains(_ address: IPAddress) -> Bool { isDeclared(address) || isOwn(address) }

  /// In a range that the configuration names.
  package func isDeclared(_ address: IPAddress) -> Bool { declared.contains(address) }

  /// An address that a listener is bound to.
  package func isOwn(_ address: IPAddress) -> Bool { own.contains(address) }

  /// Where it is said that `address` is infrastructure; nil where nowhere.
  package func source(of address: IPAddress) -> String? {
    descriptions.first { $0.prefix.contains(address.unmapped) }?.source
  }
}
