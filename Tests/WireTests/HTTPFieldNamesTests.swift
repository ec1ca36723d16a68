// Field names in every spelling: what is protected, what stands in for it, and what a validator refuses of names (the rows of
// docs/IDENTITY.md section 6 that concern them).

import TestSupport
import Testing
import Wire

@Suite struct HTTPFieldNamesTests {
  /// Every byte that may stand in a name besides letters and digits.
  static let marks = "!#$%&'*+-.^_`|~"

  static let signed: [(String, FieldKind)] = [
    ("client-attest", .clientAttest), ("signature-input", .signatureInput), ("signature", .signature),
  ]
  static let foreign: [(String, FieldKind)] = [
    ("x-forwarded-for", .xForwardedFor), ("x-forwarded-proto", .xForwardedProto),
    ("x-forwarded-host", .xForwardedHost), ("x-real-ip", .xRealIP), ("forwarded", .forwarded),
    ("x-forwarded-", .foreign), ("x-forwarded-port", .foreign), ("x-forwarded-server", .foreign),
    ("x-forwarded-client-cert", .foreign), ("x-forwarded-a-very-long-name-that-nobody-uses", .foreign),
    ("true-client-ip", .foreign), ("cf-connecting-ip", .foreign), ("client-ip", .foreign), ("x-client-ip", .foreign),
    ("x-cluster-client-ip", .foreign), ("fastly-client-ip", .foreign), ("client-cert", .foreign),
    ("client-cert-chain", .foreign), ("client-certificate", .foreign),
    ("client-cert-that-has-a-very-long-name-indeed", .foreign),
  ]
  static let hop: [(String, FieldKind)] = [
    ("host", .host), ("content-length", .contentLength), ("transfer-encoding", .transferEncoding),
    ("connection", .connection), ("keep-alive", .keepAlive), ("proxy-connection", .proxyConnection), ("te", .te),
    ("trailer", .trailer), ("upgrade", .upgrade), ("expect", .expect), ("via", .via), ("date", .date),
    ("server", .server), ("proxy-authenticate", .proxyAuthenticate), ("proxy-authorization", .proxyAuthorization),
    ("early-data", .earlyData),
  ]
  static let claims = [
    "x-original-forwarded-for", "x-envoy-external-address", "x-proxyuser-ip", "wl-proxy-client-ip", "proxy-client-ip",
    "x-remote-addr", "x-remote-ip", "x-originating-ip", "x-azure-clientip", "cf-connecting-ipv6",
    "x-appengine-user-ip", "cdn-src-ip", "ali-cdn-real-ip", "x-original-host", "countersign-refusal",
  ]
  static let ordinary = [
    "accept", "user-agent", "cookie", "hosts", "hos", "x-forward", "xforwardedfor", "signature-inputs",
    "signatures", "client-attests", "client-cer", "client_id", "x_request_id", "a", "content-type", "content-lengths",
    "x", "sec-websocket-key", "if-none-match", "-", "x-real-ips", "forwarded-", "x_y.z~",
    "a-name-of-more-than-thirty-two-bytes-in-all",
  ]

  /// The kind of a name, read through a whole head, at several places so that it meets words' ends.
  func kind(_ name: String) -> FieldKind {
    let reader = RequestReader()
    var found: FieldKind?
    for padding in 0..<9 {
      for tail in ["", "X: a value that is long enough for whole words\r\n"] {
        let bytes = Array(
          "GET /\(String(repeating: "p", count: padding)) HTTP/1.1\r\nP: q\r\n\(name): 1\r\n\(tail)Host: h\r\n\r\n".utf8
        )
        let outcome = reader.parse(bytes, 0)
        // Names that decide about the message may make it a bad one; they are classified all the same.
        if case .refused(let refusal) = outcome {
          #expect([.framingTe, .hostMultiple, .expectation].contains(refusal), "\(name): \(outcome)")
        } else {
          #expect(outcome == .complete(length: bytes.count))
        }
        #expect(text(reader.head.name(1), bytes) == name)
        #expect(reader.head.kind(0) == .other)
        let kind = reader.head.kind(1)
        #expect(found == nil || found == kind)
        found = kind
      }
    }
    return found ?? .other
  }

  static func spellings(_ name: String) -> [String] {
    let upper = name.uppercased()
    var mixed = ""
    for (index, character) in name.enumerated() {
      mixed += index % 2 == 0 ? character.uppercased() : String(character)
    }
    return [name, upper, mixed]
  }

