import TestSupport
import Testing
import Wire

/// The strict receiver: only an edge's header has the right structure.
@Suite struct ProxyAttestedTests {
  private typealias B = ProxyBytes

  static func signed(
    command: UInt8 = 0x21, family: UInt8 = 0x11, addresses: [UInt8] = ProxyBytes.v4, before: [UInt8] = [],
    checksum: [UInt8] = ProxyBytes.crcPlace, uniqueID: [UInt8] = ProxyBytes.uniqueID,
    attestation: [UInt8] = ProxyBytes.attestation(), after: [UInt8] = []
  ) -> [UInt8] {
    let header = ProxyBytes.v2(command, family, addresses, before + checksum + uniqueID + attestation + after)
    return checksum.isEmpty ? header : ProxyBytes.sealed(header, addressBytes: addresses.count)
  }

  static let cases: [(what: String, bytes: [UInt8], expected: String)] = [
    ("an edge's header", signed(), "v2 192.0.2.7 51324 > 198.51.100.1 443 id crc attestation"),
    (
      "all TLVs",
      signed(
        before: ProxyBytes.tlv(1, Array("h2".utf8)) + ProxyBytes.tlv(2, Array("www.example.com".utf8))
          + ProxyBytes.tlv(0x20, [1, 0, 0, 0, 0] + ProxyBytes.tlv(0x21, Array("TLSv1.3".utf8)))),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 alpn authority ssl:client id crc attestation"
    ),
    (
      "IPv6", signed(family: 0x21, addresses: ProxyBytes.v6),
      "v2 2001:db8::7 51325 > 2001:db8::1 443 id crc attestation"
    ),
    (
      "Ed25519", signed(attestation: ProxyBytes.attestation(algorithm: 2, tagBytes: 64)),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 id crc attestation"
    ),
    (
      "NOOPs before it", signed(before: ProxyBytes.tlv(4, []) + ProxyBytes.tlv(4, [0])),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 id crc attestation"
    ),
    (
      "longest names",
      signed(
        attestation: ProxyBytes.attestation(
          kid: String(repeating: "K", count: 32), audience: String(repeating: "a", count: 64))),
      "v2 192.0.2.7 51324 > 198.51.100.1 443 id crc attestation"
    ),

    ("plain HTTP", Array("GET / HTTP/1.1\r\n".utf8), "refused proxy-missing"),
    ("a TLS ClientHello", [0x16, 3, 1, 2, 0, 1], "refused proxy-missing"),
    ("a v1 header", Array("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".utf8), "refused proxy-version"),
    ("another version", signed(command: 0x31), "refused proxy-version"),
    ("another command", signed(command: 0x23), "refused proxy-command"),
    ("UNSPEC", signed(family: 0x00, addresses: []), "refused proxy-family"),
    ("UNIX", signed(family: 0x31, addresses: .init(repeating: 0, count: 216)), "refused proxy-family"),
    ("DGRAM", signed(family: 0x12), "refused proxy-family"),
    ("length over the limit", ProxyBytes.signature + [0x21, 0x11, 0x03, 0xf1], "refused proxy-length"),
    ("length short of the addresses", ProxyBytes.v2(0x21, 0x11, [1, 2, 3]), "refused proxy-length"),
    (
      "not filled exactly", ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.uniqueID + [0xec, 0]),
      "refused proxy-length"
    ),

    ("LOCAL without anything", ProxyBytes.v2(0x20, 0x00, []), "refused proxy-local"),
    ("LOCAL without the health flag", signed(command: 0x20), "refused proxy-local"),
    (
      "LOCAL with the health flag",
      signed(command: 0x20, family: 0x00, addresses: [], attestation: ProxyBytes.attestation(flags: 2)),
      "v2 local 0.0.0.0 0 > 0.0.0.0 0 id crc attestation"
    ),
    (
      "LOCAL with addresses, which are not read", signed(command: 0x20, attestation: ProxyBytes.attestation(flags: 3)),
      "v2 local 0.0.0.0 0 > 0.0.0.0 0 id crc attestation"
    ),
    (
      "LOCAL over a unix socket",
      signed(
        command: 0x20, family: 0x31, addresses: .init(repeating: 0, count: 216),
        attestation: ProxyBytes.attestation(flags: 2)), "refused proxy-family"
    ),

