// Whatever stands in a file that is called a log, the audit comes to an end: lines and files that were damaged (TestSupport's Mutator).

import Audit
import Platform
import TestSupport
import Testing
import Wire

@Suite struct TrapHuntAuditTests {
  private static func samples() -> [String] {
    let line = TestLine(fields: [("account", "0123456789abcdef")])
    return [
      line.text, line.atValidator.text, line.with { $0.refusal = "replay" }.text,
      line.with { $0.path = "/\\u0022\\u005c" }.text,
      "{\"time\":\"2026-11-28T14:00:00.000Z\",\"peer\":\"192.0.2.7\",\"status\":0,\"refusal\":\"proxy-missing\",\"suppressed\":12}",
      "{\"time\":\"2026-11-28T14:00:00.000Z\",\"event\":\"tunnel-begin\",\"status\":101}",
    ]
  }

  private static let words = [
    "\"", ",", ":", "}", "{\"time\":\"", "\\u00", "\\", "\"suppressed\":", "\"duration_ms\":", "\"status\":", "-", ".",
    "Z",
  ]

  @Test func lines() {
    var inputs = Mutator(41, texts: Self.samples(), fragments: Self.words)
    var line = LogLine()
    var clock = LogTime()
    for _ in 0..<4_000 {
      let bytes = inputs.next()
      if line.parse(bytes.span, from: 0, field: Array("account".utf8), &clock) == .line {
        #expect(line.path.upper <= bytes.count && line.value.upper <= bytes.count)
      }
    }
  }

  @Test func times() {
    let samples = [
      "2026-11-28T14:00:00.123Z", "2026-11-28 14:00", "2026-11-28T14:00:00+01:00", "9999-12-31T23:59:59-23:59",
    ]
    var inputs = Mutator(42, texts: samples, fragments: ["-", ":", "+", "T", "Z", "."], bytesMax: 100)
    for _ in 0..<4_000 {
      if let time = LogTime.milliseconds(inputs.nextText()) { #expect(!LogTime.text(time).isEmpty) }
      #expect(!LogTime.text(inputs.dice.next()).isEmpty)
    }
  }

  @Test func files() throws {
    let files = try LogFiles()
    var inputs = Mutator(43, texts: Self.samples(), fragments: Self.words)
    for round in 0..<20 {
      let both = try (0..<2).map { i in
        try files.write("\(round)-\(i)", Array((0..<200).map { _ in inputs.next() }.joined(separator: [0x0a])))
      }
      let summary = try Read.summary(both)
      let counts = try Read.log(both).counts
      for format in [ReportFormat.table, .csv, .json] {
        _ = try Read.text { try SummaryReport(summary, counts, Read.window, files: both).write(format, to: $0) }
      }
      let affected = Affected(field: "account")
      try affected.find(in: try Read.log(both, field: "account"))
      for format in [ReportFormat.table, .csv, .json] {
        let log = try Read.log(both, field: "account")
        _ = try Read.text { try AffectedReport(affected, Read.window, to: $0).write(format, log) }
      }
    }
  }

  @Test func packedFiles() throws {
    let files = try LogFiles()
    let whole = try files.packed(try files.write("log", Self.samples().map { Array(($0 + "\n").utf8) }.flatMap { $0 }))
    let input = try LineInput(path: whole)
    let packed = try TextFile.read(path: whole, bytesMax: 1 << 20)
    #expect(try input.next())
    var inputs = Mutator(44, samples: [packed, packed + packed])
    for round in 0..<200 {
      let damaged = try LineInput(path: try files.write("\(round)", inputs.next()))
      do { while try damaged.next() { damaged.withLine { _ = $0.count } } } catch {}
    }
  }
}
