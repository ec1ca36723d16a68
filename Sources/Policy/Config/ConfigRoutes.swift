// `routes`: which requests each is for, and where they go. What answers them here is read in ConfigRouteAnswers, what is changed about
// them in ConfigRouteChanges. Names and paths are literal; what looks like a pattern is an error that says what to write.

import Wire

extension Reading {
  private static let routeKeys =
    [
      "listener", "host", "host_regex", "path", "path_prefix", "path_regex", "method", "header", "client", "normalize",
      "to", "redirect", "respond", "files", "name", "enabled", "needs_distinct_clients", "strip_prefix", "rewrite",
      "request_headers", "response_headers", "hsts", "compress",
    ] + routeLimitKeys
  /// What a route's requests come to.
  private static let goals = ["to", "redirect", "respond", "files"]
  private static let routeClientsMax = 1_000

  mutating func routes(_ node: YAMLNode) {
    guard let nodes = elements(node, "routes", of: "mappings such as `{ host: …, path_prefix: …, to: … }`") else {
      return
    }
    if nodes.isEmpty { error(node.place, "expected at least one route, such as `{ to: NAME }`") }
    for (index, node) in nodes.enumerated() { config.routes.append(route(node, "routes[\(index)]")) }
  }

  private mutating func route(_ node: YAMLNode, _ path: String) -> Config.Route {
    var route = Config.Route(to: "")
    route.place = node.place
    guard let fields = fields(node, path, keys: Self.routeKeys) else { return route }
    route.match = match(fields)
    goal(of: &route, fields)
    if let node = fields["name"] { route.name = name(node, "\(path).name", .name) }
    if let node = fields["enabled"], let truth = truth(node, "\(path).enabled") { route.isEnabled = truth }
    if let node = fields["needs_distinct_clients"], let truth = truth(node, "\(path).needs_distinct_clients") {
      route.needsDistinctClients = truth
    }
    route.changes = changes(fields, of: route)
    if let node = fields["compress"] { route.compression = compression(node, beside: fields, of: route) }
    routeLimits(fields, &route)
    return route
  }

  private mutating func goal(of route: inout Config.Route, _ fields: Fields) {
    let given = Self.goals.filter { fields[$0] != nil }
    if given.isEmpty, !Self.goals.contains(where: { faulty.contains(fields.path($0)) }) {
      faulty.insert(fields.path("to"))
      error(
        fields.place,
        "`\(fields.path)` lacks `to`: the name of an upstream; or `redirect`, `respond`, `files`, which answer here")
    }
    if let second = given.dropFirst().first, let node = fields[second] {
      error(node.place, "`\(second)` beside `\(given[0])`: a route has one of \(list(Self.goals))")
    }
    if let node = fields["to"] {
      route.to = text(node, fields.path("to"), expected: "an upstream's name") ?? ""
      if route.to.isEmpty { faulty.insert(fields.path("to")) }
    }
    if let node = fields["redirect"] { route.answer = redirect(node, beside: fields, of: route.match) }
    if let node = fields["respond"] { route.answer = respond(node, fields.path("respond")) }
    if let node = fields["files"] { route.answer = files(node, beside: fields, of: route.match) }
  }

  // MARK: Match

  private mutating func match(_ fields: Fields) -> Config.RouteMatch {
    var match = Config.RouteMatch()
    if let node = fields["listener"],
      let nodes = elements(node, fields.path("listener"), of: "listeners' names", orOne: true)
    {
      if nodes.isEmpty {
        error(
          node.place,
          "expected `\(fields.path("listener"))` to hold at least one listener's name; for all, leave it out")
      }
      match.listeners = nodes.compactMap { name($0, fields.path("listener"), .name, what: "a listener's name") }
    }
    onlyOne(of: ["host", "host_regex"], fields)
    if let node = fields["host"] { match.host = routeHost(node, fields.path("host")) }
    if let node = fields["host_regex"] {
      match.host = pattern(node, fields.path("host_regex")).map { .pattern($0) }
    }
    onlyOne(of: ["path", "path_prefix", "path_regex"], fields)
    if let node = fields["path"] { match.path = routePath(node, fields.path("path")).map { .exact($0) } }
    if let node = fields["path_prefix"] {
      match.path = routePath(node, fields.path("path_prefix")).map { .prefix($0) }
    }
    if let node = fields["path_regex"] {
      match.path = pattern(node, fields.path("path_regex")).map { .pattern($0) }
    }
    if let node = fields["method"] { match.methods = methods(node, fields.path("method")) }
    if let node = fields["header"] { match.headers = headerMatches(node, fields.path("header")) }
    if let node = fields["client"], let ranges = prefixes(node, fields.path("client")) {
      match.clients = ranges.map(\.prefix)
      if ranges.isEmpty, !faulty.contains(fields.path("client")) {
        error(node.place, "expected `\(fields.path("client"))` to hold at least one range")
      }
      if ranges.count > Self.routeClientsMax {
        error(node.place, "expected at most \(Self.routeClientsMax) ranges in `\(fields.path("client"))`")
      }
    }
    if let node = fields["normalize"], let truth = truth(node, fields.path("normalize")) {
      match.normalizes = truth
      if truth { checkNormal(match, node, fields) }
    }
    return match
  }

