// `compress` of a route: which responses are compressed on their way to clients. docs/CONFIG.md ("Compression") is the manual.

import Wire

extension Config {
  /// What of a route's responses is compressed; a route without one compresses nothing.
  package struct Compression: Sendable, Equatable {
    package var types = Compression.usualTypes
    /// Less content, where its length is known, goes as it is.
    package var minimumBytes = 1 << 10
    /// 1 (quick) to 9 (small).
    package var level = 4
    /// Also for clients that show who they are, and responses that set a cookie.
    package var includesCredentials = false
    package init() {}

    package static let usualTypes = MediaTypes(
      [
        "text/*", "application/json", "application/*+json", "application/javascript", "application/x-javascript",
        "application/xml", "application/*+xml", "application/wasm", "image/svg+xml", "image/x-icon",
        "image/vnd.microsoft.icon", "font/ttf", "font/otf",
      ].map {
        guard let pattern = MediaTypePattern($0) else { preconditionFailure("\($0) is no media type") }
        return pattern
      })
  }
}

extension Reading {
  private static let typesMax = 64

  /// `true`, `false`, or what differs from the usual.
  mutating func compression(_ node: YAMLNode, beside fields: Fields, of route: Config.Route) -> Config.Compression? {
    let path = fields.path("compress")
    if route.answer != nil {
      error(node.place, "`compress` is only used with `to`: answers that are made here are not compressed")
    }
    let compression = compression(node, path)
    if let compression { checkWritten(route.changes.response, beside: compression, fields) }
    return compression
  }

  private mutating func compression(_ node: YAMLNode, _ path: String) -> Config.Compression? {
    guard case .mapping = node.value else {
      let expected = "`true`, `false`, or a mapping such as `{ level: 6 }`"
      return word(node, path, of: ["false", "true"], expected: expected) == 1 ? Config.Compression() : nil
    }
    var compression = Config.Compression()
    guard let fields = self.fields(node, path, keys: ["types", "minimum", "level", "with_credentials"]) else {
      return compression
    }
    if let node = fields["types"] { compression.types = mediaTypes(node, "\(path).types") }
    if let node = fields["minimum"], let bytes = size(node, "\(path).minimum", 1...1 << 30) {
      compression.minimumBytes = bytes
    }
    if let node = fields["level"], let level = count(node, "\(path).level", 1...9) { compression.level = level }
    if let node = fields["with_credentials"], let truth = truth(node, "\(path).with_credentials") {
      compression.includesCredentials = truth
    }
    return compression
  }

  private mutating func mediaTypes(_ node: YAMLNode, _ path: String) -> MediaTypes {
    let expected = "a media type such as `text/html`, `text/*` or `application/*+json`"
    guard let nodes = elements(node, path, of: "media types", orOne: true) else { return MediaTypes([]) }
    if nodes.isEmpty || nodes.count > Self.typesMax {
      error(node.place, "expected 1 to \(Self.typesMax) media types in `\(path)`")
    }
    var patterns: [MediaTypePattern] = []
    for node in nodes {
      guard let text = text(node, path, expected: expected) else { continue }
      guard let pattern = MediaTypePattern(text) else {
        // Parameters are not compared.
        let type = text.split(separator: ";").first.map { $0.filter { $0 != " " } } ?? ""
        let _: String? = wrong(
          node, path, expected: expected, suggestion: MediaTypePattern(type) == nil ? nil : type)
        continue
      }
      if patterns.contains(pattern) { error(node.place, "the type \(quoted(text)) is given twice") }
      patterns.append(pattern)
    }
    return MediaTypes(patterns)
  }

  /// What a route writes into responses must not say otherwise than what compressing writes, or would not be compressed if a server said
  /// it: the rule sees what the server says.
  private mutating func checkWritten(
    _ changes: Config.FieldChanges, beside compression: Config.Compression, _ fields: Fields
  ) {
    let place = fields["response_headers"]?.place ?? fields.place
    for value in changes.set + changes.add {
      switch value.name.lowercased() {
      case "content-encoding", "content-range", "etag", "accept-ranges",
        _ where ContentDigest.isName(value.name.utf8.span):
        error(
          place,
          "`response_headers` writes \(quoted(value.name)), which differs by whether a response is compressed: "
            + "leave it, or `compress`, out")
      case "cache-control"
      where FieldList.mayHaveDirective(value.value.source.utf8.span, lowercase: "no-transform".utf8.span):
        error(
          place,
          "`response_headers` writes `no-transform`, which forbids what `compress` does: leave one of them out")
      case "set-cookie" where !compression.includesCredentials:
        error(
          place,
          "`response_headers` writes \(quoted(value.name)), and responses that set a cookie are not compressed: "
            + "leave `compress` out, or see `with_credentials`")
      default: break
      }
    }
  }

  /// What can compress next to nothing.
  mutating func suspectCompression() {
    for (index, route) in config.routes.enumerated() {
      guard let compression = route.compression, !compression.includesCredentials else { continue }
      let isSticky = config.upstreams.contains { $0.name == route.to && $0.sticky != nil }
      guard isSticky || route.access.basic != nil else { continue }
      warn(
        config.place(of: "routes[\(index)].compress"),
        isSticky
          ? "the upstream's `sticky` gives each client a cookie, and responses to requests with cookies are not compressed: see "
            + "`with_credentials`"
          : "every request that passes `htpasswd` has a password, and responses to those are not compressed: see "
            + "`with_credentials`")
    }
  }
}

extension Config.Route {
  /// `compress` with every default filled in; nil where nothing is compressed.
  var compressionPair: String? {
    guard let compression else { return nil }
    let types = compression.types.patterns.map { Resolved.quote($0.text) }.joined(separator: ", ")
    return
      "compress: { types: [\(types)], minimum: \(Unit.size(compression.minimumBytes)), level: \(compression.level), "
      + "with_credentials: \(compression.includesCredentials) }"
  }
}
