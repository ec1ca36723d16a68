// The trust rules of one listener before and after: each peer's rule is compared with the rule that it had. The space of
// addresses is cut at every end of a range of both lists; between two cuts every peer has the same rule before and the same
// after, and all pieces with the same two rules are told as one.

import Wire

/// The rules of one listener, found as TrustPolicy finds them.
private struct RuleLookup {
  let rules: [Config.TrustRule]
  /// By index into `entries`.
  private let peers: PrefixTable
  private let entries: [(prefix: IPPrefix, rule: Int)]
  /// The rule for whoever is in no range; `rules.count` is the default.
  let anyRule: Int
  /// Where the default stands that is not written: at the list.
  private let list: Place

  struct Found: Hashable {
    let rule: Int
    /// The range by which it was found; nil: the peer is in none.
    let prefix: IPPrefix?
  }

  init(_ listener: Config.Listener, list: Place) {
    rules = listener.trust + [Config.TrustRule(evidence: .socket)]
    entries = listener.trust.enumerated().flatMap { index, rule in rule.from.map { ($0, index) } }
    peers = PrefixTable(entries.enumerated().map { ($1.prefix, UInt32($0)) })
    anyRule = listener.trust.firstIndex { $0.from.isEmpty } ?? listener.trust.count
    self.list = list
  }

  func find(_ peer: IPAddress) -> Found {
    guard let entry = peers.longestMatch(peer).map({ entries[Int($0)] }) else { return unlisted }
    return Found(rule: entry.rule, prefix: entry.prefix)
  }

  var unlisted: Found { Found(rule: anyRule, prefix: nil) }
  /// Whether somebody wrote a rule for `any`.
  var hasAny: Bool { anyRule < rules.count - 1 }
  func place(of rule: Int) -> Place { rule < rules.count - 1 ? rules[rule].place : list }
  var ranges: [IPPrefix] { entries.map(\.prefix) }

  /// Addresses that a rule names one by one and takes for clients (`CompiledRule.namedClients`).
  var namedClients: [IPPrefix] { rules.filter { $0.evidence == .socket }.flatMap { $0.from.filter(\.isHost) } }
}

/// Peers that had one rule and now have one.
private struct Pair: Hashable {
  let old: Int
  let new: Int
  /// The rule is for the same range as before, so that it is the rule that was changed and not the range.
  let isSameRange: Bool
}

extension TrustDiff {
  /// - Parameter place: of the listener in each configuration: its index.
  mutating func rules(
    _ was: Config.Listener, _ now: Config.Listener, place: (old: Int, new: Int)
  ) {
    let before = RuleLookup(was, list: old.config.place(of: "listeners[\(place.old)].trust"))
    let after = RuleLookup(now, list: new.config.place(of: "listeners[\(place.new)].trust"))
    if was.address.isUnix || now.address.isUnix {
      // Who comes over a unix socket has no address.
      let pair = Pair(old: before.anyRule, new: after.anyRule, isSameRange: after.hasAny)
      compare(pair, before, after, peers: nil, "every peer", was, now)
      return
    }
    let pieces = Self.pieces(before, after)
    for (pair, peers) in pieces {
      let isRest = pair.old == before.anyRule && pair.new == after.anyRule
      let isAlone = before.ranges.isEmpty && after.ranges.isEmpty
      compare(
        pair, before, after, peers: peers, isRest ? isAlone ? "every peer" : "every peer in no range" : peers.text, was,
        now)
    }
    ownClients(before, after, was, now)
  }

