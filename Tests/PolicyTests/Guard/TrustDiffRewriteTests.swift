// Routes are chosen by the path as it was sent; `strip_prefix` and `rewrite` lead to another one at the servers. One that leads to what another route keeps
// is a way around that route.

import Policy
import Testing

@Suite struct TrustDiffRewriteTests {
  private func yaml(_ routes: [String]) -> String {
    "listeners: [{ name: web, listen: \"127.0.0.1:8080\" }]\nroutes:\n"
      + routes.map { "  - { \($0.contains("to:") || $0.contains("respond:") ? $0 : "\($0), to: app") }\n" }.joined()
      + "upstreams:\n  app: { servers: [\"127.0.0.1:3000\"] }\n  twin: { servers: [\"127.0.0.1:3000\"] }\n"
      + "  other: { servers: [\"127.0.0.1:3001\"] }\n"
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let was: [String]
    let now: [String]
    /// What is told of `route-rewrite`.
    let expected: [String]
    var testDescription: String { "\(was) -> \(now)" }

    init(_ was: [String], _ now: [String], _ expected: [String]) {
      (self.was, self.now, self.expected) = (was, now, expected)
    }
  }

  private static let weakens = ["weakens route-rewrite"]
  private static let changes = ["changes route-rewrite"]
  private static let kept = "path_prefix: /admin, access: { allow: [192.0.2.0/24] }"
  private static let pub = "path_regex: '/pub/(.*)'"

