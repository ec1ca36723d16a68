// What is wrong with a configuration, and where. The reader reports all it finds; so does whatever checks the
// files that a configuration names (Snapshot in Proxy), with the same words: what was expected, what was found,
// and the nearest valid spelling.

/// A place in the configuration; line and column count from 1. Line 0: no place in particular.
package struct Place: Sendable, Hashable, Comparable {
  package var line: Int
  package var column: Int
  /// The included file that it is in, as messages name it; nil: the configuration's own.
  package var file: String?

  package init(line: Int, column: Int, file: String? = nil) {
    self.line = line
    self.column = column
    self.file = file
  }

  /// `line 12`, or `conf.d/app.yaml:12`.
  package var name: String { file.map { "\($0):\(line)" } ?? "line \(line)" }

  package static let none = Place(line: 0, column: 0)

  /// The configuration's own file comes before those that it includes.
  package static func < (a: Place, b: Place) -> Bool {
    (a.file ?? "", a.line, a.column) < (b.file ?? "", b.line, b.column)
  }
}

/// One finding. An error keeps the configuration from being used; a warning does not.
package struct Diagnostic: Sendable, Equatable {
  package enum Severity: String, Sendable { case error, warning }

  package var severity: Severity
  package var line: Int
  package var column: Int
  /// As in its place.
  package var file: String?
  package var message: String

  package init(_ severity: Severity, at place: Place, _ message: String) {
    self.severity = severity
    line = place.line
    column = place.column
    file = place.file
    self.message = message
  }

  package var place: Place { Place(line: line, column: column, file: file) }

  /// `file:line:column: message`; a warning says that it is one.
  package func text(file: String) -> String {
    let kind = severity == .warning ? "warning: " : ""
    let file = self.file ?? file
    return line == 0 ? "\(file): \(kind)\(message)" : "\(file):\(line):\(column): \(kind)\(message)"
  }
}

/// The nearest of a few valid spellings.
enum Spelling {
  /// The candidate that a reader most likely meant, or nil when none is near. Case, `-` and `_` weigh nothing;
  /// otherwise about one slip in three letters is taken as a slip.
  static func nearest(to text: String, among candidates: [String]) -> String? {
    let wanted = folded(text)
    guard !wanted.isEmpty, wanted.count <= 64 else { return nil }
    var best: (candidate: String, weight: Int)?
    for candidate in candidates {
      let letters = folded(candidate)
      let distance = distance(wanted, letters)
      guard distance <= max(1, max(wanted.count, letters.count) / 3) else { continue }
      // Of two equally near, the one of the same length: letters are swapped more often than lost.
      let weight = 2 * distance + (letters.count == wanted.count ? 0 : 1)
      if weight < best?.weight ?? .max { best = (candidate, weight) }
    }
    if best == nil, wanted.count >= 3 {
      // A whole word left off or added: `connect` for `upstream_connect`.
      let containing = candidates.filter { contains(folded($0), wanted) || contains(wanted, folded($0)) }
      if containing.count == 1 { return containing[0] }
    }
    return best?.candidate
  }

  /// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours.
  static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var before: [Int] = []
    var previous = Array(0...b.count)
    for i in 0..<a.count {
      var row = [i + 1]
      row.reserveCapacity(b.count + 1)
      for j in 0..<b.count {
        var cost = min(previous[j + 1] + 1, row[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
        row.append(cost)
      }
      before = previous
      previous = row
    }
    return previous[b.count]
  }

  private static func folded(_ text: String) -> [UInt8] {
    text.utf8.compactMap { byte in
      switch byte {
      case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: " "): nil
      default: byte.asciiLowercased
      }
    }
  }

  private static func contains(_ long: [UInt8], _ short: [UInt8]) -> Bool {
    guard short.count >= 3, long.count > short.count else { return false }
    return (0...(long.count - short.count)).contains { long[$0..<($0 + short.count)].elementsEqual(short) }
  }
}
