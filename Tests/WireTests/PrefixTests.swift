import Testing
import Wire

@Suite struct PrefixTests {
  @Test(arguments: [
    ("10.0.0.0/8", "10.0.0.0/8"), ("0.0.0.0/0", "0.0.0.0/0"), ("192.0.2.7", "192.0.2.7/32"),
    ("192.0.2.7/32", "192.0.2.7/32"), ("192.0.2.6/31", "192.0.2.6/31"), ("::/0", "::/0"),
    ("2001:DB8::/32", "2001:db8::/32"), ("2001:db8:8000::/33", "2001:db8:8000::/33"), ("::1", "::1/128"),
    ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104"),
  ]) func reads(text: String, canonical: String) throws {
    let prefix = try #require(IPPrefix(text))
    #expect(prefix.description == canonical)
    #expect(IPPrefix(canonical) == prefix)
  }

  @Test(arguments: [
    "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8 ",
    "10.0.0.0 /8",
    "10.0.0.0/8/8", "10.0.0.1/8", "10.0.0.0/255.0.0.0", "10/8", "10.0.0/8", "0.0.0.1/0", "::/129", "::1/127", "::/0128",
    "2001:db8::1/64", "any", "::/4294967296", "10.0.0.0/99999999999",
  ]) func refuses(text: String) {
    #expect(IPPrefix(text) == nil)
  }

  @Test(arguments: [
    ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.0.0.0/8", "9.255.255.255", false),
    ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::", false), ("::/0", "0.0.0.0", false),
    ("::/0", "ffff::1", true), ("192.0.2.7/32", "192.0.2.7", true), ("192.0.2.7/32", "192.0.2.6", false),
    ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
    ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true), ("2001:db8::/64", "2001:db8:0:1::", false),
    ("2001:db8::/65", "2001:db8::7fff:0:0:1", true), ("2001:db8::/65", "2001:db8::8000:0:0:1", false),
    ("2001:db8::/65", "2001:db9::1", false), ("::1/128", "::1", true), ("::1/128", "::2", false),
    ("::1/128", "1::1", false), ("10.0.0.0/8", "::ffff:10.0.0.1", false),
  ]) func contains(prefix: String, address: String, expected: Bool) throws {
    #expect(try #require(IPPrefix(prefix)).contains(try #require(IPAddress(address))) == expected)
  }

  @Test func mappedRangesMeanTheIPv4Range() throws {
    #expect(try #require(IPPrefix("::ffff:10.0.0.0/104")).unmapped == IPPrefix("10.0.0.0/8"))
    #expect(try #require(IPPrefix("::ffff:0.0.0.0/96")).unmapped == IPPrefix("0.0.0.0/0"))
    #expect(try #require(IPPrefix("::ffff:10.0.0.1")).unmapped == IPPrefix("10.0.0.1"))
    let wider = try #require(IPPrefix("::/80"))
    #expect(wider.unmapped == wider)
  }
}
