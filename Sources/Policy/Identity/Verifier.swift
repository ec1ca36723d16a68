// Believes what is signed, and nothing else: from the three fields of a request, or the attestation of a PROXY v2
// header, to a client's identity or a named refusal. One for each worker.
//
//     structure → key → audience and edge → time → window (a look) → signature → bound connection → window (marked)
//
// Invariants: nothing of a message has any effect before its signature has been verified. The key decides the
// algorithm. The message is verified as it was written again from the values that were read, so no two readings of it
// can differ. A message is used at most once in the process. Called by the exchange and by the listener.
// Nothing is allocated once the first message has been verified.

import Platform
import Wire

/// What a verified request says.
package struct VerifiedIdentity: Sendable, Equatable {
  package let client: ClientIdentity
  /// The edge's name, within the head that was verified.
  package let edge: ByteRange
  package let keyID: KeyID
  package let epoch: UInt64
  package let sequence: UInt64
}

package enum VerifyOutcome: Sendable {
  case verified(VerifiedIdentity)
  case refused(Refusal)
}

/// By how much a message missed its time, kept for whoever tells the operator.
package struct TimeFault: Sendable, Equatable {
  /// How far ahead a message from the future was created, how long ago an old one expired, how long one of another
  /// lifetime was to be used.
  package let milliseconds: UInt64
  /// The edge's name, within the head; empty for a PROXY header, which has none.
  package let edge: ByteRange
  /// Its signature is valid: an edge says this. Otherwise anybody may.
  package let isSigned: Bool
}

