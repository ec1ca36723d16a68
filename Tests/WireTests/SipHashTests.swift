import Testing
import Wire

@Suite struct SipHashTests {
  private static let key = (UInt64(0x0706_0504_0302_0100), UInt64(0x0f0e_0d0c_0b0a_0908))

  /// The reference vectors of SipHash-2-4, for messages of whole words: the bytes 0, 1, 2 and so on.
  @Test(
    arguments: [
      (0, 0x726f_db47_dd0e_0e31), (1, 0x93f5_f579_9a93_2462), (2, 0x3f2a_cc7f_57c2_9bdb),
    ] as [(Int, UInt64)])
  func isTheReference(words: Int, expected: UInt64) {
    var hash = SipHash(key0: Self.key.0, key1: Self.key.1)
    for word in 0..<words {
      hash.add((0..<8).reduce(UInt64(0)) { $0 | UInt64(8 * word + $1) << UInt64(8 * $1) })
    }
    #expect(hash.value == expected)
    #expect(hash.value == expected, "reading it changes nothing")
  }

  @Test func textsInARowAreNotOne() {
    func value(_ texts: [String]) -> UInt64 {
      var hash = SipHash(key0: 1, key1: 2)
      for text in texts { hash.add(Array(text.utf8).span) }
      return hash.value
    }
    let all = [
      ["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [], [""], ["abcdefgh"], ["abcdefgh", ""], ["abcdefghi"],
    ]
    #expect(Set(all.map(value)).count == all.count)
  }
}

@Suite struct ClientUnitTests {
  @Test(arguments: [
    ("192.0.2.7", "192.0.2.7", "192.0.2.0"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
    ("::1", "::", "::"),
  ])
  func anIPv6ClientIsItsFirst64Bits(address: String, unit: String, subnet: String) throws {
    let address = try #require(IPAddress(address))
    #expect(address.clientUnit.description == unit)
    #expect(address.clientSubnet.description == subnet)
  }
}
