// One request from a source address of one's choice, through whatever stands in front of the edge. For `countersign doctor`.

import Platform
import Policy
import Wire

package struct Probe: Sendable {
  let isTLS: Bool
  package let host: String
  let port: UInt16
  private let tls: TLSClientContext?
  private let isHTTP2: Bool

  /// - Parameters:
  ///   - url: `http://HOST[:PORT]` or `https://HOST[:PORT]`; what follows is not used.
  ///   - authorities: a PEM file, with https.
  package init(url: String, authorities: String, isHTTP2: Bool = false) throws(ConnectionFailure) {
    self.isHTTP2 = isHTTP2
    isTLS = url.hasPrefix("https://")
    guard isTLS || url.hasPrefix("http://") else {
      throw ConnectionFailure(description: "the URL begins with http:// or https://, found \(url)")
    }
    let rest = url.dropFirst(isTLS ? 8 : 7).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    var name = Substring(rest)
    var number: Substring?
    if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
      name = rest[..<colon]
      number = rest[rest.index(after: colon)...]
    }
    guard !name.isEmpty, let port = number.map({ UInt16($0) }) ?? (isTLS ? 443 : 80), port > 0 else {
      throw ConnectionFailure(description: "no host and port can be read from \(url)")
    }
    host = String(name.drop { $0 == "[" }.prefix { $0 != "]" })
    self.port = port
    guard isTLS else {
      tls = nil
      return
    }
    do {
      tls = try TLSClientContext(
        authorities: authorities, name: host, certificate: nil, application: isHTTP2 ? .http2 : .http1)
    } catch {
      throw ConnectionFailure(description: "\(error)")
    }
  }

  package struct Answer: Sendable {
    /// 0 where the connection ended without an answer.
    package let status: Int
    /// Whom a validator says that it verified; nil: it does not say, or nobody who does has answered.
    package let client: IPAddress?
  }

  /// Asks for `path` below the one that validators answer.
  package func ask(_ path: String, from source: IPAddress?) throws(ConnectionFailure) -> Answer {
    let addresses: [SocketAddress]
    do { addresses = try SocketAddress.resolve(host, port: port) } catch {
      throw ConnectionFailure(description: "\(host): \(error.reason)")
    }
    guard let address = addresses.first(where: { source == nil || $0.ip?.family == source?.family }) else {
      throw ConnectionFailure(description: "\(host) has no address of the family of \(source.map { "\($0)" } ?? "")")
    }
    let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    let agent = "User-Agent: countersign-doctor\r\n"
    let text =
      isHTTP2
      ? ":method: GET\r\n:scheme: \(isTLS ? "https" : "http")\r\n:authority: \(authority)\r\n:path: \(path)\r\n\(agent)"
      : "GET \(path) HTTP/1.1\r\nHost: \(authority)\r\n\(agent)Connection: close\r\n\r\n"
    let bytes = try AdminClient.exchange(
      text, with: address, from: source, tls: tls, isHTTP2: isHTTP2, place: authority)
    guard case .answer(let answer) = ValidatorAnswer.read(bytes, isAll: true) else {
      return Answer(status: 0, client: nil)
    }
    return Answer(status: answer.status, client: answer.client)
  }
}
