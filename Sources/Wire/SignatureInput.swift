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
    guard StructuredField.take(Texts.member, bytes, &at, end: end), at < end, bytes[at] == UInt8(ascii: "(") else {
      return .refused(.signatureForm)
    }
    let parameters = ByteRange(at, end - at)
    guard
      StructuredField.take(Texts.components, bytes, &at, end: end)
    else { return .refused(.signatureComponents) }

    guard StructuredField.take(Texts.created, bytes, &at, end: end),
      let created = StructuredField.takeDecimal(bytes, &at, end: end, max: StructuredField.integerMax),
      StructuredField.take(Texts.expires, bytes, &at, end: end),
      let expires = StructuredField.takeDecimal(bytes, &at, end: end, max: StructuredField.integerMax),
      StructuredField.take(Texts.nonce, bytes, &at, end: end),
      let epoch = takeEpoch(bytes, &at, end: end),
      StructuredField.take(Texts.dot, bytes, &at, end: end),
      let sequence = StructuredField.takeDecimal(bytes, &at, end: end, max: sequenceMax), sequence > 0,
      StructuredField.take(Texts.keyID, bytes, &at, end: end),
      let keyID = StructuredField.takeUntil(
        UInt8(ascii: "\""), bytes, &at, end: end, countMax: AttestName.keyIDCountMax),
      AttestName.isKeyID(bytes.extracting(keyID.range)),
      StructuredField.take(Texts.quote, bytes, &at, end: end)
    else { return .refused(.signatureParams) }

    // RFC 9421 section 2.3: the tag says which application a signature is for; without ours it is not for us.
    if at == end { return .refused(.signatureTag) }
    guard StructuredField.take(Texts.tag, bytes, &at, end: end) else { return .refused(.signatureParams) }
    guard StructuredField.take(Texts.ours, bytes, &at, end: end) else { return .refused(.signatureTag) }
    if at < end { return .refused(bytes[at] == UInt8(ascii: ";") ? .signatureParams : .signatureForm) }
    return .input(
      SignatureInput(
        created: created, expires: expires, epoch: epoch, sequence: sequence, keyID: keyID, parameters: parameters))
  }

  private enum Texts {
    static let member = Literal("cs=")
    static let components = Literal("(\"@method\" \"@authority\" \"@path\" \"@query\" \"client-attest\")")
    static let created = Literal(";created=")
    static let expires = Literal(";expires=")
    static let nonce = Literal(";nonce=\"")
    static let dot = Literal(".")
    static let keyID = Literal("\";keyid=\"")
    static let quote = Literal("\"")
    static let tag = Literal(";tag=")
    static let ours = Literal("\"countersign\"")
  }

  // Most texts differ from the sender's last one in the sequence number alone. Who kept what stood around the last one
  // compares that and has only the number read. It is a shorter way to what `parse` says, never to anything else: a text
  // that this does not take is for `parse` to judge.

  /// What `parse` says of a text whose first `prefixCount` bytes, up to the dot, and last `suffixCount` bytes, from the quote
  /// after the number, are those of a text that it took as `known`. Nil when what stands between is no number.
  public static func parse(
    _ bytes: Span<UInt8>, at range: ByteRange, as known: SignatureInput, prefixCount: Int, suffixCount: Int
  ) -> SignatureInput? {
    var at = range.lower &+ prefixCount
    let end = range.upper &- suffixCount
    guard range.upper <= bytes.count, range.count <= countMax, at < end,
      let sequence = StructuredField.takeDecimal(bytes, &at, end: end, max: sequenceMax), at == end, sequence > 0
    else { return nil }
    var input = known
    input.sequence = sequence
    input.parameters = ByteRange(range.lower &+ memberCount, Int(range.count) &- memberCount)
    input.keyID = ByteRange(end &+ beforeKeyIDCount, Int(known.keyID.count))
    return input
  }

  /// The `cs=` before the parameters.
  @inlinable public static var memberCount: Int { 3 }
  /// The `";keyid="` before the name.
  private static let beforeKeyIDCount = 9

  /// Where the last character of the epoch stands in a text of a time between 2001 and 2286.
  public static let epochEnd = 116

  /// Eight bytes are eleven characters; an epoch of zero is nobody's.
  private static func takeEpoch(_ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> UInt64? {
    guard end &- at > 11 else { return nil }
    guard let epoch = Base64.word(bytes, at: at) else { return nil }
    guard epoch != 0 else { return nil }
    at &+= 11
    return epoch
  }

  // The parameters are written in three parts, behind the member's name: what changes once a second, the sequence number, what never changes.

  /// Appends what stands before the parameters.
  @inlinable public static func writeMember(to sink: some ByteSink) { sink.append("cs=") }

  /// Appends everything before the sequence number, from the `(` on.
  @inlinable public static func writePrefix(created: UInt64, expires: UInt64, epoch: UInt64, to sink: some ByteSink) {
    sink.append("(\"@method\" \"@authority\" \"@path\" \"@query\" \"client-attest\");created=")
    sink.append(decimal: created)
    sink.append(";expires=")
    sink.append(decimal: expires)
    sink.append(";nonce=\"")
    Base64.write(epoch, to: sink)
    sink.append(UInt8(ascii: "."))
  }

  /// Appends everything after the sequence number.
  @inlinable public static func writeSuffix(keyID: Span<UInt8>, to sink: some ByteSink) {
    sink.append("\";keyid=\"")
    sink.append(keyID)
    sink.append("\";tag=\"countersign\"")
  }
}
