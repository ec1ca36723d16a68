// Base64 in one spelling only, and the three fields at every length that is cut off.

import Testing
import Wire

@Suite struct AttestTests {
  // MARK: Base64 (RFC 4648 section 10)

  @Test(arguments: [
    ("", "", ""), ("f", "Zg==", "Zg"), ("fo", "Zm8=", "Zm8"), ("foo", "Zm9v", "Zm9v"), ("foob", "Zm9vYg==", "Zm9vYg"),
    ("fooba", "Zm9vYmE=", "Zm9vYmE"), ("foobar", "Zm9vYmFy", "Zm9vYmFy"),
  ]) func base64(_ plain: String, standard: String, url: String) {
    let bytes = Array(plain.utf8)
    #expect(Base64.text(bytes, .standard) == standard)
    #expect(Base64.text(bytes, .url) == url)
    #expect(Base64.bytes(standard, .standard) == bytes)
    #expect(Base64.bytes(url, .url) == bytes)
    #expect(Base64.encodedCount(bytes.count, .standard) == standard.utf8.count)
    #expect(Base64.encodedCount(bytes.count, .url) == url.utf8.count)
  }

  @Test(arguments: [
    "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8", "Zm9vYg", "=", "==", "====", "Z===", "Zg==Zg==", "Zm9v=", "Z=9v",
    " Zm9v", "Zm9v ", "Zm\n9v", "Zm-v", "Zm_v", "Zm9v\u{0}", "Zméa", "Zg=A",
  ]) func notStandardBase64(_ text: String) { #expect(Base64.bytes(text, .standard) == nil) }

  @Test(arguments: ["Z", "Zg==", "Zh", "Zm9", "Zm8=", "Zm9vY", "Zm+v", "Zm/v", "Zm9 ", "="])
  func notURLBase64(_ text: String) { #expect(Base64.bytes(text, .url) == nil) }

  /// Every text of four characters is either the text of its bytes or no text at all.
  @Test func oneTextForOneValue() {
    let characters = Array("AQgw/+-_=Bz".utf8)
    for a in characters {
      for b in characters {
        for c in characters {
          for d in characters {
            let text = String(decoding: [a, b, c, d], as: UTF8.self)
            if let bytes = Base64.bytes(text, .standard) { #expect(Base64.text(bytes, .standard) == text) }
            if let bytes = Base64.bytes(text, .url) { #expect(Base64.text(bytes, .url) == text) }
          }
        }
      }
    }
  }

  @Test func longTextsAreWrittenInPieces() {
    for count in [47, 48, 49, 95, 96, 97, 200] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      let sink = ArraySink()
      Base64.encode(bytes.span, .standard, to: sink)
      let text = String(decoding: sink.bytes, as: UTF8.self)
      #expect(text == Base64.text(bytes, .standard))
      #expect(Base64.bytes(text, .standard) == bytes)
    }
  }

  @Test func decodingWritesNoMoreThanThereIsRoomFor() {
    let text = Array("Zm9vYmFy".utf8)
    var five = InlineArray<5, UInt8>(repeating: 0)
    var room = five.mutableSpan
    #expect(Base64.decode(text.span, .standard, into: &room) == nil)
  }

  // MARK: Identifiers

  @Test func identifiersInTheirThreeForms() {
    let bytes = (0..<16).map { UInt8($0 * 17) }
    let connection = ConnectionID(bytes.span)!
    #expect("\(connection)" == "00112233445566778899aabbccddeeff")
    #expect(written { connection.write(hex: $0) } == "00112233445566778899aabbccddeeff")
    let text = Array(written { connection.write(base64: $0) }.utf8)
    #expect(ConnectionID(base64: text.span) == connection)
    #expect(ConnectionID(bytes.span.extracting(first: 15)) == nil)
    let digest = CertificateDigest((bytes + bytes).span)!
    let digestText = Array(written { digest.write(base64: $0) }.utf8)
    #expect(CertificateDigest(base64: digestText.span) == digest)
    #expect(CertificateDigest(bytes.span) == nil)
  }

  @Test func wordsForEvidence() {
    for via in Via.allCases {
      let word = Array("\(via.text)".utf8)
      #expect(Via(word.span) == via)
      for at in word.indices {
        var other = word
        other[at] ^= 0x20
        #expect(Via(other.span) == nil)
      }
      #expect(Via(word.span.extracting(first: word.count - 1)) == nil)
      #expect(Via((word + [0x20]).span) == nil)
    }
    #expect(Via([UInt8]().span) == nil)
  }

  // MARK: Fields cut off

  static let attest =
    #"ip="2001:db8::7", port=51324, proto="https", via="attested", edge="edge-a", aud="monitor-1", cid=:GJwkJ56YUdWBQgQTb+tXEw==:, cert=:wWaxMmndY/w1x5f/CKbNkAlQZqdFrdttiDHCsPh4IRQ=:"#
  static let input =
    #"cs=("@method" "@authority" "@path" "@query" "client-attest");created=1767225603;expires=1767225633;nonce="AZt22qgDoAM.42";keyid="k1";tag="countersign""#
  static let signature = "cs=:RTDZSV9BtH7CKJ26o7mM5Qpsd6U9fXJ8q5jkbKuPpRs=:"

  /// A field is whole when it is parsed, so every part of one is refused; only without its last member, `cert`, is an
  /// attestation one again. What follows the range is never looked at.
  @Test func everyPrefixOfAFieldIsRefused() {
    let withoutCertificate = Self.attest.utf8.count - ", cert=:wWaxMmndY/w1x5f/CKbNkAlQZqdFrdttiDHCsPh4IRQ=:".utf8.count
    for (text, parse) in [
      (Self.attest, { bytes, range in if case .attest = Attest.parse(bytes, at: range) { true } else { false } }),
      (
        Self.input,
        { bytes, range in
          if case .input = SignatureInput.parse(bytes, at: range) { true } else { false }
        }
      ),
      (
        Self.signature,
        { bytes, range in
          if case .value = SignatureValue.parse(bytes, at: range) { true } else { false }
        }
      ),
    ] as [(String, (Span<UInt8>, ByteRange) -> Bool)] {
      let head = Array("xyz".utf8) + Array(text.utf8) + Array("\r\n".utf8)
      for count in 0...text.utf8.count {
        let isWhole = count == text.utf8.count || text == Self.attest && count == withoutCertificate
        #expect(parse(head.span, ByteRange(3, count)) == isWhole, "\(text.prefix(count))")
      }
      // A range that reaches past the bytes is refused, not read.
      #expect(parse(head.span, ByteRange(3, head.count)) == false)
      for start in [0, 1, 2, 4, 5] { #expect(parse(head.span, ByteRange(start, text.utf8.count)) == false) }
    }
  }

  @Test func whatIsReadIsWrittenBack() {
    let bytes = Array(Self.attest.utf8)
    guard case .attest(let attest) = Attest.parse(bytes.span, at: ByteRange(0, bytes.count)) else {
      Issue.record("refused")
      return
    }
    #expect(attest.address == IPAddress("2001:db8::7") && attest.port == 51324 && attest.secure)
    #expect(attest.via == .attested && attest.certificate != nil)
    #expect(
      written { sink in
        Attest.writeClient(
          address: attest.address, port: attest.port, secure: attest.secure, via: attest.via, to: sink)
        Attest.writeNames(
          edge: bytes.span.extracting(attest.edge.range), audience: bytes.span.extracting(attest.audience.range),
          to: sink)
        Attest.writeConnection(attest.connection, certificate: attest.certificate, to: sink)
      } == Self.attest)

    let inputBytes = Array(Self.input.utf8)
    guard case .input(let input) = SignatureInput.parse(inputBytes.span, at: ByteRange(0, inputBytes.count)) else {
      Issue.record("refused")
      return
    }
    #expect(input.created == 1_767_225_603 && input.expires == 1_767_225_633)
    #expect(input.epoch == 0x019b_76da_a803_a003 && input.sequence == 42)
    #expect(
      "cs="
        + written { sink in
          SignatureInput.writePrefix(
            created: input.created, expires: input.expires, epoch: input.epoch, to: sink)
          sink.append(decimal: input.sequence)
          SignatureInput.writeSuffix(keyID: inputBytes.span.extracting(input.keyID.range), to: sink)
        } == Self.input)
  }

  /// What an edge adds fits what a validator's limits leave for it.
  @Test func whatAnEdgeAddsHasRoomInAValidatorsLimits() {
    let lines = [
      "client-attest: ".utf8.count + Attest.countMax + 2,
      "signature-input: cs=".utf8.count + SignatureInput.countMax + 2,
      // 64 bytes of Ed25519 in base64.
      "signature: cs=::".utf8.count + 88 + 2,
      "Expect: 100-continue\r\n".utf8.count,
      // Host, and the one that frames the body: a space where the client wrote none.
      1, 1,
    ]
    #expect(lines.count <= HeadGrowth.fields)
    #expect(lines.reduce(0, +) <= HeadGrowth.bytes)
  }

  private func written(_ body: (ArraySink) -> Void) -> String {
    let sink = ArraySink()
    body(sink)
    return String(decoding: sink.bytes, as: UTF8.self)
  }
}

/// A sink that keeps everything.
private final class ArraySink: ByteSink {
  var bytes: [UInt8] = []
  func append(_ byte: UInt8) { bytes.append(byte) }
  func append(_ span: Span<UInt8>) { for i in span.indices { bytes.append(span[i]) } }
  func append(_ literal: StaticString) { bytes += Array("\(literal)".utf8) }
}
