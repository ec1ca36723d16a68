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

    guard takeAddressKey(bytes, &at, end: end),
      let ip = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: 64)
    else { return .refused(.identityForm) }
    guard let address = IPAddress.parse(bytes.extracting(ip.range)), address.isPossibleClient else {
      return .refused(.identityAddress)
    }

    guard takePortKey(bytes, &at, end: end),
      let port = StructuredField.takeDecimal(bytes, &at, end: end, max: 65535),
      StructuredField.take(Texts.http, bytes, &at, end: end)
    else { return .refused(.identityForm) }
    let secure = StructuredField.take(Texts.s, bytes, &at, end: end)

    guard StructuredField.take(Texts.via, bytes, &at, end: end),
      let viaWord = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: 9),
      let via = Via(bytes.extracting(viaWord.range)),
      port != 0 || via == .forwarded,
      StructuredField.take(Texts.edge, bytes, &at, end: end),
      let edge = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: AttestName.edgeCountMax),
      AttestName.isEdge(bytes.extracting(edge.range)),
      StructuredField.take(Texts.audience, bytes, &at, end: end),
      let audience = StructuredField.takeUntil(quote, bytes, &at, end: end, countMax: AttestName.audienceCountMax),
      AttestName.isAudience(bytes.extracting(audience.range)),
      StructuredField.take(Texts.connection, bytes, &at, end: end),
      let (connection, certificate) = takeConnection(bytes, at: at, end: end)
    else { return .refused(.identityForm) }
    return .attest(
      Attest(
        address: address, port: UInt16(port), secure: secure, via: via, edge: edge, audience: audience,
        connection: connection, certificate: certificate))
  }

  /// What follows `cid=:`, up to the end.
  private static func takeConnection(
    _ bytes: Span<UInt8>, at start: Int, end: Int
  ) -> (ConnectionID, CertificateDigest?)? {
    guard end &- start >= connectionCount, bytes[start &+ 24] == UInt8(ascii: ":"),
      let connection = ConnectionID(base64: bytes.extracting(start..<start &+ 24))
    else { return nil }
    var at = start &+ connectionCount
    if at == end { return (connection, nil) }
    guard StructuredField.take(Texts.certificate, bytes, &at, end: end), end &- at == 45,
      bytes[end &- 1] == UInt8(ascii: ":"),
      let certificate = CertificateDigest(base64: bytes.extracting(at..<at &+ 44))
    else { return nil }
    return (connection, certificate)
  }

  // What stands between the port and the connection is the same in most texts of one edge. Who kept that of the last one
  // compares it and has only the rest read: a shorter way to what `parse` says, never to anything else. A text that this
  // does not take is for `parse` to judge.

  /// Bytes behind `cid=:`, without and with a certificate.
  public static let connectionCount = 25
  public static let certificateCount = connectionCount + 53

  /// Where the text after the port begins in a text that was taken.
  public func middle(in range: ByteRange) -> Range<Int> {
    let names = ", edge=\"\", aud=\"\", cid=:".utf8.count + Int(edge.count) + Int(audience.count)
    let client = ", proto=\"http\", via=\"\"".utf8.count + (secure ? 1 : 0) + via.text.utf8CodeUnitCount
    let end = range.upper - (certificate == nil ? Attest.connectionCount : Attest.certificateCount)
    return end - client - names..<end
  }

  /// What `parse` says of a text that has at `middle`, and there ends `cid=:`, the bytes that stood between port and
  /// connection in a text that it took as `known`. Nil when the rest is anything but right.
  public static func parse(
    _ bytes: Span<UInt8>, at range: ByteRange, as known: Attest, middle: Range<Int>
  ) -> Attest? {
    guard range.upper <= bytes.count, range.count <= countMax, middle.lowerBound >= range.lower else { return nil }
    var at = range.lower
    guard takeAddressKey(bytes, &at, end: middle.lowerBound),
      let ip = StructuredField.takeUntil(UInt8(ascii: "\""), bytes, &at, end: middle.lowerBound, countMax: 64),
      let address = IPAddress.parse(bytes.extracting(ip.range)), address.isPossibleClient,
      takePortKey(bytes, &at, end: middle.lowerBound),
      let port = StructuredField.takeDecimal(bytes, &at, end: middle.lowerBound, max: 65535),
      at == middle.lowerBound, port != 0 || known.via == .forwarded,
      let (connection, certificate) = takeConnection(bytes, at: middle.upperBound, end: range.upper)
    else { return nil }
    var attest = known
    attest.address = address
    attest.port = UInt16(port)
    attest.connection = connection
    attest.certificate = certificate
    let audienceEnd = middle.upperBound &- 8
    attest.audience = ByteRange(audienceEnd &- Int(known.audience.count), Int(known.audience.count))
    let edgeEnd = attest.audience.lower &- 8
    attest.edge = ByteRange(edgeEnd &- Int(known.edge.count), Int(known.edge.count))
    return attest
  }

  /// `ip="`
  @inline(__always) private static func takeAddressKey(_ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> Bool {
    StructuredField.take(packed: 0x223d_7069, count: 4, bytes, &at, end: end)
  }

  /// `", port=`
  @inline(__always) private static func takePortKey(_ bytes: Span<UInt8>, _ at: inout Int, end: Int) -> Bool {
    StructuredField.take(packed: 0x3d74_726f_7020_2c22, count: 8, bytes, &at, end: end)
  }

  private enum Texts {
    static let http = Literal(", proto=\"http")
    static let s = Literal("s")
    static let via = Literal("\", via=\"")
    static let edge = Literal("\", edge=\"")
    static let audience = Literal("\", aud=\"")
    static let connection = Literal("\", cid=:")
    static let certificate = Literal(", cert=:")
  }

  // The field is written in three parts, so that a signer can keep the middle one ready.

  /// Appends the members about the client: `ip="…", port=…, proto="…", via="…"`.
  @inlinable public static func writeClient(
    address: IPAddress, port: UInt16, secure: Bool, via: Via, to sink: some ByteSink
  ) {
    writeClient(address: address, port: port, to: sink)
    writeEvidence(secure: secure, via: via, to: sink)
  }

  /// The first two of them.
  @inlinable public static func writeClient(address: IPAddress, port: UInt16, to sink: some ByteSink) {
    sink.append("ip=\"")
    address.write(to: sink)
    sink.append("\", port=")
    sink.append(decimal: UInt64(port))
  }

  /// The other two, with the comma before them.
  @inlinable public static func writeEvidence(secure: Bool, via: Via, to sink: some ByteSink) {
    if secure { sink.append(", proto=\"https\", via=\"") } else { sink.append(", proto=\"http\", via=\"") }
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