  private static func pieces(_ before: RuleLookup, _ after: RuleLookup) -> [Pair: AddressSet] {
    var found: [Pair: AddressSet] = [:]
    for family in [IPAddress.Family.v4, .v6] {
      let end: UInt128 = family == .v4 ? UInt128(UInt32.max) : .max
      var cuts: Set<UInt128> = [0]
      for interval in (before.ranges + after.ranges).flatMap({ AddressSet([$0]).intervals(family) }) {
        cuts.insert(interval.first)
        if interval.last < end { cuts.insert(interval.last + 1) }
      }
      let starts = cuts.sorted()
      var intervals: [Pair: [AddressSet.Interval]] = [:]
      for (index, start) in starts.enumerated() {
        let last = index + 1 < starts.count ? starts[index + 1] - 1 : end
        let peer = IPAddress(bits: start, family)
        let (was, now) = (before.find(peer), after.find(peer))
        let isSame = was.prefix == now.prefix && (now.prefix != nil || after.hasAny)
        let pair = Pair(old: was.rule, new: now.rule, isSameRange: isSame)
        intervals[pair, default: []].append(AddressSet.Interval(first: start, last: last))
      }
      for (pair, intervals) in intervals {
        found[pair] = (found[pair] ?? AddressSet()).union(AddressSet(intervals, family))
      }
    }
    return found
  }

  // MARK: One pair of rules

  /// - Parameter peers: nil: those of a unix socket.
  private mutating func compare(
    _ pair: Pair, _ before: RuleLookup, _ after: RuleLookup, peers: AddressSet?, _ who: String, _ was: Config.Listener,
    _ now: Config.Listener
  ) {
    let (rule, next) = (before.rules[pair.old], after.rules[pair.new])
    let isRest = pair.old == before.anyRule && pair.new == after.anyRule
    let change = RuleChange(
      subject: "listener \(now.name) \(isRest || peers == nil ? "any" : peers?.whole ?? "")",
      whose: "listener `\(now.name)`: \(who)",
      old: Value(rule.demand, at: before.place(of: pair.old), whole: rule.wholeDemand),
      new: Value(next.demand, at: after.place(of: pair.new), whole: next.wholeDemand),
      reach: peers.map { .peers($0, listener: was.name) } ?? .listeners([was.name]))
    if rule.evidence != next.evidence || rule.thenForwarded != next.thenForwarded {
      evidence(change, rule, next, peers: peers, isSameRange: pair.isSameRange)
    } else {
      if rule.readsField, rule.header != next.header {
        add(
          change, .headerRenamed, .weakens,
          "the client was read from `\(rule.header.rawValue)`, and now from `\(next.header.rawValue)`: a field that "
            + "the proxy in front does not write itself is the client's to write")
      }
      let (hops, nextHops) = (AddressSet(rule.hops), AddressSet(next.hops))
      if rule.readsField, hops != nextHops {
        let come = nextHops.subtracting(hops)
        add(
          change, .hops, .weakens,
          come.isEmpty
            ? "\(hops.subtracting(nextHops).text) is no longer a hop: everybody who comes through it becomes one client"
            : "\(come.text) is a hop now, and believed about who is behind it")
      }
      if rule.proxyProtocolRequired != next.proxyProtocolRequired {
        add(
          change, .proxySwitchedOff, next.proxyProtocolRequired ? .strengthens : .weakens,
          next.proxyProtocolRequired
            ? "the edge must send a signed PROXY header first"
            : "the edge had to send a signed PROXY header, and need not any more (`proxy_protocol: required`)")
      }
    }
    // What else a rule has is compared here, whatever the evidence.
    scheme(change, rule, next)
    cutover(change, rule, next)
  }

  /// What all changes of one pair of rules have in common.
  private struct RuleChange {
    let subject: String
    let whose: String
    let old: Value
    let new: Value
    let reach: TrustChange.Reach
  }

  private mutating func add(
    _ change: RuleChange, _ kind: TrustChange.Kind, _ effect: TrustChange.Effect, _ text: String
  ) {
    add(kind, effect, change.subject, "\(change.whose): \(text)", change.old, change.new, change.reach)
  }

