import TestSupport
import Testing
import Wire

@Suite struct PrefixTableTests {
  @Test func theLongestPrefixDecides() throws {
    let table = PrefixTable([
      (try #require(IPPrefix("0.0.0.0/0")), 0),
      (try #require(IPPrefix("10.0.0.0/8")), 1),
      (try #require(IPPrefix("10.0.0.0/24")), 2),
      (try #require(IPPrefix("10.0.0.255")), 3),
      (try #require(IPPrefix("255.255.255.255")), 4),
      (try #require(IPPrefix("2001:db8::/32")), 5),
      (try #require(IPPrefix("2001:db8::1")), 6),
      (try #require(IPPrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), 7),
      (try #require(IPPrefix("::ffff:192.0.2.0/120")), 8),
      (try #require(IPPrefix("10.0.0.0/8")), 9),
    ])
    let expected: [(String, UInt32?)] = [
      ("0.0.0.0", 0), ("9.255.255.255", 0), ("10.0.0.0", 2), ("10.0.0.254", 2), ("10.0.0.255", 3), ("10.0.1.0", 1),
      ("10.255.255.255", 1), ("11.0.0.0", 0), ("255.255.255.254", 0), ("255.255.255.255", 4),
      ("::", nil), ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", nil), ("2001:db8::", 5), ("2001:db8::1", 6),
      ("2001:db8::2", 5), ("2001:db9::", nil), ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", nil),
      ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7), ("192.0.2.9", 8), ("::ffff:10.0.0.255", 3), ("::10.0.0.255", nil),
    ]
    for (text, value) in expected {
      #expect(table.longestMatch(try #require(IPAddress(text))) == value, "\(text)")
    }
  }

  @Test func anEmptyTableHoldsNothing() {
    let table = PrefixTable([IPPrefix]())
    #expect(!table.contains(IPAddress(v4: 0)))
    #expect(!table.contains(IPAddress(v6High: 0, v6Low: 0)))
    #expect(!table.contains(IPAddress(v6High: .max, v6Low: .max)))
  }

  /// Dense little worlds, where ranges nest, touch and repeat; every address of interest against a plain scan.
  @Test(arguments: 0..<60) func agreesWithAScanOfAllPrefixes(seed: Int) {
    var generator = Seeded(UInt64(seed))
    let isV6 = seed % 2 == 1
    let width = isV6 ? 128 : 32
    let entries = (0..<Int.random(in: 1...80, using: &generator)).map { order in
      (Self.prefix(width: width, spread: seed / 2 % 3, using: &generator), UInt32(order))
    }
    let table = PrefixTable(entries)
    var probes: [IPAddress] = []
    for (prefix, _) in entries {
      let last = Self.last(of: prefix)
      probes += [prefix.address, Self.moved(prefix.address, by: -1), last, Self.moved(last, by: 1)]
      probes.append(Self.address(width: width, spread: seed / 2 % 3, using: &generator))
    }
    for probe in probes {
      var best: (length: UInt8, value: UInt32)?
      for (prefix, value) in entries where prefix.contains(probe) && prefix.length > (best?.length ?? 0) {
        best = (prefix.length, value)
      }
      if best == nil { best = entries.first { $0.0.length == 0 && $0.0.contains(probe) }.map { ($0.0.length, $0.1) } }
      #expect(table.longestMatch(probe) == best?.value, "\(probe)")
    }
  }

  @Test func aHundredThousandPrefixesAreBuiltAndFound() {
    var generator = Seeded(100_000)
    var entries: [(IPPrefix, UInt32)] = []
    for index in 0..<100_000 {
      let address =
        index % 2 == 0
        ? IPAddress(v4: UInt32.random(in: 0...UInt32.max, using: &generator))
        : IPAddress(v6High: generator.next(), v6Low: generator.next())
      entries.append((IPPrefix(host: address), UInt32(index)))
    }
    let table = PrefixTable(entries)
    #expect(table.count == 100_000)
    for (prefix, value) in entries.shuffled(using: &generator).prefix(5_000) {
      // Two random IPv4 addresses may be equal; the first entry then holds.
      let found = table.longestMatch(prefix.address)
      #expect(found == value || found.map { entries[Int($0)].0 == prefix && $0 < value } == true)
    }
  }

  /// `spread` 0: bits anywhere; 1: only in the lowest byte; 2: only in the highest.
  private static func address(width: Int, spread: Int, using generator: inout Seeded) -> IPAddress {
    let random = generator.next()
    if width == 32 {
      switch spread {
      case 0: return IPAddress(v4: UInt32(truncatingIfNeeded: random))
      case 1: return IPAddress(v4: 0x0a00_0000 | UInt32(random & 0xff))
      default: return IPAddress(v4: UInt32(random & 0xff) << 24)
      }
    }
    switch spread {
    case 0: return IPAddress(v6High: random, v6Low: generator.next())
    case 1: return IPAddress(v6High: 0x2001_0db8_0000_0000, v6Low: random & 0xff)
    default: return IPAddress(v6High: random & 0xff, v6Low: (random & 0x700) << 50)
    }
  }

  private static func prefix(width: Int, spread: Int, using generator: inout Seeded) -> IPPrefix {
    let address = address(width: width, spread: spread, using: &generator)
    var length = Int.random(in: 0...width, using: &generator)
    if spread == 1, Bool.random(using: &generator) { length = width - Int.random(in: 0...8, using: &generator) }
    let bits = UInt128(address.high) << 64 | UInt128(address.low)
    let kept = (bits >> UInt128(width - length)) << UInt128(width - length)
    return IPPrefix(Self.address(bits: kept, width: width), length: length)!
  }

  private static func address(bits: UInt128, width: Int) -> IPAddress {
    width == 32
      ? IPAddress(v4: UInt32(truncatingIfNeeded: bits))
      : IPAddress(v6High: UInt64(truncatingIfNeeded: bits >> 64), v6Low: UInt64(truncatingIfNeeded: bits))
  }

  private static func last(of prefix: IPPrefix) -> IPAddress {
    let width = prefix.address.width
    let bits = UInt128(prefix.address.high) << 64 | UInt128(prefix.address.low)
    let host = width - Int(prefix.length)
    return address(bits: bits | (host == 128 ? .max : (1 << UInt128(host)) - 1), width: width)
  }

  private static func moved(_ address: IPAddress, by offset: Int) -> IPAddress {
    let bits = UInt128(address.high) << 64 | UInt128(address.low)
    return Self.address(bits: offset > 0 ? bits &+ 1 : bits &- 1, width: address.width)
  }
}
