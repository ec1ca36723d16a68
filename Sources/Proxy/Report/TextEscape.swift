// How texts of peers and of the configuration are written in a line of the access log, so that a line stays one line, and a text one
// column. One place for all formats; LogTemplate says why outside of quotes more is escaped.

import Platform
import Policy
import Wire

package enum TextEscape {
  /// `\u00` and two digits.
  case json
  /// `\x` and two digits, within double quotes of a template.
  case quoted
  /// The same, and these bytes too.
  case between(LogTemplate.Bytes)
}

extension String {
  /// What a terminal may be given of a peer's text: printable ASCII, and a `?` for anything else.
  var printable: String {
    String(String.UnicodeScalarView(unicodeScalars.map { (0x20...0x7e).contains($0.value) ? $0 : "?" }))
  }
}

extension Buffer {
  /// Appends at most so many bytes of a text.
  package func append(_ bytes: Span<UInt8>, most: Int, _ escape: TextEscape) {
    switch escape {
    case .json: appendEscaped(bytes, most: most)
    case .quoted: appendText(bytes.extracting(first: min(bytes.count, most)), LogTemplate.Bytes())
    case .between(let separators): appendText(bytes.extracting(first: min(bytes.count, most)), separators)
    }
  }

  /// Appends a sentence of ours, which has no quotes, backslashes and controls.
  func append(fixed text: StaticString, _ escape: TextEscape) {
    guard case .between = escape else { return append(text) }
    append(Array("\(text)".utf8).span, most: .max, escape)
  }

  private func appendText(_ bytes: Span<UInt8>, _ separators: LogTemplate.Bytes) {
    for i in 0..<bytes.count {
      let byte = bytes[i]
      guard byte < 0x20 || byte > 0x7e || byte == 0x22 || byte == 0x5c || separators.contains(byte) else {
        append(byte)
        continue
      }
      append("\\x")
      if byte < 0x10 { append(0x30) }
      append(hex: UInt64(byte))
    }
  }

  /// Appends a request target, or a URL, as `log.query` has it: of a query with `names` each value is a `*`, and so is what has no name.
  package func append(_ target: Span<UInt8>, most: Int, query: Config.Log.Query, _ escape: TextEscape) {
    let shown = target.extracting(first: min(target.count, most))
    guard query != .full, let mark = shown.firstIndex(of: 0x3f, from: 0) else {
      append(shown, most: most, escape)
      return
    }
    append(shown.extracting(first: mark), most: most, escape)
    guard query == .names else { return }
    append(shown.extracting(mark..<mark + 1), most: 1, escape)
    var at = mark + 1
    while at < shown.count {
      let end = shown.firstIndex(of: 0x26, from: at) ?? shown.count
      let equals = shown.firstIndex(of: 0x3d, from: at) ?? shown.count
      if equals < end { append(shown.extracting(at..<equals + 1), most: most, escape) }
      if at < end { append(0x2a) }
      if end < shown.count { append(shown.extracting(end..<end + 1), most: 1, escape) }
      at = end + 1
    }
  }

  /// An address with its port, or `unix`.
  func append(peer: IPAddress?, port: UInt16) {
    guard let peer else {
      append("unix")
      return
    }
    if peer.family == .v6 { append(0x5b) }
    peer.write(to: self)
    if peer.family == .v6 { append(0x5d) }
    append(0x3a)
    append(decimal: UInt64(port))
  }

  /// Milliseconds with three places.
  func append(microseconds: UInt64) {
    append(decimal: microseconds / 1_000)
    append(0x2e)
    let rest = microseconds % 1_000
    if rest < 100 { append(0x30) }
    if rest < 10 { append(0x30) }
    append(decimal: rest)
  }
}

extension Span<UInt8> {
  func firstIndex(of byte: UInt8, from start: Int) -> Int? {
    for i in start..<count where self[i] == byte { return i }
    return nil
  }
}
