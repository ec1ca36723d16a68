// The routes that requests meet, before and after, by the address and port that their clients connect to: those that ask for no listener, or for the
// one that is met there. Which listener that is, ListenerPairs says; what a listener is called does not count.
//
// Where nobody listened before, requests meet no old routes. What a new listener lets pass weakens where it is more than each old listener
// let pass that its clients could have reached instead; where none is known to be in their reach, more than any one of them did.

import Wire

/// Routes before and after, without the listeners that they ask for.
struct RoutesMet {
  let was: [Config.Route]
  let now: [Config.Route]
  let oldIndex: [Config.Route.Requests: Int]
  let newIndex: [Config.Route.Requests: Int]
  let texts = RoutesText()

  /// - Parameters: the listeners' names.
  init(_ old: [Config.Route], at was: String, _ new: [Config.Route], at now: String) {
    self.was = Self.met(old, at: was)
    self.now = Self.met(new, at: now)
    oldIndex = Self.indices(self.was)
    newIndex = Self.indices(self.now)
  }

  private static func met(_ routes: [Config.Route], at listener: String) -> [Config.Route] {
    var met: [Config.Route] = []
    for var route in routes where route.match.listeners.isEmpty || route.match.listeners.contains(listener) {
      route.match.listeners = []
      met.append(route)
      // What stands behind a route for every request is never reached.
      if route.takesEverything { break }
    }
    return met
  }

  /// Of equal patterns the first is reached.
  private static func indices(_ routes: [Config.Route]) -> [Config.Route.Requests: Int] {
    Dictionary(routes.enumerated().map { ($1.requests, $0) }) { first, _ in first }
  }
}

extension TrustDiff {
  /// What changes of routes, for each listener that clients meet.
  mutating func routesByListener(_ pairs: ListenerPairs) {
    let all = pairs.same + pairs.taken
    // Most listeners meet the same routes, which are compared once.
    var compared: [RoutesKey: [Config.Endpoint]] = [:]
    var found: [(key: RoutesKey, changes: [TrustChange])] = []
    for pair in all {
      let key = routesKey(pair)
      if compared.updateValue((compared[key] ?? []) + [new.config.listeners[pair.now].address], forKey: key) == nil {
        found.append((key, routeChanges(pair)))
      }
    }
    var told: [TrustChange] = []
    var toldOfAll: [TrustChange] = []
    for change in found.flatMap(\.changes) where !told.contains(change) {
      told.append(change)
      let groups = found.filter { $0.changes.contains(change) }
      if groups.count == found.count { toldOfAll.append(change) }
      add(groups.count == found.count ? change : change.at(groups.flatMap { compared[$0.key] ?? [] }))
    }
    for now in pairs.added where ListenerPairs.met(new.config.listeners[now].address, old.config.listeners) == nil {
      let address = new.config.listeners[now].address
      for change in routesOfNew(now, isOnly: all.isEmpty) where !toldOfAll.contains(change) {
        add(change.at([address]))
      }
    }
  }

  /// What a listener lets pass where nobody listened before.
  /// - Parameter isOnly: nothing else is compared, so all is told.
  private mutating func routesOfNew(_ now: Int, isOnly: Bool) -> [TrustChange] {
    let (listeners, address) = (old.config.listeners, new.config.listeners[now].address)
    func against(_ indices: [Int]) -> [[TrustChange]] {
      var keys: Set<RoutesKey> = []
      return indices.filter { keys.insert(routesKey(ListenerPairs.Pair(was: $0, now: now))).inserted }.map { was in
        let changes = routeChanges(ListenerPairs.Pair(was: was, now: now))
        return isOnly ? changes : changes.filter { $0.effect == .weakens }
      }
    }
    func weaker(_ changes: [TrustChange]) -> Int { changes.count { $0.effect == .weakens } }
    // Whoever reaches the new one could go to these, too; to a unix socket only those whom its file lets.
    let reached = listeners.indices.filter {
      let other = listeners[$0].address
      return !address.isReachedFromElsewhere(than: other) && (address.isUnix || !other.isUnix)
    }
    if let least = against(reached).min(by: { weaker($0) < weaker($1) }) { return least }
    let exposed = listeners.indices.filter { listeners[$0].address.exposure >= address.exposure }
    var changes: [TrustChange] = []
    for change in against(exposed.isEmpty ? Array(listeners.indices) : exposed).joined() where !changes.contains(change)
    {
      changes.append(change)
    }
    return changes
  }

  /// Which routes are met before and after, by their places in the lists.
  private struct RoutesKey: Hashable {
    let was: [Int]
    let now: [Int]
  }

  private func routesKey(_ pair: ListenerPairs.Pair) -> RoutesKey {
    func met(_ config: Config, _ listener: Int) -> [Int] {
      let name = config.listeners[listener].name
      return config.routes.indices.filter {
        let asked = config.routes[$0].match.listeners
        return asked.isEmpty || asked.contains(name)
      }
    }
    return RoutesKey(was: met(old.config, pair.was), now: met(new.config, pair.now))
  }

  private mutating func routeChanges(_ pair: ListenerPairs.Pair) -> [TrustChange] {
    let met = RoutesMet(
      old.config.routes, at: old.config.listeners[pair.was].name, new.config.routes,
      at: new.config.listeners[pair.now].name)
    return untold {
      $0.routes(met)
      $0.unroutedRequests(met)
      $0.distinctClients(met)
      $0.access(met)
      $0.refusedClients(met)
      $0.enabledRoutes(met)
      $0.rewrites(met)
    }
  }
}

extension TrustChange {
  /// The same, of those alone who connect to these addresses.
  fileprivate func at(_ addresses: [Config.Endpoint]) -> TrustChange {
    let places = addresses.map(\.text).sorted().joined(separator: ", ")
    return TrustChange(
      kind: kind, effect: effect, subject: "\(subject) at \(places)", text: "\(text) (at \(places))", old: old,
      new: new,
      reach: reach)
  }
}
