// The published vectors, byte for byte in both directions, and every way to change one of them by a bit.

import Platform
import Policy
import Testing
import Wire

@Suite struct VectorsTests {
  @Test func derivedKeysAreThePublishedOnes() throws {
    for vector in VectorsFile.all.derived {
      let key = try #require(VectorsFile.keys.keys.first { "\($0.id)" == vector.kid })
      let purpose = try #require(KeyPurpose(rawValue: vector.purpose))
      let secret = try #require(try KeySet.macSecret(of: key, purpose: purpose, audience: vector.aud))
      #expect(secret.isSame(as: SecretBytes(bytes(hex: vector.hex).span)))
    }
  }

  @Test(arguments: VectorsFile.all.http) func signingGivesThePublishedFields(_ vector: VectorsFile.HTTP) throws {
    let signer = try makeSigner(
      keyID: vector.kid, audience: vector.aud, edge: vector.edge, epoch: UInt64(vector.epoch, radix: 16)!,
      last: vector.seq - 1)
    let lines = signer.lines(
      vector.identity, method: vector.method, authority: vector.authority, target: vector.target,
      atMilliseconds: vector.created * 1000 + 999)
    let expected = ["client-attest", "signature-input", "signature"].map { "\($0): \(vector.fields[$0]!)\r\n" }
    #expect(lines == expected.joined())
  }

  @Test(arguments: VectorsFile.all.http) func thePublishedFieldsAreVerifiedOnce(_ vector: VectorsFile.HTTP) throws {
    let verifier = try makeVerifier(edges: ["edge-b", vector.edge])
    guard case .verified(let verified) = vector.request.verify(with: verifier, atMilliseconds: vector.created * 1000)
    else {
      Issue.record("refused")
      return
    }
    #expect(verified.client == vector.identity)
    #expect("\(verified.keyID)" == vector.kid)
    #expect(verified.epoch == UInt64(vector.epoch, radix: 16))
    #expect(verified.sequence == vector.seq)
    #expect(vector.request.verify(with: verifier, atMilliseconds: vector.created * 1000).name == "replay")
  }

  /// Each bit of each byte of the request and of its three fields.
  @Test(arguments: VectorsFile.all.http) func noChangedBitIsAccepted(_ vector: VectorsFile.HTTP) throws {
    let verifier = try makeVerifier()
    let now = vector.created * 1000
    var refused = 0
    for part in vector.request.parts.indices {
      for at in vector.request.parts[part].indices {
        for bit in 0..<8 {
          let before = vector.request.parts[part][at]
          let after = before ^ (1 << bit)
          // An authority in another case is the same authority.
          let isOtherCase = bit == 5 && (0x61...0x7a).contains(before | 0x20)
          if IdentityRequest.partNames[part] == "authority", isOtherCase { continue }
          var request = vector.request
          request.parts[part][at] = after
          let outcome = request.verify(with: verifier, atMilliseconds: now)
          guard case .refused = outcome else {
            Issue.record("\(IdentityRequest.partNames[part]) byte \(at) bit \(bit) was accepted")
            return
          }
          refused += 1
        }
      }
    }
    #expect(refused > 2000)
    // Nothing that was refused left a trace.
    #expect(vector.request.verify(with: verifier, atMilliseconds: now).name == "verified")
  }

  /// Bytes that are left out, doubled or added.
  @Test(arguments: VectorsFile.all.http) func noOtherLengthIsAccepted(_ vector: VectorsFile.HTTP) throws {
    let verifier = try makeVerifier()
    let now = vector.created * 1000
    for part in vector.request.parts.indices {
      let text = vector.request.parts[part]
      for at in 0...text.count {
        var others: [[UInt8]] = [
          Array(text[..<at]) + [0x20] + Array(text[at...]), Array(text[..<at]) + [0x30] + Array(text[at...]),
        ]
        if at < text.count {
          others.append(Array(text[..<at]) + Array(text[(at + 1)...]))
          others.append(Array(text[...at]) + Array(text[at...]))
          others.append(Array(text[..<at]))
        }
        for other in others {
          var request = vector.request
          request.parts[part] = other
          // An absent query and an empty one are one to RFC 9421 (section 2.2.7).
          if part == 3, text == [0x3f], other.isEmpty { continue }
          if part == 3, text.isEmpty, other == [0x3f] { continue }
          let name = request.verify(with: verifier, atMilliseconds: now).name
          #expect(name != "verified", "\(IdentityRequest.partNames[part]) \(String(decoding: other, as: UTF8.self))")
        }
      }
    }
    #expect(vector.request.verify(with: verifier, atMilliseconds: now).name == "verified")
  }

