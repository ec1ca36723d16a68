// Which scheme the client used, and who says so: the same hand that names the address, never the client itself.

import Policy
import Testing
import Wire

@Suite struct SchemeTests {
  private func policy(_ rules: String) throws -> TrustPolicy {
    TrustPolicy(rules: try TrustFacts.rules(rules), infrastructure: Infrastructure(Config()))
  }

  /// Both ways of asking must agree: the steps of a live connection, and `explain`.
  private func scheme(
    _ rules: String, peer: String = "10.0.0.1", isTLS: Bool, proxy: String = "", _ lines: [String] = []
  ) throws -> String {
    let policy = try policy(rules)
    let (head, bytes) = try TrustFacts.head(lines)
    let peer = try TrustFacts.address(peer)
    let settlement = policy.settle(
      rule: policy.rule(for: peer), peer: peer, peerPort: 4711, local: nil, isTLS: isTLS,
      proxy: try TrustFacts.proxy(proxy), bytes: bytes.span, head: head, nowMilliseconds: 0)

    let words = proxy.split(separator: " ").map(String.init)
    let explanation = policy.explain(
      peer: peer, peerPort: 4711, isTLS: isTLS,
      proxySource: words.isEmpty ? nil : (try #require(IPAddress(words[1])), try #require(UInt16(words[2]))),
      proxyTLS: words.count > 3 ? words[3] == "tls" : nil,
      fields: lines.map { line in
        let colon = line.firstIndex(of: ":")!
        return (String(line[..<colon]), String(line[line.index(after: colon)...].drop { $0 == " " }))
      }, nowMilliseconds: 0)
    if words.first != "v1" { #expect(explanation.verdict == .settlement(settlement)) }
    return TrustFacts.scheme(settlement)
  }

  // MARK: By the connection

  @Test(arguments: [
    ("any socket", "", "http connection", "https connection"),
    ("any socket scheme https", "", "https rule", "https rule"),
    ("any socket scheme http", "", "http rule", "http rule"),
    // A header that says nothing of TLS leaves it to the connection.
    ("any proxy-protocol", "v1 198.51.100.7 9", "http connection", "https connection"),
    ("any proxy-protocol", "v2 198.51.100.7 9", "http connection", "https connection"),
    // One that does is believed before our own TLS, which then is the load balancer's.
    ("any proxy-protocol", "v2 198.51.100.7 9 tls", "https proxy-v2", "https proxy-v2"),
    ("any proxy-protocol", "v2 198.51.100.7 9 plain", "http proxy-v2", "http proxy-v2"),
    // The operator's word is the last.
    ("any proxy-protocol scheme https", "v2 198.51.100.7 9 plain", "https rule", "https rule"),
    ("any proxy-protocol scheme http", "v2 198.51.100.7 9 tls", "http rule", "http rule"),
    ("any proxy-protocol scheme https", "v1 198.51.100.7 9", "https rule", "https rule"),
  ]) func theConnectionsScheme(rules: String, proxy: String, plain: String, tls: String) throws {
    let claims = ["X-Forwarded-Proto: https", "Forwarded: for=1.1.1.1;proto=https", "X-Forwarded-For: 1.1.1.1"]
    for lines in [[], claims] {
      #expect(try scheme(rules, isTLS: false, proxy: proxy, lines) == plain)
      #expect(try scheme(rules, isTLS: true, proxy: proxy, lines) == tls)
    }
  }

  // MARK: X-Forwarded-Proto

  @Test(arguments: [
    // Nothing is said, so the connection decides.
    (["X-Forwarded-For: 198.51.100.7"], "connection"),
    (["X-Forwarded-For: 198.51.100.7", "X_Forwarded_Proto: https"], "connection"),
    (["X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7;proto=https"], "connection"),
    // One value, however many addresses: most proxies write over what came.
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https"], "https"),
    (["X-Forwarded-Proto:  HTTPS ", "X-Forwarded-For: 198.51.100.7"], "https"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: http"], "http"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: wss"], "https"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: ws"], "http"),
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7", "X-Forwarded-Proto: https"], "https"),
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https"], "https"),
    // As many as addresses: the one that the same hop wrote.
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https, http"], "https"),
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: http,https"], "http"),
    (
      [
        "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: http",
      ],
      "https"
    ),
    (
      [
        "X-Forwarded-For: 1.1.1.1, 198.51.100.7, 192.0.2.2, 192.0.2.1", "X-Forwarded-Proto: https, http, https",
        "X-Forwarded-Proto: https",
      ],
      "http"
    ),
    // What the client wrote to the left is not even parsed.
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7", "X-Forwarded-Proto: https, http"], "http"),
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7", "X-Forwarded-Proto: <script>, http"], "http"),
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: , https, http"], "https"),
    // What cannot be read, or was not written by the same hops, is refused.
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto:"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: ftp"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: httpss"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: \"https\""], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https on"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https, http"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], "refused"),
    (["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https,"], "refused"),
    (["X-Forwarded-For: 1.1.1.1, 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https, http"], "refused"),
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https, http, http"], "refused"),
    (["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: , http"], "refused"),
    (
      ["X-Forwarded-For: 198.51.100.7, 192.0.2.1", "X-Forwarded-Proto: https, ", "X-Forwarded-For: 192.0.2.2"],
      "refused"
    ),
  ]) func theHopThatNamedTheClientNamesItsScheme(lines: [String], expected: String) throws {
    for (rules, proxy) in [
      ("any forwarded x-forwarded-for hops 192.0.2.0/24", ""),
      ("any proxy-protocol then x-forwarded-for hops 192.0.2.0/24", "v2 192.0.2.9 9"),
    ] {
      for isTLS in [false, true] {
        let whole =
          switch expected {
          case "connection": "\(isTLS ? "https" : "http") connection"
          case "refused": "refused forwarded-invalid"
          default: "\(expected) forwarded"
          }
        #expect(try scheme(rules, isTLS: isTLS, proxy: proxy, lines) == whole, "\(lines)")
        // Where the rule states it, nobody else is asked.
        #expect(try scheme(rules + " scheme https", isTLS: isTLS, proxy: proxy, lines) == "https rule", "\(lines)")
      }
    }
  }

  /// Who is no hop is the client, and its fields are claims.
  @Test func aClientBehindAPROXYHeaderDoesNotChooseItsScheme() throws {
    let rules = "any proxy-protocol then x-forwarded-for hops 192.0.2.0/24"
    let lines = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https"]
    #expect(try scheme(rules, isTLS: false, proxy: "v2 198.51.100.7 9", lines) == "http connection")
    #expect(try scheme(rules, isTLS: false, proxy: "v2 198.51.100.7 9 plain", lines) == "http proxy-v2")
    #expect(
      try scheme(rules, isTLS: false, proxy: "v2 198.51.100.7 9 tls", ["X-Forwarded-Proto: http"]) == "https proxy-v2")
    // A hop that says nothing of the scheme leaves it to what its own connection was.
    #expect(
      try scheme(rules, isTLS: false, proxy: "v2 192.0.2.9 9 tls", ["X-Forwarded-For: 1.1.1.1"]) == "https proxy-v2")
  }

  // MARK: Forwarded

  @Test(arguments: [
    ("for=198.51.100.7", "connection"),
    ("for=198.51.100.7;proto=https", "https"),
    ("Proto=HTTPS;For=198.51.100.7;by=_x", "https"),
    ("proto=\"https\";for=198.51.100.7", "https"),
    ("for=198.51.100.7;proto=http, for=192.0.2.1;proto=https", "http"),
    ("for=198.51.100.7;proto=https, for=192.0.2.1", "https"),
    // The element that names the client is the one that counts.
    ("for=198.51.100.7, for=192.0.2.1;proto=https", "connection"),
    ("for=1.1.1.1;proto=https, for=198.51.100.7", "connection"),
    ("for=1.1.1.1;proto=https, for=198.51.100.7;proto=http", "http"),
    ("for=1.1.1.1;proto=nonsense, for=198.51.100.7;proto=http", "http"),
    ("for=198.51.100.7;proto=ftp", "refused"),
    ("for=198.51.100.7;proto=\"\"", "refused"),
    ("for=198.51.100.7;proto=https;proto=https", "refused"),
    ("for=198.51.100.7;proto=\"http\\s\"", "refused"),
    ("for=198.51.100.7;proto=https, for=192.0.2.1;proto=ftp", "refused"),
    ("for=198.51.100.7;proto=", "refused"),
  ]) func theElementThatNamesTheClientNamesItsScheme(value: String, expected: String) throws {
    for isTLS in [false, true] {
      let whole =
        switch expected {
        case "connection": "\(isTLS ? "https" : "http") connection"
        case "refused": "refused forwarded-invalid"
        default: "\(expected) forwarded"
        }
      let lines = ["X-Forwarded-Proto: https, http, https", "Forwarded: \(value)"]
      #expect(try scheme("any forwarded forwarded hops 192.0.2.0/24", isTLS: isTLS, lines) == whole)
    }
  }

  @Test func aRuleSaysThatItStatesTheScheme() throws {
    #expect(
      try policy("any proxy-protocol scheme https")[0].description == "line 1: any proxy-protocol, scheme https")
  }
}
