// PROXY version 2: a binary header.
//
//     signature[12] | version and command | family | length u16 | addresses | TLVs: type u8, length u16, value
//
// Invariant: the length is checked against the limit before anything after it is looked at; TLVs fill the rest exactly.
// The header is read in the order of its bytes, so what is wrong first decides, however the bytes arrived.

extension ProxyHeader {
  static let signature: InlineArray<12, UInt8> = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
  ]
  static let v2FixedBytes = 16

  static func decodeV2(_ bytes: Span<UInt8>, rules: ProxyRules, limit: Int) -> ProxyOutcome {
    for index in 0..<min(bytes.count, 12) where bytes[index] != signature[index] { return .refused(.proxyMissing) }
    guard bytes.count > 12 else { return .incomplete }
    guard bytes[12] >> 4 == 2 else { return .refused(.proxyVersion) }
    guard bytes[12] & 15 <= 1 else { return .refused(.proxyCommand) }
    var header = ProxyHeader(version: 2)
    header.isLocal = bytes[12] & 15 == 0
    if header.isLocal, rules == .balancer { return .refused(.proxyLocal) }

    guard bytes.count > 13 else { return .incomplete }
    let addressBytes: Int
    switch bytes[13] {
    case 0x11: addressBytes = 12
    case 0x21: addressBytes = 36
    // The family of LOCAL, which names no addresses. With PROXY it would name nobody.
    case 0x00 where header.isLocal: addressBytes = 0
    default: return .refused(.proxyFamily)
    }

    guard bytes.count > 14 else { return .incomplete }
    guard v2FixedBytes + Int(bytes[14]) << 8 <= limit else { return .refused(.proxyLength) }
    guard bytes.count > 15 else { return .incomplete }
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    let end = v2FixedBytes + length
    guard end <= limit, length >= addressBytes else { return .refused(.proxyLength) }
    header.length = end

    if header.isLocal {
      guard bytes.count >= v2FixedBytes + addressBytes else { return .incomplete }
    } else {
      let wide = addressBytes == 36
      let addressWidth = wide ? 16 : 4
      var reader = BigEndianReader(at: v2FixedBytes, end: min(bytes.count, v2FixedBytes + addressBytes))
      guard let source = reader.readAddress(bytes, width: addressWidth) else { return .incomplete }
      guard source.isPossibleClient else { return .refused(.proxyAddress) }
      guard let destination = reader.readAddress(bytes, width: addressWidth),
        let sourcePort = reader.read(bytes, bytes: 2), let destinationPort = reader.read(bytes, bytes: 2)
      else { return .incomplete }
      header.source = source
      header.sourcePort = UInt16(truncatingIfNeeded: sourcePort)
      header.destination = destination
      header.destinationPort = UInt16(truncatingIfNeeded: destinationPort)
    }
    return header.readTLVs(bytes, from: v2FixedBytes + addressBytes, rules: rules)
  }

  /// Reads the TLVs from `start` to the header's end, and judges the header as a whole.
  private mutating func readTLVs(_ bytes: Span<UInt8>, from start: Int, rules: ProxyRules) -> ProxyOutcome {
    var seen = TypeSet()
    var attested: AttestationTLV?
    var at = start
    while at < length {
      // Our attestation covers what stands before it, so nothing may stand after it.
      if attested != nil { return .refused(.proxyAttestation) }
      guard at + 3 <= length else { return .refused(.proxyLength) }
      guard at < bytes.count else { return .incomplete }
      let type = bytes[at]
      guard Self.isTaken(type, rules: rules) else { return .refused(.proxyTlv) }
      guard type == TLVType.noop || seen.insert(type) else { return .refused(.proxyTlv) }
      guard at + 3 <= bytes.count else { return .incomplete }
      let value = ByteRange(at + 3, Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]))
      guard value.upper <= length else { return .refused(.proxyLength) }
      if let refusal = Self.refusal(type: type, valueBytes: value.range.count, rules: rules) {
        return .refused(refusal)
      }
      guard value.upper <= bytes.count else { return .incomplete }
      switch type {
      case TLVType.alpn:
        alpn = value
        contents.insert(.alpn)
      case TLVType.authority:
        authority = value
        contents.insert(.authority)
      case TLVType.crc32c:
        crcValue = value
        contents.insert(.crc)
      case TLVType.uniqueID:
        uniqueID = value
        contents.insert(.uniqueID)
      case TLVType.ssl:
        guard Self.isSound(ssl: value, bytes, rules: rules) else { return .refused(.proxyTlv) }
        ssl = value
        sslClient = bytes[value.lower] & 1 != 0
        sslCertificate = bytes[value.lower] & 6 != 0
        contents.insert(.ssl)
      case AttestationTLV.type:
        attestation = value
        contents.insert(.attestation)
        if rules == .attested {
          attested = AttestationTLV.parse(bytes, at: value)
          guard attested != nil else { return .refused(.proxyAttestation) }
        }
      default: break
      }
      at = value.upper
    }
    guard bytes.count >= length else { return .incomplete }

    if rules == .attested {
      // Structure before arithmetic. LOCAL is for an edge's own health check and for nothing else.
      if isLocal, attested?.isHealthCheck != true { return .refused(.proxyLocal) }
      guard attested != nil else { return .refused(.proxyAttestation) }
      guard contents.contains(.uniqueID) else { return .refused(.proxyUniqueId) }
      // An edge always sends one, and the tag's input is defined by its place. Without this, one damaged length could
      // make the checksum part of another value, and what it should have caught would be taken.
      guard contents.contains(.crc) else { return .refused(.proxyCrc) }
    }
    if contents.contains(.crc) {
      var reader = BigEndianReader(at: crcValue.lower, end: crcValue.upper)
      let sent = reader.read(bytes, bytes: 4)
      let computed = CRC32C.checksum(bytes.extracting(0..<length), zeroing: crcValue.range)
      guard sent == UInt64(computed) else { return .refused(.proxyCrc) }
    }
    return .complete(self)
  }

  /// Whether a TLV of `type` may stand at the top level.
  private static func isTaken(_ type: UInt8, rules: ProxyRules) -> Bool {
    switch type {
    // Subtypes of SSL belong inside it: a reader that flattens them would take one sender's word for another's.
    case 0x21...0x2f: false
    case 0x01...0x05, TLVType.ssl, TLVType.netns: true
    // AWS 0xEA, GCP 0xE0, Azure 0xEE, Teleport 0xE4, HAProxy's own choice. Nothing is read from them.
    default: rules == .balancer || type == AttestationTLV.type
    }
  }

  /// What is wrong with a value by its length alone.
  private static func refusal(type: UInt8, valueBytes: Int, rules: ProxyRules) -> Refusal? {
    switch type {
    case TLVType.crc32c: valueBytes == 4 ? nil : .proxyCrc
    case TLVType.uniqueID where rules == .attested: valueBytes == 16 ? nil : .proxyUniqueId
    case TLVType.uniqueID: valueBytes <= 128 ? nil : .proxyUniqueId
    case TLVType.ssl: valueBytes >= 5 ? nil : .proxyTlv
    default: nil
    }
  }

  /// Whether the SSL TLV's value is its five fixed bytes and then TLVs that fill it, none twice.
  private static func isSound(ssl value: ByteRange, _ bytes: Span<UInt8>, rules: ProxyRules) -> Bool {
    var seen = TypeSet()
    var at = value.lower + 5
    while at < value.upper {
      guard at + 3 <= value.upper else { return false }
      let type = bytes[at]
      guard rules == .balancer || type >= 0x21 && type <= 0x2f else { return false }
      guard seen.insert(type) else { return false }
      at += 3 + (Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]))
    }
    return at == value.upper
  }
}

