// Keeps a client at a server by a cookie (`sticky`): the token of the server that had its first request. A request that brings the token
// of a server which can serve goes there; any other is spread as usual, and its response sets the cookie.

import Platform
import Policy
import Wire

package struct StickyCookie: Sendable {
  /// What a response's head may grow by.
  static let lineBytesMax = 192

  private let name: [UInt8]
  private let key: StickyKey

  init(_ sticky: Config.Sticky, _ key: StickyKey) {
    name = Array(sticky.cookie.utf8)
    self.key = key
  }

  func token(of server: String) -> [UInt8] { key.token(of: server) }

  /// What a request's cookie says.
  enum Said {
    /// It names a server that can serve. Whether it can have one more request now is another question.
    case server(ServerPool)
    /// It names none, or one that is gone or fails.
    case nothing
  }

  func read(_ x: Exchange, _ servers: ContiguousArray<ServerPool>, nowMilliseconds: UInt64) -> Said {
    x.headText.withReadable { bytes in
      guard let range = CookieField.value(bytes, x.head, named: name), range.count == StickyKey.tokenDigits else {
        return .nothing
      }
      let value = bytes.extracting(range)
      for server in servers where ByteComparison.isEqualInConstantTime(value, server.token.span) {
        guard x.triedServers & server.bit == 0 else { return .nothing }
        switch server.availability(nowMilliseconds: nowMilliseconds) {
        case .serving, .starting: return .server(server)
        case .failing, .withdrawn: return .nothing
        }
      }
      return .nothing
    }
  }

  /// The field of a response that keeps its client at a server. A browser sends it with every request to the site, scripts cannot read it,
  /// and what came over TLS goes back over TLS only.
  func line(_ token: [UInt8], isSecure: Bool) -> [UInt8] {
    Array("Set-Cookie: ".utf8) + name + [0x3d] + token
      + Array("; Path=/; HttpOnly; SameSite=Lax\(isSecure ? "; Secure" : "")\r\n".utf8)
  }
}
