// A PROXY v2 header as an edge would sign it, every part open to change before it is signed or after.

import Foundation

struct SignedProxyHeader {
  var versionAndCommand: UInt8 = 0x21
  var familyAndProtocol: UInt8 = 0x11
  var source: [UInt8]
  var sourcePort: UInt16 = 51324
  var destination: [UInt8] = [127, 0, 0, 1]
  var destinationPort: UInt16 = 443
  /// The TLVs before the attestation; the CRC's value is written at the end.
  var tlvs: [(type: UInt8, value: [UInt8])]
  var cid: [UInt8]

  // The attestation.
  var algorithm: UInt8 = 1
  var flags: UInt8 = 0
  var kid = Keys.kid
  var epoch: [UInt8]
  var sequence: UInt64
  var createdMilliseconds: UInt64
  var audience = Keys.audience
  var key: [UInt8]

  var hasAttestation = true
  /// TLVs after the attestation, where none may be.
  var tail: [(type: UInt8, value: [UInt8])] = []
  /// Added to the length field, to make it lie.
  var lengthError = 0
  /// Flips a bit of the tag or of the CRC.
  var spoilsTag = false
  var spoilsCRC = false

  static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  static let crcType: UInt8 = 0x03
  static let uniqueIDType: UInt8 = 0x05
  static let attestationType: UInt8 = 0xec

  /// What an edge would send for this request: the two carriers agree.
  init(for request: SignedRequest, by forger: Forger) {
    source = request.address.split(separator: ".").map { UInt8($0)! }
    sourcePort = UInt16(request.port)
    cid = request.cid
    tlvs = [(0x01, Array("http/1.1".utf8)), (Self.crcType, [0, 0, 0, 0]), (Self.uniqueIDType, request.cid)]
    flags = request.proto == "https" ? 1 : 0
    if flags & 1 == 1 { tlvs.insert((0x20, [1, 0, 0, 0, 0]), at: 1) }
    epoch = forger.epoch
    sequence = forger.nextSequence()
    createdMilliseconds = Forger.milliseconds
    kid = forger.kid
    key = forger.proxyKey
  }

  private func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] { [type] + bigEndian(UInt16(value.count)) + value }

  var bytes: [UInt8] {
    var body = source + destination + bigEndian(sourcePort) + bigEndian(destinationPort)
    var crcOffset: Int?
    for (type, value) in tlvs {
      if type == Self.crcType, value.count == 4 { crcOffset = 16 + body.count + 3 }
      body += tlv(type, value)
    }
    var tagOffset: Int?
    if hasAttestation {
      let head: [UInt8] =
        Array("CSG1".utf8) + [algorithm, flags, UInt8(kid.utf8.count)] + Array(kid.utf8) + epoch + bigEndian(sequence)
        + bigEndian(createdMilliseconds) + [UInt8(audience.utf8.count)] + Array(audience.utf8)
      tagOffset = 16 + body.count + 3 + head.count
      body += tlv(Self.attestationType, head + [UInt8](repeating: 0, count: 32))
    }
    for (type, value) in tail { body += tlv(type, value) }
    var bytes = Self.signature + [versionAndCommand, familyAndProtocol]
    bytes += bigEndian(UInt16(body.count + lengthError)) + body
    if let tagOffset {
      let tag = Digest.hmac(key, Array("countersign/v1 pp2".utf8) + [0] + bytes[..<tagOffset])
      bytes.replaceSubrange(tagOffset..<tagOffset + 32, with: tag)
      if spoilsTag { bytes[tagOffset] ^= 1 }
    }
    if let crcOffset {
      bytes.replaceSubrange(crcOffset..<crcOffset + 4, with: bigEndian(Digest.crc32c(bytes)))
      if spoilsCRC { bytes[crcOffset] ^= 1 }
    }
    return bytes
  }
}
