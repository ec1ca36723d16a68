// Listeners before and after: what a client must show that connects to one address (ListenerPairs says which two listeners are compared).

import Wire

extension TrustDiff {
  private typealias Placed = (index: Int, listener: Config.Listener)

  mutating func listeners(_ pairs: ListenerPairs) {
    func was(_ index: Int) -> Placed { (index, old.config.listeners[index]) }
    func now(_ index: Int) -> Placed { (index, new.config.listeners[index]) }
    for index in pairs.added {
      let other = ListenerPairs.met(new.config.listeners[index].address, old.config.listeners)
      added(now(index), insteadOf: other.map(was))
    }
    for index in pairs.removed {
      let other = ListenerPairs.met(old.config.listeners[index].address, new.config.listeners)
      removed(was(index), to: other.map(now))
    }
    for pair in pairs.same { moved(was(pair.was), now(pair.now)) }
    for pair in pairs.same + pairs.taken {
      let (was, now) = (was(pair.was), now(pair.now))
      rules(was.listener, now.listener, place: (was.index, now.index))
      transport(was, now)
      checks(was, now)
      collapse(was, now)
    }
  }

  /// - Parameter other: to whom connections to its address came before; what it demands of them is compared with that.
  private mutating func added(_ placed: Placed, insteadOf other: Placed?) {
    let listener = placed.listener
    let path = "listeners[\(placed.index)]"
    if let other {
      return add(
        .listenerAdded, .changes, "listener \(listener.name)",
        "connections to \(listener.address.text), which came to the listener `\(other.listener.name)`, come to `\(listener.name)`",
        oldValue("listeners[\(other.index)]", other.listener.address.text), newValue(path, listener.address.text),
        .nobody)
    }
    let evidence = Self.evidence(of: listener)
    let claims = evidence.intersection([.proxyProtocol, .forwarded])
    // What nobody could show before, or not with so little, may be what was to be kept out.
    let known = old.config.listeners.flatMap(Self.ways)
    let isWider =
      !claims.isEmpty || !Self.ways(into: listener).allSatisfy { way in known.contains(where: way.isAsStrict) }
      || listener.address.exposure > .thisHost
        && old.config.listeners.allSatisfy { $0.address.exposure < listener.address.exposure }
    let words = Config.Evidence.allCases.filter(evidence.contains).map(\.rawValue).joined(separator: ", ")
    add(
      .listenerAdded, isWider ? .weakens : .changes, "listener \(listener.name)",
      "listener `\(listener.name)` at \(listener.address.text) is new"
        + (claims.isEmpty
          ? ", and takes \(words.isEmpty ? "nobody" : words)" : ", and believes its peers about who the client is"),
      Value("no such listener", at: old.config.place(of: "listeners")),
      newValue(path, words, whole: "\(listener.address.text) \(whole(listener))"), .nobody)
  }

  /// - Parameter other: to whom connections to its address come now.
  private mutating func removed(_ placed: Placed, to other: Placed?) {
    let (index, listener) = placed
    if let other {
      return add(
        .listenerRemoved, .changes, "listener \(listener.name)",
        "listener `\(listener.name)` is gone, and connections to \(listener.address.text) come to `\(other.listener.name)`",
        oldValue("listeners[\(index)]", listener.address.text),
        newValue("listeners[\(other.index)]", other.listener.address.text), .listeners([listener.name]))
    }
    add(
      .listenerRemoved, .strengthens, "listener \(listener.name)", "listener `\(listener.name)` is gone",
      oldValue("listeners[\(index)]", listener.address.text),
      Value("no such listener", at: new.config.place(of: "listeners")), .listeners([listener.name]))
  }

  /// What its peers can show and be served.
  private static func evidence(of listener: Config.Listener) -> Set<Config.Evidence> {
    var all = Set(listener.trust.map(\.evidence))
    if !listener.trust.contains(where: { $0.from.isEmpty }) { all.insert(.socket) }
    return all.subtracting([.refuse])
  }

