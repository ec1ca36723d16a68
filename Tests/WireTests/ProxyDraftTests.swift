import Testing
import Wire

@Suite struct ProxyDraftTests {
  private typealias B = ProxyBytes

  private func bytes(_ draft: ProxyHeaderDraft) -> [UInt8] {
    draft.withBytes { span in
      var bytes: [UInt8] = []
      for index in span.indices { bytes.append(span[index]) }
      return bytes
    }
  }

  private func draft(_ source: String, _ destination: String) throws -> ProxyHeaderDraft {
    ProxyHeaderDraft(
      source: try #require(IPAddress(source)), sourcePort: 51324,
      destination: try #require(IPAddress(destination)), destinationPort: 443)
  }

  @Test(arguments: [
    ("192.0.2.7", "198.51.100.1", "v2 192.0.2.7 51324 > 198.51.100.1 443"),
    ("2001:db8::7", "2001:db8::1", "v2 2001:db8::7 51324 > 2001:db8::1 443"),
    ("::ffff:192.0.2.7", "::ffff:198.51.100.1", "v2 192.0.2.7 51324 > 198.51.100.1 443"),
    // Two families do not fit one header, and a mapped address is never written.
    ("192.0.2.7", "2001:db8::1", "v2 192.0.2.7 51324 > 0.0.0.0 443"),
    ("2001:db8::7", "198.51.100.1", "v2 2001:db8::7 51324 > :: 443"),
  ]) func plainHeadersAreReadBack(source: String, destination: String, expected: String) throws {
    var plain = try draft(source, destination)
    #expect(bytes(plain).isEmpty, "nothing to send before it is sealed")
    let sealed = plain.seal()
    #expect(sealed)
    #expect(B.outcomeAtEverySplit(bytes(plain), .balancer) == expected)
  }

  private func attest(_ draft: inout ProxyHeaderDraft, algorithm: UInt8 = 1, kid: String = "k1", audience: String = "m")
  {
    draft.addAttestation(
      algorithm: algorithm, flags: 1, kid: kid.utf8.span, epoch: 1, sequence: 2, createdMilliseconds: 3,
      audience: audience.utf8.span)
  }

  @Test func anAttestedHeaderIsWhatTheStrictReceiverTakes() throws {
    var header = try draft("192.0.2.7", "198.51.100.1")
    header.addALPN("h2".utf8.span)
    header.addAuthority("www.example.com".utf8.span)
    header.addTLS(version: "TLSv1.3".utf8.span, cipher: "TLS_AES_128_GCM_SHA256".utf8.span)
    header.addChecksum()
    header.addUniqueID(high: 0x0001_0203_0405_0607, low: 0x0809_0a0b_0c0d_0e0f)
    attest(&header)
    // The tag covers the header as sent, but with the checksum zero and no tag.
    let input = header.withTagInput { span in (0..<span.count).map { span[$0] } }
    let tag = [UInt8](1...32)
    header.setTag(tag.span)
    let sealed = header.seal()
    #expect(sealed)
    var sent = bytes(header)
    #expect(
      B.outcomeAtEverySplit(sent, .attested)
        == "v2 192.0.2.7 51324 > 198.51.100.1 443 alpn authority ssl:client id crc attestation")
    guard case .complete(let decoded) = ProxyHeader.decode(sent.span, rules: .attested) else { return }
    #expect(Array(sent[decoded.uniqueID.range]) == [UInt8](0...15))
    #expect(Array(sent.suffix(32)) == tag)
    for index in decoded.crcValue.range { sent[index] = 0 }
    #expect(input == Array(sent.dropLast(32)))
  }

  @Test func aHealthCheckIsLocalAndAttested() {
    var header = ProxyHeaderDraft.local()
    header.addChecksum()
    header.addUniqueID(high: 1, low: 2)
    header.addAttestation(
      algorithm: AttestationTLV.algorithmEd25519, flags: AttestationTLV.flagHealthCheck, kid: "k".utf8.span, epoch: 1,
      sequence: 1, createdMilliseconds: 1, audience: "m".utf8.span)
    header.setTag([UInt8](repeating: 7, count: 64).span)
    let sealed = header.seal()
    #expect(sealed)
    #expect(B.outcomeAtEverySplit(bytes(header), .attested) == "v2 local 0.0.0.0 0 > 0.0.0.0 0 id crc attestation")
  }

  @Test func withoutATagThereIsNothingToSend() throws {
    var header = try draft("192.0.2.7", "198.51.100.1")
    header.addChecksum()
    attest(&header)
    var short = header
    var sealed = header.seal()
    #expect(!sealed)
    #expect(bytes(header).isEmpty)
    short.setTag([UInt8](1...31).span)
    sealed = short.seal()
    #expect(!sealed)
    #expect(bytes(short).isEmpty)
  }

  @Test func valuesOutOfBoundsFailForGood() throws {
    let start = try draft("192.0.2.7", "198.51.100.1")
    for (algorithm, kid, audience) in [
      (0, "k1", "m"), (3, "k1", "m"), (1, "", "m"), (1, String(repeating: "k", count: 33), "m"), (1, "k1", ""),
      (1, "k1", String(repeating: "m", count: 65)),
    ] {
      var header = start
      attest(&header, algorithm: UInt8(algorithm), kid: kid, audience: audience)
      let input = header.withTagInput { $0.count }
      #expect(input == nil)
      header.setTag([UInt8](1...32).span)
      let sealed = header.seal()
      #expect(!sealed)
      #expect(bytes(header).isEmpty)
    }
  }

  @Test func atMost536Bytes() throws {
    // 28 bytes of addresses, 3 of a TLV's head: 505 remain.
    for (count, fits) in [(505, true), (506, false), (70_000, false)] {
      var header = try draft("192.0.2.7", "198.51.100.1")
      header.addAuthority([UInt8](repeating: 0x61, count: count).span)
      let sealed = header.seal()
      #expect(sealed == fits)
      #expect(bytes(header).count == (fits ? 536 : 0))
    }
    var header = try draft("192.0.2.7", "198.51.100.1")
    header.addAuthority([UInt8](repeating: 0x61, count: 430).span)
    header.addChecksum()
    header.addUniqueID(high: 1, low: 2)
    attest(&header)
    let input = header.withTagInput { $0.count }
    #expect(input == nil)
    let sealed = header.seal()
    #expect(!sealed)
  }
}
