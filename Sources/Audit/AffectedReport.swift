// Addresses that stood for several values: as CSV and JSON with each exchange, as it is read; as a table with each value, for the
// addresses that had the most.

import Wire

package final class AffectedReport {
  private let affected: Affected
  private let window: AuditWindow
  private let out: ReportText
  /// Of a table.
  private static let addressesShown = 100
  private static let valuesShown = 20

  package init(_ affected: Affected, _ window: AuditWindow, to out: ReportText) {
    self.affected = affected
    self.window = window
    self.out = out
  }

  /// - Parameter log: rewound for its second reading.
  package func write(_ format: ReportFormat, _ log: MergedLog) throws(AuditError) {
    switch format {
    case .table: try table(log)
    case .csv: try csv(log)
    case .json: try json(log)
    }
    try out.flush()
  }

  // MARK: Each exchange

  private static let members: [(name: String, range: KeyPath<LogLine, ByteRange> & Sendable)] = [
    ("time", \.time), ("client", \.clientText), ("connection", \.connection), ("evidence", \.evidence),
    ("listener", \.listener), ("rule", \.rule), ("config", \.config), ("generation", \.generation), ("route", \.route),
    ("edge", \.edge), ("method", \.method), ("host", \.host), ("path", \.path), ("refusal", \.refusal),
  ]

  private func csv(_ log: MergedLog) throws(AuditError) {
    let names = AffectedReport.members.map(\.name)
    try out.append((names[..<2] + ["value"] + names[2...] + ["status"]).joined(separator: ",") + "\n")
    try affected.list(log) { line, bytes throws(AuditError) in
      for (index, member) in AffectedReport.members.enumerated() {
        let text = Summary.text(bytes, line[keyPath: member.range])
        try self.out.append((index == 0 ? "" : ",") + Quoted.csv(text))
        if index == 1 { try self.out.append("," + Quoted.csv(Summary.text(bytes, line.value))) }
      }
      try self.out.append(",\(line.status)\n")
    }
  }

  private func json(_ log: MergedLog) throws(AuditError) {
    let addresses = affected.affected.map {
      "\n    {\"client\":\"\($0.address)\",\"values\":\($0.values),\"requests\":\($0.requests),"
        + "\"first\":\"\(LogTime.text($0.first))\",\"last\":\"\(LogTime.text($0.last))\"}"
    }
    try out.append(
      """
      {
        "from": "\(LogTime.text(window.from))",
        "until": "\(LogTime.text(window.until))",
        "field": \(JSONText.quote(affected.field)),
        "joined": \(affected.joined),
        "values_differ": \(affected.valuesDiffer),
        "malformed": \(log.counts.malformed),
        "addresses": [\(addresses.joined(separator: ","))\(addresses.isEmpty ? "" : "\n  ")],
        "exchanges": [
      """)
    var isFirst = true
    try affected.list(log) { line, bytes throws(AuditError) in
      try self.out.append(isFirst ? "\n    {" : ",\n    {")
      isFirst = false
      for member in AffectedReport.members where !line[keyPath: member.range].isEmpty {
        let quote = member.name == "generation" ? "" : "\""
        try self.out.append("\"\(member.name)\":\(quote)")
        self.out.append(bytes, line[keyPath: member.range])
        try self.out.append("\(quote),")
      }
      try self.out.append("\"value\":\"")
      self.out.append(bytes, line.value)
      try self.out.append("\",\"status\":\(line.status)}")
    }
    try out.append(isFirst ? "]\n}\n" : "\n  ]\n}\n")
  }

  // MARK: Each value

  private struct Value {
    let text: String
    var requests: UInt64 = 0
    var first: UInt64
    var last: UInt64
  }

  private func table(_ log: MergedLog) throws(AuditError) {
    let found = affected.affected
    try out.append(
      """
      window    \(LogTime.text(window.from)) until \(LogTime.text(window.until))
      lines     \(affected.linesInWindow) of the window, \(affected.linesWithField) with "\(affected.field)"
      affected  \(found.count) address\(found.count == 1 ? "" : "es") stood for more than one value

      """)
    guard !found.isEmpty else { return }
    let shown = found.prefix(AffectedReport.addressesShown)
    let indices = Dictionary(uniqueKeysWithValues: shown.enumerated().map { ($1.address, $0) })
    var values = [[Value]](repeating: [], count: shown.count)
    try affected.list(log) { line, bytes throws(AuditError) in
      guard let client = line.client, let index = indices[client] else { return }
      let text = Summary.text(bytes, line.value)
      let now = line.milliseconds
      let at: Int
      if let known = values[index].firstIndex(where: { $0.text == text }) {
        at = known
      } else {
        guard values[index].count < AffectedReport.valuesShown else { return }
        at = values[index].count
        values[index].append(Value(text: text, first: now, last: now))
      }
      values[index][at].requests += 1
      values[index][at].first = min(values[index][at].first, now)
      values[index][at].last = max(values[index][at].last, now)
    }
    var rows = TextTable(["CLIENT", "VALUE", "REQUESTS", "FIRST", "LAST"], numbers: [2])
    for (address, values) in zip(shown, values) {
      rows.add([
        "\(address.address)", "\(address.values) values", "\(address.requests)", LogTime.text(address.first),
        LogTime.text(address.last),
      ])
      for value in values {
        rows.add(["", value.text, "\(value.requests)", LogTime.text(value.first), LogTime.text(value.last)])
      }
      if address.values > UInt64(values.count) {
        rows.add(["", "and \(address.values - UInt64(values.count)) more", "", "", ""])
      }
    }
    try out.append("\n" + rows.text)
    if found.count > shown.count { try out.append("and \(found.count - shown.count) more addresses\n") }
    try out.append("\nEach exchange: --csv or --json\n")
  }
}
