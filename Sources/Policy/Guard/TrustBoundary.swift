// What two configurations are compared by: the configuration, and of the files that it names what decides about trust, as it
// was when they were read. A file that was replaced since is compared by what was in it.
// Made with each snapshot (Proxy), which keeps it, and by `check --against`. In an upgrade the new process gets that of the old one
// (TrustHandover), so that it is no way around the reload guard.

import Platform
import Wire

package struct TrustBoundary: Sendable {
  package let config: Config
  /// What may verify here; empty where nothing is verified.
  let keys: [VerifyingKey]
  /// By path: each authority's entry in the file.
  let authorities: [String: Authorities]

  /// A key at this process's audience, for one purpose.
  struct VerifyingKey: Sendable, Equatable {
    let id: String
    let purpose: KeyPurpose
    /// Of its material. It is only compared, and goes into a hash.
    let fingerprint: UInt64
    let notBefore: UInt64
    let expires: UInt64
  }

  /// What is in a PEM file of authorities.
  struct Authorities: Sendable, Equatable {
    /// A digest of each certificate.
    var certificates: Set<String> = []
    /// Revocation lists, by their digests.
    var revocations: [String: RevocationList] = [:]
    /// A digest of all else; nil: the file could not be read as one that stays what it is.
    var rest: String?
  }

  /// - Parameter keys: the key set that the configuration names, as it was read.
  package init(_ config: Config, keys: KeySet?) throws(KeySetError) {
    self.config = config
    var verifying: [VerifyingKey] = []
    if let keys, let audience = config.verifiedAudience {
      for id in keys.keys.map(\.id) {
        for purpose in KeyPurpose.allCases where !verifying.contains(where: { $0.serves(id, purpose) }) {
          guard let key = keys.key(id, purpose: purpose, audience: audience),
            let fingerprint = try Self.fingerprint(key, purpose, audience, keys.source)
          else { continue }
          verifying.append(
            VerifyingKey(
              id: "\(id)", purpose: purpose, fingerprint: fingerprint, notBefore: key.term.notBefore,
              expires: key.term.expires))
        }
      }
    }
    self.keys = verifying
    authorities = Self.readAuthorities(config)
  }

  init(_ config: Config, keys: [VerifyingKey], authorities: [String: Authorities]) {
    self.config = config
    self.keys = keys
    self.authorities = authorities
  }

  private static func fingerprint(
    _ key: KeySet.Key, _ purpose: KeyPurpose, _ audience: String, _ source: String
  ) throws(KeySetError) -> UInt64? {
    do {
      if case .ed25519(let pair, _) = key.material { return KeyFingerprint.of(pair) }
      guard let secret = try KeySet.macSecret(of: key, purpose: purpose, audience: audience) else { return nil }
      return try KeyFingerprint.of(HMACContext(key: secret))
    } catch {
      throw KeySetError(source: source, key: "key \"\(key.id)\"", error)
    }
  }

  // MARK: Authorities

  func authorities(of path: String) -> Authorities { authorities[path] ?? Authorities() }

  /// Whether the files of authorities have the same content as when this was made. What cannot be compared counts as unchanged here.
  package var authoritiesAreUnchanged: Bool {
    let now = Self.readAuthorities(config)
    return now.count == authorities.count
      && now.allSatisfy { path, its in
        authorities[path].map { its == $0 || its.rest == nil && $0.rest == nil } ?? false
      }
  }

  private static func readAuthorities(_ config: Config) -> [String: Authorities] {
    let paths = config.listeners.compactMap(\.clientCertificates?.ca) + config.upstreams.compactMap(\.tls?.ca)
    return Dictionary(paths.map { ($0, readAuthorities(path: $0)) }) { first, _ in first }
  }

  /// What is more is not compared, and so is never known to be the same.
  package static let authoritiesBytesMax = 64 << 20

  private static func readAuthorities(path: String) -> Authorities {
    // Who loads it says so. One that is there by then is not what it was (`authoritiesAreUnchanged`).
    guard TextFile.readFailure(path: path) == nil else { return Authorities(rest: "none") }
    // What a pipe holds is for who loads it.
    guard TextFile.readFailure(path: path, refusesPipes: true) == nil,
      let bytes = try? TextFile.read(path: path, bytesMax: authoritiesBytesMax + 1),
      bytes.count <= authoritiesBytesMax
    else { return Authorities() }
    return PEMAuthorities.read(bytes) ?? Authorities()
  }
}

extension TrustBoundary.VerifyingKey {
  fileprivate func serves(_ id: KeyID, _ purpose: KeyPurpose) -> Bool { self.id == "\(id)" && self.purpose == purpose }
}

extension TrustBoundary.Authorities {
  /// What is in them is the same, byte by byte. Of what could not be read that is not known.
  static func == (a: Self, b: Self) -> Bool {
    a.rest != nil && a.certificates == b.certificates && a.revocations.keys == b.revocations.keys && a.rest == b.rest
  }

  /// Whether somebody may be vouched for by these who could not be by `old`; in doubt. Revocation lists are replaced day by day: what
  /// an authority says in a newer one is its own word. That one is gone, or an older one is back, is not.
  func areWider(than old: Self) -> Bool {
    rest == nil || old.rest != rest || !certificates.isSubset(of: old.certificates) || !haveNewerLists(than: old)
  }

  /// What that means for those who show certificates that `others` sign.
  func effect(on others: String, than old: Self) -> String {
    if !areWider(than: old) { return "fewer \(others)" }
    if rest == nil || haveNewerLists(than: old) { return "others \(others)" }
    return "a revocation list is gone, or is replaced by one that is not later: what is revoked may be taken again"
  }

  /// Each list of `old` is still there, or a newer one of the same authority is, for each its own.
  private func haveNewerLists(than old: Self) -> Bool {
    let gone = Dictionary(grouping: old.revocations.filter { revocations[$0.key] == nil }.values, by: \.issuer)
    let come = Dictionary(grouping: revocations.filter { old.revocations[$0.key] == nil }.values, by: \.issuer)
    return gone.allSatisfy { issuer, lists in
      let was = lists.map(\.made).sorted(by: >)
      let now = come[issuer, default: []].map(\.made).sorted(by: >)
      return was.count <= now.count && zip(was, now).allSatisfy { $0 < $1 }
    }
  }

  var whole: String { (certificates.sorted() + revocations.keys.sorted() + [rest ?? "?"]).joined(separator: " ") }

  /// For another process, in one list: revocation lists have a mark that no digest begins with.
  var carried: [String] {
    certificates.sorted() + revocations.keys.sorted().map { "!" + $0 }
  }

  /// - Parameter lists: what is known of revocation lists, by their digests.
  init(carried: [String], rest: String?, lists: [String: RevocationList]) {
    certificates = Set(carried.filter { !$0.hasPrefix("!") })
    self.rest = rest
    for text in carried where text.hasPrefix("!") {
      let digest = String(text.dropFirst())
      // A process of an earlier version does not say whose a list is, and no other is known to be newer.
      revocations[digest] = lists[digest] ?? RevocationList(issuer: text, made: .max)
    }
  }
}

extension Config {
  /// Some rule of some listener takes signed identity.
  var verifies: Bool { listeners.contains { $0.trust.contains { $0.evidence == .attested } } }

  /// The audience whose messages are taken; nil where no rule takes any.
  package var verifiedAudience: String? { verifies ? identity.audience : nil }
}
