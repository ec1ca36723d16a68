// How an edge came to know the client's address: the `via` member of an attestation.

/// The evidence that settled who the client is.
public enum Via: UInt8, CaseIterable, Sendable {
  /// The peer of the socket itself.
  case socket
  /// A PROXY protocol header from a trusted load balancer.
  case proxyV1, proxyV2
  /// `X-Forwarded-For` or `Forwarded` from a trusted proxy.
  case forwarded
  /// Another edge, in front of this one, signed it.
  case attested

  /// The word on the wire and in the log.
  @inlinable public var text: StaticString {
    switch self {
    case .socket: "socket"
    case .proxyV1: "proxy-v1"
    case .proxyV2: "proxy-v2"
    case .forwarded: "forwarded"
    case .attested: "attested"
    }
  }

  /// The word's meaning, or nil: no other spelling is taken.
  public init?(_ word: Span<UInt8>) {
    // A first look at the length and one byte picks the only candidate; then every byte is compared.
    let candidate: Via
    switch word.count {
    case 6: candidate = .socket
    case 9: candidate = .forwarded
    case 8 where word[0] == UInt8(ascii: "a"): candidate = .attested
    case 8 where word[7] == UInt8(ascii: "1"): candidate = .proxyV1
    case 8: candidate = .proxyV2
    default: return nil
    }
    let same =
      switch candidate {
      case .socket: StructuredField.matches(Texts.socket, word, at: 0)
      case .proxyV1: StructuredField.matches(Texts.proxyV1, word, at: 0)
      case .proxyV2: StructuredField.matches(Texts.proxyV2, word, at: 0)
      case .forwarded: StructuredField.matches(Texts.forwarded, word, at: 0)
      case .attested: StructuredField.matches(Texts.attested, word, at: 0)
      }
    guard same else { return nil }
    self = candidate
  }

  private enum Texts {
    static let socket = Literal("socket")
    static let proxyV1 = Literal("proxy-v1")
    static let proxyV2 = Literal("proxy-v2")
    static let forwarded = Literal("forwarded")
    static let attested = Literal("attested")
  }
}
