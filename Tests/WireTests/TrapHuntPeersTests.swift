// As TrapHuntTests, of what balancers, edges, name servers and the process before this one write.

import TestSupport
import Testing
import Wire

@Suite struct TrapHuntPeersTests {
  private static let rounds = TrapHuntTests.rounds

  // MARK: PROXY headers

  private static func attested() -> [UInt8] {
    var draft = ProxyHeaderDraft(
      source: IPAddress("2001:db8::7")!, sourcePort: 5, destination: IPAddress("2001:db8::1")!, destinationPort: 443)
    draft.addALPN("h2".utf8.span)
    draft.addAuthority("app.example".utf8.span)
    draft.addTLS(version: "TLSv1.3".utf8.span, cipher: "X".utf8.span, client: 5)
    draft.addChecksum()
    draft.addUniqueID(high: 1, low: 2)
    draft.addAttestation(
      algorithm: 1, flags: 1, kid: "k1".utf8.span, epoch: 3, sequence: 4, createdMilliseconds: .max,
      audience: "monitor-1".utf8.span)
    draft.setTag([UInt8](repeating: 7, count: 32).span)
    let isSealed = draft.seal()
    #expect(isSealed)
    return draft.withBytes { bytes in bytes.indices.map { bytes[$0] } }
  }

  @Test func proxyHeaders() {
    let lines = [
      "PROXY TCP4 192.0.2.7 198.51.100.1 51324 443\r\nGET", "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
      "PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff:: ::1 1 2\r\n",
    ].map { Array($0.utf8) }
    let short = ProxyBytes.signature + [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0xc8, 0x7c, 1, 0xbb]
    let local = ProxyBytes.signature + [0x20, 0, 0, 7, 4, 0, 1, 0, 4, 0, 0]
    var inputs = Mutator(
      11, samples: lines + [short, local, Self.attested(), Self.attested()], fragments: ["\r\n", " "])
    for _ in 0..<Self.rounds {
      var bytes = inputs.next()
      // A sum that is right lets the header be read to its end.
      if inputs.below(2) == 0 { Self.mend(&bytes) }
      let limit = inputs.pick([0, 15, 16, 107, 1_024, 70_000])
      for rules in [ProxyRules.balancer, .attested] {
        if case .complete(let header) = ProxyHeader.decode(bytes.span, rules: rules, limit: limit) {
          #expect(header.length <= bytes.count && header.attestation.upper <= header.length)
          if header.contents.contains(.attestation) { _ = AttestationTLV.parse(bytes.span, at: header.attestation) }
        }
      }
      if case .complete(let length, _) = ProxyHeader.unnamed(bytes.span, limit: limit) {
        #expect(length <= bytes.count)
      }
      let lower = inputs.below(bytes.count + 1)
      _ = AttestationTLV.parse(bytes.span, at: ByteRange(lower, inputs.below(bytes.count - lower + 9)))
    }
  }

