import Testing
import Wire

/// Bytes of PROXY headers, put together by hand rather than by the code under test.
enum ProxyBytes {
  static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

  static func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.map { UInt8(String($0), radix: 16)! }
    precondition(digits.count % 2 == 0)
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  static func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
    [type, UInt8(value.count >> 8), UInt8(value.count & 0xff)] + value
  }

  /// 192.0.2.7:51324 → 198.51.100.1:443
  static let v4 = hex("c0000207 c6336401 c87c 01bb")
  /// [2001:db8::7]:51325 → [2001:db8::1]:443
  static let v6 = hex("20010db8000000000000000000000007 20010db8000000000000000000000001 c87d 01bb")

  static func v2(_ command: UInt8 = 0x21, _ family: UInt8 = 0x11, _ addresses: [UInt8] = v4, _ tlvs: [UInt8] = [])
    -> [UInt8]
  {
    let rest = addresses + tlvs
    return signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 0xff)] + rest
  }

  static let crcPlace = tlv(0x03, [0, 0, 0, 0])

  /// Fills in the checksum of the first TLV of type 3 and length 4, found by walking.
  static func sealed(_ header: [UInt8], addressBytes: Int = 12) -> [UInt8] {
    var header = header
    var at = 16 + addressBytes
    while at < header.count, header[at] != 3 { at += 3 + Int(header[at + 1]) << 8 + Int(header[at + 2]) }
    for index in 0..<4 { header[at + 3 + index] = 0 }
    let sum = bitwiseCRC32C(header)
    for index in 0..<4 { header[at + 3 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * index)) }
    return header
  }

  static func attestation(
    magic: String = "CSG1", algorithm: UInt8 = 1, flags: UInt8 = 1, kid: String = "k1", sequence: UInt8 = 1,
    audience: String = "monitor-1", tagBytes: Int = 32
  ) -> [UInt8] {
    tlv(
      0xec,
      Array(magic.utf8) + [algorithm, flags, UInt8(kid.utf8.count)] + Array(kid.utf8)
        + [1, 0x9b, 0x76, 0xda, 0xa8, 0, 0xb0, 0] + [0, 0, 0, 0, 0, 0, 0, sequence]
        + [0, 0, 1, 0x9b, 0x76, 0xda, 0xa8, 0] + [UInt8(audience.utf8.count)] + Array(audience.utf8)
        + (0..<tagBytes).map { UInt8($0 &+ 100) })
  }

  static let uniqueID = tlv(0x05, [UInt8](1...16))

  /// What came of it, as one line.
  static func outcome(_ bytes: [UInt8], _ rules: ProxyRules, limit: Int = 1024) -> String {
    describe(ProxyHeader.decode(bytes.span, rules: rules, limit: limit))
  }

  static func describe(_ outcome: ProxyOutcome) -> String {
    switch outcome {
    case .incomplete: return "incomplete"
    case .refused(let refusal): return "refused \(refusal.name)"
    case .complete(let header):
      var text = "v\(header.version) "
      if header.isLocal { text += "local " }
      text += "\(header.source) \(header.sourcePort) > \(header.destination) \(header.destinationPort)"
      if header.contents.contains(.alpn) { text += " alpn" }
      if header.contents.contains(.authority) { text += " authority" }
      if header.contents.contains(.ssl) { text += header.sslClient ? " ssl:client" : " ssl" }
      if header.sslCertificate { text += " certificate" }
      if header.contents.contains(.uniqueID) { text += " id" }
      if header.contents.contains(.crc) { text += " crc" }
      if header.contents.contains(.attestation) { text += " attestation" }
      return text
    }
  }

  /// The outcome of the whole, after checking that no way of cutting the bytes leads to another: each prefix is either
  /// still incomplete or has the outcome already, and once it has it keeps it.
  static func outcomeAtEverySplit(
    _ bytes: [UInt8], _ rules: ProxyRules, limit: Int = 1024, sourceLocation: SourceLocation = #_sourceLocation
  ) -> String {
    let whole = outcome(bytes, rules, limit: limit)
    if case .complete(let header) = ProxyHeader.decode(bytes.span, rules: rules, limit: limit) {
      #expect(header.length == bytes.count, sourceLocation: sourceLocation)
    }
    var decided = false
    for count in 0..<bytes.count {
      let part = outcome(Array(bytes[..<count]), rules, limit: limit)
      if part == "incomplete" {
        #expect(!decided, "undecided again after \(count) bytes", sourceLocation: sourceLocation)
      } else {
        decided = true
        #expect(part == whole, "after \(count) bytes", sourceLocation: sourceLocation)
      }
    }
    if whole != "incomplete" {
      #expect(
        outcome(bytes + Array("GET / HTTP/1.1\r\n".utf8), rules, limit: limit) == whole, sourceLocation: sourceLocation)
    }
    return whole
  }
}
