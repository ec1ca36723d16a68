// What a route changes about requests and responses on their way, and `headers`, which holds for all routes. No change may touch a field
// that speaks of the client, or one that decides where a message ends.

import Wire

extension Reading {
  private static let changedFieldsMax = 32
  /// Fixed text of all fields that are set and added on one side: buffers have room for it beside a head.
  private static let addedBytesMax = 1_024

  mutating func changes(_ fields: Fields, of route: Config.Route) -> Config.RouteChanges {
    var changes = Config.RouteChanges()
    for key in ["strip_prefix", "rewrite", "request_headers"] where route.answer != nil {
      if let node = fields[key] { error(node.place, "`\(key)` is only used with `to`: this route answers by itself") }
    }
    if let node = fields["strip_prefix"] {
      changes.stripPrefix = stripPrefix(node, fields, of: route.match)
    }
    if let node = fields["rewrite"] {
      changes.rewrite = pathTemplate(node, fields.path("rewrite"), beside: fields, of: route.match)
      if fields["strip_prefix"] != nil { error(node.place, "`rewrite` beside `strip_prefix`: a route has one of them") }
    }
    if let node = fields["request_headers"] {
      changes.request = fieldChanges(node, fields.path("request_headers"), isResponse: false)
    }
    if let node = fields["response_headers"] {
      changes.response = fieldChanges(node, fields.path("response_headers"), isResponse: true)
    }
    if let node = fields["hsts"] {
      changes.hsts = hsts(node, fields.path("hsts"))
      var names = changes.response.set.map(\.name) + changes.response.add.map(\.name) + changes.response.remove
      if case .respond(let respond)? = route.answer { names += respond.headers.map(\.name) }
      if names.contains(where: { FieldNames.fold($0) == "strict-transport-security" }) {
        error(node.place, "`hsts` beside a change of Strict-Transport-Security: a route has one of them")
      }
    }
    return changes
  }

  /// It must be what every path of the route begins with, so that nothing is left to decide for a request.
  private mutating func stripPrefix(_ node: YAMLNode, _ fields: Fields, of match: Config.RouteMatch) -> String? {
    let path = fields.path("strip_prefix")
    guard let text = routePath(node, path) else { return nil }
    let prefix = text.hasSuffix("/") ? String(text.dropLast()) : text
    guard !prefix.isEmpty else {
      error(node.place, "`strip_prefix: /` takes nothing away; leave it out")
      return nil
    }
    guard case .prefix(let own)? = match.path else {
      if faulty.contains(fields.path("path_prefix")) { return nil }
      error(node.place, "`strip_prefix` needs a `path_prefix` beside it that begins with it")
      return nil
    }
    guard own == prefix || own.hasPrefix(prefix + "/") else {
      let better = own.hasSuffix("/") ? String(own.dropLast()) : own
      return wrong(
        node, path, expected: "what the route's `path_prefix` begins with",
        suggestion: better.isEmpty ? nil : better)
    }
    return prefix
  }

  private mutating func fieldChanges(_ node: YAMLNode, _ path: String, isResponse: Bool) -> Config.FieldChanges {
    var changes = Config.FieldChanges()
    guard let fields = fields(node, path, keys: ["set", "add", "remove"]) else { return changes }
    if let node = fields["set"] { changes.set = fieldValues(node, "\(path).set", isResponse: isResponse) }
    if let node = fields["add"] { changes.add = fieldValues(node, "\(path).add", isResponse: isResponse) }
    if let node = fields["remove"], let nodes = elements(node, "\(path).remove", of: "names of fields", orOne: true) {
      for node in nodes {
        guard let name = changedField(node, node.place, "\(path).remove", isResponse: isResponse) else { continue }
        if changes.remove.contains(where: { $0.lowercased() == name.lowercased() }) {
          error(node.place, "the field \(quoted(name)) is given twice")
        }
        changes.remove.append(name)
      }
    }
    for name in changes.remove
    where (changes.set + changes.add).contains(where: { $0.name.lowercased() == name.lowercased() }) {
      error(node.place, "\(quoted(name)) is removed and written in `\(path)`; `set` does both")
    }
    if changes.set.count + changes.add.count + changes.remove.count > Self.changedFieldsMax {
      error(node.place, "expected at most \(Self.changedFieldsMax) fields in `\(path)`")
    }
    let bytes = (changes.set + changes.add).reduce(0) { $0 + $1.name.utf8.count + $1.value.source.utf8.count + 4 }
    if bytes > Self.addedBytesMax {
      error(node.place, "expected at most \(Self.addedBytesMax) bytes of fields in `\(path)`, found \(bytes)")
    }
    return changes
  }

