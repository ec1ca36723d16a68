// What a reload would change about trust: who may speak for whom, and what has to be shown for it. Pure: from two boundaries
// to a list of changes. Each part of a configuration has its file: rules, listeners, upstreams and routes; `identity` and
// `admin` are here. docs/CONFIG.md ("Reload guard") has the table of what weakens.
//
// Invariant: what is not known to be as strict as before weakens.
// Called by Load (Proxy) before a reload is taken, and by `check --against`.

import Wire

package struct TrustDiff {
  let old: TrustBoundary
  let new: TrustBoundary
  private var changes: [TrustChange] = []
  private let texts = RoutesText()

  /// The changes, what weakens first.
  package static func compare(old: TrustBoundary, new: TrustBoundary) -> [TrustChange] {
    var diff = TrustDiff(old: old, new: new)
    diff.identity()
    diff.infrastructure()
    diff.verifyingKeys()
    let pairs = ListenerPairs(old.config.listeners, new.config.listeners)
    diff.listeners(pairs)
    diff.upstreams()
    diff.routesByListener(pairs)
    diff.pathMismatch()
    diff.admin()
    return diff.changes.sorted(by: TrustChange.isListedBefore)
  }

  private init(old: TrustBoundary, new: TrustBoundary) {
    self.old = old
    self.new = new
  }

  // MARK: Values and changes

  typealias Value = TrustChange.Value

  mutating func add(
    _ kind: TrustChange.Kind, _ effect: TrustChange.Effect, _ subject: String, _ text: String, _ old: Value,
    _ new: Value, _ reach: TrustChange.Reach
  ) {
    changes.append(
      TrustChange(kind: kind, effect: effect, subject: subject, text: text, old: old, new: new, reach: reach))
  }

  /// What `compare` tells, without telling it yet.
  mutating func untold(_ compare: (inout TrustDiff) -> Void) -> [TrustChange] {
    let told = changes
    changes = []
    defer { changes = told }
    compare(&self)
    return changes
  }

  mutating func add(_ change: TrustChange) { changes.append(change) }

  func oldValue(_ path: String, _ text: String, whole: String? = nil) -> Value {
    Value(text, at: old.config.place(of: path), whole: whole)
  }

  func newValue(_ path: String, _ text: String, whole: String? = nil) -> Value {
    Value(text, at: new.config.place(of: path), whole: whole)
  }

  enum Side: String {
    case old
    case new
  }

  /// What a change depends on of its route, or, where it is not certain which requests it touches, of all routes of that side.
  /// - Parameter kind: what that is.
  func whole(
    _ kind: TrustChange.Kind, _ side: Side, _ route: Config.Route, isCertain: Bool, _ parts: (Config.Route) -> [String]
  ) -> String {
    guard !isCertain else { return TrustChange.joined(parts(route)) }
    let routes = side == .old ? old.config.routes : new.config.routes
    return texts.whole("\(kind.rawValue) \(side.rawValue)", routes, parts)
  }

  /// Names for people and for comparing, in their order.
  static func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ", ") }

  /// The listeners that take signed identity, before the change.
  var verifyingListeners: [String] {
    old.config.listeners.filter { $0.trust.contains { $0.evidence == .attested } }.map(\.name)
  }

  // MARK: identity

  private mutating func identity() {
    let (was, now) = (old.config.identity, new.config.identity)
    if was.mode != now.mode {
      let observes = now.mode == .observe
      add(
        .mode, observes ? .weakens : .strengthens, "identity.mode",
        observes
          ? "what is refused now would be passed on, without any identity: a backend then takes its peer for the client"
          : "what was only logged is refused",
        oldValue("identity.mode", was.mode.rawValue), newValue("identity.mode", now.mode.rawValue), .everybody)
    }
    if was.edge != now.edge {
      add(
        .edgeName, .changes, "identity.edge",
        "this edge signs under another name; each validator's `edges` must have it",
        oldValue("identity.edge", was.edge ?? "none"), newValue("identity.edge", now.edge ?? "none"), .nobody)
    }
    if was.signWith != now.signWith {
      add(
        .signWith, .changes, "identity.sign_with", "another key signs; each validator must have it",
        oldValue("identity.sign_with", was.signWith ?? "none"), newValue("identity.sign_with", now.signWith ?? "none"),
        .nobody)
    }
    if was.keysGroup != now.keysGroup {
      let text =
        now.keysGroup.map { "the group \($0) may read the key set, and so sign with what is in it" }
        ?? "no group may read the key set any more"
      add(
        .keysGroup, now.keysGroup == nil ? .strengthens : .weakens, "identity.keys_group", text,
        oldValue("identity.keys_group", was.keysGroup ?? "none"),
        newValue("identity.keys_group", now.keysGroup ?? "none"), .nobody)
    }
    claims(was.claims, now.claims)
    if was.replayWindowBits != now.replayWindowBits {
      add(
        .replayWindow, .changes, "identity.replay_window",
        "from the next start on, another number of messages of each sender is remembered; what is older than they are is refused",
        oldValue("identity.replay_window", "\(was.replayWindowBits)"),
        newValue("identity.replay_window", "\(now.replayWindowBits)"), .nobody)
    }
    // What follows is about signatures that are taken: where none were, or none are any more, the rules' change says it.
    guard old.config.verifies, new.config.verifies else { return }
    if was.audience != now.audience {
      add(
        .audience, .weakens, "identity.audience",
        "what was signed for another validator is taken here; messages for either can be replayed at the other",
        oldValue("identity.audience", was.audience ?? "none"), newValue("identity.audience", now.audience ?? "none"),
        .listeners(verifyingListeners))
    }
    edges(was.edges, now.edges)
    if was.clockSkewMilliseconds != now.clockSkewMilliseconds {
      let grows = now.clockSkewMilliseconds > was.clockSkewMilliseconds
      add(
        .clockSkew, grows ? .weakens : .strengthens, "identity.clock_skew",
        grows ? "a message is taken that claims a later time" : "a message must claim a time nearer to this clock's",
        oldValue("identity.clock_skew", Unit.duration(was.clockSkewMilliseconds)),
        newValue("identity.clock_skew", Unit.duration(now.clockSkewMilliseconds)), .listeners(verifyingListeners))
    }
  }

  private mutating func claims(_ was: [String], _ now: [String]) {
    let gone = was.filter { !now.contains($0) }
    let come = now.filter { !was.contains($0) }
    guard !gone.isEmpty || !come.isEmpty else { return }
    let values = (
      oldValue("identity.claims", Self.list(was), whole: was.sorted().joined(separator: ",")),
      newValue("identity.claims", Self.list(now), whole: now.sorted().joined(separator: ","))
    )
    if gone.isEmpty {
      add(
        .claims, .strengthens, "identity.claims", "\(Self.list(come)) is no longer passed on from clients", values.0,
        values.1, .everybody)
    } else {
      add(
        .claims, .weakens, "identity.claims", "what a client says in \(Self.list(gone)) reaches the backend", values.0,
        values.1, .everybody)
    }
  }

  /// Empty means any.
  private mutating func edges(_ was: [String], _ now: [String]) {
    let come = now.filter { !was.contains($0) }
    let gone = was.filter { !now.contains($0) }
    let isWider = !was.isEmpty && (now.isEmpty || !come.isEmpty)
    guard isWider || was.isEmpty != now.isEmpty || !gone.isEmpty else { return }
    let text =
      if isWider {
        now.isEmpty ? "any edge whose key is in the set is believed" : "\(Self.list(come)) is believed as an edge"
      } else {
        was.isEmpty ? "only \(Self.list(now)) is believed as an edge" : "\(Self.list(gone)) is no longer believed"
      }
    func any(_ names: [String]) -> String { names.isEmpty ? "any" : Self.list(names) }
    add(
      .edges, isWider ? .weakens : .strengthens, "identity.edges", text,
      oldValue("identity.edges", any(was), whole: was.sorted().joined(separator: ",")),
      newValue("identity.edges", any(now), whole: now.sorted().joined(separator: ",")), .listeners(verifyingListeners))
  }

  private mutating func infrastructure() {
    let was = AddressSet(Infrastructure(old.config).declaredRanges)
    let now = AddressSet(Infrastructure(new.config).declaredRanges)
    let (gone, come) = (was.subtracting(now), now.subtracting(was))
    if !gone.isEmpty {
      add(
        .infrastructure, .weakens, "infrastructure \(gone.whole)",
        "\(gone.text) could never be a client and now can: somebody in front who does not pass its client on is taken for one",
        Value("infrastructure", at: Self.place(of: gone, in: old.config)),
        newValue("identity.infrastructure", "not infrastructure"), .clients(gone))
    }
    if !come.isEmpty {
      add(
        .infrastructure, .strengthens, "infrastructure \(come.whole)", "\(come.text) can no longer be a client",
        oldValue("identity.infrastructure", "not infrastructure"),
        Value("infrastructure", at: Self.place(of: come, in: new.config)), .clients(come))
    }
  }

  /// Where the first of these becomes infrastructure.
  private static func place(of addresses: AddressSet, in config: Config) -> Place {
    func names(_ range: IPPrefix) -> Bool { !AddressSet([range]).intersection(addresses).isEmpty }
    if let index = config.identity.infrastructure.firstIndex(where: names) {
      return config.place(of: "identity.infrastructure[\(index)]")
    }
    return config.listeners.lazy.flatMap(\.trust).first { $0.namesOthers && $0.from.contains(where: names) }?.place
      ?? .none
  }

  // MARK: Keys

  /// A key that is added to the file that was named before, beside one that stays, is a rotation: the file is closed to all but
  /// its owner, and changed by the `keys` commands on purpose.
  private mutating func verifyingKeys() {
    guard old.config.verifies, new.config.verifies else { return }
    let path = "identity.keys"
    let isSameFile = old.config.identity.keys == new.config.identity.keys
    let stays = new.keys.contains { key in
      old.keys.contains { $0.id == key.id && $0.purpose == key.purpose && $0.fingerprint == key.fingerprint }
    }
    for key in new.keys {
      let subject = "key \(key.id) \(key.purpose.rawValue)"
      let shown = "\(key.id) (\(key.purpose.rawValue))"
      let print = "\(key.fingerprint) \(key.notBefore) \(key.expires)"
      guard let was = old.keys.first(where: { $0.id == key.id && $0.purpose == key.purpose }) else {
        let isRotation = isSameFile && stays
        add(
          .keys, isRotation ? .changes : .weakens, subject,
          "whoever has the key \(shown) may name any client"
            + (isRotation ? ": it was added to the key set, beside one that stays" : ""),
          oldValue(path, "not in the set"), newValue(path, "in the set", whole: print), .listeners(verifyingListeners))
        continue
      }
      let printWas = "\(was.fingerprint) \(was.notBefore) \(was.expires)"
      if was.fingerprint != key.fingerprint {
        add(
          .keys, .weakens, subject,
          "the key \(shown) is another one under the same name: whoever has it may name any client",
          oldValue(path, "the key that was read before", whole: printWas), newValue(path, "another key", whole: print),
          .listeners(verifyingListeners))
      } else if printWas != print {
        let isLonger = key.notBefore < was.notBefore || key.expires > was.expires
        add(
          .keyLifetime, isLonger ? .weakens : .strengthens, subject,
          "the key \(shown) is good for \(isLonger ? "a longer" : "a shorter") time",
          oldValue(path, "\(was.lifetime)", whole: printWas), newValue(path, "\(key.lifetime)", whole: print),
          .listeners(verifyingListeners))
      }
    }
    for key in old.keys where !new.keys.contains(where: { $0.id == key.id && $0.purpose == key.purpose }) {
      add(
        .keys, .strengthens, "key \(key.id) \(key.purpose.rawValue)",
        "what the key \(key.id) (\(key.purpose.rawValue)) signs is refused", oldValue(path, "in the set"),
        newValue(path, "not in the set"), .listeners(verifyingListeners))
    }
  }

  // MARK: admin

  private mutating func admin() {
    let (was, now) = (old.config.admin, new.config.admin)
    guard was != now, let now else { return }
    let isWider = now.address.isReachedFromElsewhere(than: was?.address ?? .unix(""))
    add(
      .admin, isWider ? .weakens : .changes, "admin.listen",
      isWider
        ? "the admin listener, which asks nobody who they are, can be reached from elsewhere"
        : "the admin listener moves",
      oldValue("admin.listen", was?.address.text ?? "none"), newValue("admin.listen", now.address.text), .nobody)
  }
}

