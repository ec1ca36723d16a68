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
    guard let (high, low) = Base64.words(text) else { return nil }
    self.init(high: high, low: low)
  }

  /// Appends the 24 characters of its base64.
  @inlinable public func write(base64 sink: some ByteSink) {
    Base64.write(high, low, to: sink)
  }

  /// Appends 32 lower-case hexadecimal digits, as the logs have it.
  @inlinable public func write(hex sink: some ByteSink) {
    sink.append(packed: Digits.hex(high &>> 32), count: 8)
    sink.append(packed: Digits.hex(high & 0xffff_ffff), count: 8)
    sink.append(packed: Digits.hex(low &>> 32), count: 8)
    sink.append(packed: Digits.hex(low & 0xffff_ffff), count: 8)
  }

  static func word(_ bytes: Span<UInt8>, _ at: Int) -> UInt64 {
    bytes.word(at: at).byteSwapped
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
