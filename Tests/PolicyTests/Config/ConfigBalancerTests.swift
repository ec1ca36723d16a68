// `checks` of a listener, and `cutover` of a trust rule.

import Policy
import Testing
import Wire

@Suite struct ConfigBalancerTests {
  private static func document(
    checks: String = "[]", rule: String = "{ from: any, evidence: socket }", listen: String = "127.0.0.1:8443"
  )
    -> String
  {
    """
    listeners:
      - name: web
        listen: "\(listen)"
        trust: [\(rule)]
        checks: \(checks)
    routes: [{ to: app }]
    upstreams: { app: { servers: ["127.0.0.1:3000"] } }
    """
  }

  private func findings(_ text: String) -> [String] {
    ConfigReader.read(text: text, path: "/etc/edge.yaml").diagnostics.map { $0.text(file: "edge.yaml") }
  }

  static let wrong: [(checks: String, finding: String)] = [
    (
      "[{ path: /healthz }]",
      "5:14: `listeners[0].checks[0]` lacks `from`: the load balancer's own addresses, such as `[10.0.0.0/24]`"
    ),
    (
      "[{ from: any, path: /healthz }]",
      "5:22: `checks` from everywhere would answer every client: name the load balancers' own addresses"
    ),
    (
      "[{ from: [\"::/0\"] }]",
      "5:23: `checks` from everywhere would answer every client: name the load balancers' own addresses"
    ),
    ("[{ from: [] }]", "5:22: expected `listeners[0].checks[0].from` to hold at least one range"),
    ("[{ from: [10.0.0.1, 10.0.0.1] }]", "5:33: `10.0.0.1/32` has a check in line 5 already; one range has one check"),
    (
      "[{ from: 10.0.0.1, path: healthz }]",
      "5:38: expected a path such as `/healthz`, of at most 256 bytes and without a query for `listeners[0].checks[0].path`, found `healthz`: did you mean `/healthz`?"
    ),
    (
      "[{ from: 10.0.0.1, path: \"/a?b\" }]",
      "5:38: expected a path such as `/healthz`, of at most 256 bytes and without a query for `listeners[0].checks[0].path`, found `/a?b`"
    ),
    ("[{ from: 10.0.0.1, paht: /a }]", "5:32: unknown key `paht` in `listeners[0].checks[0]`: did you mean `path`?"),
  ]

  @Test(arguments: wrong.indices)
  func aWrongCheckIsNamed(_ index: Int) {
    let found = findings(Self.document(checks: Self.wrong[index].checks))
    #expect(found.contains { $0 == "edge.yaml:\(Self.wrong[index].finding)" }, "\(found)")
  }

  @Test func aUnixSocketHasNoChecks() {
    let found = findings(Self.document(checks: "[{ from: 10.0.0.1 }]", listen: "unix:/run/a.sock"))
    #expect(found.contains { $0.contains("a unix socket's peers have no address") }, "\(found)")
  }

  @Test func theControlListenerIsAUnixSocket() {
    let found = findings(Self.document() + "\nadmin: { listen: \"127.0.0.1:1\", control: \"127.0.0.1:2\" }")
    #expect(found.contains { $0.contains("`admin.control` is a unix socket (`unix:PATH`)") }, "\(found)")
  }

  static let cutovers: [(rule: String, finding: String)] = [
    (
      "{ from: 10.0.0.1, evidence: socket, cutover: { also: socket, until: \"2026-12-01T00:00:00Z\" } }",
      "`cutover` is only used with `evidence: proxy-protocol`"
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, cutover: { also: socket, until: tomorrow } }",
      "expected a time in UTC such as `2026-12-01T00:00:00Z` for `listeners[0].trust[0].cutover.until`, found `tomorrow`"
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, cutover: { until: \"2026-12-01T00:00:00Z\" } }",
      "`listeners[0].trust[0].cutover` lacks `also`: what a peer is without its header: `socket`, the client itself"
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, cutover: { also: forwarded, until: \"2026-12-01T00:00:00Z\" } }",
      "expected `socket` for `listeners[0].trust[0].cutover.also`, found `forwarded`"
    ),
  ]

  @Test(arguments: cutovers.indices)
  func aWrongCutoverIsNamed(_ index: Int) {
    let found = findings(Self.document(rule: Self.cutovers[index].rule))
    #expect(found.contains { $0.hasSuffix(Self.cutovers[index].finding) }, "\(found)")
  }

  /// What `check --resolved` prints reads back to the same.
  @Test func bothAreWrittenAsTheyAreRead() throws {
    let text = Self.document(
      checks: "[{ from: [10.0.0.0/24, 2001:db8::1], path: /healthz }, { from: 10.0.1.1 }]",
      rule:
        "{ from: [10.0.9.0/24], evidence: proxy-protocol, cutover: { also: socket, until: \"2026-12-01T06:30:00Z\" } }")
    let config = try #require(ConfigReader.read(text: text, path: "/etc/edge.yaml").config)
    let again = ConfigReader.read(text: config.resolved(), path: "/etc/edge.yaml")
    #expect(try #require(again.config).withoutPlaces == config.withoutPlaces, "\(again.diagnostics)")
    #expect(config.listeners[0].checks.count == 2)
    #expect(config.listeners[0].trust[0].cutoverEndMilliseconds == 1_796_106_600_000)
  }

  // MARK: Times

  @Test(
    arguments: [
      ("1970-01-01T00:00:00Z", 0), ("2000-02-29T12:34:56Z", 951_827_696_000),
      ("2026-12-01T00:00:00Z", 1_796_083_200_000),
      ("2026-12-01T00:00:00.5Z", 1_796_083_200_500), ("2026-12-01T00:00:00.057Z", 1_796_083_200_057),
      ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ] as [(String, UInt64)])
  func aTimeIsRead(_ text: String, _ milliseconds: UInt64) {
    #expect(Timestamp.milliseconds(text) == milliseconds)
    if milliseconds % 1_000 == 0 { #expect(Timestamp.text(milliseconds: milliseconds) == text) }
  }

  @Test(arguments: [
    "", "2026-12-01", "2026-12-01T00:00:00", "2026-12-01T00:00:00+01:00", "2026-12-01 00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z", "2026-12-01T24:00:00Z", "2026-12-01T00:00:60Z", "1969-12-31T23:59:59Z",
    "2026-12-00T00:00:00Z",
    "2026-12-01T00:00:00.Z", "2026-12-01T00:00:00.1234Z", "2026-12-01T00:00:0aZ", "2026-12-01T00:00:00,5Z",
  ])
  func whatIsNoTimeIsNot(_ text: String) { #expect(Timestamp.milliseconds(text) == nil) }

  @Test(
    arguments: [
      (0, "less than a second"), (1_500, "1 second"), (61_000, "1 minute 1 second"), (3_600_000, "1 hour"),
      (2 * 86_400_000 + 3 * 3_600_000 + 59_000, "2 days 3 hours"),
    ] as [(UInt64, String)])
  func aSpanIsSaidInItsTwoGreatestUnits(_ milliseconds: UInt64, _ text: String) {
    #expect(Timestamp.span(milliseconds: milliseconds) == text)
  }
}
