// Requests that only HTTP/2 can say and that are none (RFC 9113 sections 8.1.1, 8.2 and 8.3), one fault each. What could become
// something else as text of HTTP/1 comes first.

import TestSupport
import Testing

struct HTTP2Malformed: Sendable, CustomTestStringConvertible {
  var refusal: String
  var title: String
  var status = 400
  /// The fault is in what comes behind a good head: the backend may see the head, never a whole request.
  var isInBody = false
  /// `identity` are fields for a validator, or none.
  var message: @Sendable (_ path: String, _ identity: [HPACKField]) -> HTTP2Message

  var testDescription: String { "\(refusal): \(title)" }

  private static func head(_ path: String, method: String = "GET") -> [HPACKField] {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", Site.host)].map {
      HPACKField($0.0, $0.1)
    }
  }

  /// One field more.
  private static func adding(_ refusal: String, _ name: String, _ value: String) -> HTTP2Malformed {
    HTTP2Malformed(refusal: refusal, title: "\(name.debugDescription): \(value.debugDescription)") { path, identity in
      HTTP2Message(head(path) + identity + [HPACKField(name, value)])
    }
  }

  /// Other pseudo-fields.
  private static func head(
    _ refusal: String, _ title: String, _ change: @escaping @Sendable (inout [HPACKField]) -> Void
  ) -> HTTP2Malformed {
    HTTP2Malformed(refusal: refusal, title: title) { path, identity in
      var fields = head(path)
      change(&fields)
      return HTTP2Message(fields + identity)
    }
  }

  private static func setting(_ refusal: String, _ name: String, _ value: @escaping @Sendable (String) -> String)
    -> HTTP2Malformed
  {
    head(refusal, "\(name) is \(value("PATH").debugDescription)") { fields in
      let index = fields.firstIndex { $0.nameText == name }!
      fields[index].value = Array(value(fields[index].valueText).utf8)
    }
  }

  /// A POST whose DATA is not what it says of it.
  private static func length(_ title: String, _ length: String, _ body: String, isInBody: Bool = true) -> HTTP2Malformed
  {
    HTTP2Malformed(refusal: "content-length-mismatch", title: title, isInBody: isInBody) { path, identity in
      HTTP2Message(
        head(path, method: "POST") + identity + [HPACKField("content-length", length)], body: Array(body.utf8))
    }
  }

  private static func trailing(_ refusal: String, _ name: String, _ value: String) -> HTTP2Malformed {
    HTTP2Malformed(
      refusal: refusal, title: "in trailers, \(name.debugDescription): \(value.debugDescription)", isInBody: true
    ) { path, identity in
      HTTP2Message(
        head(path, method: "POST") + identity, body: Array("body".utf8), trailers: [HPACKField(name, value)])
    }
  }

  private static let smuggled = "x\r\nX-Forwarded-For: \(Peer.claimed)"

  static let values: [HTTP2Malformed] =
    [
      "a\rb", "a\nb", "a\0b", smuggled, "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", " a", "a ", "\ta", "a\t",
      " ",
    ]
    .map { adding("value-invalid", "x-a", $0) } + ["a\u{7f}", "a\u{1}"].map { adding("value-invalid", "x-a", $0) }

  static let names: [HTTP2Malformed] =
    [
      "", "x a", "x-a ", " x-a", "x:a", "x-a:", "x\ra", "x\na", "x\0a", "x\u{e4}", "x@a", "x\u{7f}",
      "x-a: b\r\nx-forwarded-for",
    ].map { adding("name-token", $0, Peer.claimed) }
    + ["X-A", "x-A", "X-Forwarded-For", "Cookie", "Content-Length"].map { adding("name-case", $0, "1") }

  static let connectionFields: [HTTP2Malformed] = [
    ("connection", "keep-alive"), ("connection", "close"), ("connection", "x-forwarded-for"), ("connection", ""),
    ("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"), ("upgrade", "websocket"), ("upgrade", "h2c"), ("te", "gzip"),
    ("te", "trailers, deflate"), ("te", "trailers;q=0.5"), ("te", ""),
  ].map { adding("http2-connection-field", $0.0, $0.1) }

  static let pseudoFields: [HTTP2Malformed] =
    [":method", ":scheme", ":path"].map { name in
      head("http2-pseudo-field", "no \(name)") { $0.removeAll { $0.nameText == name } }
    }
    + [":method", ":scheme", ":path", ":authority"].flatMap { name in
      [
        head("http2-pseudo-field", "\(name) twice") { fields in fields += fields.filter { $0.nameText == name } },
        head("http2-pseudo-field", "\(name) behind a field") { fields in
          let index = fields.firstIndex { $0.nameText == name }!
          let late = fields.remove(at: index)
          fields += [HPACKField("x-a", "b"), late]
        },
        trailing("http2-pseudo-field", name, "/"),
      ]
    }
    + [(":status", "200"), (":x", "y"), (":", "y"), (":Path", "/"), (":protocol", "websocket")].map { name, value in
      head("http2-pseudo-field", "\(name) of a GET") { $0.append(HPACKField(name, value)) }
    }
    + [
      setting("http2-pseudo-field", ":path") { _ in "" },
      head("host-missing", "neither :authority nor Host") { $0.removeAll { $0.nameText == ":authority" } },
      head("http2-pseudo-field", "CONNECT with a path") { $0[0].value = Array("CONNECT".utf8) },
    ]

  static let pseudoValues: [HTTP2Malformed] = [
    setting("target-form", ":path") { "\($0) HTTP/1.1\r\nX-Forwarded-For: \(Peer.claimed)\r\nx: " },
    setting("target-form", ":path") { "\($0) " }, setting("target-form", ":path") { "\($0)\r\n" },
    setting("target-form", ":path") { "\($0)\0" }, setting("target-form", ":path") { "http://\(Site.host)\($0)" },
    setting("target-form", ":path") { String($0.dropFirst()) }, setting("target-form", ":path") { "\($0)#part" },
    setting("target-form", ":scheme") { _ in "ftp" }, setting("target-form", ":scheme") { _ in "" },
    setting("target-form", ":scheme") { _ in "http\r\nx-forwarded-for: \(Peer.claimed)" },
    setting("request-line", ":method") { _ in "" }, setting("request-line", ":method") { _ in "G T" },
    setting("request-line", ":method") { _ in "GET /smuggled HTTP/1.1\r\nX-Forwarded-For: \(Peer.claimed)\r\nx:" },
    setting("host-invalid", ":authority") { _ in "" }, setting("host-invalid", ":authority") { "me@\($0)" },
    setting("host-invalid", ":authority") { "\($0), other.example" },
    setting("host-invalid", ":authority") { "\($0)/x" },
    setting("host-invalid", ":authority") { "\($0)\r\nX-Forwarded-For: \(Peer.claimed)" },
    setting("host-invalid", ":authority") { "\($0):99999" },
    adding("host-multiple", "host", "other.example"), adding("host-multiple", "host", "\(Site.host):443"),
    HTTP2Malformed(refusal: "host-multiple", title: "Host that agrees and one that does not") { path, identity in
      HTTP2Message(
        head(path) + identity + [HPACKField("host", Site.host), HPACKField("host", "other.example")])
    },
  ]

  static let lengths: [HTTP2Malformed] = [
    length("less DATA than said", "5", "four"), length("more DATA than said", "3", "four"),
    length("no DATA at all", "5", "", isInBody: false),
  ]

  static let trailers: [HTTP2Malformed] = [
    trailing("name-case", "X-A", "b"), trailing("name-token", "x a", "b"), trailing("value-invalid", "x-a", smuggled),
    trailing("value-invalid", "x-a", "b "), trailing("http2-connection-field", "connection", "close"),
    trailing("http2-connection-field", "transfer-encoding", "chunked"),
  ]

  static let all = values + names + connectionFields + pseudoFields + pseudoValues + lengths + trailers
}
