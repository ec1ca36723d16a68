// Key sets as JWKS text: reading with every check there is, and writing for the `keys` commands.
// What the file must be as a file is KeyFile's (Platform); what its keys must be is here. Members that are not ours are
// ignored, as RFC 7517 section 4 asks; those that are ours must be right.

import FoundationEssentials
import Platform
import Wire

extension KeySet {
  /// Reads and checks a key file. `group` is the one group that may read it, by name.
  package static func load(path: String, group: String? = nil) throws(KeySetError) -> KeySet {
    let contents: SecretBytes
    do {
      contents = try KeyFile.read(path: path, group: group)
    } catch {
      throw KeySetError(file: path, error)
    }
    return try KeySet(json: contents, source: path, allowsPublishedKeys: false)
  }

  /// Reads and checks the text of a key set. Published keys are for the tests of the published vectors alone.
  package convenience init(json: SecretBytes, source: String, allowsPublishedKeys: Bool) throws(KeySetError) {
    let entries = try Self.entries(json: json, source: source)
    guard !entries.isEmpty else {
      throw KeySetError(source: source, problem: "holds no keys", suggestion: "make one with: countersign keys new")
    }
    var keys: [Key] = []
    for (index, entry) in entries.enumerated() {
      let name: String
      if let id = entry.kid.flatMap({ KeyID($0) }) { name = "key \"\(id)\"" } else { name = "key \(index + 1)" }
      let complain = { (problem: String, suggestion: String?) in
        KeySetError(source: source, key: name, problem: problem, suggestion: suggestion)
      }
      keys.append(try entry.checked(allowsPublishedKeys: allowsPublishedKeys, complain))
    }
    try self.init(keys, source: source)
  }

  private static func entries(json: SecretBytes, source: String) throws(KeySetError) -> [Entry] {
    let data = json.withBytes { bytes in
      var data = Data(capacity: bytes.count)
      for i in bytes.indices { data.append(bytes[i]) }
      return data
    }
    do {
      return try JSONDecoder().decode(Document.self, from: data).keys
    } catch {
      // The decoder's own words may quote the file; only the place is told.
      let (problem, path): (String, [any CodingKey]) =
        switch error as? DecodingError {
        case .keyNotFound(let key, let context): ("a member is missing", context.codingPath + [key])
        case .typeMismatch(_, let context): ("a member has the wrong type", context.codingPath)
        case .valueNotFound(_, let context): ("a member is null", context.codingPath)
        default: ("it is not JSON", [])
        }
      let place = path.map { step in step.intValue.map { "[\($0)]" } ?? ".\(step.stringValue)" }.joined()
      throw KeySetError(
        source: source,
        problem: "is not a JWKS: \(problem)" + (place.isEmpty ? "" : " (\(place.drop { $0 == "." }))"),
        suggestion: "it looks like {\"keys\": [{\"kty\": \"oct\", \"kid\": …}]}")
    }
  }

  /// The file's text: one key a line, secrets included.
  package func serialized() -> String {
    let lines = keys.map { key in
      var members: [(String, String)] = []
      switch key.material {
      case .secret(let secret), .derived(let secret, _, _):
        members = [("kty", "oct"), ("kid", "\(key.id)"), ("alg", "HS256"), ("k", Self.text(secret))]
        if case .derived(_, let purpose, let audience) = key.material {
          members += [("cs_purpose", purpose.rawValue), ("cs_aud", audience)]
        }
      case .ed25519(let pair, let seed):
        members = [("kty", "OKP"), ("crv", "Ed25519"), ("kid", "\(key.id)"), ("x", Base64.text(pair.point, .url))]
        if let seed { members.append(("d", Self.text(seed))) }
      }
      // No value needs an escape: names and base64url have none of JSON's special characters.
      var parts = members.map { "\"\($0.0)\":\"\($0.1)\"" }
      if let notBefore = key.notBefore { parts.append("\"nbf\":\(notBefore)") }
      if let expires = key.expires { parts.append("\"exp\":\(expires)") }
      return "  {" + parts.joined(separator: ",") + "}"
    }
    return "{\"keys\":[\n" + lines.joined(separator: ",\n") + "\n]}\n"
  }

  private static func text(_ secret: SecretBytes) -> String {
    secret.withBytes { bytes in Base64.text(bytes.indices.map { bytes[$0] }, .url) }
  }

  private struct Document: Decodable { let keys: [Entry] }
}

/// One JWK as it stands in the file.
private struct Entry: Decodable {
  let kty: String?
  let kid: String?
  let alg: String?
  let crv: String?
  let use: String?
  let k: String?
  let x: String?
  let d: String?
  let cs_purpose: String?
  let cs_aud: String?
  let nbf: UInt64?
  let exp: UInt64?

