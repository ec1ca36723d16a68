// An upper estimate of what matching a pattern costs, from its text: whether libpcre2's step limit bounds it, and what one
// step or one item may cost. It errs on the high side: anything that looks like a quantifier counts as one, wherever it
// stands. Made when a pattern is compiled.

struct PatternCost {
  /// What one step may cost besides reading the subject once, in bytes: the pattern's own length, with its `{n}` repeats.
  let bytes: Int
  /// The largest n of a `{n}`: an item that is repeated n times may match n - 1 times and then fail.
  let longestRepeat: Int
  /// There is something whose steps libpcre2 does not count: the iterations of a group with a possessive quantifier, or of a
  /// repeated group with alternatives, or a look-around, which restores the counter when it ends.
  let hasUncountedSteps: Bool
  /// There may be a subroutine call of a group, which is not counted; nested calls can double the work at each level.
  let hasCalls: Bool

  init(_ text: [UInt8]) {
    var bytes = text.count
    var longest = 0
    var hasUncounted = false
    var hasCalls = false
    let hasGroups = text.contains(UInt8(ascii: "("))
    let hasAlternatives = text.contains(UInt8(ascii: "|"))
    for (at, byte) in text.enumerated() {
      let rest = text[at...]
      switch byte {
      case UInt8(ascii: "{"):
        let repeats = PatternCost.largestNumber(rest.dropFirst())
        bytes += repeats
        longest = max(longest, repeats)
      case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "}"):
        if hasGroups, rest.dropFirst().first == UInt8(ascii: "+") { hasUncounted = true }
      case UInt8(ascii: "\\"):
        if rest.starts(with: "\\g<".utf8) || rest.starts(with: "\\g'".utf8) { hasCalls = true }
      case UInt8(ascii: "("):
        if PatternCost.isCall(rest) { hasCalls = true }
        if PatternCost.isLongLookAround(rest) { hasUncounted = true }
      case UInt8(ascii: ")"):
        if hasAlternatives, PatternCost.isRepeated(rest.dropFirst()) { hasUncounted = true }
      default: break
      }
    }
    self.bytes = bytes
    longestRepeat = longest
    hasUncountedSteps = hasUncounted
    self.hasCalls = hasCalls
  }

  /// Whether a quantifier that repeats follows, or something that libpcre2 may skip in front of one.
  private static func isRepeated(_ text: ArraySlice<UInt8>) -> Bool {
    let next = text.drop { $0 == 0x20 || $0 >= 0x09 && $0 <= 0x0d }
    return ["*", "+", "{", "#", "\\E", "\\Q", "(?#"].contains { next.starts(with: $0.utf8) }
  }

  /// A subroutine call: `(?R)`, `(?1)`, `(?-1)`, `(?+1)`, `(?&name)`, `(?P>name)`.
  private static func isCall(_ text: ArraySlice<UInt8>) -> Bool {
    let start = text.prefix(4).map { $0 >= 0x30 && $0 <= 0x39 ? UInt8(ascii: "0") : $0 }
    return ["(?R", "(?0", "(?-0", "(?+", "(?&", "(?P>"].contains { start.starts(with: $0.utf8) }
  }

  /// A look-around, unless it holds nothing but literal bytes, as `(?!admin/)` does: those cost no more than elsewhere.
  private static func isLongLookAround(_ text: ArraySlice<UInt8>) -> Bool {
    // The alphabetic forms, such as `(*napla:`.
    if text.starts(with: "(*".utf8) { return true }
    guard let opening = ["(?=", "(?!", "(?<=", "(?<!"].first(where: { text.starts(with: $0.utf8) }) else {
      return false
    }
    var escaped = false
    for byte in text.dropFirst(opening.utf8.count) {
      if escaped {
        guard byte == UInt8(ascii: ".") || byte == UInt8(ascii: "/") || byte == UInt8(ascii: "-") else { return true }
        escaped = false
        continue
      }
      switch byte {
      case UInt8(ascii: ")"): return false
      case UInt8(ascii: "\\"): escaped = true
      case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"), UInt8(ascii: "("),
        UInt8(ascii: "["):
        return true
      default: break
      }
    }
    return true
  }

  /// The largest number before the next closing brace.
  private static func largestNumber(_ text: ArraySlice<UInt8>) -> Int {
    var largest = 0
    var number = 0
    for byte in text {
      if byte == UInt8(ascii: "}") { break }
      // libpcre2 accepts at most 65,535.
      number = byte >= 0x30 && byte <= 0x39 ? min(65_535, number * 10 + Int(byte - 0x30)) : 0
      largest = max(largest, number)
    }
    return largest
  }
}
