// The SHA-256 of a client certificate (DER), as attestations and logs carry it.

package struct CertificateDigest: Hashable, Sendable {
  /// The 32 bytes in network order.
  package let first: UInt64
  package let second: UInt64
  package let third: UInt64
  package let fourth: UInt64

  /// From exactly 32 bytes.
  package init?(_ bytes: Span<UInt8>) {
    guard bytes.count == 32 else { return nil }
    first = ConnectionID.word(bytes, 0)
    second = ConnectionID.word(bytes, 8)
    third = ConnectionID.word(bytes, 16)
    fourth = ConnectionID.word(bytes, 24)
  }

  /// From the 44 characters of its canonical base64.
  package init?(base64 text: Span<UInt8>) {
    guard text.count == 44 else { return nil }
    var bytes = InlineArray<32, UInt8>(repeating: 0)
    var room = bytes.mutableSpan
    guard Base64.decode(text, .standard, into: &room) == 32 else { return nil }
    self.init(bytes.span)
  }

  /// The 32 bytes.
  package var bytes: InlineArray<32, UInt8> {
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
  @inlinable package func write(base64 sink: some ByteSink) {
    let bytes = bytes
    Base64.encode(bytes.span, .standard, to: sink)
  }
}
