// A trust rule as it is applied: tables instead of lists, texts made once.

import Wire

/// One rule of a listener's `trust`.
package final class CompiledRule: Sendable {
  package let evidence: Config.Evidence
  package let header: Config.ForwardedHeader
  /// Addresses that are stepped over in that field.
  package let hops: PrefixTable
  package let thenForwarded: Bool
  package let proxyProtocolRequired: Bool
  /// In the file; 0 for the default.
  package let line: Int
  /// For the access log: `line 12`, or `default`.
  package let name: String
  /// For people: `line 12: 10.0.0.0/24 proxy-protocol`, or `default: any socket`.
  package let description: String

  init(_ rule: Config.TrustRule, isDefault: Bool = false) {
    evidence = rule.evidence
    header = rule.header
    hops = PrefixTable(rule.hops)
    thenForwarded = rule.evidence == .proxyProtocol && rule.thenForwarded
    proxyProtocolRequired = rule.evidence == .proxyProtocol || rule.evidence == .attested && rule.proxyProtocolRequired
    line = rule.line
    name = isDefault ? "default" : "line \(rule.line)"
    var words = rule.from.isEmpty ? "any" : rule.from.prefix(3).map(\.description).joined(separator: ", ")
    if rule.from.count > 3 { words += " and \(rule.from.count - 3) more" }
    words += " \(rule.evidence.rawValue)"
    if thenForwarded { words += ", then forwarded" }
    if thenForwarded || evidence == .forwarded { words += " (\(rule.header.rawValue))" }
    description = "\(name): \(words)"
  }

  /// Whether the client is named by each request's own field, when `proxy` came first on the connection: by the peer's
  /// word, or by that of a listed hop that the PROXY header names. Otherwise the connection settles it for all.
  package func readsForwarded(proxy: ProxyHeader?) -> Bool {
    switch evidence {
    case .forwarded: true
    case .proxyProtocol: thenForwarded && proxy.map { hops.contains($0.source) } == true
    case .socket, .attested, .refuse: false
    }
  }
}
