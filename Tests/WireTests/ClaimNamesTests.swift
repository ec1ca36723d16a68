// Names that speak of the client, and honest names that only look so. Whoever finds a claim that passes, or an honest
// field that is removed, adds it to one of the two tables: every test below then asks for it in every spelling.

import Testing
import Wire

@Suite struct ClaimNamesTests {
  /// Removed from every request.
  static let claims = """
    CloudFront-Viewer-Address Fly-Client-IP DO-Connecting-IP X-NF-Client-Connection-IP X-Vercel-Forwarded-For
    Incap-Client-IP X-Sucuri-ClientIP EO-Connecting-IP X-Real-Client-IP X-Source-IP X-Original-For X-SSL-Client-Verify
    SSL-Client-Verify X-Client-Cert Remote-User Proxy
    X-Original-Forwarded-For X-Envoy-External-Address X-ProxyUser-IP WL-Proxy-Client-IP Proxy-Client-IP X-Remote-Addr
    X-Remote-IP X-Originating-IP X-Azure-ClientIP X-Azure-SocketIP CF-Connecting-IPv6 CF-Pseudo-IPv4 CF-Visitor
    X-Appengine-User-IP Cdn-Src-IP Ali-CDN-Real-IP X-Original-Host Countersign-Refusal X-Forwarded X-Original-URL
    X-Original-URI X-Rewrite-URL X-Original-Proto X-HTTP-Host-Override Front-End-Https X-Client-Proto Disguised-Host
    X-Vercel-Proxied-For EO-Client-IP X-Qrator-IP-Source X-Google-Real-IP X-ARR-ClientCert X-ARR-SSL X-Envoy-Internal
    X-Envoy-Original-Path Fastly-SSL X-Custom-IP-Authorization X-FD-ClientIP WL-Proxy-Client-Cert $WSRA $WSRU $WSCC
    Fly-Forwarded-Proto CloudFront-Forwarded-Proto My-X-Forwarded-For Z-Forwarded-For X-ForwardedFor X-Forward-Host
    Cluster-Client-IP HTTP-Client-IP X-True-IP X-User-IP X-Client-Address X-Client-Addr X-RemoteAddr X-RealIP RealIP
    ClientIP X-Client-IPv6 X-Peer-IP X-Visitor-IP X-Viewer-IP X-Caller-IP X-Src-IP X-Source-Addr X-External-IP
    X-Acme-Company-Edge-Network-Real-Client-IP X-Client-IP-Address X-Real-IP-Port Forwarded-For-IP
    X-SSL-Client-S-DN X-SSL-Client-CN X-TLS-Client-Fingerprint SSL-Client-Subject-DN X-Amzn-Mtls-Clientcert
    X-Amzn-Mtls-Clientcert-Serial-Number X-Client-Certificate X-Client-Cert-Serial-Number CF-Client-Cert-Sha256
    X-Client-Verify X-Client-Verified X-SSL-Cert X-Remote-User RemoteUser Remote-Groups Remote-Email Remote-Host
    X--Client--IP
    """.split(whereSeparator: \.isWhitespace).map(String.init)

