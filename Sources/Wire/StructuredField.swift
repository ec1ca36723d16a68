// The few productions of RFC 9651 that our three fields use, read in their one canonical spelling. There is no general
// structured-field parser here on purpose: what is not canonical is refused, so nothing more general is needed.
// Called by Attest, SignatureInput and SignatureValue. A reader moves `at` only past what it took.

public enum StructuredField {
  /// The largest integer of RFC 9651 section 3.3.1: 15 digits.
  public static let integerMax: UInt64 = 999_999_999_999_999

  /// Whether `literal` stands in `bytes` at `at`.
  @inline(__always)
  static func matches(_ literal: Literal, _ bytes: Span<UInt8>, at: Int) -> Bool {
    guard at >= 0, literal.count <= bytes.count &- at else { return false }
    // Nothing here is secret, but without an early exit there is one branch.
    var difference: UInt64 = 0
    var i = 0
    while literal.count &- i > 8 {
      difference |= bytes.word(at: at &+ i) ^ literal.words[i &>> 3]
      i &+= 8
    }
    let end = at &+ literal.count
    difference |= bytes.word(at: Swift.max(at, end &- 8), before: end) ^ literal.last
    return difference == 0
  }

  /// Takes `literal` if it comes next.
  @inline(__always)
  static func take(_ literal: Literal, _ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> Bool {
    guard literal.count <= end &- at, matches(literal, bytes, at: at) else { return false }
    at &+= literal.count
    return true
  }

  /// Takes at most eight characters, packed with the first one lowest: for literals on the way of every request, since a
  /// global one costs a call to see that it is there.
  @inline(__always)
  static func take(packed word: UInt64, count: Int, _ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> Bool {
    guard count <= end &- at, bytes.word(at: at, before: at &+ count) == word else { return false }
    at &+= count
    return true
  }

  /// Takes a decimal number of at most `max` (below 2^63), without sign or leading zeros.
  @inline(__always)
  static func takeDecimal(_ bytes: Span<UInt8>, _ at: inout Int, end: Int, max: UInt64) -> UInt64? {
    var value: UInt64 = 0
    var i = at
    while true {
      let word = bytes.word(at: i, before: Swift.min(end, i &+ 8))
      // What is missing at the end reads as zeros, which are no digits.
      let count = Digits.count(word)
      if count > 0 {
        // 24 digits would wrap; 20 of them are over any `max` already, unless they begin with a zero.
        guard i &+ count &- at <= 19 else { return nil }
        value = value &* scales[count] &+ Digits.value(word, count: count)
      }
      i &+= count
      if count < 8 { break }
    }
    guard i > at, i &- at == 1 || bytes[at] != 0x30, value <= max else { return nil }
    at = i
    return value
  }

  private static let scales: InlineArray<9, UInt64> = [
    1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000,
  ]

  /// Takes what stands before the next `stop`, which is left; nil when no `stop` comes within `countMax` bytes.
  static func takeUntil(
    _ stop: UInt8, _ bytes: Span<UInt8>, _ at: inout Int, end: Int, countMax: Int
  ) -> ByteRange? {
    let limit = min(end, at &+ countMax &+ 1)
    var i = at
    while i < limit {
      // What is missing at the end reads as zeros, which are no `stop`.
      let found = Word.equals(stop, bytes.word(at: i, before: min(limit, i &+ 8)))
      guard found == 0 else {
        i &+= Word.firstIndex(found)
        let taken = ByteRange(at, i &- at)
        at = i
        return taken
      }
      i &+= 8
    }
    return nil
  }
}

/// A short ASCII text in words, so that it is compared without a loop over its bytes: `String.UTF8View` would ask for its
/// bytes each time, and a `StaticString` has them behind a pointer.
struct Literal: Sendable {
  static let countMax = 72

  let count: Int
  /// Eight bytes each, the first one lowest.
  fileprivate let words: InlineArray<9, UInt64>
  /// The last eight bytes, or all there are.
  fileprivate let last: UInt64

  init(_ text: String) {
    let bytes = Array(text.utf8)
    precondition(!bytes.isEmpty && bytes.count <= Literal.countMax)
    count = bytes.count
    words = InlineArray { word in
      bytes.span.word(at: min(8 * word, bytes.count), before: min(8 * word + 8, bytes.count))
    }
    last = bytes.span.word(at: max(0, bytes.count - 8), before: bytes.count)
  }
}

/// The syntax of the names that keys, edges and audiences carry.
public enum AttestName {
  public static let keyIDCountMax = 32
  public static let audienceCountMax = 64
  public static let edgeCountMax = 64

  /// `kid`: 1–32 of `A-Z a-z 0-9 . _ -`.
  public static func isKeyID(_ name: Span<UInt8>) -> Bool {
    guard !name.isEmpty, name.count <= keyIDCountMax else { return false }
    for i in name.indices where !isNameByte(name[i], upperAndUnderscore: true) { return false }
    return true
  }

  /// `aud`: 1–64 of `a-z 0-9 . -`.
  public static func isAudience(_ name: Span<UInt8>) -> Bool {
    guard !name.isEmpty, name.count <= audienceCountMax else { return false }
    for i in name.indices where !isNameByte(name[i], upperAndUnderscore: false) { return false }
    return true
  }

  /// `edge`: 1–64 of `A-Z a-z 0-9 . _ -`.
  public static func isEdge(_ name: Span<UInt8>) -> Bool {
    guard !name.isEmpty, name.count <= edgeCountMax else { return false }
    for i in name.indices where !isNameByte(name[i], upperAndUnderscore: true) { return false }
    return true
  }

  @inline(__always)
  private static func isNameByte(_ byte: UInt8, upperAndUnderscore: Bool) -> Bool {
    if byte &- 0x61 < 26 || byte &- 0x30 < 10 || byte == 0x2d || byte == 0x2e { return true }
    return upperAndUnderscore && (byte &- 0x41 < 26 || byte == 0x5f)
  }
}
