// Writes a PROXY v2 header in place, in at most 536 bytes and without allocation.
//
//     addresses → ALPN → AUTHORITY → SSL → CRC32C → UNIQUE_ID → attestation → setTag → seal
//
// Each step may be left out but not moved: the tag covers what stands before it with the checksum zero and the length
// final, and the checksum then covers everything. Invariant: `bytes[0..<count]` is always a whole header but for the tag
// and the checksum. A step that does not fit, or takes a value out of its bounds, makes the draft fail for good; seal says so.
// Called by Policy's signer; without an attestation by tests and by whoever sends plain PROXY v2.

/// A PROXY v2 header being written.
public struct ProxyHeaderDraft: Sendable {
  public static let bytesMax = 536

  private var bytes = InlineArray<536, UInt8>(repeating: 0)
  private var count = 0
  /// The step that was taken last.
  private var step = Step.addresses
  private var failed = false
  private var checksum: Int?
  private var tagRange = 0..<0
  private var tagIsSet = false

  private enum Step: Int { case addresses, alpn, authority, ssl, checksum, uniqueID, attestation, sealed }

  /// A header of the PROXY command for a client at `source`. Mapped addresses are unmapped. The source decides the
  /// family; a destination of the other family, which the format cannot hold beside it, is written as unspecified.
  public init(source: IPAddress, sourcePort: UInt16, destination: IPAddress, destinationPort: UInt16) {
    let source = source.unmapped
    let destination = destination.unmapped
    append(fixed: 0x21, family: source.family == .v4 ? 0x11 : 0x21)
    append(address: source)
    append(address: destination.family == source.family ? destination : .unspecified(source.family))
    append(UInt64(sourcePort), bytes: 2)
    append(UInt64(destinationPort), bytes: 2)
    finish()
  }

  /// A header of the LOCAL command: an edge's own health check.
  public static func local() -> ProxyHeaderDraft { ProxyHeaderDraft() }

  private init() {
    append(fixed: 0x20, family: 0x00)
    finish()
  }

  // MARK: TLVs, in this order

  /// The protocol that the client and the edge agreed on, such as `h2`.
  public mutating func addALPN(_ name: Span<UInt8>) {
    begin(.alpn)
    append(type: TLVType.alpn, value: name)
    finish()
  }

  /// The host name that the client asked for (SNI).
  public mutating func addAuthority(_ name: Span<UInt8>) {
    begin(.authority)
    append(type: TLVType.authority, value: name)
    finish()
  }

  /// That the client used TLS. `client` is the bit field of section 2.2.6 (1: TLS; 2 and 4: a certificate on this connection,
  /// in this session); `verify` is zero only for a certificate that was verified, and TLS takes no other. An empty name is
  /// left out.
  public mutating func addTLS(version: Span<UInt8>, cipher: Span<UInt8>, client: UInt8 = 1) {
    begin(.ssl)
    let inner = 5 + (version.isEmpty ? 0 : 3 + version.count) + (cipher.isEmpty ? 0 : 3 + cipher.count)
    append(type: TLVType.ssl, valueBytes: inner)
    append(UInt64(client), bytes: 1)
    append(client & 6 == 0 ? 1 : 0, bytes: 4)
    if !version.isEmpty { append(type: TLVType.sslVersion, value: version) }
    if !cipher.isEmpty { append(type: TLVType.sslCipher, value: cipher) }
    finish()
  }

  /// Keeps the place of the CRC32C, zero until `seal`.
  public mutating func addChecksum() {
    begin(.checksum)
    append(type: TLVType.crc32c, valueBytes: 4)
    checksum = count
    append(0, bytes: 4)
    finish()
  }

  /// The connection id, as two halves in network order.
  public mutating func addUniqueID(high: UInt64, low: UInt64) {
    begin(.uniqueID)
    append(type: TLVType.uniqueID, valueBytes: 16)
    append(high, bytes: 8)
    append(low, bytes: 8)
    finish()
  }