  /// What has to be shown with one kind of evidence.
  private struct Way {
    let evidence: Config.Evidence
    let hasSignedHeader: Bool
    let hasTLS: Bool
    let hasTLS13: Bool
    let hasCertificate: Bool

    func isAsStrict(as other: Way) -> Bool {
      evidence == other.evidence && (hasSignedHeader || !other.hasSignedHeader) && (hasTLS || !other.hasTLS)
        && (hasTLS13 || !other.hasTLS13) && (hasCertificate || !other.hasCertificate)
    }
  }

  private static func ways(into listener: Config.Listener) -> [Way] {
    let hasTLS = !listener.certificates.isEmpty
    return evidence(of: listener).map { evidence in
      Way(
        evidence: evidence,
        hasSignedHeader: evidence == .attested
          && listener.trust.allSatisfy { $0.evidence != .attested || $0.proxyProtocolRequired },
        hasTLS: hasTLS, hasTLS13: hasTLS && listener.tlsMinimum == .tls13,
        hasCertificate: listener.clientCertificates?.require == true)
    }
  }

  private mutating func moved(_ was: Placed, _ now: Placed) {
    let (from, to) = (was.listener.address, now.listener.address)
    guard from != to else { return }
    let isWider =
      to.isReachedFromElsewhere(than: from) || to.isUnix != from.isUnix
      // Whoever was kept from the one port is perhaps not from the other.
      || !Self.evidence(of: now.listener).isDisjoint(with: [.proxyProtocol, .forwarded])
    add(
      .listenerMoved, isWider ? .weakens : .changes, "listener \(now.listener.name)",
      "listener `\(now.listener.name)` moves from \(from.text) to \(to.text)",
      oldValue("listeners[\(was.index)].listen", from.text),
      // Of rules for ranges nothing is compared with a unix socket, whose peers have no address.
      newValue(
        "listeners[\(now.index)].listen", to.text,
        whole: to.isUnix == from.isUnix ? nil : "\(to.text) \(whole(now.listener))"),
      .listeners([was.listener.name]))
  }

  /// All that it demands, of a new listener in the new configuration.
  private func whole(_ listener: Config.Listener) -> String {
    let rules = listener.trust.map {
      "\($0.from.isEmpty ? "any" : AddressSet($0.from).whole) \($0.wholeDemand)"
    }
    let tls = listener.certificates.isEmpty ? "no TLS" : listener.tlsMinimum.rawValue
    let asked =
      listener.clientCertificates.map { "\($0.require) \(new.authorities(of: $0.ca).whole)" } ?? "not asked for"
    return (rules + [tls, asked]).joined(separator: "; ")
  }

  // MARK: Checks and collapse

  private static func text(_ checks: [Config.BalancerCheck]) -> String {
    checks.isEmpty
      ? "none" : checks.map { "\($0.path ?? "connections") from \(AddressSet($0.from).text)" }.joined(separator: ", ")
  }

  /// A check shows no client and gets none, so who may send them weakens nothing; where fewer addresses are infrastructure for it, that
  /// is told as such.
  private mutating func checks(_ was: Placed, _ now: Placed) {
    func whole(_ checks: [Config.BalancerCheck]) -> String {
      checks.map { "\($0.path ?? "") from \(AddressSet($0.from).whole)" }.joined(separator: "; ")
    }
    let (before, after) = (was.listener.checks, now.listener.checks)
    guard whole(before) != whole(after) else { return }
    add(
      .checks, .changes, "listener \(now.listener.name)",
      "listener `\(now.listener.name)`: other connections are answered as a load balancer's checks",
      oldValue("listeners[\(was.index)].checks", Self.text(before)),
      newValue("listeners[\(now.index)].checks", Self.text(after)), .nobody)
  }

