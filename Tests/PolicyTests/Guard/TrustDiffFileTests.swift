// Files that a configuration names count by what is in them: keys that may verify, and authorities.

import Foundation
import Platform
import Policy
import Testing
import Wire

@Suite struct TrustDiffFileTests {
  private static func key(_ id: String) throws -> KeySet.Key { try KeySet.newKey(id: id, algorithm: .hmac) }

  private func brief(_ old: [KeySet.Key], _ new: [KeySet.Key], path: String? = nil) throws -> [String] {
    let yaml = path.map { Guarded.edit(Guarded.base, "k.jwks.json", $0) } ?? Guarded.base
    return TrustDiff.compare(
      old: try Guarded.boundary(Guarded.base, keys: try KeySet(old, source: "old")),
      new: try Guarded.boundary(yaml, keys: try KeySet(new, source: "new"))
    ).map { "\($0.effect.text) \($0.kind.rawValue) \($0.text.prefix { $0 != ":" })" }
  }

  @Test func aRotationIsToldAndNothingElseOfTheKindPasses() throws {
    let (one, two) = (try Self.key("k1"), try Self.key("k2"))
    #expect(try brief([one], [one]) == [])
    #expect(
      try brief([one], [one, two]) == [
        "changes keys whoever has the key k2 (http) may name any client",
        "changes keys whoever has the key k2 (pp2) may name any client",
      ])
    #expect(
      try brief([one, two], [two]) == [
        "strengthens keys what the key k1 (http) signs is refused",
        "strengthens keys what the key k1 (pp2) signs is refused",
      ])
    // Another file, another set, another key under the old name.
    #expect(try brief([one], [one, two], path: "other.json").filter { $0.hasPrefix("weakens keys") }.count == 2)
    #expect(try brief([one], [two]).filter { $0.hasPrefix("weakens keys") }.count == 2)
    #expect(
      try brief([one], [try Self.key("k1")]) == [
        "weakens keys the key k1 (http) is another one under the same name",
        "weakens keys the key k1 (pp2) is another one under the same name",
      ])
  }

  @Test func theSameKeyDerivedIsTheSame() throws {
    let one = try Self.key("k1")
    let derived = try KeySet([one], source: "edge").exported(for: "v-1")
    #expect(try brief([one], derived.keys) == [])
  }

  @Test func aKeyThatIsGoodForLongerWeakens() throws {
    var (one, longer) = (try Self.key("k1"), try Self.key("k2"))
    one.expires = 2_000
    longer = one
    longer.expires = nil
    #expect(
      try brief([one], [longer]) == [
        "weakens key-lifetime the key k1 (http) is good for a longer time",
        "weakens key-lifetime the key k1 (pp2) is good for a longer time",
      ])
    #expect(try brief([longer], [one]).allSatisfy { $0.hasPrefix("strengthens key-lifetime") })
  }

  /// A revocation list in DER (RFC 5280 section 5.1), base64, with one certificate in it. Nothing looks at its signature here.
  private static func list(of authority: String, day: Int, entry: UInt8) -> String {
    func value(_ tag: UInt8, _ parts: [UInt8]...) -> [UInt8] {
      let bytes = parts.flatMap { $0 }
      return [tag, UInt8(bytes.count)] + bytes
    }
    func time(_ day: Int) -> [UInt8] { value(0x17, Array("2611\(10 + day)000000Z".utf8)) }
    let ecdsa = value(0x30, value(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]))
    let name = value(
      0x30, value(0x31, value(0x30, value(0x06, [0x55, 0x04, 0x03]), value(0x0c, Array(authority.utf8)))))
    let revoked = value(0x30, value(0x30, value(0x02, [entry + 1]), time(0)))
    let body = value(0x30, value(0x02, [1]), ecdsa, name, time(day), time(day + 1), revoked)
    let der = value(0x30, body, ecdsa, value(0x03, [0, 1]))
    return Data(der).base64EncodedString()
  }

  /// In an upgrade the new process compares with what the old one names.
  @Test func revocationListsAreComparedInAnUpgradeAsInAReload() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func boundary(day: Int) throws -> TrustBoundary {
      let list = "-----BEGIN X509 CRL-----\n\(Self.list(of: "a", day: day, entry: 0))\n-----END X509 CRL-----\n"
      for file in ["clients.pem", "up.pem"] {
        try PrivateFile.write(Array(list.utf8), to: "\(directory)/\(file)", existing: .replace)
      }
      return try Guarded.boundary(Guarded.base, path: "\(directory)/edge.yaml")
    }
    func carried(day: Int, change: (inout HandoverState) -> Void = { _ in }) throws -> TrustBoundary {
      var state = HandoverState()
      try boundary(day: day).write(to: &state)
      change(&state)
      return try TrustBoundary(HandoverState(state.bytes))
    }
    func effects(_ old: TrustBoundary, day: Int) throws -> [String] {
      let new = try boundary(day: day)
      return TrustDiff.compare(old: old, new: new).map { "\($0.effect.text) \($0.kind.rawValue)" }
    }
    #expect(try effects(carried(day: 2), day: 2) == [])
    #expect(try effects(carried(day: 2), day: 3).allSatisfy { $0.hasPrefix("strengthens") })
    let both = ["weakens client-authorities", "weakens upstream-authorities"]
    #expect(try effects(carried(day: 2), day: 1) == both)
    // One of an earlier version names no time.
    let unknown = try carried(day: 2) { $0.revocationLists = [] }
    #expect(try effects(unknown, day: 2) == [])
    #expect(try effects(unknown, day: 3) == both)
  }

  @Test func authoritiesCountByTheirCertificates() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("countersign-\(UUID())").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func block(_ name: String, label: String = "CERTIFICATE") -> String {
      "-----BEGIN \(label)-----\n\(name)\n-----END \(label)-----\n"
    }
    func boundary(_ clients: String) throws -> TrustBoundary {
      for (file, text) in [("clients.pem", clients), ("up.pem", block("up"))] {
        try? FileManager.default.removeItem(atPath: "\(directory)/\(file)")
        try PrivateFile.write(Array(text.utf8), to: "\(directory)/\(file)", existing: .refuse)
      }
      return try Guarded.boundary(Guarded.base, path: "\(directory)/edge.yaml")
    }
    func brief(_ old: String, _ new: String, areAlike: Bool = false) throws -> [String] {
      let was = try boundary(old)
      let now = try boundary(new)
      #expect(now.authoritiesAreUnchanged && was.authoritiesAreUnchanged == (areAlike || old == new))
      return Guarded.brief(TrustDiff.compare(old: was, new: now))
    }
    let both = "a comment\n" + block("one") + block("two")
    #expect(try brief(both, both) == [])
    #expect(try brief(both, block("two")) == ["strengthens client-authorities 15>15"])
    #expect(try brief(block("two"), both) == ["weakens client-authorities 15>15"])
    #expect(try brief(block("one"), block("two")) == ["weakens client-authorities 15>15"])
    // Revocation lists: which are there before and after, by their authority and the day on which they were made.
    func lists(_ all: [(authority: String, day: Int, entry: UInt8)]) -> String {
      both + all.map { block(Self.list(of: $0.authority, day: $0.day, entry: $0.entry), label: "X509 CRL") }.joined()
    }
    let (weaker, stronger) = (["weakens client-authorities 15>15"], ["strengthens client-authorities 15>15"])
    #expect(try brief(lists([("a", 1, 0)]), both) == weaker, "gone")
    let unread = both + block("?", label: "X509 CRL")
    #expect(try brief(unread, unread) == weaker, "not known to be the same")
    let large = String(repeating: "# More than a file has that nobody adds revocation lists to.\n", count: 300_000)
    #expect(try brief(large + both, large + both) == [])
    #expect(try brief(large + block("two"), large + both) == weaker, "17 MiB")
    // What libssl may read otherwise is not known to be the same, nor what another certificate could hide behind.
    let mark = "\u{feff}"
    for odd in [
      block("one") + mark + block("two"), block("one") + "# \(String(repeating: "x", count: 252))" + block("two"),
      block("one") + "#\r" + block("two"), block("one") + "# \0\n" + block("two"),
      block("one").replacingOccurrences(of: "CERTIFICATE-----\n", with: "CERTIFICATE----- off\n") + block("two"),
      block("one\n\ntwo"), block("one: 1\ntwo"), block("one\n" + block("two")),
      both + "-----BEGIN CERTIFICATE-----\none",
      both + "-----END CERTIFICATE-----\n", both + "# -----BEGIN CERTIFICATE-----\n",
      "-----BEGIN CERTIFICATE-----\none\n-----END X509 CRL-----\n",
      block(String(repeating: "A", count: 300)),
    ] {
      #expect(try brief(odd, odd) == weaker, "\(odd)")
      #expect(try brief(odd, both) == weaker, "\(odd)")
    }
    #expect(try brief(mark + both, both, areAlike: true) == [])
    #expect(try brief(both.replacingOccurrences(of: "\n", with: " \r\n"), both, areAlike: true) == [])
    let key = block("Proc-Type: 4,ENCRYPTED\n\none", label: "EC PRIVATE KEY")
    #expect(try brief(both + key, both + key) == [])
    #expect(try brief(both, lists([("a", 1, 0)])) == stronger)
    #expect(try brief(lists([("a", 1, 0)]), lists([("a", 2, 0)])) == stronger, "replaced before its time is over")
    #expect(try brief(lists([("a", 2, 0)]), lists([("a", 1, 0)])) == weaker, "an older one is back")
    #expect(try brief(lists([("a", 1, 0)]), lists([("a", 1, 1)])) == weaker, "which of them is later is not known")
    #expect(try brief(lists([("a", 1, 0)]), lists([("b", 2, 0)])) == weaker, "another authority's")
    #expect(try brief(lists([("a", 1, 0), ("b", 5, 0)]), lists([("b", 5, 0), ("a", 2, 0)])) == stronger)
    // An authority may have several, each for some of its certificates.
    #expect(try brief(lists([("a", 1, 0), ("a", 5, 0)]), lists([("a", 6, 0), ("a", 2, 0)])) == stronger)
    #expect(try brief(lists([("a", 1, 0), ("a", 5, 0)]), lists([("a", 6, 0)])) == weaker)
    #expect(try brief(lists([("a", 1, 0), ("a", 5, 0)]), lists([("a", 6, 0), ("a", 0, 0)])) == weaker)
    // What cannot be read is not known to be as strict.
    #expect(try brief(both, both + block("cg==", label: "X509 CRL")) == weaker)
    let upstream = try boundary(both)
    try PrivateFile.write(Array(block("other").utf8), to: "\(directory)/up.pem", existing: .replace)
    let changed = TrustDiff.compare(
      old: upstream, new: try Guarded.boundary(Guarded.base, path: "\(directory)/edge.yaml"))
    #expect(Guarded.brief(changed) == ["weakens upstream-authorities 28>28"])
  }
}
