// Every key: what it takes instead of what was given, and its nearest spelling when it was misspelt.

import Policy
import Testing

@Suite struct ConfigKeyTests {
  /// A whole configuration in which each `$key` is replaced, one at a time, by a value of the wrong type.
  static let whole: [(key: String, right: String, wrong: String, message: String)] = [
    (
      "path_mismatch", "stricter", "strict",
      "expected one of `refuse`, `stricter` for `path_mismatch`, found `strict`: did you mean `stricter`?"
    ),
    (
      "headers.request_id", "make", "always",
      "expected one of `pass`, `keep`, `make` for `headers.request_id`, found `always`"
    ),
    (
      "headers.server", "remove", "[]",
      "expected `pass`, `remove` or the text that the field says, of at most 1024 printable ASCII characters for "
        + "`headers.server`, found a list"
    ),
    (
      "headers.via", "edge-a", "edge a",
      "expected `off`, or the name that stands in Via, of at most 64 bytes for `headers.via`, found `edge a`"
    ),
    (
      "identity.edge", "edge-a", "[a]",
      "expected a name of 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `identity.edge`, found a list"
    ),
    ("identity.keys", "k.json", "{}", "expected the path of a key set (JWKS) for `identity.keys`, found a mapping"),
    (
      "identity.keys_group", "proxy", "[]",
      "expected a group's name of 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `identity.keys_group`, found a list"
    ),
    (
      "identity.sign_with", "k1", "k=1",
      "expected the `kid` of a key of 1 to 32 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `identity.sign_with`, found `k=1`"
    ),
    (
      "identity.audience", "edge-a", "Edge-A",
      "expected a name of 1 to 64 of `a-z`, `0-9`, `.` and `-` for `identity.audience`, found `Edge-A`: did you mean `edge-a`?"
    ),
    ("identity.edges", "[edge-b]", "edge-b", "expected `identity.edges` to be a list of edge names, found `edge-b`"),
    ("identity.clock_skew", "2s", "31s", "expected a duration from 0 to 30s for `identity.clock_skew`, found `31s`"),
    (
      "identity.mode", "enforce", "observ",
      "expected one of `enforce`, `observe` for `identity.mode`, found `observ`: did you mean `observe`?"
    ),
    (
      "identity.infrastructure", "[10.0.0.0/8]", "{}",
      "expected `identity.infrastructure` to be a list of addresses and ranges, found a mapping"
    ),
    (
      "identity.claims", "[X-Acme-Client]", "X-Acme-Client",
      "expected `identity.claims` to be a list of names of request fields, found `X-Acme-Client`"
    ),
    (
      "identity.replay_window", "262144", "big",
      "expected a whole number from 1024 to 16777216 for `identity.replay_window`, found `big`"
    ),
    (
      "listeners.name", "web", "a b",
      "expected a name of 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `listeners[0].name`, found `a b`"
    ),
    (
      "listeners.listen", "\"127.0.0.1:8443\"", "[]",
      "expected `ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH` for `listeners[0].listen`, found a list"
    ),
    (
      "listeners.tls", "[{ certificate: a, key: b }]", "{ certificate: a, key: b }",
      "expected `listeners[0].tls` to be a list of mappings of `certificate` and `key`, found a mapping"
    ),
    (
      "listeners.client_certificates", "{ ca: c, require: true }", "c",
      "expected `listeners[0].client_certificates` to be a mapping of `ca`, `require`, found `c`"
    ),
    (
      "listeners.tls_minimum", "1.3", "1.1",
      "expected one of `1.2`, `1.3` for `listeners[0].tls_minimum`, found `1.1`: did you mean `1.2`?"
    ),
    (
      "listeners.trust", "[{ from: any, evidence: attested }]", "socket",
      "expected `listeners[0].trust` to be a list of rules such as `{ from: any, evidence: socket }`, found `socket`"
    ),
    (
      "routes.listener", "web", "a b",
      "expected a listener's name of 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` for `routes[0].listener`, found `a b`"
    ),
    (
      "routes.host", "a", "{}",
      "expected a host name such as `www.example.com` or `*.example.com`, without a port for `routes[0].host`, found a mapping"
    ),
    (
      "routes.path_prefix", "/a/b", "a/b",
      "expected a path such as `/api/`, of at most 1024 visible ASCII characters, taken literally for "
        + "`routes[0].path_prefix`, found `a/b`: did you mean `/a/b`?"
    ),
    (
      "routes.method", "GET", "get",
      "expected a method such as `GET`, in capitals for `routes[0].method`, found `get`: did you mean `GET`?"
    ),
    (
      "routes.header", "{ name: X-A }", "X-A",
      "expected `routes[0].header` to be a list of mappings such as `{ name: X-Canary, value: \"1\" }`, found `X-A`"
    ),
    (
      "routes.client", "[192.0.2.0/24]", "{}",
      "expected `routes[0].client` to be a list of addresses and ranges, found a mapping"
    ),
    (
      "routes.normalize", "true", "maybe",
      "expected one of `false`, `true` for `routes[0].normalize`, found `maybe`"
    ),
    (
      "routes.strip_prefix", "/a", "/c",
      "expected what the route's `path_prefix` begins with for `routes[0].strip_prefix`, found `/c`: did you mean `/a/b`?"
    ),
    (
      "routes.request_headers", "{ set: { X-A: b } }", "[]",
      "expected `routes[0].request_headers` to be a mapping of `set`, `add`, `remove`, found a list"
    ),
    (
      "routes.response_headers", "{ remove: Server }", "Server",
      "expected `routes[0].response_headers` to be a mapping of `set`, `add`, `remove`, found `Server`"
    ),
    (
      "routes.hsts", "180d", "180",
      "expected a duration from 0 to 730d, with a unit (`s`, `m`, `h`, `d`) for `routes[0].hsts`, found `180`: did you mean `180s`?"
    ),
    ("routes.to", "app", "[app]", "expected an upstream's name for `routes[0].to`, found a list"),
    (
      "app.host", "rewritten", "rewrite",
      "expected one of `as-sent`, `rewritten` for `upstreams.app.host`, found `rewrite`: did you mean `rewritten`?"
    ),
    (
      "app.identity", "attest", "true",
      "expected one of `attest`, `plain`, `none` for `upstreams.app.identity`, found `true`"
    ),
    (
      "app.audience", "v", "[v]",
      "expected a name of 1 to 64 of `a-z`, `0-9`, `.` and `-` for `upstreams.app.audience`, found a list"
    ),
    (
      "app.proxy_protocol", "v2", "v1",
      "expected one of `off`, `v2` for `upstreams.app.proxy_protocol`, found `v1`: did you mean `v2`?"
    ),
    (
      "app.servers", "[\"127.0.0.1:3000\"]", "\"127.0.0.1:3000\"",
      "expected `upstreams.app.servers` to be a list of endpoints such as `\"127.0.0.1:3334\"`, found `127.0.0.1:3000`"
    ),
    (
      "app.tls", "{ ca: a, name: b }", "on",
      "expected `upstreams.app.tls` to be a mapping of `ca`, `name`, `certificate`, `key`, found `on`"
    ),
    (
      "app.balance", "client-hash", "client_hash",
      "expected one of `round-robin`, `least-requests`, `client-hash` for `upstreams.app.balance`, found `client_hash`: did you mean `client-hash`?"
    ),
    (
      "app.health", "{ path: / }", "/",
      "expected `upstreams.app.health` to be a mapping of `path`, `tcp`, `grpc`, `protocol`, `interval`, `timeout`, `rise`, `fall`, `status`, `host`, `port`, `tls`, found `/`"
    ),
    (
      "app.retries", "{ count: 1 }", "1",
      "expected `upstreams.app.retries` to be a mapping of `count`, `budget`, `on`, found `1`"
    ),
    (
      "app.idle_connections", "8", "10001",
      "expected a whole number from 0 to 10000 for `upstreams.app.idle_connections`, found `10001`"
    ),
    ("timeouts.handshake", "5s", "11m", "expected a duration from 1ms to 10m for `timeouts.handshake`, found `11m`"),
    ("timeouts.head", "5s", "[]", "expected a duration from 1ms to 10m for `timeouts.head`, found a list"),
    ("timeouts.idle", "5s", "25h", "expected a duration from 1ms to 24h for `timeouts.idle`, found `25h`"),
    (
      "timeouts.upstream_connect", "5s", "off",
      "expected a duration from 1ms to 10m for `timeouts.upstream_connect`, found `off`"
    ),
    (
      "timeouts.upstream_response", "5s", "25h",
      "expected a duration from 1ms to 24h for `timeouts.upstream_response`, found `25h`"
    ),
    ("timeouts.tunnel", "5s", "721h", "expected a duration from 1ms to 720h for `timeouts.tunnel`, found `721h`"),
    ("timeouts.drain", "5s", "25h", "expected a duration from 0 to 24h for `timeouts.drain`, found `25h`"),
    ("timeouts.drain_delay", "5s", "61m", "expected a duration from 0 to 1h for `timeouts.drain_delay`, found `61m`"),
    (
      "timeouts.drain_tunnels", "0", "721h",
      "expected `auto` or a duration from 0 to 720h for `timeouts.drain_tunnels`, found `721h`"
    ),
    ("limits.connections", "0", "-1", "expected a whole number from 0 to 1000000 for `limits.connections`, found `-1`"),
    (
      "limits.connections_per_client", "0", "off",
      "expected a whole number from 0 to 1000000 for `limits.connections_per_client`, found `off`"
    ),
    ("limits.head", "8KiB", "512B", "expected a size from 1KiB to 1MiB for `limits.head`, found `512B`"),
    ("limits.fields", "9", "{}", "expected a whole number from 1 to 1000 for `limits.fields`, found a mapping"),
    ("limits.body", "0", "unlimited", "expected a size from 0 to 1024GiB for `limits.body`, found `unlimited`"),
    (
      "log.access", "off", "[a]",
      "expected `stdout`, `off`, `syslog` or the path of a file for `log.access`, found a list"
    ),
    (
      "log.format", "json", "text", "expected one of `json`, `combined`, `template` for `log.format`, found `text`"
    ),
    (
      "log.extra", "[user_agent]", "user_agent",
      "expected `log.extra` to be a list of members: `protocol`, `user`, `user_agent`, `referer`, `sni`, `alpn`, `request_id`, `retries`, `queue_ms`, `connect_ms`, `response_ms`, found `user_agent`"
    ),
    (
      "log.query", "names", "off",
      "expected one of `full`, `names`, `none` for `log.query`, found `off`: did you mean `none`?"
    ),
    ("log.tunnels", "both", "begin", "expected one of `end`, `both` for `log.tunnels`, found `begin`"),
    (
      "log.fields", "[{ name: account, header: X-Account }]", "account",
      "expected `log.fields` to be a list of mappings of `name` and `header` or `cookie`, found `account`"
    ),
    (
      "log.fields_key", "log.json", "{}",
      "expected the path of a key set (JWKS) for `log.fields_key`, found a mapping"
    ),
    (
      "admin.listen", "\"127.0.0.1:9901\"", "9901",
      "expected `ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`, with a port for `admin.listen`, found `9901`"
    ),
    ("workers", "auto", "0", "expected `auto` or a whole number from 1 to 256 for `workers`, found `0`"),
    (
      "accept_weaker", "0123456789abcdef", "yes",
      "expected the 16 digits 0-9, a-f that `check --against` printed for `accept_weaker`, found `yes`"
    ),
  ]