  @Test func protectedNamesInEveryCase() {
    for (name, expected) in Self.signed + Self.foreign + Self.hop {
      for spelling in Self.spellings(name) { #expect(kind(spelling) == expected, "\(spelling)") }
    }
    for name in Self.claims {
      for spelling in Self.spellings(name) { #expect(kind(spelling) == .claim, "\(spelling)") }
    }
    for name in Self.ordinary {
      for spelling in Self.spellings(name) { #expect(kind(spelling) == .other, "\(spelling)") }
    }
  }

  /// Each hyphen alone, and all of them, replaced with every other mark.
  static func aliases(_ name: String) -> [String] {
    let hyphens = name.indices.filter { name[$0] == "-" }
    var all: [String] = []
    for mark in marks where mark != "-" {
      for hyphen in hyphens {
        all.append(name.replacingCharacter(at: hyphen, with: mark))
      }
      if !hyphens.isEmpty { all.append(String(name.map { $0 == "-" ? mark : $0 })) }
    }
    return all
  }

  @Test func everyAliasOfEveryProtectedName() throws {
    let reader = RequestReader()
    let framing: [(String, FieldKind)] = [
      ("content-length", .contentLength), ("transfer-encoding", .transferEncoding), ("early-data", .earlyData),
    ]
    var count = 0
    for (name, _) in Self.signed + Self.foreign + framing {
      for alias in Self.aliases(name) {
        for spelling in [alias, alias.uppercased()] {
          let bytes = Array("GET / HTTP/1.1\r\n\(spelling): 1\r\nHost: a\r\n\r\n".utf8)
          try #require(reader.parse(bytes, 0) == .complete(length: bytes.count))
          #expect(reader.head.kind(0) == .alias, "\(spelling)")
          #expect(reader.head.identityRefusal == .nameAlias)
          #expect(reader.head.framing == .none)
          count += 1
        }
      }
    }
    #expect(count > 1000)
    for name in Self.claims {
      for alias in Self.aliases(name) { #expect(kind(alias) == .claim, "\(alias)") }
    }
  }

  @Test func aliasesOfOtherNamesAreOrdinary() {
    for (name, _) in Self.hop
    where !["content-length", "transfer-encoding", "early-data"].contains(name) {
      for alias in Self.aliases(name) { #expect(kind(alias) == .other, "\(alias)") }
    }
  }

  @Test func nominatingAProtectedNameInAnySpelling() throws {
    let reader = RequestReader()
    for (name, _) in Self.signed + Self.foreign {
      for spelling in [name, name.uppercased()] + Self.aliases(name) {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, \(spelling)\r\n\(spelling): 1\r\n\r\n".utf8)
        try #require(reader.parse(bytes, 0) == .complete(length: bytes.count))
        #expect(reader.head.isNominated(2) && !reader.head.isNominated(1) && !reader.head.isNominated(0))
        let isAlias = reader.head.kind(2) == .alias
        #expect(reader.head.identityRefusal == (isAlias ? .nameAlias : .hopNominated))
        // Also where no such field is there.
        let alone = Array("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, \(spelling)\r\n\r\n".utf8)
        try #require(reader.parse(alone, 0) == .complete(length: alone.count))
        #expect(reader.head.identityRefusal == .hopNominated, "\(spelling)")
      }
    }
  }

  @Test func announcingAProtectedNameInTrailer() throws {
    let reader = RequestReader()
    for (name, _) in Self.signed + Self.foreign {
      for spelling in [name, name.uppercased()] + Self.aliases(name) {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTrailer: , y,\(spelling)\r\n\r\n".utf8)
        try #require(reader.parse(bytes, 0) == .complete(length: bytes.count))
        #expect(reader.head.identityRefusal == .trailerIdentity, "\(spelling)")
      }
    }
  }

  // MARK: What a validator refuses of names, in the order of the table

  static let documents = Document.parse(
    #"""
    # the three fields, once each
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Client-Attest: \s c \r\n
    SIGNATURE-INPUT: i\r\n
    signature:s\r\n
    \r\n
    --> complete identity=clean attest=c input=i signature=s

    # ordinary claims of other proxies are no refusal
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature: s\r\n
    X-Original-Forwarded-For: 192.0.2.7\r\n
    X_Remote_IP: 192.0.2.7\r\n
    \r\n
    --> complete identity=clean

    # nothing at all
    GET / HTTP/1.1\r\n
    Host: a\r\n
    \r\n
    --> complete identity=identity-missing attest= input= signature=

    # no attestation
    GET / HTTP/1.1\r\n
    Host: a\r\n
    signature-input: i\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-missing

    # no signature input
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-missing

    # no signature
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    \r\n
    --> complete identity=identity-missing

    # two attestations, even if equal
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-duplicate

    # two signature inputs
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature-input: j\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-duplicate

    # two signatures
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature: s\r\n
    Signature: s\r\n
    \r\n
    --> complete identity=identity-duplicate

    # a missing field comes before a duplicate
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    client-attest: c\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-missing

    # a foreign field beside them
    GET / HTTP/1.1\r\n
    Host: a\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature: s\r\n
    X-Forwarded-Port: 443\r\n
    \r\n
    --> complete identity=identity-foreign

    # a duplicate comes before a foreign field
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Forwarded: for=192.0.2.7\r\n
    client-attest: c\r\n
    signature-input: i\r\n
    signature: s\r\n
    signature: s\r\n
    \r\n
    --> complete identity=identity-duplicate

    # an alias comes before everything
    GET http://a/ HTTP/1.1\r\n
    Host: a\r\n
    Connection: signature\r\n
    Client_Attest: c\r\n
    Trailer: signature\r\n
    Forwarded: x\r\n
    \r\n
    --> complete identity=name-alias

    # then a nomination
    GET http://a/ HTTP/1.1\r\n
    Host: a\r\n
    Connection: signature\r\n
    Trailer: signature\r\n
    Forwarded: x\r\n
    \r\n
    --> complete identity=hop-nominated

    # then the absolute form
    GET http://a/ HTTP/1.1\r\n
    Host: a\r\n
    Trailer: signature\r\n
    Forwarded: x\r\n
    \r\n
    --> complete identity=absolute-form

    # then a trailer
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Trailer: signature\r\n
    Forwarded: x\r\n
    \r\n
    --> complete identity=trailer-identity

    # Trailer that is no list of tokens
    GET / HTTP/1.1\r\n
    Host: a\r\n
    Trailer: signature;x\r\n
    \r\n
    --> refused value-invalid
    """#)

  @Test(arguments: documents) func validator(_ document: Document) {
    let reader = RequestReader()
    check(document, parse: reader.parse, summary: reader.summary)
  }
}

extension String {
  func replacingCharacter(at index: Index, with character: Character) -> String {
    var copy = self
    copy.replaceSubrange(index...index, with: String(character))
    return copy
  }
}
