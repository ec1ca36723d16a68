// A line of the access log as the configuration spells it (`log.template`), read once: literal text and variables, `$name` or
// `${name}`; `$$` is a dollar sign.
//
// No peer can forge a line or a column with what it sends. Within double quotes of the template a quote, a backslash, a control and
// whatever is not ASCII is written as `\x` and two digits, as Apache does. Outside of quotes so is a blank, and each punctuation
// mark that the template itself uses there: it may stand between two columns. Texts of the configuration are treated alike.

package struct LogTemplate: Sendable, Equatable {
  /// A set of ASCII bytes.
  package struct Bytes: Sendable, Equatable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    package init() {}
    package mutating func insert(_ byte: UInt8) {
      if byte < 64 { low |= 1 &<< UInt64(byte) } else if byte < 128 { high |= 1 &<< UInt64(byte - 64) }
    }
    @inline(__always) package func contains(_ byte: UInt8) -> Bool {
      byte < 64 ? low & 1 &<< UInt64(byte) != 0 : byte < 128 && high & 1 &<< UInt64(byte &- 64) != 0
    }
  }

  package enum Piece: Sendable, Equatable {
    case literal([UInt8])
    case variable(LogVariable, isQuoted: Bool)
  }

  package let text: String
  package let pieces: [Piece]
  /// What is escaped outside of quotes.
  package let separators: Bytes

  /// Of `log.format: combined`: Apache's.
  package static let combined: LogTemplate = {
    let text = "$client - $user [$time_clf] \"$request\" $status $bytes_out \"$referer\" \"$user_agent\""
    guard case .success(let template) = parse(text) else { preconditionFailure("the combined format is no template") }
    return template
  }()

  package static let bytesMax = 2_048

  package struct Fault: Error, Equatable {
    package let message: String
  }

  /// Reads a template, or says what is wrong with it.
  package static func parse(_ text: String) -> Result<LogTemplate, Fault> {
    func fault(_ message: String) -> Result<LogTemplate, Fault> { .failure(Fault(message: message)) }
    let bytes = Array(text.utf8)
    guard (1...bytesMax).contains(bytes.count) else { return fault("expected 1 to \(bytesMax) bytes") }
    guard bytes.allSatisfy({ $0 == 0x09 || 0x20...0x7e ~= $0 }) else {
      return fault("expected printable ASCII and tabs: a line stays one line")
    }
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var separators = Bytes()
    separators.insert(0x20)
    var isQuoted = false
    var longest = 1
    var at = 0
    while at < bytes.count {
      let byte = bytes[at]
      at += 1
      guard byte == UInt8(ascii: "$") else {
        literal.append(byte)
        if byte == 0x22 { isQuoted.toggle() } else if !isQuoted, !isLetterOrDigit(byte) { separators.insert(byte) }
        continue
      }
      if at < bytes.count, bytes[at] == UInt8(ascii: "$") {
        literal.append(byte)
        separators.insert(byte)
        at += 1
        continue
      }
      let isBraced = at < bytes.count && bytes[at] == UInt8(ascii: "{")
      if isBraced { at += 1 }
      let start = at
      while at < bytes.count, isLetterOrDigit(bytes[at]) || bytes[at] == UInt8(ascii: "_") { at += 1 }
      let name = String(decoding: bytes[start..<at], as: UTF8.self)
      if isBraced {
        guard at < bytes.count, bytes[at] == UInt8(ascii: "}") else { return fault("`${\(name)` lacks its `}`") }
        at += 1
      }
      guard let variable = LogVariable(rawValue: name) else {
        let nearest = Spelling.nearest(to: name, among: LogVariable.allCases.map(\.rawValue))
        let end = nearest.map { ": did you mean `$\($0)`?" } ?? "; a dollar sign alone is `$$`"
        return fault("there is no variable `$\(name)`\(end)")
      }
      if !literal.isEmpty { pieces.append(.literal(literal)) }
      longest += literal.count + variable.textBytesMax
      literal = []
      pieces.append(.variable(variable, isQuoted: isQuoted))
    }
    guard !isQuoted else { return fault("a double quote is not closed") }
    guard !pieces.isEmpty else { return fault("expected a variable, such as `$client`") }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
    longest += literal.count
    guard longest <= Config.Log.lineBytesMax else {
      return fault(
        "a line could get longer than \(Config.Log.lineBytesMax >> 10) KiB: name what clients send less often (`$path`, "
          + "`$request`, `$referer`, `$user_agent`)")
    }
    return .success(LogTemplate(text: text, pieces: pieces, separators: separators))
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    0x30...0x39 ~= byte || 0x41...0x5a ~= byte || 0x61...0x7a ~= byte
  }
}
