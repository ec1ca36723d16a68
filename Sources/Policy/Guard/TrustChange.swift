// One difference between the trust boundaries of two configurations, as it is told to people, logged, counted and hashed.
// TrustDiff makes them; `check --against` prints them; Load (Proxy) refuses a reload that weakens what was not accepted.

import Platform
import Wire

package struct TrustChange: Sendable, Equatable {
  /// What changed. The names are for scripts and stay; the order is that of the list, the weakest first.
  package enum Kind: String, Sendable, CaseIterable {
    case mode
    case signatureNotDemanded = "signature-not-demanded"
    case rangeWidened = "range-widened"
    case forwardedBeforeProxy = "forwarded-before-proxy"
    case headerRenamed = "header-renamed"
    case hops
    case cutover
    case balancerUnlisted = "balancer-unlisted"
    case proxySwitchedOff = "proxy-switched-off"
    case evidence
    case ownAddress = "own-address"
    case infrastructure
    case attestToPlain = "attest-to-plain"
    case upstreamIdentity = "upstream-identity"
    case plainFields = "plain-fields"
    case plainExposed = "plain-exposed"
    case keys
    case keyLifetime = "key-lifetime"
    case keysGroup = "keys-group"
    case edges
    case audience
    case upstreamAudience = "upstream-audience"
    case sharedAudience = "shared-audience"
    case listenerAdded = "listener-added"
    case listenerMoved = "listener-moved"
    case clientCertificates = "client-certificates"
    case clientAuthorities = "client-authorities"
    case listenerTLS = "listener-tls"
    case tlsMinimum = "tls-minimum"
    case upstreamTLS = "upstream-tls"
    case upstreamAuthorities = "upstream-authorities"
    case route
    case scheme
    case claims
    case clockSkew = "clock-skew"
    case admin
    case routeAccess = "route-access"
    case routePassword = "route-password"
    case routeRewrite = "route-rewrite"
    case distinctClients = "distinct-clients"
    case routeEnabled = "route-enabled"
    case pathMismatch = "path-mismatch"
    case collapse
    case checks
    case replayWindow = "replay-window"
    case edgeName = "edge-name"
    case signWith = "sign-with"
    case listenerRemoved = "listener-removed"
  }

  package enum Effect: Int, Sendable, Comparable {
    /// Somebody may speak for whom he could not speak before, or something is no longer demanded; or that is in doubt.
    case weakens
    /// Neither; worth knowing.
    case changes
    case strengthens

    package static func < (a: Effect, b: Effect) -> Bool { a.rawValue < b.rawValue }
    package var text: String { "\(self)" }
  }

  /// A value of one of the two files: as the list shows it, and all of it for the hash, without its place.
  package struct Value: Sendable, Equatable {
    package var text: String
    package var place: Place
    var whole: String

    init(_ text: String, at place: Place, whole: String? = nil) {
      self.text = text
      self.place = place
      self.whole = whole ?? text
    }
  }

  /// One text of several: each with its length, so that no two lists are written the same.
  static func joined(_ texts: [String]) -> String { texts.map { "\($0.utf8.count):\($0)" }.joined() }

  /// Whose requests are touched, by what the access log says of them.
  package enum Reach: Sendable, Equatable {
    case peers(AddressSet, listener: String)
    case listeners([String])
    /// Those whose client, or else whose peer, is one of these.
    case clients(AddressSet)
    case upstreams([String])
    case everybody
    case nobody
  }

  package let kind: Kind
  package let effect: Effect
  /// What it is about, such as `listener public 10.0.0.0/24`: for the hash.
  let subject: String
  /// A sentence.
  package let text: String
  package let old: Value
  package let new: Value
  /// By the names of the old configuration.
  package let reach: Reach

  /// The change as lines for people. `oldFile` and `newFile` are how the two files are called.
  package func lines(oldFile: String, newFile: String) -> [String] {
    [
      "\(Self.place(newFile, new)): \(effect.text) trust (\(kind.rawValue)): \(text)",
      "  before: \(old.text) (\(Self.place(oldFile, old)))",
      "  after:  \(new.text) (\(Self.place(newFile, new)))",
    ]
  }

  /// The same in one line, for the log; `prefix` is `warning: ` for one.
  package func line(oldFile: String, newFile: String, prefix: String) -> String {
    "\(Self.place(newFile, new)): \(prefix)\(effect.text) trust (\(kind.rawValue)): \(text); "
      + "before: \(old.text) (\(Self.place(oldFile, old))), after: \(new.text)"
  }

  private static func place(_ file: String, _ value: Value) -> String {
    let file = value.place.file ?? file
    return value.place.line > 0 ? "\(file):\(value.place.line)" : file
  }

  /// In the order of a list: what weakens first, the weakest of it at the top.
  static func isListedBefore(_ a: TrustChange, _ b: TrustChange) -> Bool {
    let (rankA, rankB) = (Kind.rank[a.kind] ?? 0, Kind.rank[b.kind] ?? 0)
    return (a.effect.rawValue, rankA, a.new.place, a.subject) < (b.effect.rawValue, rankB, b.new.place, b.subject)
  }
}

extension TrustChange.Kind {
  fileprivate static let rank = Dictionary(uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })
}

/// What `accept_weaker` must say for exactly these changes.
package enum WeakerHash {
  /// Digits of it: 64 bits, for it keeps mistakes apart, not attackers, who would not have to write it.
  package static let digits = 16

  package static func isOne(_ text: String) -> Bool {
    text.utf8.count == digits && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// Nil where nothing weakens. Places, sentences and comments do not count.
  package static func of(_ changes: [TrustChange]) throws(CryptoError) -> String? {
    let weaker = changes.filter { $0.effect == .weakens }
    guard !weaker.isEmpty else { return nil }
    let entries = weaker.map { change in
      TrustChange.joined([change.kind.rawValue, change.subject, change.old.whole, change.new.whole])
    }
    let text = Array(("countersign/v1 accept_weaker\n" + entries.sorted().joined(separator: "\n")).utf8)
    return try SHA256.shortHex(text.span)
  }
}
