// One request from a source address of one's choice, through whatever stands in front of the edge. For `countersign doctor`.

import Platform
import Policy
import Wire

package struct Probe: Sendable {
  let isTLS: Bool
  package let host: String
  let port: UInt16
  private let tls: TLSClientContext?

  /// - Parameters:
  ///   - url: `http://HOST[:PORT]` or `https://HOST[:PORT]`; what follows is not used.
  ///   - authorities: a PEM file, with https.
  package init(url: String, authorities: String) throws(AdminClient.Failure) {
    isTLS = url.hasPrefix("https://")
    guard isTLS || url.hasPrefix("http://") else {
      throw AdminClient.Failure(description: "the URL begins with http:// or https://, found \(url)")
    }
    let rest = url.dropFirst(isTLS ? 8 : 7).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    var name = Substring(rest)
    var number: Substring?
    if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
      name = rest[..<colon]
      number = rest[rest.index(after: colon)...]
    }
    guard !name.isEmpty, let port = number.map({ UInt16($0) }) ?? (isTLS ? 443 : 80), port > 0 else {
      throw AdminClient.Failure(description: "no host and port can be read from \(url)")
    }
    host = String(name.drop { $0 == "[" }.prefix { $0 != "]" })
    self.port = port
    guard isTLS else {
      tls = nil
      return
    }
    do { tls = try TLSClientContext(authorities: authorities, name: host, certificate: nil) } catch {
      throw AdminClient.Failure(description: "\(error)")
    }
  }

  package struct Answer: Sendable {
    /// 0 where the connection ended without an answer.
    package let status: Int
    /// Whom a validator says that it verified; nil: it does not say, or nobody who does has answered.
    package let client: IPAddress?
  }

  /// Asks for `path` below the one that validators answer.
  package func ask(_ path: String, from source: IPAddress?) throws(AdminClient.Failure) -> Answer {
    let addresses: [SocketAddress]
    do { addresses = try SocketAddress.resolve(host, port: port) } catch {
      throw AdminClient.Failure(description: "\(host): \(error.reason)")
    }
    guard let address = addresses.first(where: { source == nil || $0.ip?.family == source?.family }) else {
      throw AdminClient.Failure(description: "\(host) has no address of the family of \(source.map { "\($0)" } ?? "")")
    }
    let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    let text =
      "GET \(path) HTTP/1.1\r\nHost: \(authority)\r\nUser-Agent: countersign-doctor\r\nConnection: close\r\n\r\n"
    let bytes = try AdminClient.exchange(text, with: address, from: source, tls: tls, place: authority)
    let head = ResponseHead(fieldsMax: 256)
    guard
      case .complete(let length) = head.parse(
        bytes.span, limits: HeadLimits(headBytes: 64 * 1024, fields: 256), requestWasHead: false)
    else { return Answer(status: 0, client: nil) }
    let body = String(decoding: bytes[length...].prefix(256), as: UTF8.self)
    guard head.status == 200, body.hasPrefix("client="), body.contains(" proto="), body.contains(" via=") else {
      return Answer(status: head.status, client: nil)
    }
    return Answer(status: 200, client: IPAddress(String(body.dropFirst(7).prefix { $0 != " " })))
  }
}
