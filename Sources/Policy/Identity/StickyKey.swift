// The key of one upstream's sticky cookies (`upstreams.*.sticky`), and the tokens that it makes of servers. A token says nothing of
// the server to whoever has no key, and nobody else can make one. Invariant: the same file, upstream and server give the same token, at
// every edge and after every start.

import Platform

package struct StickyKey: Sendable {
  private let secret: SecretBytes

  private static let salt = Array("countersign/v1".utf8)
  private static let purpose = Array("sticky".utf8)
  /// Digits of a token: 128 bits.
  package static let tokenDigits = 32

  /// - Parameter identity: the keys that sign or verify, of which none may make cookies.
  package static func load(
    path: String, group: String?, upstream: String, identity: KeySet?
  ) throws(KeySetError) -> StickyKey {
    let secret = try KeySet.loadLoneSecret(path: path, group: group, besides: identity)
    do {
      let info = purpose + [0] + Array(upstream.utf8)
      let derived = try HKDF.sha256(key: secret, salt: salt.span, info: info.span, count: HMACContext.tagCount)
      return StickyKey(secret: derived)
    } catch {
      throw KeySetError(source: path, error)
    }
  }

  private init(secret: SecretBytes) { self.secret = secret }

  /// The token of a server by its name; empty where libcrypto fails.
  package func token(of server: String) -> [UInt8] {
    guard let mac = try? HMACContext(key: secret) else { return [] }
    var tag = InlineArray<32, UInt8>(repeating: 0)
    var room = tag.mutableSpan
    guard mac.tag(of: Array(server.utf8).span, into: &room) else { return [] }
    let digits = Array("0123456789abcdef".utf8)
    return (0..<StickyKey.tokenDigits / 2).flatMap { [digits[Int(tag[$0] >> 4)], digits[Int(tag[$0] & 15)]] }
  }
}
