// What a backend gets to see of a client's head.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct RequestWriterTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let head: String
    let written: String
    init(_ name: String, _ head: String, _ written: String) {
      testDescription = name
      self.head = head
      self.written = written
    }
  }

  @Test(arguments: [
    Case(
      "fields stay as they came, byte for byte, in their order",
      "GET /a?b=c HTTP/1.1\nHost: app.test:8443\nuser-AGENT:  x  y \t\nAccept:*/*\nX-Empty:\nCookie: a=1\nCookie: b=2",
      "GET /a?b=c HTTP/1.1\nHost: app.test:8443\nuser-AGENT:  x  y \t\nAccept:*/*\nX-Empty:\nCookie: a=1\nCookie: b=2\n"
    ),
    Case(
      "Host is written once, first", "GET / HTTP/1.1\nA: 1\nhOsT: app.test\nB: 2",
      "GET / HTTP/1.1\nHost: app.test\nA: 1\nB: 2\n"),
    Case("nothing but Host", "GET / HTTP/1.1\nHost: a", "GET / HTTP/1.1\nHost: a\n"),
    Case(
      "HTTP/1.0 goes on as HTTP/1.1", "GET / HTTP/1.0\nHost: a\nConnection: keep-alive", "GET / HTTP/1.1\nHost: a\n"),
    Case(
      "an absolute form goes on as path and query", "GET http://APP.test/x?y HTTP/1.1\nHost: app.test",
      "GET /x?y HTTP/1.1\nHost: app.test\n"),
    Case("an absolute form without a path", "GET http://a HTTP/1.1\nHost: a", "GET / HTTP/1.1\nHost: a\n"),
    Case("OPTIONS of the whole server", "OPTIONS * HTTP/1.1\nHost: a", "OPTIONS * HTTP/1.1\nHost: a\n"),
    Case("a method of its own", "PROPFIND /x HTTP/1.1\nHost: a", "PROPFIND /x HTTP/1.1\nHost: a\n"),
    Case(
      "what is for this hop only stays here",
      "GET / HTTP/1.1\nHost: a\nConnection: close\nKeep-Alive: timeout=5\nProxy-Connection: keep-alive\nTE: trailers\n"
        + "Trailer: X-Sum\nUpgrade: h2c\nProxy-Authorization: Basic eA==\nProxy-Authenticate: Basic\nAccept: */*",
      "GET / HTTP/1.1\nHost: a\nAccept: */*\n"),
    Case(
      "what Connection nominates stays here, whatever its case",
      "GET / HTTP/1.1\nHost: a\nX-Hop: 1\nConnection: x-hop, X-OTHER\nKeep: 2\nx-other: 3\nX-hop: 4\nX-Hope: 5",
      "GET / HTTP/1.1\nHost: a\nKeep: 2\nX-Hope: 5\n"),
    Case(
      "a length is written anew", "POST / HTTP/1.1\nHost: a\nContent-Length: 0042\nA: 1",
      "POST / HTTP/1.1\nHost: a\nA: 1\nContent-Length: 42\n"),
    Case(
      "a length of zero is a length", "POST / HTTP/1.1\nHost: a\nContent-Length: 0",
      "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n"),
    Case(
      "chunks stay chunks", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\nA: 1",
      "POST / HTTP/1.1\nHost: a\nA: 1\nTransfer-Encoding: chunked\n"),
    Case(
      "an expectation is not passed on by itself", "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nExpect: 100-continue",
      "POST / HTTP/1.1\nHost: a\nContent-Length: 1\n"),
  ])
  func headsGoOnAsWritten(_ one: Case) throws {
    #expect(try HeadDocument.request(one.head) == one.written)
  }

  @Test func expectationsAndUpgradesAreWrittenWhenWanted() throws {
    #expect(
      try HeadDocument.request(
        "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nExpect: 100-continue", expectsContinue: true)
        == "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nExpect: 100-continue\n")
    #expect(
      try HeadDocument.request(
        "GET /ws HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: keep-alive, Upgrade\nSec-WebSocket-Key: k",
        webSocket: true)
        == "GET /ws HTTP/1.1\nHost: a\nSec-WebSocket-Key: k\nConnection: Upgrade\nUpgrade: websocket\n")
  }

  // MARK: Identity

  /// Names that speak for the client, for the way it came, or for us.
  static let claims = [
    "client-attest", "signature-input", "signature", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    "x-forwarded-port", "x-forwarded-client-cert", "x-forwarded-anything", "x-real-ip", "forwarded", "true-client-ip",
    "cf-connecting-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip", "client-cert",
    "client-cert-chain", "x-forwarded", "x-forward-for", "forwarded-for", "x-original-forwarded-for",
    "x-envoy-external-address", "x-proxyuser-ip", "wl-proxy-client-ip", "proxy-client-ip", "x-remote-addr",
    "x-remote-ip", "x-originating-ip", "x-azure-clientip", "cf-connecting-ipv6", "x-appengine-user-ip", "cdn-src-ip",
    "ali-cdn-real-ip", "x-original-host", "x-original-url", "x-rewrite-url", "early-data", "countersign-refusal",
  ]

  /// Spellings that some backend somewhere takes for the name.
  static func spellings(_ name: String) -> [String] {
    let words = name.split(separator: "-").map { $0.prefix(1).uppercased() + $0.dropFirst() }
    var all = [name, name.uppercased(), words.joined(separator: "-")]
    if words.count > 1 {
      all += ["_", ".", "~", "!", "'"].map { words.joined(separator: $0) }
      all += [words.prefix(2).joined(separator: "_") + words.dropFirst(2).map { "-" + $0 }.joined()]
      all += [name.uppercased().replacing("-", with: "_")]
    }
    return all
  }

  @Test(arguments: claims)
  func noClaimPassesInAnySpelling(_ name: String) throws {
    for spelling in Self.spellings(name) {
      for line in ["\(spelling): 192.0.2.66", "\(spelling):", "\(spelling): a\n\(spelling): b"] {
        let expected = "GET / HTTP/1.1\nHost: a\nA: 1\nB: 2\n"
        // First, in the middle, last, and alone between others that go.
        for head in [
          "GET / HTTP/1.1\n\(line)\nHost: a\nA: 1\nB: 2", "GET / HTTP/1.1\nHost: a\nA: 1\n\(line)\nB: 2",
          "GET / HTTP/1.1\nHost: a\nA: 1\nB: 2\n\(line)", "GET / HTTP/1.1\nA: 1\nTE: x\n\(line)\nHost: a\nB: 2",
          "GET / HTTP/1.1\nHost: a\nA: 1\nConnection: \(spelling)\n\(line)\nB: 2",
          "GET / HTTP/1.1\nHost: a\nConnection: \(name)\nA: 1\nB: 2\n\(line)",
        ] {
          #expect(try HeadDocument.request(head) == expected, "\(line) in \(head)")
        }
      }
    }
  }

  @Test func namesThatOnlyLookLikeClaimsPass() throws {
    let fields = [
      "xforwardedfor: 1", "x-forwards-for: 1", "signatures: 1", "x-signature: 1", "forwarded-to: 1",
      "host-name: 1",
      "x-real-ipx: 1", "client: 1", "contentlength: 1", "user_agent: 1",
    ]
    let head = "GET / HTTP/1.1\nHost: a\n" + fields.joined(separator: "\n")
    #expect(try HeadDocument.request(head) == "GET / HTTP/1.1\nHost: a\n" + fields.joined(separator: "\n") + "\n")
  }

  /// A reader that takes `Content_Length` for the real thing would cut the message elsewhere.
  @Test(arguments: ["Content_Length", "content.length", "Transfer_Encoding", "TRANSFER~ENCODING"])
  func framingByAnotherNameIsLeftOut(_ name: String) throws {
    #expect(
      try HeadDocument.request("POST / HTTP/1.1\nHost: a\n\(name): 5\nContent-Length: 3")
        == "POST / HTTP/1.1\nHost: a\nContent-Length: 3\n")
  }

  private func plain(_ head: String, _ identity: ClientIdentity) throws -> String {
    try HeadDocument.request(head) { bytes, parsed, out in
      HeadWriter.writePlainIdentity(identity, host: bytes.extracting(parsed.authority.range), into: out)
    }
  }

  @Test func plainIdentityStandsLastAndOnce() throws {
    let identity = ClientIdentity(
      address: try #require(IPAddress("203.0.113.9")), port: 4_711, secure: true, via: .socket,
      connection: ConnectionID(high: 1, low: 2))
    let head = """
      GET / HTTP/1.1
      X-Forwarded-For: 10.0.0.1
      Host: app.test:8443
      Forwarded: for=10.0.0.1
      X_Real_IP: 10.0.0.1
      Connection: x-forwarded-for, forwarded
      Accept: */*
      """
    #expect(
      try plain(head, identity) == """
        GET / HTTP/1.1
        Host: app.test:8443
        Accept: */*
        X-Forwarded-For: 203.0.113.9
        X-Forwarded-Proto: https
        X-Forwarded-Host: app.test:8443
        X-Real-IP: 203.0.113.9
        Forwarded: for=203.0.113.9;host="app.test:8443";proto=https

        """)
  }

  @Test func onlyTheChosenPlainFieldsAreWritten() throws {
    let identity = ClientIdentity(
      address: try #require(IPAddress("203.0.113.9")), port: 1, secure: false, via: .socket,
      connection: ConnectionID(high: 1, low: 2))
    let lines = [
      "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http", "X-Forwarded-Host: a", "X-Real-IP: 203.0.113.9",
      "Forwarded: for=203.0.113.9;host=\"a\";proto=http",
    ]
    for choice in UInt8(1)..<32 {
      let fields = Config.PlainFields(rawValue: choice)
      let expected = lines.enumerated().filter { choice >> $0.offset & 1 == 1 }.map { $0.element + "\n" }.joined()
      let written = try HeadDocument.request("GET / HTTP/1.1\nHost: a") { bytes, parsed, out in
        HeadWriter.writePlainIdentity(
          identity, host: bytes.extracting(parsed.authority.range), fields: fields, into: out)
      }
      #expect(written == "GET / HTTP/1.1\nHost: a\n" + expected)
    }
  }

  /// RFC 7239 section 6: brackets and quotes, in Forwarded alone.
  @Test func anIPv6ClientIsQuotedWhereItMustBe() throws {
    let identity = ClientIdentity(
      address: try #require(IPAddress("2001:db8::7")), port: 1, secure: false, via: .proxyV2,
      connection: ConnectionID(high: 1, low: 2))
    #expect(
      try plain("GET / HTTP/1.1\nHost: [2001:db8::1]:80", identity) == """
        GET / HTTP/1.1
        Host: [2001:db8::1]:80
        X-Forwarded-For: 2001:db8::7
        X-Forwarded-Proto: http
        X-Forwarded-Host: [2001:db8::1]:80
        X-Real-IP: 2001:db8::7
        Forwarded: for="[2001:db8::7]";host="[2001:db8::1]:80";proto=http

        """)
  }

  @Test func whatDoesNotFitIsSaid() throws {
    let bytes = HeadDocument.bytes("GET / HTTP/1.1\nHost: a\nA: \(String(repeating: "x", count: 300))")
    let head = RequestHead(fieldsMax: 10)
    guard case .complete = head.parse(bytes.span, limits: HeadDocument.limits) else {
      Issue.record("not a head")
      return
    }
    for capacity in 1..<300 {
      let out = Buffer(capacity: capacity)
      HeadDocument.writeRequest(bytes.span, head, framing: .none, into: out)
      #expect(out.overflowed)
    }
  }
}
