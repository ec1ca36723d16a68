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

public struct Document: Sendable, CustomStringConvertible {
  public var name: String
  public var bytes: [UInt8]
  /// Where the message ends.
  public var length: Int
  public var expected: Expected

  public enum Expected: Sendable, Equatable {
    case complete([String])
    case incomplete
    case refused(String)
  }

  public var description: String { name }

  public static func parse(_ text: String) -> [Document] {
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

  public static func bytes(_ text: String) -> [UInt8] {
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
