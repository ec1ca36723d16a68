// Edge, validator and backend, standing and ready. The ordinary case is one line; a test says only what differs.

import Foundation
import Testing

final class Site: Sendable {
  /// The name that clients ask for.
  static let host = "app.example.com"

  enum Mode: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// A PROXY header on every connection to the validator, one client each.
    case bound
    /// Connections to the validator are shared; the signed field alone speaks.
    case shared
    var testDescription: String { rawValue }
  }

  // In the order in which they end: nobody is left who might ask at a port that was given back.
  let edge: Countersign
  let validator: Countersign
  let backend: RecordingBackend
  let workspace: Workspace
  let edgeConfiguration: Configuration
  let validatorConfiguration: Configuration
  let curl: Curl

  /// `tls` puts TLS on the edge's listener; `hopTLS` between edge and validator. It is given back when the time is over in
  /// which the validator calls everything `starting`; if `isStarting`, just when that has begun, with the edge started
  /// before. `clock` is the edge's.
  init(
    _ mode: Mode = .bound, tls: Bool = false, hopTLS: Bool = false, keepsBytes: Bool = true, isStarting: Bool = false,
    clock: SettableClock? = nil,
    script: @escaping RecordingBackend.Script = { try $0.reply($0.clientAddress) },
    validator changeValidator: (inout Configuration) throws -> Void = { _ in },
    edge changeEdge: (inout Configuration) throws -> Void = { _ in }
  ) throws {
    workspace = try Workspace()
    curl = Curl(workspace: workspace)
    backend = try RecordingBackend(keepsBytes: keepsBytes, script)
    let keys = try Keys.standard
    var behind = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: mode == .bound)
    if hopTLS { behind.listeners[0].certificates = [try Certificates.standard.monitor] }
    if isStarting { behind.listeners[0].listen = "\(try Socket.reserve())" }
    try changeValidator(&behind)
    validatorConfiguration = behind
    let startValidator = { [workspace, behind] in try Countersign(behind, name: "validator", in: workspace) }
    let first = try isStarting ? nil : startValidator()
    let ready = Date()
    let server = try first?["from-edge"].description ?? behind.listeners[0].listen
    var front = Configuration.edge(keys: keys, to: [server], bound: mode == .bound)
    if tls { front.listeners[0].certificates = [try Certificates.standard.app] }
    if hopTLS { front.upstreams[0].tls = "ca: \"\(try Certificates.standard.ca)\", name: monitor-1.internal" }
    try changeEdge(&front)
    edgeConfiguration = front
    edge = try Countersign(front, in: workspace, environment: clock?.environment ?? [:])
    validator = try first ?? startValidator()
    if !isStarting { try Self.waitUntilStarted(after: ready) }
  }

  /// What is signed now, in whole seconds, is later than the validator's start and its clock skew.
  private static func waitUntilStarted(after ready: Date) throws {
    try eventually("the validator has started") {
      Date().timeIntervalSince1970.rounded(.down) > ready.timeIntervalSince1970 + Configuration.clockSkewSeconds
    }
  }

  var publicAddress: Address { get throws { try edge["public"] } }

  /// A client's connection to the edge.
  func connect(from source: String = Peer.client()) throws -> Connection {
    try Connection(to: publicAddress, from: source)
  }

  func connectTLS(from source: String = Peer.client(), options: [String] = []) throws -> Connection {
    try .tls(to: publicAddress, from: source, options: options)
  }

  /// The URL of a path at the edge.
  func url(_ path: String, scheme: String = "http", host: String = Site.host) throws -> String {
    "\(scheme)://\(host):\(try publicAddress.port)\(path)"
  }
}