    ("two ALPNs", signed(before: ProxyBytes.tlv(1, [0x61]) + ProxyBytes.tlv(1, [0x61])), "refused proxy-tlv"),
    ("two UNIQUE_IDs", signed(before: ProxyBytes.uniqueID), "refused proxy-tlv"),
    ("two checksums", signed(before: ProxyBytes.crcPlace), "refused proxy-tlv"),
    ("an SSL subtype at top level", signed(before: ProxyBytes.tlv(0x23, [0x61])), "refused proxy-tlv"),
    ("AWS's type", signed(before: ProxyBytes.tlv(0xea, [1])), "refused proxy-tlv"),
    ("Teleport's type", signed(before: ProxyBytes.tlv(0xe4, [1])), "refused proxy-tlv"),
    ("an experimental type", signed(before: ProxyBytes.tlv(0xf0, [1])), "refused proxy-tlv"),
    ("a future type", signed(before: ProxyBytes.tlv(0xff, [])), "refused proxy-tlv"),
    ("a type that is not assigned", signed(before: ProxyBytes.tlv(0x06, [])), "refused proxy-tlv"),
    ("type zero", signed(before: ProxyBytes.tlv(0x00, [])), "refused proxy-tlv"),
    (
      "not an SSL subtype inside SSL",
      signed(before: ProxyBytes.tlv(0x20, [1, 0, 0, 0, 0] + ProxyBytes.tlv(1, [0x61]))),
      "refused proxy-tlv"
    ),
    (
      "a bad checksum",
      ProxyBytes.v2(0x21, 0x11, ProxyBytes.v4, ProxyBytes.crcPlace + ProxyBytes.uniqueID + ProxyBytes.attestation()),
      "refused proxy-crc"
    ),
    ("no checksum", signed(checksum: []), "refused proxy-crc"),
    ("no UNIQUE_ID", signed(uniqueID: []), "refused proxy-unique-id"),
    ("a UNIQUE_ID of 15 bytes", signed(uniqueID: ProxyBytes.tlv(5, [UInt8](1...15))), "refused proxy-unique-id"),
    ("a UNIQUE_ID of 17 bytes", signed(uniqueID: ProxyBytes.tlv(5, [UInt8](1...17))), "refused proxy-unique-id"),
    (
      "an address that is no client", signed(addresses: ProxyBytes.hex("00000000 c6336401 c87c 01bb")),
      "refused proxy-address"
    ),

