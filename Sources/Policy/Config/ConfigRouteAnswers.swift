// `redirect`, `respond` and `files` of a route: requests that are answered here.

import Wire

extension Reading {
  // MARK: redirect

  mutating func redirect(_ node: YAMLNode, beside route: Fields, of match: Config.RouteMatch) -> Config.RouteAnswer? {
    let path = route.path("redirect")
    guard let fields = fields(node, path, keys: ["scheme", "host", "path", "status"]) else { return nil }
    var redirect = Config.Redirect()
    if let node = fields["scheme"] { redirect.scheme = word(node, "\(path).scheme") }
    if let node = fields["host"] { redirect.host = linkHost(node, "\(path).host") }
    if let node = fields["path"] { redirect.path = pathTemplate(node, "\(path).path", beside: route, of: match) }
    if let node = fields["status"] {
      let statuses = [301, 302, 303, 307, 308]
      if let index = word(node, "\(path).status", of: statuses.map(String.init)) { redirect.status = statuses[index] }
    }
    if fields["scheme"] == nil, fields["host"] == nil, fields["path"] == nil {
      error(
        node.place,
        "expected `scheme`, `host` or `path` in `\(path)`: as it is, it leads to where the request came from")
      return nil
    }
    return .redirect(redirect)
  }

  /// A name or an address, perhaps with a port.
  private mutating func linkHost(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a host name, perhaps with a port, such as `www.example.com`"
    guard let text = text(node, path, expected: expected)?.lowercased() else { return nil }
    guard Self.isAuthority(text), text.utf8.count <= 255 else {
      for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
        return wrong(
          node, path, expected: "\(expected), without a scheme", suggestion: String(text.dropFirst(scheme.count)))
      }
      return wrong(node, path, expected: expected)
    }
    return text
  }

  /// A path that may have groups of the route's `path_regex`.
  mutating func pathTemplate(
    _ node: YAMLNode, _ path: String, beside route: Fields, of match: Config.RouteMatch
  ) -> FieldTemplate? {
    let expected = "a path such as `/new/$1`, of at most 1024 visible ASCII characters"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard text.utf8.count <= 1024, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x23 && $0 != 0x5c })
    else { return wrong(node, path, expected: expected) }
    guard text.hasPrefix("/"), !text.hasPrefix("//") else {
      return wrong(node, path, expected: expected, suggestion: "/" + text.drop { $0 == "/" })
    }
    do throws(FieldTemplate.Fault) {
      let template = try FieldTemplate(text, .path)
      if template.lastGroup >= 0, match.path?.pattern == nil, !faulty.contains(route.path("path_regex")) {
        error(node.place, "`$\(template.lastGroup)` is a group of `path_regex`, and this route has none")
      }
      return template
    } catch {
      faulty.insert(path)
      self.error(node.place, "`\(path)` has \(error.message)")
      return nil
    }
  }

  // MARK: respond

  mutating func respond(_ node: YAMLNode, _ path: String) -> Config.RouteAnswer? {
    guard let fields = fields(node, path, keys: ["status", "body", "file", "headers"]) else { return nil }
    var respond = Config.Respond()
    if let node = fields["status"], let status = count(node, "\(path).status", 200...599) { respond.status = status }
    if let node = fields["body"] {
      let expected = "the body's text, of at most 64KiB"
      if let text = text(node, "\(path).body", expected: expected) {
        respond.body = text.utf8.count <= 64 << 10 ? text : wrong(node, "\(path).body", expected: expected)
      }
    }
    if let node = fields["file"] {
      respond.file = file(node, "\(path).file", what: "the path of the file that has the body")
      if fields["body"] != nil { error(node.place, "`file` beside `body`: a response has one of them") }
    }
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5.
    if [204, 205, 304].contains(respond.status), let node = fields["body"] ?? fields["file"] {
      error(node.place, "a response with status \(respond.status) has no body")
    }
    if let node = fields["headers"] { respond.headers = fieldValues(node, "\(path).headers", isResponse: true) }
    return .respond(respond)
  }

  // MARK: files

  mutating func files(_ node: YAMLNode, beside route: Fields, of match: Config.RouteMatch) -> Config.RouteAnswer? {
    let path = route.path("files")
    let what = "the path of a directory"
    guard let text = text(node, path, expected: what) else { return nil }
    guard Self.isPath(text) else { return wrong(node, path, expected: what) }
    guard case .prefix? = match.path else {
      if faulty.contains(route.path("path_prefix")) { return nil }
      error(
        node.place,
        "`files` needs a `path_prefix` beside it: what stands behind that in a request's path is the file's name")
      return nil
    }
    if match.normalizes {
      error(node.place, "`files` takes the path as it is sent: leave `normalize` out")
    }
    return .files(Config.Files(directory: absolute(text, from: node.place)))
  }
}
