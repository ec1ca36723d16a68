// Names and passwords that were right a short while ago, as one worker remembers them: by a keyed digest, never as they are. The
// digest covers the content of the htpasswd file, so what a reload reads anew is checked anew.
// Bounded: 1,024 of them, each for five minutes; where there is no room the one that is forgotten soonest makes it.

import Platform
import Policy
import Wire

/// 128 bits of HMAC-SHA-256.
struct LoginKey: Hashable, Sendable {
  let high: UInt64
  let low: UInt64
}

final class KnownLogins {
  static let milliseconds: UInt64 = 300_000
  private static let sets = 256
  private static let ways = 4

  private struct Entry {
    var key = LoginKey(high: 0, low: 0)
    /// 0: none.
    var endMilliseconds: UInt64 = 0
  }

  private let mac: HMACContext
  private var entries = ContiguousArray(repeating: Entry(), count: sets * ways)

  init?(secret: SecretBytes) {
    guard let mac = try? HMACContext(key: secret) else { return nil }
    self.mac = mac
  }

  /// What stands for a name and a password of a file.
  func key(_ file: UserFile, name: Span<UInt8>, password: Span<UInt8>) -> LoginKey? {
    let colon: InlineArray<1, UInt8> = [0x3a]
    let digest = file.digest
    // A name has no colon, so no two pairs are one text.
    guard mac.begin(), mac.update(digest.span), mac.update(name), mac.update(colon.span), mac.update(password)
    else { return nil }
    var tag = InlineArray<32, UInt8>(repeating: 0)
    var room = tag.mutableSpan
    guard mac.end(into: &room) else { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for i in 0..<8 {
      high = high &<< 8 | UInt64(tag[i])
      low = low &<< 8 | UInt64(tag[i &+ 8])
    }
    return LoginKey(high: high, low: low)
  }

  private func ways(of key: LoginKey) -> Range<Int> {
    let first = Int(truncatingIfNeeded: key.low & UInt64(KnownLogins.sets - 1)) * KnownLogins.ways
    return first..<first + KnownLogins.ways
  }

  /// Nobody without the secret can make a key that is nearly another one, so comparing needs no constant time.
  func knows(_ key: LoginKey, nowMilliseconds: UInt64) -> Bool {
    for way in ways(of: key) where entries[way].key == key { return nowMilliseconds < entries[way].endMilliseconds }
    return false
  }

  func note(_ key: LoginKey, nowMilliseconds: UInt64) {
    let ways = ways(of: key)
    let way =
      ways.first { entries[$0].key == key }
      ?? ways.min { entries[$0].endMilliseconds < entries[$1].endMilliseconds } ?? ways.lowerBound
    entries[way] = Entry(key: key, endMilliseconds: nowMilliseconds + KnownLogins.milliseconds)
  }
}
