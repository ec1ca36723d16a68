// Addresses that can never be a client: what the configuration lists, the load balancers and proxies that its trust rules
// name, and the listeners' own addresses. When one of them turns up where a client should stand, somebody in front has
// stopped passing the client's address on, and the request does not reach a backend.
// Invariant: a range that means everybody is not infrastructure. Called by TrustPolicy for every client it settles.

import Wire

/// The addresses of our own machinery.
package struct Infrastructure: Sendable {
  private let declared: PrefixTable
  private let own: PrefixTable

  /// `declared` are ranges; `own` are addresses that listeners are bound to.
  package init(declared: [IPPrefix], own: [IPAddress] = []) {
    // "Everybody" in two spellings: as a rule's `from` it is `any`, and `any` makes nobody infrastructure.
    self.declared = PrefixTable(declared.filter { $0.length > 0 })
    self.own = PrefixTable(own.map(\.unmapped).filter { !$0.isUnspecified }.map(IPPrefix.init(host:)))
  }

  /// What `identity.infrastructure` lists, every `from` range that must show evidence, and the listeners' own addresses.
  package init(_ config: Config) {
    var declared = config.identity.infrastructure
    var own: [IPAddress] = []
    for listener in config.listeners {
      if case .address(let address, _) = listener.address { own.append(address) }
      for rule in listener.trust where rule.evidence != .socket && rule.evidence != .refuse {
        declared += rule.from
      }
    }
    self.init(declared: declared, own: own)
  }

  package func contains(_ address: IPAddress) -> Bool { isDeclared(address) || isOwn(address) }

  /// In a range that the configuration names.
  package func isDeclared(_ address: IPAddress) -> Bool { declared.contains(address) }

  /// An address that a listener is bound to.
  package func isOwn(_ address: IPAddress) -> Bool { own.contains(address) }
}