  // MARK: PROXY v2

  @Test(arguments: VectorsFile.all.pp2) func signingGivesThePublishedHeader(_ vector: VectorsFile.PP2) throws {
    let signer = try makeSigner(
      keyID: vector.kid, audience: vector.aud, pp2Epoch: UInt64(vector.epoch, radix: 16)!, last: vector.seq - 1)
    let identity = ClientIdentity(
      address: IPAddress(vector.src)!, port: vector.sport, secure: vector.flags & 1 != 0, via: .socket,
      connection: ConnectionID(bytes(hex: vector.cid).span)!)
    let draft = signer.makeProxyHeader(
      identity, destination: IPAddress(vector.dst)!, destinationPort: vector.dport, alpn: (vector.alpn ?? "").utf8.span,
      authority: (vector.authority ?? "").utf8.span, tlsVersion: "TLSv1.3".utf8.span,
      tlsCipher: "TLS_AES_128_GCM_SHA256".utf8.span, nowMilliseconds: vector.created_ms)
    let written = try #require(draft).withBytes { bytes in bytes.indices.map { bytes[$0] } }
    #expect(written == bytes(hex: vector.header))
  }

  @Test(arguments: VectorsFile.all.pp2) func thePublishedHeaderIsVerifiedOnce(_ vector: VectorsFile.PP2) throws {
    let verifier = try makeVerifier()
    let header = bytes(hex: vector.header)
    guard case .verified(let bound) = verifyProxy(header, with: verifier, atMilliseconds: vector.created_ms) else {
      Issue.record("refused")
      return
    }
    #expect(bound.address == IPAddress(vector.src))
    #expect(bound.port == vector.sport)
    #expect(bound.connection == ConnectionID(bytes(hex: vector.cid).span))
    #expect("\(bound.keyID)" == vector.kid)
    #expect(bound.secure == (vector.flags & 1 != 0))
    #expect(!bound.isHealthCheck && !bound.usedEarlyData)
    #expect(verifyProxy(header, with: verifier, atMilliseconds: vector.created_ms)?.name == "replay")
  }

  /// Each bit of each byte, as it is and with a checksum that fits again, so that the tag has to notice it.
  @Test(arguments: VectorsFile.all.pp2) func noChangedBitOfAHeaderIsAccepted(_ vector: VectorsFile.PP2) throws {
    let verifier = try makeVerifier()
    let whole = bytes(hex: vector.header)
    guard case .complete(let parsed) = ProxyHeader.decode(whole.span, rules: .attested) else {
      Issue.record("the vector itself is refused")
      return
    }
    var reachedTheTag = 0
    for at in whole.indices {
      for bit in 0..<8 {
        var changed = whole
        changed[at] ^= 1 << bit
        for fixesChecksum in [false, true] {
          if fixesChecksum {
            if parsed.crcValue.range.contains(at) { continue }
            let checksum = CRC32C.checksum(changed.span, zeroing: parsed.crcValue.range)
            for i in 0..<4 {
              changed[parsed.crcValue.lower + i] = UInt8(truncatingIfNeeded: checksum >> UInt32(24 - 8 * i))
            }
          }
          let outcome = verifyProxy(changed, with: verifier, atMilliseconds: vector.created_ms)
          #expect(outcome?.name != "verified", "byte \(at) bit \(bit)")
          if outcome?.name == "signature-invalid" { reachedTheTag += 1 }
        }
      }
    }
    #expect(reachedTheTag > 500)
    #expect(verifyProxy(whole, with: verifier, atMilliseconds: vector.created_ms)?.name == "verified")
  }
}

/// Decodes and verifies a header; nil when the decoder does not take it.
func verifyProxy(_ bytes: [UInt8], with verifier: Verifier, atMilliseconds now: UInt64) -> ProxyVerifyOutcome? {
  guard case .complete(let header) = ProxyHeader.decode(bytes.span, rules: .attested) else { return nil }
  return verifier.verifyProxy(bytes.span, header: header, at: steady(now))
}
