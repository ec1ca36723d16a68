// The few productions of RFC 9651 that our three fields use, read in their one canonical spelling. There is no general
// structured-field parser here on purpose: what is not canonical is refused, so nothing more general is needed.
// Called by Attest, SignatureInput and SignatureValue. A reader moves `at` only past what it took.

public enum StructuredField {
  /// The largest integer of RFC 9651 section 3.3.1: 15 digits.
  public static let integerMax: UInt64 = 999_999_999_999_999

  /// Whether `literal` (ASCII) stands in `bytes` at `at`.
  @inline(__always)
  static func matches(_ literal: String, _ bytes: Span<UInt8>, at: Int) -> Bool {
    let expected = literal.utf8.span
    guard at >= 0, expected.count <= bytes.count &- at else { return false }
    let found = bytes.extracting(at..<at &+ expected.count)
    // Nothing here is secret; without an early exit the loop becomes a few wide instructions.
    var difference: UInt8 = 0
    for i in 0..<expected.count { difference |= found[i] ^ expected[i] }
    return difference == 0
  }

  /// Takes `literal` if it comes next.
  @inline(__always)
  static func take(_ literal: String, _ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> Bool {
    let count = literal.utf8.count
    guard count <= end &- at, matches(literal, bytes, at: at) else { return false }
    at &+= count
    return true
  }

  /// Takes a decimal number of at most `max`, without sign or leading zeros.
  static func takeDecimal(_ bytes: Span<UInt8>, _ at: inout Int, end: Int, max: UInt64) -> UInt64? {
    var value: UInt64 = 0
    var i = at
    while i < end {
      let digit = bytes[i] &- 0x30
      guard digit <= 9 else { break }
      let (times, overTimes) = value.multipliedReportingOverflow(by: 10)
      let (sum, overSum) = times.addingReportingOverflow(UInt64(digit))
      guard !overTimes, !overSum, sum <= max else { return nil }
      value = sum
      i &+= 1
    }
    guard i > at, i &- at == 1 || bytes[at] != 0x30 else { return nil }
    at = i
    return value
  }

  /// Takes what stands before the next `stop`, which is left; nil when no `stop` comes within `countMax` bytes.
  static func takeUntil(
    _ stop: UInt8, _ bytes: Span<UInt8>, _ at: inout Int, end: Int, countMax: Int
  ) -> ByteRange? {
    let limit = min(end, at &+ countMax &+ 1)
    var i = at
    while i < limit {
      if bytes[i] == stop {
        let found = ByteRange(at, i &- at)
        at = i
        return found
      }
      i &+= 1
    }
    return nil
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
