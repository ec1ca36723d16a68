// The `signature-input` field (RFC 9421 section 4.1) in the one form that is ours: one member `cs`, fixed components,
// fixed parameters in a fixed order. The algorithm is not among them: the key decides it.
// Invariant: write(parse(text)) == text. Called by Signer (write) and Verifier (parse, write).

public struct SignatureInput: Sendable {
  /// Seconds since 1970.
  public var created: UInt64
  public var expires: UInt64
  public var epoch: UInt64
  public var sequence: UInt64
  /// Within the text that was parsed.
  public var keyID: ByteRange
  /// From the `(` to the end: what the base has as `@signature-params`.
  public var parameters: ByteRange

  public enum Outcome: Sendable {
    case input(SignatureInput)
    case refused(Refusal)
  }

  /// The longest text there can be: two integers of 15 digits, a sequence number of 19, a `kid` of 32.
  public static let countMax = 207
  /// A signed message may be used for this long.
  public static let lifetimeSeconds: UInt64 = 30
  /// Sequence numbers end here.
  public static let sequenceMax = UInt64(Int64.max)

  /// Reads the field value at `range`.
  public static func parse(_ bytes: Span<UInt8>, at range: ByteRange) -> Outcome {
    guard range.upper <= bytes.count, range.count <= countMax else { return .refused(.signatureForm) }
    var at = range.lower
    let end = range.upper
    guard StructuredField.take("cs=", bytes, &at, end: end), at < end, bytes[at] == UInt8(ascii: "(") else {
      return .refused(.signatureForm)
    }
    let parameters = ByteRange(at, end - at)
    guard
      StructuredField.take(
        "(\"@method\" \"@authority\" \"@path\" \"@query\" \"client-attest\")", bytes, &at, end: end)
    else { return .refused(.signatureComponents) }

    guard StructuredField.take(";created=", bytes, &at, end: end),
      let created = StructuredField.takeDecimal(bytes, &at, end: end, max: StructuredField.integerMax),
      StructuredField.take(";expires=", bytes, &at, end: end),
      let expires = StructuredField.takeDecimal(bytes, &at, end: end, max: StructuredField.integerMax),
      StructuredField.take(";nonce=\"", bytes, &at, end: end),
      let epoch = takeEpoch(bytes, &at, end: end),
      StructuredField.take(".", bytes, &at, end: end),
      let sequence = StructuredField.takeDecimal(bytes, &at, end: end, max: sequenceMax), sequence > 0,
      StructuredField.take("\";keyid=\"", bytes, &at, end: end),
      let keyID = StructuredField.takeUntil(
        UInt8(ascii: "\""), bytes, &at, end: end, countMax: AttestName.keyIDCountMax),
      AttestName.isKeyID(bytes.extracting(keyID.range)),
      StructuredField.take("\"", bytes, &at, end: end)
    else { return .refused(.signatureParams) }

    // RFC 9421 section 2.3: the tag says which application a signature is for; without ours it is not for us.
    if at == end { return .refused(.signatureTag) }
    guard StructuredField.take(";tag=", bytes, &at, end: end) else { return .refused(.signatureParams) }
    guard StructuredField.take("\"countersign\"", bytes, &at, end: end) else { return .refused(.signatureTag) }
    if at < end { return .refused(bytes[at] == UInt8(ascii: ";") ? .signatureParams : .signatureForm) }
    return .input(
      SignatureInput(
        created: created, expires: expires, epoch: epoch, sequence: sequence, keyID: keyID, parameters: parameters))
  }

  /// Eight bytes are eleven characters; an epoch of zero is nobody's.
  private static func takeEpoch(_ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> UInt64? {
    guard end &- at > 11 else { return nil }
    var eight = InlineArray<8, UInt8>(repeating: 0)
    var room = eight.mutableSpan
    guard Base64.decode(bytes.extracting(at..<at &+ 11), .url, into: &room) == 8 else { return nil }
    let epoch = ConnectionID.word(eight.span, 0)
    guard epoch != 0 else { return nil }
    at &+= 11
    return epoch
  }

  // The parameters are written in three parts: what changes once a second, the sequence number, what never changes.

  /// Appends everything before the sequence number, from the `(` on.
  @inlinable public static func writePrefix(created: UInt64, expires: UInt64, epoch: UInt64, to sink: some ByteSink) {
    sink.append("(\"@method\" \"@authority\" \"@path\" \"@query\" \"client-attest\");created=")
    sink.append(decimal: created)
    sink.append(";expires=")
    sink.append(decimal: expires)
    sink.append(";nonce=\"")
    var eight = InlineArray<8, UInt8>(repeating: 0)
    for i in 0..<8 { eight[i] = UInt8(truncatingIfNeeded: epoch >> UInt64(56 &- 8 &* i)) }
    Base64.encode(eight.span, .url, to: sink)
    sink.append(UInt8(ascii: "."))
  }

  /// Appends everything after the sequence number.
  @inlinable public static func writeSuffix(keyID: Span<UInt8>, to sink: some ByteSink) {
    sink.append("\";keyid=\"")
    sink.append(keyID)
    sink.append("\";tag=\"countersign\"")
  }
}
