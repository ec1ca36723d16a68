import Monitor
import Testing

/// Which address the monitor believes, as a table.
@Suite struct ClientAddressTests {
  static let claims: [(forwardedFor: [String], peer: String?, expected: String?, source: ClientClaim.Source)] = [
    ([], "192.0.2.1", "192.0.2.1", .socket),
    ([], "::ffff:192.0.2.1", "192.0.2.1", .socket),
    ([], nil, nil, .none),
    (["192.0.2.7"], "127.0.0.1", "192.0.2.7", .forwardedFor),
    (["  192.0.2.7\t"], "127.0.0.1", "192.0.2.7", .forwardedFor),
    // The first of a list is believed, whoever wrote it: that is what makes such a backend need a proxy that tells the
    // truth.
    (["203.0.113.9, 192.0.2.7"], "127.0.0.1", "203.0.113.9", .forwardedFor),
    (["2001:DB8:0:0::7"], "127.0.0.1", "2001:db8::7", .forwardedFor),
    // What is there but is no address is nobody, not the peer.
    ([""], "127.0.0.1", nil, .forwardedFor),
    ([", 192.0.2.7"], "127.0.0.1", nil, .forwardedFor),
    (["unknown"], "127.0.0.1", nil, .forwardedFor),
    (["192.0.2.7:80"], "127.0.0.1", nil, .forwardedFor),
    (["[2001:db8::7]"], "127.0.0.1", nil, .forwardedFor),
    (["fe80::1%eth0"], "127.0.0.1", nil, .forwardedFor),
    (["010.0.0.1"], "127.0.0.1", nil, .forwardedFor),
    (["192.0.2"], "127.0.0.1", nil, .forwardedFor),
    (["192.0.2.7\u{0}"], "127.0.0.1", nil, .forwardedFor),
  ]

  @Test(arguments: claims.indices) func settles(_ index: Int) {
    let row = Self.claims[index]
    let claim = ClientClaim(forwardedFor: row.forwardedFor, peer: row.peer)
    #expect(claim.address?.description == row.expected)
    #expect(claim.source == row.source)
  }

  @Test(arguments: [
    ("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("::1", "::/64"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
  ]) func sharesANetwork(address: String, network: String) {
    #expect(NetworkAddress(address)?.network == network)
  }

  @Test(arguments: ["127.0.0.1:0", "[::1]:8080", "unix:/run/monitor.sock"]) func listensOn(_ text: String) {
    #expect(ListenAddress(text)?.description == text)
  }

  @Test(arguments: [
    "", "127.0.0.1", "localhost:80", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80", "unix:", ":80",
    "unix:" + String(repeating: "x", count: 108),
  ]) func doesNotListenOn(_ text: String) {
    #expect(ListenAddress(text) == nil)
  }
}
