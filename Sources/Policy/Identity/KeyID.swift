// A key's name (`kid`) as a plain value, so that looking one up allocates nothing.

import Wire

/// 1–32 of `A-Z a-z 0-9 . _ -`, left-aligned in four words; the rest is zero, which no name contains.
package struct KeyID: Hashable, Sendable {
  private let first: UInt64
  private let second: UInt64
  private let third: UInt64
  private let fourth: UInt64
  package let count: Int

  package init?(_ name: Span<UInt8>) {
    guard AttestName.isKeyID(name) else { return nil }
    var words = InlineArray<4, UInt64>(repeating: 0)
    for i in name.indices {
      words[i >> 3] |= UInt64(name[i]) << UInt64(56 &- 8 &* (i & 7))
    }
    first = words[0]
    second = words[1]
    third = words[2]
    fourth = words[3]
    count = name.count
  }

  package init?(_ text: String) { self.init(text.utf8.span) }

  /// The name's bytes.
  package var bytes: [UInt8] {
    let words: InlineArray<4, UInt64> = [first, second, third, fourth]
    return (0..<count).map { i in UInt8(truncatingIfNeeded: words[i >> 3] >> UInt64(56 - 8 * (i & 7))) }
  }
}

extension KeyID: CustomStringConvertible {
  package var description: String { String(decoding: bytes, as: UTF8.self) }
}
