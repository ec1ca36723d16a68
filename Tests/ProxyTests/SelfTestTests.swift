// A configuration is tried out before it goes live: what nobody could be served by, and a key that cannot sign, is found by `check`.

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct SelfTestTests {
  private let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
  }

  private func findings(
    _ trust: String, identity: String = "", key: String? = nil, upstream: String = "{ servers: [\"127.0.0.1:1\"] }"
  ) throws -> [String] {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    if let key {
      try PrivateFile.write(Array("{\"keys\":[\(key)]}".utf8), to: "\(directory)/k.jwks.json", existing: .refuse)
    }
    let yaml = """
      identity: { \(identity) }
      listeners:
        - name: web
          listen: "127.0.0.1:0"
          trust: [\(trust)]
      routes: [{ to: app }]
      upstreams:
        app: \(upstream)
      """
    let found = Snapshot.check(ConfigReader.read(text: yaml, path: "\(directory)/c.yaml"))
    return found.map { $0.text(file: "c") }.filter { $0.contains("self-test") }
  }

  @Test(arguments: [
    "{ from: any, evidence: socket }",
    "{ from: [10.0.0.0/24], evidence: proxy-protocol }, { from: any, evidence: socket }",
    "{ from: [10.0.0.0/24], evidence: forwarded, hops: [192.0.2.0/24] }",
    "{ from: [\"2001:db8:9::/48\"], evidence: forwarded, header: forwarded, hops: [\"2001:db8:7::/48\"] }",
    "{ from: [10.0.0.7], evidence: proxy-protocol, then: forwarded, hops: [198.51.100.0/24] }",
    "{ from: [192.0.2.77], evidence: socket }, { from: any, evidence: refuse }", "{ from: any, evidence: refuse }",
    "{ from: [10.0.0.0/8], evidence: proxy-protocol }, { from: [10.1.0.0/16], evidence: forwarded }",
    "{ from: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24], evidence: proxy-protocol }",
  ]) func whatServesItsClientsIsSilent(_ trust: String) throws {
    let found = try findings(trust)
    #expect(found.isEmpty, "\(found)")
  }

  @Test func aRuleUnderWhichNobodyCanBeAClientIsNamed() throws {
    let found = try findings(
      "{ from: [10.0.0.0/24], evidence: socket }, { from: any, evidence: socket }",
      identity: "infrastructure: [10.0.0.0/8]")
    #expect(
      found == [
        "c:5:13: warning: self-test: nobody can be a client under this rule; 10.0.0.1 is refused: 10.0.0.1 is infrastructure by "
          + "identity.infrastructure; the proxy there does not pass its client on"
      ], "\(found)")
  }

  private static let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
  private static let signed = "{ identity: attest, audience: app-1, servers: [\"127.0.0.1:1\"] }"

  @Test func aKeyThatSignsIsTriedOnEachUpstream() throws {
    let key = "{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"\(Self.secret)\"}"
    let found = try findings(
      "{ from: any, evidence: socket }", identity: "edge: e, keys: k.jwks.json, sign_with: k1", key: key,
      upstream: Self.signed)
    #expect(found.isEmpty, "\(found)")
  }

  @Test(arguments: ["\"nbf\":32503680000", "\"exp\":1577836800"]) func aKeyThatIsNotValidNowIsFound(_ lifetime: String)
    throws
  {
    let key = "{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"\(Self.secret)\",\(lifetime)}"
    let found = try findings(
      "{ from: any, evidence: socket }", identity: "edge: e, keys: k.jwks.json, sign_with: k1", key: key,
      upstream: Self.signed)
    #expect(found.count == 1 && found[0].contains("cannot be signed: the key k1 is not valid now"), "\(found)")
    #expect(found.first?.hasPrefix("c:8:3: self-test: upstream app") == true, "\(found)")
  }
}
