// A report as it grows: text is gathered, and handed over in large pieces.

import Wire

package enum ReportFormat: Sendable { case table, csv, json }

package final class ReportText {
  private var bytes: [UInt8] = []
  private let handOver: ([UInt8]) throws(AuditError) -> Void
  private static let pieceBytes = 64 * 1024

  package init(_ handOver: @escaping ([UInt8]) throws(AuditError) -> Void) { self.handOver = handOver }

  package func append(_ text: String) throws(AuditError) {
    bytes += text.utf8
    if bytes.count >= ReportText.pieceBytes { try flush() }
  }

  /// Bytes of a line of the log: printable ASCII without quotes.
  package func append(_ line: Span<UInt8>, _ range: ByteRange) {
    for at in range.range { bytes.append(line[at]) }
  }

  package func flush() throws(AuditError) {
    if !bytes.isEmpty { try handOver(bytes) }
    bytes.removeAll(keepingCapacity: true)
  }
}

/// Rows under each other, in columns as wide as their widest cell.
struct TextTable {
  private var rows: [[String]]
  /// Columns of numbers, which stand at the right.
  private let numbers: Set<Int>

  init(_ header: [String], numbers: Set<Int> = []) {
    rows = [header]
    self.numbers = numbers
  }

  mutating func add(_ row: [String]) { rows.append(row) }

  var isEmpty: Bool { rows.count == 1 }

  var text: String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].utf8.count }.max() ?? 0 }
    var text = ""
    for row in rows {
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.utf8.count)
        line += numbers.contains(column) ? padding + cell : cell + padding
        line += "  "
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }
}

/// A text in CSV that may be anything.
enum Quoted {
  /// A cell of text from a log (RFC 4180). One that a spreadsheet would take for a formula gets an apostrophe.
  static func csv(_ text: String) -> String {
    let isFormula = text.utf8.first.map { "=+-@".utf8.contains($0) } ?? false
    let text = isFormula ? "'" + text : text
    return text.utf8.contains(where: { ",\"\n\r ".utf8.contains($0) })
      ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
  }
}