  typealias Complain = (_ problem: String, _ suggestion: String?) -> KeySetError

  func checked(allowsPublishedKeys: Bool, _ complain: Complain) throws(KeySetError) -> KeySet.Key {
    guard let kid, let id = KeyID(kid) else { throw complain("has no usable kid", KeySet.keyIDRule) }
    guard use == nil || use == "sig" else {
      throw complain("is not for signatures (use)", "remove use or set it to sig")
    }
    if let nbf, let exp, exp <= nbf { throw complain("ends before it begins (nbf, exp)", nil) }
    let material: KeySet.Material
    switch kty {
    case "oct": material = try secret(allowsPublishedKeys: allowsPublishedKeys, complain)
    case "OKP": material = try pair(allowsPublishedKeys: allowsPublishedKeys, complain)
    default: throw complain("has a kty that is not oct or OKP", nil)
    }
    return KeySet.Key(id: id, material: material, notBefore: nbf, expires: exp)
  }

  private func secret(allowsPublishedKeys: Bool, _ complain: Complain) throws(KeySetError) -> KeySet.Material {
    // The key fixes the algorithm, so it has to say it (RFC 8725 section 3.1).
    guard alg == "HS256" else { throw complain("has kty oct, but its alg is not HS256", "set alg to HS256") }
    guard crv == nil, x == nil, d == nil else {
      throw complain("has kty oct with members of an OKP key (crv, x, d)", nil)
    }
    guard let k, var bytes = Base64.bytes(k, .url) else {
      throw complain("has no k, or one that is not base64url without padding", nil)
    }
    let count = bytes.count
    let secret = SecretBytes(bytes.span)
    for i in bytes.indices { bytes[i] = 0 }
    let renew = "make a new one with: countersign keys new"
    guard count >= 32 else { throw complain("has a secret of \(count) bytes; 32 are the least", renew) }
    try secret.withBytes { bytes throws(KeySetError) in
      guard bytes.indices.contains(where: { bytes[$0] != bytes[0] }) else {
        throw complain("has a secret of one repeated byte", renew)
      }
      guard !allowsPublishedKeys, let published = PublishedKeys.source(ofSecret: bytes) else { return }
      throw complain("is published in \(published), so everybody can sign with it", renew)
    }
    guard cs_purpose != nil || cs_aud != nil else { return .secret(secret) }
    guard let purpose = cs_purpose.flatMap({ KeyPurpose(rawValue: $0) }) else {
      throw complain("is derived, but its cs_purpose is not http or pp2", "export the set again")
    }
    guard let audience = cs_aud, AttestName.isAudience(audience.utf8.span) else {
      throw complain("is derived, but has no usable cs_aud", KeySet.audienceRule)
    }
    guard count == 32 else {
      throw complain("is derived, but has \(count) bytes instead of 32", "export the set again")
    }
    return .derived(secret, purpose, audience: audience)
  }

  private func pair(allowsPublishedKeys: Bool, _ complain: Complain) throws(KeySetError) -> KeySet.Material {
    guard crv == "Ed25519" else { throw complain("has kty OKP, but its crv is not Ed25519", nil) }
    // RFC 8037 calls the algorithm EdDSA, RFC 9864 Ed25519.
    guard alg == nil || alg == "EdDSA" || alg == "Ed25519" else {
      throw complain("has crv Ed25519, but its alg is neither EdDSA nor Ed25519", "remove alg")
    }
    guard k == nil, cs_purpose == nil, cs_aud == nil else {
      throw complain("has kty OKP with members of an oct key (k, cs_purpose, cs_aud)", nil)
    }
    guard let x, let point = Base64.bytes(x, .url), point.count == 32 else {
      throw complain("has no x, or one that is not 32 bytes in base64url without padding", nil)
    }
    let renew = "make a new one with: countersign keys new --algorithm ed25519"
    if !allowsPublishedKeys, let published = PublishedKeys.source(ofPoint: point.span) {
      throw complain("is published in \(published), so everybody can sign with it", renew)
    }
    do {
      guard let d else { return .ed25519(try Ed25519Key(point: point), seed: nil) }
      guard var bytes = Base64.bytes(d, .url), bytes.count == 32 else {
        throw complain("has a d that is not 32 bytes in base64url without padding", nil)
      }
      let seed = SecretBytes(bytes.span)
      let isRepeated = bytes.allSatisfy { $0 == bytes[0] }
      for i in bytes.indices { bytes[i] = 0 }
      guard !isRepeated else { throw complain("has a secret of one repeated byte", renew) }
      let key = try Ed25519Key(seed: seed)
      guard key.point == point else { throw complain("has an x that is not the public key of its d", renew) }
      return .ed25519(key, seed: seed)
    } catch let error as KeySetError {
      throw error
    } catch {
      throw complain("\(error)", nil)
    }
  }
}
