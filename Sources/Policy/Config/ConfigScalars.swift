// The values a configuration is made of, each from raw text: words, counts, durations, sizes, names, paths,
// patterns, addresses, ranges, endpoints. Every one is bounded, and says what it takes.

import FoundationEssentials
import Wire

/// Durations on the command line, spelt as in the configuration.
package enum DurationText {
  /// Milliseconds, or nil where it is none.
  package static func milliseconds(_ text: String) -> Int? {
    guard let (number, name) = Unit.split(text), let unit = Unit.durations.first(where: { $0.name == name }) else {
      return nil
    }
    let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
    return overflow ? nil : product
  }
}

/// What the units of durations and sizes stand for, the greatest first.
enum Unit {
  static let durations: [(name: String, milliseconds: Int)] = [
    ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
  ]
  static let sizes: [(name: String, bytes: Int)] = [
    ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1),
  ]

  /// `value` in the greatest unit that holds it whole.
  static func text(_ value: Int, _ units: [(name: String, Int)]) -> String {
    guard value != 0, let unit = units.first(where: { value % $0.1 == 0 }) else { return "\(value)" }
    return "\(value / unit.1)\(unit.name)"
  }

  static func duration(_ milliseconds: Int) -> String {
    text(milliseconds, durations.map { ($0.name, $0.milliseconds) })
  }
  static func size(_ bytes: Int) -> String { text(bytes, sizes.map { ($0.name, $0.bytes) }) }

  /// The digits at the front, without leading zeros, and what follows them.
  static func split(_ text: String) -> (number: Int, unit: String)? {
    let digits = text.utf8.prefix { (0x30...0x39).contains($0) }
    guard !digits.isEmpty, digits.count <= 15, digits.count == 1 || digits.first != 0x30 else { return nil }
    guard let number = Int(String(Substring(digits))) else { return nil }
    return (number, String(text.dropFirst(digits.count)))
  }
}

extension Reading {
  /// The text of a scalar, with what it refers to outside.
  mutating func text(_ node: YAMLNode, _ path: String, expected: String) -> String? {
    guard let text = verbatim(node, path, expected: expected) else { return nil }
    return expanded(text, node, path)
  }

  /// The same, in which a `$` is a `$`.
  mutating func verbatim(_ node: YAMLNode, _ path: String, expected: String) -> String? {
    guard case .scalar(let text, let plain) = node.value, !(plain && text.isEmpty) else {
      return wrong(node, path, expected: expected)
    }
    return text
  }

  /// Whether `node` is this word, itself or by what it refers to. Says nothing of what is wrong with it.
  func isWord(_ node: YAMLNode, _ word: String) -> Bool {
    guard case .scalar(let text, _) = node.value else { return false }
    guard text.contains("${") else { return text == word }
    var attempt = self
    return attempt.expanded(text, node, "") == word
  }

  /// Reports `node` as not `expected`.
  mutating func wrong<T>(_ node: YAMLNode, _ path: String, expected: String, suggestion: String? = nil) -> T? {
    faulty.insert(path)
    if node.isRefused { return nil }
    // What a reference stands for is not shown, nor is anything made of it.
    var end = suggestion.map { ": did you mean `\($0)`?" } ?? ""
    if case .scalar(let text, _) = node.value, text.contains("${") { end = ", which stands for something else" }
    error(node.place, "expected \(expected) for `\(path)`, found \(describe(node))\(end)")
    return nil
  }

  // MARK: Words and numbers

  /// One of a few words.
  mutating func word<Word: RawRepresentable & CaseIterable>(
    _ node: YAMLNode, _ path: String, _: Word.Type = Word.self
  ) -> Word? where Word.RawValue == String {
    let words = Word.allCases.map(\.rawValue)
    guard let index = word(node, path, of: words) else { return nil }
    return Word(rawValue: words[index])
  }

  /// Which of `words`; a truth value written in another way is led to the right word.
  /// - Parameter expected: what is expected where that is not only one of them.
  /// - Parameter ignoresCase: names of fields have no case; `words` are in lower case.
  mutating func word(
    _ node: YAMLNode, _ path: String, of words: [String], expected: String? = nil, ignoresCase: Bool = false
  ) -> Int? {
    let expected = expected ?? (words.count == 1 ? "`\(words[0])`" : "one of \(list(words))")
    guard let text = text(node, path, expected: expected) else { return nil }
    let lower = text.lowercased()
    if let index = words.firstIndex(of: ignoresCase ? lower : text) { return index }
    let alike: [[String]] = [["false", "no", "off", "none"], ["true", "yes", "on", "required"]]
    let suggestion = alike.first { $0.contains(lower) }?.first { words.contains($0) }
    return wrong(
      node, path, expected: expected,
      suggestion: suggestion ?? Spelling.nearest(to: ignoresCase ? lower : text, among: words))
  }

  mutating func truth(_ node: YAMLNode, _ path: String) -> Bool? {
    word(node, path, of: ["false", "true"]).map { $0 == 1 }
  }

