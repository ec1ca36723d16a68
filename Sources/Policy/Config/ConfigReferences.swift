// What a configuration takes from outside: `${NAME}` is an environment variable, `${NAME:-text}` has a value where that is not set, and
// `${file:PATH}` is what a file holds. For addresses that a deployment decides, and for what should not stand in the file.
// What is said of a value shows the reference and never what it stands for. Patterns hold none: a `$` is theirs.

import FoundationEssentials
import Platform

extension Reading {
  /// Of one file that is referred to.
  private static let fileBytesMax = 64 << 10
  private static let valueBytesMax = 64 << 10

  /// `text` with its references replaced; nil where one cannot be, which is reported.
  /// - Parameter isTemplate: a `$` means something in `text`, but none in what comes from outside.
  mutating func expanded(_ text: String, _ node: YAMLNode, _ path: String, isTemplate: Bool = false) -> String? {
    guard text.contains("${") else { return text }
    var out = ""
    var rest = text[...]
    while let start = rest.firstRange(of: "${") {
      // `$${` is the text `${`.
      if rest[..<start.lowerBound].hasSuffix("$") {
        out += rest[..<start.lowerBound].dropLast() + "${"
        rest = rest[start.upperBound...]
        continue
      }
      out += rest[..<start.lowerBound]
      guard let end = rest[start.upperBound...].firstIndex(of: "}") else {
        return unexpanded(node, path, "`${` without its `}`; `$${` is the text `${`")
      }
      let name = String(rest[start.upperBound..<end])
      guard let value = value(of: name, node, path, isTemplate: isTemplate) else { return nil }
      out += value
      rest = rest[rest.index(after: end)...]
      guard out.utf8.count <= Self.valueBytesMax else { return unexpanded(node, path, "the value is too long") }
    }
    return out + rest
  }

  /// How a value is written that comes from outside, with the paths of files made absolute; nil where it stands for itself. For values
  /// that may be secret: only this is shown of them.
  func reference(in node: YAMLNode) -> String? {
    guard case .scalar(let text, _) = node.value else { return nil }
    var out = ""
    var rest = text[...]
    var isOutside = false
    while let start = rest.firstRange(of: "${") {
      let isText = rest[..<start.lowerBound].hasSuffix("$")
      out += rest[..<start.upperBound]
      rest = rest[start.upperBound...]
      if isText { continue }
      isOutside = true
      guard rest.hasPrefix("file:"), let end = rest.firstIndex(of: "}") else { continue }
      out += "file:" + absolute(String(rest[..<end].dropFirst("file:".count)), from: node.place)
      rest = rest[end...]
    }
    return isOutside ? out + rest : nil
  }

  private mutating func unexpanded(_ node: YAMLNode, _ path: String, _ why: String) -> String? {
    faulty.insert(path)
    error(node.place, "`\(path)`: \(why)")
    return nil
  }

  private mutating func value(
    of reference: String, _ node: YAMLNode, _ path: String, isTemplate: Bool
  ) -> String? {
    func plain(_ text: String) -> String { isTemplate ? text.replacing("$", with: "$$") : text }
    if reference.hasPrefix("file:") {
      return content(of: String(reference.dropFirst("file:".count)), node, path).map(plain)
    }
    var name = reference
    var other: String?
    if let mark = reference.firstRange(of: ":-") {
      name = String(reference[..<mark.lowerBound])
      other = String(reference[mark.upperBound...])
    }
    guard Self.isVariable(name) else {
      return unexpanded(
        node, path, "expected `${NAME}`, `${NAME:-text}` or `${file:PATH}`, found \(quoted("${\(reference)}"))")
    }
    // As in a shell, an empty one counts as not set where there is another value.
    if let value = environment(name), !(value.isEmpty && other != nil) { return plain(value) }
    if let other { return other }
    return unexpanded(node, path, "the environment variable \(quoted(name)) is not set")
  }

  private static func isVariable(_ name: String) -> Bool {
    guard let first = name.utf8.first, !(0x30...0x39).contains(first), name.utf8.count <= 128 else { return false }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case 0x41...0x5a, 0x61...0x7a, 0x30...0x39, 0x5f: true
      default: false
      }
    }
  }

  /// What a file holds, without the line end behind it.
  private mutating func content(of name: String, _ node: YAMLNode, _ path: String) -> String? {
    guard !name.isEmpty, name.utf8.count <= 4095, !name.utf8.contains(0) else {
      return unexpanded(node, path, "expected the path of a file behind `${file:`")
    }
    let file = absolute(name, from: node.place)
    if config.references[file] == nil { config.references[file] = node.place }
    if let reason = TextFile.readFailure(path: file, refusesPipes: true) {
      return unexpanded(node, path, "\(file): \(reason)")
    }
    let bytes: [UInt8]
    do { bytes = try TextFile.read(path: file, bytesMax: Self.fileBytesMax + 1) } catch {
      return unexpanded(node, path, "\(file): \(error.reason)")
    }
    guard bytes.count <= Self.fileBytesMax else {
      return unexpanded(node, path, "\(file): holds more than \(Self.fileBytesMax >> 10) KiB")
    }
    guard var text = String(validating: bytes, as: UTF8.self) else {
      return unexpanded(node, path, "\(file): is not UTF-8")
    }
    if text.hasSuffix("\n") || text.hasSuffix("\r\n") { text.removeLast() }
    guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
      return unexpanded(node, path, "\(file): holds more than one line, or control characters")
    }
    return text
  }
}
