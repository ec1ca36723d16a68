// How many clients a change touches, by lines of the access log.

import Policy
import Testing

@Suite struct TouchCountTests {
  private static func line(
    _ time: String, listener: String = "public", client: String? = nil, peer: String, upstream: String? = nil
  ) -> String {
    let client = client.map { #","client":"\#($0)","client_port":4711,"via":"socket""# } ?? ""
    let upstream = upstream.map { #","upstream":"\#($0)","server":"127.0.0.1:1""# } ?? ""
    return #"{"time":"\#(time)","listener":"\#(listener)"\#(client),"rule":"line 1","peer":"\#(peer)","#
      + #""connection":"0a","path":"/\"},{\\","status":200,"duration_ms":1.25\#(upstream)}"#
  }

  private static let log = [
    // A day and a second before the last.
    line("2026-02-28T07:09:30.850Z", peer: "10.0.0.1:1"),
    line("2026-02-28T07:09:31.850Z", client: "198.51.100.1", peer: "10.0.0.1:1", upstream: "signed"),
    line("2026-02-28T12:00:00.000Z", client: "198.51.100.1", peer: "10.0.0.2:1", upstream: "signed"),
    line("2026-02-28T12:00:00.000Z", client: "2001:db8::7", peer: "10.0.0.2:9", upstream: "plain"),
    line("2026-02-28T12:00:01.000Z", listener: "other", client: "198.51.100.9", peer: "10.0.0.2:1"),
    line("2026-02-28T12:00:02.000Z", peer: "172.16.9.9:4"),
    line("2026-02-28T12:00:03.000Z", peer: "[2001:db8::9]:4"),
    line("2026-02-28T12:00:04.000Z", peer: "unix"),
    #"{"time":"2026-02-28T12:00:05.000Z","peer":"10.0.0.3","status":0,"refusal":"proxy-missing","suppressed":12}"#,
    "ready listeners=public=127.0.0.1:8443", "", "{", #"{"time":"#, #"{"time":"2026-02-28T12:00:05.000Z""#,
    line("2026-03-01T07:09:31.000Z", client: "198.51.100.2", peer: "10.0.0.1:1", upstream: "signed"),
  ]

  private func touched(_ from: String, _ to: String, clientsMax: Int = 100) throws -> [String] {
    let changes = try Guarded.changes(Guarded.base, Guarded.edit(Guarded.base, from, to))
    let last = Self.log.last.flatMap { TouchCount.seconds(line: $0.utf8.span) }
    var count = TouchCount(changes, lastSeconds: try #require(last), clientsMax: clientsMax)
    for line in Self.log { count.note(line: line.utf8.span) }
    return zip(changes, count.touched).map { "\($0.kind.rawValue) \($1.text)" }
  }

  @Test func whoComesFromThosePeersToThatListenerCounts() throws {
    #expect(
      try touched("[10.0.0.0/24], evidence: proxy-protocol", "[10.0.0.0/24], evidence: forwarded") == [
        "forwarded-before-proxy touches 3 clients with 4 requests"
      ])
    #expect(
      try touched("infrastructure: [172.16.0.0/12]", "infrastructure: []") == [
        "infrastructure touches 1 client with 1 request"
      ])
    #expect(
      try touched("plain: { identity: plain", "plain: { identity: none") == [
        "upstream-identity touches 1 client with 1 request"
      ])
    #expect(try touched("tls_minimum: 1.3", "tls_minimum: 1.2") == ["tls-minimum touches 5 clients with 6 requests"])
    #expect(
      try touched("claims: [X-Acme]", "claims: []") == ["claims touches 6 clients with 7 requests"])
  }

  @Test func beyondTheBoundThereAreAtLeastSoMany() throws {
    #expect(
      try touched("tls_minimum: 1.3", "tls_minimum: 1.2", clientsMax: 2) == [
        "tls-minimum touches at least 2 clients with 6 requests"
      ])
  }

  @Test(arguments: [
    ("1970-01-01T00:00:00.000Z", 0), ("2000-02-29T00:00:00.000Z", 951_782_400),
    ("2026-11-25T07:09:31.850Z", 1_795_590_571),
  ]) func timesAreSecondsSince1970(time: String, seconds: Int64) {
    let found = TouchCount.seconds(line: Self.line(time, peer: "unix").utf8.span)
    #expect(found == seconds)
  }
}
