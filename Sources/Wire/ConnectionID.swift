// The 16 random bytes that name one downstream connection, from the edge through every log to the backend.

/// A connection's identifier (`cid`), as two words in network order.
public struct ConnectionID: Hashable, Sendable {
  public let high: UInt64
  public let low: UInt64

  @inlinable public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// From exactly 16 bytes.
  public init?(_ bytes: Span<UInt8>) {
    guard bytes.count == 16 else { return nil }
    high = Self.word(bytes, 0)
    low = Self.word(bytes, 8)
  }

  /// From the 24 characters of its canonical base64.
  public init?(base64 text: Span<UInt8>) {
    guard text.count == 24 else { return nil }
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    guard Base64.decode(text, .standard, into: &room) == 16 else { return nil }
    self.init(bytes.span)
  }

  /// The 16 bytes.
  public var bytes: InlineArray<16, UInt8> {
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for i in 0..<8 {
      bytes[i] = UInt8(truncatingIfNeeded: high >> UInt64(56 &- 8 &* i))
      bytes[i &+ 8] = UInt8(truncatingIfNeeded: low >> UInt64(56 &- 8 &* i))
    }
    return bytes
  }

  /// Appends the 24 characters of its base64.
  @inlinable public func write(base64 sink: some ByteSink) {
    let bytes = bytes
    Base64.encode(bytes.span, .standard, to: sink)
  }

  /// Appends 32 lower-case hexadecimal digits, as the logs have it.
  @inlinable public func write(hex sink: some ByteSink) {
    let bytes = bytes
    var digits = InlineArray<32, UInt8>(repeating: 0)
    for i in 0..<16 {
      let (one, two) = (bytes[i] >> 4, bytes[i] & 15)
      digits[2 &* i] = one < 10 ? one &+ 0x30 : one &+ 0x57
      digits[2 &* i &+ 1] = two < 10 ? two &+ 0x30 : two &+ 0x57
    }
    sink.append(digits.span)
  }

  static func word(_ bytes: Span<UInt8>, _ at: Int) -> UInt64 {
    var word: UInt64 = 0
    for i in 0..<8 { word = word << 8 | UInt64(bytes[at &+ i]) }
    return word
  }
}

extension ConnectionID: CustomStringConvertible {
  public var description: String {
    [high, low].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
