// From when to when a key may be used (`nbf`, `exp`): the one rule, of a key in its set, of a signer and of a verifier.

/// In seconds since 1970; a value of two words, so that asking it costs no more than two comparisons.
package struct KeyTerm: Equatable, Sendable {
  /// The key is used from then on; 0: from ever.
  package let notBefore: UInt64
  /// The key is not used from then on; `.max`: for ever.
  package let expires: UInt64

  init(notBefore: UInt64?, expires: UInt64?) {
    self.notBefore = notBefore ?? 0
    self.expires = expires ?? .max
  }

  /// When both may be used.
  func intersection(_ other: KeyTerm) -> KeyTerm {
    KeyTerm(notBefore: max(notBefore, other.notBefore), expires: min(expires, other.expires))
  }

  /// Whether the key may be used at this time.
  package func contains(seconds: UInt64) -> Bool { seconds >= notBefore && seconds < expires }
}
