// The configurations that runs begin with and are reloaded to. They differ in everything that a reload may change, but in each
// of them the truth about a client is the same: a configuration may refuse a client, and never rename it.

import Platform
import Policy
import Proxy
import TestSupport

/// One configuration of the edge, built once and used by many runs.
struct EdgeConfiguration {
  let snapshot: Snapshot
  /// Whether peers in the `switching` network must send a PROXY header.
  let demandsHeader: Bool
  /// Its servers are the validator, and not the simulated ones.
  let usesValidator: Bool
  let told: Told
  let text: String
  /// What it speaks with clients, and whether with servers HTTP/2.
  let speaks: Speaks
  let isHTTP2: Bool

  enum Speaks { case both, http1, http2 }

  /// Where its servers listen.
  var port: UInt16 { told.port(isHTTP2: isHTTP2) }

  /// Requests may be refused because too many wait, or wait too long.
  var mayTurnAway: Bool { text.contains("queue: { requests: 1,") }

  /// How many requests each of its servers may have; `.max`: no limit.
  let limits: [Endpoint: Int]

  var takesLargeHeads: Bool { text.contains("head: 96KiB") }
}

struct Configurations {
  let edges: [EdgeConfiguration]
  /// Validators: alike but for what may change unnoticed.
  let validators: [Snapshot]

  static let edgeAddress = Endpoint(address: 0x0a00_0001, port: 80)
  static let validatorShared = Endpoint(address: 0x0a00_0002, port: 81)
  static let validatorBound = Endpoint(address: 0x0a00_0002, port: 82)
  static let servers = ["10.1.0.1", "10.1.0.2", "10.1.0.3"]

  /// - Parameter directory: where the keys go.
  init(directory: String) throws {
    let edgeKeys = "\(directory)/edge.jwks.json"
    let validatorKeys = "\(directory)/monitor-1.jwks.json"
    _ = try KeySetStore.add(id: "k1", algorithm: .hmac, to: edgeKeys)
    _ = try KeySetStore.export(audience: "monitor-1", from: edgeKeys, to: validatorKeys)
    let tickets = try TicketKeys()
    var random = Seeded(7)
    // Of its own, so that runs in which nothing is compressed are the ones that they were.
    var coding = Seeded(8)
    var edges: [EdgeConfiguration] = []
    for told in Told.allCases {
      for usesValidator in told == .attest || told == .bound ? [false, true] : [false] {
        for number in 0..<8 {
          let demandsHeader = !random.oneIn(3)
          var limits: [Endpoint: Int] = [:]
          let isHTTP2 = number.isMultiple(of: 2)
          let speaks: EdgeConfiguration.Speaks = random.oneIn(5) ? random.oneIn(2) ? .http1 : .http2 : .both
          var text = Configurations.edge(
            told, isHTTP2, speaks, usesValidator, demandsHeader, edgeKeys, &limits, &random)
          if !coding.oneIn(4) {
            let compress = "{ minimum: \(1 + coding.below(3_000))B, level: \(1 + coding.below(9)) }"
            text = text.replacing("{ to: app }", with: "{ to: app, compress: \(compress) }")
          }
          let snapshot = try Configurations.build(text, tickets, generation: UInt64(edges.count + 1))
          edges.append(
            EdgeConfiguration(
              snapshot: snapshot, demandsHeader: demandsHeader, usesValidator: usesValidator, told: told, text: text,
              speaks: speaks, isHTTP2: isHTTP2, limits: limits))
        }
      }
    }
    self.edges = edges
    validators = try (0..<6).map { i in
      try Configurations.build(Configurations.validator(validatorKeys, i), tickets, generation: UInt64(i + 1))
    }
  }

  private static func build(_ text: String, _ tickets: TicketKeys, generation: UInt64) throws -> Snapshot {
    let read = ConfigReader.read(text: text, path: "simulated.yaml")
    guard let config = read.config else {
      throw SimulationError(read.diagnostics.map { $0.text(file: "simulated.yaml") }.joined(separator: "\n") + text)
    }
    let (snapshot, findings) = Snapshot.build(config, generation: generation, tickets: tickets)
    guard let snapshot else {
      throw SimulationError(findings.map { $0.text(file: "simulated.yaml") }.joined(separator: "\n") + text)
    }
    return snapshot
  }

