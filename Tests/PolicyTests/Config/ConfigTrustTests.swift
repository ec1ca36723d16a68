// Trust rules: what is taken, and what would let anybody claim anything.

import Policy
import Testing
import Wire

@Suite struct ConfigTrustTests {
  static func document(_ rules: String, listen: String = "127.0.0.1:8443") -> String {
    """
    identity: { keys: k, audience: me }
    listeners:
      - name: web
        listen: "\(listen)"
        trust: [
          \(rules)
        ]
    routes: [{ to: app }]
    upstreams: { app: { servers: ["127.0.0.1:3000"] } }
    """
  }

  /// Each as the rules of one listener, all else being right.
  static let wrong: [(rules: String, findings: [String])] = [
    (
      "{ from: any, evidence: forwarded }",
      [
        "6:15: `evidence: forwarded` from everywhere lets anybody claim any address: name the proxies' own addresses in `from`"
      ]
    ),
    (
      "{ from: [10.0.0.0/8, \"::/0\"], evidence: forwarded }",
      [
        "6:28: `evidence: forwarded` from everywhere lets anybody claim any address: name the proxies' own addresses in `from`"
      ]
    ),
    (
      "{ from: any, evidence: proxy-protocol }",
      [
        "6:15: warning: `evidence: proxy-protocol` from everywhere lets whoever reaches this port claim any address: name the load balancers' own addresses in `from`"
      ]
    ),
    (
      "{ from: 10.0.0.0/8, evidence: socket }, { from: [192.0.2.1, 10.0.0.0/8], evidence: refuse }",
      ["6:67: `10.0.0.0/8` has a rule in line 6 already; one range has one rule"]
    ),
    (
      "{ from: [10.0.0.1, 10.0.0.1/32], evidence: refuse }",
      ["6:26: `10.0.0.1/32` has a rule in line 6 already; one range has one rule"]
    ),
    (
      "{ from: any, evidence: socket }, { from: [any], evidence: refuse }",
      ["6:49: `any` has a rule in line 6 already; one range has one rule"]
    ),
    ("{ from: [any, 10.0.0.0/8], evidence: socket }", ["6:16: `any` holds every peer and stands alone"]),
    (
      "{ from: all, evidence: socket }",
      ["6:15: expected an address or a range such as `10.0.0.0/8` for `listeners[0].trust[0].from`, found `all`"]
    ),
    (
      "{ from: Any, evidence: socket }",
      [
        "6:15: expected `any`, or ranges such as `[10.0.0.0/8]` for `listeners[0].trust[0].from`, found `Any`: did you mean `any`?"
      ]
    ),
    (
      "{ from: \"::ffff:10.0.0.0/104\", evidence: refuse }",
      [
        "6:15: expected an IPv4 range written as IPv4 for `listeners[0].trust[0].from`, found `::ffff:10.0.0.0/104`: did you mean `10.0.0.0/8`?"
      ]
    ),
    (
      "{ from: any, evidence: proxy_protocol }",
      [
        "6:30: expected one of `socket`, `proxy-protocol`, `forwarded`, `attested`, `refuse` for `listeners[0].trust[0].evidence`, found `proxy_protocol`: did you mean `proxy-protocol`?"
      ]
    ),
    (
      "{ from: any, evidence: socket, hops: [10.0.0.0/8] }",
      ["6:44: `hops` is only used with `evidence: forwarded`, or `proxy-protocol` with `then: forwarded`"]
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, header: forwarded }",
      ["6:59: `header` is only used with `evidence: forwarded`, or with `then: forwarded`"]
    ),
    ("{ from: any, evidence: socket, then: forwarded }", ["6:44: `then` is only used with `evidence: proxy-protocol`"]),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, then: socket }",
      ["6:57: expected `forwarded` for `listeners[0].trust[0].then`, found `socket`"]
    ),
    // Nobody's field would be read: each proxy would be the client of all whom it brings.
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, then: forwarded }",
      [
        "6:57: `then: forwarded` needs `hops`: the proxies whose field is read; without them each of them is taken for the client itself"
      ]
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, then: forwarded, hops: [] }",
      [
        "6:74: `then: forwarded` needs `hops`: the proxies whose field is read; without them each of them is taken for the client itself"
      ]
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, then: forwarded, hops: [10.0.0] }",
      [
        "6:75: expected an address or a range such as `10.0.0.0/8` for `listeners[0].trust[0].hops`, found `10.0.0`"
      ]
    ),
    (
      "{ from: 10.0.0.1, evidence: forwarded, header: x-real-ip }",
      ["6:54: expected one of `x-forwarded-for`, `forwarded` for `listeners[0].trust[0].header`, found `x-real-ip`"]
    ),
    (
      "{ from: 10.0.0.1, evidence: forwarded, header: X-Forwarded_Fro }",
      [
        "6:54: expected one of `x-forwarded-for`, `forwarded` for `listeners[0].trust[0].header`, found `X-Forwarded_Fro`: did you mean `x-forwarded-for`?"
      ]
    ),
    (
      "{ from: 10.0.0.1, evidence: forwarded, hops: [0.0.0.0/0] }",
      ["6:53: `0.0.0.0/0` as hops steps over every address; nobody is left to be the client"]
    ),
    (
      "{ from: any, evidence: socket, proxy_protocol: required }",
      [
        "6:54: `proxy_protocol` is only used with `evidence: attested`; a PROXY header from a load balancer is `evidence: proxy-protocol`"
      ]
    ),
    (
      "{ from: any, evidence: attested, proxy_protocol: v2 }",
      ["6:56: expected one of `off`, `required` for `listeners[0].trust[0].proxy_protocol`, found `v2`"]
    ),
    (
      "{ from: any, evidence: attested, proxy_protocol: true }",
      [
        "6:56: expected one of `off`, `required` for `listeners[0].trust[0].proxy_protocol`, found `true`: did you mean `required`?"
      ]
    ),
    (
      "{ from: 10.0.0.1, evidence: proxy-protocol, scheme: ssl }",
      ["6:59: expected one of `evidence`, `http`, `https` for `listeners[0].trust[0].scheme`, found `ssl`"]
    ),
    (
      "{ from: any, evidence: attested, scheme: https }",
      ["6:48: `scheme` is not used with `evidence: attested`: the edge has signed it"]
    ),
    ("{ from: any, evidence: refuse, scheme: http }", ["6:46: `scheme` is not used with `evidence: refuse`"]),
    ("{ form: any, evidence: socket }", ["6:9: unknown key `form` in `listeners[0].trust[0]`: did you mean `from`?"]),
  ]

  @Test(arguments: wrong)
  func wrongRules(rules: String, expected: [String]) {
    let found = findings(Self.document(rules)).filter { !$0.contains("`audience` has no use here") }
    #expect(found == expected)
  }

  @Test func rulesKeepTheirOrderTheirLineAndTheirDefaults() throws {
    let read = try config(
      """
      identity: { keys: k, audience: me }
      listeners:
        - name: web
          listen: "127.0.0.1:8443"
          trust:
            - { from: [10.0.0.0/24], evidence: proxy-protocol }
            - { from: 10.0.1.1, evidence: forwarded }
            - from: [10.0.2.0/24, "2001:db8::/32"]
              evidence: proxy-protocol
              then: forwarded
              header: Forwarded
              hops: 198.51.100.0/24
            - { from: [any], evidence: attested, proxy_protocol: required }
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      """)
    let rules = read.listeners[0].trust
    #expect(rules.map(\.place.line) == [6, 7, 8, 13])
    #expect(rules.map(\.evidence) == [.proxyProtocol, .forwarded, .proxyProtocol, .attested])
    #expect(rules.map(\.thenForwarded) == [false, false, true, false])
    #expect(rules.map(\.header) == [.xForwardedFor, .xForwardedFor, .forwarded, .xForwardedFor])
    #expect(
      rules.map { $0.from.map(\.description) } == [
        ["10.0.0.0/24"], ["10.0.1.1/32"], ["10.0.2.0/24", "2001:db8::/32"], [],
      ])
    #expect(rules[2].hops.map(\.description) == ["198.51.100.0/24"])
    #expect(rules.map(\.proxyProtocolRequired) == [false, false, false, true])
  }

  @Test func noRulesMeansNoneFromTheReader() throws {
    #expect(try config(minimal()).listeners[0].trust == [])
  }

  /// Who may open a unix socket is the file's permissions to say.
  @Test(arguments: ["forwarded", "proxy-protocol"])
  func anyPeerOfAUnixSocketMayBeTakenAtItsWord(evidence: String) {
    let found = findings(Self.document("{ from: any, evidence: \(evidence) }", listen: "unix:/run/web"))
    #expect(found.filter { !$0.contains("`audience` has no use here") } == [])
  }
}
