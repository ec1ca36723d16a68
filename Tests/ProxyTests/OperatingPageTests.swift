// docs/OPERATING.md tells of every refusal with its status, of every field of the access log and of every metric, and of none that there
// is not.

import Foundation
import Policy
import Proxy
import Testing
import Wire

@Suite struct OperatingPageTests {
  private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private static func text(_ path: String) throws -> String {
    try String(contentsOf: repository.appendingPathComponent(path), encoding: .utf8)
  }

  /// The rows of the tables below a heading, up to the next of its rank: their cells.
  private static func rows(below heading: String) throws -> [[String]] {
    let lines = try text("docs/OPERATING.md").split(separator: "\n", omittingEmptySubsequences: false)
    let rank = heading.prefix { $0 == "#" }.count
    let start = try #require(lines.firstIndex { $0 == heading }, "no heading \(heading)")
    var rows: [[String]] = []
    for line in lines[(start + 1)...] {
      let marks = line.prefix { $0 == "#" }.count
      if marks > 0, marks <= rank { break }
      guard line.hasPrefix("| `") else { continue }
      rows.append(line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) })
    }
    return rows
  }

  /// The names in a cell, each in backquotes.
  private static func names(_ cell: String) -> [String] { cell.matches(of: /`([^`]+)`/).map { String($0.1) } }

  @Test func everyRefusalIsToldWithItsStatus() throws {
    var told: [String: String] = [:]
    for row in try Self.rows(below: "## Refusals") {
      try #require(row.count == 3, "\(row)")
      for name in Self.names(row[0]) {
        #expect(told[name] == nil, "\(name) is told twice")
        told[name] = row[1]
      }
    }
    #expect(Set(told.keys) == Set(Refusal.allCases.map { "\($0.name)" }))
    for refusal in Refusal.allCases {
      #expect(told["\(refusal.name)"] == "\(refusal.status)", "\(refusal.name)")
    }
  }

  @Test func everyFieldOfTheLogIsTold() throws {
    let rows = try Self.rows(below: "### Fields")
    let told = rows.flatMap { Self.names($0[0]) }
    #expect(Set(told) == Config.Log.members && told.count == Set(told).count)
    for row in rows {
      for name in Self.names(row[0]) {
        let variable = LogVariable(rawValue: name)
        #expect(row[1].contains("*extra*") == (variable.map(LogVariable.extras.contains) ?? false), "\(name)")
        #expect(row[1].contains("*template*") == (variable == .timeCLF || variable == .request), "\(name)")
      }
    }
  }

  /// Against what the sources name: each family stands once, as a text.
  @Test func everyMetricIsTold() throws {
    let told = try Self.rows(below: "## Metrics").flatMap { Self.names($0[0]) }
    var known: Set<String> = []
    let sources = Self.repository.appendingPathComponent("Sources/Proxy")
    let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
    for case let file as URL in files where file.pathExtension == "swift" {
      let source = try String(contentsOf: file, encoding: .utf8)
      for match in source.matches(of: /TYPE (countersign_[a-z0-9_]+)\s/) { known.insert(String(match.1)) }
      // Written by helpers from a name without its prefix.
      for match in source.matches(of: /family\(\s*"([a-z_]+)", "(?:gauge|counter|histogram)"/) {
        known.insert("countersign_\(match.1)")
      }
    }
    for counter in Counter.allCases { known.insert(String(counter.metric.name.prefix { $0 != "{" })) }
    #expect(known.count > 40)
    #expect(Set(told) == known && told.count == known.count, "\(Set(told).symmetricDifference(known))")
  }

  @Test func everyAlertIsTold() throws {
    let rules = try Self.text("packaging/monitoring/countersign.rules.yml")
    let alerts = rules.matches(of: /- alert: (\w+)/).map { String($0.1) }
    let told = try Self.rows(below: "## Alerts").flatMap { Self.names($0[0]) }
    #expect(Set(told) == Set(alerts) && told.count == alerts.count)
  }

  /// What dashboard and alerts ask for is told, and so is there.
  @Test func dashboardAndAlertsAskForWhatThereIs() throws {
    let told = Set(try Self.rows(below: "## Metrics").flatMap { Self.names($0[0]) })
    for file in ["countersign.rules.yml", "countersign-dashboard.json"] {
      let text = try Self.text("packaging/monitoring/\(file)")
      for name in Set(text.matches(of: /countersign_[a-z0-9_]+/).map { String($0.0) }) {
        let ending = ["_bucket", "_count", "_sum"].first { name.hasSuffix($0) } ?? ""
        let base = String(name.dropLast(ending.count))
        #expect(told.contains(base), "\(file): \(name)")
      }
    }
  }
}
