// Which name is of which kind: the specification's names (docs/IDENTITY.md section 6), the names that other proxies are
// known to tell a client's address, certificate or login, a scheme or a host with, and the operator's own
// (`identity.claims`). Built once for a configuration, immutable. What an ordinary name costs is one probe.
// Called by FieldTable for every field line, and by the configuration's reader.

public struct FieldNames: Sendable {
  private struct Entry: Sendable {
    var name: PackedName
    var kind: FieldKind
  }

  /// For requests where the configuration names no claims.
  public static let request = FieldNames(claims: [])
  /// For responses: a backend's words about itself, of which only the listed names mean something to us.
  public static let response = FieldNames(claims: [], knowsShapes: false)

  /// A configured name is at most so long, in bytes.
  public static let claimBytesMax = 64
  public static let claimsMax = 64

  private static let slotBits: UInt64 = 10
  private var slots: [UInt16]
  private var entries: [Entry] = []
  /// Configured names that are longer than a packed name, folded.
  private var longClaims: [[UInt8]] = []
  private let knowsShapes: Bool
  private let shapes = ClaimShapes.shared
  private let forwardedPrefix = PackedName("x-forwarded-")
  private let certificatePrefix = PackedName("client-cert")

  /// With the prefixes x-forwarded- and client-cert, below, and with ClaimShapes for requests.
  private static let known: [(FieldKind, [String])] = [
    (.host, ["host"]),
    (.contentLength, ["content-length"]),
    (.transferEncoding, ["transfer-encoding"]),
    (.connection, ["connection"]),
    (.keepAlive, ["keep-alive"]),
    (.proxyConnection, ["proxy-connection"]),
    (.te, ["te"]),
    (.trailer, ["trailer"]),
    (.upgrade, ["upgrade"]),
    (.expect, ["expect"]),
    (.via, ["via"]),
    (.date, ["date"]),
    (.server, ["server"]),
    (.proxyAuthenticate, ["proxy-authenticate"]),
    (.proxyAuthorization, ["proxy-authorization"]),
    (.earlyData, ["early-data"]),
    (.clientAttest, ["client-attest"]),
    (.signatureInput, ["signature-input"]),
    (.signature, ["signature"]),
    (.xForwardedFor, ["x-forwarded-for"]),
    (.xForwardedProto, ["x-forwarded-proto"]),
    (.xForwardedHost, ["x-forwarded-host"]),
    (.xRealIP, ["x-real-ip"]),
    (.forwarded, ["forwarded"]),
    (
      .foreign,
      [
        "true-client-ip", "cf-connecting-ip", "client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip",
      ]
    ),
    (
      .claim,
      [
        "x-forwarded", "x-forward-for", "forwarded-for", "forwarded-for-ip", "x-original-forwarded-for",
        "x-proxyuser-ip", "x-remote-addr", "x-remote-ip", "remote-addr", "remote-host", "x-remote-host",
        "x-originating-ip", "x-original-host", "x-original-url", "x-rewrite-url", "x-host", "x-url-scheme", "x-scheme",
        "x-custom-ip-authorization", "x-http-host-override", "x-host-override", "countersign-refusal",
        "countersign-verified",
        // A CGI program takes it for the proxy that its own requests must use (httpoxy).
        "proxy",
        // ASP.NET Core's middleware, nginx's auth_request and the proxies that follow them.
        "x-original-for", "x-original-proto", "x-original-scheme", "x-original-port", "x-original-prefix",
        "x-original-uri", "x-original-path", "x-original-remote-addr", "x-original-ip",
        // Schemes, and certificates by names that do not say whose.
        "front-end-https", "x-https", "x-client-proto", "x-ssl-cert", "x-ssl-certificate", "x-client-dn", "x-client-cn",
        // Cloudflare, Fastly, Akamai, Vercel, Netlify, Tencent EdgeOne, Imperva, Sucuri, Fly, DigitalOcean, Qrator
        "cf-connecting-ipv6", "cf-pseudo-ipv4", "cf-visitor", "fastly-ssl", "akamai-client-ip",
        "x-vercel-forwarded-for", "x-vercel-proxied-for", "x-nf-client-connection-ip", "eo-connecting-ip",
        "eo-client-ip", "incap-client-ip", "x-sucuri-clientip", "fly-client-ip", "do-connecting-ip",
        "x-qrator-ip-source",
        // Alibaba and the CDNs of China
        "cdn-src-ip", "cdn-real-ip", "ali-cdn-real-ip", "x-cdn-src-ip", "x-alicdn-client-ip",
        // Amazon, Google, Microsoft
        "cloudfront-viewer-address", "cloudfront-forwarded-proto", "x-appengine-user-ip", "x-appengine-remote-addr",
        "x-appengine-https", "x-google-real-ip", "x-azure-clientip", "x-azure-socketip", "x-fd-clientip",
        "x-fd-socketip", "x-arr-clientcert", "x-arr-ssl", "disguised-host",
        // Envoy
        "x-envoy-external-address", "x-envoy-internal", "x-envoy-original-path", "x-envoy-original-host",
        // WebLogic, and WebSphere's plug-in: its names begin with a dollar sign.
        "wl-proxy-client-ip", "proxy-client-ip", "wl-proxy-client-cert", "wl-proxy-ssl", "-wsra", "-wsrh", "-wsru",
        "-wscc", "-wscs", "-wssc", "-wssn", "-wssp", "-wsis", "-wspr", "-wsat",
        // Certificates and logins that a server in front has checked
        "x-client-cert", "x-client-verify", "x-ssl-client-cert", "x-ssl-client-verify", "ssl-client-cert",
        "ssl-client-verify", "remote-user", "x-remote-user", "remote-groups", "remote-name", "remote-email",
      ]
    ),
    // What nearly every request has: found at once, the words of these names are not looked at.
    (
      .other,
      [
        "accept", "accept-charset", "accept-encoding", "accept-language", "access-control-request-headers",
        "access-control-request-method", "authorization", "baggage", "cache-control", "content-encoding",
        "content-language", "content-type", "cookie", "device-memory", "dnt", "downlink", "dpr", "from",
        "grpc-timeout", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
        "last-event-id", "max-forwards", "origin", "pragma", "prefer", "priority", "purpose", "range", "referer", "rtt",
        "save-data", "sec-ch-ua", "sec-ch-ua-arch", "sec-ch-ua-full-version-list", "sec-ch-ua-mobile",
        "sec-ch-ua-model", "sec-ch-ua-platform", "sec-ch-ua-platform-version", "sec-fetch-dest", "sec-fetch-mode",
        "sec-fetch-site", "sec-fetch-storage-access", "sec-fetch-user", "sec-gpc", "sec-purpose",
        "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version",
        "soapaction",
        "traceparent", "tracestate", "upgrade-insecure-requests", "user-agent", "x-api-key", "x-correlation-id",
        "x-csrf-token", "x-http-method-override", "x-request-id", "x-requested-with", "x-xsrf-token",
      ]
    ),
  ]

