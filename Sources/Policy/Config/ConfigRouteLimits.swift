// What a route grants and demands beyond where it leads: times, sizes and rates of its own, and who may take it at all.
// docs/CONFIG.md ("Limits of a route", "Access") is the manual.

import Wire

extension Config {
  /// What a route has of its own; nil: as `timeouts` and `limits` say for all.
  package struct RouteLimits: Sendable, Equatable {
    package var idleMilliseconds: Int?
    package var upstreamConnectMilliseconds: Int?
    package var upstreamResponseMilliseconds: Int?
    package var tunnelMilliseconds: Int?
    /// 0: no limit.
    package var bodyBytes: Int?
    package var rate: Rate?
    package init() {}
  }

  /// So many requests in so much time, for each client.
  package struct Rate: Sendable, Equatable {
    package var requests: Int
    package var period: RatePeriod
    /// How many may come at once after a pause.
    package var burst: Int
    package var key = Key.client

    package init(requests: Int, period: RatePeriod, burst: Int) {
      self.requests = requests
      self.period = period
      self.burst = burst
    }

    package enum Key: Sendable, Equatable {
      /// The settled client: an IPv4 address, or the /64 of an IPv6 address.
      case client
      /// The network around it: an IPv4 /24, an IPv6 /48.
      case clientSubnet
      /// The value of a request field.
      case header(String)
    }
  }

  package enum RatePeriod: String, Sendable, CaseIterable {
    case second = "s", minute = "m", hour = "h"

    package var microseconds: UInt64 {
      switch self {
      case .second: 1_000_000
      case .minute: 60_000_000
      case .hour: 3_600_000_000
      }
    }
  }

  /// Who may take a route.
  package struct Access: Sendable, Equatable {
    /// Where there are any, all others are denied.
    package var allow: [IPPrefix] = []
    package var deny: [IPPrefix] = []
    package var basic: BasicAuthentication?
    package init() {}
  }

  /// Names and passwords (RFC 7617).
  package struct BasicAuthentication: Sendable, Equatable {
    /// Path of the htpasswd file, made absolute.
    package var htpasswd: String
    package var realm = "restricted"
    /// The upstream gets the field too.
    package var passesCredentials = false
    package init(htpasswd: String) { self.htpasswd = htpasswd }
  }
}

extension Reading {
  static let routeLimitKeys = ["timeouts", "limits", "access", "error_pages"]

  mutating func routeLimits(_ fields: Fields, _ route: inout Config.Route) {
    if let node = fields["timeouts"] { routeTimeouts(node, fields.path("timeouts"), &route.limits) }
    if let node = fields["limits"] { routeLimits(node, fields.path("limits"), &route.limits) }
    if let node = fields["access"] { route.access = access(node, fields.path("access")) }
    if let node = fields["error_pages"] {
      let path = fields.path("error_pages")
      route.errorPages = errorPages(node, path)
      if case .sequence(let pages) = node.value, pages.isEmpty {
        error(node.place, "`\(path)` is empty, and would leave the pages of the configuration in use; leave it out")
      }
    }
  }

  /// Times that begin before a request has a route are not here.
  private mutating func routeTimeouts(_ node: YAMLNode, _ path: String, _ limits: inout Config.RouteLimits) {
    let keys = ["idle", "upstream_connect", "upstream_response", "tunnel"]
    guard let fields = fields(node, path, keys: keys) else { return }
    let day = 24 * 3_600_000
    limits.idleMilliseconds = fields["idle"].flatMap { duration($0, fields.path("idle"), 1...day) }
    limits.upstreamConnectMilliseconds = fields["upstream_connect"].flatMap {
      duration($0, fields.path("upstream_connect"), 1...10 * 60_000)
    }
    limits.upstreamResponseMilliseconds = fields["upstream_response"].flatMap {
      duration($0, fields.path("upstream_response"), 1...day)
    }
    limits.tunnelMilliseconds = fields["tunnel"].flatMap { duration($0, fields.path("tunnel"), 1...30 * day) }
  }

  private mutating func routeLimits(_ node: YAMLNode, _ path: String, _ limits: inout Config.RouteLimits) {
    guard let fields = fields(node, path, keys: ["body", "rate"]) else { return }
    limits.bodyBytes = fields["body"].flatMap { size($0, fields.path("body"), 0...1 << 40) }
    limits.rate = fields["rate"].flatMap { rate($0, fields.path("rate")) }
  }

