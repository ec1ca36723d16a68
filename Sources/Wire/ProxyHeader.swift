// The PROXY protocol header (haproxy doc/proxy-protocol.txt): what one says, and the front door of its two decoders.
// Invariant: an outcome never changes when more bytes come, except from `incomplete`; a header that is complete is
// exactly `length` bytes, and its source is an address that a client can have. Called by the listener before anything
// else is read from the peer (Proxy), with the rules that the peer's trust rule demands.

/// A decoded PROXY header. Ranges are those of TLV values, counted from the first byte of the header.
public struct ProxyHeader: Sendable {
  /// 1 or 2.
  public internal(set) var version: UInt8
  /// The LOCAL command: the sender speaks for itself, as in a health check. No address is to be taken from it.
  public internal(set) var isLocal = false
  /// Unmapped; the unspecified address when `isLocal`.
  public internal(set) var source = IPAddress.unspecified(.v4)
  public internal(set) var sourcePort: UInt16 = 0
  public internal(set) var destination = IPAddress.unspecified(.v4)
  public internal(set) var destinationPort: UInt16 = 0
  /// Bytes on the wire, from the first of the header to the last.
  public internal(set) var length = 0

  /// Which TLVs there are. A range below is meaningful only if its TLV is present.
  public internal(set) var contents: Contents = []
  public internal(set) var alpn = ByteRange.empty
  public internal(set) var authority = ByteRange.empty
  public internal(set) var ssl = ByteRange.empty
  public internal(set) var uniqueID = ByteRange.empty
  public internal(set) var crcValue = ByteRange.empty
  public internal(set) var attestation = ByteRange.empty
  /// The SSL TLV says that the client used TLS.
  public internal(set) var sslClient = false
  /// The SSL TLV says that the client showed a certificate, on this connection or earlier in its TLS session.
  public internal(set) var sslCertificate = false

  public struct Contents: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let alpn = Contents(rawValue: 1)
    public static let authority = Contents(rawValue: 2)
    public static let ssl = Contents(rawValue: 4)
    public static let uniqueID = Contents(rawValue: 8)
    public static let crc = Contents(rawValue: 16)
    public static let attestation = Contents(rawValue: 32)
  }

  init(version: UInt8) { self.version = version }
}

/// Whose headers are taken.
public enum ProxyRules: Sendable {
  /// A load balancer's: version 1 or 2, any TLVs in a sound structure.
  case balancer
  /// An edge's: version 2 with UNIQUE_ID and our attestation, and nothing that a strict receiver refuses.
  case attested
}

public enum ProxyOutcome: Sendable {
  case complete(ProxyHeader)
  /// The bytes so far can still become a header.
  case incomplete
  case refused(Refusal)
}

extension ProxyHeader {
  /// Version 1 is at most 107 bytes, as its specification counts them.
  public static let v1BytesMax = 107
  public static let bytesMaxDefault = 1024

  /// Decodes the header that `bytes` begin with, of at most `limit` bytes. Bytes that begin like no header are
  /// `proxyMissing` at the first byte that differs: a TLS ClientHello, or plain HTTP.
  public static func decode(
    _ bytes: Span<UInt8>, rules: ProxyRules, limit: Int = bytesMaxDefault
  ) -> ProxyOutcome {
    guard bytes.count > 0 else { return .incomplete }
    switch bytes[0] {
    case 0x0d: return decodeV2(bytes, rules: rules, limit: limit)
    case 0x50: return decodeV1(bytes, rules: rules, limit: min(limit, v1BytesMax))
    default: return .refused(.proxyMissing)
    }
  }
}
