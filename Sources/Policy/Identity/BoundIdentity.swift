// What a verified PROXY header says about everything that follows on its connection (mode `bound`).

import Platform
import Wire

package struct BoundIdentity: Sendable, Equatable {
  /// Unspecified on a health check's connection, which speaks for no client.
  package let address: IPAddress
  package let port: UInt16
  package let connection: ConnectionID
  package let keyID: KeyID
  /// Of the key that verified it; `KeyFingerprint`.
  let keyFingerprint: UInt64
  /// The client itself used TLS.
  package let secure: Bool
  /// The edge speaks for itself: LOCAL with the health flag.
  package let isHealthCheck: Bool
  package let usedEarlyData: Bool

  /// Why a verified request may not come over this connection.
  func refusal(of client: ClientIdentity, keyID requestKeyID: KeyID) -> Refusal? {
    guard !usedEarlyData else { return .earlyData }
    guard !isHealthCheck, client.address == address else { return .boundAddress }
    guard client.port == port else { return .boundPort }
    guard client.connection == connection else { return .boundCid }
    guard requestKeyID == keyID else { return .boundKey }
    return nil
  }
}

package enum ProxyVerifyOutcome: Sendable {
  case verified(BoundIdentity)
  case refused(Refusal)
}

/// What the tag of a PROXY header's attestation is made over.
enum ProxyTagInput {
  /// Replaces what `base` holds: the purpose, a zero byte, and the header up to its tag with a CRC of zeros.
  static func write(_ header: Span<UInt8>, crcValue: ByteRange, upTo end: Int, to base: Buffer) {
    precondition(crcValue.count == 4 && crcValue.upper <= end && end <= header.count)
    base.removeAll()
    base.append("countersign/v1 pp2\0")
    base.append(header.extracting(0..<crcValue.lower))
    base.append("\0\0\0\0")
    base.append(header.extracting(crcValue.upper..<end))
  }
}