  /// The attestation, with its tag still zero. The next is to sign `withTagInput` and to give the tag to `setTag`.
  public mutating func addAttestation(
    algorithm: UInt8, flags: UInt8, kid: Span<UInt8>, epoch: UInt64, sequence: UInt64, createdMilliseconds: UInt64,
    audience: Span<UInt8>
  ) {
    begin(.attestation)
    guard let tagBytes = AttestationTLV.tagBytes(algorithm: algorithm), flags & ~7 == 0, sequence > 0,
      kid.count >= 1, kid.count <= AttestationTLV.kidBytesMax,
      audience.count >= 1, audience.count <= AttestationTLV.audienceBytesMax
    else {
      failed = true
      return
    }
    append(type: AttestationTLV.type, valueBytes: 32 + kid.count + audience.count + tagBytes)
    append(0x4353_4731, bytes: 4)  // "CSG1"
    append(UInt64(algorithm), bytes: 1)
    append(UInt64(flags), bytes: 1)
    append(UInt64(kid.count), bytes: 1)
    append(kid)
    append(epoch, bytes: 8)
    append(sequence, bytes: 8)
    append(createdMilliseconds, bytes: 8)
    append(UInt64(audience.count), bytes: 1)
    append(audience)
    let start = count
    for _ in 0..<tagBytes { append(0, bytes: 1) }
    tagRange = start..<count
    finish()
  }

  // MARK: Signing and sealing

  /// The header up to the tag, which is what the tag covers after the ASCII prefix: checksum zero, length final. Nil
  /// when there is no attestation or something did not fit: then there is nothing to sign.
  public func withTagInput<Result>(_ body: (Span<UInt8>) -> Result) -> Result? {
    guard step == .attestation, !failed else { return nil }
    return body(bytes.span.extracting(0..<tagRange.lowerBound))
  }

  /// Puts the tag in its place; one of another length than the algorithm's makes the draft fail.
  public mutating func setTag(_ tag: Span<UInt8>) {
    guard step == .attestation, !failed, tag.count == tagRange.count else {
      failed = true
      return
    }
    for index in tag.indices { bytes[tagRange.lowerBound + index] = tag[index] }
    tagIsSet = true
  }

  /// Computes the checksum over the whole header, its own value taken as zero. False when the draft failed or its
  /// attestation has no tag: it must not be sent.
  public mutating func seal() -> Bool {
    guard !failed, tagIsSet || tagRange.isEmpty else { return false }
    if let checksum {
      let value = CRC32C.checksum(bytes.span.extracting(0..<count), zeroing: checksum..<(checksum + 4))
      for index in 0..<4 { bytes[checksum + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)) }
    }
    step = .sealed
    return true
  }

  /// The bytes to send; none unless `seal` returned true.
  public func withBytes<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
    body(bytes.span.extracting(0..<(step == .sealed ? count : 0)))
  }

  // MARK: Bytes

  private mutating func begin(_ next: Step) {
    precondition(next.rawValue > step.rawValue, "a PROXY header's TLVs are written in one order")
    step = next
  }

  /// The length field counts what stands after it.
  private mutating func finish() {
    guard !failed else { return }
    let length = count - ProxyHeader.v2FixedBytes
    bytes[14] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[15] = UInt8(truncatingIfNeeded: length)
  }

  private mutating func append(fixed command: UInt8, family: UInt8) {
    for index in 0..<12 { append(UInt64(ProxyHeader.signature[index]), bytes: 1) }
    append(UInt64(command), bytes: 1)
    append(UInt64(family), bytes: 1)
    append(0, bytes: 2)
  }

  private mutating func append(address: IPAddress) {
    if address.family == .v6 { append(address.high, bytes: 8) }
    append(address.low, bytes: address.family == .v6 ? 8 : 4)
  }

  private mutating func append(type: UInt8, valueBytes: Int) {
    append(UInt64(type), bytes: 1)
    append(UInt64(valueBytes), bytes: 2)
  }

  private mutating func append(type: UInt8, value: Span<UInt8>) {
    append(type: type, valueBytes: value.count)
    append(value)
  }

  /// The lowest `width` bytes of `value` in network order.
  private mutating func append(_ value: UInt64, bytes width: Int) {
    guard !failed, Self.bytesMax - count >= width else {
      failed = true
      return
    }
    for index in 0..<width {
      bytes[count + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (width - 1 - index)))
    }
    count += width
  }

  private mutating func append(_ value: Span<UInt8>) {
    guard !failed, Self.bytesMax - count >= value.count else {
      failed = true
      return
    }
    for index in value.indices { bytes[count + index] = value[index] }
    count += value.count
  }
}