  private mutating func onlyOne(of keys: [String], _ fields: Fields) {
    let given = keys.filter { fields[$0] != nil }
    guard let second = given.dropFirst().first, let node = fields[second] else { return }
    error(node.place, "`\(second)` beside `\(given[0])`: a route has one of \(list(keys))")
  }

  /// What is matched in normal form is written in it.
  private mutating func checkNormal(_ match: Config.RouteMatch, _ node: YAMLNode, _ fields: Fields) {
    let literal: String
    switch match.path {
    case .exact(let path), .prefix(let path): literal = path
    case .pattern: return
    case nil:
      if !["path", "path_prefix", "path_regex"].contains(where: { faulty.contains(fields.path($0)) }) {
        error(node.place, "`normalize` is only used with `path`, `path_prefix` or `path_regex`")
      }
      return
    }
    let normal = NormalPath.of(literal)
    guard normal != literal else { return }
    let key = fields["path"] == nil ? "path_prefix" : "path"
    error(
      fields[key]?.place ?? node.place,
      "with `normalize: true` the path is written in its normal form: did you mean `\(key): \(normal)`?")
  }

  // MARK: Literals

  /// What patterns are made of, and neither names nor paths have.
  private static let patternBytes = Set("\\()[]{}^$|*?".utf8)

  private static func looksLikePattern(_ text: String) -> Bool {
    text.utf8.contains(where: patternBytes.contains) || text.contains(".+")
  }

