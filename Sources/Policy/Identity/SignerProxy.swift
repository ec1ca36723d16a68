// The attested PROXY v2 header that a bound upstream connection begins with. Called when such a connection is opened.

import Platform
import Wire

extension Signer {
  /// The header for a connection that will carry one client's requests and no other's: its address, port and connection
  /// id are those that every request on it will state. Empty spans are left out; the TLS names are those of the client's
  /// own connection, where it ended here. Nil when it cannot be made or signed.
  package func makeProxyHeader(
    _ identity: ClientIdentity, destination: IPAddress, destinationPort: UInt16, alpn: Span<UInt8>,
    authority: Span<UInt8>, tlsVersion: Span<UInt8>, tlsCipher: Span<UInt8>, usedEarlyData: Bool = false,
    nowMilliseconds: UInt64
  ) -> ProxyHeaderDraft? {
    guard identity.isAssertable else { return nil }
    var flags: UInt8 = 0
    if identity.secure { flags |= AttestationTLV.flagTLS }
    if usedEarlyData { flags |= AttestationTLV.flagEarlyData }
    let whole = ProxyHeaderDraft(
      source: identity.address, sourcePort: identity.port, destination: destination, destinationPort: destinationPort)
    // A name of 255 bytes may not fit beside all the rest. It is only said when known, so it goes first.
    for hasAuthority in [true, false] {
      if hasAuthority, authority.isEmpty { continue }
      var draft = whole
      if !alpn.isEmpty { draft.addALPN(alpn) }
      if hasAuthority { draft.addAuthority(authority) }
      if identity.secure {
        // 1: the client used TLS; 4: it showed a certificate in this session, if not on this very connection.
        draft.addTLS(version: tlsVersion, cipher: tlsCipher, client: identity.certificate == nil ? 1 : 5)
      }
      if attest(&draft, connection: identity.connection, flags: flags, nowMilliseconds: nowMilliseconds) {
        return draft
      }
    }
    return nil
  }

  /// The header for a connection on which the edge speaks for itself, to see whether the validator is well.
  package func makeHealthHeader(connection: ConnectionID, nowMilliseconds: UInt64) -> ProxyHeaderDraft? {
    var draft = ProxyHeaderDraft.local()
    let flags = AttestationTLV.flagHealthCheck
    return attest(&draft, connection: connection, flags: flags, nowMilliseconds: nowMilliseconds) ? draft : nil
  }

  /// Adds the checksum, the connection id and the attestation, and signs.
  private func attest(
    _ draft: inout ProxyHeaderDraft, connection: ConnectionID, flags: UInt8, nowMilliseconds: UInt64
  ) -> Bool {
    guard term.contains(seconds: nowMilliseconds / 1000) else { return false }
    let algorithm =
      switch self.algorithm {
      case .hmac: AttestationTLV.algorithmHMAC
      case .ed25519: AttestationTLV.algorithmEd25519
      }
    let kid = keyIDBytes
    draft.addChecksum()
    draft.addUniqueID(high: connection.high, low: connection.low)
    draft.addAttestation(
      algorithm: algorithm, flags: flags, kid: kid.span, epoch: lanes.pp2.epoch, sequence: lanes.pp2.next(),
      createdMilliseconds: nowMilliseconds, audience: audience.utf8.span)
    base.removeAll()
    base.append("countersign/v1 pp2\0")
    guard draft.withTagInput({ base.append($0) }) != nil, !base.overflowed else { return false }
    var tag = InlineArray<64, UInt8>(repeating: 0)
    let count = base.withReadable { base in
      var room = tag.mutableSpan
      return sign(base, purpose: .pp2, into: &room)
    }
    guard count > 0 else { return false }
    draft.setTag(tag.span.extracting(first: count))
    return draft.seal()
  }
}
