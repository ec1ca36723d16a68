// The keys that make the access log's digests of request fields (`log.fields`): one for each field, derived from the one key of
// `log.fields_key`. Invariant: the same file and the same name give the same key, at every edge and after every start; no key
// that signs or verifies identity makes digests. Loaded with a snapshot; each worker makes its own MAC contexts from it.

import Platform

package struct LogFieldKeys: Sendable {
  /// In the order of `Config.Log.fields`.
  package let secrets: [SecretBytes]

  private static let salt = Array("countersign/v1".utf8)
  /// HKDF's `info` is this, a zero byte, and the field's name: digests of one value under two names have nothing in common.
  private static let purpose = Array("log-field".utf8)

  /// - Parameter identity: the keys that sign or verify.
  package static func load(
    path: String, group: String?, fields: [Config.Log.Field], identity: KeySet?
  ) throws(KeySetError) -> LogFieldKeys {
    let secret = try KeySet.loadLoneSecret(path: path, group: group, besides: identity)
    do {
      return try LogFieldKeys(secret, fields)
    } catch {
      throw KeySetError(source: path, error)
    }
  }

  package init(_ secret: SecretBytes, _ fields: [Config.Log.Field]) throws(CryptoError) {
    secrets = try fields.map { field throws(CryptoError) in
      let info = LogFieldKeys.purpose + [0] + Array(field.name.utf8)
      return try HKDF.sha256(
        key: secret, salt: LogFieldKeys.salt.span, info: info.span, count: HMACContext.tagCount)
    }
  }
}

extension KeySet {
  /// The one secret of a file that is for something else than identity.
  /// - Parameter identity: the keys that sign or verify, of which it may be none.
  static func loadLoneSecret(path: String, group: String?, besides identity: KeySet?) throws(KeySetError) -> SecretBytes
  {
    let set = try KeySet.load(path: path, group: group)
    guard set.keys.count == 1, case .secret(let secret) = set.keys[0].material else {
      throw KeySetError(
        source: path, problem: "must hold one HMAC key and no other", suggestion: "make one with: countersign keys new")
    }
    for key in identity?.keys ?? [] {
      guard case .secret(let other) = key.material, other.isSame(as: secret) else { continue }
      throw KeySetError(
        source: path, problem: "holds the secret of the key \"\(key.id)\", which signs",
        suggestion: "make another one with: countersign keys new")
    }
    return secret
  }
}
