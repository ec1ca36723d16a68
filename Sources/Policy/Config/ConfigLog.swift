// The configuration's `log`: where the access log goes, and of which fields of a request it has digests.

import Wire

extension Config.Log {
  package static let fieldsMax = 8
  package static let fieldNameBytesMax = 32
  static let cookieNameBytesMax = 64
  /// The longest line, whatever is in it.
  package static let lineBytesMax = 32 * 1024
  /// Where `access: syslog` sends lines.
  static let syslogPath = "/dev/log"
  /// Members that lines may have by themselves, which `fields` cannot name.
  package static let members = Set(LogVariable.allCases.map(\.rawValue) + ["suppressed"])
}

extension Reading {
  mutating func log(_ node: YAMLNode) {
    guard let fields = fields(node, "log", keys: Reading.logKeys) else { return }
    logFormat(fields)
    if let node = fields["fields"] { config.log.fields = logFields(node) }
    if let node = fields["fields_key"] {
      config.log.fieldsKey = file(node, "log.fields_key", what: "the path of a key set (JWKS)")
      if fields["fields"] == nil { error(node.place, "`fields_key` is only used with `fields`") }
    }
    if let node = fields["fields"], !config.log.fields.isEmpty, fields["fields_key"] == nil {
      error(
        node.place,
        "`log.fields` needs `fields_key`: the path of a key set of its own, made with `countersign keys new`")
    }
    if let node = fields["access"] { logAccess(node) }
  }

  private static let logKeys = ["access", "format", "template", "extra", "query", "tunnels", "fields", "fields_key"]

  private mutating func logAccess(_ node: YAMLNode) {
    let expected = "`stdout`, `off`, `syslog` or the path of a file"
    guard let path = text(node, "log.access", expected: expected) else { return }
    switch path {
    case "stdout": config.log.access = .stdout
    case "off": config.log.access = .off
    case "syslog": config.log.access = .syslog(Config.Log.syslogPath)
    case _ where path.hasPrefix("syslog:"):
      let socket = absolute(String(path.dropFirst("syslog:".count)), from: node.place)
      guard path.utf8.count > "syslog:".utf8.count, socket.utf8.count <= 107, !socket.utf8.contains(0) else {
        let _: String? = wrong(
          node, "log.access", expected: "the path of a unix socket, of at most 107 bytes, behind `syslog:`")
        return
      }
      config.log.access = .syslog(socket)
    default:
      // A bare word is more likely a slip than a file in the configuration's directory.
      guard path.contains("/") || path.contains(".") else {
        let no = ["no", "none", "false"].contains(path.lowercased()) ? "off" : nil
        let suggestion =
          path.isEmpty ? nil : no ?? Spelling.nearest(to: path, among: ["stdout", "off", "syslog"]) ?? "./\(path)"
        let _: String? = wrong(node, "log.access", expected: expected, suggestion: suggestion)
        return
      }
      if let file = file(node, "log.access", what: expected) { config.log.access = .file(file) }
    }
  }

  private mutating func logFormat(_ fields: Fields) {
    let format = fields["format"].flatMap { word($0, "log.format", of: ["json", "combined", "template"]) } ?? 0
    let isKnown = !faulty.contains("log.format")
    if let node = fields["template"] {
      // A `$` is the template's own.
      if let text = verbatim(node, "log.template", expected: "a line with variables, such as `$time $client $status`") {
        switch LogTemplate.parse(text) {
        case .success(let template): config.log.format = .template(template)
        case .failure(let fault): error(node.place, "`log.template`: \(fault.message)")
        }
      }
      if format != 2, isKnown { error(node.place, "`template` is only used with `format: template`") }
    } else if format == 2, let node = fields["format"] {
      error(node.place, "`format: template` needs a `template`, such as `$time $client $status`")
    }
    if format == 1 { config.log.format = .combined }
    if let node = fields["extra"] {
      config.log.extra = logExtra(node)
      if format != 0 { error(node.place, "`extra` is only used with `format: json`; a template names what it has") }
    }
    if format != 0, let node = fields["fields"] { error(node.place, "`fields` is only used with `format: json`") }
    if let node = fields["query"], let query: Config.Log.Query = word(node, "log.query") { config.log.query = query }
    if let node = fields["tunnels"] {
      config.log.tellsTunnelBegin = word(node, "log.tunnels", of: ["end", "both"]) == 1
      if config.log.tellsTunnelBegin, format == 1 {
        error(node.place, "`tunnels: both` is not for `format: combined`, in which both lines would look alike")
      }
    }
  }

  private mutating func logExtra(_ node: YAMLNode) -> [LogVariable] {
    let names = LogVariable.extras.map(\.rawValue)
    guard let nodes = elements(node, "log.extra", of: "members: \(list(names))") else { return [] }
    var extra: [LogVariable] = []
    for (index, node) in nodes.enumerated() {
      guard let found = word(node, "log.extra[\(index)]", of: names) else { continue }
      if extra.contains(LogVariable.extras[found]) { error(node.place, "`\(names[found])` is given twice") }
      extra.append(LogVariable.extras[found])
    }
    return extra
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
