// Key files: what they may be, what is wrong with the others, and that no message tells a secret.

import Foundation
import Platform
import Policy
import Testing
import Wire

@Suite struct KeySetTests {
  static let k = "3q2-7wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw"
  static let oct = #"{"kty":"oct","kid":"k1","alg":"HS256","k":"\#(k)"}"#
  static let pair: (d: String, x: String) = {
    guard let key = try? KeySet.newKey(id: "e", algorithm: .ed25519), case .ed25519(let pair, let seed?) = key.material
    else { fatalError("no key could be made") }
    return (
      seed.withBytes { bytes in Base64.text(bytes.indices.map { bytes[$0] }, .url) }, Base64.text(pair.point, .url)
    )
  }()

  private func set(_ text: String) throws(KeySetError) -> KeySet {
    try KeySet(json: SecretBytes(Array(text.utf8).span), source: "keys.json", allowsPublishedKeys: false)
  }

  private func problem(_ text: String) -> String {
    do {
      _ = try set(text)
      return "none"
    } catch {
      return "\(error)"
    }
  }

  // MARK: Contents

  @Test func aSetOfBothKindsIsRead() throws {
    let keys = try set(
      """
      {"keys":[\(Self.oct),
       {"kty":"OKP","crv":"Ed25519","kid":"k2","x":"\(Self.pair.x)","d":"\(Self.pair.d)","nbf":5,"exp":9},
       {"kty":"OKP","crv":"Ed25519","kid":"k3","x":"\(Self.pair.x)","alg":"EdDSA","use":"sig","unknown":[1,{}]}],
       "unknown":true}
      """)
    #expect(keys.keys.map { "\($0.id)" } == ["k1", "k2", "k3"])
    #expect(keys.keys.map(\.algorithm) == [.hmac, .ed25519, .ed25519])
    #expect(keys.keys.map(\.canSign) == [true, true, false])
    #expect(keys.keys[1].notBefore == 5 && keys.keys[1].expires == 9)
    let term = keys.keys[1].term
    #expect(!term.contains(seconds: 4) && term.contains(seconds: 5))
    #expect(term.contains(seconds: 8) && !term.contains(seconds: 9))
    #expect(keys.keys[0].term.contains(seconds: 0) && keys.keys[0].term.contains(seconds: .max - 1))
  }

