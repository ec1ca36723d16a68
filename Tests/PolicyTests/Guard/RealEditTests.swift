// The six edits that have cost people their clients' addresses, each as it was made, and how the guard names it.

import Policy
import Testing

@Suite struct RealEditTests {
  /// The lines of each change that weakens.
  private func weaker(_ old: String, _ new: String) throws -> [[String]] {
    try Guarded.changes(old, new).filter { $0.effect == .weakens }
      .map { $0.lines(oldFile: "old.yaml", newFile: "new.yaml") }
  }

  private func edited(_ from: String, _ to: String) throws -> [[String]] {
    try weaker(Guarded.base, Guarded.edit(Guarded.base, from, to))
  }

  @Test func forwardedEvidenceBeforeProxy() throws {
    #expect(
      try edited("[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: forwarded") == [
        [
          "new.yaml:17: weakens trust (forwarded-before-proxy): listener `public`: 10.0.0.0/24: a PROXY header had to name "
            + "the client; now the field `x-forwarded-for` names the client, and a client that can write it through these "
            + "peers can be anybody",
          "  before: proxy-protocol (old.yaml:17)", "  after:  forwarded (x-forwarded-for) (new.yaml:17)",
        ]
      ])
  }

  @Test func aTrustedRangeThatGrew() throws {
    #expect(
      try edited("[10.0.0.0/24], evidence", "[10.0.0.0/24, 10.9.0.0/16], evidence") == [
        [
          "new.yaml:17: weakens trust (range-widened): listener `public`: 10.9.0.0/16: each peer was a client itself; now a "
            + "PROXY header names the client, and whoever sends one can name anybody",
          "  before: socket (old.yaml:22)", "  after:  proxy-protocol (new.yaml:17)",
        ]
      ])
  }

  /// The balancer has another subnet, or the list has: those who are not listed become one client, or are refused.
  @Test func aBalancersSubnetThatIsNotListed() throws {
    let moved = try edited("[10.0.0.0/24]", "[10.7.0.0/24]")
    #expect(
      moved[1] == [
        "new.yaml:22: weakens trust (balancer-unlisted): listener `public`: 10.0.0.0/24: a PROXY header had to name the "
          + "client, and no rule lists them any more: all who come through such a peer become one client, with the "
          + "peer's address",
        "  before: proxy-protocol (old.yaml:17)", "  after:  socket (new.yaml:22)",
      ])
    #expect(moved.map { $0[0].contains("(range-widened)") } == [true, false, false])

    // Where it is infrastructure, or the rule for the rest refuses, nobody is taken for another, and it is told all the same.
    let machinery = Guarded.edit(Guarded.base, "infrastructure: [172.16.0.0/12]", "infrastructure: [10.0.0.0/8]")
    let gone = Guarded.edit(machinery, "      - { from: [10.0.0.0/24], evidence: proxy-protocol }\n", "")
    let told = try Guarded.changes(machinery, gone)
    #expect(Guarded.brief(told) == ["changes balancer-unlisted 17>21"])
    #expect(told[0].text.contains("10.0.0.0/24 is infrastructure, so all who come through it are refused"))
    let closed = Guarded.edit(Guarded.base, "any, evidence: socket", "any, evidence: refuse")
    let refused = try Guarded.changes(closed, Guarded.edit(closed, "[10.0.0.0/24]", "[10.7.0.0/24]"))
    #expect(Guarded.brief(refused).contains("changes balancer-unlisted 17>22"))
  }

  @Test func aHeaderThatWasRenamed() throws {
    #expect(
      try edited("evidence: forwarded, hops: [192.0.2", "evidence: forwarded, header: forwarded, hops: [192.0.2") == [
        [
          "new.yaml:18: weakens trust (header-renamed): listener `public`: 10.0.1.0/24: the client was read from "
            + "`x-forwarded-for`, and now from `forwarded`: a field that the proxy in front does not write itself is the "
            + "client's to write",
          "  before: forwarded (x-forwarded-for), hops 192.0.2.0/24 (old.yaml:18)",
          "  after:  forwarded (forwarded), hops 192.0.2.0/24 (new.yaml:18)",
        ]
      ])
  }

  @Test(arguments: [
    ("[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: socket"),
    ("proxy_protocol: required", "proxy_protocol: off"), ("proxy_protocol: v2", "proxy_protocol: off"),
  ]) func proxyThatIsSwitchedOffOnOneSide(from: String, to: String) throws {
    #expect(try edited(from, to).first?.first?.contains("weakens trust (proxy-switched-off): ") == true)
  }

  @Test func anUpstreamFromAttestToPlain() throws {
    #expect(
      try edited("secure: { identity: attest, audience: app-1", "secure: { identity: plain") == [
        [
          "new.yaml:28: weakens trust (attest-to-plain): upstream `secure`: the client's address was signed, and now goes in "
            + "plain fields that whoever reaches the servers can write",
          "  before: attest (old.yaml:28)", "  after:  plain (new.yaml:28)",
        ]
      ])
  }
}
