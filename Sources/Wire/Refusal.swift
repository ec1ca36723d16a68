// The one table of named refusals: what is refused, with which status, and whether the connection ends with it.
// Names are what the access log, the metrics and the specification use; they do not go to clients elsewhere.

/// Why a request or a connection was refused. The order is not part of any format.
public enum Refusal: UInt8, CaseIterable, Sendable {
  // Framing and names (RFC 9112)
  case framingTeCl, framingTe, framingLength, framingChunk, lineEnding, obsFold, nameSpace, nameToken, nameAlias
  case valueInvalid, requestLine, version, hopNominated
  case hostMissing, hostMultiple, hostInvalid, targetForm, absoluteForm, methodRefused
  // What only HTTP/2 can have wrong (RFC 9113)
  case nameCase, http2PseudoField, http2ConnectionField, contentLengthMismatch, misdirected
  case http2Protocol, http2Flood, http2Resets, http2Busy
  case headTooLarge, tooManyFields, headTimeout, trailerIdentity, expectation, bodyTooLarge, bodyTimeout
  // The signed identity
  case identityMissing, identityDuplicate, identityForeign, identityForm, identityAddress
  case signatureForm, signatureTag, signatureComponents, signatureParams, signatureLength
  case keyUnknown, keyInactive, signatureInvalid, edgeNotAllowed, audienceWrong
  case timeFuture, timeExpired, timeLifetime, starting, replay, windowOld, epochsFull
  case boundAddress, boundPort, boundCid, boundKey, earlyData
  // The PROXY header
  case proxyMissing, proxyVersion, proxyCommand, proxyLocal, proxyFamily, proxyLength, proxyTlv, proxyCrc
  case proxyUniqueId, proxyAttestation, proxyAddress, proxyMalformed, proxyTimeout
  // Who the client is, at the edge
  case peerRefused, clientInfrastructure, clientUnknown, forwardedMissing, forwardedInvalid, forwardedExhausted
  // The way on
  case signFailed, routeNone, routeUndecided, pathAmbiguous, fileUnreadable, routeClosed, clientsIndistinct,
    upstreamNone, queueFull, queueTimeout,
    upstreamConnect,
    upstreamConnectTimeout, upstreamTls,
    upstreamReset, upgradeUnsupported
  case upstreamTimeout, upstreamResponse
  // What a route asks for
  case accessDenied, rateLimited, credentialsMissing, credentialsWrong, credentialsBusy
  // The connection
  case tlsHandshake, plainHttp, handshakeTimeout, connectionLimit, clientLimit, clientReset, clientTimeout, draining
}

extension Refusal {
  /// The name in logs and metrics: lower case with hyphens.
  public var name: StaticString { entry.name }
  /// The HTTP status, or 0 where nothing is answered: the connection just ends.
  public var status: UInt16 { entry.status }
  /// Whether the connection is closed after the answer.
  public var closes: Bool { entry.closes }

  /// The signed identity is missing, wrong, stale or used before.
  public var isOfIdentity: Bool { (Refusal.identityMissing.rawValue...Refusal.earlyData.rawValue).contains(rawValue) }

  /// Whether a client on this host is told the name: whoever tries a configuration out meets it first.
  public var isNamedOnLoopback: Bool { self == .clientInfrastructure || self == .clientUnknown }

