// Routes that answer by themselves, and routes that ask for more than host and path, before and after an edit.

import Policy
import Testing

@Suite struct TrustDiffRouteTests {
  /// Edits of `Guarded.base`, whose routes stand in lines 24 and 25.
  static let edits: [TrustDiffTests.Edit] = [
    // A redirect lets pass what it would not change: what stands behind it is still reached, and compared.
    TrustDiffTests.Edit(
      "  - { path: /a, to: signed }\n  - { to: signed }\n",
      "  - { redirect: { scheme: https } }\n  - { to: plain }\n", ["weakens route 25>25"],
      ["strengthens route 25>25"]),
    TrustDiffTests.Edit("  - { path: /a, to: signed }\n", "  - { redirect: { scheme: https } }\n", [], []),
    // What is answered here tells nobody anything.
    TrustDiffTests.Edit(
      "{ path: /a, to: signed }", "{ path: /a, respond: { status: 404 } }", [], ["changes route 24>24"]),
    TrustDiffTests.Edit("{ path: /a, to: signed }", "{ path_prefix: /a, files: www }", [], []),
    // Other requests of the same path.
    TrustDiffTests.Edit(
      "{ path: /a, to: signed }", "{ path: /a, method: GET, to: plain }", ["weakens route 24>24"], []),
    TrustDiffTests.Edit(
      "{ path: /a, to: signed }", "{ client: [10.0.0.0/8], to: plain }", ["weakens route 24>24"], []),
    TrustDiffTests.Edit("{ path: /a, to: signed }", "{ path: /a, normalize: true, to: signed }", [], []),
    TrustDiffTests.Edit(
      "admin:", "path_mismatch: stricter\nadmin:", ["changes path-mismatch 1>30"], ["strengthens path-mismatch 30>1"]),
    // What is changed about requests on the way is nothing about who sent them.
    TrustDiffTests.Edit(
      "{ path: /a, to: signed }", "{ path: /a, to: signed, request_headers: { set: { X-A: $client } }, hsts: 1d }", [],
      []),
  ]

  @Test(arguments: edits) func anEditOfRoutesIsJudged(_ edit: TrustDiffTests.Edit) throws {
    let new = Guarded.edit(Guarded.base, edit.from, edit.to)
    #expect(try Guarded.brief(Guarded.changes(Guarded.base, new)) == edit.there)
    #expect(try Guarded.brief(Guarded.changes(new, Guarded.base)) == edit.back)
  }

  /// A page in front of a route that needs to tell clients apart joins nobody.
  @Test func aRouteThatAnswersHereNeedsNoDistinctClients() throws {
    let old = Guarded.edit(
      Guarded.base, "  - { path: /a, to: signed }\n",
      "  - { path: /a, to: signed, name: a, needs_distinct_clients: true }\n")
    let page = Guarded.edit(old, "routes:\n", "routes:\n  - { path_prefix: /, respond: { status: 503 } }\n")
    #expect(try Guarded.brief(Guarded.changes(old, page)) == [])
    let open = Guarded.edit(
      page, "{ path_prefix: /, respond: { status: 503 } }\n",
      "{ path_prefix: /, respond: { status: 503 } }\n  - { path_prefix: /b, to: signed }\n")
    #expect(try Guarded.brief(Guarded.changes(old, open)) == ["weakens distinct-clients 24>25"])
  }
}