  /// Makes the length field that of all that follows, and the checksum right where there is one.
  private static func mend(_ bytes: inout [UInt8]) {
    guard bytes.count > 16, bytes.count < 60_000, bytes[0] == 0x0d else { return }
    bytes[14] = UInt8((bytes.count - 16) >> 8)
    bytes[15] = UInt8((bytes.count - 16) & 255)
    var at = 16 + (bytes[13] == 0x21 ? 36 : bytes[13] == 0x11 ? 12 : 0)
    while at + 3 <= bytes.count {
      let count = Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
      if bytes[at] == 3, count == 4, at + 7 <= bytes.count {
        let sum = CRC32C.checksum(bytes.span, zeroing: at + 3..<at + 7)
        for i in 0..<4 { bytes[at + 3 + i] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * i)) }
        return
      }
      at += 3 + count
    }
  }

  // MARK: Signed fields

  @Test func signedFields() {
    let attest =
      "ip=\"2001:db8::7\", port=51324, proto=\"https\", via=\"proxy-v2\", edge=\"edge-a\", aud=\"monitor-1\", "
      + "cid=:AAECAwQFBgcICQoLDA0ODw==:"
    let certificate = attest + ", cert=:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"
    let input =
      "cs=(\"@method\" \"@authority\" \"@path\" \"@query\" \"client-attest\");created=1764000000;expires=1764000030;"
      + "nonce=\"AAAAAAAAAAE.42\";keyid=\"k1\";tag=\"countersign\""
    let value = "cs=:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:"
    let long = "cs=:\(String(repeating: "A", count: 86))==:"
    var inputs = Mutator(
      12, texts: [attest, certificate, input, input, value, long],
      fragments: ["\"", ":", "=", ", cert=:", "==", ";created=", ".", "\", port="], bytesMax: 700)
    var knownAttest: (Attest, [UInt8])?
    var knownInput: (SignatureInput, [UInt8])?
    for _ in 0..<Self.rounds {
      let before = inputs.below(9)
      let bytes = [UInt8](repeating: 0x20, count: before) + inputs.next()
      let range = ByteRange(before, bytes.count - before - inputs.below(min(4, bytes.count - before + 1)))
      if case .attest(let read) = Attest.parse(bytes.span, at: range) {
        let middle = read.middle(in: range)
        #expect(middle.lowerBound > range.lower && middle.upperBound <= range.upper)
        knownAttest = (read, Array(bytes[middle]))
      }
      if case .input(let read) = SignatureInput.parse(bytes.span, at: range) { knownInput = (read, bytes) }
      _ = SignatureValue.parse(bytes.span, at: range)
      if let (known, middle) = knownAttest {
        // As KnownSender does: the bytes of the middle are compared first.
        let text = Array(bytes[range.range])
        for at in 0..<max(0, text.count - middle.count) where text[at..<at + middle.count] == middle[...] {
          let found = range.lower + at..<range.lower + at + middle.count
          _ = Attest.parse(bytes.span, at: range, as: known, middle: found)
        }
      }
      if let (known, _) = knownInput {
        _ = SignatureInput.parse(
          bytes.span, at: range, as: known, prefixCount: inputs.below(130), suffixCount: inputs.below(60))
      }
      _ = ConnectionID(base64: bytes.span)
      _ = CertificateDigest(base64: bytes.span)
      for alphabet in [Base64.Alphabet.standard, .url] {
        let text = String(decoding: bytes, as: UTF8.self)
        if let decoded = Base64.bytes(text, alphabet) { #expect(Base64.text(decoded, alphabet) == text) }
      }
      _ = AttestName.isKeyID(bytes.span)
      _ = Via(bytes.span)
    }
    #expect(knownAttest != nil && knownInput != nil)
  }

  // MARK: Name servers, and the process before

  @Test func answersOfNameServers() {
    let question: [UInt8] = [3, 0x61, 0x70, 0x70, 4, 0x74, 0x65, 0x73, 0x74, 0]
    let head: [UInt8] = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0] + question + [0, 33, 0, 1]
    func record(_ type: UInt8, _ data: [UInt8]) -> [UInt8] {
      [0xc0, 12, 0, type, 0, 1, 0, 0, 1, 44, 0, UInt8(data.count)] + data
    }
    let samples: [[UInt8]] = [
      head + record(1, [127, 0, 0, 1]) + record(28, [UInt8](repeating: 1, count: 16)) + record(1, [1, 2, 3, 4]),
      head + record(33, [0, 1, 0, 2, 0x1f, 0x90, 1, 0x62, 0xc0, 12]) + record(33, [0, 0, 0, 0, 0, 0, 0])
        + record(33, [0, 1, 0, 2, 0x1f, 0x90, 0xc0, 16]),
      head + record(5, [2, 0x62, 0x63, 0xc0, 16]) + [2, 0x62, 0x63, 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]
        + record(5, [0xc0, 12]),
    ]
    var inputs = Mutator(13, samples: samples, bytesMax: 600)
    var read = 0
    for _ in 0..<Self.rounds {
      let bytes = inputs.next()
      for kind in [DNSAnswer.Kind.a, .aaaa, .service] {
        if DNSAnswer(bytes.span, kind) != nil { read += 1 }
      }
    }
    #expect(read > 0)
  }

  @Test func whatAProcessHandsOver() {
    let late = HandoverLate(
      closures: [
        .init(
          route: "r", why: "w", user: .max, sinceWallMilliseconds: 1, endMilliseconds: .max, endWallMilliseconds: nil)
      ],
      servers: [.init(upstream: "u", name: "n", reason: .drained, why: "", user: 0, sinceWallMilliseconds: .max)],
      counts: [.init(name: "c", value: .max)])
    let prepared = HandoverPrepared(listeners: [0, 1], admin: [0])
    let frame = HandoverFrame(kind: .state, descriptors: 0, count: 300).head
    var inputs = Mutator(
      14, samples: [HandoverTests.state.bytes, HandoverTests.state.bytes, late.bytes, prepared.bytes, frame],
      fragments: ["\u{0}\u{0}\u{0}\u{1}", "\u{0}\u{0}\u{0}\u{0}", "CSGH"])
    for _ in 0..<Self.rounds {
      let bytes = inputs.next()
      _ = HandoverFrame.parse(bytes.span)
      _ = try? HandoverState(bytes)
      _ = try? HandoverLate(bytes)
      _ = try? HandoverPrepared(bytes)
    }
  }
}
