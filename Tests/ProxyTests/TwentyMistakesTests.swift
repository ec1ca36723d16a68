// Twenty and some configurations with a mistake by which clients' addresses would be lost, mixed up or claimed: each is named before it
// serves anybody, by the reload guard where it is an edit, or by what `check` and each load look at (the file, and the self-test).

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct TwentyMistakesTests {
  private static let right = """
    identity:
      edge: edge-a
      keys: k.jwks.json
      sign_with: k1
      audience: edge-a
      edges: [edge-b]
      infrastructure: [172.16.0.0/12]
      claims: [X-Acme-Client]
    listeners:
      - name: public
        listen: "127.0.0.1:0"
        on_collapse: refuse
        trust:
          - { from: [10.0.0.0/24], evidence: proxy-protocol }
          - { from: [10.0.1.0/24], evidence: forwarded, hops: [192.0.2.0/24] }
          - { from: [10.0.2.0/24], evidence: attested, proxy_protocol: required }
          - { from: any, evidence: socket }
    routes:
      - { path: /discovery, to: app, name: discovery, needs_distinct_clients: true }
      - { to: app }
    upstreams:
      app: { identity: attest, audience: app-1, proxy_protocol: v2, servers: ["127.0.0.1:1"] }

    """

  struct Mistake: Sendable, CustomTestStringConvertible {
    let name: String
    let from: String
    let to: String
    /// The guard's kind of change; nil: the file is refused or warned of by itself.
    let kind: String?
    let says: String
    var testDescription: String { name }
  }

  private static let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
  private static func key(_ more: String = "") -> String {
    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k1\",\"alg\":\"HS256\",\"k\":\"\(secret)\"\(more)}]}"
  }

  static let edits: [Mistake] = [
    Mistake(
      name: "the PROXY protocol is switched off at the edge", from: "{ from: [10.0.0.0/24], evidence: proxy-protocol }",
      to: "{ from: [10.0.0.0/24], evidence: socket }", kind: "proxy-switched-off", says: "become one client"),
    Mistake(
      name: "the list of machinery is cut down",
      from: "infrastructure: [172.16.0.0/12]\n", to: "infrastructure: []\n", kind: "infrastructure",
      says: "can"),
    Mistake(
      name: "forwarded evidence instead of PROXY", from: "{ from: [10.0.0.0/24], evidence: proxy-protocol }",
      to: "{ from: [10.0.0.0/24], evidence: forwarded }", kind: "forwarded-before-proxy", says: "can be anybody"),
    Mistake(
      name: "forwarded evidence before PROXY, by a smaller range",
      from: "{ from: [10.0.0.0/24], evidence: proxy-protocol }",
      to: "{ from: [10.0.0.0/28], evidence: forwarded }\n      - { from: [10.0.0.0/24], evidence: proxy-protocol }",
      kind: "forwarded-before-proxy", says: "10.0.0.0/28"),
    Mistake(
      name: "a trusted range is widened after a redeploy", from: "from: [10.0.0.0/24], evidence: proxy-protocol",
      to: "from: [10.128.0.0/9, 10.0.0.0/24], evidence: proxy-protocol", kind: "range-widened", says: "10.128.0.0/9"),
    Mistake(
      name: "the balancer's old subnet is no longer listed", from: "from: [10.0.1.0/24], evidence: forwarded",
      to: "from: [10.200.1.0/24], evidence: forwarded", kind: "range-widened", says: "10.200.1.0/24"),
    Mistake(
      name: "the header is renamed", from: "evidence: forwarded, hops",
      to: "evidence: forwarded, header: forwarded, hops",
      kind: "header-renamed", says: "the client's to write"),
    Mistake(
      name: "more hops are believed", from: "hops: [192.0.2.0/24]", to: "hops: [192.0.2.0/24, 203.0.113.0/24]",
      kind: "hops",
      says: "203.0.113.0/24 is a hop now"),
    Mistake(
      name: "a hop is forgotten", from: "hops: [192.0.2.0/24]", to: "hops: []", kind: "hops", says: "becomes one client"
    ),
    Mistake(
      name: "an edge need not send its PROXY header any more", from: ", proxy_protocol: required }", to: " }",
      kind: "proxy-switched-off", says: "need not any more"),
    Mistake(
      name: "signatures are not demanded any more",
      from: "{ from: [10.0.2.0/24], evidence: attested, proxy_protocol: required }",
      to: "{ from: [10.0.2.0/24], evidence: forwarded }", kind: "signature-not-demanded", says: "signature"),
    Mistake(
      name: "the PROXY protocol is switched off at the upstream", from: "proxy_protocol: v2, ", to: "",
      kind: "proxy-switched-off", says: "does not any more"),
    Mistake(
      name: "the identity goes in plain fields", from: "identity: attest, audience: app-1, proxy_protocol: v2, ",
      to: "identity: plain, ", kind: "attest-to-plain", says: "plain fields"),
    Mistake(
      name: "what cannot be verified passes", from: "  edge: edge-a\n", to: "  edge: edge-a\n  mode: observe\n",
      kind: "mode",
      says: "without any identity"),
    Mistake(name: "any edge may sign", from: "edges: [edge-b]", to: "edges: []", kind: "edges", says: "edge"),
    Mistake(
      name: "a field that speaks of the client passes", from: "claims: [X-Acme-Client]", to: "claims: []",
      kind: "claims",
      says: "x-acme-client"),
    Mistake(
      name: "every client is said to use TLS", from: "[10.0.0.0/24], evidence: proxy-protocol }",
      to: "[10.0.0.0/24], evidence: proxy-protocol, scheme: https }", kind: "scheme", says: "https"),
    Mistake(
      name: "discovery stays open when clients become one", from: ", needs_distinct_clients: true", to: "",
      kind: "distinct-clients", says: "stays open"),
    Mistake(
      name: "nothing follows from a collapse", from: "    on_collapse: refuse\n", to: "", kind: "collapse",
      says: "all routes stay open"),
    Mistake(
      name: "and a collapse to some addresses is not looked at", from: "    on_collapse: refuse\n",
      to: "    on_collapse: refuse\n    shared_addresses: [198.51.100.0/24]\n", kind: "collapse", says: "not noticed"),
  ]

  @Test(arguments: edits) func theGuardNamesTheEdit(_ mistake: Mistake) throws {
    func boundary(_ yaml: String) throws -> TrustBoundary {
      let read = ConfigReader.read(text: yaml, path: "/etc/edge.yaml")
      return try TrustBoundary(try #require(read.config, "\(read.diagnostics)"), keys: nil)
    }
    try #require(Self.right.contains(mistake.from))
    let edited = Self.right.replacing(mistake.from, with: mistake.to, maxReplacements: 1)
    let changes = TrustDiff.compare(old: try boundary(Self.right), new: try boundary(edited))
    let named = changes.filter { $0.effect == .weakens && $0.kind.rawValue == mistake.kind }
    #expect(
      named.contains {
        $0.line(oldFile: "old", newFile: "new", prefix: "").lowercased().contains(mistake.says.lowercased())
      },
      "\(changes.map { $0.line(oldFile: "old", newFile: "new", prefix: "") })")
    #expect(try WeakerHash.of(changes) != nil, "a reload would take it")
  }

  /// Found in the file alone, whatever was before.
  static let alone: [Mistake] = [
    Mistake(
      name: "a forwarded field is believed from everywhere", from: "{ from: any, evidence: socket }",
      to: "{ from: any, evidence: forwarded }", kind: nil, says: "lets anybody claim any address"),
    Mistake(
      name: "hops step over everybody", from: "hops: [192.0.2.0/24]", to: "hops: [0.0.0.0/0]", kind: nil,
      says: "nobody is left to be the client"),
    Mistake(
      name: "two validators take each other's messages", from: "servers: [\"127.0.0.1:1\"]",
      to: "servers: [\"127.0.0.1:1\", \"127.0.0.1:2\"]", kind: nil, says: "shared_audience"),
    Mistake(
      name: "a cutover has no end in sight", from: "[10.0.0.0/24], evidence: proxy-protocol }",
      to: "[10.0.0.0/24], evidence: proxy-protocol, cutover: { also: socket, until: \"2999-01-01T00:00:00Z\" } }",
      kind: nil,
      says: "a cutover ends within 7 days"),
    Mistake(
      name: "clients are machinery", from: "{ from: any, evidence: socket }",
      to: "{ from: [172.16.0.0/12], evidence: socket }", kind: nil,
      says: "self-test: nobody can be a client under this rule"),
    Mistake(
      name: "discovery's route, which needs to tell clients apart, stands behind one that takes its requests",
      from: "routes:\n", to: "routes:\n  - { path_prefix: /, to: app }\n", kind: nil,
      says: "never reached: the route in line 19 takes every request that this one matches"),
    Mistake(
      name: "checks answer everybody", from: "    on_collapse: refuse\n",
      to: "    on_collapse: refuse\n    checks: [{ from: any, path: / }]\n", kind: nil,
      says: "would answer every client"),
  ]

  @Test(arguments: alone) func checkNamesWhatIsWrongInTheFile(_ mistake: Mistake) throws {
    let found = try findings(Self.right.replacing(mistake.from, with: mistake.to, maxReplacements: 1), key: Self.key())
    #expect(found.contains { $0.contains(mistake.says) }, "\(found)")
  }

  @Test func checkNamesAKeyThatCannotSign() throws {
    let found = try findings(Self.right, key: Self.key(",\"exp\":1577836800"))
    #expect(found.contains { $0.contains("self-test: upstream app") && $0.contains("cannot be signed") }, "\(found)")
  }

  @Test func checkNamesAKeyWithWhichNoEdgeIsBelieved() throws {
    let found = try findings(
      Self.right.replacing("proxy_protocol: v2, ", with: ""), key: Self.key(",\"nbf\":32503680000"))
    #expect(
      found.contains {
        $0.contains("self-test: nobody can be a client under this rule") && $0.contains("not valid now")
      },
      "\(found)")
  }

  @Test func withoutAMistakeNothingIsFound() throws {
    let found = try findings(Self.right, key: Self.key())
    #expect(found.allSatisfy { $0.contains("warning") && !$0.contains("self-test") }, "\(found)")
  }

  private func findings(_ yaml: String, key: String) throws -> [String] {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try PrivateFile.write(Array(key.utf8), to: "\(directory)/k.jwks.json", existing: .refuse)
    return Snapshot.check(ConfigReader.read(text: yaml, path: "\(directory)/c.yaml")).map { $0.text(file: "c") }
  }
}
