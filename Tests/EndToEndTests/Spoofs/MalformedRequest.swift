// Requests that no HTTP server should take, one fault each: the rows of the specification's refusal table on framing,
// names, host, target, method and size. They hold at the validator and at the edge alike.

import Testing

struct MalformedRequest: Sendable, CustomTestStringConvertible {
  /// The refusal's name.
  var refusal: String
  var title: String
  var status = 400
  /// Where the connection can go on.
  var stays = false
  /// The fault is in the body, which comes after the head was good: the backend may see the head, never a whole
  /// request.
  var isInBody = false
  /// Full text; `identity` are whole lines, or nothing.
  var text: @Sendable (_ path: String, _ identity: String) -> String

  var testDescription: String { "\(refusal): \(title)" }

  /// A request with these lines after the identity.
  private static func with(
    _ refusal: String, _ title: String, _ lines: String..., body: String = "", method: String = "GET"
  )
    -> MalformedRequest
  {
    let block = lines.map { $0 + "\r\n" }.joined()
    return MalformedRequest(refusal: refusal, title: title) { path, identity in
      "\(method) \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)\(block)\r\n\(body)"
    }
  }

  /// A request whose start line and Host line are these; PATH stands for the path.
  private static func starting(
    _ refusal: String, _ title: String, _ start: String, status: Int = 400, stays: Bool = false
  )
    -> MalformedRequest
  {
    MalformedRequest(refusal: refusal, title: title, status: status, stays: stays) { path, identity in
      start.replacing("PATH", with: path) + identity + "\r\n"
    }
  }

  private static func inBody(_ title: String, _ body: String) -> MalformedRequest {
    MalformedRequest(refusal: "framing-chunk", title: title, isInBody: true) { path, identity in
      "GET \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)Transfer-Encoding: chunked\r\n\r\n\(body)"
    }
  }

  private static let host = "Host: \(Site.host)\r\n"

