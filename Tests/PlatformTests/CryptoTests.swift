// libcrypto behind our doors, against the published examples of each algorithm.

import Platform
import Testing
import Wire

@Suite struct CryptoTests {
  // MARK: HMAC (RFC 4231)

  @Test(arguments: [
    (
      String(repeating: "0b", count: 20), "4869205468657265",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    ),
    (
      "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    ),
    (
      String(repeating: "aa", count: 20), String(repeating: "dd", count: 50),
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    ),
    (
      String(repeating: "aa", count: 131),
      "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    ),
  ]) func hmac(_ key: String, message: String, tag: String) throws {
    let context = try HMACContext(key: SecretBytes(bytes(hex: key).span))
    let message = bytes(hex: message)
    // The context is used again and again, in one piece and in every two pieces.
    #expect(self.tag(context, message) == bytes(hex: tag))
    for cut in 0...message.count {
      var out = [UInt8](repeating: 0, count: 32)
      var room = out.mutableSpan
      let done =
        context.begin() && context.update(message.span.extracting(0..<cut))
        && context.update(message.span.extracting(cut..<message.count)) && context.end(into: &room)
      #expect(done && out == bytes(hex: tag))
    }
    // A message that was begun and left has no effect on the next.
    let left = context.begin() && context.update(message.span)
    #expect(left)
    #expect(self.tag(context, message) == bytes(hex: tag))
  }

  private func tag(_ context: HMACContext, _ message: [UInt8]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: 32)
    var room = out.mutableSpan
    #expect(context.tag(of: message.span, into: &room) == true)
    return out
  }

  // MARK: HKDF (RFC 5869 A.1 to A.3 == true)

  @Test(arguments: [
    (
      String(repeating: "0b", count: 22), "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    ),
    (
      String(repeating: "0b", count: 22), "", "",
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    ),
  ]) func hkdf(_ key: String, salt: String, info: String, output: String) throws {
    let (salt, info, output) = (bytes(hex: salt), bytes(hex: info), bytes(hex: output))
    let derived = try HKDF.sha256(
      key: SecretBytes(bytes(hex: key).span), salt: salt.span, info: info.span, count: output.count)
    #expect(derived.isSame(as: SecretBytes(output.span)))
  }

  // MARK: Ed25519 (RFC 8032 section 7.1)

  @Test(arguments: [
    (
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    ),
    (
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    ),
  ]) func ed25519(_ seed: String, point: String, message: String, signature: String) throws {
    let pair = try Ed25519Key(seed: SecretBytes(bytes(hex: seed).span))
    #expect(pair.point == bytes(hex: point))
    let signer = try Ed25519Context(key: pair)
    let verifier = try Ed25519Context(key: try Ed25519Key(point: bytes(hex: point)))
    let message = bytes(hex: message)
    for _ in 0..<3 {
      var out = [UInt8](repeating: 0, count: 64)
      var room = out.mutableSpan
      #expect(signer.sign(message.span, into: &room) == true)
      #expect(out == bytes(hex: signature))
      #expect(verifier.verify(message.span, signature: out.span) == true)
      #expect(signer.verify(message.span, signature: out.span) == true)
      out[3] ^= 1
      #expect(verifier.verify(message.span, signature: out.span) == false)
      #expect(verifier.verify(message.span, signature: out.span.extracting(first: 63)) == false)
    }
    var out = [UInt8](repeating: 0, count: 64)
    var room = out.mutableSpan
    #expect(verifier.sign(message.span, into: &room) == false)
  }

  // MARK: SHA-256, random bytes, comparison

  @Test func sha256() throws {
    let abc = Array("abc".utf8)
    let digest = try SHA256.digest(abc.span)
    #expect(
      digest.indices.map { digest[$0] }
        == bytes(hex: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
    let none = try SHA256.digest([UInt8]().span)
    #expect(
      none.indices.map { none[$0] }
        == bytes(hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
  }

  @Test func randomBytesDiffer() throws {
    var seen: Set<UInt64> = []
    for _ in 0..<1000 { #expect(seen.insert(try SecureRandom.word()).inserted) }
    let secret = try SecureRandom.secret(count: 32)
    #expect(secret.count == 32)
    #expect(!secret.isSame(as: try SecureRandom.secret(count: 32)))
    #expect(try SecureRandom.secret(count: 0).count == 0)
  }

  @Test func aSecretOfLessThanNothingIsNotMade() async {
    await #expect(processExitsWith: .failure) { _ = try? SecureRandom.secret(count: -1) }
  }

  @Test func comparisons() {
    let base = Array("countersign".utf8)
    #expect(ByteComparison.isEqual(base.span, base.span) == true)
    #expect(ByteComparison.isEqualInConstantTime(base.span, base.span) == true)
    for at in base.indices {
      var other = base
      other[at] ^= 0x80
      #expect(ByteComparison.isEqual(base.span, other.span) == false)
      #expect(ByteComparison.isEqualInConstantTime(base.span, other.span) == false)
    }
    #expect(ByteComparison.isEqual(base.span, base.span.extracting(first: 3)) == false)
    #expect(ByteComparison.isEqualInConstantTime(base.span, base.span.extracting(first: 3)) == false)
    #expect(ByteComparison.isEqual([UInt8]().span, [UInt8]().span) == true)
    #expect(ByteComparison.isEqualInConstantTime([UInt8]().span, [UInt8]().span) == true)
  }

  private func bytes(hex: String) -> [UInt8] {
    let digits = Array(hex.utf8)
    return stride(from: 0, to: digits.count, by: 2).map { at in
      UInt8(String(decoding: digits[at..<at + 2], as: UTF8.self), radix: 16)!
    }
  }
}

@Suite struct CryptoAtomicWordsTests {
  @Test func wordsBeginAtZeroAndKeepWhatIsStored() throws {
    let words = try #require(AtomicWords(count: 5000))
    for i in 0..<5000 { #expect(words.load(i) == 0) }
    for i in 0..<5000 { words.store(UInt64(i) + 1, at: i) }
    let failed = words.exchange(at: 7, old: 9, new: 1)
    #expect(!failed.done && failed.found == 8)
    #expect(words.exchange(at: 7, old: 8, new: 90).done)
    words.raise(7, to: 80)
    #expect(words.load(7) == 90)
    words.raise(7, to: 100)
    #expect(words.load(7) == 100)
  }

  /// Within a page, over several, and up to the end of what there is.
  @Test(arguments: [0..<1, 3..<3, 10..<20, 500..<530, 0..<512, 511..<1025, 100..<4000, 4999..<5000, 0..<5000])
  func clearingTouchesNothingElse(_ range: Range<Int>) throws {
    let words = try #require(AtomicWords(count: 5000))
    for i in 0..<5000 { words.store(.max, at: i) }
    words.clear(range)
    for i in 0..<5000 { #expect(words.load(i) == (range.contains(i) ? 0 : .max)) }
  }
}
