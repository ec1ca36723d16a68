// YAML to Config. Everything wrong with a file is reported at once, in the order of the file, each finding with
// its place, what was expected and the nearest valid spelling. A Config that comes out has every default filled
// in and every name resolved; what it names on the disk is checked by whoever loads it.
// Called by the supervisor (run, reload) and by the commands check and explain.

import FoundationEssentials
import Platform
import Wire

/// What reading came to. `config` is nil exactly when a diagnostic is an error.
package struct ConfigResult: Sendable {
  package var config: Config?
  /// What could be read where something is wrong, for looking at the files that it names: what was wrong is left out or
  /// has a default. Nil where the file is none that could be read at all.
  package var partial: Config?
  /// In the order of the file.
  package var diagnostics: [Diagnostic]
}

package enum ConfigReader {
  /// A file larger than this is not a configuration.
  package static let bytesMax = 4 << 20

  package static func read(path: String) -> ConfigResult {
    let data: [UInt8]
    do throws(SystemError) {
      data = try TextFile.read(path: path, bytesMax: bytesMax + 1)
    } catch {
      return failure(
        error.code == TextFile.isDirectory ? "is a directory; the configuration is one file" : error.reason)
    }
    guard data.count <= bytesMax else { return failure("is larger than \(bytesMax >> 20) MiB") }
    guard let text = String(validating: data, as: UTF8.self) else {
      return ConfigResult(config: nil, diagnostics: [notUTF8(data)])
    }
    return read(text: text, path: path)
  }

  /// `path` need not exist: relative paths in `text` are relative to its directory.
  /// - Parameters:
  ///   - environment: what `${NAME}` stands for.
  ///   - isRunning: some process runs with it, perhaps one of an older version, and it is to be compared with: what was taken once, and
  ///     is refused now, is taken as it was.
  package static func read(
    text: String, path: String, environment: @escaping @Sendable (String) -> String? = Environment.value,
    isRunning: Bool = false
  ) -> ConfigResult {
    let text = withoutMark(text)
    // With every default written out it may be larger than its file was.
    let most = isRunning ? HandoverFrame.bytesMax : bytesMax
    guard text.utf8.count <= most else { return failure("is larger than \(most >> 20) MiB") }
    let document = YAMLDocument(text: text)
    var reading = Reading(file: path, environment: environment)
    reading.isRunning = isRunning
    reading.diagnostics = document.diagnostics
    if let root = document.root {
      reading.configuration(reading.including(root))
      reading.crossChecks()
    } else if document.diagnostics.isEmpty {
      reading.error(Place(line: 1, column: 1), "the file is empty; a configuration has at least \(Reading.essential)")
    }
    // Equal places keep the order in which they were found.
    let diagnostics = reading.diagnostics.enumerated()
      .sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }
      .map(\.element)
    let failed = diagnostics.contains { $0.severity == .error }
    return ConfigResult(
      config: failed ? nil : reading.config, partial: failed && document.root != nil ? reading.config : nil,
      diagnostics: diagnostics)
  }

  /// Where to listen or to connect, as written on a command line; relative paths are relative to the current directory.
  package static func endpoint(_ text: String) -> Config.Endpoint? {
    var reading = Reading(file: "command line")
    return reading.listenAddress(YAMLNode(place: .none, value: .scalar(text, plain: false)), "endpoint")
  }

  /// A range as written on a command line; an address alone is the range of itself.
  package static func range(_ text: String) -> IPPrefix? {
    var reading = Reading(file: "command line")
    return reading.prefix(YAMLNode(place: .none, value: .scalar(text, plain: false)), "range")
  }

  /// Contiguous UTF-8 without a byte order mark: columns are then those an editor shows.
  static func withoutMark(_ text: String) -> String {
    var text = text
    if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
    text.makeContiguousUTF8()
    return text
  }

  private static func failure(_ message: String) -> ConfigResult {
    ConfigResult(config: nil, diagnostics: [Diagnostic(.error, at: .none, message)])
  }

  static func notUTF8(_ data: [UInt8], file: String? = nil) -> Diagnostic {
    // The repaired text is the same up to the first fault, which stands there as U+FFFD.
    var line = 1
    var column = 1
    for scalar in String(decoding: data, as: UTF8.self).unicodeScalars {
      if scalar == "\u{FFFD}" { break }
      column = scalar == "\n" ? 1 : column + 1
      line += scalar == "\n" ? 1 : 0
    }
    return Diagnostic(.error, at: Place(line: line, column: column, file: file), "is not UTF-8 from here on")
  }
}

