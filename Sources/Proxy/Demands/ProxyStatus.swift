// The Proxy-Status field (RFC 9209) of answers that are our own, where `proxy_status: true`: who answered, which of the standard's
// errors it is, and the refusal's name as its details. The lines are made with the plan.

import Policy
import Wire

struct ProxyStatus {
  private let lines: [[UInt8]]

  /// Nil where the configuration does not ask for it.
  init?(_ config: Config) {
    guard config.proxyStatus else { return nil }
    // An sf-token begins with a letter, an sf-string holds anything of a name (RFC 9651 sections 3.3.3 and 3.3.4).
    let name = config.identity.edge ?? config.identity.audience ?? "countersign"
    lines = Refusal.allCases.map { refusal in
      Array("Proxy-Status: \"\(name)\"; error=\(refusal.proxyError); details=\"\(refusal.name)\"\r\n".utf8)
    }
  }

  func line(of refusal: Refusal) -> [UInt8] { lines[Int(refusal.rawValue)] }
}

extension Refusal {
  /// RFC 9209 section 2.3.
  var proxyError: StaticString {
    switch self {
    case .routeNone: "destination_not_found"
    case .upstreamNone, .upstreamConnect: "destination_unavailable"
    case .upstreamConnectTimeout: "connection_timeout"
    case .upstreamTls: "tls_protocol_error"
    case .upstreamReset: "connection_terminated"
    case .upstreamTimeout: "http_response_timeout"
    case .upstreamResponse: "http_protocol_error"
    case .queueFull, .queueTimeout: "connection_limit_reached"
    case .signFailed, .routeUndecided: "proxy_internal_error"
    case .routeClosed, .clientsIndistinct, .starting, .draining, .epochsFull, .credentialsBusy:
      "proxy_internal_response"
    default:
      status == 400 || status == 431 || status == 408 || status == 413 ? "http_request_error" : "http_request_denied"
    }
  }
}
