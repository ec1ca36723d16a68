// The `signature` field (RFC 9421 section 4.2) in the one form that is ours: one member `cs` with a byte sequence.

public struct SignatureValue: Sendable {
  /// The first `count` bytes are the signature.
  public var bytes: InlineArray<64, UInt8>
  /// 32 (HMAC-SHA-256) or 64 (Ed25519).
  public var count: Int

  public enum Outcome: Sendable {
    case value(SignatureValue)
    case refused(Refusal)
  }

  /// Reads the field value at `range`.
  public static func parse(_ bytes: Span<UInt8>, at range: ByteRange) -> Outcome {
    guard range.upper <= bytes.count, range.count >= 5 else { return .refused(.signatureForm) }
    var at = range.lower
    let end = range.upper
    // cs=:
    guard StructuredField.take(packed: 0x3a3d_7363, count: 4, bytes, &at, end: end), bytes[end - 1] == UInt8(ascii: ":")
    else {
      return .refused(.signatureForm)
    }
    let text = bytes.extracting(at..<end - 1)
    // 44 characters are 31 to 33 bytes, 88 are 64 to 66: only one padding of each is a length that there is.
    guard text.count == 44 || text.count == 88 && text[86] == UInt8(ascii: "=") else {
      return .refused(.signatureLength)
    }
    var signature = InlineArray<64, UInt8>(repeating: 0)
    var room = signature.mutableSpan
    guard let count = Base64.decode(text, .standard, into: &room) else { return .refused(.signatureForm) }
    guard count == 32 || count == 64 else { return .refused(.signatureLength) }
    return .value(SignatureValue(bytes: signature, count: count))
  }

  /// Appends the value for a signature.
  @inlinable public static func write(_ signature: Span<UInt8>, to sink: some ByteSink) {
    sink.append("cs=:")
    Base64.encode(signature, .standard, to: sink)
    sink.append(UInt8(ascii: ":"))
  }
}
