// Files that a configuration names count by what is in them: keys that may verify, and authorities.

import Foundation
import Platform
import Policy
import Testing

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
    func brief(_ old: String, _ new: String) throws -> [String] {
      let was = try boundary(old)
      let now = try boundary(new)
      #expect(now.authoritiesAreUnchanged && was.authoritiesAreUnchanged == (old == new))
      return Guarded.brief(TrustDiff.compare(old: was, new: now))
    }
    let both = "a comment\n" + block("one") + block("two")
    #expect(try brief(both, both) == [])
    #expect(try brief(both, block("two")) == ["strengthens client-authorities 15>15"])
    #expect(try brief(block("two"), both) == ["weakens client-authorities 15>15"])
    #expect(try brief(block("one"), block("two")) == ["weakens client-authorities 15>15"])
    // A revocation list that is gone.
    #expect(try brief(both + block("r", label: "X509 CRL"), both) == ["weakens client-authorities 15>15"])
    // One that comes, or that is replaced, as each is before its time is over.
    #expect(try brief(both, both + block("r", label: "X509 CRL")) == ["strengthens client-authorities 15>15"])
    #expect(
      try brief(both + block("r", label: "X509 CRL"), both + block("s", label: "X509 CRL")) == [
        "strengthens client-authorities 15>15"
      ])
    let upstream = try boundary(both)
    try PrivateFile.write(Array(block("other").utf8), to: "\(directory)/up.pem", existing: .replace)
    let changed = TrustDiff.compare(
      old: upstream, new: try Guarded.boundary(Guarded.base, path: "\(directory)/edge.yaml"))
    #expect(Guarded.brief(changed) == ["weakens upstream-authorities 28>28"])
  }
}