  /// A mapping from names to values.
  mutating func fieldValues(_ node: YAMLNode, _ path: String, isResponse: Bool) -> [Config.FieldValue] {
    config.places[path] = node.place
    guard case .mapping(let pairs) = node.value else {
      return wrong(node, path, expected: "a mapping from names of fields to their values") ?? []
    }
    var values: [Config.FieldValue] = []
    for pair in pairs {
      let key = YAMLNode(place: pair.place, value: .scalar(pair.key, plain: false))
      guard let name = changedField(key, pair.place, path, isResponse: isResponse),
        let text = fieldText(pair.value, "\(path).\(name)", what: "a field's value", isTemplate: true)
      else { continue }
      if values.contains(where: { $0.name.lowercased() == name.lowercased() }) {
        error(pair.place, "the field \(quoted(name)) is given twice")
      }
      do throws(FieldTemplate.Fault) {
        values.append(
          Config.FieldValue(name: name, value: try FieldTemplate(text, .field), written: reference(in: pair.value)))
      } catch {
        faulty.insert(path)
        self.error(pair.value.place, "`\(path).\(name)` has \(error.message)")
      }
    }
    return values
  }

  /// The name of a field that may be changed.
  private mutating func changedField(
    _ node: YAMLNode, _ place: Place, _ path: String, isResponse: Bool
  ) -> String? {
    let expected = "the name of a field, of at most 64 bytes"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard FieldNames.isToken(text), text.utf8.count <= 64 else { return wrong(node, path, expected: expected) }
    let kind = FieldNames(claims: config.identity.claims).kind(of: text)
    switch kind {
    case .other: break
    case .server where isResponse: break
    case _ where kind.isIdentity || kind == .claim:
      error(
        place,
        "\(quoted(text)) speaks of the client, and only the upstream's `identity` decides what is said of it; no route can write or remove it"
      )
      return nil
    default:
      error(place, "\(quoted(text)) is written by rules of its own, and cannot be changed")
      return nil
    }
    return text
  }

  // MARK: hsts

  private mutating func hsts(_ node: YAMLNode, _ path: String) -> Config.HSTS? {
    guard case .mapping = node.value else { return maxAge(node, path).map { Config.HSTS(seconds: $0) } }
    let required = [(key: "max_age", what: "how long browsers remember it, such as `180d`")]
    guard
      let fields = fields(
        node, path, keys: ["max_age", "include_subdomains", "preload"], required: required),
      let seconds = fields["max_age"].flatMap({ maxAge($0, "\(path).max_age") })
    else { return nil }
    var hsts = Config.HSTS(seconds: seconds)
    if let node = fields["include_subdomains"], let truth = truth(node, "\(path).include_subdomains") {
      hsts.includesSubdomains = truth
    }
    if let node = fields["preload"], let truth = truth(node, "\(path).preload") { hsts.isPreloaded = truth }
    return hsts
  }

  /// In seconds. Days, which no other duration has.
  private mutating func maxAge(_ node: YAMLNode, _ path: String) -> Int? {
    let expected = "a duration from 0 to 730d, with a unit (`s`, `m`, `h`, `d`)"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard let (number, unit) = Unit.split(text) else { return wrong(node, path, expected: expected) }
    if number == 0, unit.isEmpty { return 0 }
    let seconds = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
    guard let factor = seconds[unit] else {
      return wrong(
        node, path, expected: expected,
        suggestion: unit.isEmpty ? "\(number)s" : ["days", "day"].contains(unit) ? "\(number)d" : nil)
    }
    guard number <= 730 * 86_400 / factor else { return wrong(node, path, expected: expected) }
    return number * factor
  }

  // MARK: headers

  mutating func headers(_ node: YAMLNode) {
    guard let fields = fields(node, "headers", keys: ["request_id", "server", "via"]) else { return }
    if let node = fields["request_id"], let mode: Config.RequestIDMode = word(node, "headers.request_id") {
      config.headers.requestID = mode
    }
    if let node = fields["server"],
      let text = fieldText(node, "headers.server", what: "`pass`, `remove` or the text that the field says")
    {
      switch text {
      case "pass": config.headers.server = .pass
      case "remove": config.headers.server = .remove
      case _ where !isRunning && ["off", "no", "none", "false"].contains(text.lowercased()):
        let _: String? = wrong(
          node, "headers.server", expected: "`pass`, `remove` or the text that the field says", suggestion: "remove")
      case let name where name.utf8.count <= 64: config.headers.server = .name(name)
      default: error(node.place, "expected at most 64 bytes for `headers.server`")
      }
    }
    if let node = fields["via"] {
      // RFC 9110 section 7.6.3: a pseudonym is a token.
      let name = token(node, "headers.via", "`off`, or the name that stands in Via", 64)
      config.headers.via = name == "off" ? nil : name
    }
  }
}
