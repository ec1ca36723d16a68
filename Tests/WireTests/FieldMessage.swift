// Messages of HTTP/1 taken apart into what a decoder of HTTP/2 hands over, and put into heads as its codec does.
// What fields can say, and where a document stops to be sayable, is decided here by HTTP/1's syntax alone (`SyntaxFault`), before
// any parser is asked: names, values, methods, targets and statuses are taken as they are, good or bad.

import TestSupport
import Wire

/// Where HTTP/1's own syntax is at fault: neither that line nor what follows can be said in fields.
enum SyntaxFault: Error {
  /// A CR or LF that ends no line.
  case lineEnd
  /// The bytes end before the empty line does.
  case cut
  /// Not three words between single spaces of which the last is HTTP/1.0 or HTTP/1.1; not such a version, a space, and text.
  case startLine
  /// A field line that begins with whitespace.
  case fold
  /// A field line without a colon, or with whitespace before it.
  case colon
}

/// Lines up to the empty one.
struct LineReader {
  var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  mutating func next() throws(SyntaxFault) -> [UInt8] {
    var line: [UInt8] = []
    while let byte = rest.popFirst() {
      switch byte {
      case 0x0a: throw .lineEnd
      case 0x0d:
        guard let next = rest.popFirst() else { throw .cut }
        guard next == 0x0a else { throw .lineEnd }
        return line
      default: line.append(byte)
      }
    }
    throw .cut
  }

  /// The fields up to and with the empty line, or to the first fault.
  mutating func fields() -> (fields: [Model.Field], fault: SyntaxFault?) {
    var fields: [Model.Field] = []
    do throws(SyntaxFault) {
      while true {
        let line = try next()
        guard let first = line.first else { return (fields, nil) }
        guard !isBlank(first) else { throw .fold }
        guard let colon = line.firstIndex(of: 0x3a), !line[..<colon].contains(where: isBlank) else { throw .colon }
        var value = line[(colon + 1)...]
        while let first = value.first, isBlank(first) { value.removeFirst() }
        while let last = value.last, isBlank(last) { value.removeLast() }
        fields.append(Model.Field(name: Array(line[..<colon]), value: Array(value)))
      }
    } catch { return (fields, error) }
  }

  private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

/// A request's method, target and fields.
struct RequestMessage {
  var method: [UInt8]
  var target: [UInt8]
  var fields: [Model.Field]
  var fault: SyntaxFault?
  /// What it was taken from, but that its version is 1.1: fields name no version.
  let document: [UInt8]

  /// Nil: nothing of it can be said.
  init?(_ bytes: [UInt8]) {
    var lines = LineReader(bytes)
    // RFC 9112 section 2.2: one empty line may stand before a request.
    if bytes.starts(with: [0x0d, 0x0a]) { lines.rest = lines.rest.dropFirst(2) }
    guard let first = try? lines.next() else { return nil }
    let words = first.split(separator: 0x20, omittingEmptySubsequences: false)
    guard words.count == 3, !words.contains(where: \.isEmpty),
      ["HTTP/1.0", "HTTP/1.1"].contains(Model.string(words[2]))
    else { return nil }
    method = Array(words[0])
    target = Array(words[1])
    var document = bytes
    document[lines.rest.startIndex - 3] = 0x31
    self.document = document
    (fields, fault) = lines.fields()
  }

  /// The scheme, authority and path that an absolute target says (RFC 9113 section 8.3.1), or nil.
  var absolute: (scheme: [UInt8], authority: [UInt8], path: [UInt8])? {
    let text = Model.string(target).lowercased()
    guard !isConnect,
      let prefix = ["http://", "https://"].first(where: { text.hasPrefix($0) && text.count > $0.count })
    else { return nil }
    let rest = target.dropFirst(prefix.utf8.count)
    let authority = rest.prefix { $0 != 0x2f && $0 != 0x3f }
    let path = rest.dropFirst(authority.count)
    let scheme = target.prefix(prefix.utf8.count - 3)
    return (Array(scheme), Array(authority), path.first == 0x2f ? Array(path) : [0x2f] + path)
  }

  var isConnect: Bool { method == Array("CONNECT".utf8) }
  var hasHost: Bool { fields.contains { Model.string($0.name).lowercased() == "host" } }

  var startLine: [UInt8] { method + [0x20] + target + Array(" HTTP/1.1\r\n".utf8) }

  /// As HTTP/1 writes it, as far as it can be said, and ended there.
  var text: [UInt8] { startLine + fieldLines(fields) + [0x0d, 0x0a] }

  /// Puts it into `head`, whose text is `text`.
  func build(_ head: RequestHead, limits: HeadLimits) -> HeadOutcome {
    var pseudoFields = RequestPseudoFields(method: ByteRange(0, method.count))
    let target = ByteRange(method.count + 1, target.count)
    if isConnect {
      pseudoFields.authority = target
    } else {
      pseudoFields.path = target
      // Of the protocol's name behind the target.
      pseudoFields.scheme = ByteRange(target.upper + 1, 4)
    }
    return build(head, startLine, pseudoFields, limits: limits)
  }

  /// The same with each pseudo-field as a line, in an order of chance, and the text that came of it.
  func buildByLines(
    _ head: RequestHead, scheme: [UInt8] = Array("https".utf8), authority: [UInt8]?, limits: HeadLimits,
    _ dice: inout Seeded
  ) -> (outcome: HeadOutcome, text: [UInt8]) {
    var lines: [(String, [UInt8], WritableKeyPath<RequestPseudoFields, ByteRange?>)] = [
      (":method: ", method, \.method), (":scheme: ", scheme, \.scheme), (":path: ", target, \.path),
    ]
    if let authority { lines.append((":authority: ", authority, \.authority)) }
    lines.shuffle(using: &dice)
    var text: [UInt8] = []
    var pseudoFields = RequestPseudoFields()
    for (name, value, range) in lines {
      text += Array(name.utf8)
      pseudoFields[keyPath: range] = ByteRange(text.count, value.count)
      text += value + [0x0d, 0x0a]
    }
    return (build(head, text, pseudoFields, limits: limits), text + fieldLines(fields) + [0x0d, 0x0a])
  }

  private func build(
    _ head: RequestHead, _ start: [UInt8], _ pseudoFields: RequestPseudoFields, limits: HeadLimits
  ) -> HeadOutcome {
    let text = start + fieldLines(fields) + [0x0d, 0x0a]
    return head.parse(text.span, pseudoFields, linesStart: start.count, limits: limits)
  }
}

private func fieldLines(_ fields: [Model.Field]) -> [UInt8] {
  fields.flatMap { $0.name + Array(": ".utf8) + $0.value + [0x0d, 0x0a] }
}
