// What a pattern must begin with, read off its text. Most routes are plain names and paths with a few escapes; knowing
// their first bytes lets a thousand of them be passed over without asking the regular expression engine.
// Invariant: every subject that the pattern matches whole begins with `bytes` (and equals them where `isWhole`). Where the
// text is not plainly literal the prefix ends: a shorter one costs time, a wrong one would change who is matched.
// Called when routes are loaded.

package struct LiteralPrefix: Equatable, Sendable {
  package let bytes: [UInt8]
  /// The pattern is nothing but these bytes.
  package let isWhole: Bool

  /// - Parameter pattern: PCRE2 syntax, to be anchored at both ends.
  package init(of pattern: String) {
    let text = Array(pattern.utf8)
    var literal: [UInt8] = []
    var at = 0
    var isWhole = true
    scan: while at < text.count {
      let byte = text[at]
      var next = at + 1
      var plain = byte
      switch byte {
      case UInt8(ascii: "\\"):
        // A backslash before anything but a letter or digit makes it literal; the rest are classes, anchors, quotes.
        guard next < text.count, LiteralPrefix.isPunctuation(text[next]) else {
          isWhole = false
          break scan
        }
        plain = text[next]
        next += 1
      case UInt8(ascii: "."), UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "|"),
        UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"), UInt8(ascii: "^"),
        UInt8(ascii: "$"):
        isWhole = false
        break scan
      default:
        guard byte > 0x20, byte < 0x7f else {
          isWhole = false
          break scan
        }
      }
      // A quantifier behind it: it may not be there at all, or more than once.
      if next < text.count, [UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "{")].contains(text[next]) {
        isWhole = false
        break scan
      }
      literal.append(plain)
      at = next
    }
    // An alternative begins with something else.
    let hasAlternatives = text.contains(UInt8(ascii: "|")) && !isWhole
    bytes = hasAlternatives ? [] : literal
    self.isWhole = isWhole && !text.isEmpty
  }

  private static func isPunctuation(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: false
    default: byte > 0x20 && byte < 0x7f
    }
  }
}

/// The first sixteen bytes of a host or a path, as two words; bytes that are not there are zero.
package struct LeadingBytes: Equatable, Sendable {
  package let first: UInt64
  package let second: UInt64

  /// - Parameter ignoresCase: ASCII capitals count as small letters.
  package init(_ bytes: Span<UInt8>, ignoresCase: Bool) {
    first = LeadingBytes.word(bytes, 0, ignoresCase)
    second = bytes.count > 8 ? LeadingBytes.word(bytes, 8, ignoresCase) : 0
  }

  private static func word(_ bytes: Span<UInt8>, _ start: Int, _ ignoresCase: Bool) -> UInt64 {
    var word: UInt64 = 0
    let end = min(bytes.count, start + 8)
    var shift: UInt64 = 0
    var at = start
    while at < end {
      var byte = bytes[at]
      if ignoresCase, byte >= 0x41, byte <= 0x5a { byte |= 0x20 }
      word |= UInt64(byte) << shift
      shift &+= 8
      at &+= 1
    }
    return word
  }
}

/// What every route's host and path must begin with: says which routes are worth a match.
package struct RouteIndex: Sendable {
  /// A word that must be found under a mask; an empty mask asks for nothing.
  private struct Demand: Sendable {
    let word: UInt64
    let mask: UInt64

    init(_ prefix: [UInt8], from start: Int) {
      var word: UInt64 = 0
      var mask: UInt64 = 0
      for (i, byte) in prefix.dropFirst(start).prefix(8).enumerated() {
        word |= UInt64(byte) << UInt64(8 * i)
        mask |= 0xff << UInt64(8 * i)
      }
      self.word = word
      self.mask = mask
    }

    @inline(__always) func isMet(_ found: UInt64) -> Bool { found & mask == word }
  }

  private var front: ContiguousArray<(host: Demand, path: Demand)> = []
  private var back: ContiguousArray<(host: Demand, path: Demand)> = []

  /// - Parameter routes: each with its patterns; nil matches everything.
  package init(_ routes: [(host: String?, path: String?)]) {
    for route in routes {
      let host = route.host.map { LiteralPrefix(of: $0.lowercasedASCII).bytes } ?? []
      let path = route.path.map { LiteralPrefix(of: $0).bytes } ?? []
      front.append((Demand(host, from: 0), Demand(path, from: 0)))
      back.append((Demand(host, from: 8), Demand(path, from: 8)))
    }
  }

  /// The next route from `index` on that a request may match, or nil.
  package func next(from index: Int, host: LeadingBytes, path: LeadingBytes) -> Int? {
    var i = index
    while i < front.count {
      if front[i].host.isMet(host.first), front[i].path.isMet(path.first),
        back[i].host.isMet(host.second), back[i].path.isMet(path.second)
      {
        return i
      }
      i &+= 1
    }
    return nil
  }
}

extension String {
  /// Capitals of ASCII made small, but for those behind a backslash, where they mean something else.
  fileprivate var lowercasedASCII: String {
    var escaped = false
    var bytes: [UInt8] = []
    for byte in utf8 {
      let isCapital = byte >= 0x41 && byte <= 0x5a
      bytes.append(isCapital && !escaped ? byte | 0x20 : byte)
      escaped = byte == UInt8(ascii: "\\") && !escaped
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
