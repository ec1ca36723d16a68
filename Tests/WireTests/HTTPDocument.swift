// Parser cases as documents. A case is a name, the bytes, and what is expected of them:
//
//     # transfer coding that only ends in "chunked"
//     POST / HTTP/1.1\r\n
//     Host: a\r\n
//     Transfer-Encoding: xchunked\r\n
//     \r\n
//     --> refused framing-te
//
// Line breaks of the document are not bytes: every byte is visible. Escapes: \r \n \t \0 \\ \xHH, \s for a space that would
// not be seen, and \| where the message ends and the next one begins. What follows `--> complete` are `key=value` pairs that must
// be in the parser's own summary, each on a line of its own or divided by two spaces.

import Testing
import Wire

struct Document: Sendable, CustomTestStringConvertible {
  var name: String
  var bytes: [UInt8]
  /// Where the message ends.
  var length: Int
  var expected: Expected

  enum Expected: Sendable, Equatable {
    case complete([String])
    case incomplete
    case refused(String)
  }

  var testDescription: String { name }

  static func parse(_ text: String) -> [Document] {
    var documents: [Document] = []
    var name: String?
    var bytes: [UInt8] = []
    var length: Int?
    for raw in text.split(separator: "\n", omittingEmptySubsequences: false) {
      let line = String(raw)
      if line.hasPrefix("# ") {
        precondition(name == nil, "no outcome for \(name ?? "")")
        name = String(line.dropFirst(2))
        bytes = []
        length = nil
      } else if line.hasPrefix("--> ") {
        guard let title = name else { preconditionFailure("an outcome without a case: \(line)") }
        documents.append(
          Document(name: title, bytes: bytes, length: length ?? bytes.count, expected: outcome(line.dropFirst(4))))
        name = nil
      } else if name != nil {
        unescape(line, into: &bytes, length: &length)
      } else {
        precondition(line.allSatisfy { $0 == " " }, "bytes outside of a case: \(line)")
      }
    }
    precondition(name == nil && !documents.isEmpty)
    return documents
  }

  private static func outcome(_ text: Substring) -> Expected {
    let words = text.split(separator: " ")
    switch words[0] {
    case "complete": return .complete(words.dropFirst().map(String.init))
    case "incomplete": return .incomplete
    case "refused": return .refused(String(words[1]))
    default: preconditionFailure("unknown outcome: \(text)")
    }
  }

  static func bytes(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var length: Int?
    unescape(text, into: &bytes, length: &length)
    return bytes
  }

  private static func unescape(_ line: String, into bytes: inout [UInt8], length: inout Int?) {
    var rest = Array(line.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      switch rest.popFirst() {
      case UInt8(ascii: "r"): bytes.append(0x0d)
      case UInt8(ascii: "n"): bytes.append(0x0a)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "0"): bytes.append(0x00)
      case UInt8(ascii: "s"): bytes.append(0x20)
      case UInt8(ascii: "\\"): bytes.append(0x5c)
      case UInt8(ascii: "|"): length = bytes.count
      case UInt8(ascii: "x"):
        let digits = String(decoding: rest.prefix(2), as: UTF8.self)
        guard let value = UInt8(digits, radix: 16) else { preconditionFailure("\\x\(digits)") }
        bytes.append(value)
        rest = rest.dropFirst(2)
      default: preconditionFailure("unknown escape in: \(line)")
      }
    }
  }
}

extension Refusal {
  var text: String { name.description }
}

/// Runs one document at every split point. `parse` gets a prefix and how much of it was seen before.
func check(
  _ document: Document, parse: ([UInt8], _ seen: Int) -> HeadOutcome, summary: ([UInt8]) -> [String],
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let whole = parse(document.bytes, 0)
  switch document.expected {
  case .complete(let facts):
    #expect(whole == .complete(length: document.length), sourceLocation: sourceLocation)
    let known = summary(document.bytes)
    for fact in facts {
      #expect(known.contains(fact), "\(fact) not in \(known)", sourceLocation: sourceLocation)
    }
  case .incomplete: #expect(whole == .incomplete, sourceLocation: sourceLocation)
  case .refused(let name):
    guard case .refused(let refusal) = whole else {
      Issue.record("expected \(name), got \(whole)", sourceLocation: sourceLocation)
      return
    }
    #expect(refusal.text == name, sourceLocation: sourceLocation)
  }
  // Every prefix is incomplete, or says what the whole says and from then on goes on to say it.
  var settled: HeadOutcome?
  for count in 0...document.bytes.count {
    let prefix = Array(document.bytes.prefix(count))
    let outcome = parse(prefix, 0)
    if let settled {
      #expect(outcome == settled, "after \(count) bytes", sourceLocation: sourceLocation)
    } else if outcome != .incomplete {
      #expect(outcome == whole, "after \(count) bytes", sourceLocation: sourceLocation)
      if case .complete(let length) = outcome {
        #expect(length == count, "complete before its end", sourceLocation: sourceLocation)
      }
      settled = outcome
    }
    // Told what was seen before, the parser may wait for the end of a line, but says nothing else.
    for step in [1, 5] where settled == nil || settled == outcome {
      let hinted = parse(prefix, max(0, count - step))
      if case .complete = outcome, count - step < document.length {
        #expect(hinted == outcome, "after \(count) bytes, hinted", sourceLocation: sourceLocation)
      } else {
        #expect(
          hinted == .incomplete || hinted == outcome, "after \(count) bytes, hinted", sourceLocation: sourceLocation)
      }
    }
  }
  // The one after it is not looked at: whatever it is, the message reads the same.
  guard case .complete = document.expected else { return }
  for tail in ["GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0\0\0\0", " folded\r\n", "\n\n\n\n\n\n\n\n"] {
    let followed = Array(document.bytes.prefix(document.length)) + Array(tail.utf8)
    #expect(parse(followed, 0) == whole, "followed by \(tail)", sourceLocation: sourceLocation)
  }
}

extension BodyFraming {
  var text: String {
    switch self {
    case .none: "none"
    case .length(let length): "\(length)"
    case .chunked: "chunked"
    case .untilClose: "until-close"
    }
  }
}

func text(_ range: ByteRange, _ bytes: [UInt8]) -> String {
  // Through Latin-1, so that every byte is a character and none is lost.
  String(String.UnicodeScalarView(bytes[range.range].map { Unicode.Scalar($0) }))
}
