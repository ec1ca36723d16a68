// HTTP/1.1 messages as the tests see them: the head byte for byte as it came, and what it says. Written apart from
// the product's own parser on purpose: it must not share its mistakes.

import Foundation

struct HTTPHead: Sendable {
  let bytes: [UInt8]
  /// Where each line is, without its CRLF, and the name and the value in those behind the first. Some tests read a hundred
  /// thousand heads: a string is made only of what is asked for.
  private let startLineRange: Range<Int>
  private let fields: [(name: Range<Int>, value: Range<Int>)]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var lines: [Range<Int>] = []
    bytes.withUnsafeBytes { all in
      var start = 0
      while let end = all.offset(of: "\r\n", from: start) {
        lines.append(start..<end)
        start = end + 2
      }
      lines.append(start..<all.count)
    }
    while lines.last?.isEmpty == true { lines.removeLast() }
    startLineRange = lines.first ?? 0..<0
    var fields: [(name: Range<Int>, value: Range<Int>)] = []
    bytes.withUnsafeBytes { all in
      for line in lines.dropFirst() {
        guard let colon = all.offset(of: ":", from: line.lowerBound, to: line.upperBound) else {
          fields.append((line, line.upperBound..<line.upperBound))
          continue
        }
        var from = colon + 1
        var to = line.upperBound
        while from < to, all[from] == 0x20 || all[from] == 0x09 { from += 1 }
        while from < to, all[to - 1] == 0x20 || all[to - 1] == 0x09 { to -= 1 }
        fields.append((line.lowerBound..<colon, from..<to))
      }
    }
    self.fields = fields
  }

  private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  var text: String { text(0..<bytes.count) }
  var startLine: String { text(startLineRange) }

  /// The values of every line of this name, in order.
  func all(_ name: String) -> [String] {
    bytes.withUnsafeBytes { all in
      var values: [String] = []
      for field in fields where field.name.count == name.utf8.count {
        let start = all.baseAddress! + field.name.lowerBound
        if strncasecmp(start.assumingMemoryBound(to: CChar.self), name, field.name.count) == 0 {
          values.append(text(field.value))
        }
      }
      return values
    }
  }

  /// The value of the only line of this name; nil when there is none or more than one.
  subscript(_ name: String) -> String? {
    let values = all(name)
    return values.count == 1 ? values[0] : nil
  }

  /// The names, lower case, with everything that is neither letter nor digit as a hyphen: what careless readers make
  /// of them.
  var foldedNames: [String] {
    fields.map { String(text($0.name).lowercased().map { $0.isLetter || $0.isNumber ? $0 : "-" }) }
  }

  var isChunked: Bool { self["transfer-encoding"]?.lowercased() == "chunked" }
  var contentLength: Int? { self["content-length"].flatMap { Int($0) } }
}

struct HTTPRequest: Sendable {
  let head: HTTPHead
  let method: String
  let target: String
  /// Which of the backend's connections it came on, counted from 0.
  let connection: Int

  init(head: HTTPHead, connection: Int) {
    self.head = head
    self.connection = connection
    let line = head.startLine
    method = String(line.prefix { $0 != " " })
    let parts = line.split(separator: " ")
    target = parts.count > 1 ? String(parts[1]) : ""
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

extension HTTPResponse {
  /// What a page of /metrics says of this name, which goes with its labels; nil where the page does not have it.
  func metric(_ name: String) -> Int? {
    body.withUnsafeBytes { page in
      var start = 0
      while let found = page.offset(of: "\(name) ", from: start) {
        start = found + 1
        guard found == 0 || page[found - 1] == 0x0a else { continue }
        let value = found + name.utf8.count + 1
        let end = page.offset(of: "\n", from: value) ?? page.count
        return Int(String(decoding: page[value..<end], as: UTF8.self))
      }
      return nil
    }
  }
}

extension UnsafeRawBufferPointer {
  /// Where `text` is next.
  fileprivate func offset(of text: String, from start: Int, to end: Int? = nil) -> Int? {
    guard start < end ?? count else { return nil }
    let rest = UnsafeRawBufferPointer(rebasing: self[start..<(end ?? count)])
    return text.withCString { rest.firstIndex(of: $0, text.utf8.count) }.map { start + $0 }
  }
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
