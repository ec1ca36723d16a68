// The access log as it is read by machines: one JSON object a line.

import Foundation

struct AccessEntry: Decodable, Sendable {
  var time: String?
  var listener: String?
  var client: String?
  var client_port: Int?
  var via: String?
  var scheme: String?
  var scheme_source: String?
  var rule: String?
  var evidence: String?
  var config: String?
  var generation: Int?
  var route: String?
  var peer: String?
  var connection: String?
  var method: String?
  var host: String?
  var path: String?
  var status: Int?
  var refusal: String?
  var detail: String?
  var suppressed: Int?
  var cutover: Bool?
  var verified: String?
  var bytes_in: Int?
  var bytes_out: Int?
  var duration_ms: Double?
  var upstream_ms: Double?
  var upstream: String?
  var server: String?
  var tls: String?
}

extension AccessEntry {
  /// What an edge's self-test asks a validator for begins so.
  static let selfTestPath = "/.well-known/countersign-probe/self-test/"

  var isSelfTest: Bool { path?.hasPrefix(Self.selfTestPath) == true }
}

final class AccessLog: Sendable {
  private let lines: LineLog

  init(_ lines: LineLog) { self.lines = lines }

  /// Where the log ends now; a later wait can begin here.
  var end: Int { lines.count }

  /// Without the probes of edges that begin, which no test but theirs is about.
  var entries: [AccessEntry] { lines.lines.compactMap(Self.parse).filter { !$0.isSelfTest } }

  var selfTests: [AccessEntry] { lines.lines.compactMap(Self.parse).filter(\.isSelfTest) }

  private static func parse(_ line: String) -> AccessEntry? {
    guard line.hasPrefix("{") else { return nil }
    return try? JSONDecoder().decode(AccessEntry.self, from: Data(line.utf8))
  }

  /// Waits for the first entry that fits.
  func wait(
    from start: Int = 0, by deadline: Deadline = .usual, for what: String, where fits: (AccessEntry) -> Bool
  ) throws -> AccessEntry {
    let found = lines.wait(from: start, by: deadline) { line in
      Self.parse(line).flatMap { !$0.isSelfTest && fits($0) ? $0 : nil }
    }
    guard let found else {
      let last = lines.lines.suffix(5).joined(separator: "\n")
      throw Trouble("no line in the access log for \(what); the last ones:\n\(last)")
    }
    return found
  }

  func wait(path: String, from start: Int = 0, by deadline: Deadline = .usual) throws -> AccessEntry {
    try wait(from: start, by: deadline, for: path) { $0.path == path }
  }

  func wait(refusal: String, from start: Int = 0, by deadline: Deadline = .usual) throws -> AccessEntry {
    try wait(from: start, by: deadline, for: "the refusal \(refusal)") { $0.refusal == refusal }
  }
}
