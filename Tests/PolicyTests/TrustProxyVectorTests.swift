import Foundation
import Testing
import Wire

/// The PROXY headers of vectors.json, which an independent implementation made: read, and written again byte for byte.
@Suite struct TrustProxyVectorTests {
  struct Vector: Decodable, Sendable {
    let kid: String
    let src: String
    let sport: UInt16
    let dst: String
    let dport: UInt16
    let alpn: String?
    let authority: String?
    let ssl: String?
    let cid: String
    let epoch: String
    let seq: UInt64
    let created_ms: UInt64
    let aud: String
    let flags: UInt8
    let header: String
  }

  private struct File: Decodable { let pp2: [Vector] }

  static let vectors: [Vector] = {
    guard let url = Bundle.module.url(forResource: "vectors", withExtension: "json", subdirectory: "Vectors"),
      let data = try? Data(contentsOf: url), let file = try? JSONDecoder().decode(File.self, from: data)
    else { return [] }
    return file.pp2
  }()

  @Test func thereAreVectors() { #expect(Self.vectors.count == 6) }

  private func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.map { UInt8(String($0), radix: 16)! }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  private func integer(_ hex: String) throws -> UInt64 { try #require(UInt64(hex, radix: 16)) }

  @Test(arguments: vectors) func isReadAsWhatItSays(vector: Vector) throws {
    let bytes = bytes(vector.header)
    guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: .attested) else {
      Issue.record("not complete")
      return
    }
    func text(_ range: ByteRange) -> String { String(decoding: bytes[range.range], as: UTF8.self) }
    #expect(header.version == 2 && !header.isLocal && header.length == bytes.count)
    #expect("\(header.source)" == vector.src && header.sourcePort == vector.sport)
    #expect("\(header.destination)" == vector.dst && header.destinationPort == vector.dport)
    #expect(header.contents.contains(.alpn) == (vector.alpn != nil) && text(header.alpn) == vector.alpn ?? "")
    #expect(header.contents.contains(.authority) == (vector.authority != nil))
    #expect(text(header.authority) == vector.authority ?? "")
    #expect(header.contents.contains(.ssl) == (vector.ssl != nil) && header.sslClient == (vector.ssl != nil))
    #expect(Array(bytes[header.ssl.range]) == self.bytes(vector.ssl ?? ""))
    #expect(Array(bytes[header.uniqueID.range]) == self.bytes(vector.cid))
    let parsed = AttestationTLV.parse(bytes.span, at: header.attestation)
    let attestation = try #require(parsed)
    #expect(text(attestation.kid) == vector.kid && text(attestation.audience) == vector.aud)
    #expect(attestation.algorithm == (vector.kid == "k1" ? 1 : 2))
    #expect(attestation.flags == vector.flags)
    #expect(attestation.epoch == (try integer(vector.epoch)))
    #expect(attestation.sequence == vector.seq && attestation.createdMilliseconds == vector.created_ms)
    #expect(attestation.tag.upper == bytes.count)

    for count in 0..<bytes.count {
      guard case .incomplete = ProxyHeader.decode(bytes.span.extracting(0..<count), rules: .attested) else {
        Issue.record("decided after \(count) bytes")
        return
      }
    }
  }

  @Test(arguments: vectors) func isWrittenTheSame(vector: Vector) throws {
    let expected = bytes(vector.header)
    var draft = ProxyHeaderDraft(
      source: try #require(IPAddress(vector.src)), sourcePort: vector.sport,
      destination: try #require(IPAddress(vector.dst)), destinationPort: vector.dport)
    if let alpn = vector.alpn { draft.addALPN(alpn.utf8.span) }
    if let authority = vector.authority { draft.addAuthority(authority.utf8.span) }
    if vector.ssl != nil { draft.addTLS(version: "TLSv1.3".utf8.span, cipher: "TLS_AES_128_GCM_SHA256".utf8.span) }
    draft.addChecksum()
    draft.addUniqueID(high: try integer(String(vector.cid.prefix(16))), low: try integer(String(vector.cid.suffix(16))))
    let tagBytes = vector.kid == "k1" ? 32 : 64
    draft.addAttestation(
      algorithm: vector.kid == "k1" ? 1 : 2, flags: vector.flags, kid: vector.kid.utf8.span,
      epoch: try integer(vector.epoch), sequence: vector.seq, createdMilliseconds: vector.created_ms,
      audience: vector.aud.utf8.span)
    draft.setTag(expected.span.extracting((expected.count - tagBytes)..<expected.count))
    let sealed = draft.seal()
    #expect(sealed)
    let written = draft.withBytes { span in (0..<span.count).map { span[$0] } }
    #expect(written == expected)
  }
}
