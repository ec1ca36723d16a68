// The configuration's `log`: where the access log goes, and of which fields of a request it has digests.

import Wire

extension Config.Log {
  package static let fieldsMax = 8
  package static let fieldNameBytesMax = 32
  static let cookieNameBytesMax = 64
  /// Members that lines have by themselves (ExchangeRecord), which `fields` cannot name.
  package static let members: Set<String> = [
    "bytes_in", "bytes_out", "client", "client_port", "config", "connection", "cutover", "detail", "duration_ms",
    "edge",
    "evidence",
    "generation", "host", "listener", "method", "path", "peer", "refusal", "route", "rule", "scheme", "scheme_source",
    "server", "status", "suppressed", "time", "tls", "upstream", "upstream_ms", "verified", "via",
  ]
}

extension Reading {
  mutating func log(_ node: YAMLNode) {
    guard let fields = fields(node, "log", keys: ["access", "format", "fields", "fields_key"]) else { return }
    if let node = fields["format"] { _ = word(node, "log.format", of: ["json"]) }
    if let node = fields["fields"] { config.log.fields = logFields(node) }
    if let node = fields["fields_key"] {
      config.log.fieldsKey = file(node, "log.fields_key", what: "the path of a key set (JWKS)")
      if fields["fields"] == nil { error(node.place, "`fields_key` is only used with `fields`") }
    }
    if let node = fields["fields"], fields["fields_key"] == nil {
      error(
        node.place,
        "`log.fields` needs `fields_key`: the path of a key set of its own, made with `countersign keys new`")
    }
    guard let node = fields["access"] else { return }
    let expected = "`stdout`, `off` or the path of a file"
    switch text(node, "log.access", expected: expected) {
    case nil: break
    case "stdout"?: config.log.access = .stdout
    case "off"?: config.log.access = .off
    case let path?:
      // A bare word is more likely a slip than a file in the configuration's directory.
      guard path.contains("/") || path.contains(".") else {
        let no = ["no", "none", "false"].contains(path.lowercased()) ? "off" : nil
        let suggestion = no ?? Spelling.nearest(to: path, among: ["stdout", "off"]) ?? "./\(path)"
        let _: String? = wrong(node, "log.access", expected: expected, suggestion: suggestion)
        break
      }
      if let file = file(node, "log.access", what: expected) { config.log.access = .file(file) }
    }
  }

  /// Fields by the names of their members.
  private mutating func logFields(_ node: YAMLNode) -> [Config.Log.Field] {
    let path = "log.fields"
    guard let nodes = elements(node, path, of: "mappings of `name` and `header` or `cookie`") else { return [] }
    let most = Config.Log.fieldsMax
    if nodes.count > most { error(node.place, "expected at most \(most) fields in `\(path)`, found \(nodes.count)") }
    var all: [Config.Log.Field] = []
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      let required = [(key: "name", what: "the name of the member in the log, such as `account`")]
      guard let fields = fields(node, path, keys: ["name", "header", "cookie"], required: required) else { continue }
      let name = fields["name"].flatMap { memberName($0, "\(path).name") }
      let header = fields["header"].flatMap {
        token($0, "\(path).header", "the name of a request field, such as `X-Account`", FieldNames.claimBytesMax)
      }
      let cookie = fields["cookie"].flatMap {
        token($0, "\(path).cookie", "the name of a cookie", Config.Log.cookieNameBytesMax)
      }
      if (fields["header"] == nil) == (fields["cookie"] == nil) {
        error(node.place, "expected either `header` or `cookie` in `\(path)`")
        continue
      }
      guard let name, let source = header.map({ .header($0) }) ?? cookie.map({ Config.Log.Field.Source.cookie($0) })
      else { continue }
      if all.contains(where: { $0.name == name }) { error(node.place, "the name \(quoted(name)) is given twice") }
      all.append(Config.Log.Field(name: name, source: source))
    }
    return all
  }

  private mutating func memberName(_ node: YAMLNode, _ path: String) -> String? {
    let most = Config.Log.fieldNameBytesMax
    let expected = "a name of 1 to \(most) of `a-z`, `0-9` and `_`, a letter first"
    guard let text = text(node, path, expected: expected) else { return nil }
    let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard text.utf8.count <= most, let first = text.utf8.first, letters.contains(first),
      text.utf8.allSatisfy({ letters.contains($0) || digits.contains($0) || $0 == UInt8(ascii: "_") })
    else { return wrong(node, path, expected: expected) }
    guard !Config.Log.members.contains(text) else {
      return wrong(node, path, expected: "a name that lines of the log do not have already")
    }
    return text
  }

  mutating func token(_ node: YAMLNode, _ path: String, _ what: String, _ most: Int) -> String? {
    let expected = "\(what), of at most \(most) bytes"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard text.utf8.count <= most, FieldNames.isToken(text) else { return wrong(node, path, expected: expected) }
    return text
  }
}
