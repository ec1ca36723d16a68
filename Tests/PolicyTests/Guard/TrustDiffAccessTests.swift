// Who may take a route, before and after a reload.

import Policy
import Testing

@Suite struct TrustDiffAccessTests {
  private func yaml(_ routes: String...) -> String {
    "listeners: [{ name: web, listen: \"127.0.0.1:8080\" }]\nroutes:\n"
      + routes.map { "  - { \($0), to: app }\n" }.joined() + "upstreams: { app: { servers: [\"127.0.0.1:3000\"] } }\n"
  }

  struct Edit: Sendable, CustomTestStringConvertible {
    let from: String
    let to: String
    let there: [String]
    let back: [String]
    var testDescription: String { "\(from) -> \(to)" }
  }

  static let edits = [
    Edit(
      from: "allow: [192.0.2.0/24]", to: "allow: [192.0.2.0/25]", there: ["strengthens route-access 3>3"],
      back: ["weakens route-access 3>3"]),
    Edit(
      from: "allow: [192.0.2.0/24]", to: "allow: [192.0.3.0/24]", there: ["weakens route-access 3>3"],
      back: ["weakens route-access 3>3"]),
    Edit(
      from: "allow: [192.0.2.0/24]", to: "allow: [192.0.2.0/24], deny: [192.0.2.7]",
      there: ["strengthens route-access 3>3"], back: ["weakens route-access 3>3"]),
    Edit(
      from: "deny: [192.0.2.0/24]", to: "deny: [192.0.2.0/25, 192.0.2.128/25]", there: [], back: []),
    Edit(
      from: "htpasswd: a", to: "htpasswd: b", there: ["weakens route-password 3>3"],
      back: ["weakens route-password 3>3"]),
    Edit(
      from: "htpasswd: a", to: "htpasswd: a, realm: x", there: [], back: []),
    Edit(
      from: "htpasswd: a", to: "htpasswd: a, allow: [192.0.2.7]", there: ["strengthens route-access 3>3"],
      back: ["weakens route-access 3>3"]),
    Edit(
      from: "htpasswd: a", to: "allow: [192.0.2.7]",
      there: ["weakens route-password 3>3", "strengthens route-access 3>3"],
      back: ["weakens route-access 3>3", "strengthens route-password 3>3"]),
    Edit(
      from: "htpasswd: a", to: "htpasswd: a, pass_credentials: true", there: ["changes route-password 3>3"],
      back: ["changes route-password 3>3"]),
  ]

  @Test(arguments: edits)
  func anEditIsJudged(_ edit: Edit) throws {
    let (old, new) = (yaml("path: /a, access: { \(edit.from) }"), yaml("path: /a, access: { \(edit.to) }"))
    #expect(try Guarded.brief(Guarded.changes(old, new)) == edit.there)
    #expect(try Guarded.brief(Guarded.changes(new, old)) == edit.back)
  }