/// The TLV types that are read or written here (section 2.2 of the specification).
enum TLVType {
  static let alpn: UInt8 = 0x01
  static let authority: UInt8 = 0x02
  static let crc32c: UInt8 = 0x03
  static let noop: UInt8 = 0x04
  static let uniqueID: UInt8 = 0x05
  static let ssl: UInt8 = 0x20
  static let sslVersion: UInt8 = 0x21
  static let sslCipher: UInt8 = 0x23
  static let netns: UInt8 = 0x30
}

/// A set of TLV types.
private struct TypeSet {
  private var words = InlineArray<4, UInt64>(repeating: 0)

  /// False when `type` is in the set already.
  mutating func insert(_ type: UInt8) -> Bool {
    let bit: UInt64 = 1 << UInt64(type & 63)
    let word = Int(type >> 6)
    guard words[word] & bit == 0 else { return false }
    words[word] |= bit
    return true
  }
}

extension BigEndianReader {
  /// An address of 4 or 16 bytes, unmapped.
  mutating func readAddress(_ bytes: Span<UInt8>, width: Int) -> IPAddress? {
    guard end - at >= width else { return nil }
    if width == 4 { return read(bytes, bytes: 4).map { IPAddress(v4: UInt32(truncatingIfNeeded: $0)) } }
    guard let high = read(bytes, bytes: 8), let low = read(bytes, bytes: 8) else { return nil }
    return IPAddress(v6High: high, v6Low: low).unmapped
  }
}
