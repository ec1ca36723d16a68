// `/whoami`: what the request said about its sender when it arrived here, and what the monitor makes of it. It is how
// one sees what a proxy in front passes on. In plain text (`Accept: text/plain`) it is the fields alone, one to a line,
// in a form `curl -H @file` can send again.
//
// FlyingFox keeps only the last of several lines with the same name, so this cannot show whether a field came twice.

import FlyingFox
import Foundation

extension Service {
  /// Names that claim something about the client, besides everything that begins with `x-forwarded-`.
  private static let identityNames: Set<String> = [
    "client-attest", "signature-input", "signature", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip",
    "cf-connecting-ipv6", "client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip", "client-cert",
    "client-cert-chain", "x-original-forwarded-for", "x-envoy-external-address", "x-remote-addr", "x-remote-ip",
    "x-originating-ip", "x-proxyuser-ip", "proxy-client-ip", "wl-proxy-client-ip", "x-azure-clientip",
    "x-original-host", "early-data",
  ]

  /// A name as loose software reads it: lower case, with hyphens for everything that is no letter and no digit.
  private static func fold(_ name: String) -> String {
    String(name.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
  }

  func whoami(_ exchange: Exchange) async throws -> HTTPResponse {
    struct Body: Encodable {
      let client: String?
      let clientFrom: String
      let peer: String?
      let method: String
      let target: String
      let host: String?
      let fields: [String: [String]]
    }
    var fields: [String: [String]] = [:]
    for name in exchange.request.headers.keys {
      let folded = Self.fold(name.rawValue)
      guard Self.identityNames.contains(folded) || folded.hasPrefix("x-forwarded-") else { continue }
      fields[name.rawValue.lowercased()] = exchange.request.headers.values(for: name)
    }
    if exchange.request.headers[HTTPHeader("Accept")] == "text/plain" {
      let lines = fields.sorted { $0.key < $1.key }.flatMap { field in field.value.map { "\(field.key): \($0)\n" } }
      return HTTPResponse(
        statusCode: .ok, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
        body: Data(lines.joined().utf8))
    }
    return try .json(
      .ok,
      Body(
        client: exchange.client.address?.description, clientFrom: exchange.client.source.rawValue,
        peer: exchange.request.remoteAddress?.text, method: exchange.request.method.rawValue,
        target: exchange.request.target.rawValue, host: exchange.request.headers[.host], fields: fields))
  }
}

extension HTTPRequest.Address {
  /// The address without the port; nil for a unix socket.
  var host: String? {
    switch self {
    case .ip4(let host, _), .ip6(let host, _): host
    case .unix: nil
    }
  }

  var text: String {
    switch self {
    case .ip4(let host, let port): "\(host):\(port)"
    case .ip6(let host, let port): "[\(host)]:\(port)"
    case .unix: "unix"
    }
  }
}
