// The authenticating TLV of a PROXY v2 header (type 0xEC; docs/IDENTITY.md): its fields and their bounds. What they are
// worth (key, audience, time, window, tag) is Policy's to say. Called by ProxyHeader's strict decoder and by the verifier.

/// The fields of an attestation; ranges count from the first byte of the header.
///
///     "CSG1" | algorithm | flags | kid length | kid | epoch[8] | sequence[8] | created ms[8] | audience length | audience | tag
public struct AttestationTLV: Equatable, Sendable {
  /// 1: HMAC-SHA-256, 2: Ed25519.
  public let algorithm: UInt8
  public let flags: UInt8
  public let kid: ByteRange
  public let epoch: UInt64
  /// At least 1.
  public let sequence: UInt64
  public let createdMilliseconds: UInt64
  public let audience: ByteRange
  /// 32 or 64 bytes, by the algorithm; the last bytes of the header.
  public let tag: ByteRange

  public static let type: UInt8 = 0xec
  public static let algorithmHMAC: UInt8 = 1
  public static let algorithmEd25519: UInt8 = 2
  public static let flagTLS: UInt8 = 1
  public static let flagHealthCheck: UInt8 = 2
  public static let flagEarlyData: UInt8 = 4
  public static let kidBytesMax = 32
  public static let audienceBytesMax = 64

  public var usedTLS: Bool { flags & Self.flagTLS != 0 }
  public var isHealthCheck: Bool { flags & Self.flagHealthCheck != 0 }
  public var usedEarlyData: Bool { flags & Self.flagEarlyData != 0 }

  /// The length of the tag that an algorithm makes; nil for an algorithm that is not known.
  public static func tagBytes(algorithm: UInt8) -> Int? {
    switch algorithm {
    case algorithmHMAC: 32
    case algorithmEd25519: 64
    default: nil
    }
  }

  /// Reads the TLV whose value lies at `range` of `header`; nil unless every field is in its bounds and the value
  /// ends with the tag exactly.
  public static func parse(_ header: Span<UInt8>, at range: ByteRange) -> AttestationTLV? {
    guard range.upper <= header.count else { return nil }
    var reader = BigEndianReader(at: range.lower, end: range.upper)
    guard reader.read(header, bytes: 4) == 0x4353_4731,  // "CSG1"
      let algorithm = reader.read(header, bytes: 1).map({ UInt8(truncatingIfNeeded: $0) }),
      let tagBytes = tagBytes(algorithm: algorithm),
      let flags = reader.read(header, bytes: 1), flags & ~7 == 0,
      let kid = reader.readName(header, bytesMax: kidBytesMax, isCharacter: isKidCharacter),
      let epoch = reader.read(header, bytes: 8),
      let sequence = reader.read(header, bytes: 8), sequence > 0,
      let created = reader.read(header, bytes: 8),
      let audience = reader.readName(header, bytesMax: audienceBytesMax, isCharacter: isAudienceCharacter),
      reader.end - reader.at == tagBytes
    else { return nil }
    return AttestationTLV(
      algorithm: algorithm, flags: UInt8(truncatingIfNeeded: flags), kid: kid, epoch: epoch, sequence: sequence,
      createdMilliseconds: created, audience: audience, tag: ByteRange(reader.at, tagBytes))
  }

  /// `A-Z a-z 0-9 . _ -`
  public static func isKidCharacter(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x41...0x5a, 0x61...0x7a, 0x30...0x39, 0x2e, 0x5f, 0x2d: true
    default: false
    }
  }

  /// `a-z 0-9 . -`
  public static func isAudienceCharacter(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x61...0x7a, 0x30...0x39, 0x2e, 0x2d: true
    default: false
    }
  }
}

/// Reads integers in network order, up to an end that it never passes.
struct BigEndianReader {
  var at: Int
  let end: Int

  /// The next `count` bytes, at most 8, as an integer; nil when there are fewer.
  mutating func read(_ bytes: Span<UInt8>, bytes count: Int) -> UInt64? {
    guard end - at >= count else { return nil }
    var value: UInt64 = 0
    for index in at..<(at + count) { value = value << 8 | UInt64(bytes[index]) }
    at += count
    return value
  }

  /// A name after its length in one byte: 1 to `bytesMax` bytes, each of them a character of such names.
  mutating func readName(_ bytes: Span<UInt8>, bytesMax: Int, isCharacter: (UInt8) -> Bool) -> ByteRange? {
    guard let count = read(bytes, bytes: 1).map({ Int($0) }), count >= 1, count <= bytesMax, end - at >= count else {
      return nil
    }
    let range = ByteRange(at, count)
    for index in range.range where !isCharacter(bytes[index]) { return nil }
    at += count
    return range
  }
}