  @Test(arguments: [
    ("", "keys.json: is not a JWKS: it is not JSON"),
    ("[]", "keys.json: is not a JWKS: a member has the wrong type"),
    ("{}", "keys.json: is not a JWKS: a member is missing (keys)"),
    (#"{"keys":[{"kty":"oct","k":7}]}"#, "keys.json: is not a JWKS: a member has the wrong type (keys[0].k)"),
    (#"{"keys":[{"nbf":-1}]}"#, "keys.json: is not a JWKS: "),
    (#"{"keys":[]}"#, "keys.json: holds no keys; make one with: countersign keys new"),
    (#"{"keys":[{"kty":"oct"}]}"#, "keys.json: key 1: has no usable kid; a kid is 1 to 32 of A-Z a-z 0-9 . _ -"),
    (#"{"keys":[{"kid":""}]}"#, "key 1: has no usable kid"),
    (#"{"keys":[{"kid":"a b"}]}"#, "key 1: has no usable kid"),
    (#"{"keys":[{"kid":"0123456789012345678901234567890123"}]}"#, "key 1: has no usable kid"),
    (#"{"keys":[{"kid":"k"}]}"#, #"key "k": has a kty that is not oct or OKP"#),
    (#"{"keys":[{"kid":"k","kty":"RSA"}]}"#, #"key "k": has a kty that is not oct or OKP"#),
    (#"{"keys":[{"kid":"k","kty":"oct"}]}"#, #"key "k": has kty oct, but its alg is not HS256"#),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS512"}]}"#, "its alg is not HS256"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"EdDSA"}]}"#, "its alg is not HS256"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","crv":"Ed25519"}]}"#, "members of an OKP key"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256"}]}"#, "has no k, or one that is not base64url"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"a+b/"}]}"#, "has no k, or one that is not base64url"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)="}]}"#, "has no k, or one that is not base64url"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"AQID"}]}"#, "has a secret of 3 bytes; 32 are the least"),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":""}]}"#, "has a secret of 0 bytes; 32 are the least"),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(String(repeating: "A", count: 43))"}]}"#,
      "has a secret of one repeated byte"
    ),
    (#"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","use":"enc"}]}"#, "is not for signatures"),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","nbf":9,"exp":9}]}"#, "ends before it begins"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_aud":"a"}]}"#, "its cs_purpose is not http or pp2"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"web","cs_aud":"a"}]}"#,
      "its cs_purpose is not http or pp2"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"http"}]}"#, "has no usable cs_aud"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"http","cs_aud":"A"}]}"#,
      "has no usable cs_aud"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)AAAA","cs_purpose":"http","cs_aud":"a"}]}"#,
      "has 35 bytes instead of 32"
    ),
    (#"{"keys":[{"kid":"k","kty":"OKP"}]}"#, "its crv is not Ed25519"),
    (#"{"keys":[{"kid":"k","kty":"OKP","crv":"X25519"}]}"#, "its crv is not Ed25519"),
    (#"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","alg":"HS256"}]}"#, "its alg is neither EdDSA nor Ed25519"),
    (#"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","k":"AAAA"}]}"#, "members of an oct key"),
    (#"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519"}]}"#, "has no x, or one that is not 32 bytes"),
    (#"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "has no x, or one that is not 32 bytes"),
    (
      #"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":"\#(pair.x)","d":"AAAA"}]}"#, "has a d that is not 32 bytes"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":"\#(pair.x)","d":"\#(k)"}]}"#,
      "has an x that is not the public key of its d"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","x":"\#(pair.x)","d":"\#(String(repeating: "A", count: 43))"}]}"#,
      "has a secret of one repeated byte"
    ),
    (#"{"keys":[\#(oct),\#(oct)]}"#, #"key "k1": occurs more than once"#),
    (#"{"keys":[\#(oct),{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"\#(pair.x)"}]}"#, "occurs more than once"),
    (
      #"{"keys":[\#(oct),{"kid":"k1","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"http","cs_aud":"a"}]}"#,
      "occurs more than once"
    ),
    (
      #"{"keys":[{"kid":"k1","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"http","cs_aud":"a"},\#(oct)]}"#,
      "occurs more than once"
    ),
    (
      #"{"keys":[{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"pp2","cs_aud":"a"},"#
        + #"{"kid":"k","kty":"oct","alg":"HS256","k":"\#(k)","cs_purpose":"pp2","cs_aud":"a"}]}"#,
      "occurs more than once"
    ),
  ]) func whatIsWrong(_ text: String, words: String) {
    let problem = problem(text)
    #expect(problem.contains(words))
    // No message says any part of a secret.
    for secret in [Self.k, Self.pair.d, String(repeating: "A", count: 43)] {
      #expect(!problem.contains(secret.prefix(6)))
    }
  }

  @Test func derivedKeysShareANameByPurposeAndAudience() throws {
    let derived = { (purpose: String, audience: String) in
      #"{"kid":"k","kty":"oct","alg":"HS256","k":"\#(Self.k)","cs_purpose":"\#(purpose)","cs_aud":"\#(audience)"}"#
    }
    let keys = try set(
      "{\"keys\":[\(derived("http", "a")),\(derived("pp2", "a")),\(derived("http", "b"))]}")
    let id = try #require(KeyID("k"))
    #expect(keys.key(id, purpose: .http, audience: "a") != nil)
    #expect(keys.key(id, purpose: .pp2, audience: "a") != nil)
    #expect(keys.key(id, purpose: .http, audience: "b") != nil)
    #expect(keys.key(id, purpose: .pp2, audience: "b") == nil)
    #expect(keys.key(id, purpose: .http, audience: "c") == nil)
    let key = try #require(keys.key(id, purpose: .http, audience: "a"))
    #expect(try KeySet.macSecret(of: key, purpose: .pp2, audience: "a") == nil)
    #expect(try KeySet.macSecret(of: key, purpose: .http, audience: "b") == nil)
  }

  @Test(arguments: [
    (
      #""kty":"oct","alg":"HS256","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow""#,
      "RFC 7515"
    ),
    (#""kty":"oct","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg""#, "RFC 7520"),
    (
      #""kty":"oct","alg":"HS256","k":"uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ""#,
      "RFC 9421 B.1.5"
    ),
    (#""kty":"oct","alg":"HS256","k":"RCCCPP3m8cJrMPkOx90B5Ih1NKIPCw0Ew27YDnHg_Xc""#, "this project's test vectors"),
    (
      #""kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
      "RFC 8037 A.1"
    ),
    (#""kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs""#, "RFC 9421 B.1.4"),
    (#""kty":"OKP","crv":"Ed25519","x":"5IvhFM7UHlqkcXVODBmyEsnhiYFGyZ2njbA63Mgzx80""#, "this project's test vectors"),
  ]) func publishedKeysAreRefused(_ members: String, source: String) {
    let problem = problem("{\"keys\":[{\"kid\":\"k\",\(members)}]}")
    #expect(problem.contains("is published in") && problem.contains(source))
    #expect(problem.contains("countersign keys new"))
  }

  /// The keys of RFC 8032's tests are refused by their public halves, which are computed here from their seeds.
  @Test(arguments: [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
    "ab9c2853ce297ddab85c993b3ae14bcad39b2c682beabc27d6d4eb20711d6560",
  ]) func publishedSeedsAreRefused(_ hex: String) throws {
    let seed = bytes(hex: hex)
    let point = try Ed25519Key(seed: SecretBytes(seed.span)).point
    let problem = problem(
      #"{"keys":[{"kid":"k","kty":"OKP","crv":"Ed25519","d":"\#(Base64.text(seed, .url))","x":"\#(Base64.text(point, .url))"}]}"#
    )
    #expect(problem.contains("RFC 8032"))
  }

  // MARK: Writing

  @Test func whatIsWrittenIsReadBack() throws {
    var first = try KeySet.newKey(id: "k1", algorithm: .hmac)
    first.notBefore = 1
    first.expires = 2_000_000_000
    let keys = try KeySet([first], source: "new").adding(try KeySet.newKey(id: "k2", algorithm: .ed25519))
    let again = try set(keys.serialized())
    #expect(again.serialized() == keys.serialized())
    #expect(again.keys[0].notBefore == 1 && again.keys[0].expires == 2_000_000_000)
    #expect(throws: KeySetError.self) { try keys.adding(try KeySet.newKey(id: "k1", algorithm: .ed25519)) }
    #expect(throws: KeySetError.self) { try KeySet.newKey(id: "k 1", algorithm: .hmac) }
  }

  @Test func newKeysDiffer() throws {
    let texts = try (0..<20).map { _ in
      try KeySet([KeySet.newKey(id: "k", algorithm: .hmac)], source: "new").serialized()
    }
    #expect(Set(texts).count == 20)
  }

  @Test func anExportHoldsNothingThatSignsForOthers() throws {
    let keys = try KeySet(
      [KeySet.newKey(id: "k1", algorithm: .hmac), KeySet.newKey(id: "k2", algorithm: .ed25519)], source: "new")
    let exported = try keys.exported(for: "monitor-1")
    let text = exported.serialized()
    #expect(try set(text).serialized() == text)
    #expect(!text.contains("\"d\""))
    #expect(text.components(separatedBy: "cs_aud\":\"monitor-1\"").count == 3)
    for secret in keys.serialized().matches(of: /"[kd]":"([^"]+)"/) { #expect(!text.contains(secret.output.1)) }
    // An export of an export for the same audience is the same; for another there is nothing to give but public keys.
    #expect(try exported.exported(for: "monitor-1").serialized() == text)
    #expect(try exported.exported(for: "other").keys.map { "\($0.id)" } == ["k2"])
    let hmacOnly = try KeySet([keys.keys[0]], source: "new").exported(for: "monitor-1")
    #expect(throws: KeySetError.self) { try hmacOnly.exported(for: "other") }
    #expect(throws: KeySetError.self) { try keys.exported(for: "Other") }
  }

  // MARK: Files

  @Test func aPrivateFileIsRead() throws {
    try inDirectory { directory in
      let file = try write(Self.document, to: "keys.jwks.json", in: directory, mode: 0o600)
      #expect(try KeySet.load(path: file).keys.count == 1)
      chmod(file, 0o400)
      #expect(try KeySet.load(path: file).keys.count == 1)
    }
  }

  @Test(arguments: [0o640, 0o644, 0o604, 0o620, 0o660, 0o601, 0o610, 0o666, 0o777] as [mode_t])
  func anOpenFileIsRefused(_ mode: mode_t) throws {
    try inDirectory { directory in
      let file = try write(Self.document, to: "keys.jwks.json", in: directory, mode: mode)
      #expect(
        problem(file: file)
          == "\(file): has mode 0\(String(mode, radix: 8)), so others than its owner can use it; chmod 600 \(file)")
    }
  }

  @Test func theConfiguredGroupMayRead() throws {
    try inDirectory { directory in
      let file = try write(Self.document, to: "keys.jwks.json", in: directory, mode: 0o640)
      var status = stat()
      #expect(stat(file, &status) == 0)
      let own = try #require(getgrgid(status.st_gid)).pointee.gr_name
      let group = String(cString: try #require(own))
      #expect(try KeySet.load(path: file, group: group).keys.count == 1)
      #expect(problem(file: file, group: "no-such-group").contains("no-such-group does not exist"))
      let other = group == "daemon" ? "sys" : "daemon"
      #expect(problem(file: file, group: other).contains("is not the configured group \(other)"))
      chmod(file, 0o660)
      #expect(problem(file: file, group: group).contains("has mode 0660"))
    }
  }

  @Test func whatIsNoFileIsRefused() throws {
    try inDirectory { directory in
      let file = try write(Self.document, to: "keys.jwks.json", in: directory, mode: 0o600)
      let link = directory + "/link"
      #expect(symlink(file, link) == 0)
      #expect(problem(file: link) == "\(link): is a symbolic link, which is not followed; name the file itself")
      #expect(problem(file: directory).contains("is not a regular file"))
      let pipe = directory + "/pipe"
      #expect(mkfifo(pipe, 0o600) == 0)
      #expect(problem(file: pipe).contains("is not a regular file"))
      #expect(problem(file: directory + "/nothing").contains("nothing: no such file"))
    }
  }

  @Test func aFileIsAtMost64KiB() throws {
    try inDirectory { directory in
      let padding = 65536 - Self.document.utf8.count
      let full = Self.document + String(repeating: " ", count: padding)
      let file = try write(full, to: "keys.jwks.json", in: directory, mode: 0o600)
      #expect(try KeySet.load(path: file).keys.count == 1)
      let over = try write(full + " ", to: "more.jwks.json", in: directory, mode: 0o600)
      #expect(problem(file: over) == "\(over): has 65537 bytes; a key set has at most 65536")
    }
  }

  private static let document = "{\"keys\":[\(oct)]}"

  private func problem(file: String, group: String? = nil) -> String {
    do {
      _ = try KeySet.load(path: file, group: group)
      return "none"
    } catch {
      return "\(error)"
    }
  }

  private func inDirectory(_ body: (String) throws -> Void) throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("keyset-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try body(directory.path)
  }

  private func write(_ text: String, to name: String, in directory: String, mode: mode_t) throws -> String {
    let file = directory + "/" + name
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    #expect(chmod(file, mode) == 0)
    return file
  }
}
