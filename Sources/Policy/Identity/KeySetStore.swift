// Key files as the `keys` commands change them: a key added, a set exported for one validator, a set described without
// its secrets. Invariant: a file is replaced whole or stays as it was, and no file of secrets is overwritten by another
// kind. Reading and the format are KeySetFile's.

import Platform
import Wire

package enum KeySetStore {
  /// Makes a key and adds it to the set at `path`, or begins one there. Returns the set.
  package static func add(
    id: String, algorithm: KeyAlgorithm, to path: String, group: String? = nil
  ) throws -> KeySet {
    let key = try KeySet.newKey(id: id, algorithm: algorithm)
    return try PrivateFile.withDirectoryLock(of: path) {
      guard PrivateFile.exists(path) else {
        let set = try KeySet([key], source: path)
        try write(set, to: path, existing: .refuse)
        return set
      }
      let set = try KeySet.load(path: path, group: group)
      if let derived = set.keys.first(where: { $0.audience != nil }) {
        throw KeySetError(
          source: path, key: "key \"\(derived.id)\"", problem: "is derived: this set was exported for a validator",
          suggestion: "add the key to the edge's set, and export it again")
      }
      if set.keys.contains(where: { $0.id == key.id }) {
        throw KeySetError(
          source: path, problem: "the set has a key \(id) already",
          suggestion: "give the new one another name: `sign_with` and signed messages go by it")
      }
      let longer = try set.adding(key)
      try write(longer, to: path, existing: .replace)
      return longer
    }
  }

  /// Writes what the validator `audience` needs of the set at `source`, and no more, to `path`. An earlier export for the
  /// same audience is replaced; anything else that is there is not. Returns what was written.
  package static func export(
    audience: String, from source: String, to path: String, group: String? = nil
  ) throws -> KeySet {
    let exported = try KeySet.load(path: source, group: group).exported(for: audience)
    return try PrivateFile.withDirectoryLock(of: path) {
      guard PrivateFile.exists(path) else {
        try write(exported, to: path, existing: .refuse)
        return exported
      }
      let old = try KeySet.load(path: path, group: group)
      guard old.keys.allSatisfy({ $0.isExported && ($0.audience ?? audience) == audience }) else {
        throw KeySetError(
          source: path, problem: "exists and is not an earlier export for \"\(audience)\"; it is left as it is",
          suggestion: "write to another file, or remove it")
      }
      try write(exported, to: path, existing: .replace)
      return exported
    }
  }

  /// Removes the key of that name, in all its parts, from the set at `path`. Returns what is left, which is not nothing.
  package static func retire(id: String, from path: String, group: String? = nil) throws -> KeySet {
    try PrivateFile.withDirectoryLock(of: path) {
      let set = try KeySet.load(path: path, group: group)
      let left = set.keys.filter { "\($0.id)" != id }
      guard left.count < set.keys.count else {
        let known = set.keys.map { "\"\($0.id)\"" }.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        throw KeySetError(
          source: path, problem: "has no key \"\(id)\"", suggestion: "its keys are \(known.joined(separator: ", "))")
      }
      guard !left.isEmpty else {
        throw KeySetError(
          source: path, key: "key \"\(id)\"", problem: "is the only one of the set",
          suggestion: "add its successor first: countersign keys new --kid NAME --out \(path)")
      }
      let rest = try KeySet(left, source: path)
      try write(rest, to: path, existing: .replace)
      return rest
    }
  }

  private static func write(_ set: KeySet, to path: String, existing: PrivateFile.Existing) throws {
    let text = set.serialized()
    guard text.utf8.count <= KeyFile.bytesMax else {
      throw KeySetError(
        source: path, problem: "would be larger than \(KeyFile.bytesMax >> 10) KiB", suggestion: "remove keys")
    }
    try PrivateFile.write(Array(text.utf8), to: path, existing: existing)
  }
}

extension KeySet.Key {
  /// The audience of a derived key.
  package var audience: String? {
    if case .derived(_, _, let audience) = material { audience } else { nil }
  }

  /// Whether an export could have made it: derived, or without its private half.
  var isExported: Bool {
    switch material {
    case .secret: false
    case .derived: true
    case .ed25519(_, let seed): seed == nil
    }
  }

  /// What it is for, in words.
  package var use: String {
    switch material {
    case .secret: "signs for any audience"
    case .derived(_, let purpose, let audience): "\(purpose.rawValue) at \(audience)"
    case .ed25519(_, let seed): seed == nil ? "verifies" : "signs for any audience"
    }
  }

  /// The first eight bytes of the key's SHA-256 thumbprint (RFC 7638), in hexadecimal. It says nothing about the
  /// secret, and is the same for both halves of an Ed25519 key.
  package func fingerprint() throws(CryptoError) -> String {
    let members: String
    switch material {
    case .secret(let secret), .derived(let secret, _, _):
      let text = secret.withBytes { bytes in Base64.text(bytes.indices.map { bytes[$0] }, .url) }
      members = "{\"k\":\"\(text)\",\"kty\":\"oct\"}"
    case .ed25519(let key, _):
      members = "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"\(Base64.text(key.point, .url))\"}"
    }
    return try SHA256.shortHex(members.utf8.span)
  }
}