package final class Verifier {
  package let audience: String
  /// How far ahead an edge's clock may be.
  package let skewMilliseconds: UInt64

  private let keys: [VerifierKey]
  private let keyIDs: [KeyID]
  private let audienceBytes: [UInt8]
  private let edges: [[UInt8]]
  private let start: StartWindow
  /// The base of the message at hand.
  private let base: Buffer
  /// About the last message that was refused as `time-future`, `time-expired` or `time-lifetime`.
  package private(set) var timeFault = TimeFault(milliseconds: 0, edge: .empty, isSigned: false)
  /// Of the senders that spoke last; which of them may be speaking now is `KnownSender.slot`.
  private let senders: [KnownSender]

  /// - Parameters:
  ///   - audience: this validator's name.
  ///   - edges: names of the edges that are believed; empty: any edge that has a key of the set.
  ///   - skewMilliseconds: how far ahead an edge's clock may be.
  ///   - windows: the process's own.
  ///   - headBytesMax: the largest request head that will be verified.
  package init(
    keys: KeySet, audience: String, edges: [String], skewMilliseconds: UInt64, windows: ReplayWindows,
    headBytesMax: Int
  ) throws(KeySetError) {
    guard AttestName.isAudience(audience.utf8.span) else {
      throw KeySetError(
        source: keys.source, problem: "cannot verify as \"\(audience)\"", suggestion: KeySet.audienceRule)
    }
    self.keys = try VerifierKey.all(of: keys, audience: audience, windows: windows)
    guard !self.keys.isEmpty else {
      throw KeySetError(
        source: keys.source, problem: "has no key for audience \"\(audience)\"",
        suggestion: "export one with: countersign keys export --audience \(audience)")
    }
    keyIDs = self.keys.map(\.id)
    self.audience = audience
    audienceBytes = Array(audience.utf8)
    self.edges = edges.map { Array($0.utf8) }
    self.skewMilliseconds = skewMilliseconds
    start = windows.start
    base = Buffer(capacity: headBytesMax + SignatureBase.overheadBytesMax)
    senders = (0..<KnownSender.slots).map { _ in KnownSender() }
  }

  /// Whether another process may have taken the message before the windows were kept here.
  @inline(__always) private func mayPrecede(_ created: UInt64, _ key: VerifierKey.Use, _ clock: Clock.Reading) -> Bool {
    if start.mayPrecede(created: created, now: clock, skewMilliseconds: skewMilliseconds) { return true }
    return key.start?.mayPrecede(created: created, now: clock, skewMilliseconds: skewMilliseconds) ?? false
  }

  // MARK: The fields of a request

  /// Verifies the request whose parts are those ranges of `head`. With `bound`, the connection began with a verified
  /// PROXY header, and the request must say the same. With `usedEarlyData` the request itself says that it may be a replay.
  package func verify(
    head: Span<UInt8>, method: ByteRange, authority: ByteRange, path: ByteRange, query: ByteRange, attest: ByteRange,
    signatureInput: ByteRange, signature: ByteRange, at clock: Clock.Reading, bound: BoundIdentity?,
    usedEarlyData: Bool = false
  ) -> VerifyOutcome {
    let now = clock.wallMilliseconds
    guard !attest.isEmpty, !signatureInput.isEmpty, !signature.isEmpty else { return .refused(.identityMissing) }
    // An edge sends and signs a slash where the path is empty, so an empty one here is not what it signed.
    guard !method.isEmpty, !authority.isEmpty, !path.isEmpty else { return .refused(.signatureInvalid) }
    let sender = senders[KnownSender.slot(head, signatureInput)]
    let claim: Attest
    let knownClaim = sender.read(attest: attest, in: head)
    if let knownClaim {
      claim = knownClaim
    } else {
      switch Attest.parse(head, at: attest) {
      case .attest(let parsed): claim = parsed
      case .refused(let refusal): return .refused(refusal)
      }
    }
    let input: SignatureInput
    let knownInput = sender.read(signatureInput: signatureInput, in: head)
    if let knownInput {
      input = knownInput
    } else {
      switch SignatureInput.parse(head, at: signatureInput) {
      case .input(let parsed): input = parsed
      case .refused(let refusal): return .refused(refusal)
      }
    }
    let value: SignatureValue
    switch SignatureValue.parse(head, at: signature) {
    case .value(let parsed): value = parsed
    case .refused(let refusal): return .refused(refusal)
    }
    base.removeAll()
    SignatureBase.appendRequest(base, head: head, method: method, authority: authority, path: path, query: query)
    let attestStart = base.count
    Attest.writeClient(address: claim.address, port: claim.port, to: base)
    if knownClaim != nil {
      sender.writeMiddle(to: base)
    } else {
      Attest.writeEvidence(secure: claim.secure, via: claim.via, to: base)
      Attest.writeNames(
        edge: head.extracting(claim.edge.range), audience: head.extracting(claim.audience.range), to: base)
    }
    Attest.writeConnection(claim.connection, certificate: claim.certificate, to: base)
    let attestEnd = base.count
    base.append("\n\"@signature-params\": ")
    let parametersStart = base.count
    if knownInput != nil {
      sender.writeParameters(of: input, to: base)
    } else {
      SignatureInput.writePrefix(created: input.created, expires: input.expires, epoch: input.epoch, to: base)
      base.append(decimal: input.sequence)
      SignatureInput.writeSuffix(keyID: head.extracting(input.keyID.range), to: base)
    }
    // Refused is what is not written as it was read.
    guard !base.overflowed else { return .refused(.headTooLarge) }
    guard holds(attestStart..<attestEnd, as: head.extracting(attest.range)) else { return .refused(.identityForm) }
    guard holds(parametersStart..<base.count, as: head.extracting(input.parameters.range)) else {
      return .refused(.signatureParams)
    }

    let index: Int
    if knownInput != nil {
      index = sender.key
    } else {
      guard let keyID = KeyID(head.extracting(input.keyID.range)), let found = keyIDs.firstIndex(of: keyID) else {
        return .refused(.keyUnknown)
      }
      index = found
    }
    let keyID = keyIDs[index]
    guard let key = keys[index].http else { return .refused(.keyUnknown) }
    guard key.term.contains(seconds: now / 1000) else { return .refused(.keyInactive) }
    guard value.count == key.tagCount else { return .refused(.signatureLength) }

    // Those of a known sender were right before, and neither they nor what is right has changed.
    if knownClaim == nil {
      guard isOwn(audience: head.extracting(claim.audience.range)) else { return .refused(.audienceWrong) }
      guard edges.isEmpty || isAllowed(edge: head.extracting(claim.edge.range)) else {
        return .refused(.edgeNotAllowed)
      }
    }

    let created = input.created &* 1000
    let expires = input.expires &* 1000
    func isSigned() -> Bool {
      base.withReadable { key.algorithm.verify($0, tag: value.bytes.span.extracting(first: value.count)) }
    }
    if let refusal = checkTime(created: created, expires: expires, now: now) {
      timeFault = TimeFault(
        milliseconds: refusal == .timeFuture ? created &- now : now &- expires, edge: claim.edge, isSigned: isSigned())
      return .refused(refusal)
    }
    guard input.expires == input.created &+ SignatureInput.lifetimeSeconds else {
      timeFault = TimeFault(milliseconds: expires &- created, edge: claim.edge, isSigned: isSigned())
      return .refused(.timeLifetime)
    }
    guard !mayPrecede(created, key, clock) else { return .refused(.starting) }

    if let refusal = key.window.peek(epoch: input.epoch, sequence: input.sequence) { return .refused(refusal) }
    guard isSigned() else { return .refused(.signatureInvalid) }
    // RFC 8470 section 5.2. The number is not used up: the same request may come again without it.
    guard !usedEarlyData else { return .refused(.earlyData) }

    let client = ClientIdentity(
      address: claim.address, port: claim.port, secure: claim.secure, via: claim.via, connection: claim.connection,
      certificate: claim.certificate)
    if let bound, let refusal = bound.refusal(of: client, keyID: keyID) { return .refused(refusal) }
    if let refusal = key.window.mark(
      epoch: input.epoch, sequence: input.sequence, expiresMilliseconds: expires, nowMilliseconds: now)
    {
      return .refused(refusal)
    }
    if knownClaim == nil { sender.keep(claim, at: attest, in: head) }
    if knownInput == nil { sender.keep(input, in: head, key: index) }
    return .verified(
      VerifiedIdentity(
        client: client, edge: claim.edge, keyID: keyID, epoch: input.epoch, sequence: input.sequence))
  }

  /// Whether that part of the base is these bytes.
  private func holds(_ part: Range<Int>, as bytes: Span<UInt8>) -> Bool {
    base.withReadable { ByteComparison.isEqual($0.extracting(part), bytes) }
  }

  private func isOwn(audience: Span<UInt8>) -> Bool {
    let own = audienceBytes
    return ByteComparison.isEqual(own.span, audience)
  }

  private func isAllowed(edge: Span<UInt8>) -> Bool {
    for allowed in edges where ByteComparison.isEqual(allowed.span, edge) { return true }
    return false
  }

  /// Only the future has a tolerance: an edge whose clock lags merely has less time.
  private func checkTime(created: UInt64, expires: UInt64, now: UInt64) -> Refusal? {
    if created > now &+ skewMilliseconds { return .timeFuture }
    if expires < now { return .timeExpired }
    return nil
  }

  // MARK: The attestation of a PROXY header

  /// A message may be used for this long: signed fields until `expires`, a PROXY header from `created_ms` on.
  package static let lifetimeMilliseconds = SignatureInput.lifetimeSeconds * 1_000

  /// Whether what a PROXY header said earlier, to this verifier or to one before a reload, would be believed if its
  /// edge said it now: the key is still in the set, with the same material, for the same audience.
  package func believes(_ bound: BoundIdentity, audience: String, nowMilliseconds now: UInt64) -> Bool {
    guard audience == self.audience, let index = keyIDs.firstIndex(of: bound.keyID), let key = keys[index].pp2 else {
      return false
    }
    return key.fingerprint == bound.keyFingerprint && key.term.contains(seconds: now / 1000)
  }

  /// Verifies the PROXY v2 header that `bytes` begin with and that was decoded, by the rules for attested headers, as
  /// `header`.
  package func verifyProxy(
    _ bytes: Span<UInt8>, header: ProxyHeader, at clock: Clock.Reading
  ) -> ProxyVerifyOutcome {
    let now = clock.wallMilliseconds
    guard header.version == 2, header.contents.isSuperset(of: [.attestation, .uniqueID, .crc]),
      header.length <= bytes.count,
      let attestation = AttestationTLV.parse(bytes, at: header.attestation),
      attestation.tag.upper == header.length, attestation.flags & ~7 == 0,
      let connection = ConnectionID(bytes.extracting(header.uniqueID.range))
    else { return .refused(.proxyAttestation) }
    // The same fact in two places must be the same.
    guard attestation.usedTLS == header.sslClient else { return .refused(.proxyAttestation) }
    guard !header.isLocal || attestation.isHealthCheck else { return .refused(.proxyLocal) }
    guard header.isLocal || header.source.isPossibleClient else { return .refused(.proxyAddress) }

    guard let keyID = KeyID(bytes.extracting(attestation.kid.range)), let index = keyIDs.firstIndex(of: keyID),
      let key = keys[index].pp2
    else { return .refused(.keyUnknown) }
    guard key.term.contains(seconds: now / 1000) else { return .refused(.keyInactive) }
    let algorithm =
      switch key.algorithm {
      case .hmac: AttestationTLV.algorithmHMAC
      case .ed25519: AttestationTLV.algorithmEd25519
      }
    // The message's own word for the algorithm chooses nothing; it has to be the key's.
    guard attestation.algorithm == algorithm, attestation.tag.count == key.tagCount else {
      return .refused(.proxyAttestation)
    }
    guard isOwn(audience: bytes.extracting(attestation.audience.range)) else { return .refused(.audienceWrong) }
    let created = attestation.createdMilliseconds
    // Times that would overflow are in the future.
    guard created < 1 << 62 else { return .refused(.timeFuture) }
    let expires = created + Verifier.lifetimeMilliseconds
    ProxyTagInput.write(bytes, crcValue: header.crcValue, upTo: attestation.tag.lower, to: base)
    guard !base.overflowed else { return .refused(.proxyLength) }
    func isSigned() -> Bool {
      base.withReadable { key.algorithm.verify($0, tag: bytes.extracting(attestation.tag.range)) }
    }
    if let refusal = checkTime(created: created, expires: expires, now: now) {
      timeFault = TimeFault(
        milliseconds: refusal == .timeFuture ? created &- now : now &- expires, edge: .empty, isSigned: isSigned())
      return .refused(refusal)
    }
    guard !mayPrecede(created, key, clock) else { return .refused(.starting) }

    if let refusal = key.window.peek(epoch: attestation.epoch, sequence: attestation.sequence) {
      return .refused(refusal)
    }
    guard isSigned() else { return .refused(.signatureInvalid) }
    if let refusal = key.window.mark(
      epoch: attestation.epoch, sequence: attestation.sequence, expiresMilliseconds: expires, nowMilliseconds: now)
    {
      return .refused(refusal)
    }
    return .verified(
      BoundIdentity(
        address: header.source, port: header.sourcePort, connection: connection, keyID: keyID,
        keyFingerprint: key.fingerprint, secure: attestation.usedTLS, isHealthCheck: header.isLocal,
        usedEarlyData: attestation.usedEarlyData))
  }
}
