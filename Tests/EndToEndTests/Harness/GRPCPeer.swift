// gRPC's own server and client, by Debian's python3-grpcio: GRPC/peer.py, whose beginning says what it does.

import Foundation

/// A server that was started, and what it said of the calls that came to it.
final class GRPCServer: Sendable {
  let process: ChildProcess
  let address: Address

  /// `health` is the file that says what its health service answers.
  init(health: String? = nil, certificate: Certificate? = nil, name: String = "grpc-server") throws {
    var options = ["serve"]
    if let health { options += ["--health", health] }
    if let certificate { options += ["--certificate", certificate.certificate, "--key", certificate.key] }
    process = try ChildProcess(try GRPCClient.program + options, name: name)
    let prefix = "listening "
    let port = process.standardOutput.wait { $0.hasPrefix(prefix) ? UInt16($0.dropFirst(prefix.count)) : nil }
    guard let port else { throw Trouble("gRPC's server does not listen\n\(process.tail)") }
    address = Address(host: "127.0.0.1", port: port)
  }

  /// One line of what it says.
  struct Event: Decodable {
    var event: String
    var method: String?
    var call: String?
    /// Seconds that the client gives a call that begins; absent without a deadline.
    var remaining: Double?
    var metadata: [[String]]?
    var service: String?
  }

  private static func parse(_ line: String) -> Event? {
    try? JSONDecoder().decode(Event.self, from: Data(line.utf8))
  }

  var events: [Event] { process.standardOutput.lines.compactMap(Self.parse) }

  func wait(_ what: String, by deadline: Deadline = .usual, where fits: (Event) -> Bool) throws -> Event {
    let found = process.standardOutput.wait(by: deadline) { line in Self.parse(line).flatMap { fits($0) ? $0 : nil } }
    guard let found else {
      let last = process.standardOutput.lines.suffix(5).joined(separator: "\n")
      throw Trouble("gRPC's server never said: \(what)\n\(last)\n\(process.tail)")
    }
    return found
  }
}

/// A client that makes calls, one case after the other.
struct GRPCClient {
  /// Where it connects to, and from where.
  var address: Address
  var source = Peer.client()
  /// With TLS.
  var authorities: String?
  var host = Site.host

  fileprivate static var program: [String] {
    get throws {
      let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("GRPC/peer.py").path
      return [try Programs.python, file]
    }
  }

  func start(_ cases: [String], standardInput: Int32? = nil) throws -> ChildProcess {
    var options = ["call", "--to", "\(address)", "--from", source, "--authority", host]
    if let authorities { options += ["--ca", authorities] }
    return try ChildProcess(
      try Self.program + options + cases, name: "grpc-client", standardInput: standardInput)
  }

  /// Makes these calls. What it said; the cases that failed, with why.
  func call(_ cases: [String]) throws -> (lines: [String], failures: [String]) {
    let process = try start(cases)
    _ = try process.waitForExit(by: .after(120))
    process.standardOutput.waitForEnd(by: .usual)
    let lines = process.standardOutput.lines
    let missing = cases.filter { name in !lines.contains { $0 == "pass \(name)" || $0.hasPrefix("fail \(name):") } }
    let failures = lines.filter { $0.hasPrefix("fail ") } + missing.map { "no word on \($0)\n\(process.tail)" }
    return (lines, failures)
  }
}
