// The PROXY protocol header (haproxy doc/proxy-protocol.txt): what one says, and the front door of its two decoders.
// Invariant: an outcome never changes when more bytes come, except from `incomplete`; a header that is complete is
// exactly `length` bytes, and its source is an address that a client can have. Called by the listener before anything
// else is read from the peer (Proxy), with the rules that the peer's trust rule demands.

/// A decoded PROXY header. Ranges are those of TLV values, counted from the first byte of the header.
package struct ProxyHeader: Sendable {
  /// 1 or 2.
  package internal(set) var version: UInt8
  /// The LOCAL command: the sender speaks for itself, as in a health check. No address is to be taken from it.
  package internal(set) var isLocal = false
  /// Unmapped; the unspecified address when `isLocal`.
  package internal(set) var source = IPAddress.unspecified(.v4)
  package internal(set) var sourcePort: UInt16 = 0
  package internal(set) var destination = IPAddress.unspecified(.v4)
  package internal(set) var destinationPort: UInt16 = 0
  /// Bytes on the wire, from the first of the header to the last.
  package internal(set) var length = 0

  /// Which TLVs there are. A range below is meaningful only if its TLV is present.
  package internal(set) var contents: Contents = []
  package internal(set) var alpn = ByteRange.empty
  package internal(set) var authority = ByteRange.empty
  package internal(set) var ssl = ByteRange.empty
  package internal(set) var uniqueID = ByteRange.empty
  package internal(set) var crcValue = ByteRange.empty
  package internal(set) var attestation = ByteRange.empty
  /// The SSL TLV says that the client used TLS.
  package internal(set) var sslClient = false

  package struct Contents: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let alpn = Contents(rawValue: 1)
    package static let authority = Contents(rawValue: 2)
    package static let ssl = Contents(rawValue: 4)
    package static let uniqueID = Contents(rawValue: 8)
    package static let crc = Contents(rawValue: 16)
    package static let attestation = Contents(rawValue: 32)
  }

  init(version: UInt8) { self.version = version }
}

/// Whose headers are taken.
package enum ProxyRules: Sendable {
  /// A load balancer's: version 1 or 2, any TLVs in a sound structure.
  case balancer
  /// An edge's: version 2 with UNIQUE_ID and our attestation, and nothing that a strict receiver refuses.
  case attested
}

package enum ProxyOutcome: Sendable {
  case complete(ProxyHeader)
  /// The bytes so far can still become a header.
  case incomplete
  case refused(Refusal)
}

extension ProxyHeader {
  /// Version 1 is at most 107 bytes, as its specification counts them.
  package static let v1BytesMax = 107
  package static let bytesMaxDefault = 1024

  /// Decodes the header that `bytes` begin with, of at most `limit` bytes. Bytes that begin like no header are
  /// `proxyMissing` at the first byte that differs: a TLS ClientHello, or plain HTTP.
  package static func decode(
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