    ("a balancer's header", ProxyBytes.v2(), "refused proxy-attestation"),
    ("no attestation", signed(attestation: []), "refused proxy-attestation"),
    ("two attestations", signed(after: ProxyBytes.attestation()), "refused proxy-attestation"),
    ("an attestation that is not last", signed(after: ProxyBytes.tlv(4, [])), "refused proxy-attestation"),
    ("an empty attestation", signed(attestation: ProxyBytes.tlv(0xec, [])), "refused proxy-attestation"),
    ("another magic", signed(attestation: ProxyBytes.attestation(magic: "CSG2")), "refused proxy-attestation"),
    ("algorithm 0", signed(attestation: ProxyBytes.attestation(algorithm: 0)), "refused proxy-attestation"),
    ("algorithm 3", signed(attestation: ProxyBytes.attestation(algorithm: 3)), "refused proxy-attestation"),
    ("an unknown flag", signed(attestation: ProxyBytes.attestation(flags: 8)), "refused proxy-attestation"),
    ("an empty kid", signed(attestation: ProxyBytes.attestation(kid: "")), "refused proxy-attestation"),
    (
      "a kid of 33 bytes", signed(attestation: ProxyBytes.attestation(kid: String(repeating: "k", count: 33))),
      "refused proxy-attestation"
    ),
    ("a kid with a slash", signed(attestation: ProxyBytes.attestation(kid: "k/1")), "refused proxy-attestation"),
    ("sequence 0", signed(attestation: ProxyBytes.attestation(sequence: 0)), "refused proxy-attestation"),
    ("an empty audience", signed(attestation: ProxyBytes.attestation(audience: "")), "refused proxy-attestation"),
    (
      "an audience of 65 bytes",
      signed(attestation: ProxyBytes.attestation(audience: String(repeating: "a", count: 65))),
      "refused proxy-attestation"
    ),
    (
      "an audience in capitals", signed(attestation: ProxyBytes.attestation(audience: "Monitor")),
      "refused proxy-attestation"
    ),
    ("a tag one byte short", signed(attestation: ProxyBytes.attestation(tagBytes: 31)), "refused proxy-attestation"),
    ("a tag one byte long", signed(attestation: ProxyBytes.attestation(tagBytes: 33)), "refused proxy-attestation"),
    (
      "HMAC with Ed25519's tag", signed(attestation: ProxyBytes.attestation(tagBytes: 64)), "refused proxy-attestation"
    ),
    (
      "Ed25519 with HMAC's tag", signed(attestation: ProxyBytes.attestation(algorithm: 2)), "refused proxy-attestation"
    ),
  ]

  @Test(arguments: cases) func reads(what: String, bytes: [UInt8], expected: String) {
    #expect(B.outcomeAtEverySplit(bytes, .attested) == expected, "\(what)")
  }

  @Test func theFieldsOfAnAttestation() throws {
    let bytes = Self.signed(attestation: B.attestation(flags: 5, kid: "Key_2.x-", audience: "billing.eu-1"))
    guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: .attested) else {
      Issue.record("not complete")
      return
    }
    let parsed = AttestationTLV.parse(bytes.span, at: header.attestation)
    let attestation = try #require(parsed)
    #expect(attestation.algorithm == 1)
    #expect(attestation.usedTLS && attestation.usedEarlyData && !attestation.isHealthCheck)
    #expect(String(decoding: bytes[attestation.kid.range], as: UTF8.self) == "Key_2.x-")
    #expect(String(decoding: bytes[attestation.audience.range], as: UTF8.self) == "billing.eu-1")
    #expect(attestation.epoch == 0x019b_76da_a800_b000)
    #expect(attestation.sequence == 1)
    #expect(attestation.createdMilliseconds == 0x0000_019b_76da_a800)
    #expect(attestation.tag.range == (bytes.count - 32)..<bytes.count)
    #expect(Array(bytes[header.uniqueID.range]) == [UInt8](1...16))
  }

  /// One byte changed anywhere, to any value, is never a header again: not by the checksum, and not by a change that
  /// makes the checksum itself disappear into another TLV.
  @Test func noChangedByteIsTaken() {
    let original = Self.signed(before: B.tlv(1, Array("h2".utf8)))
    #expect(B.outcome(original, .attested).hasPrefix("v2"))
    for index in original.indices {
      for value in 0...255 where UInt8(value) != original[index] {
        var changed = original
        changed[index] = UInt8(value)
        let outcome = B.outcome(changed, .attested)
        #expect(!outcome.hasPrefix("v"), "byte \(index) as \(value)")
      }
    }
  }

  /// Whatever the bytes, the decoder ends, in bounds, and agrees with itself at every split.
  @Test func randomChangesNeverTrap() {
    var generator = Seeded(42)
    for round in 0..<400 {
      var bytes = Self.signed(before: B.tlv(0x20, [1, 0, 0, 0, 0] + B.tlv(0x21, Array("TLSv1.3".utf8))))
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        bytes[Int.random(in: 12..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      if round % 3 == 0 { bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator))) }
      _ = B.outcomeAtEverySplit(bytes, round % 2 == 0 ? .attested : .balancer)
    }
  }
}