  /// Passed on untouched.
  static let honest = """
    X-Request-Id X-Correlation-Id X-Clip-Id Clientele X-Clientele-IP-Count Client X-Client X-Client-Version X-Client-Name
    X-Client-Id X-Client-Data X-Client-Info X-Client-Trace-Id X-Client-Tip X-Client-Ship X-Client-Ipsum X-Client-Certified
    X-Client-Verify-Email X-Client-Port Client-Cer X-Clients-IP X-Surreal-IP Surreal-IP X-Unreal-Address X-Real-Estate
    X-Real-Address-Book X-Source X-Source-Id X-Source-Ip-Ish X-Source-IP-Policy X-Data-Source X-IP IP X-Zip X-IP-Client
    X-Address X-Shipping-Address X-Wallet-Address X-User-Address X-User-Id X-User X-True-Chip X-Remote X-Remote-Config
    X-Remote-Control X-Remote-Users X-Remote-User-Agent X-Viewer-Id CloudFront-Viewer-Country X-Connecting X-Peer-Id
    Proxy-Status Proxy-Features X-Proxy Forwarded-To X-Fast-Forward Carry-Forward X-For X-HTTP-Method-Override
    CF-Ray CF-IPCountry X-NF-Request-ID Fly-Request-Id X-Vercel-Id X-Request-Start Via-Client SSL-Clientele X-SSL X-TLS-Version
    X-Amz-Date X-Amz-Security-Token X-Amzn-Trace-Id X-Goog-Api-Key X-Hub-Signature X-GitHub-Event Stripe-Signature
    Idempotency-Key Traceparent Baggage DPoP Sec-CH-UA Sec-CH-UA-Full-Version-List Apikey Authorization Cookie
    Access-Control-Request-Headers If-None-Match X-CSRF-Token X-Requested-With X-Original-Filename X-Original-Name
    X-Originating-App X-Envoy-Attempt-Count X-Powered-By Early-Data-Set Host-Name Real IP-Client WSRA X-Host-Name
    """.split(whereSeparator: \.isWhitespace).map(String.init)

  /// How careless readers spell a name, and it is still that one to them.
  static func spellings(_ name: String) -> [String] {
    var all = [name, name.lowercased(), name.uppercased()]
    if name.contains("-") {
      for mark in ["_", ".", "~", "!", "$", "'"] { all.append(name.replacing("-", with: mark)) }
      all.append(name.replacing("-", with: "_", maxReplacements: 1))
    }
    return all
  }

  @Test(arguments: claims) func aClaimIsOneInEverySpelling(_ name: String) {
    for spelling in Self.spellings(name) {
      #expect(FieldNames.request.kind(of: spelling) == .claim, "\(spelling)")
    }
  }

  @Test(arguments: honest) func anHonestFieldIsNothingToUs(_ name: String) {
    for spelling in Self.spellings(name) {
      #expect(FieldNames.request.kind(of: spelling) == .other, "\(spelling)")
    }
  }