/// One walk over one document: what has been read, and what was found wrong.
struct Reading {
  static let essential = "`listeners`, `routes` and `upstreams`"

  var config = Config()
  var diagnostics: [Diagnostic] = []
  let environment: @Sendable (String) -> String?
  /// As for `ConfigReader.read`.
  var isRunning = false
  /// Keys whose value was wrong: no further finding follows from their absence.
  var faulty: Set<String> = []
  /// The first upstream that is attested to, and the first rule that takes attestations, by their place.
  var attests: Place?
  var verifies: Place?

  init(file: String, environment: @escaping @Sendable (String) -> String? = Environment.value) {
    config.file = file
    self.environment = environment
  }

  mutating func error(_ place: Place, _ message: String) {
    diagnostics.append(Diagnostic(.error, at: place, message))
  }

  /// Where something else stands that a finding at `place` is about: its line, with its file where that is another one.
  func spot(_ earlier: Place, from place: Place) -> String {
    earlier.file == place.file ? "line \(earlier.line)" : "\(earlier.file ?? config.file):\(earlier.line)"
  }

  mutating func warn(_ place: Place, _ message: String) {
    diagnostics.append(Diagnostic(.warning, at: place, message))
  }
}

// MARK: Mappings and lists

/// The pairs of one mapping, by key, after unknown keys were reported.
struct Fields {
  let place: Place
  /// Where it stands, such as `listeners[0].tls`; empty for the whole document.
  let path: String
  private let values: [String: YAMLNode]

  init(place: Place, path: String, values: [String: YAMLNode]) {
    self.place = place
    self.path = path
    self.values = values
  }

  subscript(key: String) -> YAMLNode? { values[key] }
  func path(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

extension Reading {
  /// The mapping at `node`, which takes `keys`. `required` says what each indispensable one is.
  mutating func fields(
    _ node: YAMLNode, _ path: String, keys: [String], required: [(key: String, what: String)] = []
  ) -> Fields? {
    config.places[path] = node.place
    let what = path.isEmpty ? "the configuration" : "`\(path)`"
    guard case .mapping(let pairs) = node.value else {
      faulty.insert(path)
      if node.isRefused { return nil }
      error(node.place, "expected \(what) to be a mapping of \(list(keys)), found \(describe(node))")
      return nil
    }
    var values: [String: YAMLNode] = [:]
    for pair in pairs {
      guard keys.contains(pair.key) else {
        let suggestion = Spelling.nearest(to: pair.key, among: keys).map { ": did you mean `\($0)`?" }
        error(pair.place, "unknown key \(quoted(pair.key)) in \(what)\(suggestion ?? "; it takes \(list(keys))")")
        // A misspelt key is not also a missing one.
        if suggestion != nil, let key = Spelling.nearest(to: pair.key, among: keys) { faulty.insert(joined(path, key)) }
        continue
      }
      values[pair.key] = pair.value
      config.places[joined(path, pair.key)] = pair.value.place
    }
    for (key, expected) in required where values[key] == nil && !faulty.contains(joined(path, key)) {
      faulty.insert(joined(path, key))
      error(node.place, "\(what) lacks `\(key)`: \(expected)")
    }
    return Fields(place: node.place, path: path, values: values)
  }

  /// The elements of a list; where `orOne` is set, a bare word is a list of one.
  mutating func elements(_ node: YAMLNode, _ path: String, of what: String, orOne: Bool = false) -> [YAMLNode]? {
    config.places[path] = node.place
    switch node.value {
    case .sequence(let elements):
      for (index, element) in elements.enumerated() { config.places["\(path)[\(index)]"] = element.place }
      return elements
    case .scalar(let text, let plain) where orOne && !(plain && text.isEmpty):
      return [node]
    default:
      faulty.insert(path)
      if node.isRefused { return nil }
      error(node.place, "expected `\(path)` to be a list of \(what), found \(describe(node))")
      return nil
    }
  }

  func joined(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  func describe(_ node: YAMLNode) -> String {
    switch node.value {
    case .mapping: "a mapping"
    case .refused: "nothing that can be read"
    case .sequence: "a list"
    case .scalar(let text, let plain): plain && text.isEmpty ? "nothing" : quoted(text)
    }
  }

  func list(_ words: [String]) -> String { words.map { "`\($0)`" }.joined(separator: ", ") }
}