  // MARK: Rates

  /// In requests a second; also the least time that the limiter tells apart.
  private static let rateMax = 10_000
  /// How long a burst may take to be earned anew.
  private static let burstMicrosecondsMax: UInt64 = 24 * 3_600_000_000

  private mutating func rate(_ node: YAMLNode, _ path: String) -> Config.Rate? {
    let required = [(key: "requests", what: "how many in what time, such as `20/s`")]
    guard let fields = fields(node, path, keys: ["requests", "burst", "key"], required: required) else { return nil }
    let key = fields["key"].map { rateKey($0, fields.path("key")) } ?? .client
    let burst = fields["burst"].flatMap { count($0, fields.path("burst"), 1...1_000_000) }
    guard let node = fields["requests"], let (requests, period) = requestsInTime(node, fields.path("requests")) else {
      return nil
    }
    var rate = Config.Rate(requests: requests, period: period, burst: burst ?? requests)
    rate.key = key
    if UInt64(rate.burst) * (period.microseconds / UInt64(requests)) > Self.burstMicrosecondsMax {
      let place = (fields["burst"] ?? node).place
      error(
        place, "a burst of \(rate.burst) at \(requests)/\(period.rawValue) takes longer than a day to be earned anew")
    }
    return rate
  }

  /// `20/s`.
  private mutating func requestsInTime(_ node: YAMLNode, _ path: String) -> (Int, Config.RatePeriod)? {
    let periods = Config.RatePeriod.allCases.map(\.rawValue)
    let expected = "requests in a time, such as `20/s` (\(list(periods.map { "/\($0)" }))), at most \(Self.rateMax)/s"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard let (requests, rest) = Unit.split(text), requests > 0 else { return wrong(node, path, expected: expected) }
    guard rest.hasPrefix("/"), let period = Config.RatePeriod(rawValue: String(rest.dropFirst())) else {
      let word = rest.drop { !$0.isLetter }.lowercased()
      let suggestion = Config.RatePeriod.allCases.first { word.hasPrefix($0.rawValue) && !word.hasPrefix("ms") }
      return wrong(
        node, path, expected: expected,
        suggestion: rest.isEmpty ? "\(requests)/s" : suggestion.map { "\(requests)/\($0.rawValue)" })
    }
    guard requests <= Self.rateMax * Int(period.microseconds / 1_000_000), requests <= 1_000_000 else {
      return wrong(node, path, expected: expected)
    }
    return (requests, period)
  }

  private mutating func rateKey(_ node: YAMLNode, _ path: String) -> Config.Rate.Key {
    if case .mapping = node.value {
      let required = [(key: "header", what: "the name of a request field")]
      guard let fields = fields(node, path, keys: ["header"], required: required), let name = fields["header"],
        let header = fieldName(name, fields.path("header"))
      else { return .client }
      return .header(header)
    }
    let words = ["client", "client_subnet"]
    let expected = "\(list(words)) or `{ header: NAME }`"
    guard let text = text(node, path, expected: expected) else { return .client }
    guard let index = words.firstIndex(of: text) else {
      let _: Int? = wrong(node, path, expected: expected, suggestion: Spelling.nearest(to: text, among: words))
      return .client
    }
    return index == 0 ? .client : .clientSubnet
  }

  /// A request field that is nothing to us, in lower case. One that speaks of the client would have whoever writes it counted as he likes,
  /// where the count is meant to be of clients.
  private mutating func fieldName(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "the name of a request field, such as `X-Api-Key`, of at most \(FieldNames.claimBytesMax) bytes"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard text.utf8.count <= FieldNames.claimBytesMax, FieldNames.fold(text) != nil else {
      return wrong(node, path, expected: expected)
    }
    switch FieldNames(claims: config.identity.claims).kind(of: text) {
    case .other: break
    case _ where isRunning: break
    case let kind where kind.isIdentity || kind == .claim:
      error(
        node.place,
        "\(quoted(text)) is what a client says of itself, or what is removed as that; `key: client` counts by the settled "
          + "client")
    default: error(node.place, "\(quoted(text)) is read by rules of its own, and cannot be a key")
    }
    return text.lowercased()
  }

  // MARK: Access

