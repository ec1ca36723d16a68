// Trust rules: what a peer must show for the client's address to be known. What would let anybody claim any
// address is refused here, where it is written, not later, where it would only be seen in an attack.

import Wire

extension Reading {
  mutating func trust(_ node: YAMLNode, _ path: String, isUnix: Bool) -> [Config.TrustRule] {
    guard let nodes = elements(node, path, of: "rules such as `{ from: any, evidence: socket }`") else { return [] }
    var rules: [Config.TrustRule] = []
    // Equal ranges in one listener: which rule would hold? `any` counts as a range of its own.
    var taken: [IPPrefix?: Place] = [:]
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      guard let rule = rule(node, path, isUnix: isUnix, taken: &taken) else { continue }
      rules.append(rule)
    }
    return rules
  }

  private mutating func rule(
    _ node: YAMLNode, _ path: String, isUnix: Bool, taken: inout [IPPrefix?: Place]
  ) -> Config.TrustRule? {
    let keys = ["from", "evidence", "header", "hops", "then", "scheme", "proxy_protocol", "cutover"]
    let required = [
      (key: "from", what: "the peers it is for: ranges, or `any`"),
      (key: "evidence", what: "what they must show: one of \(list(Config.Evidence.allCases.map(\.rawValue)))"),
    ]
    guard let fields = fields(node, path, keys: keys, required: required) else { return nil }
    let evidence: Config.Evidence? = fields["evidence"].flatMap { word($0, "\(path).evidence") }
    if evidence == .attested { verifies = verifies ?? fields["evidence"]?.place }
    var rule = Config.TrustRule(evidence: evidence ?? .refuse)
    rule.place = node.place
    let from = fields["from"].flatMap { self.from($0, "\(path).from", taken: &taken) }
    rule.from = from?.map(\.prefix) ?? []
    if let node = fields["then"] {
      rule.thenForwarded = word(node, "\(path).then", of: ["forwarded"]) != nil
      if let evidence, evidence != .proxyProtocol {
        error(node.place, "`then` is only used with `evidence: proxy-protocol`")
      }
    }
    if let node = fields["header"], let header = header(node, "\(path).header") {
      rule.header = header
    }
    if let node = fields["hops"], let ranges = prefixes(node, "\(path).hops") {
      for (prefix, place) in ranges where prefix.length == 0 {
        error(place, "`\(prefix)` as hops steps over every address; nobody is left to be the client")
      }
      rule.hops = ranges.map(\.prefix)
    }
    // Where no hop is listed no field is read, and every proxy behind the load balancer is the client of all whom it brings.
    if let node = fields["then"], rule.thenForwarded, evidence == .proxyProtocol, rule.hops.isEmpty,
      !faulty.contains("\(path).hops"), !isRunning
    {
      error(
        fields["hops"]?.place ?? node.place,
        "`then: forwarded` needs `hops`: the proxies whose field is read; without them each of them is taken for the client "
          + "itself")
    }
    let readsField = evidence == .forwarded || fields["then"] != nil
    for key in ["header", "hops"] {
      if let node = fields[key], let evidence, !readsField {
        let suggestion =
          evidence == .proxyProtocol ? "or with `then: forwarded`" : "or `proxy-protocol` with `then: forwarded`"
        error(node.place, "`\(key)` is only used with `evidence: forwarded`, \(suggestion)")
      }
    }
    if let node = fields["scheme"] {
      if let scheme: Config.Scheme = word(node, "\(path).scheme") { rule.scheme = scheme }
      switch evidence {
      case .attested: error(node.place, "`scheme` is not used with `evidence: attested`: the edge has signed it")
      case .refuse: error(node.place, "`scheme` is not used with `evidence: refuse`")
      case .socket, .proxyProtocol, .forwarded, nil: break
      }
    }
    if let node = fields["proxy_protocol"] {
      rule.proxyProtocolRequired = word(node, "\(path).proxy_protocol", of: ["off", "required"]) == 1
      if let evidence, evidence != .attested {
        let suggestion =
          evidence == .socket ? "; a PROXY header from a load balancer is `evidence: proxy-protocol`" : ""
        error(node.place, "`proxy_protocol` is only used with `evidence: attested`\(suggestion)")
      }
    }
    if let node = fields["cutover"] {
      rule.cutoverEndMilliseconds = cutover(node, "\(path).cutover")
      if let evidence, evidence != .proxyProtocol {
        error(node.place, "`cutover` is only used with `evidence: proxy-protocol`")
      }
    }
    if let from, let evidence { exposure(evidence, from, fields, isUnix: isUnix) }
    return evidence == nil || from == nil ? nil : rule
  }

  /// Until when a peer may come without its header.
  private mutating func cutover(_ node: YAMLNode, _ path: String) -> UInt64? {
    let required = [
      (key: "also", what: "what a peer is without its header: `socket`, the client itself"),
      (key: "until", what: "when that ends, such as `\"2026-12-01T00:00:00Z\"`"),
    ]
    guard let fields = fields(node, path, keys: ["also", "until"], required: required) else { return nil }
    if let node = fields["also"] { _ = word(node, "\(path).also", of: ["socket"]) }
    guard let node = fields["until"] else { return nil }
    let expected = "a time in UTC such as `2026-12-01T00:00:00Z`"
    guard let text = text(node, "\(path).until", expected: expected) else { return nil }
    guard let time = Timestamp.milliseconds(text) else { return wrong(node, "\(path).until", expected: expected) }
    return time
  }

  private mutating func header(_ node: YAMLNode, _ path: String) -> Config.ForwardedHeader? {
    let names = Config.ForwardedHeader.allCases
    return word(node, path, of: names.map(\.rawValue), ignoresCase: true).map { names[$0] }
  }

  /// Empty means `any`.
  private mutating func from(
    _ node: YAMLNode, _ path: String, taken: inout [IPPrefix?: Place]
  ) -> [(prefix: IPPrefix, place: Place)]? {
    if isWord(node, "any") {
      claim(nil, node.place, &taken)
      return []
    }
    if case .sequence(let nodes) = node.value {
      if nodes.isEmpty {
        faulty.insert(path)
        error(node.place, "expected `\(path)` to hold at least one range; for all peers write `any`")
        return nil
      }
      for element in nodes {
        guard isWord(element, "any") else { continue }
        guard nodes.count == 1 else {
          faulty.insert(path)
          error(element.place, "`any` holds every peer and stands alone")
          return nil
        }
        claim(nil, element.place, &taken)
        return []
      }
    }
    if case .scalar(let text, plain: _) = node.value, let suggestion = Spelling.nearest(to: text, among: ["any"]),
      IPAddress(text) == nil
    {
      return wrong(node, path, expected: "`any`, or ranges such as `[10.0.0.0/8]`", suggestion: suggestion)
    }
    guard let ranges = prefixes(node, path), !faulty.contains(path) else { return nil }
    for (prefix, place) in ranges { claim(prefix, place, &taken) }
    return ranges
  }

  private mutating func claim(_ prefix: IPPrefix?, _ place: Place, _ taken: inout [IPPrefix?: Place]) {
    let name = prefix.map { "`\($0)`" } ?? "`any`"
    if let earlier = taken[prefix] {
      error(place, "\(name) has a rule in \(spot(earlier, from: place)) already; one range has one rule")
    }
    taken[prefix] = place
  }

  /// Who could claim what.
  private mutating func exposure(
    _ evidence: Config.Evidence, _ from: [(prefix: IPPrefix, place: Place)], _ fields: Fields, isUnix: Bool
  ) {
    let open: Place? = from.isEmpty ? fields["from"]?.place : from.first { $0.prefix.length == 0 }?.place
    // Who may open a unix socket is settled by the file's permissions.
    guard let place = open, !isUnix else { return }
    switch evidence {
    case .forwarded:
      error(
        place,
        "`evidence: forwarded` from everywhere lets anybody claim any address: name the proxies' own addresses in "
          + "`from`"
      )
    case .proxyProtocol:
      warn(
        place,
        "`evidence: proxy-protocol` from everywhere lets whoever reaches this port claim any address: name the load "
          + "balancers' own addresses in `from`")
    case .socket, .attested, .refuse: break
    }
  }
}