  private var entry: (name: StaticString, status: UInt16, closes: Bool) {
    switch self {
    case .framingTeCl: ("framing-te-cl", 400, true)
    case .framingTe: ("framing-te", 400, true)
    case .framingLength: ("framing-length", 400, true)
    case .framingChunk: ("framing-chunk", 400, true)
    case .lineEnding: ("line-ending", 400, true)
    case .obsFold: ("obs-fold", 400, true)
    case .nameSpace: ("name-space", 400, true)
    case .nameToken: ("name-token", 400, true)
    case .nameAlias: ("name-alias", 400, true)
    case .valueInvalid: ("value-invalid", 400, true)
    case .requestLine: ("request-line", 400, true)
    case .version: ("version", 505, true)
    case .hopNominated: ("hop-nominated", 400, true)
    case .hostMissing: ("host-missing", 400, true)
    case .hostMultiple: ("host-multiple", 400, true)
    case .hostInvalid: ("host-invalid", 400, true)
    case .targetForm: ("target-form", 400, true)
    case .absoluteForm: ("absolute-form", 400, true)
    case .methodRefused: ("method-refused", 405, false)
    case .nameCase: ("name-case", 400, false)
    case .http2PseudoField: ("http2-pseudo-field", 400, false)
    case .http2ConnectionField: ("http2-connection-field", 400, false)
    case .contentLengthMismatch: ("content-length-mismatch", 400, false)
    case .misdirected: ("misdirected", 421, false)
    case .http2Protocol: ("http2-protocol", 0, true)
    case .http2Flood: ("http2-flood", 0, true)
    case .http2Resets: ("http2-resets", 0, true)
    case .http2Busy: ("http2-busy", 0, false)
    case .headTooLarge: ("head-too-large", 431, true)
    case .tooManyFields: ("too-many-fields", 431, true)
    case .headTimeout: ("head-timeout", 408, true)
    case .trailerIdentity: ("trailer-identity", 400, true)
    case .expectation: ("expectation", 417, true)
    case .bodyTooLarge: ("body-too-large", 413, true)
    case .bodyTimeout: ("body-timeout", 408, true)
    case .identityMissing: ("identity-missing", 403, true)
    case .identityDuplicate: ("identity-duplicate", 400, true)
    case .identityForeign: ("identity-foreign", 400, true)
    case .identityForm: ("identity-form", 400, true)
    case .identityAddress: ("identity-address", 400, true)
    case .signatureForm: ("signature-form", 400, true)
    case .signatureTag: ("signature-tag", 400, true)
    case .signatureComponents: ("signature-components", 400, true)
    case .signatureParams: ("signature-params", 400, true)
    case .signatureLength: ("signature-length", 400, true)
    case .keyUnknown: ("key-unknown", 403, true)
    case .keyInactive: ("key-inactive", 403, true)
    case .signatureInvalid: ("signature-invalid", 403, true)
    case .edgeNotAllowed: ("edge-not-allowed", 403, true)
    case .audienceWrong: ("audience-wrong", 421, true)
    case .timeFuture: ("time-future", 403, false)
    case .timeExpired: ("time-expired", 403, false)
    case .timeLifetime: ("time-lifetime", 403, false)
    case .starting: ("starting", 503, false)
    case .replay: ("replay", 403, true)
    case .windowOld: ("window-old", 403, true)
    case .epochsFull: ("epochs-full", 503, false)
    case .boundAddress: ("bound-address", 403, true)
    case .boundPort: ("bound-port", 403, true)
    case .boundCid: ("bound-cid", 403, true)
    case .boundKey: ("bound-key", 403, true)
    case .earlyData: ("early-data", 425, false)
    case .proxyMissing: ("proxy-missing", 0, true)
    case .proxyVersion: ("proxy-version", 0, true)
    case .proxyCommand: ("proxy-command", 0, true)
    case .proxyLocal: ("proxy-local", 0, true)
    case .proxyFamily: ("proxy-family", 0, true)
    case .proxyLength: ("proxy-length", 0, true)
    case .proxyTlv: ("proxy-tlv", 0, true)
    case .proxyCrc: ("proxy-crc", 0, true)
    case .proxyUniqueId: ("proxy-unique-id", 0, true)
    case .proxyAttestation: ("proxy-attestation", 0, true)
    case .proxyAddress: ("proxy-address", 0, true)
    case .proxyMalformed: ("proxy-malformed", 0, true)
    case .proxyTimeout: ("proxy-timeout", 0, true)
    case .peerRefused: ("peer-refused", 0, true)
    case .clientInfrastructure: ("client-infrastructure", 403, true)
    case .clientUnknown: ("client-unknown", 403, true)
    case .forwardedMissing: ("forwarded-missing", 403, true)
    case .forwardedInvalid: ("forwarded-invalid", 400, true)
    case .forwardedExhausted: ("forwarded-exhausted", 403, true)
    case .signFailed: ("sign-failed", 500, true)
    case .routeNone: ("route-none", 404, false)
    case .routeUndecided: ("route-undecided", 500, false)
    case .pathAmbiguous: ("path-ambiguous", 400, false)
    case .fileUnreadable: ("file-unreadable", 500, false)
    case .routeClosed: ("route-closed", 503, false)
    case .clientsIndistinct: ("clients-indistinct", 503, false)
    case .upstreamNone: ("upstream-none", 503, false)
    case .queueFull: ("queue-full", 503, false)
    case .queueTimeout: ("queue-timeout", 503, false)
    case .upstreamConnect: ("upstream-connect", 502, false)
    case .upstreamConnectTimeout: ("upstream-connect-timeout", 504, false)
    case .upstreamTls: ("upstream-tls", 502, false)
    case .upstreamReset: ("upstream-reset", 502, false)
    case .upgradeUnsupported: ("upgrade-unsupported", 501, false)
    case .upstreamTimeout: ("upstream-timeout", 504, false)
    case .upstreamResponse: ("upstream-response", 502, false)
    case .accessDenied: ("access-denied", 403, false)
    case .rateLimited: ("rate-limited", 429, false)
    case .credentialsMissing: ("credentials-missing", 401, false)
    case .credentialsWrong: ("credentials-wrong", 401, false)
    case .credentialsBusy: ("credentials-busy", 503, false)
    case .tlsHandshake: ("tls-handshake", 0, true)
    case .plainHttp: ("plain-http", 400, true)
    case .handshakeTimeout: ("handshake-timeout", 0, true)
    case .connectionLimit: ("connection-limit", 0, true)
    case .clientLimit: ("client-limit", 0, true)
    case .clientReset: ("client-reset", 0, true)
    case .clientTimeout: ("client-timeout", 0, true)
    case .draining: ("draining", 503, true)
    }
  }
}
