// What a field name means to Countersign, decided once for each line, by the parser. The lists below are section 6
// of docs/IDENTITY.md, and the names that other proxies are known to tell an address, a scheme or a host with.
// Invariant: a name that a backend could take for a protected one is never `.other`.
// Callers: FieldTable classifies; the identity policy and the writers act on the kind.

/// What a field name is to us.
public enum FieldKind: UInt8, CaseIterable, Sendable {
  /// An ordinary field, forwarded untouched.
  case other
  // The message and the hop (RFC 9110, RFC 9112)
  case host, contentLength, transferEncoding, connection, keepAlive, proxyConnection, te, trailer, upgrade, expect
  case via, date, server
  case proxyAuthenticate, proxyAuthorization
  // The three signed fields
  case clientAttest, signatureInput, signature
  // Foreign identity that the trust policy reads by name
  case xForwardedFor, xForwardedProto, xForwardedHost, xRealIP, forwarded
  /// The rest of the specification's identity-foreign list.
  case foreign
  /// Another known claim about client, scheme or host: removed everywhere, never a refusal.
  case claim
  /// Folds to a protected name without being it.
  case alias

  /// One bit for a set of kinds.
  @inlinable public var bit: UInt64 { 1 &<< UInt64(rawValue) }

  /// A name that speaks for the client's identity, in any spelling.
  @inlinable public var isIdentity: Bool { bit & Self.identityBits != 0 }
  /// Identity that an edge never sends and a validator refuses (identity-foreign).
  @inlinable public var isForeign: Bool { bit & Self.foreignBits != 0 }

  @inlinable public static var foreignBits: UInt64 {
    xForwardedFor.bit | xForwardedProto.bit | xForwardedHost.bit | xRealIP.bit | forwarded.bit | foreign.bit
  }
  @inlinable public static var signedBits: UInt64 { clientAttest.bit | signatureInput.bit | signature.bit }
  @inlinable public static var identityBits: UInt64 { foreignBits | signedBits | alias.bit }
}

/// The known names, by a small hash table over their packed form. Built once; a lookup is a multiplication and, for
/// nearly every ordinary name, one empty slot.
struct FieldNames: Sendable {
  private struct Entry: Sendable {
    var name: PackedName
    var kind: FieldKind
  }

  static let shared = FieldNames()

  private static let slotBits: UInt64 = 8
  private var slots: [UInt8]
  private var entries: [Entry] = []
  private let forwardedPrefix = PackedName("x-forwarded-")
  private let certificatePrefix = PackedName("client-cert")

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
    (.clientAttest, ["client-attest"]),
    (.signatureInput, ["signature-input"]),
    (.signature, ["signature"]),
    (.xForwardedFor, ["x-forwarded-for"]),
    (.xForwardedProto, ["x-forwarded-proto"]),
    (.xForwardedHost, ["x-forwarded-host"]),
    (.xRealIP, ["x-real-ip"]),
    (.forwarded, ["forwarded"]),
    // With the prefixes x-forwarded- and client-cert, below.
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
        "x-envoy-external-address", "x-proxyuser-ip", "wl-proxy-client-ip", "proxy-client-ip", "x-remote-addr",
        "x-remote-ip", "remote-addr", "x-originating-ip", "x-azure-clientip", "x-azure-socketip", "cf-connecting-ipv6",
        "cf-pseudo-ipv4", "cf-visitor", "x-appengine-user-ip", "x-appengine-remote-addr", "cdn-src-ip", "cdn-real-ip",
        "ali-cdn-real-ip", "x-cdn-src-ip", "x-original-host", "x-original-url", "x-rewrite-url", "x-host",
        "x-url-scheme", "x-scheme", "front-end-https", "early-data", "countersign-refusal",
      ]
    ),
  ]

  private init() {
    slots = [UInt8](repeating: 0, count: 1 << Self.slotBits)
    for (kind, names) in Self.known {
      for text in names {
        let name = PackedName(text)
        precondition(name.count <= PackedName.countMax)
        entries.append(Entry(name: name, kind: kind))
        var slot = Self.hash(name)
        while slots[slot] != 0 { slot = (slot &+ 1) & (1 << Self.slotBits - 1) }
        slots[slot] = UInt8(entries.count)
      }
    }
    precondition(entries.count < 1 << (Self.slotBits - 1), "the table keeps empty slots, so that a probe ends")
  }

  @inline(__always) private static func hash(_ name: PackedName) -> Int {
    let mixed =
      (name.word0 ^ (name.word1 &* 0x9e37_79b9_7f4a_7c15)) &+ name.word2 &+ UInt64(truncatingIfNeeded: name.count)
    return Int(truncatingIfNeeded: (mixed &* 0xd6e8_feb8_6659_fd93) &>> (64 &- slotBits))
  }

  /// The kind of a token.
  func kind(_ bytes: Span<UInt8>, _ range: ByteRange) -> FieldKind {
    let packed = PackedName(plainFrom: range.lower, to: range.upper, bytes)
    return packed.count == range.range.count ? kind(packed) : foldedKind(bytes, range)
  }

  /// The kind of a name that is spelled with letters, digits and hyphens, or was folded to them.
  @inline(__always) func kind(_ name: PackedName) -> FieldKind {
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
    return isForwarded || isCertificate ? .foreign : .other
  }

  /// The kind of a token that holds other bytes than letters, digits and hyphens. It is an alias of what it folds to.
  /// `Content_Length` and the like count as protected too: what they fold to decides where a message ends. An alias of a
  /// mere claim is that claim; of any other name, nothing to us.
  @inline(never) func foldedKind(_ bytes: Span<UInt8>, _ range: ByteRange) -> FieldKind {
    let kind = kind(PackedName(bytes, range, folding: true))
    switch kind {
    case .contentLength, .transferEncoding: return .alias
    case .claim: return .claim
    default: return kind.isIdentity ? .alias : .other
    }
  }
}
