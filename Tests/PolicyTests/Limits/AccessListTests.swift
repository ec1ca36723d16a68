import Policy
import Testing
import Wire

@Suite struct AccessListTests {
  private func access(allow: [String] = [], deny: [String] = []) throws -> Config.Access {
    var access = Config.Access()
    access.allow = try allow.map { try #require(IPPrefix($0)) }
    access.deny = try deny.map { try #require(IPPrefix($0)) }
    return access
  }

  @Test func whereNothingIsSaidThereIsNoList() throws {
    #expect(AccessList(try access()) == nil)
  }

  @Test(
    arguments: [
      // allow, deny, who, and whether
      (["192.0.2.0/24"], [], "192.0.2.7", true), (["192.0.2.0/24"], [], "192.0.3.7", false),
      (["192.0.2.0/24"], [], "2001:db8::1", false), ([], ["192.0.2.0/24"], "192.0.2.7", false),
      ([], ["192.0.2.0/24"], "192.0.3.7", true), ([], ["192.0.2.0/24"], "2001:db8::1", true),
      // The longest range decides, in both directions.
      (["192.0.2.0/24"], ["192.0.2.7"], "192.0.2.7", false), (["192.0.2.0/24"], ["192.0.2.7"], "192.0.2.8", true),
      (["192.0.2.7"], ["192.0.2.0/24"], "192.0.2.7", true), (["192.0.2.7"], ["192.0.2.0/24"], "192.0.2.8", false),
      (["192.0.2.7"], ["192.0.2.0/24"], "198.51.100.1", false), (["2001:db8::/32"], [], "2001:db8:ffff::1", true),
      // A mapped address is the IPv4 one.
      (["192.0.2.0/24"], [], "::ffff:192.0.2.7", true),
    ] as [([String], [String], String, Bool)])
  func theLongestRangeDecides(allow: [String], deny: [String], who: String, expected: Bool) throws {
    let list = try #require(AccessList(try access(allow: allow, deny: deny)))
    #expect(list.allows(IPAddress(who)) == expected)
  }

  @Test(arguments: [(["192.0.2.0/24"], []), ([], ["192.0.2.0/24"])] as [([String], [String])])
  func whoIsNotKnownIsDenied(allow: [String], deny: [String]) throws {
    #expect(try #require(AccessList(try access(allow: allow, deny: deny))).allows(nil) == false)
  }
}
