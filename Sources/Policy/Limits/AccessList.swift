// Which clients may take a route: by the settled address, never by anything that the client claims. Immutable, shared by all
// workers. Invariant: whoever is not known is denied.
// Called by RouteDemands (Proxy) for each request of a route that has `access`.

import Wire

package struct AccessList: Sendable {
  private let ranges: PrefixTable
  /// What holds for an address in no range.
  private let othersAreAllowed: Bool

  private static let allowed: UInt32 = 0
  private static let denied: UInt32 = 1

  /// Nil where the addresses do not matter.
  package init?(_ access: Config.Access) {
    guard !access.allow.isEmpty || !access.deny.isEmpty else { return nil }
    ranges = PrefixTable(access.allow.map { ($0, Self.allowed) } + access.deny.map { ($0, Self.denied) })
    othersAreAllowed = access.allow.isEmpty
  }

  /// Of the ranges that hold the address the longest decides.
  package func allows(_ address: IPAddress?) -> Bool {
    guard let address else { return false }
    guard let found = ranges.longestMatch(address) else { return othersAreAllowed }
    return found == Self.allowed
  }
}