  /// - Parameter claims: further names that a client could speak of itself with; each as `fold` gives it.
  public init(claims: [String]) { self.init(claims: claims, knowsShapes: true) }

  private init(claims: [String], knowsShapes: Bool) {
    self.knowsShapes = knowsShapes
    slots = [UInt16](repeating: 0, count: 1 << Self.slotBits)
    // What is found at once here is what the words would be looked at of otherwise.
    for (kind, names) in Self.known where kind != .other || knowsShapes {
      for text in names { set(PackedName(text), kind) }
    }
    for claim in claims {
      precondition(Self.fold(claim) == claim, "a claim is folded where it is read")
      let name = PackedName(claim)
      guard name.count <= PackedName.countMax else {
        longClaims.append(Array(claim.utf8))
        continue
      }
      switch kind(of: claim) {
      case .other, .claim: set(name, .foreign)
      // What it is already does all that, or more.
      default: break
      }
    }
    precondition(entries.count < slots.count / 2, "the table keeps empty slots, so that a probe ends")
  }

  private mutating func set(_ name: PackedName, _ kind: FieldKind) {
    precondition(name.count <= PackedName.countMax)
    var slot = Self.hash(name)
    while slots[slot] != 0 {
      let index = Int(slots[slot]) - 1
      if entries[index].name == name {
        entries[index].kind = kind
        return
      }
      slot = (slot &+ 1) & (1 << Self.slotBits - 1)
    }
    entries.append(Entry(name: name, kind: kind))
    slots[slot] = UInt16(entries.count)
  }

