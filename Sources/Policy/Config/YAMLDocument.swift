// YAML as this project takes it: mappings, lists and words, each with its place. Scalars stay raw text, so that
// a bare `off` is the word off and `010` is not eight. Anchors, aliases and tags are refused, and so is
// whatever is nested deeper than any configuration is; duplicate keys are found, all of them.
// Used by ConfigReader alone.

import Platform

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

  /// The included file that this is, as places name it.
  private let file: String?

  private static let depthMax = 16
  /// After so many anchors and aliases the rest is not read.
  private static let aliasesMax = 16

  private var aliases = 0
  /// What follows is not read: there are too many aliases, or it is nested too deep.
  private var isGivenUp = false

  init(text: String, file: String? = nil) {
    self.file = file
    guard checkCharacters(text) else { return }
    do throws(YAMLSyntaxError) {
      try read(text)
    } catch {
      root = nil
      report(syntax: error)
    }
  }

  private mutating func read(_ text: String) throws(YAMLSyntaxError) {
    let parser = YAMLParser(text: text)
    guard try parser.next().kind == .documentStart else { return }
    let node = try node(parser.next(), parser, depth: 0)
    guard aliases <= Self.aliasesMax else { return }
    if !isGivenUp {
      _ = try parser.next()
      let next = try parser.next()
      guard next.kind == .streamEnd else {
        return report(place(next.mark), "a second document: one file holds one configuration")
      }
    }
    if !node.isRefused { root = node }
  }

  private mutating func report(_ place: Place, _ message: String) {
    let diagnostic = Diagnostic(.error, at: place, message)
    if !diagnostics.contains(diagnostic) { diagnostics.append(diagnostic) }
  }

  // MARK: Nodes

  /// The node that begins with `event`; what belongs to it is taken from the parser.
  private mutating func node(
    _ event: YAMLEvent, _ parser: YAMLParser, depth: Int
  ) throws(YAMLSyntaxError) -> YAMLNode {
    let place = self.place(event.mark)
    if event.kind == .alias || event.isAnchored {
      countAlias()
      return try refuse(event, parser, Self.noAliases)
    }
    guard depth < Self.depthMax else {
      // libyaml's time for what is nested n deep grows with the square of n.
      isGivenUp = true
      return try refuse(event, parser, "nested more than \(Self.depthMax) deep")
    }
    guard !event.isTagged else {
      return try refuse(event, parser, "YAML tags (`!…`) are not taken here: write the bare value")
    }
    switch event.kind {
    case .scalar(let text, let plain): return YAMLNode(place: place, value: .scalar(text, plain: plain))
    case .sequenceStart:
      var elements: [YAMLNode] = []
      while let next = try element(parser, until: .sequenceEnd) {
        elements.append(try node(next, parser, depth: depth + 1))
      }
      return YAMLNode(place: place, value: .sequence(elements))
    case .mappingStart: return YAMLNode(place: place, value: .mapping(try pairs(parser, depth: depth + 1)))
    case .documentStart, .documentEnd, .streamEnd, .sequenceEnd, .mappingEnd, .alias:
      preconditionFailure("libyaml's events are balanced")
    }
  }

  /// The next event in a list or a mapping; nil at its end, or where reading has been given up.
  private func element(_ parser: YAMLParser, until end: YAMLEvent.Kind) throws(YAMLSyntaxError) -> YAMLEvent? {
    guard !isGivenUp else { return nil }
    let event = try parser.next()
    return event.kind == end ? nil : event
  }

  private mutating func countAlias() {
    aliases += 1
    if aliases > Self.aliasesMax { isGivenUp = true }
  }

  private static let noAliases =
    "anchors and aliases (`&`, `*`) are not taken here: write the value out where it is used; quote a pattern that "
    + "starts with `*` or `&`"

  /// Reports the node that begins with `event`, and skips it.
  private mutating func refuse(
    _ event: YAMLEvent, _ parser: YAMLParser, _ message: String
  ) throws(YAMLSyntaxError) -> YAMLNode {
    report(place(event.mark), message)
    var depth = 0
    var kind = event.kind
    while !isGivenUp {
      switch kind {
      case .sequenceStart, .mappingStart: depth += 1
      case .sequenceEnd, .mappingEnd: depth -= 1
      default: break
      }
      if depth == 0 { break }
      let next = try parser.next()
      if next.kind == .alias || next.isAnchored { countAlias() }
      kind = next.kind
    }
    return YAMLNode(place: place(event.mark), value: .refused)
  }

  private mutating func pairs(
    _ parser: YAMLParser, depth: Int
  ) throws(YAMLSyntaxError) -> [(key: String, place: Place, value: YAMLNode)] {
    var pairs: [(key: String, place: Place, value: YAMLNode)] = []
    var first: [String: Place] = [:]
    while let event = try element(parser, until: .mappingEnd) {
      let key = try node(event, parser, depth: depth)
      guard !isGivenUp else { break }
      let value = try node(parser.next(), parser, depth: depth)
      guard case .scalar(let name, _) = key.value else {
        if !key.isRefused { report(key.place, "a key must be a word") }
        continue
      }
      if let earlier = first[name] {
        report(key.place, "duplicate key \(quoted(name)): it was given in line \(earlier.line) already")
        continue
      }
      first[name] = key.place
      pairs.append((name, key.place, value))
    }
    return pairs
  }
}

extension YAMLDocument {
  private func place(_ mark: YAMLMark) -> Place { Place(line: mark.line, column: mark.column, file: file) }
}

// MARK: Syntax

extension YAMLDocument {
  /// What libyaml would refuse without a place, and what nobody can see.
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
        report(Place(line: line, column: column, file: file), "the character U+\(code) has no place in a configuration")
        return false
      }
      column += 1
    }
    return true
  }

  private mutating func report(syntax error: YAMLSyntaxError) {
    report(place(error.mark), Self.explain(error))
  }

  private static func explain(_ error: YAMLSyntaxError) -> String {
    let problem = error.problem
    if problem.contains("cannot start any token") {
      return "YAML syntax: this character cannot start a value: indent with spaces, not tabs, and quote a text "
        + "that starts with `%`, `@` or a backquote"
    }
    if problem.contains("mapping values are not allowed") {
      return "YAML syntax: a `:` that cannot be here: check the indentation, and quote a value that holds `: `"
    }
    guard let context = error.context else { return "YAML syntax: \(problem)" }
    return "YAML syntax: \(problem), \(context.text.trimmingPrefix("while ")) that starts in line \(context.line)"
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