  /// Where the scheme comes from. It weakens where some client may be said to have used TLS that was not before.
  private mutating func scheme(_ change: RuleChange, _ rule: Config.TrustRule, _ next: Config.TrustRule) {
    let (was, now) = (rule.scheme, next.scheme)
    guard was != now, next.evidence != .refuse, next.evidence != .attested else { return }
    let weakens = now == .https || was == .http
    let says = now == .evidence ? "is what the evidence says" : "is said to be \(now.rawValue)"
    add(change, .scheme, weakens ? .weakens : .strengthens, "the client's scheme \(says) (`scheme: \(now.rawValue)`)")
  }

  /// Until when a peer is a client itself where it sends no header.
  private mutating func cutover(_ change: RuleChange, _ rule: Config.TrustRule, _ next: Config.TrustRule) {
    let (was, now) = (rule.cutoverEndMilliseconds ?? 0, next.cutoverEndMilliseconds ?? 0)
    guard was != now, next.evidence == .proxyProtocol else { return }
    let text =
      now == 0
      ? "a peer must send its PROXY header at once (no `cutover` any more)"
      : "until \(Timestamp.text(milliseconds: now)), a peer that sends no PROXY header is taken for the client (`cutover`)"
    add(change, .cutover, now > was ? .weakens : .strengthens, text)
  }

  private mutating func evidence(
    _ change: RuleChange, _ rule: Config.TrustRule, _ next: Config.TrustRule, peers: AddressSet?, isSameRange: Bool
  ) {
    let isUnlisted = rule.namesOthers && !isSameRange
    switch (rule.evidence, next.evidence) {
    case (_, .refuse), (.proxyProtocol, .attested), (.forwarded, .attested):
      guard isUnlisted else { return add(change, .evidence, .strengthens, "\(rule.past); now \(next.present)") }
      add(
        change, .balancerUnlisted, .changes,
        "\(rule.past), and no rule lists them any more; now \(next.present), so all who come through them are refused")
    case (.attested, _):
      add(change, .signatureNotDemanded, .weakens, "\(rule.past); now \(next.present)")
    case (.refuse, .socket): add(change, .evidence, .weakens, "\(rule.past); now \(next.present)")
    case (.socket, _), (.refuse, _):
      let who = next.evidence == .attested ? "has a key of the set" : "sends one"
      add(change, .rangeWidened, .weakens, "\(rule.past); now \(next.present), and whoever \(who) can name anybody")
    case (.proxyProtocol, .forwarded):
      add(
        change, .forwardedBeforeProxy, .weakens,
        "\(rule.past); now \(next.present), and a client that can write it through these peers can be anybody")
    case (.proxyProtocol, .proxyProtocol):
      let kind: TrustChange.Kind = next.thenForwarded ? .forwardedBeforeProxy : .hops
      let what =
        next.thenForwarded
        ? "where that is a hop's, its field `\(next.header.rawValue)` is believed"
        : "the field of a hop is not read any more, so everybody who comes through it becomes one client"
      add(change, kind, .weakens, "\(next.present); now \(what)")
    case (.forwarded, .proxyProtocol):
      let isInDoubt = !rule.hops.isEmpty || next.thenForwarded
      let hops = rule.hops.isEmpty ? "" : "; who comes through a hop may become one client with it"
      add(
        change, .evidence, isInDoubt ? .weakens : .strengthens, "\(rule.past); now \(next.present)\(hops)")
    case (.proxyProtocol, .socket), (.forwarded, .socket):
      becomesClient(change, rule, peers: peers, isUnlisted: isUnlisted)
    case (.forwarded, .forwarded): break
    }
  }