  static let framing: [MalformedRequest] = [
    with("framing-te-cl", "length, then chunked", "Content-Length: 5", "Transfer-Encoding: chunked", body: "0\r\n\r\n"),
    with("framing-te-cl", "chunked, then length", "Transfer-Encoding: chunked", "Content-Length: 5", body: "0\r\n\r\n"),
    with("framing-te", "an unknown coding", "Transfer-Encoding: xchunked", body: "0\r\n\r\n"),
    with("framing-te", "identity", "Transfer-Encoding: identity"),
    with("framing-te", "two codings", "Transfer-Encoding: gzip, chunked", body: "0\r\n\r\n"),
    with("framing-te", "chunked twice in a line", "Transfer-Encoding: chunked, chunked", body: "0\r\n\r\n"),
    with(
      "framing-te", "chunked in two lines", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked",
      body: "0\r\n\r\n"),
    with("framing-te", "chunked in quotes", #"Transfer-Encoding: "chunked""#, body: "0\r\n\r\n"),
    starting("framing-te", "chunked in HTTP/1.0", "GET PATH HTTP/1.0\r\n\(host)Transfer-Encoding: chunked\r\n"),
    with("framing-length", "a sign", "Content-Length: +5", body: "12345"),
    with("framing-length", "hexadecimal", "Content-Length: 0x5", body: "12345"),
    with("framing-length", "a list", "Content-Length: 5, 5", body: "12345"),
    with("framing-length", "two lines that differ", "Content-Length: 5", "Content-Length: 6", body: "12345"),
    with("framing-length", "two lines that agree", "Content-Length: 5", "Content-Length: 5", body: "12345"),
    with("framing-length", "empty", "Content-Length: "),
    with("framing-length", "beyond all numbers", "Content-Length: 99999999999999999999"),
    inBody("no size", "\r\nabc\r\n0\r\n\r\n"),
    inBody("a size in words", "five\r\nhello\r\n0\r\n\r\n"),
    inBody("a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    inBody("data longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
    inBody("a size that overflows", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    inBody("a bare line feed after the size", "5\nhello\r\n0\r\n\r\n"),
    MalformedRequest(refusal: "line-ending", title: "a bare line feed after a field") { path, identity in
      "GET \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)X-A: b\nX-C: d\r\n\r\n"
    },
    MalformedRequest(refusal: "line-ending", title: "a bare line feed after the start line") { path, identity in
      "GET \(path) HTTP/1.1\nHost: \(Site.host)\r\n\(identity)\r\n"
    },
    MalformedRequest(refusal: "line-ending", title: "a bare carriage return in a value") { path, identity in
      "GET \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)X-A: b\rX-Forwarded-For: \(Peer.claimed)\r\n\r\n"
    },
    with("obs-fold", "a folded line", "X-A: b", " X-Forwarded-For: \(Peer.claimed)"),
    with("obs-fold", "a folded line by tab", "X-A: b", "\tc"),
    starting("obs-fold", "a space before the first field", "GET PATH HTTP/1.1\r\n Host: a\r\n\(host)"),
  ]

  static let names: [MalformedRequest] = [
    with("name-space", "a space before the colon", "X-Forwarded-For : \(Peer.claimed)"),
    with("name-space", "a tab before the colon", "X-A\t: b"),
    with("name-token", "a byte that is no token", "X@A: b"),
    with("name-token", "no name", ": b"),
    with("name-token", "no colon", "X-A"),
    with("value-invalid", "a zero byte", "X-A: b\u{0}c"),
  ]

  static let hostAndTarget: [MalformedRequest] = [
    starting("host-missing", "no Host", "GET PATH HTTP/1.1\r\n"),
    starting("host-multiple", "two that differ", "GET PATH HTTP/1.1\r\n\(host)Host: other.example\r\n"),
    starting("host-multiple", "two that agree", "GET PATH HTTP/1.1\r\n\(host)\(host)"),
    starting("host-invalid", "empty", "GET PATH HTTP/1.1\r\nHost: \r\n"),
    starting("host-invalid", "user information", "GET PATH HTTP/1.1\r\nHost: me@app.example.com\r\n"),
    starting("host-invalid", "a port beyond all ports", "GET PATH HTTP/1.1\r\nHost: app.example.com:99999\r\n"),
    starting("host-invalid", "a list", "GET PATH HTTP/1.1\r\nHost: app.example.com, other.example\r\n"),
    starting("target-form", "no slash", "GET PATHless HTTP/1.1\r\n\(host)".replacing("PATHless", with: "nopath")),
    starting("target-form", "a star for GET", "GET * HTTP/1.1\r\n\(host)"),
    starting("target-form", "a fragment", "GET PATH#part HTTP/1.1\r\n\(host)"),
    starting("target-form", "a backslash in the path", "GET PATH\\x HTTP/1.1\r\n\(host)"),
    starting("absolute-form", "an authority that Host denies", "GET http://other.examplePATH HTTP/1.1\r\n\(host)"),
    starting("request-line", "two spaces", "GET  PATH HTTP/1.1\r\n\(host)"),
    starting("request-line", "a fourth word", "GET PATH HTTP/1.1 more\r\n\(host)"),
    starting("request-line", "no version", "GET PATH\r\n\(host)"),
    starting("version", "HTTP/1.2", "GET PATH HTTP/1.2\r\n\(host)", status: 505),
    starting("version", "HTTP/2.0", "GET PATH HTTP/2.0\r\n\(host)", status: 505),
    starting("method-refused", "TRACE", "TRACE PATH HTTP/1.1\r\n\(host)", status: 405, stays: true),
    starting("method-refused", "CONNECT", "CONNECT \(Site.host):443 HTTP/1.1\r\n\(host)", status: 405),
  ]

  static let sizes: [MalformedRequest] = [
    MalformedRequest(refusal: "head-too-large", title: "a field of 40 KiB", status: 431) { path, identity in
      let fill = String(repeating: "a", count: 40 * 1024)
      return "GET \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)X-A: \(fill)\r\n\r\n"
    },
    MalformedRequest(refusal: "head-too-large", title: "a path of 40 KiB", status: 431) { path, identity in
      "GET \(path)/\(String(repeating: "a", count: 40 * 1024)) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)\r\n"
    },
    // With the three of the identity, and Host, which is none by HTTP/2; a validator takes eight more than an edge.
    MalformedRequest(refusal: "too-many-fields", title: "110 fields", status: 431) { path, identity in
      let fields = (0..<106).map { "X-\($0): a\r\n" }.joined()
      return "GET \(path) HTTP/1.1\r\nHost: \(Site.host)\r\n\(identity)\(fields)\r\n"
    },
  ]

  static let all = framing + names + hostAndTarget + sizes
}
