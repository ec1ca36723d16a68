// Each route and its upstream is tried out: what a client claims goes nowhere, and two clients arrive as two in whatever form the upstream
// gets. A configuration in which that holds is silent.

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct SelfTestRouteTests {
  private static let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

  private func findings(_ yaml: String, key: String = "") throws -> [String] {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let keys = "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"\(Self.secret)\"\(key)}]}"
    try PrivateFile.write(Array(keys.utf8), to: "\(directory)/k.jwks.json", existing: .refuse)
    let found = Snapshot.check(ConfigReader.read(text: yaml, path: "\(directory)/c.yaml"))
    return found.map { $0.text(file: "c") }
  }

  @Test(
    arguments: [
      "{ identity: attest, audience: app-1, servers: [\"127.0.0.1:1\"] }",
      "{ identity: attest, audience: app-1, proxy_protocol: v2, servers: [\"127.0.0.1:1\"] }",
      "{ identity: plain, servers: [\"127.0.0.1:1\"] }",
      "{ identity: plain, plain_fields: [x-forwarded-for], servers: [\"127.0.0.1:1\"] }",
      "{ identity: plain, plain_fields: [forwarded, x-forwarded-host], servers: [\"127.0.0.1:1\"] }",
      "{ identity: plain, plain_fields: [x-forwarded-proto], servers: [\"127.0.0.1:1\"] }",
      "{ identity: none, servers: [\"127.0.0.1:1\"] }",
    ],
    [
      "{ from: [10.0.0.0/24], evidence: proxy-protocol, scheme: https }, { from: any, evidence: socket }",
      "{ from: [10.0.0.0/24], evidence: forwarded }, { from: [\"2001:db8::/32\"], evidence: socket }, { from: any, evidence: refuse }",
      "{ from: any, evidence: attested }", "{ from: any, evidence: attested, proxy_protocol: required }",
    ]) func whateverAnUpstreamGetsTwoClientsArriveAsTwo(_ upstream: String, _ trust: String) throws
  {
    let found = try findings(
      """
      identity: { edge: e, keys: k.jwks.json, sign_with: k1, claims: [X-Acme-Client] }
      listeners: [{ name: web, listen: "127.0.0.1:0", trust: [\(trust)] }]
      routes:
        - { host: 'app\\.example\\.com', path: "/api/.*", to: app }
        - { path: "/(a|b)/[0-9]+", to: app }
        - { path: "/(?!private).*", to: app, name: rest }
        - { path: "[^/]+", to: app }
        - { path: '/(x)\\1', to: app }
        - { path: "/closed/.*", to: app, enabled: false }
        - { to: app }
      upstreams: { app: \(upstream) }
      """)
    #expect(found.isEmpty, "\(found)")
  }

  /// Whom no edge can sign for any more.
  @Test func aValidatorWhoseKeysAreNotValidNowIsNamed() throws {
    let yaml = """
      identity: { keys: k.jwks.json, audience: app-1, edges: [edge-a] }
      listeners:
        - { name: from-edge, listen: "127.0.0.1:0", trust: [{ from: any, evidence: attested }] }
      routes: [{ to: backend }]
      upstreams: { backend: { servers: ["127.0.0.1:1"] } }
      """
    #expect(try findings(yaml) == [])
    #expect(
      try findings(yaml, key: ",\"exp\":1577836800") == [
        "c:3:55: warning: self-test: nobody can be a client under this rule; a probe from 192.0.2.77 cannot be signed: the key k1 "
          + "is not valid now (`nbf`, `exp`)"
      ])
  }

  /// A signature covers the path and the host, whatever they are.
  @Test func manyRoutesAreTried() throws {
    let routes = (0..<3_000).map { "  - { path: '/\($0)/[a-z]+', to: app }\n" }.joined()
    let found = try findings(
      """
      identity: { edge: e, keys: k.jwks.json, sign_with: k1 }
      listeners: [{ name: web, listen: "127.0.0.1:0" }]
      upstreams: { app: { identity: attest, audience: app-1, servers: ["127.0.0.1:1"] } }
      routes:

      """ + routes)
    #expect(found.isEmpty, "\(found)")
  }
}
