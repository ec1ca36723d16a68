// The forger against the project's vectors: it must write byte for byte what an edge would, or its forgeries prove
// nothing.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Forge {
    struct Vectors: Decodable {
      struct Derived: Decodable { var kid, purpose, aud, hex: String }
      struct HTTP: Decodable {
        var kid, method, authority, target, ip, proto, via, edge, aud, cid, epoch: String
        var port, created: Int
        var seq: UInt64
        var cert: String?
        var fields: [String: String]
        var base: String
      }
      struct Header: Decodable {
        var kid, src, dst, cid, epoch, aud, header: String
        var sport, dport: UInt16
        var seq, created_ms: UInt64
        var alpn, authority, ssl: String?
        var flags: UInt8
      }
      struct JWKS: Decodable {
        struct Key: Decodable { var kid: String, k: String? }
        var keys: [Key]
      }
      var jwks: JWKS
      var derived: [Derived]
      var http: [HTTP]
      var pp2: [Header]
    }

    let vectors: Vectors
    let secret: [UInt8]

    init() throws {
      let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      let file = tests.appendingPathComponent("PolicyTests/Vectors/vectors.json")
      vectors = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file))
      secret = Forger.base64url(try #require(vectors.jwks.keys.first { $0.kid == "k1" }?.k))!
    }

    func derived(_ purpose: String, _ audience: String) -> [UInt8] {
      Digest.hkdf(secret, salt: "countersign/v1", info: Array(purpose.utf8) + [0] + Array(audience.utf8))
    }

    @Test func derivesTheKeysOfTheVectors() {
      for vector in vectors.derived where vector.kid == "k1" {
        #expect(derived(vector.purpose, vector.aud).hex == vector.hex)
      }
    }

    @Test func signsTheFieldsOfTheVectors() throws {
      let keys = Forger(httpKey: [], proxyKey: [])
      var count = 0
      for vector in vectors.http where vector.kid == "k1" {
        var request = SignedRequest(vector.target, by: keys)
        (request.address, request.port, request.proto, request.via) = (vector.ip, vector.port, vector.proto, vector.via)
        (request.edge, request.audience, request.cid) = (vector.edge, vector.aud, [UInt8](hex: vector.cid))
        request.certificate = vector.cert.map { [UInt8](hex: $0) }
        (request.method, request.host) = (vector.method, vector.authority)
        (request.created, request.expires) = (vector.created, vector.created + 30)
        (request.epoch, request.sequence) = ([UInt8](hex: vector.epoch), vector.seq)
        request.key = derived("http", vector.aud)
        #expect(request.base == vector.base)
        #expect(
          request.identityFields == [
            "client-attest: \(vector.fields["client-attest"]!)",
            "signature-input: \(vector.fields["signature-input"]!)", "signature: \(vector.fields["signature"]!)",
          ])
        count += 1
      }
      #expect(count > 0)
    }

    @Test func writesTheHeadersOfTheVectors() throws {
      let keys = Forger(httpKey: [], proxyKey: [])
      var count = 0
      for vector in vectors.pp2 where vector.kid == "k1" && !vector.src.contains(":") {
        var request = SignedRequest("/", by: keys)
        request.address = vector.src
        request.port = Int(vector.sport)
        request.cid = [UInt8](hex: vector.cid)
        var header = SignedProxyHeader(for: request, by: keys)
        header.destination = vector.dst.split(separator: ".").map { UInt8($0)! }
        header.destinationPort = vector.dport
        header.tlvs = []
        if let alpn = vector.alpn { header.tlvs.append((0x01, Array(alpn.utf8))) }
        if let authority = vector.authority { header.tlvs.append((0x02, Array(authority.utf8))) }
        if let ssl = vector.ssl { header.tlvs.append((0x20, [UInt8](hex: ssl))) }
        header.tlvs.append((SignedProxyHeader.crcType, [0, 0, 0, 0]))
        header.tlvs.append((SignedProxyHeader.uniqueIDType, request.cid))
        (header.flags, header.epoch, header.sequence) = (vector.flags, [UInt8](hex: vector.epoch), vector.seq)
        header.createdMilliseconds = vector.created_ms
        header.audience = vector.aud
        header.key = derived("pp2", vector.aud)
        #expect(header.bytes.hex == vector.header)
        count += 1
      }
      #expect(count > 0)
    }
  }
}
