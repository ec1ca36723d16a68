// What a line of the access log can say: members of `log.format: json`, and variables of a template, by the same names.
// docs/OPERATING.md explains each of them; a test compares. Written by ExchangeRecord and TextRecord (Proxy).

package enum LogVariable: String, CaseIterable, Sendable {
  case time
  /// As Apache writes it: `28/Nov/2026:10:00:00 +0000`.
  case timeCLF = "time_clf"
  case event, listener, client
  case clientPort = "client_port"
  case via, scheme
  case schemeSource = "scheme_source"
  case rule, evidence, config, generation, peer, connection, cutover, edge, route
  /// Method, target and version, as in a request line.
  case request
  /// Whose password was right.
  case user
  case method, host, path
  case version = "protocol"
  case status, refusal, detail
  case bytesIn = "bytes_in"
  case bytesOut = "bytes_out"
  case duration = "duration_ms"
  case waiting = "queue_ms"
  case connecting = "connect_ms"
  case upstreamTime = "upstream_ms"
  case responding = "response_ms"
  case upstream, server, retries, verified, tls, sni, alpn
  case userAgent = "user_agent"
  case referer
  case requestID = "request_id"

  /// Members that lines in JSON have only where `log.extra` names them.
  package static let extras: [LogVariable] = [
    .version, .user, .userAgent, .referer, .sni, .alpn, .requestID, .retries, .waiting, .connecting, .responding,
  ]

  // Bounds of what a peer sends; more is cut.
  package static let pathBytesMax = 2_048
  package static let hostBytesMax = 255
  package static let methodBytesMax = 32
  package static let userAgentBytesMax = 512
  package static let refererBytesMax = 1_024
  package static let sniBytesMax = 255
  package static let alpnBytesMax = 32
  package static let userBytesMax = 128
  package static let detailBytesMax = 320
  /// Names of the configuration's, addresses and numbers.
  private static let shortBytesMax = 128

  /// The longest that it may get in a template: a byte that is escaped becomes four.
  package var textBytesMax: Int {
    let own =
      switch self {
      case .path: LogVariable.pathBytesMax
      case .request: LogVariable.pathBytesMax + LogVariable.methodBytesMax + 16
      case .host: LogVariable.hostBytesMax
      case .userAgent: LogVariable.userAgentBytesMax
      case .referer: LogVariable.refererBytesMax
      case .sni: LogVariable.sniBytesMax
      case .user: LogVariable.userBytesMax
      // With the sentence around what it quotes.
      case .detail: LogVariable.detailBytesMax * 2
      default: LogVariable.shortBytesMax
      }
    return own * 4
  }
}
