// The `client-attest` field: an RFC 9651 dictionary with a fixed order of members and one spelling for each.
// Invariant: write(parse(text)) == text for every text that a verifier takes; the verifier checks it byte for byte, so
// parse may leave to that comparison what it does not look at (the spelling of the address).
// Called by Signer (write) and Verifier (parse, write).

/// What a `client-attest` field says. The names are ranges of the text that was parsed.
public struct Attest: Sendable {
  public var address: IPAddress
  public var port: UInt16
  /// The client itself used TLS.
  public var secure: Bool
  public var via: Via
  public var edge: ByteRange
  public var audience: ByteRange
  public var connection: ConnectionID
  public var certificate: CertificateDigest?

  public enum Outcome: Sendable {
    case attest(Attest)
    case refused(Refusal)
  }

  /// The longest text there can be: an address of 39, two names of 64, a certificate.
  public static let countMax = 318

  /// Reads the field value at `range`. An address that is no client's, or none at all, is `identityAddress`; anything
  /// else that is not as it must be is `identityForm`.
  public static func parse(_ bytes: Span<UInt8>, at range: ByteRange) -> Outcome {
    guard range.upper <= bytes.count, range.count <= countMax else { return .refused(.identityForm) }
    var at = range.lower
    let end = range.upper
    let quote = UInt8(ascii: "\"")

    guard StructuredField.take("ip=\"", bytes, &at, end: end),
      let ip = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: 64)
    else { return .refused(.identityForm) }
    guard let address = IPAddress.parse(bytes.extracting(ip.range)), address.isPossibleClient else {
      return .refused(.identityAddress)
    }

    guard StructuredField.take("\", port=", bytes, &at, end: end),
      let port = StructuredField.takeDecimal(bytes, &at, end: end, max: 65535),
      StructuredField.take(", proto=\"http", bytes, &at, end: end)
    else { return .refused(.identityForm) }
    let secure = StructuredField.take("s", bytes, &at, end: end)

    guard StructuredField.take("\", via=\"", bytes, &at, end: end),
      let viaWord = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: 9),
      let via = Via(bytes.extracting(viaWord.range)),
      port != 0 || via == .forwarded,
      StructuredField.take("\", edge=\"", bytes, &at, end: end),
      let edge = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: AttestName.edgeCountMax),
      AttestName.isEdge(bytes.extracting(edge.range)),
      StructuredField.take("\", aud=\"", bytes, &at, end: end),
      let audience = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: AttestName.audienceCountMax),
      AttestName.isAudience(bytes.extracting(audience.range)),
      StructuredField.take("\", cid=:", bytes, &at, end: end), end - at >= 25,
      let connection = ConnectionID(base64: bytes.extracting(at..<at + 24))
    else { return .refused(.identityForm) }
    at += 24
    guard StructuredField.take(":", bytes, &at, end: end) else { return .refused(.identityForm) }

    var certificate: CertificateDigest?
    if at < end {
      guard StructuredField.take(", cert=:", bytes, &at, end: end), end - at == 45, bytes[end - 1] == UInt8(ascii: ":"),
        let digest = CertificateDigest(base64: bytes.extracting(at..<at + 44))
      else { return .refused(.identityForm) }
      certificate = digest
    }
    return .attest(
      Attest(
        address: address, port: UInt16(port), secure: secure, via: via, edge: edge, audience: audience,
        connection: connection, certificate: certificate))
  }

  // The field is written in three parts, so that a signer can keep the middle one ready.

  /// Appends the members about the client: `ip="…", port=…, proto="…", via="…"`.
  @inlinable public static func writeClient(
    address: IPAddress, port: UInt16, secure: Bool, via: Via, to sink: some ByteSink
  ) {
    sink.append("ip=\"")
    address.write(to: sink)
    sink.append("\", port=")
    sink.append(decimal: UInt64(port))
    sink.append(secure ? ", proto=\"https\", via=\"" : ", proto=\"http\", via=\"")
    sink.append(via.text)
    sink.append(UInt8(ascii: "\""))
  }

  /// Appends the names: `, edge="…", aud="…", cid=:`.
  @inlinable public static func writeNames(edge: Span<UInt8>, audience: Span<UInt8>, to sink: some ByteSink) {
    sink.append(", edge=\"")
    sink.append(edge)
    sink.append("\", aud=\"")
    sink.append(audience)
    sink.append("\", cid=:")
  }

  /// Appends what follows `cid=:`.
  @inlinable public static func writeConnection(
    _ connection: ConnectionID, certificate: CertificateDigest?, to sink: some ByteSink
  ) {
    connection.write(base64: sink)
    if let certificate {
      sink.append(":, cert=:")
      certificate.write(base64: sink)
    }
    sink.append(UInt8(ascii: ":"))
  }
}
