import Policy
import Testing
import Wire

@Suite struct TrustTests {
  static let rules = """
    10.0.0.0/24 proxy-protocol
    10.0.1.0/24,2001:db8:1::/48 forwarded x-forwarded-for hops 192.0.2.0/24,2001:db8:2::/48
    10.0.2.0/24 proxy-protocol then x-forwarded-for hops 198.51.100.0/24
    10.0.3.0/24 attested
    10.0.4.0/24 forwarded forwarded hops 192.0.2.0/24
    10.0.0.128/25 refuse
    10.0.0.200 socket
    192.168.0.0/16 socket
    """

  /// As the configuration's example: 10.0.0.0/8 can never be a client, and the listener has 203.0.113.80.
  private func policy(_ text: String = rules) throws -> TrustPolicy {
    var config = Config()
    config.identity.infrastructure = [try #require(IPPrefix("10.9.0.0/16"))]
    var listener = Config.Listener(
      name: "public", address: .address(try #require(IPAddress("203.0.113.80")), port: 8443))
    listener.trust = try TrustFacts.rules(text)
    config.listeners = [listener]
    return TrustPolicy(listener, infrastructure: Infrastructure(config))
  }

  private func settle(
    _ policy: TrustPolicy, _ peer: String, local: String = "203.0.113.80", proxy: String = "", _ lines: [String] = []
  ) throws -> String {
    let (head, bytes) = try TrustFacts.head(lines)
    let peer = try TrustFacts.address(peer)
    let settlement = policy.settle(
      rule: policy.rule(for: peer), peer: peer, peerPort: 4711, local: try TrustFacts.address(local),
      proxy: try TrustFacts.proxy(proxy), bytes: bytes.span, head: head, nowMilliseconds: 0)
    return TrustFacts.describe(settlement)
  }

  // MARK: Which rule

  @Test(arguments: [
    ("10.0.0.1", "line 1"), ("10.0.0.127", "line 1"), ("10.0.0.128", "line 6"), ("10.0.0.200", "line 7"),
    ("10.0.0.201", "line 6"), ("10.0.1.1", "line 2"), ("::ffff:10.0.1.1", "line 2"), ("2001:db8:1::9", "line 2"),
    ("10.0.5.1", "default"), ("203.0.113.9", "default"), ("unix", "default"),
  ]) func theLongestPrefixPicksTheRule(peer: String, rule: String) throws {
    let policy = try policy()
    #expect(policy[policy.rule(for: try TrustFacts.address(peer))].name == rule)
  }

  /// What decides by whom a connection's bounds are shared: of a client behind a PROXY header it is its own.
  @Test(arguments: [
    ("10.0.0.1", "", false), ("10.0.0.1", "198.51.100.7", false), ("10.0.1.1", "", true),
    ("10.0.2.1", "203.0.113.9", false),
    ("10.0.2.1", "198.51.100.7", true), ("10.0.2.1", "", false), ("10.0.3.1", "", true), ("10.0.4.1", "", true),
    ("10.0.0.128", "", false), ("10.0.0.200", "", false), ("203.0.113.9", "", false),
  ]) func aConnectionOfManyClientsIsKnown(peer: String, announced: String, isOfMany: Bool) throws {
    let policy = try policy()
    let rule = policy.rule(for: try TrustFacts.address(peer))
    #expect(policy.bringsMany(rule: rule, announced: IPAddress(announced)) == isOfMany)
  }

  @Test func rulesDescribeThemselves() throws {
    let policy = try policy(
      """
      10.0.0.0/24 proxy-protocol
      10.0.2.0/24 proxy-protocol then forwarded hops 198.51.100.0/24
      1.0.0.0/8,2.0.0.0/8,3.0.0.0/8,4.0.0.0/8,5.0.0.0/8 forwarded x-forwarded-for
      any refuse
      """)
    #expect(policy[0].description == "line 1: 10.0.0.0/24 proxy-protocol")
    #expect(policy[1].description == "line 2: 10.0.2.0/24 proxy-protocol, then forwarded (forwarded)")
    #expect(policy[2].description == "line 3: 1.0.0.0/8, 2.0.0.0/8, 3.0.0.0/8 and 2 more forwarded (x-forwarded-for)")
    #expect(policy[policy.rule(for: nil)].description == "line 4: any refuse")
    let empty = try self.policy("")
    #expect(empty[empty.rule(for: nil)].description == "default: any socket")
  }

  // MARK: The socket

  @Test(arguments: [
    ("198.51.100.7", "198.51.100.7 4711 socket"),
    ("::ffff:198.51.100.7", "198.51.100.7 4711 socket"),
    ("2001:db8::7", "2001:db8::7 4711 socket"),
    ("192.168.3.4", "192.168.3.4 4711 socket"),
    ("127.0.0.1", "127.0.0.1 4711 socket"),
    // No address, or not one that a client can have.
    ("unix", "refused client-unknown"),
    ("0.0.0.0", "refused client-unknown"),
    ("224.0.0.1", "refused client-unknown"),
    // Listed, or this machine.
    ("10.9.1.1", "refused client-infrastructure"),
    ("::ffff:10.9.1.1", "refused client-infrastructure"),
    ("203.0.113.80", "refused client-infrastructure"),
    // In a range that must show evidence, though its own rule is `socket`.
    ("10.0.0.200", "refused client-infrastructure"),
    ("10.0.0.201", "refused peer-refused"),
  ]) func thePeerIsTheClient(peer: String, expected: String) throws {
    #expect(try settle(try policy(), peer, ["X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1"]) == expected)
  }

  /// Only a rule for this one address, and only the peer itself; what the configuration calls infrastructure stays that.
  @Test func anOwnAddressThatARuleNamesIsAClient() throws {
    for (rules, expected) in [
      ("127.0.0.1 socket", "127.0.0.1 4711 socket"),
      ("127.0.0.9,127.0.0.1/32,10.1.0.0/16 socket", "127.0.0.1 4711 socket"),
      ("::ffff:127.0.0.1/128 socket", "127.0.0.1 4711 socket"),
      ("127.0.0.0/8 socket", "refused client-infrastructure"),
      ("127.0.0.0/31,127.0.0.9 socket", "refused client-infrastructure"),
      ("any socket", "refused client-infrastructure"),
      ("", "refused client-infrastructure"),
      ("127.0.0.9 socket", "refused client-infrastructure"),
      ("127.0.0.1 forwarded x-forwarded-for", "refused client-infrastructure"),
    ] {
      let lines = ["X-Forwarded-For: 127.0.0.1"]
      #expect(try settle(try policy(rules), "127.0.0.1", local: "127.0.0.1", lines) == expected, "\(rules)")
    }
    // The listener's own address, by whichever listener the connection came.
    #expect(
      try settle(try policy("203.0.113.80 socket"), "203.0.113.80", local: "127.0.0.1") == "203.0.113.80 4711 socket")
    #expect(
      try settle(try policy("10.9.1.1 socket"), "10.9.1.1") == "refused client-infrastructure")
  }

  /// The advice can be pasted into the file.
  @Test func whatToWriteForAnOwnAddressIsYAML() throws {
    let policy = try policy("any socket")
    let any = policy.rule(for: IPAddress("192.0.2.1"))
    #expect(
      policy.whyInfrastructure(try #require(IPAddress("203.0.113.80")), rule: any)
        == "203.0.113.80 is the address of the listener public; where programs on this host are clients write "
        + "{ from: [203.0.113.80], evidence: socket }")
    #expect(
      policy.whyInfrastructure(try #require(IPAddress("::1")), rule: any)
        == "::1 is the address that the connection came to; where programs on this host are clients write "
        + "{ from: [\"::1\"], evidence: socket }")
    #expect(
      policy.whyInfrastructure(try #require(IPAddress("10.9.1.1")), rule: any)
        == "10.9.1.1 is infrastructure by identity.infrastructure; the proxy there does not pass its client on")
  }

  @Test func theConnectionsOwnAddressIsNoClient() throws {
    let policy = try policy("")
    #expect(try settle(policy, "198.51.100.9", local: "198.51.100.9") == "refused client-infrastructure")
    #expect(try settle(policy, "::ffff:198.51.100.9", local: "198.51.100.9") == "refused client-infrastructure")
    #expect(try settle(policy, "198.51.100.9", local: "::ffff:198.51.100.9") == "refused client-infrastructure")
    #expect(try settle(policy, "198.51.100.9", local: "unix") == "198.51.100.9 4711 socket")
    // Not on loopback either: a proxy on this machine that forgot to pass the client on looks just like this.
    #expect(try settle(policy, "127.0.0.1", local: "127.0.0.1") == "refused client-infrastructure")
    #expect(try settle(policy, "::1", local: "::1") == "refused client-infrastructure")
    #expect(try settle(policy, "127.0.0.1", local: "127.0.0.2") == "127.0.0.1 4711 socket")
  }

  // MARK: PROXY

  @Test(arguments: [
    ("v1 198.51.100.7 51324", "198.51.100.7 51324 proxy-v1"),
    ("v2 198.51.100.7 51324", "198.51.100.7 51324 proxy-v2"),
    ("v2 ::ffff:198.51.100.7 51324", "198.51.100.7 51324 proxy-v2"),
    ("v2 2001:db8::7 51324", "2001:db8::7 51324 proxy-v2"),
    ("", "refused proxy-missing"),
    ("v1 198.51.100.7 0", "refused proxy-address"),
    // A load balancer that names itself, a colleague or this machine has lost the client.
    ("v2 10.0.0.1 51324", "refused client-infrastructure"),
    ("v2 10.0.1.77 51324", "refused client-infrastructure"),
    ("v2 10.9.3.3 51324", "refused client-infrastructure"),
    ("v2 203.0.113.80 51324", "refused client-infrastructure"),
    ("v2 203.0.113.81 51324", "refused client-infrastructure"),
    ("v2 2001:db8:1::5 51324", "refused client-infrastructure"),
  ]) func theProxyHeaderNamesTheClient(proxy: String, expected: String) throws {
    let lines = ["X-Forwarded-For: 1.1.1.1"]
    #expect(try settle(try policy(), "10.0.0.1", local: "203.0.113.81", proxy: proxy, lines) == expected)
  }

  // MARK: X-Forwarded-For

  @Test(arguments: [
    (["X-Forwarded-For: 198.51.100.7"], "198.51.100.7 0 forwarded"),
    (["x-forwarded-for: 198.51.100.7:51324"], "198.51.100.7 51324 forwarded"),
    (["X-Forwarded-For: [2001:db8::7]:51324"], "2001:db8::7 51324 forwarded"),
    (["X-Forwarded-For: ::ffff:198.51.100.7"], "198.51.100.7 0 forwarded"),
    // Hops are stepped over, in both families and in mapped form, over several lines.
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1"], "198.51.100.7 0 forwarded"),
    (["X-Forwarded-For: 198.51.100.7, 2001:db8:2::1, ::ffff:192.0.2.9, 192.0.2.1"], "198.51.100.7 0 forwarded"),
    (
      ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"],
      "198.51.100.7 0 forwarded"
    ),
    // What is to the left of the client is its own claim and is not read, whatever it is.
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7"], "198.51.100.7 0 forwarded"),
    (["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 198.51.100.7, 192.0.2.1"], "198.51.100.7 0 forwarded"),
    (["X-Forwarded-For: 192.0.2.5, 198.51.100.7"], "198.51.100.7 0 forwarded"),
    (["X-Forwarded-For: , unknown, \"', <script>, 198.51.100.7"], "198.51.100.7 0 forwarded"),
    (["X-Forwarded-For: x", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7 0 forwarded"),
    // Only the one field.
    (
      ["Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1", "X-Forwarded-For: 198.51.100.7", "Forwarded: for=2.2.2.2"],
      "198.51.100.7 0 forwarded"
    ),
    (["X-Real-IP: 1.1.1.1", "Forwarded: for=1.1.1.1", "X_Forwarded_For: 1.1.1.1"], "refused forwarded-missing"),
    ([], "refused forwarded-missing"),
    // What cannot be read is never stepped over.
    (["X-Forwarded-For:"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7, unknown"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7,"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7, , 192.0.2.1"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For:", "X-Forwarded-For: 192.0.2.1"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: nobody"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.07"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7, 0.0.0.0"], "refused forwarded-invalid"),
    (["X-Forwarded-For: 198.51.100.7, 255.255.255.255, 192.0.2.1"], "refused forwarded-invalid"),
    (["X-Forwarded-For: ff02::1"], "refused forwarded-invalid"),
    // Only hops.
    (["X-Forwarded-For: 192.0.2.1"], "refused forwarded-exhausted"),
    (["X-Forwarded-For: 192.0.2.2", "X-Forwarded-For: 192.0.2.1, 2001:db8:2::1"], "refused forwarded-exhausted"),
    // Infrastructure that is no listed hop.
    (["X-Forwarded-For: 198.51.100.7, 10.9.1.1"], "refused client-infrastructure"),
    (["X-Forwarded-For: 198.51.100.7, 10.0.0.3"], "refused client-infrastructure"),
    (["X-Forwarded-For: 198.51.100.7, 203.0.113.80"], "refused client-infrastructure"),
  ]) func theFieldNamesTheClient(lines: [String], expected: String) throws {
    #expect(try settle(try policy(), "10.0.1.1", lines) == expected, "\(lines)")
    #expect(try settle(try policy(), "2001:db8:1::1", lines) == expected, "\(lines)")
    // The same from a peer that is not trusted with the field says nothing.
    #expect(try settle(try policy(), "198.51.100.99", lines) == "198.51.100.99 4711 socket")
  }

  @Test func aForwardedFieldIsTakenOverAUnixSocket() throws {
    let policy = try policy("any forwarded x-forwarded-for")
    #expect(try settle(policy, "unix", local: "unix", ["X-Forwarded-For: 198.51.100.7"]) == "198.51.100.7 0 forwarded")
    let proxy = try self.policy("any proxy-protocol")
    #expect(try settle(proxy, "unix", local: "unix", proxy: "v2 198.51.100.7 9") == "198.51.100.7 9 proxy-v2")
  }

  // MARK: Forwarded

  @Test(arguments: [
    (["Forwarded: for=198.51.100.7"], "198.51.100.7 0 forwarded"),
    ([#"Forwarded: for="[2001:db8::7]:51324";proto=https, for=192.0.2.1;by=10.0.4.1"#], "2001:db8::7 51324 forwarded"),
    (
      [#"Forwarded: for="6.6.6.6, for=198.51.100.7;host="a,b""#, "Forwarded: for=192.0.2.1"], "198.51.100.7 0 forwarded"
    ),
    (["X-Forwarded-For: 1.1.1.1"], "refused forwarded-missing"),
    (["Forwarded: for=198.51.100.7, for=unknown"], "refused forwarded-invalid"),
    (["Forwarded: for=198.51.100.7, for=_hop"], "refused forwarded-invalid"),
    (["Forwarded: for=198.51.100.7, by=192.0.2.1"], "refused forwarded-invalid"),
    (["Forwarded: for=192.0.2.1"], "refused forwarded-exhausted"),
    (["Forwarded: for=10.0.0.1"], "refused client-infrastructure"),
  ]) func theForwardedFieldNamesTheClient(lines: [String], expected: String) throws {
    #expect(try settle(try policy(), "10.0.4.1", lines) == expected, "\(lines)")
  }

  // MARK: PROXY, then the field

  @Test(arguments: [
    // The source is a listed hop: its field is read.
    ("v2 198.51.100.1 9", ["X-Forwarded-For: 203.0.113.7"], "203.0.113.7 0 forwarded"),
    ("v1 198.51.100.1 9", ["X-Forwarded-For: 1.1.1.1, 203.0.113.7, 198.51.100.2"], "203.0.113.7 0 forwarded"),
    ("v2 198.51.100.1 9", [], "refused forwarded-missing"),
    ("v2 198.51.100.1 9", ["X-Forwarded-For: 198.51.100.2"], "refused forwarded-exhausted"),
    ("v2 198.51.100.1 9", ["X-Forwarded-For: 10.0.2.1"], "refused client-infrastructure"),
    // It is not: it came to the load balancer by itself, and what it says is a claim.
    ("v2 203.0.113.7 9", ["X-Forwarded-For: 1.1.1.1"], "203.0.113.7 9 proxy-v2"),
    ("v1 203.0.113.7 9", [], "203.0.113.7 9 proxy-v1"),
    ("v2 10.0.2.1 9", ["X-Forwarded-For: 1.1.1.1"], "refused client-infrastructure"),
    ("", ["X-Forwarded-For: 1.1.1.1"], "refused proxy-missing"),
  ]) func aSecondStepIsTakenOnlyFromAHop(proxy: String, lines: [String], expected: String) throws {
    #expect(try settle(try policy(), "10.0.2.1", proxy: proxy, lines) == expected)
  }

  @Test func noRuleIsAppliedToWhatItDoesNotAskFor() throws {
    let policy = try policy()
    let (head, bytes) = try TrustFacts.head(["X-Forwarded-For: 1.1.1.1"])
    let source = try #require(IPAddress("198.51.100.7"))
    for peer in ["10.0.0.1", "10.0.3.1", "10.0.0.200", "10.0.0.201", "198.51.100.9"] {
      let settlement = policy.settleForwarded(
        rule: policy.rule(for: IPAddress(peer)), from: source, fromPort: 9, version: 2, bytes: bytes.span, head: head,
        local: nil)
      #expect(settlement == .refused(.clientUnknown), "\(peer)")
    }
    for peer in ["10.0.1.1", "10.0.3.1", "10.0.0.200", "10.0.0.201", "198.51.100.9"] {
      let settlement = policy.settleAnnounced(
        rule: policy.rule(for: IPAddress(peer)), source: source, port: 9, version: 2, local: nil)
      #expect(settlement == .refused(.clientUnknown), "\(peer)")
    }
    #expect(try settle(policy, "10.0.3.1", proxy: "v2 198.51.100.7 9") == "refused identity-missing")
  }

  // MARK: Infrastructure

  @Test func everybodyIsNotInfrastructure() throws {
    let policy = try policy("0.0.0.0/0,::/0 proxy-protocol")
    #expect(try settle(policy, "198.51.100.1", proxy: "v2 198.51.100.7 9") == "198.51.100.7 9 proxy-v2")
    #expect(try settle(policy, "2001:db8::1", proxy: "v2 2001:db8::7 9") == "2001:db8::7 9 proxy-v2")
  }

  @Test func aWildcardListenerHasNoAddressOfItsOwn() throws {
    var config = Config()
    config.listeners = [
      Config.Listener(name: "a", address: .address(try #require(IPAddress("::")), port: 1)),
      Config.Listener(name: "b", address: .unix("/run/a")),
      Config.Listener(name: "c", address: .address(try #require(IPAddress("::ffff:203.0.113.1")), port: 1)),
    ]
    let infrastructure = Infrastructure(config)
    #expect(!infrastructure.contains(try #require(IPAddress("::1"))))
    #expect(infrastructure.contains(try #require(IPAddress("203.0.113.1"))))
  }

  // MARK: explain

  @Test func explainSaysWhatALiveConnectionWouldGet() throws {
    let policy = try policy()
    func explain(_ peer: String, _ source: String? = nil, _ fields: [(name: String, value: String)] = []) throws
      -> String
    {
      let explanation = policy.explain(
        peer: try TrustFacts.address(peer), peerPort: 4711,
        proxySource: try source.map { (try #require(IPAddress($0)), 51324) }, fields: fields, nowMilliseconds: 0)
      switch explanation.verdict {
      case .settlement(let settlement): return "\(explanation.rule) → \(TrustFacts.describe(settlement))"
      case .signature: return "\(explanation.rule) → signature"
      }
    }
    let claim = [(name: "X-Forwarded-For", value: "198.51.100.7")]
    #expect(try explain("203.0.113.9") == "default: any socket → 203.0.113.9 4711 socket")
    #expect(try explain("10.0.0.1", "203.0.113.9") == "line 1: 10.0.0.0/24 proxy-protocol → 203.0.113.9 51324 proxy-v2")
    #expect(try explain("10.0.0.1") == "line 1: 10.0.0.0/24 proxy-protocol → refused proxy-missing")
    #expect(try explain("10.0.0.1", "224.0.0.1").hasSuffix("→ refused proxy-address"))
    #expect(try explain("10.0.1.1", nil, claim).hasSuffix("→ 198.51.100.7 0 forwarded"))
    #expect(
      try explain("10.0.2.1", "198.51.100.1", [("X-Forwarded-For", "203.0.113.9")]).hasSuffix(
        "→ 203.0.113.9 0 forwarded"))
    #expect(try explain("10.0.3.1") == "line 4: 10.0.3.0/24 attested → signature")
    #expect(try explain("10.0.0.129") == "line 6: 10.0.0.128/25 refuse → refused peer-refused")
    // A typed line break is no second field.
    #expect(try explain("10.0.1.1", nil, [("X-Forwarded-For", "1.1.1.1\r\n\r\n")]).hasSuffix("→ refused value-invalid"))
    #expect(try explain("10.0.1.1", nil, [("X Forwarded", "1.1.1.1")]).hasSuffix("→ refused name-space"))
  }
}