  /// In single quotes, in which YAML takes nothing away.
  private static func yaml(_ text: String) -> String { "'\(text.replacing("'", with: "''"))'" }

  /// A name, or `*.` and a name; an address as `Host` has it.
  mutating func routeHost(_ node: YAMLNode, _ path: String) -> Config.RouteMatch.Host? {
    let expected = "a host name such as `www.example.com` or `*.example.com`, without a port"
    guard let text = text(node, path, expected: expected) else { return nil }
    let lower = text.lowercased()
    let name = lower.hasPrefix("*.") ? String(lower.dropFirst(2)) : lower
    if lower.hasPrefix("*."), Self.isHostName(name) { return .below(name) }
    if Self.isHostName(lower) || IPAddress(lower)?.family == .v4 { return .name(lower) }
    if lower.hasPrefix("["), lower.hasSuffix("]"), let address = IPAddress(String(lower.dropFirst().dropLast())),
      address.family == .v6
    {
      return .name(lower)
    }
    guard Self.looksLikePattern(text) else {
      if let host = Self.hostOfURL(lower) { return wrong(node, path, expected: expected, suggestion: host) }
      let withoutPort = lower.split(separator: ":", maxSplits: 1).first.map(String.init) ?? ""
      return wrong(
        node, path, expected: expected,
        suggestion: withoutPort != lower && Self.isHostName(withoutPort) ? withoutPort : nil)
    }
    faulty.insert(path)
    let literal = LiteralPrefix(of: lower)
    let plain = String(decoding: literal.bytes, as: UTF8.self)
    let isName = literal.rest == .nothing && Self.isHostName(plain)
    error(
      node.place,
      "`\(path)` is taken literally, and \(quoted(text)) looks like a pattern: write "
        + (isName ? "`host: \(plain)`, or " : "") + "`host_regex: \(Self.yaml(text))`"
        + (isName ? " for the pattern" : ""))
    return nil
  }

  /// Compared byte for byte with the path of a request.
  mutating func routePath(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a path such as `/api/`, of at most 1024 visible ASCII characters, taken literally"
    guard let text = text(node, path, expected: expected) else { return nil }
    if Self.looksLikePattern(text) {
      faulty.insert(path)
      let better = Self.literalPath(text).map { "`\($0)`, or " } ?? ""
      error(
        node.place,
        "`\(path)` is taken literally, and \(quoted(text)) looks like a pattern: write \(better)`path_regex: "
          + "\(Self.yaml(text))`\(better.isEmpty ? "" : " for the pattern")")
      return nil
    }
    guard text.utf8.count <= 1024, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x23 }) else {
      let encoded = text.utf8.map {
        (0x21...0x7e).contains($0) && $0 != 0x23 ? String(UnicodeScalar($0)) : Self.escape($0)
      }
      return wrong(
        node, path, expected: expected, suggestion: text.utf8.count <= 300 ? encoded.joined() : nil)
    }
    return text.hasPrefix("/") ? text : wrong(node, path, expected: expected, suggestion: "/\(text)")
  }

  private static func escape(_ byte: UInt8) -> String {
    let hex = String(byte, radix: 16, uppercase: true)
    return "%" + (hex.count < 2 ? "0" : "") + hex
  }

  /// What says the same as a pattern, or what a wildcard is meant to; nil where nothing does.
  private static func literalPath(_ text: String) -> String? {
    for (end, isBelow) in [("(/.*)?", false), ("/.*", true), ("/*", true), ("", false)] where text.hasSuffix(end) {
      let front = String(text.dropLast(end.count))
      let literal = LiteralPrefix(of: front)
      let plain = String(decoding: literal.bytes, as: UTF8.self) + (isBelow ? "/" : "")
      guard literal.rest == .nothing || front.isEmpty, plain.hasPrefix("/"), !looksLikePattern(plain) else { continue }
      return end.isEmpty ? "path: \(plain)" : "path_prefix: \(plain)"
    }
    return nil
  }

  // MARK: Methods and fields

  private mutating func methods(_ node: YAMLNode, _ path: String) -> [String] {
    let expected = "a method such as `GET`"
    guard let nodes = elements(node, path, of: "methods", orOne: true) else { return [] }
    if nodes.isEmpty { error(node.place, "expected `\(path)` to hold at least one method") }
    var methods: [String] = []
    for node in nodes {
      guard let text = text(node, path, expected: expected) else { continue }
      let upper = text.uppercased()
      guard FieldNames.isToken(text), text.utf8.count <= 32, text == upper else {
        let _: String? = wrong(
          node, path, expected: "\(expected), in capitals", suggestion: FieldNames.isToken(text) ? upper : nil)
        continue
      }
      if ["CONNECT", "TRACE"].contains(text) {
        error(node.place, "\(text) is always refused, before a route is found")
      }
      if methods.contains(text) { error(node.place, "the method \(quoted(text)) is given twice") }
      methods.append(text)
    }
    return methods
  }

  private mutating func headerMatches(_ node: YAMLNode, _ path: String) -> [Config.RouteMatch.Header] {
    let nodes: [YAMLNode]
    var isOne = false
    if case .mapping = node.value {
      nodes = [node]
      isOne = true
    } else if let all = elements(node, path, of: "mappings such as `{ name: X-Canary, value: \"1\" }`") {
      nodes = all
    } else {
      return []
    }
    if nodes.isEmpty || nodes.count > 16 { error(node.place, "expected 1 to 16 fields in `\(path)`") }
    let names = FieldNames(claims: config.identity.claims)
    return nodes.enumerated().compactMap { index, node in
      let path = isOne ? path : "\(path)[\(index)]"
      let required = [(key: "name", what: "the name of a request field, such as `X-Canary`")]
      guard let fields = fields(node, path, keys: ["name", "value"], required: required),
        let name = fields["name"].flatMap({ token($0, "\(path).name", "the name of a request field", 64) })
      else { return nil }
      switch names.kind(of: name) {
      case .other: break
      case let kind where kind.isIdentity || kind == .claim:
        error(
          fields["name"]?.place ?? node.place,
          "\(quoted(name)) is what a client says of itself, or what is removed as that; `client` asks for the settled client"
        )
      default:
        error(fields["name"]?.place ?? node.place, "\(quoted(name)) is read by rules of its own, and cannot be matched")
      }
      let value = fields["value"].flatMap { fieldText($0, "\(path).value", what: "a field's whole value") }
      return Config.RouteMatch.Header(
        name: name, value: value, written: fields["value"].flatMap { reference(in: $0) })
    }
  }

  /// Text that can stand in a field: printable ASCII.
  mutating func fieldText(_ node: YAMLNode, _ path: String, what: String, isTemplate: Bool = false) -> String? {
    let expected = "\(what), of at most 1024 printable ASCII characters"
    guard let written = verbatim(node, path, expected: expected),
      let text = expanded(written, node, path, isTemplate: isTemplate)
    else { return nil }
    let isText = text.utf8.allSatisfy { (0x20...0x7e).contains($0) } && !text.hasPrefix(" ") && !text.hasSuffix(" ")
    return isText && text.utf8.count <= 1024 ? text : wrong(node, path, expected: expected)
  }
}