  private mutating func access(_ node: YAMLNode, _ path: String) -> Config.Access {
    var access = Config.Access()
    let keys = ["allow", "deny", "htpasswd", "realm", "pass_credentials"]
    guard let fields = fields(node, path, keys: keys) else { return access }
    if let node = fields["allow"] { access.allow = ranges(node, fields.path("allow"), whenEmpty: "nobody is allowed") }
    if let node = fields["deny"] { access.deny = ranges(node, fields.path("deny"), whenEmpty: "nobody is denied") }
    for (index, prefix) in access.deny.enumerated() where access.allow.contains(prefix) {
      error(
        config.place(of: "\(fields.path("deny"))[\(index)]"),
        "`\(prefix)` is allowed as well: a range is one or the other")
    }
    if let node = fields["htpasswd"],
      let file = file(node, fields.path("htpasswd"), what: "the path of an htpasswd file")
    {
      access.basic = Config.BasicAuthentication(htpasswd: file)
    }
    if let node = fields["realm"], let realm = realm(node, fields.path("realm")) { access.basic?.realm = realm }
    if let node = fields["pass_credentials"], let truth = truth(node, fields.path("pass_credentials")) {
      access.basic?.passesCredentials = truth
    }
    for key in ["realm", "pass_credentials"] where fields["htpasswd"] == nil {
      if let node = fields[key] { error(node.place, "`\(key)` is only used with `htpasswd`") }
    }
    if keys.allSatisfy({ fields[$0] == nil }), !node.isRefused {
      error(node.place, "`\(path)` says nothing: give `allow`, `deny` or `htpasswd`, or leave it out")
    }
    return access
  }

  private mutating func ranges(_ node: YAMLNode, _ path: String, whenEmpty: String) -> [IPPrefix] {
    guard let ranges = prefixes(node, path) else { return [] }
    if ranges.isEmpty, !faulty.contains(path) { error(node.place, "`\(path)` is empty: \(whenEmpty); leave it out") }
    return ranges.map(\.prefix)
  }

  /// It stands in a quoted string (RFC 9110 section 5.6.4), and browsers show it.
  private mutating func realm(_ node: YAMLNode, _ path: String) -> String? {
    let expected =
      "a name to show to people, of 1 to 64 visible ASCII characters and spaces, without quotes and backslashes"
    guard let text = text(node, path, expected: expected) else { return nil }
    let isFit = text.utf8.allSatisfy { (0x20...0x7e).contains($0) && $0 != 0x22 && $0 != 0x5c }
    guard isFit, (1...64).contains(text.utf8.count) else { return wrong(node, path, expected: expected) }
    return text
  }
}

extension Config.Route {
  /// What is written of a route's limits with every default filled in: `key: value`.
  var limitPairs: [String] {
    var pairs: [String] = []
    let times = [
      ("idle", limits.idleMilliseconds), ("upstream_connect", limits.upstreamConnectMilliseconds),
      ("upstream_response", limits.upstreamResponseMilliseconds), ("tunnel", limits.tunnelMilliseconds),
    ].compactMap { key, value in value.map { "\(key): \(Unit.duration($0))" } }
    if !times.isEmpty { pairs.append("timeouts: { \(times.joined(separator: ", ")) }") }
    var own: [String] = []
    if let bytes = limits.bodyBytes { own.append("body: \(Unit.size(bytes))") }
    if let rate = limits.rate {
      let key =
        switch rate.key {
        case .client: "client"
        case .clientSubnet: "client_subnet"
        case .header(let name): "{ header: \(Resolved.quote(name)) }"
        }
      own.append("rate: { requests: \(rate.requests)/\(rate.period.rawValue), burst: \(rate.burst), key: \(key) }")
    }
    if !own.isEmpty { pairs.append("limits: { \(own.joined(separator: ", ")) }") }
    var rules: [String] = []
    if !access.allow.isEmpty { rules.append("allow: \(Resolved.list(access.allow))") }
    if !access.deny.isEmpty { rules.append("deny: \(Resolved.list(access.deny))") }
    if let basic = access.basic {
      rules.append("htpasswd: \(Resolved.quote(basic.htpasswd)), realm: \(Resolved.quote(basic.realm))")
      rules.append("pass_credentials: \(basic.passesCredentials)")
    }
    if !rules.isEmpty { pairs.append("access: { \(rules.joined(separator: ", ")) }") }
    if !errorPages.isEmpty { pairs.append("error_pages: \(Config.ErrorPage.resolved(errorPages))") }
    return pairs
  }
}
