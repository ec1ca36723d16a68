// The answer to "who is the client, and what did it use?", before anything is signed.

import Wire

/// A client, or the reason why there is none.
package enum Settlement: Equatable, Sendable {
  /// `port` is 0 only where it is not known, which only a forwarded field can leave open.
  case settled(IPAddress, port: UInt16, Via, ClientScheme)
  case refused(Refusal)
  /// Refused as `client-infrastructure`: the client would be this address, which is one of our own machinery's.
  case infrastructure(IPAddress)
}

/// Whether the client itself used TLS, and how that is known.
package struct ClientScheme: Equatable, Sendable {
  package let isSecure: Bool
  package let source: Source

  package enum Source: UInt8, Sendable {
    /// By the connection to our listener: there was no better evidence.
    case connection
    /// The SSL TLV of a PROXY v2 header.
    case proxy
    /// X-Forwarded-Proto, or `proto` in Forwarded.
    case forwarded
    /// `scheme` in the trust rule.
    case rule
    /// An edge in front signed it.
    case attested

    /// For the log and for `explain`.
    package var text: StaticString {
      switch self {
      case .connection: "connection"
      case .proxy: "proxy-v2"
      case .forwarded: "forwarded"
      case .rule: "rule"
      case .attested: "attested"
      }
    }
  }

  package init(isSecure: Bool, source: Source) {
    self.isSecure = isSecure
    self.source = source
  }

  /// What a listener without TLS sees.
  package static let plain = ClientScheme(isSecure: false, source: .connection)

  package var text: StaticString { isSecure ? "https" : "http" }
  /// The TLS at our listener is the client's own: then so are the certificate, the version and the cipher.
  package var isOwnTLS: Bool { isSecure && source == .connection }
}
