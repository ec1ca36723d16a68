// A route written out with every default filled in, as `check --resolved` prints it.

import Wire

extension Config.Route {
  /// The inside of `{ … }`; `quote` makes a text one of YAML, `verbatim` one in which `${` is nothing special, `field` the value of a
  /// field, of which it is also told how it is written where it comes from outside.
  func resolved(
    _ quote: (String) -> String, verbatim: (String) -> String, field: (_ value: String, _ written: String?) -> String
  ) -> String {
    var pairs: [String] = []
    func add(_ key: String, _ value: String?) { if let value { pairs.append("\(key): \(value)") } }
    func list(_ words: [String]) -> String? { words.isEmpty ? nil : "[\(words.map(quote).joined(separator: ", "))]" }
    add("listener", list(match.listeners))
    switch match.host {
    case .name(let name): add("host", quote(name))
    case .below(let name): add("host", quote("*.\(name)"))
    case .pattern(let pattern): add("host_regex", verbatim(pattern))
    case nil: break
    }
    switch match.path {
    case .exact(let path): add("path", quote(path))
    case .prefix(let path): add("path_prefix", quote(path))
    case .pattern(let pattern): add("path_regex", verbatim(pattern))
    case nil: break
    }
    add("method", list(match.methods))
    if !match.headers.isEmpty {
      let fields = match.headers.map { header in
        let value = header.value.map { ", value: \(field($0, header.written))" } ?? ""
        return "{ name: \(quote(header.name))\(value) }"
      }
      add("header", "[\(fields.joined(separator: ", "))]")
    }
    add("client", list(match.clients.map { "\($0)" }))
    if match.path != nil { add("normalize", "\(match.normalizes)") }
    switch answer {
    case nil: add("to", quote(to))
    case .redirect(let redirect): add("redirect", redirect.resolved(quote))
    case .respond(let respond): add("respond", respond.resolved(quote, field))
    case .files(let files): add("files", quote(files.directory))
    }
    add("name", name)
    add("enabled", "\(isEnabled)")
    add("needs_distinct_clients", "\(needsDistinctClients)")
    add("strip_prefix", changes.stripPrefix.map(quote))
    add("rewrite", changes.rewrite.map { quote($0.source) })
    add("request_headers", changes.request.resolved(quote, field))
    add("response_headers", changes.response.resolved(quote, field))
    add(
      "hsts",
      changes.hsts.map {
        "{ max_age: \($0.seconds)s, include_subdomains: \($0.includesSubdomains), preload: \($0.isPreloaded) }"
      })
    if let compressionPair { pairs.append(compressionPair) }
    pairs += limitPairs
    return pairs.joined(separator: ", ")
  }
}

extension Config.Redirect {
  fileprivate func resolved(_ quote: (String) -> String) -> String {
    var pairs: [String] = []
    if let scheme { pairs.append("scheme: \(scheme.rawValue)") }
    if let host { pairs.append("host: \(quote(host))") }
    if let path { pairs.append("path: \(quote(path.source))") }
    pairs.append("status: \(status)")
    return "{ \(pairs.joined(separator: ", ")) }"
  }
}

extension Config.Respond {
  fileprivate func resolved(_ quote: (String) -> String, _ field: (String, String?) -> String) -> String {
    var pairs = ["status: \(status)"]
    if let body { pairs.append("body: \(quote(body))") }
    if let file { pairs.append("file: \(quote(file))") }
    if !headers.isEmpty { pairs.append("headers: \(Config.FieldChanges.mapping(headers, quote, field))") }
    return "{ \(pairs.joined(separator: ", ")) }"
  }
}

extension Config.FieldChanges {
  fileprivate static func mapping(
    _ values: [Config.FieldValue], _ quote: (String) -> String, _ field: (String, String?) -> String
  ) -> String {
    let pairs = values.map { "\(quote($0.name)): \(field($0.value.source, $0.written))" }
    return "{ \(pairs.joined(separator: ", ")) }"
  }

  /// Nil where nothing is changed.
  fileprivate func resolved(_ quote: (String) -> String, _ field: (String, String?) -> String) -> String? {
    guard self != Config.FieldChanges() else { return nil }
    var pairs: [String] = []
    if !set.isEmpty { pairs.append("set: \(Self.mapping(set, quote, field))") }
    if !add.isEmpty { pairs.append("add: \(Self.mapping(add, quote, field))") }
    if !remove.isEmpty { pairs.append("remove: [\(remove.map(quote).joined(separator: ", "))]") }
    return "{ \(pairs.joined(separator: ", ")) }"
  }
}

extension Config.Headers {
  func resolved(_ quote: (String) -> String) -> String {
    let server =
      switch self.server {
      case .pass: "pass"
      case .remove: "remove"
      case .name(let name): quote(name)
      }
    return "{ request_id: \(requestID.rawValue), server: \(server), via: \(via.map(quote) ?? "off") }"
  }
}