  private static func edge(
    _ told: Told, _ isHTTP2: Bool, _ speaks: EdgeConfiguration.Speaks, _ usesValidator: Bool, _ demandsHeader: Bool,
    _ keys: String, _ limits: inout [Endpoint: Int],
    _ random: inout Seeded
  ) -> String {
    let count = usesValidator ? 1 : 1 + random.below(3)
    let port = usesValidator ? told.rawValue : told.port(isHTTP2: isHTTP2)
    let list = usesValidator ? ["10.0.0.2:\(port)"] : servers.prefix(count).map { "\($0):\(port)" }
    // The first serves always; each further one may be a backup.
    var entries: [String] = []
    let areLimited = random.oneIn(3)
    for (index, address) in list.enumerated() {
      var parts = ["address: \"\(address)\"", "weight: \(1 + random.below(3))"]
      if index > 0, random.oneIn(3) { parts.append("backup: true") }
      let most = areLimited ? 1 + random.below(2) : Int.max
      if areLimited { parts.append("max_connections: \(most)") }
      if !usesValidator { limits[Endpoint(address: 0x0a01_0001 + UInt32(index), port: port)] = most }
      entries.append("{ \(parts.joined(separator: ", ")) }")
    }
    // A reload may move a rule: its place is no name for it.
    var rules = [
      "{ from: 10.9.1.0/24, evidence: proxy-protocol }", "{ from: 10.9.2.0/24, evidence: forwarded }",
      "{ from: 10.9.3.0/24, evidence: \(demandsHeader ? "proxy-protocol" : "socket") }",
    ]
    if random.oneIn(2) { rules.insert("{ from: 10.9.9.0/24, evidence: refuse }", at: 0) }
    rules.shuffle(using: &random)
    var lines = [
      "identity: { edge: edge-a, keys: \"\(keys)\", sign_with: k1 }",
      "listeners:",
      "  - name: public",
      "    listen: \"10.0.0.1:80\"",
      "    protocols: \(speaks == .both ? "[h2c, http/1.1]" : speaks == .http1 ? "[http/1.1]" : "[h2c]")",
      "    trust: [\(rules.joined(separator: ", "))]",
      "routes: [{ name: all, to: app }]",
      "upstreams:",
      "  app:",
      "    servers: [\(entries.joined(separator: ", "))]",
      "    retries: { count: \(random.below(3)), budget: \([0, 20, 100][random.below(3)])%, "
        + "on: [\(["connect, reset, timeout", "connect, reset, timeout, 500", "connect"][random.below(3)])] }",
      "    passive: \(["off", "{ failures: 1, eject: 3s, max_ejected: 100% }", "{ failures: 2, status: 500 }"][random.below(3)])",
      "    slow_start: \(random.oneIn(3) ? "20s" : "0s")",
      "    balance: \(["round-robin", "least-requests", "client-hash"][random.below(3)])",
      "    idle_connections: \(random.oneIn(3) ? random.below(3) : 64)",
    ]
    // With it there is none; what is drawn stays the same.
    if lines.contains("    balance: client-hash"), let at = lines.firstIndex(of: "    slow_start: 20s") {
      lines[at] = "    slow_start: 0s"
    }
    if areLimited {
      lines.append("    queue: { requests: \(random.oneIn(3) ? "1, timeout: 3s" : "1000, timeout: 10m") }")
    }
    if isHTTP2 { lines.append("    protocol: http2") }
    switch told {
    case .plain: lines.append("    identity: plain")
    case .nothing: lines.append("    identity: none")
    case .attest, .bound:
      lines += ["    identity: attest", "    audience: monitor-1"]
      if count > 1 { lines.append("    shared_audience: true") }
      if told == .bound { lines.append("    proxy_protocol: v2") }
    }
    lines.append("limits: { head: \(random.oneIn(4) ? "96KiB" : "32KiB"), streams: \(random.oneIn(4) ? 2 : 100) }")
    lines += [
      "timeouts: { idle: \(["20s", "60s"][random.below(2)]), upstream_response: 30s, tunnel: 90s }", "workers: 1",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  private static func validator(_ keys: String, _ variant: Int) -> String {
    let isHTTP2 = variant >= 3
    let port = Told.plain.port(isHTTP2: isHTTP2)
    return """
      identity: { keys: "\(keys)", audience: monitor-1, edges: [edge-a], clock_skew: 500ms }
      listeners:
        - name: shared
          listen: "10.0.0.2:81"
          protocols: [h2c, http/1.1]
          trust: [{ from: any, evidence: attested }]
        - name: bound
          listen: "10.0.0.2:82"
          protocols: [h2c, http/1.1]
          trust: [{ from: any, evidence: attested, proxy_protocol: required }]
      routes: [{ to: backend }]
      upstreams:
        backend: { servers: ["10.1.0.1:\(port)", "10.1.0.2:\(port)"], protocol: \(isHTTP2 ? "http2" : "http1"),
                   identity: plain, retries: { count: \(variant % 3) } }
      limits: { head: \(variant % 3 == 2 ? "96KiB" : "32KiB") }
      timeouts: { idle: 120s }
      workers: 1
      """
  }
}

struct SimulationError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
