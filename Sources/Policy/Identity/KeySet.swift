// A set of keys from a JWKS file (RFC 7517): who may sign for whom, with which algorithm, from when to when.
// Invariant: every key of a set passed every check of the loader; a set never changes. A reload builds another one.
// Called by Signer and Verifier when a snapshot is made, and by the `keys` commands. KeySetFile.swift reads and writes.

import Platform
import Wire

/// What a derived key may be used for.
package enum KeyPurpose: String, CaseIterable, Sendable {
  /// The signed fields of a request.
  case http
  /// The attestation of a PROXY v2 header.
  case pp2
}

package enum KeyAlgorithm: String, CaseIterable, Sendable {
  case hmac
  case ed25519
}

package final class KeySet: Sendable {
  /// In the order of the file.
  package let keys: [Key]
  /// The file, or what else the keys came from; for messages.
  package let source: String

  package struct Key: Sendable {
    package let id: KeyID
    package let material: Material
    /// Seconds since 1970; the key is used from then on.
    package var notBefore: UInt64?
    /// Seconds since 1970; the key is not used from then on.
    package var expires: UInt64?

    package var algorithm: KeyAlgorithm {
      switch material {
      case .secret, .derived: .hmac
      case .ed25519: .ed25519
      }
    }

    package var term: KeyTerm { KeyTerm(notBefore: notBefore, expires: expires) }

    /// Whether it can sign, and not only verify.
    package var canSign: Bool {
      if case .ed25519(let key, _) = material { return key.isPrivate }
      return true
    }
  }

  package enum Material: Sendable {
    /// The secret that keys are derived from; it never touches a message itself.
    case secret(SecretBytes)
    /// What was derived for one purpose at one audience.
    case derived(SecretBytes, KeyPurpose, audience: String)
    case ed25519(Ed25519Key, seed: SecretBytes?)
  }

  /// A set of checked keys; a name stands for one key only, except that derived ones share it by purpose and audience.
  package init(_ keys: [Key], source: String) throws(KeySetError) {
    var whole: Set<KeyID> = []
    var parts: Set<Part> = []
    for key in keys {
      let isNew: Bool
      if case .derived(_, let purpose, let audience) = key.material {
        isNew =
          !whole.contains(key.id) && parts.insert(Part(id: key.id, purpose: purpose, audience: audience)).inserted
      } else {
        isNew = !parts.contains { $0.id == key.id } && whole.insert(key.id).inserted
      }
      guard isNew else {
        throw KeySetError(
          source: source, key: "key \"\(key.id)\"", problem: "occurs more than once",
          suggestion: "give each key its own kid; after a rotation the new key needs a new one")
      }
    }
    self.keys = keys
    self.source = source
  }

  private struct Part: Hashable {
    let id: KeyID
    let purpose: KeyPurpose
    let audience: String
  }

  /// The key of that name that serves that purpose at that audience.
  package func key(_ id: KeyID, purpose: KeyPurpose, audience: String) -> Key? {
    keys.first { key in
      guard key.id == id else { return false }
      if case .derived(_, let its, let whose) = key.material { return its == purpose && whose == audience }
      return true
    }
  }

  /// The MAC key for a purpose at an audience; nil when `key` is not an HMAC key for them.
  package static func macSecret(
    of key: Key, purpose: KeyPurpose, audience: String
  ) throws(CryptoError) -> SecretBytes? {
    switch key.material {
    case .ed25519: return nil
    case .derived(let secret, let its, let whose): return its == purpose && whose == audience ? secret : nil
    case .secret(let secret):
      let salt = Array("countersign/v1".utf8)
      let info = Array(purpose.rawValue.utf8) + [0] + Array(audience.utf8)
      return try HKDF.sha256(key: secret, salt: salt.span, info: info.span, count: 32)
    }
  }

  /// What a validator needs and no more: secrets derived for `audience`, and public keys without their private half.
  package func exported(for audience: String) throws(KeySetError) -> KeySet {
    guard AttestName.isAudience(audience.utf8.span) else {
      throw KeySetError(source: source, problem: "\"\(audience)\" is not an audience", suggestion: Self.audienceRule)
    }
    var out: [Key] = []
    for key in keys {
      do {
        switch key.material {
        case .ed25519(let pair, _):
          let point = pair.isPrivate ? try Ed25519Key(point: pair.point) : pair
          out.append(
            Key(id: key.id, material: .ed25519(point, seed: nil), notBefore: key.notBefore, expires: key.expires))
        case .secret:
          for purpose in KeyPurpose.allCases {
            guard let secret = try Self.macSecret(of: key, purpose: purpose, audience: audience) else { continue }
            out.append(
              Key(
                id: key.id, material: .derived(secret, purpose, audience: audience), notBefore: key.notBefore,
                expires: key.expires))
          }
        case .derived(_, _, audience: let whose):
          // A derived key is good for its own audience alone.
          if whose == audience { out.append(key) }
        }
      } catch {
        throw KeySetError(source: source, key: "key \"\(key.id)\"", error)
      }
    }
    guard !out.isEmpty else {
      throw KeySetError(source: source, problem: "holds no key that could be exported for \"\(audience)\"")
    }
    return try KeySet(out, source: source)
  }

  /// A fresh key.
  package static func newKey(id: String, algorithm: KeyAlgorithm) throws(KeySetError) -> Key {
    guard let keyID = KeyID(id) else {
      throw KeySetError(source: "keys", problem: "\"\(id)\" is not a kid", suggestion: keyIDRule)
    }
    do {
      let secret = try SecureRandom.secret(count: 32)
      switch algorithm {
      case .hmac: return Key(id: keyID, material: .secret(secret))
      case .ed25519: return Key(id: keyID, material: .ed25519(try Ed25519Key(seed: secret), seed: secret))
      }
    } catch {
      throw KeySetError(source: "keys", error)
    }
  }

  /// This set and one more key.
  package func adding(_ key: Key) throws(KeySetError) -> KeySet { try KeySet(keys + [key], source: source) }

  static let keyIDRule = "a kid is 1 to 32 of A-Z a-z 0-9 . _ -"
  static let audienceRule = "an audience is 1 to 64 of a-z 0-9 . -"
}
