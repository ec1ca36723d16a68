// Tells whether two keys of one name are the same key: a reload may bring other material under an old `kid`, and what was
// verified with the old one is then no longer believed. Made when keys are loaded. It never leaves the process.

import Platform
import Wire

enum KeyFingerprint {
  /// A label that no message begins with: a request's base begins with a quote, a PROXY header's with its purpose.
  private static let label: StaticString = "countersign/v1 fingerprint"

  static func of(_ mac: HMACContext) throws(CryptoError) -> UInt64 {
    let text = Buffer(capacity: 64)
    text.append(label)
    var tag = InlineArray<32, UInt8>(repeating: 0)
    let isMade = text.withReadable { label in
      var room = tag.mutableSpan
      return mac.tag(of: label, into: &room)
    }
    guard isMade else { throw CryptoError("HMAC") }
    return word(tag.span)
  }

  static func of(_ key: Ed25519Key) -> UInt64 {
    let point = key.point
    return word(point.span)
  }

  private static func word(_ bytes: Span<UInt8>) -> UInt64 {
    var word: UInt64 = 0
    for i in 0..<8 { word = word << 8 | UInt64(bytes[i]) }
    return word
  }
}
