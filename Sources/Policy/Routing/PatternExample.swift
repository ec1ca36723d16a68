// Texts that a pattern may match, made from what is written in it, for the self-test: it needs a request for each route. What is read
// here is the common part of PCRE2's syntax: literals, classes, groups, alternatives, quantifiers. Look-arounds are passed over, and
// what is not known (back-references, calls of groups, verbs, properties) makes no text. So a text is only a proposal: whoever uses
// one asks the engine first. Work and memory are bounded by the pattern's length and `bytesMax`.

package enum PatternExample {
  /// An example is not longer.
  package static let bytesMax = 512

  /// Proposals, each once, at most 16; none where the pattern cannot be read.
  /// - Parameter first: the byte that a text has to begin with, where the pattern leaves a choice.
  package static func proposals(for pattern: String, first: UInt8? = nil) -> [[UInt8]] {
    let text = Array(pattern.utf8)
    var proposals: [[UInt8]] = []
    let branches = text.contains(UInt8(ascii: "|")) ? 4 : 1
    for filler in ["a", "0"] {
      for repeats in [1, 0] {
        for branch in 0..<branches {
          var reader = Reader(text, first: first, filler: filler.utf8.first ?? 0, repeats: repeats, branch: branch)
          guard let made = reader.whole(), !proposals.contains(made) else { continue }
          proposals.append(made)
        }
      }
    }
    return proposals
  }

  /// Bytes of ASCII, a bit each.
  private struct ByteSet {
    var low: UInt64 = 0
    var high: UInt64 = 0

    /// What can stand in a target or a host.
    static let visible = ByteSet(0x21...0x7e)
    static let digits = ByteSet(0x30...0x39)
    static let word = ByteSet(0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f...0x5f)
    static let space = ByteSet(0x09...0x0d, 0x20...0x20)

    init(_ ranges: ClosedRange<UInt8>...) { for range in ranges { insert(range) } }

    mutating func insert(_ range: ClosedRange<UInt8>) {
      for byte in range where byte < 128 {
        if byte < 64 { low |= 1 << UInt64(byte) } else { high |= 1 << UInt64(byte - 64) }
      }
    }

    mutating func formUnion(_ other: ByteSet) {
      low |= other.low
      high |= other.high
    }

    var inverted: ByteSet {
      var set = self
      set.low = ~low
      set.high = ~high
      return set
    }

    func contains(_ byte: UInt8) -> Bool {
      byte < 64 ? low & (1 << UInt64(byte)) != 0 : byte < 128 && high & (1 << UInt64(byte - 64)) != 0
    }
  }

  /// Reads a pattern once and writes one text. Nil from any function: there is something that it does not know.
  private struct Reader {
    private let text: [UInt8]
    private let first: UInt8?
    /// Taken where a class or a dot leaves the choice.
    private let filler: UInt8
    /// How often an item comes that need not, or may come more often.
    private let repeats: Int
    /// Which alternative is taken, counted from 0 and again from the first.
    private let branch: Int
    private var at = 0
    private var depth = 0

    /// Nested groups.
    private static let depthMax = 32

    init(_ text: [UInt8], first: UInt8?, filler: UInt8, repeats: Int, branch: Int) {
      self.text = text
      self.first = first
      self.filler = filler
      self.repeats = repeats
      self.branch = branch
    }

    mutating func whole() -> [UInt8]? {
      guard let made = alternatives(isFirst: true), at == text.count else { return nil }
      return made
    }

    private func isNext(_ literal: StaticString) -> Bool {
      let count = literal.utf8CodeUnitCount
      return at + count <= text.count && "\(literal)".utf8.elementsEqual(text[at..<at + count])
    }

    private mutating func skip(_ literal: StaticString) -> Bool {
      guard isNext(literal) else { return false }
      at += literal.utf8CodeUnitCount
      return true
    }

    // MARK: Structure

    private mutating func alternatives(isFirst: Bool) -> [UInt8]? {
      guard depth < Reader.depthMax else { return nil }
      depth += 1
      defer { depth -= 1 }
      var branches: [[UInt8]] = []
      repeat {
        guard let one = sequence(isFirst: isFirst) else { return nil }
        branches.append(one)
      } while skip("|")
      return branches[branch % branches.count]
    }

    private mutating func sequence(isFirst: Bool) -> [UInt8]? {
      var made: [UInt8] = []
      while at < text.count, !isNext("|"), !isNext(")") {
        guard let item = item(isFirst: isFirst && made.isEmpty), let bounds = quantifier() else { return nil }
        let count = max(bounds.lowerBound, min(repeats, bounds.upperBound))
        guard made.count + item.count * count <= bytesMax else { return nil }
        for _ in 0..<(item.isEmpty ? 0 : count) { made += item }
      }
      return made
    }

    private mutating func item(isFirst: Bool) -> [UInt8]? {
      let byte = text[at]
      switch byte {
      case UInt8(ascii: "("): return group(isFirst: isFirst)
      case UInt8(ascii: "["): return classOfBytes().flatMap { pick($0, isFirst: isFirst) }
      case UInt8(ascii: "\\"): return escape(isFirst: isFirst)
      case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): return nil
      case UInt8(ascii: "."):
        at += 1
        return pick(.visible, isFirst: isFirst)
      case UInt8(ascii: "^"), UInt8(ascii: "$"):
        at += 1
        return []
      default:
        at += 1
        return [byte]
      }
    }

    /// How often the item before may come: once where nothing is said. Whether it is lazy or possessive makes no text.
    private mutating func quantifier() -> ClosedRange<Int>? {
      guard at < text.count else { return 1...1 }
      let bounds: ClosedRange<Int>
      switch text[at] {
      case UInt8(ascii: "*"): bounds = 0...bytesMax
      case UInt8(ascii: "+"): bounds = 1...bytesMax
      case UInt8(ascii: "?"): bounds = 0...1
      case UInt8(ascii: "{"):
        guard let braces = braces() else { return 1...1 }
        bounds = braces
      default: return 1...1
      }
      at += 1
      if !skip("?") { _ = skip("+") }
      return bounds
    }

    /// `{2}`, `{2,}`, `{2,5}`: left at the closing brace. Nil where the brace is a literal.
    private mutating func braces() -> ClosedRange<Int>? {
      var end = at + 1
      func number() -> Int? {
        let start = end
        var value = 0
        while end < text.count, text[end] >= 0x30, text[end] <= 0x39 {
          value = min(value * 10 + Int(text[end] - 0x30), 65_535)
          end += 1
        }
        return end > start ? value : nil
      }
      guard let least = number() else { return nil }
      var most = least
      if end < text.count, text[end] == UInt8(ascii: ",") {
        end += 1
        most = number() ?? max(least, bytesMax)
      }
      guard end < text.count, text[end] == UInt8(ascii: "}"), least <= most else { return nil }
      at = end
      return least...most
    }

    // MARK: Groups

    private mutating func group(isFirst: Bool) -> [UInt8]? {
      if isNext("(*") { return nil }
      if skip("(?#") {
        while at < text.count, text[at] != UInt8(ascii: ")") { at += 1 }
        return skip(")") ? [] : nil
      }
      for lookAround: StaticString in ["(?=", "(?!", "(?<=", "(?<!"] where skip(lookAround) {
        return alternatives(isFirst: isFirst) != nil && skip(")") ? [] : nil
      }
      if skip("(?:") || skip("(?>") || skip("(?|") {
        // Groups without a name.
      } else if skip("(?<") || skip("(?P<") || skip("(?'") {
        while at < text.count, text[at] != UInt8(ascii: ">"), text[at] != UInt8(ascii: "'") { at += 1 }
        at += 1
      } else if skip("(?") {
        // Options: on their own, or for a group.
        while at < text.count, "imsxnJU-^".utf8.contains(text[at]) { at += 1 }
        if skip(")") { return [] }
        guard skip(":") else { return nil }
      } else {
        at += 1
      }
      guard let made = alternatives(isFirst: isFirst), skip(")") else { return nil }
      return made
    }

    // MARK: Bytes

    private func pick(_ set: ByteSet, isFirst: Bool) -> [UInt8]? {
      if isFirst, let first, set.contains(first) { return [first] }
      if set.contains(filler) { return [filler] }
      let plain = "a0A-_./"
      if let byte = plain.utf8.first(where: set.contains) { return [byte] }
      return (0x21...0x7e).first(where: set.contains).map { [$0] }
    }

    private mutating func escape(isFirst: Bool) -> [UInt8]? {
      if skip("\\Q") {
        var quoted: [UInt8] = []
        while at < text.count, !isNext("\\E") {
          quoted.append(text[at])
          at += 1
        }
        _ = skip("\\E")
        return quoted
      }
      for empty: StaticString in ["\\E", "\\b", "\\B", "\\A", "\\z", "\\Z", "\\G"] where skip(empty) { return [] }
      if let set = escapedClass() { return pick(set, isFirst: isFirst) }
      return escapedByte().map { [$0] }
    }

    /// `\d` and its like.
    private mutating func escapedClass() -> ByteSet? {
      guard at + 1 < text.count else { return nil }
      let set: ByteSet
      switch text[at + 1] {
      case UInt8(ascii: "d"): set = .digits
      case UInt8(ascii: "D"): set = ByteSet.digits.inverted
      case UInt8(ascii: "w"): set = .word
      case UInt8(ascii: "W"): set = ByteSet.word.inverted
      case UInt8(ascii: "s"), UInt8(ascii: "h"): set = .space
      case UInt8(ascii: "S"), UInt8(ascii: "H"): set = ByteSet.space.inverted
      case UInt8(ascii: "N"): set = .visible
      default: return nil
      }
      at += 2
      return set
    }

    /// A byte that stands for itself behind a backslash, or in two hexadecimal digits.
    private mutating func escapedByte() -> UInt8? {
      guard at + 1 < text.count else { return nil }
      let byte = text[at + 1]
      if byte == UInt8(ascii: "x") {
        guard at + 3 < text.count,
          let value = UInt8(String(decoding: text[at + 2...at + 3], as: UTF8.self), radix: 16)
        else { return nil }
        at += 4
        return value
      }
      guard byte > 0x20, byte < 0x7f, !ByteSet.word.contains(byte) || byte == UInt8(ascii: "_") else { return nil }
      at += 2
      return byte
    }

    /// `[a-z_]`, `[^/]`. POSIX names are not read.
    private mutating func classOfBytes() -> ByteSet? {
      at += 1
      let isNegated = skip("^")
      var set = ByteSet()
      var isEmpty = true
      while at < text.count {
        if isNext("]"), !isEmpty {
          at += 1
          return isNegated ? set.inverted : set
        }
        if isNext("[:") || isNext("[.") || isNext("[=") { return nil }
        isEmpty = false
        if isNext("\\"), let known = escapedClass() {
          set.formUnion(known)
          continue
        }
        guard let lower = classByte() else { return nil }
        guard isNext("-"), at + 1 < text.count, text[at + 1] != UInt8(ascii: "]") else {
          set.insert(lower...lower)
          continue
        }
        at += 1
        guard let upper = classByte(), lower <= upper else { return nil }
        set.insert(lower...upper)
      }
      return nil
    }

    private mutating func classByte() -> UInt8? {
      guard at < text.count else { return nil }
      if isNext("\\") { return escapedByte() }
      defer { at += 1 }
      return text[at]
    }
  }
}
