// What a reload would change about trust: each kind of change, there and back.

import Policy
import Testing

@Suite struct TrustDiffTests {
  struct Edit: Sendable, CustomTestStringConvertible {
    let from: String
    let to: String
    /// What the edit changes, and what taking it back does.
    let there: [String]
    let back: [String]
    var testDescription: String { "\(from) -> \(to)" }

    init(_ from: String, _ to: String, _ there: [String], _ back: [String]) {
      (self.from, self.to, self.there, self.back) = (from, to, there, back)
    }
  }

  static let ofIdentity: [Edit] = [
    Edit("claims: [X-Acme]", "mode: observe\n  claims: [X-Acme]", ["weakens mode 2>9"], ["strengthens mode 9>2"]),
    Edit("edge: edge-a", "edge: edge-c", ["changes edge-name 2>2"], ["changes edge-name 2>2"]),
    Edit("sign_with: k1", "sign_with: k2", ["changes sign-with 4>4"], ["changes sign-with 4>4"]),
    Edit("audience: v-1", "audience: v-2", ["weakens audience 5>5"], ["weakens audience 5>5"]),
    Edit("edges: [edge-b]", "edges: []", ["weakens edges 6>6"], ["strengthens edges 6>6"]),
    Edit("edges: [edge-b]", "edges: [edge-b, edge-c]", ["weakens edges 6>6"], ["strengthens edges 6>6"]),
    Edit("edges: [edge-b]", "edges: [edge-c]", ["weakens edges 6>6"], ["weakens edges 6>6"]),
    Edit("clock_skew: 2s", "clock_skew: 3s", ["weakens clock-skew 7>7"], ["strengthens clock-skew 7>7"]),
    Edit(
      "infrastructure: [172.16.0.0/12]", "infrastructure: []", ["weakens infrastructure 8>8"],
      ["strengthens infrastructure 8>8"]),
    Edit(
      "infrastructure: [172.16.0.0/12]", "infrastructure: [172.16.0.0/13, 10.0.0.0/23]",
      ["weakens infrastructure 8>8"], ["strengthens infrastructure 8>8"]),
    Edit("claims: [X-Acme]", "claims: []", ["weakens claims 9>9"], ["strengthens claims 9>9"]),
    Edit("claims: [X-Acme]", "claims: [X-Emca]", ["weakens claims 9>9"], ["weakens claims 9>9"]),
    Edit("clock_skew: 2s", "keys_group: proxy", ["weakens keys-group 2>7"], ["strengthens keys-group 7>2"]),
    Edit(
      "clock_skew: 2s", "replay_window: 1024", ["changes replay-window 2>7"], ["changes replay-window 7>2"]),
    Edit(#""127.0.0.1:9901""#, #""192.0.2.1:9901""#, ["weakens admin 30>30"], ["changes admin 30>30"]),
    Edit(#""127.0.0.1:9901""#, #""unix:/run/admin""#, ["changes admin 30>30"], ["changes admin 30>30"]),
  ]

  /// A second listener.
  private static func added(
    listen: String, minimum: String = "1.3", requires: Bool = true, rule: String = "evidence: socket", _ there: [String]
  ) -> Edit {
    Edit(
      "routes:",
      "  - { name: two, listen: \"\(listen)\", tls: [{ certificate: a.pem, key: a.key }], tls_minimum: \(minimum), "
        + "client_certificates: { ca: clients.pem, require: \(requires) }, trust: [{ from: any, \(rule) }] }\nroutes:",
      there, ["strengthens listener-removed 23>11"])
  }

  static let ofListeners: [Edit] = [
    Edit("name: public", "name: web", [], []),
    Edit(
      "tls_minimum: 1.3", "tls_minimum: 1.3\n    checks: [{ from: 10.0.0.0/24, path: /healthz }]",
      ["changes checks 11>15"], ["changes checks 15>11"]),
    Edit(
      "tls_minimum: 1.3", "tls_minimum: 1.3\n    on_collapse: refuse", ["strengthens collapse 11>15"],
      ["weakens collapse 15>11"]),
    Edit(
      "tls_minimum: 1.3", "tls_minimum: 1.3\n    shared_addresses: [192.0.2.0/24]", ["weakens collapse 11>15"],
      ["strengthens collapse 15>11"]),
    Edit(
      "{ from: [10.0.0.0/24], evidence: proxy-protocol }",
      "{ from: [10.0.0.0/24], evidence: proxy-protocol, cutover: { also: socket, until: \"2026-12-01T00:00:00Z\" } }",
      ["weakens cutover 17>17"], ["strengthens cutover 17>17"]),
    Edit(
      "routes:\n", "routes:\n  - { path: /x, to: signed, name: x, needs_distinct_clients: true }\n", [],
      ["weakens distinct-clients 24>24"]),
    Edit(
      "routes:", #"  - { name: two, listen: "127.0.0.1:80", trust: [{ from: any, evidence: socket }] }"# + "\nroutes:",
      ["weakens listener-added 11>23"], ["strengthens listener-removed 23>11"]),
    // As much must be shown as at the other one, which is not reached from elsewhere either.
    added(listen: "127.0.0.1:80", ["changes listener-added 11>23"]),
    added(listen: "127.0.0.1:80", minimum: "1.2", ["weakens listener-added 11>23"]),
    added(listen: "127.0.0.1:80", requires: false, ["weakens listener-added 11>23"]),
    added(listen: "0.0.0.0:80", ["weakens listener-added 11>23"]),
    added(
      listen: "127.0.0.1:80", rule: "evidence: attested, proxy_protocol: required", ["changes listener-added 11>23"]),
    added(listen: "127.0.0.1:80", rule: "evidence: attested", ["weakens listener-added 11>23"]),
    Edit(
      "routes:",
      #"  - { name: two, listen: "127.0.0.1:80", trust: [{ from: [10.0.0.9], evidence: proxy-protocol }] }"#
        + "\nroutes:",
      ["weakens listener-added 11>23"], ["strengthens listener-removed 23>11"]),
    // The name says which one it was.
    Edit(
      #""127.0.0.1:8443""#, #""192.0.2.1:8443""#, ["weakens listener-moved 12>12"], ["weakens listener-moved 12>12"]),
    Edit(
      "    tls: [{ certificate: a.pem, key: a.key }]\n    tls_minimum: 1.3\n"
        + "    client_certificates: { ca: clients.pem, require: true }\n",
      "", ["weakens client-certificates 15>11", "weakens listener-tls 13>11"],
      ["strengthens client-certificates 11>15", "strengthens listener-tls 11>13"]),
    Edit("tls_minimum: 1.3", "tls_minimum: 1.2", ["weakens tls-minimum 14>14"], ["strengthens tls-minimum 14>14"]),
    Edit(
      "require: true", "require: false", ["weakens client-certificates 15>15"],
      ["strengthens client-certificates 15>15"]),
    Edit(
      "    client_certificates: { ca: clients.pem, require: true }\n", "", ["weakens client-certificates 15>11"],
      ["strengthens client-certificates 11>15"]),
  ]

  static let ofUpstreams: [Edit] = [
    Edit(
      "signed: { identity: attest, audience: app-1, proxy_protocol: v2", "signed: { identity: plain",
      ["weakens proxy-switched-off 27>27", "weakens attest-to-plain 27>27"],
      ["strengthens proxy-switched-off 27>27", "strengthens upstream-identity 27>27"]),
    Edit(
      "plain: { identity: plain", "plain: { identity: none", ["weakens upstream-identity 29>29"],
      ["strengthens upstream-identity 29>29"]),
    Edit(
      "proxy_protocol: v2", "proxy_protocol: off", ["weakens proxy-switched-off 27>27"],
      ["strengthens proxy-switched-off 27>27"]),
    Edit(
      "audience: app-1, proxy_protocol: v2", "audience: app-2, proxy_protocol: v2", ["weakens upstream-audience 27>27"],
      ["weakens upstream-audience 27>27"]),
    Edit(
      "audience: app-1, proxy_protocol: v2", "audience: app-1, shared_audience: true, proxy_protocol: v2",
      ["weakens shared-audience 27>27"], ["strengthens shared-audience 27>27"]),
    Edit(
      "plain: { identity: plain", "plain: { identity: plain, plain_fields: [x-real-ip]",
      ["weakens plain-fields 29>29"], ["changes plain-fields 29>29"]),
    Edit(
      #"["127.0.0.1:2"]"#, #"["192.0.2.9:2"]"#, ["weakens plain-exposed 29>29"], []),
    Edit(
      ", tls: { ca: up.pem, name: up.test }", "", ["weakens upstream-tls 28>28"], ["strengthens upstream-tls 28>28"]),
    Edit("name: up.test", "name: other.test", ["weakens upstream-tls 28>28"], ["weakens upstream-tls 28>28"]),
    // Servers come and go.
    Edit(#"["127.0.0.1:2"]"#, #"["127.0.0.1:2", "127.0.0.1:3"]"#, [], []),
  ]

  static let ofRoutes: [Edit] = [
    Edit("{ path: /a, to: signed }", "{ path: /a, to: plain }", ["weakens route 24>24"], ["strengthens route 24>24"]),
    Edit("{ path: /a, to: signed }", "{ path: /b, to: plain }", ["weakens route 24>24"], []),
    Edit("{ path: /a, to: signed }", "{ path: /b, to: signed }", [], []),
    // No request comes to a route behind one for all.
    Edit("  - { to: signed }\n", "  - { to: signed }\n  - { path: /c, to: plain }\n", [], []),
    // The same upstream under another name is no other.
    Edit("  - { to: signed }\n", "  - { to: secure }\n", ["weakens route 25>25"], ["weakens route 25>25"]),
  ]

  private static let distinct = "  - { path: /a, to: signed, name: a, needs_distinct_clients: true }\n"

  /// Edits of a configuration with a route that needs to tell clients apart, in line 24.
  static let ofDistinctClients: [Edit] = [
    Edit(
      "name: a, needs_distinct_clients: true", "name: a", ["weakens distinct-clients 24>24"],
      ["strengthens distinct-clients 24>24"]),
    Edit(
      "name: a, needs_distinct_clients: true", "name: b", ["weakens distinct-clients 24>24"],
      ["strengthens distinct-clients 24>24"]),
    Edit("name: a,", "name: b,", [], []),
    Edit(distinct, "", ["weakens distinct-clients 24>24"], []),
    Edit(
      "path: /a, to: signed, name: a,", "path: /b, to: signed, name: a,", ["weakens distinct-clients 24>25"],
      ["weakens distinct-clients 24>25"]),
    Edit(distinct, "  - { path_prefix: /, to: signed }\n" + distinct, ["weakens distinct-clients 24>24"], []),
    Edit(
      distinct, "  - { path: /c, to: signed, name: c, needs_distinct_clients: true }\n" + distinct, [],
      ["weakens distinct-clients 24>25"]),
  ]

  @Test(arguments: ofDistinctClients) func aRouteThatNeedsDistinctClientsIsNotPassedBy(_ edit: Edit) throws {
    let old = Guarded.edit(Guarded.base, "  - { path: /a, to: signed }\n", Self.distinct)
    let new = Guarded.edit(old, edit.from, edit.to)
    #expect(try Guarded.brief(Guarded.changes(old, new)) == edit.there)
    #expect(try Guarded.brief(Guarded.changes(new, old)) == edit.back)
  }

  private static let off = "  - { path: /a, to: signed, name: a, enabled: false }\n"

  /// Edits of a configuration with a route that is closed, in line 24: a file from before it was closed opens it again.
  static let ofClosedRoutes: [Edit] = [
    Edit(", enabled: false", "", ["changes route-enabled 24>24"], ["strengthens route-enabled 24>24"]),
    Edit(
      "name: a, enabled: false", "enabled: true", ["changes route-enabled 24>24"], ["strengthens route-enabled 24>24"]),
    Edit(off, "", ["changes route-enabled 24>24"], []),
    Edit(off, "  - { path_prefix: /, to: signed }\n" + off, ["changes route-enabled 24>24"], []),
    Edit(off, "  - { path: /b, to: signed, enabled: false }\n" + off, [], ["changes route-enabled 24>25"]),
    Edit("name: a,", "name: b,", [], []),
  ]

  @Test(arguments: ofClosedRoutes) func aClosedRouteThatOpensIsTold(_ edit: Edit) throws {
    let old = Guarded.edit(Guarded.base, "  - { path: /a, to: signed }\n", Self.off)
    let new = Guarded.edit(old, edit.from, edit.to)
    #expect(try Guarded.brief(Guarded.changes(old, new)) == edit.there)
    #expect(try Guarded.brief(Guarded.changes(new, old)) == edit.back)
  }

  /// Edits of a configuration in which not every request has a route.
  static let ofUnroutedRequests: [Edit] = [
    Edit("  - { host: a, to: signed }\n", "  - { to: signed }\n", ["changes route 0>25"], []),
    Edit(
      "  - { host: a, to: signed }\n", "  - { host: a, to: signed }\n  - { host: b, to: plain }\n",
      ["changes route 0>26"], []),
    // An upstream is told once, and a closed route opens nothing.
    Edit(
      "  - { host: a, to: signed }\n",
      "  - { host: a, to: signed }\n  - { host: b, to: plain }\n  - { host: c, to: plain }\n", ["changes route 0>26"],
      []),
    Edit(
      "  - { host: a, to: signed }\n", "  - { host: a, to: signed }\n  - { host: b, to: plain, enabled: false }\n", [],
      []),
    Edit(
      "  - { host: a, to: signed }\n", "  - { host: a, to: signed }\n  - { path_prefix: /, to: plain }\n",
      ["changes route 0>26"], []),
  ]

  @Test(arguments: ofUnroutedRequests) func requestsThatHadNoRouteAndGetOneAreTold(_ edit: Edit) throws {
    let old = Guarded.edit(Guarded.base, "  - { to: signed }\n", "  - { host: a, to: signed }\n")
    let new = Guarded.edit(old, edit.from, edit.to)
    #expect(try Guarded.brief(Guarded.changes(old, new)) == edit.there)
    #expect(try Guarded.brief(Guarded.changes(new, old)) == edit.back)
  }

  @Test func whatIsToldOfThemSaysWhatTheUpstreamGets() throws {
    let old = Guarded.edit(Guarded.base, "  - { to: signed }\n", "")
    let new = Guarded.edit(old, "routes:\n", "routes:\n  - { host: b, to: plain }\n")
    #expect(
      try Guarded.changes(old, new).filter { $0.effect == .changes }.map(\.text) == [
        "requests that no route took may go to the upstream `plain`, which is told the client's address in plain fields"
      ])
    // Where every path has a route already, none is without.
    let all = Guarded.edit(Guarded.base, "  - { to: signed }\n", "  - { path_prefix: /, to: signed }\n")
    let more = Guarded.edit(
      all, "  - { path_prefix: /, to: signed }\n", "  - { path_prefix: /, to: signed }\n  - { host: b, to: plain }\n")
    #expect(try Guarded.changes(all, more) == [])
  }

  static let ofRules: [Edit] = [
    Edit(
      "[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: forwarded",
      ["weakens forwarded-before-proxy 17>17"], ["strengthens evidence 17>17"]),
    // One inside of it, and more specific.
    Edit(
      "      - { from: [10.0.1.0/24]",
      "      - { from: [10.0.0.128/25], evidence: forwarded }\n      - { from: [10.0.1.0/24]",
      ["weakens forwarded-before-proxy 17>18"], ["strengthens evidence 18>17"]),
    Edit(
      "[10.0.0.0/24]", "[10.0.0.0/24, 10.9.0.0/16]",
      ["weakens range-widened 22>17", "strengthens infrastructure 8>17"],
      ["weakens balancer-unlisted 17>22", "weakens infrastructure 17>8"]),
    Edit(
      "evidence: forwarded, hops: [192.0.2.0/24]", "evidence: forwarded, header: forwarded, hops: [192.0.2.0/24]",
      ["weakens header-renamed 18>18"], ["weakens header-renamed 18>18"]),
    Edit("hops: [192.0.2.0/24]", "hops: [192.0.2.0/23]", ["weakens hops 18>18"], ["weakens hops 18>18"]),
    Edit(
      ", then: forwarded, hops: [198.51.100.0/24]", "", ["weakens hops 19>19"], ["weakens forwarded-before-proxy 19>19"]
    ),
    Edit(
      "proxy_protocol: required", "proxy_protocol: off", ["weakens proxy-switched-off 20>20"],
      ["strengthens proxy-switched-off 20>20"]),
    Edit(
      "evidence: attested, proxy_protocol: required", "evidence: socket",
      ["weakens signature-not-demanded 20>20", "weakens infrastructure 20>8"],
      ["weakens range-widened 20>20", "strengthens infrastructure 8>20"]),
    Edit("evidence: refuse", "evidence: socket", ["weakens evidence 21>21"], ["strengthens evidence 21>21"]),
    Edit(
      "[10.0.4.0/24], evidence: refuse", "[10.0.4.0/24], evidence: proxy-protocol",
      ["weakens range-widened 21>21", "strengthens infrastructure 8>21"],
      ["weakens infrastructure 21>8", "strengthens evidence 21>21"]),
    Edit(
      "[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: socket",
      ["weakens proxy-switched-off 17>17", "weakens infrastructure 17>8"],
      ["weakens range-widened 17>17", "strengthens infrastructure 8>17"]),
    Edit(
      "[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: proxy-protocol, scheme: https",
      ["weakens scheme 17>17"], ["strengthens scheme 17>17"]),
    Edit(
      "[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: proxy-protocol, scheme: http",
      ["strengthens scheme 17>17"], ["weakens scheme 17>17"]),
    Edit(
      "      - { from: any, evidence: socket }",
      "      - { from: any, evidence: socket }\n      - { from: [127.0.0.1], evidence: socket }",
      ["weakens own-address 22>23"], []),
    // No program here has that address.
    Edit(
      "      - { from: any, evidence: socket }",
      "      - { from: any, evidence: socket }\n      - { from: [192.0.2.1], evidence: socket }", [], []),
    Edit("any, evidence: socket", "any, evidence: refuse", ["strengthens evidence 22>22"], ["weakens evidence 22>22"]),
    // The default is the same.
    Edit("      - { from: any, evidence: socket }\n", "", [], []),
  ]

  @Test(arguments: ofRules + ofIdentity + ofListeners + ofUpstreams + ofRoutes)
  func eachKindIsNamedThereAndBack(edit: Edit) throws {
    let changed = Guarded.edit(Guarded.base, edit.from, edit.to)
    #expect(Guarded.brief(try Guarded.changes(Guarded.base, changed)) == edit.there)
    #expect(Guarded.brief(try Guarded.changes(changed, Guarded.base)) == edit.back)
  }

  @Test func theSameIsNoChange() throws {
    #expect(try Guarded.changes(Guarded.base, Guarded.base) == [])
    #expect(try Guarded.changes(Guarded.base, "# a comment\n\n" + Guarded.base + "workers: 3\n") == [])
  }
}
