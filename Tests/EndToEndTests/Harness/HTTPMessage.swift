// HTTP/1.1 messages as the tests see them: the head byte for byte as it came, and what it says. Written apart from
// the product's own parser on purpose: it must not share its mistakes.

import Foundation

struct HTTPHead: Sendable {
  let bytes: [UInt8]
  let startLine: String
  let fields: [(name: String, value: String)]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
    while lines.last == "" { lines.removeLast() }
    startLine = lines.first ?? ""
    fields = lines.dropFirst().map { line in
      guard let colon = line.firstIndex(of: ":") else { return (line, "") }
      return (
        String(line[..<colon]), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      )
    }
  }

  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// The values of every line of this name, in order.
  func all(_ name: String) -> [String] {
    fields.filter { $0.name.caseInsensitiveCompare(name) == .orderedSame }.map(\.value)
  }

  /// The value of the only line of this name; nil when there is none or more than one.
  subscript(_ name: String) -> String? {
    let values = all(name)
    return values.count == 1 ? values[0] : nil
  }

  /// The names, lower case, with everything that is neither letter nor digit as a hyphen: what careless readers make
  /// of them.
  var foldedNames: [String] {
    fields.map { String($0.name.lowercased().map { $0.isLetter || $0.isNumber ? $0 : "-" }) }
  }

  var isChunked: Bool { self["transfer-encoding"]?.lowercased() == "chunked" }
  var contentLength: Int? { self["content-length"].flatMap { Int($0) } }
}

struct HTTPRequest: Sendable {
  let head: HTTPHead
  /// Which of the backend's connections it came on, counted from 0.
  let connection: Int

  var method: String { String(head.startLine.prefix { $0 != " " }) }
  var target: String {
    let parts = head.startLine.split(separator: " ")
    return parts.count > 1 ? String(parts[1]) : ""
  }
}

struct HTTPResponse: Sendable {
  let head: HTTPHead
  let status: Int
  var body: [UInt8] = []
  /// The trailer section as it came, without its last empty line.
  var trailers: [String] = []

  init(_ head: HTTPHead) {
    self.head = head
    status = head.startLine.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
  }

  var text: String { String(decoding: body, as: UTF8.self) }
  subscript(_ name: String) -> String? { head[name] }
}

struct Body: Sendable {
  var bytes: [UInt8] = []
  var trailers: [String] = []
  /// The chunk sizes in which it came; empty when it was not chunked.
  var chunks: [Int] = []
  var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension Connection {
  /// A body in chunks, with its trailers.
  func readChunked() throws -> Body {
    var body = Body()
    while true {
      let line = try readLine()
      guard let size = Int(line.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces), radix: 16) else {
        throw Trouble("not a chunk size: \(line.debugDescription)")
      }
      if size == 0 { break }
      body.chunks.append(size)
      body.bytes += try read(size)
      guard try readLine().isEmpty else { throw Trouble("no CRLF after a chunk") }
    }
    while true {
      let line = try readLine()
      if line.isEmpty { return body }
      body.trailers.append(line)
    }
  }

  /// One response, whole; interim ones (1xx but 101) are read and passed over unless asked for.
  func readResponse(toHead: Bool = false, interim: Bool = false) throws -> HTTPResponse {
    while true {
      guard let head = try readHead() else { throw Trouble("the connection ended where a response was due") }
      var response = HTTPResponse(head)
      if (100..<200).contains(response.status) {
        if response.status == 101 || interim { return response }
        continue
      }
      if toHead || response.status == 204 || response.status == 304 { return response }
      if head.isChunked {
        let body = try readChunked()
        response.body = body.bytes
        response.trailers = body.trailers
      } else if let length = head.contentLength {
        response.body = try read(length)
      } else {
        response.body = try readToEnd()
      }
      return response
    }
  }

  /// Sends a request without a body and reads its response.
  func get(
    _ target: String, method: String = "GET", host: String = Site.host, fields: [String] = []
  ) throws -> HTTPResponse {
    try send(Text.request(target, method: method, host: host, fields: fields))
    return try readResponse(toHead: method == "HEAD")
  }
}

/// Requests as bytes.
enum Text {
  static func request(
    _ target: String, method: String = "GET", host: String = Site.host, fields: [String] = [], body: String? = nil
  ) -> String {
    let length = body.map { ["Content-Length: \($0.utf8.count)"] } ?? []
    let lines = ["\(method) \(target) HTTP/1.1", "Host: \(host)"] + fields + length
    return lines.map { $0 + "\r\n" }.joined() + "\r\n" + (body ?? "")
  }

  static func chunks(_ parts: [String], trailers: [String] = []) -> String {
    parts.map { String($0.utf8.count, radix: 16) + "\r\n" + $0 + "\r\n" }.joined()
      + "0\r\n" + trailers.map { $0 + "\r\n" }.joined() + "\r\n"
  }
}
