// YAML as this project takes it: mappings, lists and words, each with its place. Scalars stay raw text, so that
// a bare `off` is the word off and `010` is not eight. Anchors, aliases and tags are refused, and so is
// whatever is nested deeper than any configuration is; duplicate keys are found, all of them.
// Used by ConfigReader alone.

import Yams

/// A value of the document.
struct YAMLNode {
  var place: Place
  var value: Value

  indirect enum Value {
    /// `plain`: written without quotes.
    case scalar(String, plain: Bool)
    case sequence([YAMLNode])
    case mapping([(key: String, place: Place, value: YAMLNode)])
    /// Reported already; whoever reads it says nothing more.
    case refused
  }
}

extension YAMLNode {
  var isRefused: Bool {
    if case .refused = value { true } else { false }
  }
}

/// Reads one document. The root is nil when there is nothing to walk; `diagnostics` says why.
struct YAMLDocument {
  private(set) var root: YAMLNode?
  private(set) var diagnostics: [Diagnostic] = []

  private static let depthMax = 16
  private static let duplicatesMax = 100
  private static let aliasesMax = 16

  private var masks: [Mask] = []

  /// A key that was made unique by a prefix, so that the parser, which stops at the first duplicate, goes on.
  private struct Mask {
    var place: Place
    var prefix: String
    /// Columns right of `place` in its line stand this much further right than in the file.
    var width: Int
  }

  init(text: String) {
    guard checkCharacters(text), checkAliases(text) else { return }
    var text = text
    // The first pass that finds no duplicate ends; each other pass masks one key.
    for _ in 0...Self.duplicatesMax {
      do {
        // The parser holds the anchors, which its nodes refer to weakly.
        let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
        if let node = try parser.singleRoot() { root = convert(node, depth: 0) }
        if case .refused? = root?.value { root = nil }
        withExtendedLifetime(parser) {}
        return
      } catch YamlError.duplicatedKeysInMapping(_, let context) {
        guard let masked = masking(context.mark, in: text) else {
          report(original(context.mark), "duplicate key in this mapping")
          return
        }
        text = masked
      } catch let error as YamlError {
        report(syntax: error)
        return
      } catch {
        report(.none, "cannot be read as YAML: \(error)")
        return
      }
    }
    report(.none, "more than \(Self.duplicatesMax) duplicate keys")
  }

  private mutating func report(_ place: Place, _ message: String) {
    let diagnostic = Diagnostic(.error, at: place, message)
    if !diagnostics.contains(diagnostic) { diagnostics.append(diagnostic) }
  }

  // MARK: Nodes

  private mutating func convert(_ node: Node, depth: Int) -> YAMLNode {
    let place = node.mark.map(original) ?? .none
    guard node.anchor == nil else { return refuse(place, Self.noAliases) }
    guard depth < Self.depthMax else { return refuse(place, "nested more than \(Self.depthMax) deep") }
    // Comparing keys gives a bare scalar, list or mapping the tag of its kind.
    guard [.implicit, .str, .seq, .map].contains(Tag.Name(rawValue: node.writtenTag)) else {
      return refuse(place, "YAML tags (`!…`) are not taken here: write the bare value")
    }
    switch node {
    case .scalar(let scalar):
      return YAMLNode(place: place, value: .scalar(scalar.string, plain: scalar.style == .plain))
    case .sequence(let sequence):
      return YAMLNode(place: place, value: .sequence(sequence.map { convert($0, depth: depth + 1) }))
    case .mapping(let mapping):
      return YAMLNode(place: place, value: .mapping(pairs(of: mapping, depth: depth)))
    case .alias:
      return refuse(place, Self.noAliases)
    }
  }

  private static let noAliases =
    "anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that "
    + "starts with `*` or `&`"

  private mutating func refuse(_ place: Place, _ message: String) -> YAMLNode {
    report(place, message)
    return YAMLNode(place: place, value: .refused)
  }

  private mutating func pairs(
    of mapping: Node.Mapping, depth: Int
  ) -> [(key: String, place: Place, value: YAMLNode)] {
    var pairs: [(key: String, place: Place, value: YAMLNode)] = []
    var first: [String: Place] = [:]
    for (key, value) in mapping {
      let node = convert(key, depth: depth + 1)
      let place = node.place
      guard case .scalar(let text, _) = node.value else {
        if case .refused = node.value {} else { report(place, "a key must be a word") }
        continue
      }
      let name = unmasked(text, at: place)
      if let earlier = first[name] {
        report(place, "duplicate key \(quoted(name)): it was given in line \(earlier.line) already")
        continue
      }
      first[name] = place
      pairs.append((name, place, convert(value, depth: depth + 1)))
    }
    return pairs
  }

  // MARK: Duplicate keys

  /// The text with the key at `mark` made unique, or nil when it is not a plain or quoted word.
  private mutating func masking(_ mark: Mark, in text: String) -> String? {
    guard let index = Self.index(of: Place(line: mark.line, column: mark.column), in: text) else { return nil }
    let scalars = text.unicodeScalars
    var at = index
    guard at < scalars.endIndex else { return nil }
    switch scalars[at] {
    case "\"", "'": at = scalars.index(after: at)
    case "&", "*", "!", "?", "|", ">", "[", "{": return nil
    default: break
    }
    let prefix = "\u{E000}\(masks.count)\u{E001}"
    let width = prefix.unicodeScalars.count
    masks.append(Mask(place: original(mark), prefix: prefix, width: width))
    var masked = text
    masked.unicodeScalars.insert(contentsOf: prefix.unicodeScalars, at: at)
    return masked
  }