  static func document(replacing wrong: String? = nil) -> String {
    func value(_ key: String) -> String {
      let entry = whole.first { $0.key == key }!
      return key == wrong ? entry.wrong : entry.right
    }
    func pairs(_ section: String) -> String {
      whole.filter { $0.key.hasPrefix(section + ".") }
        .map { "\($0.key.dropFirst(section.count + 1)): \(value($0.key))" }.joined(separator: "\n      ")
    }
    return """
      identity:
        \(pairs("identity").replacing("      ", with: "  "))
      listeners:
        - \(pairs("listeners").replacing("      ", with: "    "))
      routes:
        - \(pairs("routes").replacing("      ", with: "    "))
      upstreams:
        app:
          \(pairs("app").replacing("      ", with: "    "))
      timeouts:
        \(pairs("timeouts").replacing("      ", with: "  "))
      limits:
        \(pairs("limits").replacing("      ", with: "  "))
      log:
        \(pairs("log").replacing("      ", with: "  "))
      admin:
        \(pairs("admin").replacing("      ", with: "  "))
      headers:
        \(pairs("headers").replacing("      ", with: "  "))
      path_mismatch: \(value("path_mismatch"))
      workers: \(value("workers"))
      accept_weaker: \(value("accept_weaker"))
      """
  }

