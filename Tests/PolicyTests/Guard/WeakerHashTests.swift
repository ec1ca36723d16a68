// The hash by which a weakening of trust is accepted: for exactly that change, wherever it stands.

import Policy
import Testing

@Suite struct WeakerHashTests {
  private func hash(_ edits: (String, String)..., comment: String = "") throws -> String? {
    var new = Guarded.base
    for (from, to) in edits { new = Guarded.edit(new, from, to) }
    return try WeakerHash.of(Guarded.changes(Guarded.base, comment + new))
  }

  private let header = ("evidence: forwarded, hops: [192.0.2", "evidence: forwarded, header: forwarded, hops: [192.0.2")
  private let skew = ("clock_skew: 2s", "clock_skew: 3s")

  @Test func itIsTheSameWhereverTheChangeStands() throws {
    // If this changes, what operators wrote into their files is accepted no more.
    let expected = "3748f6490f0bb151"
    let found = try hash(header)
    #expect(found == expected)
    #expect(try hash(header, comment: "# before\n\n") == expected)
    // What does not weaken does not count.
    #expect(try hash(header, ("edges: [edge-b]", "edges: [edge-b] # still")) == expected)
  }

  @Test func itIsForExactlyThatChange() throws {
    let hashes = [
      try hash(header), try hash(skew), try hash(header, skew), try hash(("clock_skew: 2s", "clock_skew: 4s")),
      try hash(("[10.0.0.0/24]", "[10.0.0.0/24, 10.9.0.0/16]")),
      try hash(("[10.0.0.0/24]", "[10.0.0.0/24, 10.9.0.0/17]")),
      try hash(("name: public", "name: web"), header), try hash(("edges: [edge-b]", "edges: [edge-b, edge-c]")),
      try hash(("edges: [edge-b]", "edges: [edge-b, edge-d]")), try hash(("edges: [edge-b]", "edges: []")),
    ]
    #expect(Set(hashes).count == hashes.count)
    #expect(hashes.allSatisfy { $0.map(WeakerHash.isOne) == true })
  }

  /// What is compared as a whole is in the hash as a whole.
  @Test func aNewListenerIsAcceptedAsItIs() throws {
    func added(_ more: String) -> (String, String) {
      ("routes:", #"  - { name: two, listen: "127.0.0.1:80", \#(more) }"# + "\nroutes:")
    }
    func moved(_ range: String) throws -> String? {
      let unix = Guarded.edit(Guarded.base, #""127.0.0.1:8443""#, #""unix:/run/public""#)
      return try WeakerHash.of(Guarded.changes(unix, Guarded.edit(Guarded.base, "[10.0.0.0/24]", range)))
    }
    let hashes = [
      try hash(added("trust: [{ from: [10.0.0.9], evidence: proxy-protocol }]")),
      try hash(added("trust: [{ from: [10.0.0.8], evidence: proxy-protocol }]")),
      try hash(added("tls: [{ certificate: a, key: b }], trust: [{ from: [10.0.0.8], evidence: proxy-protocol }]")),
      try hash((#""127.0.0.1:8443""#, #""192.0.2.1:8443""#)), try moved("[10.0.0.0/24]"), try moved("[10.0.0.0/16]"),
    ]
    #expect(Set(hashes).count == hashes.count && !hashes.contains(nil), "\(hashes)")
  }

  /// Where it is not certain which requests they are, it depends on every route: also where there are so many that a digest stands for them.
  @Test(arguments: [3, 400]) func whatMayTakeAnyRouteIsAcceptedForTheseRoutesAlone(count: Int) throws {
    func routes(_ end: String, _ other: Int? = nil, _ change: String = "") -> String {
      let all = (0..<count).map { i in
        "  - { path_regex: \"^/r\(i)/[a-\(end)]+$\", to: signed, access: { deny: [10.0.0.0/8] }\(i == other ? change : "") }\n"
      }
      return Guarded.edit(Guarded.base, "  - { path: /a, to: signed }\n", all.joined())
    }
    func accepted(_ other: Int?, _ change: String) throws -> String? {
      let changes = try Guarded.changes(routes("z"), routes("y", other, change))
      let uncertain = changes.filter { $0.kind == .routeAccess && $0.text.contains("may take") }
      #expect(uncertain.count == count, "each may take another one")
      return try WeakerHash.of(uncertain)
    }
    let plain = try accepted(nil, "")
    #expect(try plain != nil && plain == accepted(nil, ""))
    for other in [0, count / 2, count - 1] {
      #expect(try accepted(other, ", host: \"x.test\"") != plain, "route \(other)")
    }
  }

  @Test func nothingThatWeakensHasNone() throws {
    #expect(try hash() == nil)
    #expect(try hash(("clock_skew: 2s", "clock_skew: 1s"), ("sign_with: k1", "sign_with: k2")) == nil)
  }

  @Test(arguments: ["0123456789abcdef", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg"])
  func theKeyTakesSixteenDigits(text: String) throws {
    let found = findings(minimal("accept_weaker: \(text)\n"))
    guard text != "0123456789abcdef" else {
      #expect(found == [])
      #expect(try config(minimal("accept_weaker: \(text)\n")).acceptWeaker == text)
      return
    }
    let suggestion = text.contains("A") ? ": did you mean `0123456789abcdef`?" : ""
    #expect(
      found == [
        "4:16: expected the 16 digits 0-9, a-f that `check --against` printed for `accept_weaker`, found `\(text)`"
          + suggestion
      ])
  }
}
