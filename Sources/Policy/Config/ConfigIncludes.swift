// Files that a configuration includes: lists of listeners, routes and upstreams, joined to its own in the order of the files' names.
// They become one document before anything is looked at, each value with the place that it stands at, so that nothing else has to
// know of more than one file.
// Called by ConfigReader.

import FoundationEssentials
import Platform
import Wire

extension Reading {
  static let includedKeys = ["listeners", "routes", "upstreams"]
  private static let filesMax = 1_000
  /// Of all included files together.
  private static let includedBytesMax = 16 << 20

  private typealias Pairs = [(key: String, place: Place, value: YAMLNode)]

  /// The document with everything that it includes.
  mutating func including(_ root: YAMLNode) -> YAMLNode {
    guard case .mapping(var pairs) = root.value, let node = pairs.first(where: { $0.key == "include" })?.value else {
      return root
    }
    pairs.removeAll { $0.key == "include" }
    var bytes = 0
    for (file, place) in includedFiles(node) {
      config.included.append(file)
      guard let (document, size) = readIncluded(file, place, bytesLeft: Self.includedBytesMax - bytes) else { continue }
      bytes += size
      diagnostics += document.diagnostics
      // A file without anything in it says nothing.
      guard let included = document.root else {
        if !document.diagnostics.isEmpty { faulty.formUnion(Self.includedKeys) }
        continue
      }
      join(included, to: &pairs)
    }
    var joined = root
    joined.value = .mapping(pairs)
    return joined
  }

  private mutating func join(_ included: YAMLNode, to pairs: inout Pairs) {
    guard case .mapping(let own) = included.value else {
      return error(
        included.place,
        "expected an included file to be a mapping of \(list(Self.includedKeys)), found \(describe(included))")
    }
    for pair in own {
      guard Self.includedKeys.contains(pair.key) else {
        let suggestion = Spelling.nearest(to: pair.key, among: Self.includedKeys).map { ": did you mean `\($0)`?" }
        let why = pair.key == "include" ? "; it includes nothing itself" : ""
        error(
          pair.place,
          "an included file has \(list(Self.includedKeys)) alone, not \(quoted(pair.key))\(suggestion ?? why)")
        continue
      }
      guard let at = pairs.firstIndex(where: { $0.key == pair.key }) else {
        pairs.append(pair)
        continue
      }
      switch (pairs[at].value.value, pair.value.value) {
      case (.sequence(let first), .sequence(let more)): pairs[at].value.value = .sequence(first + more)
      case (.mapping(let first), .mapping(let more)) where pair.key == "upstreams":
        pairs[at].value.value = .mapping(first + more.filter { !isTaken($0, first) })
      // What is of another kind is reported where it stands.
      case (.sequence, _):
        if pair.key != "upstreams" { _ = elements(pair.value, pair.key, of: "what is joined to others") }
      case (.mapping, _): if pair.key == "upstreams" { upstreamsMapping(pair.value) }
      default: break
      }
    }
  }

  private mutating func isTaken(_ pair: (key: String, place: Place, value: YAMLNode), _ first: Pairs) -> Bool {
    guard let earlier = first.first(where: { $0.key == pair.key }) else { return false }
    error(
      pair.place,
      "duplicate upstream \(quoted(pair.key)): it was given in \(spot(earlier.place, from: pair.place)) already")
    return true
  }

  private mutating func upstreamsMapping(_ node: YAMLNode) {
    if !node.isRefused {
      error(node.place, "expected `upstreams` to be a mapping from names to servers, found \(describe(node))")
    }
  }

  // MARK: Which files

