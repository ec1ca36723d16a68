// What a field name means to Countersign, decided once for each line, by the parser (FieldNames).
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
  /// RFC 8470: the request may be a replay of TLS early data.
  case earlyData
  // The three signed fields
  case clientAttest, signatureInput, signature
  // Foreign identity that the trust policy reads by name
  case xForwardedFor, xForwardedProto, xForwardedHost, xRealIP, forwarded
  /// The rest of the specification's identity-foreign list, and the names of `identity.claims`.
  case foreign
  /// Another claim about client, scheme or host, by a known name or by its words: removed everywhere, never a refusal.
  case claim
  /// Folds to a protected name without being it.
  case alias

  /// One bit for a set of kinds.
  @inlinable public var bit: UInt64 { 1 &<< UInt64(rawValue) }

  /// A name that speaks for the client's identity, in any spelling.
  @inlinable public var isIdentity: Bool { bit & Self.identityBits != 0 }
  /// Identity that an edge never sends and a validator refuses (identity-foreign).
  @inlinable public var isForeign: Bool { bit & Self.foreignBits != 0 }

  /// Whether `identity.claims` may name it: it is somebody's claim already, or nothing to us.
  public var mayBeClaimed: Bool { self == .other || self == .claim || isForeign }

  @inlinable public static var foreignBits: UInt64 {
    xForwardedFor.bit | xForwardedProto.bit | xForwardedHost.bit | xRealIP.bit | forwarded.bit | foreign.bit
  }
  @inlinable public static var signedBits: UInt64 { clientAttest.bit | signatureInput.bit | signature.bit }
  @inlinable public static var identityBits: UInt64 { foreignBits | signedBits | alias.bit }
}
