// Says who a client is, so that a validator believes it: the three fields of each request, and the attestation of a
// PROXY v2 header. One for each worker, key and audience.
// Invariant: either everything is written and signed, or nothing is written and the answer is false. No two messages
// share a sequence number; one that is drawn and not used is gone. Called by the exchange as it writes a request head.
// Nothing is allocated once the first message has been signed.

import Platform
import Wire

package final class Signer {
  package let keyID: KeyID
  /// Its bytes, kept because each header of a bound connection has them.
  let keyIDBytes: [UInt8]
  package let audience: String

  let algorithm: Algorithm
  /// Of its key.
  let term: KeyTerm
  let lanes: SenderLanes
  /// The base of the message at hand.
  let base: Buffer
  /// `, edge="…", aud="…", cid=:`
  private let names: Buffer
  /// From the `(` to the dot of the nonce; good for the second of `prefixSeconds`.
  private let prefix: Buffer
  private var prefixSeconds = UInt64.max
  /// `";keyid="…";tag="countersign"`
  private let suffix: Buffer

  enum Algorithm { case hmac, ed25519 }
  // Side by side and not in `algorithm`, whose parts would all be counted for each message: the first two are there with
  // HMAC, the third with Ed25519.
  private let httpMAC: HMACContext?
  private let pp2MAC: HMACContext?
  private let ed25519: Ed25519Context?
  /// Of the key that signs PROXY headers; `KeyFingerprint`.
  private let fingerprint: UInt64

  /// - Parameters:
  ///   - keyID: the `kid` that signs, one of `keys`.
  ///   - audience: the one validator that this signs for.
  ///   - edge: this edge's name.
  ///   - lanes: the worker's own.
  ///   - headBytesMax: the largest request head that will be signed.
  package init(
    keys: KeySet, keyID: String, audience: String, edge: String, lanes: SenderLanes, headBytesMax: Int
  ) throws(KeySetError) {
    let fail = { (problem: String, suggestion: String?) in
      KeySetError(source: keys.source, key: "key \"\(keyID)\"", problem: problem, suggestion: suggestion)
    }
    guard AttestName.isAudience(audience.utf8.span) else {
      throw fail("cannot sign for \"\(audience)\"", KeySet.audienceRule)
    }
    guard AttestName.isEdge(edge.utf8.span) else {
      throw fail("cannot sign as \"\(edge)\"", "an edge's name is 1 to 64 of A-Z a-z 0-9 . _ -")
    }
    guard let id = KeyID(keyID), let key = keys.key(id, purpose: .http, audience: audience),
      let pp2Key = keys.key(id, purpose: .pp2, audience: audience)
    else {
      let known = Set(keys.keys.map { "\"\($0.id)\"" }).sorted().joined(separator: ", ")
      throw fail(
        "is not in the set, or is derived for another audience than \"\(audience)\"",
        "sign with one of the set's own: \(known)")
    }
    guard key.canSign else {
      throw fail("is a public key only and cannot sign", "use the edge's own set, which has d")
    }
    do {
      if case .ed25519(let pair, _) = key.material {
        algorithm = .ed25519
        httpMAC = nil
        pp2MAC = nil
        ed25519 = try Ed25519Context(key: pair)
        fingerprint = KeyFingerprint.of(pair)
      } else {
        guard let http = try KeySet.macSecret(of: key, purpose: .http, audience: audience),
          let pp2 = try KeySet.macSecret(of: pp2Key, purpose: .pp2, audience: audience)
        else { throw fail("is derived for another audience than \"\(audience)\"", nil) }
        algorithm = .hmac
        httpMAC = try HMACContext(key: http)
        let context = try HMACContext(key: pp2)
        let made = try KeyFingerprint.of(context)
        pp2MAC = context
        ed25519 = nil
        fingerprint = made
      }
    } catch let error as KeySetError {
      throw error
    } catch {
      throw fail("\(error)", nil)
    }
    self.keyID = id
    keyIDBytes = id.bytes
    self.audience = audience
    term = key.term.intersection(pp2Key.term)
    self.lanes = lanes
    base = Buffer(capacity: headBytesMax + SignatureBase.overheadBytesMax)
    names = Buffer(capacity: 256)
    Attest.writeNames(edge: edge.utf8.span, audience: audience.utf8.span, to: names)
    prefix = Buffer(capacity: 256)
    suffix = Buffer(capacity: 128)
    SignatureInput.writeSuffix(keyID: keyID.utf8.span, to: suffix)
  }

  /// Whether what `other` signs may follow, on one connection, what this one signed.
  package func speaksAs(_ other: Signer?) -> Bool {
    guard let other else { return false }
    return other.keyID == keyID && other.fingerprint == fingerprint && other.audience == audience
  }

  // MARK: The fields of a request

  /// Appends the lines `client-attest`, `signature-input` and `signature`, each with its CRLF, for the request whose
  /// method, authority (`Host`), path and query (with its `?`; empty when there is none) are those ranges of `head`:
  /// exactly what is sent on. False when it cannot be signed; `sink` is then as it was. Where the lines do not fit, `sink` says
  /// so (`overflowed`).
  package func writeFields(
    _ identity: ClientIdentity, head: Span<UInt8>, method: ByteRange, authority: ByteRange, path: ByteRange,
    query: ByteRange, nowMilliseconds: UInt64, into sink: Buffer
  ) -> Bool {
    let created = nowMilliseconds / 1000
    guard identity.isAssertable, !method.isEmpty, !authority.isEmpty, term.contains(seconds: created) else {
      return false
    }
    if created != prefixSeconds {
      prefix.removeAll()
      SignatureInput.writePrefix(
        created: created, expires: created + SignatureInput.lifetimeSeconds, epoch: lanes.http.epoch, to: prefix)
      prefixSeconds = created
    }

    base.removeAll()
    SignatureBase.appendRequest(base, head: head, method: method, authority: authority, path: path, query: query)
    let attestStart = base.count
    Attest.writeClient(
      address: identity.address, port: identity.port, secure: identity.secure, via: identity.via, to: base)
    names.withReadable { base.append($0) }
    Attest.writeConnection(identity.connection, certificate: identity.certificate, to: base)
    let attestEnd = base.count
    base.append("\n\"@signature-params\": ")
    let parametersStart = base.count
    prefix.withReadable { base.append($0) }
    base.append(decimal: lanes.http.next())
    suffix.withReadable { base.append($0) }
    guard !base.overflowed else { return false }

    var signature = InlineArray<64, UInt8>(repeating: 0)
    let count = base.withReadable { base in
      var room = signature.mutableSpan
      return sign(base, purpose: .http, into: &room)
    }
    guard count > 0 else { return false }
    base.withReadable { base in
      sink.append("client-attest: ")
      sink.append(base.extracting(attestStart..<attestEnd))
      sink.append("\r\nsignature-input: cs=")
      sink.append(base.extracting(parametersStart..<base.count))
    }
    sink.append("\r\nsignature: ")
    SignatureValue.write(signature.span.extracting(first: count), to: sink)
    sink.append("\r\n")
    return true
  }

  /// Writes the tag of a message and says how long it is; 0 when that failed.
  func sign(_ message: Span<UInt8>, purpose: KeyPurpose, into tag: inout MutableSpan<UInt8>) -> Int {
    if let mac = purpose == .http ? httpMAC : pp2MAC {
      return mac.tag(of: message, into: &tag) ? HMACContext.tagCount : 0
    }
    guard let ed25519 else { return 0 }
    return ed25519.sign(message, into: &tag) ? Ed25519Context.signatureCount : 0
  }
}