  /// Peers that named their clients and are taken for clients themselves, unless they are infrastructure still.
  private mutating func becomesClient(
    _ change: RuleChange, _ rule: Config.TrustRule, peers: AddressSet?, isUnlisted: Bool
  ) {
    let kind: TrustChange.Kind =
      isUnlisted ? .balancerUnlisted : rule.evidence == .proxyProtocol ? .proxySwitchedOff : .evidence
    let why = "\(rule.past), and \(isUnlisted ? "no rule lists them any more" : "nothing has to any more")"
    let known = AddressSet(Infrastructure(new.config).declaredRanges)
    let refused = peers?.intersection(known) ?? AddressSet()
    if peers == nil || peers != refused {
      add(
        change, kind, .weakens, "\(why): all who come through such a peer become one client, with the peer's address")
    }
    if !refused.isEmpty {
      add(
        change, kind, .changes,
        "\(why): \(refused.text) is infrastructure, so all who come through it are refused (client-infrastructure)")
    }
  }

  /// A program on this host as a client, by a rule that names its address.
  private mutating func ownClients(
    _ before: RuleLookup, _ after: RuleLookup, _ was: Config.Listener, _ now: Config.Listener
  ) {
    guard case .address(let bound, _) = now.address else { return }
    let infrastructure = Infrastructure(new.config)
    let named = AddressSet(before.namedClients)
    for prefix in after.namedClients where !named.contains(prefix.address) {
      let address = prefix.address
      // Where the listener is on every address, any may be this host's.
      guard bound.isUnspecified || address.isLoopback || infrastructure.isOwn(address),
        !infrastructure.isDeclared(address)
      else { continue }
      let (from, to) = (before.find(address), after.find(address))
      guard before.rules[from.rule].evidence == .socket else { continue }
      add(
        .ownAddress, .weakens, "listener \(now.name) \(prefix)",
        "listener `\(now.name)`: a rule names \(address): programs on this host that connect from there are clients, also a "
          + "proxy that does not pass its client on",
        Value(before.rules[from.rule].demand, at: before.place(of: from.rule), whole: "not named"),
        Value("\(address) \(after.rules[to.rule].demand)", at: after.place(of: to.rule), whole: "named"),
        .peers(AddressSet([prefix]), listener: was.name))
    }
  }
}

extension Config.TrustRule {
  /// Peers under it may name a client other than themselves.
  var namesOthers: Bool { evidence == .proxyProtocol || evidence == .forwarded || evidence == .attested }
  /// A field of the request is read.
  var readsField: Bool { evidence == .forwarded || thenForwarded }

  fileprivate var past: String {
    switch evidence {
    case .socket: "each peer was a client itself"
    case .proxyProtocol: "a PROXY header had to name the client"
    case .forwarded: "the field `\(header.rawValue)` had to name the client"
    case .attested: "an edge's signature had to name the client"
    case .refuse: "these peers were turned away"
    }
  }

  fileprivate var present: String {
    switch evidence {
    case .socket: "each peer is a client itself"
    case .proxyProtocol: "a PROXY header names the client"
    case .forwarded: "the field `\(header.rawValue)` names the client"
    case .attested: "an edge's signature must name the client"
    case .refuse: "these peers are turned away"
    }
  }

  /// What the rule demands, without the peers that it is for.
  fileprivate var demand: String {
    var words = evidence.rawValue
    if thenForwarded { words += ", then forwarded" }
    if readsField { words += " (\(header.rawValue))" }
    if readsField, !hops.isEmpty { words += ", hops \(AddressSet(hops).text)" }
    if scheme != .evidence { words += ", scheme \(scheme.rawValue)" }
    if let end = cutoverEndMilliseconds { words += ", or socket until \(Timestamp.text(milliseconds: end))" }
    if evidence == .attested { words += ", proxy_protocol \(proxyProtocolRequired ? "required" : "off")" }
    return words
  }

  /// All of it, for a comparison.
  var wholeDemand: String {
    let field = readsField ? "\(header.rawValue) \(AddressSet(hops).whole)" : "-"
    return
      "\(evidence.rawValue) \(thenForwarded) \(field) \(scheme.rawValue) \(proxyProtocolRequired) \(cutoverEndMilliseconds ?? 0)"
  }
}
