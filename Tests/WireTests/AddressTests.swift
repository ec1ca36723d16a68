import Testing
import Wire

@Suite struct AddressTests {
  /// Text that is read, and how it is written again.
  static let accepted: [(text: String, canonical: String)] = [
    ("192.0.2.7", "192.0.2.7"),
    ("0.0.0.0", "0.0.0.0"),
    ("255.255.255.255", "255.255.255.255"),
    ("10.0.100.1", "10.0.100.1"),
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("2001:db8::1", "2001:db8::1"),
    ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    // RFC 5952 section 4.2.2: a single zero group is not shortened.
    ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    // RFC 5952 section 4.2.3: the longest run, or the first of equal ones.
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("0:0:1:0:0:1:0:0", "::1:0:0:1:0:0"),
    ("1:0:0:0:0:0:0:0", "1::"),
    ("fe80::a:0:0:0", "fe80::a:0:0:0"),
    ("ABCD:EF01:2345:6789:abcd:ef01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
    ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
    ("::FFFF:c000:207", "::ffff:192.0.2.7"),
    ("0000:0000:0000:0000:0000:ffff:255.255.255.255", "::ffff:255.255.255.255"),
    ("::192.0.2.7", "::c000:207"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("1::1.2.3.4", "1::102:304"),
  ]

  static let refused: [String] = [
    "", "1", ".", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.", "1.2.3.4.5", "1.2.3.256", "1.2.3.1000",
    "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.0x4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n", "1.2.3.4\0", "+1.2.3.4",
    "1.2.3.-4", "3232235777", "0x7f.0.0.1", "127.1", "1.2.3.4:80", "1.2.3.4/32", "1.2.3.4%eth0", "\u{0661}.2.3.4",
    ":", ":::", "1:", ":1", "1:2", "::1::", "1::2::3", "1:::2", "12345::", "::12345", "::g", "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8", "[::1]", "[::1]:80", "::1%lo", "::1/128", "::1 ", "::1.2.3", "::1.2.3.4.5", "::1.2.3.256",
    "::01.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3.4:5", "1.2.3.4::", "::ffff:1.2.3.4:80", "0::00000",
    "fe80::1%25eth0",
    "00000000:0000:0000:0000:0000:0000:0000:0000:0000", "localhost", "unknown", "_hidden",
  ]

  @Test(arguments: accepted) func readsAndWritesCanonically(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
    let sink = AddressSink()
    address.write(to: sink)
    #expect(String(decoding: sink.bytes, as: UTF8.self) == canonical)
  }

  @Test(arguments: refused) func refuses(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test func everyPatternOfZeroGroupsSurvivesATrip() {
    for pattern in 0..<256 {
      var high: UInt64 = 0
      var low: UInt64 = 0
      for group in 0..<8 where pattern >> group & 1 == 1 {
        if group < 4 { high |= 0xa0b << UInt64(48 - 16 * group) } else { low |= 0xc0d << UInt64(112 - 16 * group) }
      }
      let address = IPAddress(v6High: high, v6Low: low)
      let text = address.description
      #expect(IPAddress(text) == address)
      // At most one "::", and never one that stands for a single group.
      let groups = text.split(separator: ":", omittingEmptySubsequences: true).count
      #expect(text.contains("::") ? groups <= 6 : groups == 8)
    }
  }

  @Test func mappedAddressesAreUnmapped() throws {
    let mapped = try #require(IPAddress("::ffff:192.0.2.7"))
    #expect(mapped.isMapped)
    #expect(mapped != IPAddress("192.0.2.7"))
    #expect(mapped.unmapped == IPAddress("192.0.2.7"))
    let compatible = try #require(IPAddress("::192.0.2.7"))
    #expect(!compatible.isMapped)
    #expect(compatible.unmapped == compatible)
  }

  @Test(arguments: [
    ("192.0.2.7", "client"), ("127.0.0.1", "client loopback"), ("127.255.0.9", "client loopback"),
    ("128.0.0.1", "client"), ("::1", "client loopback"), ("::2", "client"), ("2001:db8::1", "client"),
    ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"),
    ("223.255.255.255", "client"), ("240.0.0.1", "client"), ("ff02::1", "multicast"), ("fe80::1", "client"),
    ("255.255.255.255", "broadcast"), ("255.255.255.254", "client"), ("::ffff:192.0.2.7", "mapped"),
    ("::ffff:0.0.0.0", "mapped"), ("::1:ffff:192.0.2.7", "client"),
  ]) func classifies(text: String, classes: String) throws {
    let address = try #require(IPAddress(text))
    var found: [String] = []
    if address.isPossibleClient { found.append("client") }
    if address.isUnspecified { found.append("unspecified") }
    if address.isMulticast { found.append("multicast") }
    if address.isBroadcast { found.append("broadcast") }
    if address.isMapped { found.append("mapped") }
    if address.isLoopback { found.append("loopback") }
    #expect(found.joined(separator: " ") == classes)
  }
}

private final class AddressSink: ByteSink {
  var bytes: [UInt8] = []
  func append(_ byte: UInt8) { bytes.append(byte) }
  func append(_ span: Span<UInt8>) { for index in span.indices { bytes.append(span[index]) } }
  func append(_ literal: StaticString) { literal.withUTF8Buffer { bytes.append(contentsOf: $0) } }
}
