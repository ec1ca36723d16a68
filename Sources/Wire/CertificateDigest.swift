// The SHA-256 of a client certificate (DER), as attestations and logs carry it.

public struct CertificateDigest: Hashable, Sendable {
  /// The 32 bytes in network order.
  public let first: UInt64
  public let second: UInt64
  public let third: UInt64
  public let fourth: UInt64

  /// From exactly 32 bytes.
  public init?(_ bytes: Span<UInt8>) {
    guard bytes.count == 32 else { return nil }
    first = ConnectionID.word(bytes, 0)
    second = ConnectionID.word(bytes, 8)
    third = ConnectionID.word(bytes, 16)
    fourth = ConnectionID.word(bytes, 24)
  }

  /// From the 44 characters of its canonical base64.
  public init?(base64 text: Span<UInt8>) {
    guard text.count == 44 else { return nil }
    var bytes = InlineArray<32, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    guard Base64.decode(text, .standard, into: &room) == 32 else { return nil }
    self.init(bytes.span)
  }

  /// The 32 bytes.
  public var bytes: InlineArray<32, UInt8> {
    var bytes = InlineArray<32, UInt8>(repeating: 0)
    for i in 0..<8 {
      let shift = UInt64(56 &- 8 &* i)
      bytes[i] = UInt8(truncatingIfNeeded: first >> shift)
      bytes[i &+ 8] = UInt8(truncatingIfNeeded: second >> shift)
      bytes[i &+ 16] = UInt8(truncatingIfNeeded: third >> shift)
      bytes[i &+ 24] = UInt8(truncatingIfNeeded: fourth >> shift)
    }
    return bytes
  }

  /// Appends the 44 characters of its base64.
  @inlinable public func write(base64 sink: some ByteSink) {
    let bytes = bytes
    Base64.encode(bytes.span, .standard, to: sink)
  }
}
