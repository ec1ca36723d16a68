// What a pattern must begin with, read off its text. Most routes are plain names and paths with a few escapes; knowing
// their first bytes lets a thousand of them be passed over without asking the regular expression engine.
// Invariant: every subject that the pattern matches whole begins with `bytes` (and equals them where `rest` is
// `.nothing`). Where the text is not plainly literal the prefix ends: a shorter one costs time, a wrong one would change
// who is matched. Called when routes are loaded.

package struct LiteralPrefix: Equatable, Sendable {
  /// What the pattern is behind its prefix.
  package enum Rest: Equatable, Sendable {
    /// Nothing: it matches its prefix and no other text.
    case nothing
    /// `.*`: it matches every text with this prefix and no line feed behind it.
    case anything
    /// Something that only the engine can judge.
    case pattern
  }

  package let bytes: [UInt8]
  package let rest: Rest

  /// - Parameter pattern: PCRE2 syntax, to be anchored at both ends.
  package init(of pattern: String) {
    let text = Array(pattern.utf8)
    var literal: [UInt8] = []
    var at = 0
    while let (plain, next) = LiteralPrefix.literal(text, at) {
      literal.append(plain)
      at = next
    }
    if at == text.count {
      bytes = literal
      // An empty pattern is left to the engine.
      rest = text.isEmpty ? .pattern : .nothing
      return
    }
    // An alternative begins with something else.
    if LiteralPrefix.mayHaveAlternatives(text[at...]) { literal = [] }
    // The engine skips these, and a quantifier that follows then belongs to the byte before them: it may not be there.
    if LiteralPrefix.isSkipped(text[at...]) { literal = Array(literal.dropLast()) }
    bytes = literal
    rest = text[at...].elementsEqual(".*".utf8) ? .anything : .pattern
  }

  /// The byte that the text at a place stands for, and where the text goes on; nil where it is not one byte, or not
  /// exactly once.
  private static func literal(_ text: [UInt8], _ at: Int) -> (plain: UInt8, next: Int)? {
    guard at < text.count else { return nil }
    var plain = text[at]
    var next = at + 1
    switch plain {
    case UInt8(ascii: "\\"):
      // A backslash before anything but a letter or digit makes it literal; the rest are classes, anchors, quotes.
      guard next < text.count, isPunctuation(text[next]) else { return nil }
      plain = text[next]
      next += 1
    case UInt8(ascii: "."), UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "|"),
      UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"), UInt8(ascii: "^"),
      UInt8(ascii: "$"):
      return nil
    default:
      guard plain > 0x20, plain < 0x7f else { return nil }
    }
    // A quantifier behind it: it may not be there at all, or more than once.
    if next < text.count, [UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "{")].contains(text[next]) { return nil }
    return (plain, next)
  }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: false
    default: byte > 0x20 && byte < 0x7f
    }
  }

  /// Openings of groups behind which the text goes on by the same rules.
  private static let groups = ["(?:", "(?=", "(?!", "(?>", "(?<", "(?P<"].map { Array($0.utf8) }

  /// What is no item of a pattern: the marks of a quotation, comments, callouts, options, verbs.
  private static func isSkipped(_ text: ArraySlice<UInt8>) -> Bool {
    if text.starts(with: "\\E".utf8) || text.starts(with: "\\Q".utf8) { return true }
    guard text.starts(with: "(?".utf8) || text.starts(with: "(*".utf8) else { return false }
    return !groups.contains { text.starts(with: $0) }
  }

  /// Whether there is a `|` outside all groups, or text in which this cannot be told by counting parentheses.
  private static func mayHaveAlternatives(_ text: ArraySlice<UInt8>) -> Bool {
    guard text.contains(UInt8(ascii: "|")) else { return false }
    var depth = 0
    var at = text.startIndex
    while at < text.endIndex {
      switch text[at] {
      case UInt8(ascii: "\\"):
        // A quotation; and a control character may be named by what looks like syntax.
        guard at + 1 < text.endIndex, ![UInt8(ascii: "Q"), UInt8(ascii: "c")].contains(text[at + 1]) else {
          return true
        }
        at += 1
      case UInt8(ascii: "["):
        guard let end = endOfClass(text, at) else { return true }
        at = end
      case UInt8(ascii: "("):
        if isSkipped(text[at...]) { return true }
        depth += 1
      case UInt8(ascii: ")"): depth -= 1
      case UInt8(ascii: "|"):
        if depth <= 0 { return true }
      default: break
      }
      at += 1
    }
    return false
  }

  /// Where a class ends that is nothing but bytes and ranges; nil of any other.
  private static func endOfClass(_ text: ArraySlice<UInt8>, _ start: Int) -> Int? {
    var at = start + 1
    if at < text.endIndex, text[at] == UInt8(ascii: "^") { at += 1 }
    // A bracket that stands first closes nothing.
    guard at < text.endIndex, text[at] != UInt8(ascii: "]") else { return nil }
    while at < text.endIndex {
      switch text[at] {
      case UInt8(ascii: "]"): return at
      case UInt8(ascii: "["), UInt8(ascii: "\\"): return nil
      default: at += 1
      }
    }
    return nil
  }
}