  static let ways: [Case] = [
    // Into what a route keeps, below it, and to what may be it.
    Case([kept, pub], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /admin"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /admin/users/$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /adm$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: '/admin?x=$1'"], weakens),
    // However it is written.
    Case([kept, pub], [kept, "\(pub), rewrite: /%61dmin/$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /x/../admin/$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /x//../$1"], weakens),
    Case([kept, pub], [kept, "\(pub), rewrite: /%6$1"], weakens),
    Case([kept, "path_prefix: /pub"], [kept, "path_prefix: /pub, strip_prefix: /pub"], weakens),
    Case([kept, "path_prefix: /x/admin"], [kept, "path_prefix: /x/admin, strip_prefix: /x"], weakens),
    // Whatever keeps it.
    Case(
      ["path: /a, access: { htpasswd: users }", pub], ["path: /a, access: { htpasswd: users }", "\(pub), rewrite: /a"],
      weakens),
    Case(
      ["path: /a, access: { htpasswd: users }", pub],
      ["path: /a, access: { htpasswd: users }", "\(pub), access: { htpasswd: others }, rewrite: /a"], weakens),
    Case(
      ["path: /a, needs_distinct_clients: true", pub],
      ["path: /a, needs_distinct_clients: true", "\(pub), rewrite: /a"], weakens),
    Case(
      ["path_regex: '/a.?b', access: { deny: [192.0.2.1] }", pub],
      ["path_regex: '/a.?b', access: { deny: [192.0.2.1] }", "\(pub), rewrite: /axb"], weakens),
    Case(
      [
        "path_prefix: /admin, client: [192.0.2.0/24]", "path_prefix: /admin, respond: { status: 403 }",
        "path_prefix: /",
      ],
      [
        "path_prefix: /admin, client: [192.0.2.0/24]", "path_prefix: /admin, respond: { status: 403 }",
        "\(pub), rewrite: /admin/$1", "path_prefix: /",
      ],
      weakens),
    Case(
      ["path_prefix: /admin, client: [192.0.2.0/24]", pub],
      ["path_prefix: /admin, client: [192.0.2.0/24]", "\(pub), rewrite: /admin/$1"],
      weakens),
    // A new route, in front and behind; another order; the same servers under another name.
    Case([kept, "path_prefix: /"], ["\(pub), rewrite: /admin/$1", kept, "path_prefix: /"], weakens),
    Case([kept], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case(
      [kept, "path_prefix: /x, strip_prefix: /x, to: other"], [kept, "path_prefix: /x, strip_prefix: /x, to: twin"],
      weakens),
    Case([kept, pub], [kept, "\(pub), to: twin, rewrite: /admin/$1"], weakens),
    // By another rewrite, too: one that was kept, and one that is taken away.
    Case(
      ["path: /secret, access: { allow: [192.0.2.1] }, rewrite: /inner", pub],
      ["path: /secret, access: { allow: [192.0.2.1] }, rewrite: /inner", "\(pub), rewrite: /inner"], weakens),
    Case(
      ["path: /secret, client: [192.0.2.1], rewrite: /inner", pub],
      ["path: /secret, client: [192.0.2.1], rewrite: /inner", "\(pub), rewrite: /inner"], weakens),
    Case(
      ["path: /secret, access: { allow: [192.0.2.1] }, rewrite: /inner", "path: /inner, rewrite: /page"],
      ["path: /secret, access: { allow: [192.0.2.1] }, rewrite: /inner", "path: /inner"], weakens),
    // It was there and led nowhere: it was closed, answered here, or went elsewhere.
    Case(
      [kept, "\(pub), enabled: false, rewrite: /admin/$1"], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case([kept, "\(pub), respond: { status: 404 }"], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case([kept, "\(pub), to: other, rewrite: /admin/$1"], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    // It was for other requests.
    Case([kept, "\(pub), client: [192.0.2.1], rewrite: /admin/$1"], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case(
      ["host: a.test, \(kept)", "host: b.test, \(pub), rewrite: /admin/$1"],
      ["host: a.test, \(kept)", "\(pub), rewrite: /admin/$1"], weakens),
    // With the route that kept it, which is gone.
    Case([kept, pub], ["\(pub), rewrite: /admin/$1"], weakens),
    // It asks for something, and for less.
    Case([kept, pub], [kept, "\(pub), access: { allow: [192.0.2.0/23] }, rewrite: /admin/$1"], weakens),
    Case([kept, "\(pub), rewrite: /x/$1"], [kept, "\(pub), rewrite: /admin/$1"], weakens),
    Case(
      [kept, "path_regex: '/p/([0-9]+)', rewrite: /admin/$1"], [kept, "path_regex: '/p/(.*)', rewrite: /admin/$1"],
      weakens),
    Case(
      [kept, "\(pub), access: { allow: [192.0.2.1] }, rewrite: /admin/$1"],
      [kept, "path_regex: '/p/(.*)', rewrite: /admin/$1"], weakens),
  ]

  static let honest: [Case] = [
    // Elsewhere, and to what needs as little.
    Case([kept, pub], [kept, "\(pub), rewrite: /new/$1"], changes),
    Case([kept, pub], [kept, "\(pub), rewrite: /administration/$1"], changes),
    Case([kept, pub], [kept, "\(pub), rewrite: '/index?page=/admin/$1'"], changes),
    Case([kept, "\(pub), rewrite: /a/$1"], [kept, "\(pub), rewrite: /b/$1"], changes),
    Case([kept, "\(pub), rewrite: /a/$1"], [kept, pub], changes),
    Case(["path_prefix: /admin", pub], ["path_prefix: /admin", "\(pub), rewrite: /admin/$1"], changes),
    Case(["path_prefix: /api"], ["path_prefix: /api, strip_prefix: /api"], changes),
    Case(["path_prefix: /api, strip_prefix: /api"], ["path_prefix: /api"], changes),
    // It asks for as much, or for more.
    Case([kept, pub], [kept, "\(pub), access: { allow: [192.0.2.0/24] }, rewrite: /admin/$1"], changes),
    Case([kept, "\(pub), client: [192.0.2.1]"], [kept, "\(pub), client: [192.0.2.1], rewrite: /admin/$1"], changes),
    Case([kept, pub], ["path_prefix: /admin, access: { allow: [192.0.2.0/24] }, strip_prefix: /admin", pub], changes),
    // Other servers.
    Case([kept, "\(pub), to: other"], [kept, "\(pub), to: other, rewrite: /admin/$1"], changes),
    Case(
      [
        "path_prefix: /admin, client: [192.0.2.0/24]", "path_prefix: /admin, respond: { status: 403 }",
        "\(pub), to: other",
      ],
      [
        "path_prefix: /admin, client: [192.0.2.0/24]", "path_prefix: /admin, respond: { status: 403 }",
        "\(pub), to: other, rewrite: /admin/$1",
      ],
      changes),
    // What a route in front took whoever asked.
    Case(["path: /admin/logo", kept, pub], ["path: /admin/logo", kept, "\(pub), rewrite: /admin/logo"], changes),
    Case(
      ["path_prefix: /admin, respond: { status: 404 }", pub],
      ["path_prefix: /admin, respond: { status: 404 }", "\(pub), rewrite: /admin/$1"], changes),
    // Other requests.
    Case(
      ["host: a.test, \(kept)", "host: b.test, path_prefix: /"],
      ["host: a.test, \(kept)", "host: b.test, path_prefix: /pub, strip_prefix: /pub", "host: b.test, path_prefix: /"],
      []),
    Case(
      ["method: POST, \(kept)", "method: GET, \(pub)"],
      ["method: POST, \(kept)", "method: GET, \(pub), rewrite: /admin/$1"], changes),
    // The same again: elsewhere in the list, under other patterns, with another name, narrower.
    Case(["\(pub), rewrite: /admin/$1", kept], [kept, "\(pub), rewrite: /admin/$1"], []),
    Case([kept, "\(pub), rewrite: /admin/$1"], [kept, "path_regex: '/p/(.*)', rewrite: /admin/$1"], []),
    Case([kept, "path_prefix: /pub, strip_prefix: /pub"], [kept, "path_prefix: /public, strip_prefix: /public"], []),
    Case([kept, "\(pub), rewrite: /admin/$1"], [kept, "\(pub), name: pub, rewrite: /admin/$1"], []),
    Case(
      [kept, "path_prefix: /pub, strip_prefix: /pub"],
      [kept, "path_prefix: /pub, strip_prefix: /pub", "path_prefix: /x, rewrite: /admin"], []),
    // With the route that keeps it.
    Case(
      [kept, "path_prefix: /"],
      [
        kept, "path_prefix: /api/admin, strip_prefix: /api, access: { allow: [192.0.2.0/24] }",
        "path_prefix: /api, strip_prefix: /api", "path_prefix: /",
      ],
      []),
    Case(
      [kept, "path_prefix: /"],
      [
        kept, "path_prefix: /api/admin, respond: { status: 403 }", "path_prefix: /api, strip_prefix: /api",
        "path_prefix: /",
      ], []),
    // One that is closed leads nowhere.
    Case([kept, pub], [kept, "\(pub), enabled: false, rewrite: /admin/$1"], []),
    Case([kept, pub], [kept, "\(pub), request_headers: { set: { X-A: b } }"], []),
  ]

  @Test(arguments: ways + honest) func aChangedPathIsHeldAgainstWhatWasAskedForIt(_ edit: Case) throws {
    let changes = try Guarded.changes(yaml(edit.was), yaml(edit.now))
    let told = changes.filter { $0.kind == .routeRewrite }
    #expect(told.map { "\($0.effect.text) \($0.kind.rawValue)" } == edit.expected)
    // Other kinds do not tell the same again where nothing weakens here.
    if edit.expected != Self.weakens { #expect(!changes.contains { $0.effect == .weakens }, "\(changes.map(\.text))") }
  }

  @Test func itIsToldWhichRouteIsPassedBy() throws {
    let old = yaml(["name: admin, \(Self.kept)", Self.pub])
    let changes = try Guarded.changes(
      old, yaml(["name: admin, \(Self.kept)", "name: pub, \(Self.pub), rewrite: /admin/$1"]))
    #expect(Guarded.brief(changes) == ["weakens route-rewrite 4>4"])
    #expect(
      changes[0].text
        == "the route `pub` asks the upstream `app` for /admin/…, which may be what the route `admin` asks more for (`access`)"
    )
    #expect(changes[0].old.text == "the path as it came" && changes[0].new.text == "rewrite: /admin/$1")
  }

  /// What was accepted is one path, and one other route.
  @Test func theHashIsOfThePath() throws {
    func hash(_ kept: String, _ rewrite: String) throws -> String? {
      let old = yaml([kept, Self.pub])
      return try WeakerHash.of(Guarded.changes(old, yaml([kept, "\(Self.pub), rewrite: \(rewrite)"])))
    }
    let one = try hash(Self.kept, "/admin/$1")
    #expect(try one != nil && one == hash(Self.kept, "/admin/$1"))
    #expect(try one != hash(Self.kept, "/admin/x/$1"))
    #expect(try one != hash("path_prefix: /admin, access: { allow: [192.0.2.0/25] }", "/admin/$1"))
  }
}
