// Sets of addresses, and rules compared over the whole space: held against asking for one address after another.

import Policy
import TestSupport
import Testing
import Wire

@Suite struct AddressSetTests {
  /// Ranges within a few addresses, so that they meet and overlap often, and addresses around them.
  private struct Draw {
    var random: Seeded

    mutating func prefix() -> IPPrefix {
      let length = Int.random(in: 26...32, using: &random)
      let host = UInt32.random(in: 0..<64, using: &random)
      let address = (0x0a00_0000 | host) & (UInt32.max << UInt32(32 - length))
      let isV6 = Bool.random(using: &random)
      let value = isV6 ? IPAddress(v6High: 0x2001_0db8 << 32, v6Low: UInt64(address)) : IPAddress(v4: address)
      return IPPrefix(value, length: isV6 ? length + 96 : length)!
    }

    mutating func prefixes() -> [IPPrefix] { (0..<Int.random(in: 0...6, using: &random)).map { _ in prefix() } }

    static let addresses = (0..<70).flatMap { i in
      [
        IPAddress(v4: 0x0a00_0000 + UInt32(i) - 3),
        IPAddress(v6High: 0x2001_0db8 << 32, v6Low: 0x0a00_0000 + UInt64(i) - 3),
      ]
    }
  }

  @Test func setsAreWhatTheirRangesAre() {
    var draw = Draw(random: Seeded(7))
    for _ in 0..<500 {
      let (a, b) = (draw.prefixes(), draw.prefixes())
      let (setA, setB) = (AddressSet(a), AddressSet(b))
      for address in Draw.addresses {
        let (inA, inB) = (a.contains { $0.contains(address) }, b.contains { $0.contains(address) })
        #expect(setA.contains(address) == inA)
        #expect(setA.union(setB).contains(address) == (inA || inB))
        #expect(setA.subtracting(setB).contains(address) == (inA && !inB))
        #expect(setA.intersection(setB).contains(address) == (inA && inB))
      }
      #expect(AddressSet(setA.prefixes) == setA)
      #expect(setA.subtracting(setA).isEmpty)
    }
  }

  @Test(arguments: [
    (["0.0.0.0/0"], "0.0.0.0/0"), (["::/0"], "::/0"), (["10.0.0.0/25", "10.0.0.128/25"], "10.0.0.0/24"),
    (["10.0.0.1/32", "2001:db8::1/128"], "10.0.0.1, 2001:db8::1"), (["255.255.255.255/32"], "255.255.255.255"),
    (["1.0.0.0/8", "3.0.0.0/8", "5.0.0.0/8", "7.0.0.0/8", "9.0.0.0/8"], "1.0.0.0/8, 3.0.0.0/8, 5.0.0.0/8 and 2 more"),
    (["0.0.0.0/0", "10.0.0.0/8"], "0.0.0.0/0"), (["::/1", "8000::/1"], "::/0"),
  ]) func theirTextIsShort(ranges: [String], text: String) throws {
    #expect(AddressSet(try ranges.map { try #require(IPPrefix($0)) }).text == text)
  }

  @Test func theWholeSpaceWithoutARangeIsTheRest() throws {
    let all = AddressSet([try #require(IPPrefix("0.0.0.0/0"))])
    let rest = all.subtracting(AddressSet([try #require(IPPrefix("128.0.0.0/1"))]))
    #expect(rest.prefixes.map(\.description) == ["0.0.0.0/1"])
    #expect(all.subtracting(rest).prefixes.map(\.description) == ["128.0.0.0/1"])
  }

  /// A peer is in a change's peers exactly where its rule demands something else, as TrustPolicy finds both.
  @Test func aPeerIsTouchedWhereItsRuleIsAnother() throws {
    var draw = Draw(random: Seeded(11))
    for _ in 0..<300 {
      func config() -> Config {
        var config = Config()
        var listener = Config.Listener(name: "public", address: .address(IPAddress(v4: 0xc000_0201), port: 80))
        var taken: Set<IPPrefix> = []
        for (line, evidence) in [Config.Evidence.proxyProtocol, .refuse, .attested, .forwarded, .socket].enumerated() {
          var rule = Config.TrustRule(evidence: evidence)
          rule.from = draw.prefixes().filter { taken.insert($0).inserted }
          rule.place.line = line + 1
          if !rule.from.isEmpty { listener.trust.append(rule) }
        }
        if Bool.random(using: &draw.random) { listener.trust.append(Config.TrustRule(evidence: .refuse)) }
        config.listeners = [listener]
        return config
      }
      let (old, new) = (config(), config())
      let changes = TrustDiff.compare(
        old: try TrustBoundary(old, keys: nil), new: try TrustBoundary(new, keys: nil))
      let touched = changes.compactMap { change -> AddressSet? in
        if case .peers(let peers, listener: "public") = change.reach { peers } else { nil }
      }
      let (before, after) = (
        TrustPolicy(old.listeners[0], infrastructure: Infrastructure(old)),
        TrustPolicy(new.listeners[0], infrastructure: Infrastructure(new))
      )
      for peer in Draw.addresses {
        let isAnother = before.evidence(of: before.rule(for: peer)) != after.evidence(of: after.rule(for: peer))
        #expect(touched.contains { $0.contains(peer) } == isAnother, "\(peer)")
      }
    }
  }
}