  mutating func count(_ node: YAMLNode, _ path: String, _ bounds: ClosedRange<Int>) -> Int? {
    let expected = "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard let (number, unit) = Unit.split(text), unit.isEmpty, bounds.contains(number) else {
      return wrong(node, path, expected: expected)
    }
    return number
  }

  /// In milliseconds. `0` alone is taken where the bounds begin with it.
  mutating func duration(_ node: YAMLNode, _ path: String, _ bounds: ClosedRange<Int>) -> Int? {
    let range = "\(Unit.duration(bounds.lowerBound)) to \(Unit.duration(bounds.upperBound))"
    let expected = "a duration from \(range)"
    return measure(
      node, path, bounds, expected: expected, units: Unit.durations.map { ($0.name, $0.milliseconds) }, usual: "s")
  }

  /// In bytes.
  mutating func size(_ node: YAMLNode, _ path: String, _ bounds: ClosedRange<Int>) -> Int? {
    let range = "\(Unit.size(bounds.lowerBound)) to \(Unit.size(bounds.upperBound))"
    return measure(
      node, path, bounds, expected: "a size from \(range)", units: Unit.sizes.map { ($0.name, $0.bytes) }, usual: "B")
  }

  private mutating func measure(
    _ node: YAMLNode, _ path: String, _ bounds: ClosedRange<Int>, expected: String, units: [(name: String, Int)],
    usual: String
  ) -> Int? {
    guard let text = text(node, path, expected: expected) else { return nil }
    guard let (number, unit) = Unit.split(text) else { return wrong(node, path, expected: expected) }
    if number == 0, unit.isEmpty, bounds.lowerBound == 0 { return 0 }
    let names = units.map(\.name)
    guard let factor = units.first(where: { $0.name == unit })?.1 else {
      guard !unit.isEmpty else {
        let suggestion = bounds.contains(number * (usual == "s" ? 1000 : 1)) ? "\(number)\(usual)" : nil
        return wrong(
          node, path, expected: "\(expected), with a unit (\(list(names.reversed())))", suggestion: suggestion)
      }
      let suggestion = Self.unitAlias[unit.lowercased()].flatMap { names.contains($0) ? "\(number)\($0)" : nil }
      return wrong(node, path, expected: "\(expected), in \(list(names.reversed()))", suggestion: suggestion)
    }
    let (value, overflow) = number.multipliedReportingOverflow(by: factor)
    guard !overflow, bounds.contains(value) else { return wrong(node, path, expected: expected) }
    return value
  }

  private static let unitAlias = [
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hour": "h", "hours": "h", "msec": "ms", "millis": "ms", "milliseconds": "ms", "k": "KiB", "kb": "KiB",
    "kib": "KiB", "m": "MiB", "mb": "MiB", "mib": "MiB", "g": "GiB", "gb": "GiB", "gib": "GiB", "b": "B",
    "bytes": "B", "byte": "B", "ki": "KiB", "mi": "MiB", "gi": "GiB", "h": "h", "s": "s", "ms": "ms",
  ]

  // MARK: Names, paths, patterns

  /// The alphabets of names. An audience is in lower case, as specification section 1 says.
  enum NameKind: String {
    case audience = "1 to 64 of `a-z`, `0-9`, `.` and `-`"
    case keyID = "1 to 32 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`"
    case name = "1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`"

    func admits(_ text: String) -> Bool {
      let bytes = text.utf8
      guard (1...(self == .keyID ? 32 : 64)).contains(bytes.count) else { return false }
      return bytes.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
          UInt8(ascii: "-"):
          true
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): self != .audience
        default: false
        }
      }
    }
  }

  mutating func name(_ node: YAMLNode, _ path: String, _ kind: NameKind, what: String = "a name") -> String? {
    let expected = "\(what) of \(kind.rawValue)"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard kind.admits(text) else {
      let lower = text.lowercased()
      return wrong(node, path, expected: expected, suggestion: kind.admits(lower) ? lower : nil)
    }
    return text
  }

  /// Absolute, from the file's directory.
  mutating func file(_ node: YAMLNode, _ path: String, what: String = "the path of a file") -> String? {
    guard let text = text(node, path, expected: what) else { return nil }
    guard Self.isPath(text), !text.hasSuffix("/") else { return wrong(node, path, expected: what) }
    return absolute(text, from: node.place)
  }

  /// The empty one, such as of a variable that is set to nothing, would be the directory of the file that it stands in.
  static func isPath(_ text: String) -> Bool {
    (1...4095).contains(text.utf8.count) && !text.utf8.contains(0) && !text.hasPrefix("~")
  }

  /// Relative paths start from the file that they stand in.
  func absolute(_ path: String, from place: Place) -> String {
    let base = URL(fileURLWithPath: FileManager.default.currentDirectoryPath, isDirectory: true)
    let file = URL(fileURLWithPath: place.file ?? config.file, relativeTo: base).standardizedFileURL
    return URL(fileURLWithPath: path, relativeTo: file.deletingLastPathComponent()).standardizedFileURL.path
  }

  /// PCRE2, compiled later; only its length is bounded here.
  mutating func pattern(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a pattern (PCRE2) of 1 to 2048 bytes"
    guard let text = verbatim(node, path, expected: expected) else { return nil }
    return (1...2048).contains(text.utf8.count) ? text : wrong(node, path, expected: expected)
  }

  /// The origin form of a request target, for health checks.
  mutating func target(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a path such as `/healthz`, at most 1024 visible ASCII characters"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard text.utf8.count <= 1024, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x23 }) else {
      return wrong(node, path, expected: expected)
    }
    return text.hasPrefix("/") ? text : wrong(node, path, expected: expected, suggestion: "/" + text)
  }
}