  @inline(__always) private static func hash(_ name: PackedName) -> Int {
    let mixed =
      (name.word0 ^ (name.word1 &* 0x9e37_79b9_7f4a_7c15)) &+ name.word2 &+ UInt64(truncatingIfNeeded: name.count)
    return Int(truncatingIfNeeded: (mixed &* 0xd6e8_feb8_6659_fd93) &>> (64 &- slotBits))
  }

  /// Whether it can be the name of a field (RFC 9110 section 5.1).
  public static func isToken(_ name: String) -> Bool { !name.isEmpty && name.utf8.allSatisfy(Token.isTokenByte) }

  /// A name in the form that all its spellings have in common: lower case, a hyphen for whatever is neither a letter nor a
  /// digit. Nil for what is no field name, or has neither.
  public static func fold(_ name: String) -> String? {
    let bytes = Array(name.utf8)
    guard !bytes.isEmpty, bytes.allSatisfy(Token.isTokenByte), bytes.contains(where: Token.isAlphanumeric) else {
      return nil
    }
    return String(decoding: bytes.map(fold), as: UTF8.self)
  }

  @inline(__always) private static func fold(_ byte: UInt8) -> UInt8 {
    Token.isAlphanumeric(byte) ? byte | 0x20 : 0x2d
  }

  /// Whether `name` is a spelling of `folded`, which is in that form.
  public static func isSpelling(_ name: Span<UInt8>, of folded: [UInt8]) -> Bool {
    guard name.count == folded.count else { return false }
    for i in 0..<folded.count where fold(name[i]) != folded[i] { return false }
    return true
  }

  /// The kind of a name.
  public func kind(of name: String) -> FieldKind {
    let bytes = Array(name.utf8)
    return kind(bytes.span, ByteRange(0, bytes.count))
  }

  /// The kind of a token.
  func kind(_ bytes: Span<UInt8>, _ range: ByteRange) -> FieldKind {
    let packed = PackedName(plainFrom: range.lower, to: range.upper, bytes)
    return packed.count == range.range.count ? kind(packed, bytes, range) : foldedKind(bytes, range)
  }

  /// The kind of the name at `range`, whose packed form, spelled or folded to letters, digits and hyphens, is `name`.
  @inline(__always) func kind(_ name: PackedName, _ bytes: Span<UInt8>, _ range: ByteRange) -> FieldKind {
    var slot = Self.hash(name)
    while true {
      let index = Int(slots[slot])
      if index == 0 { break }
      if entries[index &- 1].name == name { return entries[index &- 1].kind }
      slot = (slot &+ 1) & (1 << Self.slotBits - 1)
    }
    let isForwarded =
      name.count >= 12 && name.word0 == forwardedPrefix.word0
      && name.word1 & 0xffff_ffff == forwardedPrefix.word1
    let isCertificate =
      name.count >= 11 && name.word0 == certificatePrefix.word0
      && name.word1 & 0xff_ffff == certificatePrefix.word1
    if isForwarded || isCertificate { return .foreign }
    if name.count > PackedName.countMax, !longClaims.isEmpty, isLongClaim(bytes, range) { return .foreign }
    return knowsShapes && shapes.match(bytes, range) ? .claim : .other
  }

  /// The kind of a token that holds other bytes than letters, digits and hyphens. It is an alias of what it folds to.
  /// `Content_Length` and the like count as protected too: what they fold to decides where a message ends, or whether it
  /// may be acted on. An alias of a mere claim is that claim; of any other name, nothing to us.
  @inline(never) func foldedKind(_ bytes: Span<UInt8>, _ range: ByteRange) -> FieldKind {
    let kind = kind(PackedName(bytes, range, folding: true), bytes, range)
    switch kind {
    case .contentLength, .transferEncoding, .earlyData: return .alias
    case .claim: return .claim
    default: return kind.isIdentity ? .alias : .other
    }
  }

  @inline(never) private func isLongClaim(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
    let name = bytes.extracting(range.range)
    for claim in longClaims where Self.isSpelling(name, of: claim) { return true }
    return false
  }
}