  private mutating func collapse(_ was: Placed, _ now: Placed) {
    let (listener, next) = (was.listener, now.listener)
    let reach = TrustChange.Reach.listeners([listener.name])
    if listener.onCollapse != next.onCollapse {
      let refuses = next.onCollapse == .refuse
      add(
        .collapse, refuses ? .strengthens : .weakens, "listener \(next.name) on_collapse",
        refuses
          ? "listener `\(next.name)`: routes that need distinct clients are closed when its clients become one"
          : "listener `\(next.name)`: when its clients become one, all routes stay open",
        oldValue("listeners[\(was.index)].on_collapse", listener.onCollapse.rawValue),
        newValue("listeners[\(now.index)].on_collapse", next.onCollapse.rawValue), reach)
    }
    let (shared, nextShared) = (AddressSet(listener.sharedAddresses), AddressSet(next.sharedAddresses))
    if shared != nextShared {
      let come = nextShared.subtracting(shared)
      add(
        .collapse, come.isEmpty ? .strengthens : .weakens, "listener \(next.name) shared_addresses",
        come.isEmpty
          ? "listener `\(next.name)`: fewer addresses are left out when its clients are watched"
          : "listener `\(next.name)`: clients that all become an address of \(come.text) are not noticed",
        oldValue(
          "listeners[\(was.index)].shared_addresses", shared.isEmpty ? "none" : shared.text, whole: shared.whole),
        newValue(
          "listeners[\(now.index)].shared_addresses", nextShared.isEmpty ? "none" : nextShared.text,
          whole: nextShared.whole),
        reach)
    }
  }

  // MARK: TLS and client certificates

  private mutating func transport(_ was: Placed, _ now: Placed) {
    let (listener, next) = (was.listener, now.listener)
    let (path, nextPath) = ("listeners[\(was.index)]", "listeners[\(now.index)]")
    let subject = "listener \(next.name)"
    let whose = "listener `\(next.name)`"
    let reach = TrustChange.Reach.listeners([listener.name])
    let (wasTLS, isTLS) = (!listener.certificates.isEmpty, !next.certificates.isEmpty)
    if wasTLS != isTLS {
      add(
        .listenerTLS, isTLS ? .strengthens : .weakens, subject,
        isTLS ? "\(whose): clients must use TLS" : "\(whose): what clients say can be read and changed on the way",
        oldValue("\(path).tls", wasTLS ? "TLS" : "no TLS"), newValue("\(nextPath).tls", isTLS ? "TLS" : "no TLS"), reach
      )
    }
    if wasTLS, isTLS, listener.tlsMinimum != next.tlsMinimum {
      add(
        .tlsMinimum, next.tlsMinimum == .tls12 ? .weakens : .strengthens, subject,
        "\(whose): the oldest version of TLS that is taken is \(next.tlsMinimum.rawValue)",
        oldValue("\(path).tls_minimum", listener.tlsMinimum.rawValue),
        newValue("\(nextPath).tls_minimum", next.tlsMinimum.rawValue), reach)
    }
    let (asked, asks) = (listener.clientCertificates, next.clientCertificates)
    if asked?.require != asks?.require {
      let text =
        switch asks?.require {
        case nil: "clients are not asked for certificates any more"
        case false?: asked == nil ? "clients are asked for certificates" : "clients without a certificate are let in"
        case true?: "clients without a certificate are refused"
        }
      add(
        .clientCertificates, asked != nil && asks?.require != true ? .weakens : .strengthens, subject,
        "\(whose): \(text)", oldValue("\(path).client_certificates", asked.demand),
        newValue("\(nextPath).client_certificates", asks.demand), reach)
    }
    if let asked, let asks {
      let (before, after) = (old.authorities(of: asked.ca), new.authorities(of: asks.ca))
      if before != after {
        add(
          .clientAuthorities, after.areWider(than: before) ? .weakens : .strengthens, subject,
          "\(whose): \(after.effect(on: "may sign clients' certificates", than: before))",
          oldValue("\(path).client_certificates.ca", asked.ca, whole: before.whole),
          newValue("\(nextPath).client_certificates.ca", asks.ca, whole: after.whole), reach)
      }
    }
  }
}

extension Optional where Wrapped == Config.ClientCertificates {
  fileprivate var demand: String {
    switch self {
    case nil: "not asked for"
    case let asked?: asked.require ? "required" : "asked for"
    }
  }
}