  /// `client` before a route that refuses the same requests is a rule of access.
  @Test(arguments: [
    // A wider range, and one beside it.
    (["client: [192.0.2.0/24], to", "403"], ["client: [192.0.2.0/23], to", "403"], ["weakens route-access 4>3"]),
    (["client: [192.0.2.0/24], to", "403"], ["client: [192.0.3.0/24], to", "403"], ["weakens route-access 4>3"]),
    (
      ["client: [192.0.2.0/24], to", "403"], ["client: [192.0.2.0/24], to", "client: [192.0.3.0/24], to", "403"],
      ["weakens route-access 4>3"]
    ),
    // The refusal is gone, or stands behind.
    (["client: [192.0.2.0/24], to", "404"], ["client: [192.0.2.0/24], to"], ["weakens route-access 4>3"]),
    (
      ["client: [192.0.2.0/24], to", "403"], ["to", "403"], ["weakens route-access 4>3", "changes route 4>3"]
    ),
    // Fewer.
    (
      ["client: [192.0.2.0/24], to", "403"], ["client: [192.0.2.0/25], to", "403"], ["strengthens route-access 4>3"]
    ),
    (["client: [192.0.2.0/24], to", "403"], ["client: [192.0.2.0/24], to", "404"], []),
    (["client: [192.0.2.0/25], to", "403"], ["client: [192.0.2.0/26], to", "client: [192.0.2.64/26], to", "403"], []),
    // No rule about who.
    (["404"], ["to"], ["changes route 3>3"]),
    (["client: [192.0.2.0/24], to", "503"], ["to"], ["changes route 4>3"]),
  ]) func aClientsRouteBeforeARefusalIsJudged(_ was: [String], _ now: [String], _ expected: [String]) throws {
    func yaml(_ routes: [String]) -> String {
      let lines = routes.map { route in
        route.contains("to") ? route.replacing("to", with: "to: app") : "respond: { status: \(route) }"
      }
      return "listeners: [{ name: web, listen: \"127.0.0.1:8080\" }]\nroutes:\n"
        + (lines.map { "  - { path_prefix: /admin, \($0) }\n" } + ["  - { to: app }\n"]).joined()
        + "upstreams: { app: { servers: [\"127.0.0.1:3000\"] } }\n"
    }
    #expect(try Guarded.brief(Guarded.changes(yaml(was), yaml(now))) == expected)
  }

  @Test func accessThatIsRemovedWeakens() throws {
    let old = yaml("path: /a, access: { allow: [192.0.2.0/24], htpasswd: a }", "path: /b")
    let new = yaml("path: /a", "path: /b")
    let changes = try Guarded.changes(old, new)
    #expect(Guarded.brief(changes) == ["weakens route-access 3>3", "weakens route-password 3>3"])
    #expect(changes[0].text.contains("may take the route `path /a` and could not before"), "\(changes[0].text)")
    #expect(changes[1].text == "the route `path /a` asks for no password")
  }

  /// Requests of a route that is gone may take the one behind it, and a route that is put in front may take its requests.
  @Test func anotherRouteThatAsksForLessWeakens() throws {
    let both = yaml("path_prefix: /a/, access: { allow: [192.0.2.0/24], htpasswd: a }", "path_prefix: /")
    #expect(
      try Guarded.brief(Guarded.changes(both, yaml("path_prefix: /"))) == [
        "weakens route-access 3>3", "weakens route-password 3>3",
      ])
    let front = yaml(
      "path: /a/x, name: new", "path_prefix: /a/, access: { allow: [192.0.2.0/24], htpasswd: a }", "path_prefix: /")
    #expect(
      try Guarded.brief(Guarded.changes(both, front)) == ["weakens route-access 3>3", "weakens route-password 3>3"])
    // One that asks for the same, or for more, does not; nor does one behind it, or one that is closed.
    for route in [
      "path: /a/x, access: { allow: [192.0.2.0/24], htpasswd: a }",
      "path: /a/x, access: { allow: [192.0.2.7], htpasswd: a }",
      "path: /a/x, enabled: false",
    ] {
      let front = yaml(route, "path_prefix: /a/, access: { allow: [192.0.2.0/24], htpasswd: a }", "path_prefix: /")
      #expect(try Guarded.changes(both, front).isEmpty, "\(route)")
    }
    let behind = yaml("path_prefix: /a/, access: { allow: [192.0.2.0/24], htpasswd: a }", "path: /c", "path_prefix: /")
    #expect(try Guarded.changes(both, behind).isEmpty)
  }

  @Test func aRouteIsCalledByItsName() throws {
    let changes = try Guarded.changes(
      yaml("path: /a, name: admin, access: { deny: [192.0.2.7] }"), yaml("path: /a, name: admin"))
    #expect(changes.map(\.text) == ["192.0.2.7 may take the route `admin` and could not before"])
  }
}