  /// As messages name them, in the order of the patterns, and of the names that one stands for; each with the place of what names it.
  private mutating func includedFiles(_ node: YAMLNode) -> [(file: String, place: Place)] {
    guard let nodes = elements(node, "include", of: "paths such as `conf.d/*.yaml`", orOne: true) else { return [] }
    var files: [(file: String, place: Place)] = []
    for (index, node) in nodes.enumerated() {
      let path = nodes.count == 1 ? "include" : "include[\(index)]"
      let expected = "the path of a file, or of several by `*` and `?` in its last part, such as `conf.d/*.yaml`"
      guard let pattern = text(node, path, expected: expected) else { continue }
      let parts = pattern.split(separator: "/", omittingEmptySubsequences: false)
      guard pattern.utf8.count <= 4095, !pattern.utf8.contains(0), let name = parts.last, !name.isEmpty,
        !parts.dropLast().contains(where: FileNamePattern.isPattern)
      else {
        let _: String? = wrong(node, path, expected: expected)
        continue
      }
      for file in matches(String(name), in: parts.dropLast().joined(separator: "/"), pattern, node.place) {
        if files.contains(where: { $0.file == file }) {
          error(node.place, "`\(file)` is included twice")
        } else {
          files.append((file, node.place))
        }
      }
    }
    if files.count > Self.filesMax {
      error(node.place, "more than \(Self.filesMax) files are included")
      return []
    }
    return files
  }

  private mutating func matches(_ name: String, in folder: String, _ pattern: String, _ place: Place) -> [String] {
    let isAbsolute = pattern.hasPrefix("/")
    let base = config.file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    let start = config.file.hasPrefix("/") && base.isEmpty ? "/" : base.isEmpty ? "" : "\(base)/"
    let shown = isAbsolute ? "\(folder)/" : folder.isEmpty ? start : "\(start)\(folder)/"
    guard FileNamePattern.isPattern(name) else { return [shown + name] }
    let directory = absolute(folder.isEmpty ? (isAbsolute ? "/" : ".") : folder, from: place)
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: directory) } catch {
      self.error(place, "\(quoted(directory)) cannot be listed, so nothing is included by \(quoted(pattern))")
      return []
    }
    let wanted = FileNamePattern(name)
    // By bytes, as it is in every language.
    let found = names.filter { wanted.matches($0) }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    if found.isEmpty { warn(place, "no file is included by \(quoted(pattern))") }
    return found.map { shown + $0 }
  }

  /// What is wrong with a whole file stands where it is named.
  private mutating func readIncluded(_ file: String, _ place: Place, bytesLeft: Int) -> (YAMLDocument, Int)? {
    func failed(_ message: String) -> Diagnostic { Diagnostic(.error, at: place, "\(file): \(message)") }
    let most = min(bytesLeft, ConfigReader.bytesMax)
    let data: [UInt8]
    do throws(SystemError) {
      data = try TextFile.read(path: file, bytesMax: most + 1)
    } catch {
      diagnostics.append(
        failed(
          error.code == TextFile.isDirectory ? "is a directory; `\(file)/*.yaml` are the files in it" : error.reason))
      faulty.formUnion(Self.includedKeys)
      return nil
    }
    faulty.formUnion(data.count > most ? Self.includedKeys : [])
    guard data.count <= most else {
      diagnostics.append(failed("with it the included files are larger than a configuration may be"))
      return nil
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      diagnostics.append(ConfigReader.notUTF8(data, file: file))
      faulty.formUnion(Self.includedKeys)
      return nil
    }
    return (YAMLDocument(text: ConfigReader.withoutMark(text), file: file), data.count)
  }
}

/// A file's name with `*` and `?` in it. A name that begins with a dot is matched only by one that does.
struct FileNamePattern {
  private let pattern: [UInt8]

  init(_ pattern: String) { self.pattern = Array(pattern.utf8) }

  static func isPattern(_ text: some StringProtocol) -> Bool { text.contains("*") || text.contains("?") }

  func matches(_ name: String) -> Bool {
    let name = Array(name.utf8)
    if name.first == 0x2e, pattern.first != 0x2e { return false }
    // The last star is the only one that ever has to be tried with more.
    var (at, taken, star, retry) = (0, 0, -1, 0)
    while taken < name.count {
      if at < pattern.count, pattern[at] == 0x2a {
        star = at
        retry = taken
        at += 1
      } else if at < pattern.count, pattern[at] == 0x3f || pattern[at] == name[taken] {
        at += 1
        taken += 1
      } else if star >= 0 {
        retry += 1
        taken = retry
        at = star + 1
      } else {
        return false
      }
    }
    return pattern[at...].allSatisfy { $0 == 0x2a }
  }
}