extension TrustBoundary.VerifyingKey {
  fileprivate var lifetime: String {
    "from \(notBefore == 0 ? "ever" : "\(notBefore)") to \(expires == .max ? "ever" : "\(expires)")"
  }
}

extension Config.Endpoint {
  /// From where it can be reached, the least first.
  enum Exposure: Int, Comparable {
    case unixSocket, thisHost, oneAddress, everyAddress
    static func < (a: Exposure, b: Exposure) -> Bool { a.rawValue < b.rawValue }
  }

  var exposure: Exposure {
    switch self {
    case .unix: .unixSocket
    case .address(let address, _): address.isLoopback ? .thisHost : address.isUnspecified ? .everyAddress : .oneAddress
    case .host, .service: .everyAddress
    }
  }

  /// Whether somebody may reach it who could not reach `other`; in doubt. Who is on this host is nobody new.
  func isReachedFromElsewhere(than other: Config.Endpoint) -> Bool {
    guard exposure > .thisHost else { return false }
    guard case .address(let its, _) = other, case .address(let address, _) = self else { return true }
    return exposure > other.exposure || exposure == other.exposure && address != its
  }

  /// As the configuration writes it.
  var text: String {
    switch self {
    case .host(let host, let port): "\(host):\(port)"
    case .service(let name): "srv:\(name)"
    case .address(let address, let port): address.family == .v4 ? "\(address):\(port)" : "[\(address)]:\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }
}