  @Test func theWholeReadsWithoutAFinding() throws {
    _ = try config(Self.document())
  }

  @Test(arguments: whole)
  func aWrongValueIsTheOneFindingOfItsPlace(key: String, right: String, wrong: String, message: String) throws {
    let text = Self.document(replacing: key)
    // The place of the value, from the document itself: the one line that differs.
    let lines = zip(text.split(separator: "\n"), Self.document().split(separator: "\n")).enumerated()
    let differing = try #require(lines.first { $0.element.0 != $0.element.1 })
    let column = try #require(differing.element.0.firstRange(of: ": ")?.upperBound)
    let place = differing.element.0.distance(from: differing.element.0.startIndex, to: column) + 1
    #expect(findings(text) == ["\(differing.offset + 1):\(place): \(message)"])
  }

  @Test(arguments: whole.map(\.key))
  func aMisspeltKeyIsLedToTheRightOne(key: String) throws {
    let name = String(key.split(separator: ".").last!)
    var slip = Array(name)
    slip.swapAt(slip.count - 1, slip.count - 2)
    // `hsst` is as near to `host`.
    guard slip != Array(name), name != "hsts" else { return }
    let section = key.split(separator: ".").count == 1 ? "" : String(key.split(separator: ".")[0])
    // Replace the key within its own section.
    var lines = Self.document().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let header = section.isEmpty ? 0 : try #require(lines.firstIndex { $0.hasSuffix(section + ":") })
    let at = try #require(
      lines[header...].firstIndex {
        $0.trimmingPrefix { " -".contains($0) }.hasPrefix(name + ":") && (section.isEmpty || $0.hasPrefix(" "))
      })
    lines[at] = lines[at].replacing(name + ":", with: String(slip) + ":", maxReplacements: 1)
    let found = findings(lines.joined(separator: "\n"))
    #expect(
      found.contains {
        $0.hasPrefix("\(at + 1):") && $0.contains("unknown key `\(String(slip))`")
          && $0.hasSuffix("did you mean `\(name)`?")
      })
  }

  // MARK: Missing keys

  @Test func missingKeysSayWhatTheyAre() {
    #expect(
      findings("workers: 1\n") == [
        "1:1: the configuration lacks `listeners`: a list of where connections come in",
        "1:1: the configuration lacks `routes`: a list of which request goes to which upstream; `[{ to: NAME }]` sends all to one",
        "1:1: the configuration lacks `upstreams`: a mapping from names to servers",
      ])
    let yaml = """
      listeners: [{ tls: [{}], client_certificates: {}, trust: [{}] }]
      routes: [{}]
      upstreams: { app: { health: {}, tls: {} } }
      admin: {}
      """
    #expect(
      findings(yaml) == [
        "1:13: `listeners[0]` lacks `name`: a name for the log and for `explain`",
        "1:13: `listeners[0]` lacks `listen`: an address such as `127.0.0.1:8443`",
        "1:21: `listeners[0].tls[0]` lacks `certificate`: the path of a PEM file, the chain from the leaf on",
        "1:21: `listeners[0].tls[0]` lacks `key`: the path of the private key's PEM file",
        "1:47: `listeners[0].client_certificates` lacks `ca`: the path of the PEM file of those who may sign client certificates",
        "1:59: `listeners[0].trust[0]` lacks `from`: the peers it is for: ranges, or `any`",
        "1:59: `listeners[0].trust[0]` lacks `evidence`: what they must show: one of `socket`, `proxy-protocol`, `forwarded`, `attested`, `refuse`",
        "2:10: `routes[0]` lacks `to`: the name of an upstream; or `redirect`, `respond`, `files`, which answer here",
        "3:19: `upstreams.app` lacks `servers`: a list such as `[\"127.0.0.1:3334\"]`",
        "3:29: `upstreams.app.health` lacks `path`: what is asked for, such as `/healthz`; `grpc` asks gRPC's health service, `tcp: true` only connects",
        "3:38: `upstreams.app.tls` lacks `ca`: the path of the PEM file of those who may sign the server's certificate",
        "3:38: `upstreams.app.tls` lacks `name`: the name that the server's certificate must carry",
        "4:8: `admin` lacks `listen`: an address such as `127.0.0.1:9901`, or `unix:PATH`",
      ])
  }

  @Test func emptyListsAreNotAConfiguration() {
    #expect(
      findings("listeners: []\nroutes: []\nupstreams: {}\n") == [
        "1:12: expected at least one listener", "2:9: expected at least one route, such as `{ to: NAME }`",
        "3:12: expected at least one upstream",
      ])
    #expect(
      findings(
        """
        listeners: [{ name: web, listen: "127.0.0.1:1", tls: [], trust: [{ from: [], evidence: socket }] }]
        routes: [{ to: app }]
        upstreams: { app: { servers: [] } }
        """) == [
          "1:54: expected at least one certificate in `listeners[0].tls`; without TLS, leave it out",
          "1:74: expected `listeners[0].trust[0].from` to hold at least one range; for all peers write `any`",
          "3:30: expected at least one server in `upstreams.app.servers`",
        ])
  }

  // MARK: Names that must exist, or be single

  @Test func danglingAndDoubleNames() {
    let yaml = """
      listeners:
        - { name: web, listen: "127.0.0.1:8080" }
        - { name: web, listen: "127.0.0.1:8080" }
        - { name: admin, listen: "127.0.0.1:0" }
        - { name: free, listen: "127.0.0.1:0" }
      routes: [{ to: ap }, { to: elsewhere }]
      upstreams: { app: { servers: ["127.0.0.1:3000", "127.0.0.1:3000"] } }
      admin: { listen: "127.0.0.1:8080" }
      """
    #expect(
      findings(yaml) == [
        "3:13: a listener in line 2 has the name `web` already",
        "3:26: the address in line 2 is the same; one address has one listener",
        "4:13: `admin` names an admin listener in the log; give this one another name",
        "6:16: there is no upstream `ap`: did you mean `app`?",
        "6:28: there is no upstream `elsewhere`; there is `app`",
        "7:49: the server `127.0.0.1:3000` is given twice",
        "8:18: the address in line 3 is the same; one address has one listener",
      ])
  }

  @Test func attestingTakesANameAKeySetAndAKey() {
    let yaml = """
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      routes: [{ to: app }]
      upstreams: { app: { identity: attest, servers: ["127.0.0.1:3000"] } }
      """
    #expect(
      findings(yaml) == [
        "3:31: `identity: attest` needs an `audience`: the name of the validator in front of these servers",
        "3:31: `identity: attest` needs `identity.edge`: this edge's name",
        "3:31: `identity: attest` needs `identity.keys`: the path of the key set",
        "3:31: `identity: attest` needs `identity.sign_with`: the `kid` of the key that signs",
      ])
    #expect(
      findings(minimal("identity: { sign_with: k1, keys_group: proxy }\n")) == [
        "4:24: `sign_with` needs `identity.keys`: the path of the key set",
        "4:40: `keys_group` needs `identity.keys`: the path of the key set",
      ])
  }

  @Test func verifyingTakesAKeySetAndAnAudience() {
    let yaml = """
      identity: { edges: [edge-a, edge-a] }
      listeners: [{ name: web, listen: "127.0.0.1:8080", trust: [{ from: any, evidence: attested }] }]
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"] } }
      """
    #expect(
      findings(yaml) == [
        "1:29: the edge `edge-a` is given twice",
        "2:83: `evidence: attested` needs `identity.keys`: the path of the key set",
        "2:83: `evidence: attested` needs `identity.audience`: the name that attestations must be made for",
      ])
  }

  @Test func anEdgeBehindAnEdgeVerifiesUnderItsOwnNameUnlessItIsGivenAnother() {
    func audience(_ identity: String) -> String? {
      ConfigReader.read(
        text: """
          identity: { \(identity) }
          listeners: [{ name: a, listen: "127.0.0.1:80", trust: [{ from: any, evidence: attested }] }]
          routes: [{ to: app }]
          upstreams: { app: { servers: ["127.0.0.1:3000"] } }
          """, path: "/etc/c.yaml"
      ).config?.identity.audience
    }
    #expect(audience("edge: edge-a, keys: k.json") == "edge-a")
    #expect(audience("edge: edge-a, audience: other, keys: k.json") == "other")
    #expect(audience("edge: Edge_A, keys: k.json") == nil)
  }

  @Test func keysThatHaveNoUseWhereTheyStand() {
    let yaml = """
      listeners:
        - { name: web, listen: "127.0.0.1:8080", client_certificates: { ca: c }, tls_minimum: 1.3 }
      routes: [{ to: app }]
      upstreams:
        app:
          audience: app
          proxy_protocol: v2
          servers: ["127.0.0.1:3000"]
          tls: { ca: a, name: b, key: c }
          health: { path: /, interval: 1s, timeout: 2s }
      """
    #expect(
      findings(yaml) == [
        "2:65: `client_certificates` is only used with `tls`", "2:89: `tls_minimum` is only used with `tls`",
        "6:15: `audience` is only used with `identity: attest`",
        "7:21: `proxy_protocol: v2` is only sent with `identity: attest`",
        "9:33: `key` needs a `certificate` beside it in `upstreams.app.tls`",
        "10:47: `timeout` is longer than `interval` (1s)",
      ])
  }

  @Test func aShortIntervalShortensTheDefaultTimeout() throws {
    let read = try config(
      """
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"], health: { path: /, interval: 200ms } } }
      """)
    #expect(read.upstreams[0].health?.timeoutMilliseconds == 200)
  }

  // MARK: Warnings

  /// One audience is one validator, unless it is said that it is not; over all upstreams that sign for it.
  @Test func serversThatShareAnAudienceHaveToBeAskedFor() {
    func findings(_ upstreams: String) -> [String] {
      let yaml = """
        identity: { edge: e, keys: k, sign_with: k1 }
        listeners: [{ name: web, listen: "127.0.0.1:8080" }]
        routes: [{ path: /a, to: a }, { to: b }]
        upstreams:
          a: { identity: attest, audience: v, \(upstreams)
        """
      return ConfigReader.read(text: yaml, path: "/c.yaml").diagnostics.map { $0.text(file: "c") }
    }
    let advice =
      "share the audience `v`, so a message that one has taken could be replayed at another: give each validator an "
      + "upstream and an audience of its own, or accept that with `shared_audience: true`"
    #expect(
      findings("servers: [\"192.0.2.1:80\", \"192.0.2.2:80\"] }\n  b: { servers: [\"127.0.0.1:1\"] }")
        == ["c:5:36: 2 servers \(advice)"])
    #expect(
      findings(
        "servers: [\"192.0.2.1:80\"] }\n  b: { identity: attest, audience: v, servers: [\"192.0.2.2:80\"] }")
        == ["c:5:36: 2 servers \(advice)", "c:6:36: 2 servers \(advice)"])
    // The same server by two upstreams, another audience, and what was asked for.
    for upstreams in [
      "servers: [\"192.0.2.1:80\"] }\n  b: { identity: attest, audience: v, servers: [\"192.0.2.1:80\"] }",
      "servers: [\"192.0.2.1:80\"] }\n  b: { identity: attest, audience: w, servers: [\"192.0.2.2:80\"] }",
      "shared_audience: true, servers: [\"192.0.2.1:80\", \"192.0.2.2:80\"] }\n  b: { servers: [\"127.0.0.1:1\"] }",
    ] { #expect(findings(upstreams) == [], "\(upstreams)") }
    #expect(
      findings("servers: [\"192.0.2.1:80\"] }\n  b: { shared_audience: true, servers: [\"127.0.0.1:1\"] }")
        .first?.contains("only used with `identity: attest`") == true)
  }

  @Test func whatLooksLikeAMistakeIsAWarning() {
    let yaml = """
      identity: { edge: e, keys: k, sign_with: k1, audience: me, edges: [edge-b] }
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      routes:
        - { to: app }
        - { path: /a, to: signed }
      upstreams:
        app: { servers: ["app.internal:3000", "localhost:3000", "unix:/run/a", "192.0.2.1:80"] }
        signed: { identity: attest, audience: v, shared_audience: true, servers: ["192.0.2.1:80", "192.0.2.2:80"] }
        spare: { servers: ["127.0.0.1:80"] }
      admin: { listen: "0.0.0.0:9901" }
      """
    let result = ConfigReader.read(text: yaml, path: "/c.yaml")
    #expect(result.config != nil)
    #expect(
      result.diagnostics.map { $0.text(file: "c") } == [
        "c:1:56: warning: `audience` has no use here: no listener has a rule with `evidence: attested`",
        "c:1:67: warning: `edges` has no use here: no listener has a rule with `evidence: attested`",
        "c:5:5: warning: never reached: the route in line 4 takes every request",
        "c:7:20: warning: the identity goes there in plain words, unsigned and without TLS: whoever is on the way, or reaches the server directly, can write another",
        "c:7:74: warning: the identity goes there in plain words, unsigned and without TLS: whoever is on the way, or reaches the server directly, can write another",
        "c:9:3: warning: no route leads to the upstream `spare`",
        "c:10:18: warning: the admin listener asks nobody who they are; bind it to loopback or to a unix socket",
      ])
  }
}
