// HTTP/1.1 messages as the simulated clients and servers read them: a second, simple reader, so that the engine's own is not
// its own judge. And the bytes of bodies, of which each says where it belongs.

/// A body's bytes. Lines of 49 that look like requests, each with the message's number and its own: a body that is taken for a
/// request, lost in part, repeated or given to another message shows at once.
enum BodyText {
  private static let line = Array("GET /smuggled/00000000/00000000 HTTP/1.1\r\nA: \r\n\r\n".utf8)
  private static let numberAt = 14
  private static let lineAt = 23

  static func bytes(of message: Int, from start: Int, count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + line.count)
    var number = start / line.count
    let skip = start % line.count
    while bytes.count < skip + count {
      var next = line
      write(message, at: numberAt, into: &next)
      write(number, at: lineAt, into: &next)
      bytes += next
      number += 1
    }
    return Array(bytes[skip..<skip + count])
  }

  private static func write(_ value: Int, at: Int, into line: inout [UInt8]) {
    var value = value
    for i in stride(from: at + 7, through: at, by: -1) {
      line[i] = 0x30 + UInt8(value % 10)
      value /= 10
    }
  }
}

struct Head {
  var startLine: String
  /// Names in lower case.
  var fields: [(name: String, value: String)]

  func values(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }
  var status: Int { Int(startLine.split(separator: " ").dropFirst().first ?? "") ?? 0 }
  var method: String { String(startLine.split(separator: " ").first ?? "") }
  var path: String { String(startLine.split(separator: " ").dropFirst().first ?? "") }
}

/// Reads messages from a stream of bytes.
final class MessageReader {
  enum Framing { case none, length(Int), chunked, untilClose, tunnel }

  enum Event {
    case head(Head)
    case data(ArraySlice<UInt8>)
    /// The message is whole. Trailers, if any.
    case end([(name: String, value: String)])
    /// It is not HTTP.
    case invalid(String)
  }

  private enum Phase {
    case head, length(Int), chunkSize, chunkData(Int), chunkEnd, trailers, untilClose, tunnel, broken
  }

  private var phase = Phase.head
  private var bytes: [UInt8] = []
  private var at = 0
  private let framing: (Head) -> Framing
  private var trailers: [(name: String, value: String)] = []

  /// - Parameter framing: how the body behind a head ends.
  init(_ framing: @escaping (Head) -> Framing) { self.framing = framing }

  /// Stands between two messages, with nothing of the next one.
  var isBetween: Bool { if case .head = phase { at == bytes.count } else { false } }
  var endsWithStream: Bool { if case .untilClose = phase { true } else { false } }
  var isTunnel: Bool { if case .tunnel = phase { true } else { false } }

  func feed(_ new: some Sequence<UInt8>) {
    if at > 0 {
      bytes.removeFirst(at)
      at = 0
    }
    bytes += new
  }

  /// The first bytes that were fed, if there are so many.
  func peek(_ count: Int) -> ArraySlice<UInt8>? { bytes.count - at >= count ? bytes[at..<at + count] : nil }
  var available: Int { bytes.count - at }
  func skip(_ count: Int) { at += count }

  func next() -> Event? {
    switch phase {
    case .head:
      guard let end = headEnd() else { return nil }
      let lines = String(decoding: bytes[at..<end - 4], as: UTF8.self).split(
        separator: "\r\n", omittingEmptySubsequences: false)
      at = end
      var head = Head(startLine: String(lines.first ?? ""), fields: [])
      for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { return fail("a line without a colon: \(line)") }
        head.fields.append((line[..<colon].lowercased(), trim(line[line.index(after: colon)...])))
      }
      switch framing(head) {
      case .none: phase = .length(0)
      case .length(let n): phase = .length(n)
      case .chunked: phase = .chunkSize
      case .untilClose: phase = .untilClose
      case .tunnel: phase = .tunnel
      }
      trailers = []
      return .head(head)
    case .length(let left):
      guard left > 0 else {
        phase = .head
        return .end([])
      }
      guard let data = take(left) else { return nil }
      phase = .length(left - data.count)
      return .data(data)
    case .chunkSize:
      guard let line = line() else { return nil }
      guard let size = Int(line.prefix { $0 != ";" }, radix: 16) else { return fail("a chunk of size \(line)") }
      phase = size == 0 ? .trailers : .chunkData(size)
      return next()
    case .chunkData(let left):
      guard let data = take(left) else { return nil }
      phase = data.count == left ? .chunkEnd : .chunkData(left - data.count)
      return .data(data)
    case .chunkEnd:
      guard let line = line() else { return nil }
      guard line.isEmpty else { return fail("no line end behind a chunk") }
      phase = .chunkSize
      return next()
    case .trailers:
      guard let line = line() else { return nil }
      guard !line.isEmpty else {
        phase = .head
        return .end(trailers)
      }
      guard let colon = line.firstIndex(of: ":") else { return fail("a trailer without a colon: \(line)") }
      trailers.append((line[..<colon].lowercased(), trim(line[line.index(after: colon)...])))
      return next()
    case .untilClose, .tunnel: return take(.max).map { .data($0) }
    case .broken: return nil
    }
  }

  /// Behind a head that asked for it, everything is one stream from here on.
  func becomeTunnel() { phase = .tunnel }

  private func fail(_ why: String) -> Event {
    phase = .broken
    return .invalid(why)
  }

  private func take(_ most: Int) -> ArraySlice<UInt8>? {
    let n = min(most, bytes.count - at)
    guard n > 0 else { return nil }
    defer { at += n }
    return bytes[at..<at + n]
  }

  private func line() -> String? {
    var end = at
    while end + 1 < bytes.count, !(bytes[end] == 13 && bytes[end + 1] == 10) { end += 1 }
    guard end + 1 < bytes.count else { return nil }
    defer { at = end + 2 }
    return String(decoding: bytes[at..<end], as: UTF8.self)
  }

  private func headEnd() -> Int? {
    guard bytes.count - at >= 4 else { return nil }
    var i = at
    while i + 3 < bytes.count {
      if bytes[i + 3] == 10, bytes[i + 2] == 13, bytes[i + 1] == 10, bytes[i] == 13 { return i + 4 }
      i += 1
    }
    return nil
  }

  private func trim(_ text: Substring) -> String {
    var text = text
    while text.first == " " { text.removeFirst() }
    while text.last == " " { text.removeLast() }
    return String(text)
  }

  /// Framing of a request.
  static func request(_ head: Head) -> Framing {
    if head.values("transfer-encoding") == ["chunked"] { return .chunked }
    if let length = head.values("content-length").first.flatMap({ Int($0) }) { return .length(length) }
    return .none
  }

  /// Framing of a response.
  static func response(_ head: Head, method: String) -> Framing {
    let status = head.status
    if status == 101 { return .tunnel }
    if status < 200 || status == 204 || status == 304 || method == "HEAD" { return .none }
    if head.values("transfer-encoding") == ["chunked"] { return .chunked }
    if let length = head.values("content-length").first.flatMap({ Int($0) }) { return .length(length) }
    return .untilClose
  }
}
