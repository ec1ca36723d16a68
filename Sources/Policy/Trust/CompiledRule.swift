// A trust rule as it is applied: tables instead of lists, texts made once.

import Wire

extension TrustPolicy {
  /// One rule of a listener's `trust`.
  package final class CompiledRule: Sendable {
    package let evidence: Config.Evidence
    package let header: Config.ForwardedHeader
    /// Addresses that are stepped over in that field.
    package let hops: PrefixTable
    /// With `socket`: addresses that the rule names one by one. Such a peer is a client even where it has the address of a
    /// listener.
    package let namedClients: PrefixTable
    package let thenForwarded: Bool
    package let scheme: Config.Scheme
    package let proxyProtocolRequired: Bool
    /// With `proxy-protocol`: until when a peer may come without its header; milliseconds since 1970.
    package let cutoverEndMilliseconds: UInt64?
    /// None for the default.
    package let place: Place
    /// For the access log: `line 12`, `conf.d/app.yaml:12`, or `default`.
    package let name: String
    /// For people: `line 12: 10.0.0.0/24 proxy-protocol`, or `default: any socket`.
    package let description: String

    init(_ rule: Config.TrustRule, isDefault: Bool = false) {
      evidence = rule.evidence
      header = rule.header
      hops = PrefixTable(rule.hops)
      namedClients = PrefixTable(rule.evidence == .socket ? rule.from.filter(\.isHost) : [])
      scheme = rule.scheme
      thenForwarded = rule.evidence == .proxyProtocol && rule.thenForwarded
      proxyProtocolRequired =
        rule.evidence == .proxyProtocol || rule.evidence == .attested && rule.proxyProtocolRequired
      cutoverEndMilliseconds = rule.evidence == .proxyProtocol ? rule.cutoverEndMilliseconds : nil
      place = rule.place
      name = isDefault ? "default" : rule.place.name
      var words = rule.from.isEmpty ? "any" : rule.from.prefix(3).map(\.description).joined(separator: ", ")
      if rule.from.count > 3 { words += " and \(rule.from.count - 3) more" }
      words += " \(rule.evidence.rawValue)"
      if thenForwarded { words += ", then forwarded" }
      if thenForwarded || evidence == .forwarded { words += " (\(rule.header.rawValue))" }
      if scheme != .evidence { words += ", scheme \(scheme.rawValue)" }
      if let end = cutoverEndMilliseconds {
        words += ", or socket until \(Timestamp.text(milliseconds: end))"
      }
      description = "\(name): \(words)"
    }
  }
}
