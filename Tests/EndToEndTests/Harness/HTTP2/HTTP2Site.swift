// An edge that speaks HTTP/2 on two listeners, in cleartext and by TLS, and the backend behind it, which is told in plain fields
// who the client is.

import Foundation
import TestSupport

final class HTTP2Site: Sendable {
  // In the order in which they end.
  let edge: Countersign
  let backend: RecordingBackend
  let workspace: Workspace
  let configuration: Configuration

  init(
    keepsBytes: Bool = true, _ script: @escaping RecordingBackend.Script = { try $0.reply($0.clientAddress) },
    change: (inout Configuration) throws -> Void = { _ in }
  ) throws {
    workspace = try Workspace()
    backend = try RecordingBackend(keepsBytes: keepsBytes, script)
    var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
    configuration.listeners = [
      .init(name: "cleartext", more: ["protocols: [h2c]"]),
      .init(name: "tls", certificates: [try Certificates.standard.app]),
    ]
    configuration.hasAdmin = true
    try change(&configuration)
    self.configuration = configuration
    edge = try Countersign(configuration, in: workspace)
  }

  /// A connection on which nothing is sent yet.
  func connect(from source: String = Peer.client(), receiveBufferBytes: Int32? = nil) throws -> HTTP2Client {
    let connection = try Connection(to: edge["cleartext"], from: source, receiveBufferBytes: receiveBufferBytes)
    return HTTP2Client(over: connection, scheme: "http")
  }

  func connectTLS(from source: String = Peer.client()) throws -> HTTP2Client {
    let connection = try Connection.tls(to: edge["tls"], from: source, options: ["-alpn", "h2"])
    return HTTP2Client(over: connection, scheme: "https")
  }

  /// A connection that has begun, in cleartext.
  func begun(
    from source: String = Peer.client(), settings: [(HTTP2Setting, UInt32)] = [], receiveBufferBytes: Int32? = nil
  ) throws -> HTTP2Client {
    let client = try connect(from: source, receiveBufferBytes: receiveBufferBytes)
    try client.begin(settings)
    return client
  }

  /// How often a refusal was counted.
  func refusals(_ name: String) throws -> Int {
    try edge.metric("countersign_refusals_total{name=\"\(name)\"}") ?? 0
  }
}
