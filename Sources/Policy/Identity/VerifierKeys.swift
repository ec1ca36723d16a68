// A verifier's view of a key set: what each key may verify at this audience, ready to be used.

import Platform
import Wire

/// One key at one audience for both carriers. Confined to one worker's thread.
final class VerifierKey {
  let id: KeyID
  let http: Use?
  let pp2: Use?

  /// A key for one carrier. It is a class so that looking one up counts one reference, not one for each of its parts.
  final class Use {
    let algorithm: Algorithm
    /// The algorithm's.
    let tagCount: Int
    /// Of the key's material; `KeyFingerprint`.
    let fingerprint: UInt64
    let window: ReplayTable
    /// Of a key that has come later than the audience.
    let start: StartWindow?
    let term: KeyTerm

    init(algorithm: Algorithm, fingerprint: UInt64, window: ReplayTable, start: StartWindow?, term: KeyTerm) {
      self.algorithm = algorithm
      tagCount = algorithm.tagCount
      self.fingerprint = fingerprint
      self.window = window
      self.start = start
      self.term = term
    }
  }

  enum Algorithm {
    case hmac(HMACContext)
    case ed25519(Ed25519Context)

    var tagCount: Int {
      switch self {
      case .hmac: HMACContext.tagCount
      case .ed25519: Ed25519Context.signatureCount
      }
    }

    func verify(_ message: Span<UInt8>, tag: Span<UInt8>) -> Bool {
      switch self {
      case .hmac(let context):
        var right = InlineArray<32, UInt8>(repeating: 0)
        var room = right.mutableSpan
        guard context.tag(of: message, into: &room) else { return false }
        return ByteComparison.isEqualInConstantTime(right.span, tag)
      case .ed25519(let context):
        return context.verify(message, signature: tag)
      }
    }
  }

  init(id: KeyID, http: Use?, pp2: Use?) {
    self.id = id
    self.http = http
    self.pp2 = pp2
  }

  /// All keys of `keys` that serve `audience`, one for each name.
  static func all(of keys: KeySet, audience: String, windows: ReplayWindows) throws(KeySetError) -> [VerifierKey] {
    var all: [VerifierKey] = []
    for key in keys.keys where !all.contains(where: { $0.id == key.id }) {
      let http = try use(of: key.id, .http, keys, audience, windows)
      let pp2 = try use(of: key.id, .pp2, keys, audience, windows)
      if http != nil || pp2 != nil { all.append(VerifierKey(id: key.id, http: http, pp2: pp2)) }
    }
    return all
  }

  private static func use(
    of id: KeyID, _ purpose: KeyPurpose, _ keys: KeySet, _ audience: String, _ windows: ReplayWindows
  ) throws(KeySetError) -> Use? {
    guard let key = keys.key(id, purpose: purpose, audience: audience) else { return nil }
    let algorithm: Algorithm
    let fingerprint: UInt64
    do {
      if case .ed25519(let pair, _) = key.material {
        algorithm = .ed25519(try Ed25519Context(key: pair))
        fingerprint = KeyFingerprint.of(pair)
      } else {
        guard let secret = try KeySet.macSecret(of: key, purpose: purpose, audience: audience) else { return nil }
        let context = try HMACContext(key: secret)
        let made = try KeyFingerprint.of(context)
        algorithm = .hmac(context)
        fingerprint = made
      }
    } catch {
      throw KeySetError(source: keys.source, key: "key \"\(id)\"", error)
    }
    guard let window = windows.table(purpose: purpose, keyID: id) else {
      throw KeySetError(
        source: keys.source, key: "key \"\(id)\"", problem: "there is no memory for its replay windows",
        suggestion: "raise the limits of address space and file size, or lower the window's bits")
    }
    return Use(
      algorithm: algorithm, fingerprint: fingerprint, window: window,
      start: windows.start(purpose: purpose, keyID: id), term: key.term)
  }
}
