// Lines of logs and files of them, for the tests of the audit.

import Audit
import Foundation
import Platform
import TestSupport
import Testing
import Wire

/// A line as ExchangeRecord writes it; a test says only what differs.
struct TestLine {
  var time = "2026-11-28T14:00:00.000Z"
  var listener = "public"
  var client: String? = "192.0.2.1"
  var rule = "line 12"
  var evidence = "proxy-protocol"
  var config = "6b86b273ff34fce1"
  var generation = 1
  var connection = 1
  var route: String? = "line 20"
  var edge: String?
  var method: String? = "GET"
  var host = "app.example.com"
  var path = "/"
  /// Members of `log.fields`.
  var fields: [(String, String)] = []
  var status = 200
  var refusal: String?
  var durationMilliseconds = 5
  var upstream: String? = "monitor"

  var text: String {
    var text = "{\"time\":\"\(time)\",\"listener\":\"\(listener)\""
    if let client { text += ",\"client\":\"\(client)\",\"client_port\":4711,\"via\":\"proxy-v2\",\"scheme\":\"https\"" }
    text += ",\"rule\":\"\(rule)\",\"evidence\":\"\(evidence)\",\"config\":\"\(config)\",\"generation\":\(generation)"
    text += ",\"peer\":\"10.0.0.5:1\",\"connection\":\"\(Self.hex(connection))\""
    if let route { text += ",\"route\":\"\(route)\"" }
    if let edge { text += ",\"edge\":\"\(edge)\"" }
    if let method { text += ",\"method\":\"\(method)\",\"host\":\"\(host)\",\"path\":\"\(path)\"" }
    for (name, value) in fields { text += ",\"\(name)\":\"\(value)\"" }
    text += ",\"status\":\(status)"
    if let refusal { text += ",\"refusal\":\"\(refusal)\"" }
    text += ",\"bytes_in\":412,\"bytes_out\":301,\"duration_ms\":\(durationMilliseconds).250"
    if let upstream { text += ",\"upstream_ms\":1.007,\"upstream\":\"\(upstream)\",\"server\":\"10.0.2.1:9443\"" }
    return text + ",\"tls\":\"TLSv1.3\"}"
  }

  static func hex(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 32 - digits.count) + digits
  }

  /// The validator's line of the same exchange.
  var atValidator: TestLine {
    var line = self
    line.listener = "from-edge"
    line.evidence = "attested"
    line.rule = "line 7"
    line.config = "d4735e3a265e16ee"
    line.edge = "edge-a"
    line.route = "line 9"
    line.upstream = "backend"
    return line
  }

  func with(_ change: (inout TestLine) -> Void) -> TestLine {
    var line = self
    change(&line)
    return line
  }
}

/// Files in a directory of a test's own.
final class LogFiles {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("audit-\(UUID().uuidString)").path
    try PrivateFile.makeDirectory(path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = "\(path)/\(name)"
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }

  func write(_ name: String, _ lines: [TestLine]) throws -> String {
    try write(name, Array(lines.map { $0.text + "\n" }.joined().utf8))
  }

  /// The file packed by gzip, beside it.
  func packed(_ file: String) throws -> String {
    let (output, code) = try Program.run(["gzip", "--keep", file])
    #expect(code == 0, "\(output)")
    return file + ".gz"
  }
}

enum Read {
  static let window = AuditWindow(
    from: LogTime.milliseconds("2026-11-28T14:00")!, until: LogTime.milliseconds("2026-11-28T16:00")!)

  static func log(_ files: [String], _ window: AuditWindow = window, field: String = "") throws -> MergedLog {
    MergedLog(try files.map { try LineInput(path: $0) }, window: window, field: field) { _ in }
  }

  static func summary(
    _ files: [String], _ window: AuditWindow = window, _ limits: AuditLimits = AuditLimits()
  ) throws -> Summary {
    let summary = Summary(limits)
    try summary.read(try log(files, window))
    return summary
  }

  static func text(_ write: (ReportText) throws -> Void) throws -> String {
    var bytes: [UInt8] = []
    try write(ReportText { bytes += $0 })
    return String(decoding: bytes, as: UTF8.self)
  }
}
