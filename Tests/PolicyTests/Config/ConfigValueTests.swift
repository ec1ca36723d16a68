// Values as tables: what is taken and what becomes of it, and what is not taken.

import Policy
import Testing
import Wire

@Suite struct ConfigValueTests {
  /// A server called `off` is more likely none that is told of.
  @Test func theServersNameIsNotSwitchedOff() throws {
    #expect(
      findings(minimal("headers: { server: off }")) == [
        "4:20: expected `pass`, `remove` or the text that the field says for `headers.server`, found `off`: did you mean `remove`?"
      ])
    #expect(try config(minimal("headers: { server: office }")).headers.server == .name("office"))
  }

  // MARK: Durations and sizes

  @Test(arguments: [
    ("250ms", 250), ("1ms", 1), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("24h", 86_400_000),
    ("\"60s\"", 60_000), ("0", 0), ("0s", 0), ("0ms", 0),
  ])
  func duration(text: String, milliseconds: Int) throws {
    #expect(try config(minimal("timeouts: { drain: \(text) }\n")).timeouts.drainMilliseconds == milliseconds)
  }

  /// `auto` is not a duration: what it stands for may be changed by itself.
  @Test(arguments: [("auto", nil), ("0", 0), ("720h", 2_592_000_000)])
  func theTimeOfTunnelsInADrain(text: String, milliseconds: Int?) throws {
    let given = try config(minimal("timeouts: { drain_tunnels: \(text) }\n"))
    #expect(given.timeouts.drainTunnelsMilliseconds == milliseconds)
    #expect(try config(given.resolved()).timeouts == given.timeouts)
    #expect(try config(minimal("")).timeouts.drainTunnelsMilliseconds == nil)
  }

  @Test(arguments: [
    (
      "5",
      "expected a duration from 0 to 24h, with a unit (`ms`, `s`, `m`, `h`) for `timeouts.drain`, found `5`: did you mean `5s`?"
    ),
    (
      "90000",
      "expected a duration from 0 to 24h, with a unit (`ms`, `s`, `m`, `h`) for `timeouts.drain`, found `90000`"
    ),
    (
      "5S",
      "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `5S`: did you mean `5s`?"
    ),
    ("5 s", "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `5 s`"),
    (
      "5sec",
      "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `5sec`: did you mean `5s`?"
    ),
    ("1d", "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `1d`"),
    ("1.5s", "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `1.5s`"),
    ("-1s", "expected a duration from 0 to 24h for `timeouts.drain`, found `-1s`"),
    ("05s", "expected a duration from 0 to 24h for `timeouts.drain`, found `05s`"),
    ("s", "expected a duration from 0 to 24h for `timeouts.drain`, found `s`"),
    ("25h", "expected a duration from 0 to 24h for `timeouts.drain`, found `25h`"),
    ("999999999999999h", "expected a duration from 0 to 24h for `timeouts.drain`, found `999999999999999h`"),
    ("9999999999999999s", "expected a duration from 0 to 24h for `timeouts.drain`, found `9999999999999999s`"),
    ("1m30s", "expected a duration from 0 to 24h, in `ms`, `s`, `m`, `h` for `timeouts.drain`, found `1m30s`"),
    ("", "expected a duration from 0 to 24h for `timeouts.drain`, found nothing"),
    ("\"\"", "expected a duration from 0 to 24h for `timeouts.drain`, found ``"),
  ])
  func notADuration(text: String, message: String) {
    #expect(findings(minimal("timeouts:\n  drain: \(text)\n")) == ["5:\(text.isEmpty ? 9 : 10): " + message])
  }

  @Test func aDurationThatMustNotBeZeroIsNotZero() {
    #expect(
      findings(minimal("timeouts: { idle: 0, head: 0s }\n")) == [
        "4:19: expected a duration from 1ms to 24h, with a unit (`ms`, `s`, `m`, `h`) for `timeouts.idle`, found `0`",
        "4:28: expected a duration from 1ms to 10m for `timeouts.head`, found `0s`",
      ])
  }

  @Test(arguments: [
    ("0", 0), ("512B", 512), ("1B", 1), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("1024GiB", 1 << 40),
  ])
  func size(text: String, bytes: Int) throws {
    #expect(try config(minimal("limits: { body: \(text) }\n")).limits.bodyBytes == bytes)
  }

  @Test(arguments: [
    (
      "64K",
      "expected a size from 0 to 1024GiB, in `B`, `KiB`, `MiB`, `GiB` for `limits.body`, found `64K`: did you mean `64KiB`?"
    ),
    (
      "64kb",
      "expected a size from 0 to 1024GiB, in `B`, `KiB`, `MiB`, `GiB` for `limits.body`, found `64kb`: did you mean `64KiB`?"
    ),
    (
      "64",
      "expected a size from 0 to 1024GiB, with a unit (`B`, `KiB`, `MiB`, `GiB`) for `limits.body`, found `64`: did you mean `64B`?"
    ),
    ("1025GiB", "expected a size from 0 to 1024GiB for `limits.body`, found `1025GiB`"),
    ("0x10", "expected a size from 0 to 1024GiB, in `B`, `KiB`, `MiB`, `GiB` for `limits.body`, found `0x10`"),
    ("none", "expected a size from 0 to 1024GiB for `limits.body`, found `none`"),
  ])
  func notASize(text: String, message: String) {
    #expect(findings(minimal("limits: { body: \(text) }\n")) == ["4:17: " + message])
  }

  @Test(arguments: ["-1", "+1", "01", "1_000", "1e3", "0x10", "1.0", "ten", "99999999999999999999", "0", "1001"])
  func notACount(text: String) {
    #expect(
      findings(minimal("limits: { fields: \(text) }\n")) == [
        "4:19: expected a whole number from 1 to 1000 for `limits.fields`, found `\(text)`"
      ])
  }

  @Test(arguments: [("1023", nil), ("1025", "2048"), ("200000", "262144"), ("16777217", nil)] as [(String, String?)])
  func theReplayWindowIsAPowerOfTwo(bits: String, suggestion: String?) {
    let expected =
      suggestion.map { "expected a power of two for `identity.replay_window`, found `\(bits)`: did you mean `\($0)`?" }
      ?? "expected a whole number from 1024 to 16777216 for `identity.replay_window`, found `\(bits)`"
    #expect(findings(minimal("identity: { replay_window: \(bits) }\n")) == ["4:28: " + expected])
  }

  @Test func claimsAreNamesOfFieldsInOneForm() throws {
    let longest = String(repeating: "x", count: 64)
    let read = try config(minimal("identity: { claims: [X-Acme-Client, x_SHOP.visitor, X-Client-IP, \(longest)] }\n"))
    #expect(read.identity.claims == ["x-acme-client", "x-shop-visitor", "x-client-ip", longest])
    let expected = "expected the name of a request field, such as `X-Acme-Client`, of at most 64 bytes"
    for (claims, message) in [
      ("[\(longest)x]", "4:22: \(expected) for `identity.claims[0]`, found `\(longest.dropLast(4))…`"),
      ("[\"a b\"]", "4:22: \(expected) for `identity.claims[0]`, found `a b`"),
      ("[\"é\"]", "4:22: \(expected) for `identity.claims[0]`, found `é`"),
      ("[\"\"]", "4:22: \(expected) for `identity.claims[0]`, found ``"),
      ("[--]", "4:22: \(expected) for `identity.claims[0]`, found `--`"),
      ("[a-b, A_B]", "4:27: the field `A_B` is given twice"),
      (
        "[content_length]",
        "4:22: `content_length` cannot be a claim: this field is read and written by rules of its own"
      ),
      ("[Host]", "4:22: `Host` cannot be a claim: this field is read and written by rules of its own"),
      (
        "[Client-Attest]", "4:22: `Client-Attest` cannot be a claim: this field is read and written by rules of its own"
      ),
      ("[Early-Data]", "4:22: `Early-Data` cannot be a claim: this field is read and written by rules of its own"),
    ] {
      #expect(findings(minimal("identity: { claims: \(claims) }\n")) == [message])
    }
    let many = (0...64).map { "x-\($0)" }.joined(separator: ", ")
    #expect(
      findings(minimal("identity: { claims: [\(many)] }\n")) == [
        "4:21: expected at most 64 names in `identity.claims`, found 65"
      ])
  }

  @Test(
    arguments: [
      ("[x-forwarded-for]", [.xForwardedFor]), ("[Forwarded, X-REAL-IP]", [.xRealIP, .forwarded]),
      ("[x-forwarded-host, x-forwarded-proto, forwarded, x-real-ip, x-forwarded-for]", .all),
    ] as [(String, Config.PlainFields)])
  func plainFields(text: String, fields: Config.PlainFields) throws {
    let yaml = """
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"], plain_fields: \(text) } }
      """
    let read = try config(yaml)
    #expect(read.upstreams[0].plainFields == fields)
    #expect(try config(read.resolved()).upstreams[0].plainFields == fields)
  }

  @Test(arguments: [
    (
      "plain_fields: []",
      "3:64: expected at least one field in `upstreams.app.plain_fields`; to tell nothing of the client, write `identity: none`"
    ),
    (
      "plain_fields: [x-forwarded-fro]",
      "3:65: expected one of `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host`, `x-real-ip`, `forwarded` for `upstreams.app.plain_fields[0]`, found `x-forwarded-fro`: did you mean `x-forwarded-for`?"
    ),
    ("plain_fields: [forwarded, Forwarded]", "3:76: the field `forwarded` is given twice"),
    ("plain_fields: [forwarded], identity: none", "3:64: `plain_fields` is only used with `identity: plain`"),
  ])
  func notPlainFields(text: String, message: String) {
    let yaml = """
      listeners: [{ name: web, listen: "127.0.0.1:8080" }]
      routes: [{ to: app }]
      upstreams: { app: { servers: ["127.0.0.1:3000"], \(text) } }
      """
    #expect(findings(yaml) == [message])
  }

  // MARK: Endpoints

  static func listening(_ text: String) -> String {
    """
    listeners: [{ name: web, listen: \(text) }]
    routes: [{ to: app }]
    upstreams: { app: { servers: ["127.0.0.1:3000"] } }
    """
  }

  @Test func listenersTakeAddresses() throws {
    let v4 = try #require(IPAddress("127.0.0.1"))
    let v6 = try #require(IPAddress("2001:db8::1"))
    #expect(try config(Self.listening("\"127.0.0.1:8443\"")).listeners[0].address == .address(v4, port: 8443))
    #expect(try config(Self.listening("127.0.0.1:0")).listeners[0].address == .address(v4, port: 0))
    #expect(try config(Self.listening("\"[2001:db8::1]:443\"")).listeners[0].address == .address(v6, port: 443))
    #expect(try config(Self.listening("unix:/run/x.sock")).listeners[0].address == .unix("/run/x.sock"))
    #expect(try config(Self.listening("\"unix:../x.sock\"")).listeners[0].address == .unix("/etc/x.sock"))
  }

  static let place = "expected an address, not a host name (`ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`)"
  static let form = "expected `ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`"
  static let badListens: [(text: String, message: String)] = [
    ("localhost:80", "\(place) for `listeners[0].listen`, found `localhost:80`: did you mean `127.0.0.1:80`?"),
    ("\":80\"", "\(place) for `listeners[0].listen`, found `:80`: did you mean `0.0.0.0:80`?"),
    ("\"*:80\"", "\(place) for `listeners[0].listen`, found `*:80`: did you mean `0.0.0.0:80`?"),
    ("example.com:80", "\(place) for `listeners[0].listen`, found `example.com:80`"),
    ("127.0.0.1", "\(form), with a port for `listeners[0].listen`, found `127.0.0.1`"),
    ("8080", "\(form), with a port for `listeners[0].listen`, found `8080`"),
    ("\"::1:80\"", "\(form) (IPv6 in brackets) for `listeners[0].listen`, found `::1:80`: did you mean `[::1]:80`?"),
    (
      "\"[127.0.0.1]:80\"",
      "expected an IPv6 address within the brackets for `listeners[0].listen`, found `[127.0.0.1]:80`"
    ),
    (
      "\"[::ffff:127.0.0.1]:80\"",
      "expected an IPv4 address written as IPv4 for `listeners[0].listen`, found `[::ffff:127.0.0.1]:80`: did you mean `127.0.0.1:80`?"
    ),
    ("\"[::1]\"", "expected a port from 0 to 65535 after the last colon for `listeners[0].listen`, found `[::1]`"),
    (
      "127.0.0.1:65536",
      "expected a port from 0 to 65535 after the last colon for `listeners[0].listen`, found `127.0.0.1:65536`"
    ),
    (
      "127.0.0.1:080",
      "expected a port from 0 to 65535 after the last colon for `listeners[0].listen`, found `127.0.0.1:080`"
    ),
    (
      "127.0.0.1:http",
      "expected a port from 0 to 65535 after the last colon for `listeners[0].listen`, found `127.0.0.1:http`"
    ),
    (
      "http://127.0.0.1:80",
      "\(form), without a scheme for `listeners[0].listen`, found `http://127.0.0.1:80`: did you mean `127.0.0.1:80`?"
    ),
    ("/run/x.sock", "\(form) for `listeners[0].listen`, found `/run/x.sock`: did you mean `unix:/run/x.sock`?"),
    (
      "srv:_http._tcp.a",
      "expected an address, not a service (`ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`) for `listeners[0].listen`, found `srv:_http._tcp.a`"
    ),
    ("\"unix:\"", "\(form) for `listeners[0].listen`, found `unix:`"),
    (
      "unix:/" + String(repeating: "s", count: 107),
      "expected a socket path of at most 107 bytes when absolute for `listeners[0].listen`, found `unix:/\(String(repeating: "s", count: 54))…`"
    ),
    ("[80]", "\(form) for `listeners[0].listen`, found a list"),
  ]

  @Test(arguments: badListens)
  func notAListenAddress(text: String, message: String) {
    #expect(findings(Self.listening(text)) == ["1:34: " + message])
  }

  @Test(arguments: [
    "a:80", "a-b.example:80", "localhost:65535", "db_1:80", "10.0.0.1:80", "\"[::1]:80\"", "unix:/run/a",
    "srv:_http._tcp.a.test", "srv:_x-1._tcp.a",
  ])
  func serversMayHaveNames(text: String) {
    let read = ConfigReader.read(
      text: "\(Self.listening("127.0.0.1:80"))".replacing("\"127.0.0.1:3000\"", with: text), path: "/c.yaml")
    #expect(read.config?.upstreams[0].servers.count == 1)
    // As it is written out, it reads back to the same.
    let again = read.config.flatMap { ConfigReader.read(text: $0.resolved(), path: "/c.yaml").config }
    #expect(again != nil && again?.upstreams[0].servers == read.config?.upstreams[0].servers)
  }

  @Test(arguments: [
    "a:0", "-a:80", "a..b:80", "300.1.1.1:80", "1.2.3:80", "a b:80", "a", "\"a:\"", "\"[::1]\"",
    "\"[::ffff:1.2.3.4]:80\"", "\"srv:\"", "srv:http._tcp.a", "srv:_http._udp.a", "srv:_http._tcp", "srv:_._tcp.a",
    "srv:_http._tcp.a:80", "srv:_http._tcp.1", "srv:_http._tcp.a.",
  ])
  func notAServer(text: String) {
    let found = findings(Self.listening("127.0.0.1:80").replacing("\"127.0.0.1:3000\"", with: text))
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("3:31: expected ") == true)
  }

  // MARK: Ranges

  @Test func rangesOfOneSpelling() throws {
    let read = try config(
      minimal("identity: { infrastructure: [10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\", \"::1\"] }\n"))
    #expect(
      read.identity.infrastructure.map(\.description) == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"])
    #expect(try config(minimal("identity: { infrastructure: 10.0.0.0/8 }\n")).identity.infrastructure.count == 1)
  }

  static let badRanges: [(text: String, message: String)] = [
    (
      "10.0.0.1/8",
      "expected a range with no bits set past its length for `identity.infrastructure`, found `10.0.0.1/8`: did you mean `10.0.0.0/8`?"
    ),
    (
      "\"2001:db8::1/32\"",
      "expected a range with no bits set past its length for `identity.infrastructure`, found `2001:db8::1/32`: did you mean `2001:db8::/32`?"
    ),
    (
      "\"2001:db8::ff:1/120\"",
      "expected a range with no bits set past its length for `identity.infrastructure`, found `2001:db8::ff:1/120`: did you mean `2001:db8::ff:0/120`?"
    ),
    (
      "\"::ffff:10.0.0.0/104\"",
      "expected an IPv4 range written as IPv4 for `identity.infrastructure`, found `::ffff:10.0.0.0/104`: did you mean `10.0.0.0/8`?"
    ),
    (
      "\"::ffff:10.1.2.3\"",
      "expected an IPv4 range written as IPv4 for `identity.infrastructure`, found `::ffff:10.1.2.3`: did you mean `10.1.2.3/32`?"
    ),
    (
      "10.0.0.0/33",
      "expected a prefix length from 0 to 32 in the range for `identity.infrastructure`, found `10.0.0.0/33`"
    ),
    (
      "10.0.0.0/08",
      "expected a prefix length from 0 to 32 in the range for `identity.infrastructure`, found `10.0.0.0/08`"
    ),
    (
      "10.0.0.0/", "expected a prefix length from 0 to 32 in the range for `identity.infrastructure`, found `10.0.0.0/`"
    ),
    ("10.0.0/8", "expected an address or a range such as `10.0.0.0/8` for `identity.infrastructure`, found `10.0.0/8`"),
    (
      "010.0.0.0/8",
      "expected an address or a range such as `10.0.0.0/8` for `identity.infrastructure`, found `010.0.0.0/8`"
    ),
    (
      "localhost",
      "expected an address or a range such as `10.0.0.0/8` for `identity.infrastructure`, found `localhost`"
    ),
    ("0.0.0.0/0", "`0.0.0.0/0` as infrastructure leaves nobody who could be a client"),
    ("\"::/0\"", "`::/0` as infrastructure leaves nobody who could be a client"),
  ]

  @Test(arguments: badRanges)
  func notARange(text: String, message: String) {
    #expect(findings(minimal("identity: { infrastructure: [\(text)] }\n")) == ["4:30: " + message])
  }

  // MARK: Names

  @Test(arguments: [
    ("edge", "Edge_A.1-x", true), ("edge", "a b", false), ("edge", "", false), ("edge", "ä", false),
    ("edge", String(repeating: "e", count: 64), true), ("edge", String(repeating: "e", count: 65), false),
    ("audience", "monitor-1.example", true), ("audience", "Monitor", false), ("audience", "a_b", false),
    ("sign_with", "K_1", true), ("sign_with", String(repeating: "k", count: 33), false), ("sign_with", "k/1", false),
  ])
  func names(key: String, text: String, taken: Bool) {
    let found = findings(minimal("identity: { keys: k.json, \(key): \"\(text)\" }\n"))
    #expect(found.allSatisfy { $0.contains("warning") } == taken)
  }

  @Test func relativePathsStartAtTheFile() throws {
    let read = try config(minimal("identity: { keys: ../keys/./edge.json }\nlog: { access: access.log }\n"))
    #expect(read.identity.keys == "/etc/keys/edge.json")
    #expect(read.log.access == .file("/etc/countersign/access.log"))
    #expect(try config(minimal("identity: { keys: /k.json }\n")).identity.keys == "/k.json")
  }
}
