// What a pattern's text says of the cost of matching it: which patterns the library's count of steps does not bound, and
// what one step or one item may cost. Everything is read too high rather than too low: what looks like a quantifier counts
// as one, wherever it stands. Made when a pattern is compiled.

struct PatternCost {
  /// What one step may do besides reading the subject once: the items of the pattern, and as often as `{n}` says.
  let bytes: Int
  /// The largest n of a `{n}`. An item that is wanted so often may fail at the last.
  let longestRepeat: Int
  /// The library may do what it does not count: the rounds of a group with a possessive quantifier, or of one in which an
  /// alternative fails and another takes the round; and what goes on in a look-around, which takes back what it had counted.
  let hasUncountedSteps: Bool
  /// There may be a call of a group, which is not counted and can be made to double at every level.
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

  /// Whether a quantifier that repeats comes next, or something that the library may skip before one.
  private static func isRepeated(_ text: ArraySlice<UInt8>) -> Bool {
    let next = text.drop { $0 == 0x20 || $0 >= 0x09 && $0 <= 0x0d }
    return ["*", "+", "{", "#", "\\E", "\\Q", "(?#"].contains { next.starts(with: $0.utf8) }
  }

  /// `(?R)`, `(?1)`, `(?-1)`, `(?+1)`, `(?&name)`, `(?P>name)`.
  private static func isCall(_ text: ArraySlice<UInt8>) -> Bool {
    let start = text.prefix(4).map { $0 >= 0x30 && $0 <= 0x39 ? UInt8(ascii: "0") : $0 }
    return ["(?R", "(?0", "(?-0", "(?+", "(?&", "(?P>"].contains { start.starts(with: $0.utf8) }
  }

  /// A look-around, unless there are only bytes in it, as in `(?!admin/)`: these cost no more than any others.
  private static func isLongLookAround(_ text: ArraySlice<UInt8>) -> Bool {
    // `(*napla:` and its kin.
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

  /// The largest number before the next brace that closes.
  private static func largestNumber(_ text: ArraySlice<UInt8>) -> Int {
    var largest = 0
    var number = 0
    for byte in text {
      if byte == UInt8(ascii: "}") { break }
      // The library takes 65,535 at most.
      number = byte >= 0x30 && byte <= 0x39 ? min(65_535, number * 10 + Int(byte - 0x30)) : 0
      largest = max(largest, number)
    }
    return largest
  }
}