  /// In a head and in trailers, wherever it stands and however much of it is seen at once.
  @Test(arguments: claims + honest) func aSectionTellsTheSame(_ name: String) {
    let expected: FieldKind = Self.claims.contains(name) ? .claim : .other
    let section = TrailerSection(fieldsMax: 8)
    for padding in 1..<10 {
      let bytes = Array("\(String(repeating: "p", count: padding)): 1\r\n\(name): 1\r\nX: y\r\n\r\n".utf8)
      #expect(
        section.parse(bytes.span, limits: HeadLimits(headBytes: 4096, fields: 8)) == .complete(length: bytes.count))
      #expect(section.kind(1) == expected)
      #expect(!section.hasIdentity, "a mere claim is no refusal")
    }
  }

  /// Every pair of words, joined and apart, before and behind others.
  @Test func wordsDecideAndNotLetters() {
    let names = FieldNames.request
    for subject in [
      "client", "remote", "real", "connecting", "viewer", "visitor", "peer", "originating", "source", "src",
    ] {
      for object in ["ip", "ipv4", "ipv6", "ipaddr", "ipaddress", "addr", "address"] {
        for claim in ["q-\(subject)-\(object)", "q-\(subject)\(object)", "a-b-\(subject)-\(object)"]
        where subject.utf8.count + object.utf8.count <= 16 {
          #expect(names.kind(of: claim) == .claim, "\(claim)")
        }
        for honest in [
          "q-\(subject)s-\(object)", "q-\(subject)-\(object)s", "q-\(object)-\(subject)", "q-z\(subject)-\(object)",
          "q-\(subject)-x-\(object)", "q-\(subject)\(object)s", "q-z\(subject)\(object)",
          "q-\(subject)-\(object)-policy",
        ] {
          #expect(names.kind(of: honest) == .other, "\(honest)")
        }
      }
    }
  }

  /// What a backend tells of itself is not a client's claim.
  @Test func responsesAreReadByTheListsAlone() {
    for name in ["X-Acme-Client-IP", "X-Client-Address", "Z-Forwarded-For", "X-TLS-Client-Fingerprint"] {
      #expect(FieldNames.response.kind(of: name) == .other)
      #expect(FieldNames.request.kind(of: name) == .claim)
    }
    #expect(FieldNames.response.kind(of: "X-Forwarded-For") == .xForwardedFor)
    #expect(FieldNames.response.kind(of: "countersign-refusal") == .claim)
  }

  // MARK: identity.claims

  static let longest = "x-acme-" + String(repeating: "long-", count: 11) + "ip"

  @Test(arguments: [
    "x-acme-client", "x-acme-visitor-of-the-shop-number-1", longest, "a", "x-clip-id", "remote-user", "accept",
    "x-source-ip", "0",
  ])
  func aConfiguredNameIsForeignInEverySpelling(_ claim: String) throws {
    #expect(FieldNames.fold(claim) == claim && claim.utf8.count <= FieldNames.claimBytesMax)
    let names = FieldNames(claims: ["x-other", claim])
    #expect(names.kind(of: claim) == .foreign)
    #expect(names.kind(of: claim.uppercased()) == .foreign)
    for mark in ["_", ".", "~"] where claim.contains("-") {
      #expect(names.kind(of: claim.replacing("-", with: mark)) == .alias)
    }
    for other in [claim + "s", "s" + claim, String(claim.dropLast()) + "-"] where other != claim {
      #expect(names.kind(of: other) != .foreign, "\(other)")
    }
    #expect(FieldNames.request.kind(of: claim) != .foreign)
    #expect(FieldNames.response.kind(of: claim) != .foreign)
  }

  /// Names that differ only where the packed form has no room for them.
  @Test func longNamesAreComparedWhole() {
    let names = FieldNames(claims: [Self.longest])
    for index in Self.longest.indices where Self.longest[index] != "-" {
      #expect(names.kind(of: Self.longest.replacingCharacter(at: index, with: "q")) != .foreign)
    }
  }

  @Test func whatIsKnownAlreadyStaysWhatItIs() {
    let known = ["x-forwarded-for", "forwarded", "client-cert", "x-real-ip"]
    let names = FieldNames(claims: known)
    for name in known { #expect(names.kind(of: name) == FieldNames.request.kind(of: name)) }
  }

  @Test func asManyAsThereMayBe() {
    let claims = (0..<FieldNames.claimsMax).map { "x-acme-\($0)" }
    let names = FieldNames(claims: claims)
    for claim in claims { #expect(names.kind(of: claim) == .foreign) }
    for claim in Self.claims { #expect(names.kind(of: claim) == .claim) }
    for name in Self.honest { #expect(names.kind(of: name) == .other) }
  }

  /// At a validator a configured claim is as the specification's own: refused, by the same names.
  @Test(arguments: [
    ("X-Acme-Client: 1", "identity-foreign"), ("x_acme_client: 1", "name-alias"),
    ("Connection: x-acme-client", "hop-nominated"), ("Trailer: x, X-ACME-Client", "trailer-identity"),
  ])
  func aValidatorRefusesAConfiguredClaim(_ line: String, _ refusal: String) {
    let bytes = Array(
      "GET / HTTP/1.1\r\nHost: a\r\nclient-attest: c\r\nsignature-input: i\r\nsignature: s\r\n\(line)\r\n\r\n".utf8)
    let limits = HeadLimits(headBytes: 4096, fields: 8)
    let head = RequestHead(fieldsMax: 8, names: FieldNames(claims: ["x-acme-client"]))
    #expect(head.parse(bytes.span, limits: limits) == .complete(length: bytes.count))
    #expect(head.identityRefusal?.text == refusal)
    let unconfigured = RequestHead(fieldsMax: 8)
    #expect(unconfigured.parse(bytes.span, limits: limits) == .complete(length: bytes.count))
    #expect(unconfigured.identityRefusal == nil)
  }
}