  private func unmasked(_ key: String, at place: Place) -> String {
    guard let mask = masks.first(where: { $0.place == place }) else { return key }
    return String(key.trimmingPrefix(mask.prefix))
  }

  /// Where a mark of the masked text lies in the file.
  private func original(_ mark: Mark) -> Place {
    var column = mark.column
    // Masks of one line, from the left: each moves what lies right of it.
    for mask in masks.filter({ $0.place.line == mark.line }).sorted(by: { $0.place < $1.place })
    where column > mask.place.column {
      column -= mask.width
    }
    return Place(line: mark.line, column: column)
  }

  /// Lines as libyaml counts them: a line ends at CR, LF, CRLF, NEL, LS or PS.
  private static func index(of place: Place, in text: String) -> String.Index? {
    var line = 1
    var column = 1
    let scalars = text.unicodeScalars
    var at = scalars.startIndex
    while at < scalars.endIndex {
      if line == place.line, column == place.column { return at }
      let next = scalars.index(after: at)
      switch scalars[at] {
      case "\r" where next < scalars.endIndex && scalars[next] == "\n": column += 1
      case "\r", "\n", "\u{85}", "\u{2028}", "\u{2029}":
        line += 1
        column = 1
      default: column += 1
      }
      at = next
    }
    return nil
  }
}

// MARK: Syntax

extension YAMLDocument {
  /// What libyaml would refuse without a place; and the masks' own characters.
  private mutating func checkCharacters(_ text: String) -> Bool {
    var line = 1
    var column = 1
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x0a, 0x85, 0x2028, 0x2029:
        line += 1
        column = 0
      case 0x09, 0x0d, 0x20...0x7e, 0xa0...0xd7ff, 0xf900...0xfefe, 0xff00...0xfffd, 0x10000...: break
      default:
        let hex = String(scalar.value, radix: 16, uppercase: true)
        let code = String(repeating: "0", count: max(0, 4 - hex.count)) + hex
        report(Place(line: line, column: column), "the character U+\(code) has no place in a configuration")
        return false
      }
      column += 1
    }
    return true
  }

  /// Comparing keys that hold aliases of aliases takes for ever, so what looks like more than a few aliases ends
  /// here; a few are reported in their places. Quotes and comments are told apart line by line, roughly: it is a
  /// bound on time, not what keeps aliases out.
  private mutating func checkAliases(_ text: String) -> Bool {
    var count = 0
    var line = 1
    var column = 1
    var before: UInt8 = 0x0a
    var star: Place?
    var quote: UInt8?
    var inComment = false
    for byte in text.utf8 {
      if let place = star, byte > 0x20, byte != UInt8(ascii: "."), byte != UInt8(ascii: "*") {
        count += 1
        if count > Self.aliasesMax {
          report(place, Self.noAliases)
          return false
        }
      }
      star = nil
      let opens = before <= 0x20 || before == UInt8(ascii: "[") || before == UInt8(ascii: "{") || before == 0x2c
      if byte == 0x0a {
        line += 1
        column = 0
        inComment = false
        quote = nil
      } else if inComment {
        // To the end of the line.
      } else if let open = quote {
        if byte == open, before != UInt8(ascii: "\\") { quote = nil }
      } else if opens {
        switch byte {
        case UInt8(ascii: "#"): inComment = before <= 0x20
        case UInt8(ascii: "\""), UInt8(ascii: "'"): quote = byte
        case UInt8(ascii: "*"): star = Place(line: line, column: column)
        default: break
        }
      }
      if byte & 0xc0 != 0x80 { column += 1 }
      before = byte
    }
    return true
  }

  private mutating func report(syntax error: YamlError) {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      report(original(mark), Self.explain(problem, context))
    case .reader(let problem, _, _, _): report(.none, "cannot be read as YAML: \(problem)")
    default: report(.none, "cannot be read as YAML: \(error)")
    }
  }

  private static func explain(_ problem: String, _ context: YamlError.Context?) -> String {
    if problem.contains("cannot start any token") {
      return "YAML syntax: this character cannot start a value: indent with spaces, not tabs, and quote a text "
        + "that starts with `%`, `@` or a backquote"
    }
    if problem.contains("found undefined alias") {
      return noAliases
    }
    if problem.contains("another document") { return "a second document: one file holds one configuration" }
    if problem.contains("mapping values are not allowed") {
      return "YAML syntax: a `:` that cannot be here: check the indentation, and quote a value that holds `: `"
    }
    guard let context else { return "YAML syntax: \(problem)" }
    let text = context.text.trimmingPrefix("while ")
    return "YAML syntax: \(problem), \(text) that starts in line \(context.mark.line)"
  }
}

extension Node {
  /// The tag as it stands, without resolving it.
  fileprivate var writtenTag: String {
    switch self {
    case .scalar(let scalar): scalar.tag.rawValue
    case .sequence(let sequence): sequence.tag.rawValue
    case .mapping(let mapping): mapping.tag.rawValue
    case .alias: ""
    }
  }
}

/// A text of the file as messages show it: short, and with nothing that a terminal obeys.
func quoted(_ text: String) -> String {
  var shown = ""
  for scalar in text.unicodeScalars.prefix(60) {
    shown += scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? "\u{FFFD}" : String(scalar)
  }
  return "`\(shown)\(text.unicodeScalars.count > 60 ? "…" : "")`"
}
