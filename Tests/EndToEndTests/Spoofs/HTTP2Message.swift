// A request as HTTP/2 says it, also one that may not be said: from the text that HTTP/1 has for it, so that the same tables of
// faults are sent by both.

import TestSupport

struct HTTP2Message: Sendable {
  /// The header block, pseudo-fields and all.
  var fields: [HPACKField]
  var body: [UInt8] = []
  var trailers: [HPACKField]?

  init(_ fields: [HPACKField], body: [UInt8] = [], trailers: [HPACKField]? = nil) {
    self.fields = fields
    self.body = body
    self.trailers = trailers
  }

  /// Nil for a text whose fault only HTTP/1 can have: a start line of other than three words, a line without a colon. A single
  /// Host becomes `:authority`; several stay what they are. A folded line is part of the value before it, line end and all.
  /// `decodesChunks`: a chunked body becomes DATA and trailers; else Transfer-Encoding stays.
  init?(_ text: [UInt8], decodesChunks: Bool = false) {
    let end = text.withUnsafeBytes { $0.firstIndex(of: "\r\n\r\n") }
    let lines = Self.lines(text[..<(end ?? text.count)])
    let words = lines[0].split(separator: 0x20, omittingEmptySubsequences: false)
    guard words.count == 3, words.allSatisfy({ !$0.isEmpty }),
      ["HTTP/1.1", "HTTP/1.0"].contains(String(decoding: words[2], as: UTF8.self)),
      let named = Self.fields(lines.dropFirst())
    else { return nil }
    let (method, target) = (Array(words[0]), Array(words[1]))
    let isConnect = String(decoding: method, as: UTF8.self) == "CONNECT"
    let hosts = named.filter { $0.nameText == "host" }
    let authority = isConnect ? target : hosts.count == 1 ? hosts[0].value : nil

    fields = [HPACKField(Array(":method".utf8), method)]
    if !isConnect {
      fields += [HPACKField(":scheme", "http"), HPACKField(Array(":path".utf8), target)]
    }
    if let authority { fields.append(HPACKField(Array(":authority".utf8), authority)) }
    fields += named.filter { $0.nameText != "host" || hosts.count > 1 }
    body = end.map { Array(text[($0 + 4)...]) } ?? []
    if decodesChunks, named.all("transfer-encoding") == ["chunked"] { decodeChunks() }
  }

  private static func lines(_ text: ArraySlice<UInt8>) -> [[UInt8]] {
    var lines: [[UInt8]] = [[]]
    var rest = text
    while let byte = rest.popFirst() {
      if byte == 0x0d, rest.first == 0x0a {
        rest = rest.dropFirst()
        lines.append([])
      } else {
        lines[lines.count - 1].append(byte)
      }
    }
    return lines
  }

  private static func fields(_ lines: some Sequence<[UInt8]>) -> [HPACKField]? {
    var fields: [HPACKField] = []
    for line in lines {
      if line.first == 0x20 || line.first == 0x09 {
        guard !fields.isEmpty else { return nil }
        fields[fields.count - 1].value += [0x0d, 0x0a] + line
        continue
      }
      guard let colon = line.firstIndex(of: 0x3a) else { return nil }
      let blanks: [UInt8] = [0x20, 0x09]
      let value = line[(colon + 1)...].drop { blanks.contains($0) }
      let count = value.lastIndex { !blanks.contains($0) }.map { $0 + 1 - value.startIndex } ?? 0
      let name = line[..<colon].map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }
      fields.append(HPACKField(name, Array(value.prefix(count))))
    }
    return fields
  }

  /// Of what the tests write: sizes without extensions, and every line whole.
  private mutating func decodeChunks() {
    var rest = Self.lines(body[...])[...]
    var data: [UInt8] = []
    while let size = rest.popFirst().flatMap({ Int(String(decoding: $0, as: UTF8.self), radix: 16) }), size > 0 {
      data += rest.popFirst() ?? []
    }
    body = data
    if let named = Self.fields(rest.filter { !$0.isEmpty }), !named.isEmpty { trailers = named }
    fields.removeAll { $0.nameText == "transfer-encoding" }
  }

  // MARK: What is refused

  private static let connectionNames = [
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te",
  ]

  /// By which name this is refused, where HTTP/1's text is refused by `name`: some faults have another name, since they are others
  /// here, and one that is in the way comes first.
  func refusal(for name: String) -> String {
    if fields.contains(where: { Self.connectionNames.contains($0.nameText) }) { return "http2-connection-field" }
    // What ended a line is a byte like any other now.
    let ends: [UInt8] = [0x0d, 0x0a]
    if let field = fields.first(where: { ($0.name + $0.value).contains(where: ends.contains) }) {
      if field.name.contains(where: ends.contains) { return "name-token" }
      switch field.nameText {
      case ":authority": return "host-invalid"
      case ":path": return "target-form"
      case ":method": return "request-line"
      default: return "value-invalid"
      }
    }
    switch name {
    case "name-space": return "name-token"
    case "absolute-form": return "target-form"
    default: return name
    }
  }

  /// What no request of HTTP/1 is refused for: its length is what DATA is not.
  var hasOtherLength: Bool {
    fields.all("content-length").contains { UInt64($0).map { $0 != UInt64(body.count) } ?? false }
  }
}

extension HTTP2Client {
  /// HEADERS, and as many CONTINUATION frames as the block needs.
  func frames(_ stream: UInt32, _ block: [UInt8], ends: Bool) -> [HTTP2Frame] {
    let pieces = stride(from: 0, to: max(block.count, 1), by: frameSizeMax).map { start in
      Array(block[start..<min(start + frameSizeMax, block.count)])
    }
    return pieces.enumerated().map { index, piece in
      let isLast = index == pieces.count - 1
      return index == 0
        ? .headers(stream, piece, ends: ends, isWhole: isLast) : .continuation(stream, piece, isWhole: isLast)
    }
  }

  /// Sends the message in one go on the next stream; its body is to fit into the windows.
  @discardableResult
  func send(_ message: HTTP2Message) throws -> UInt32 {
    let stream = nextStream
    let endsWithHead = message.body.isEmpty && message.trailers == nil
    var all = frames(stream, HPACKBlock(message.fields).bytes, ends: endsWithHead)
    if !message.body.isEmpty { all.append(.data(stream, message.body, ends: message.trailers == nil)) }
    if let trailers = message.trailers { all += frames(stream, HPACKBlock(trailers).bytes, ends: true) }
    try send(all)
    return stream
  }

  /// Waits until nothing more comes on a stream, by its end or the connection's; what came is the answer.
  func outcome(on stream: UInt32, by deadline: Deadline = .usual) throws -> HTTP2Response {
    while streams[stream]?.isOver == false, try nextFrame(by: deadline) != nil {}
    return HTTP2Response(streams[stream] ?? HTTP2Stream(sendWindow: 0))
  }
}
