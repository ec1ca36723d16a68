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
        - { redirect: { scheme: https } }
        - { host_regex: 'app\\.example\\.com', path_regex: "/api/.*", to: app }
        - { path_regex: "/(a|b)/[0-9]+", to: app }
        - { host: api.example.com, path_prefix: /v1, strip_prefix: /v1, to: app }
        - { host: "*.example.com", path: "/a%20b", method: [PUT, POST], header: { name: X-Canary }, to: app }
        - { path_regex: "/old/([a-z]+)/(.*)", rewrite: "/new/$2?kind=$1", to: app,
            request_headers: { set: { X-Seen-From: $client, X-Kind: "a b" }, remove: [Cookie] } }
        - { client: [203.0.113.0/24], path: /inside, to: app }
        - { listener: web, path: /page, respond: { body: "x" } }
        - { path_regex: "/(?!private).*", to: app, name: rest }
        - { path_regex: "[^/]+", to: app }
        - { path_regex: '/(x)\\1', to: app }
        - { path_prefix: /closed/, to: app, enabled: false }
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
    let routes = (0..<3_000).map { "  - { path_regex: '/\($0)/[a-z]+', to: app }\n" }.joined()
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
