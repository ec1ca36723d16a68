// Where a route leads at its servers, before and after. Routes are chosen by the path that the client sent; what the servers are asked for is another
// path where a route has `strip_prefix` or `rewrite`. Who may ask the servers for a path is decided by all routes that lead to it: a rewrite
// that leads to a path which so far took a route with `access`, a password, or a need of distinct clients is a way around that route.
//
// Which paths a template makes is known by its beginning alone (PathSet), so it is what it may lead to that counts. A path to which no route led, or
// that was answered here whoever asked, is told and does not weaken, as with a new route to it.

import Wire

extension TrustDiff {
  mutating func rewrites(_ met: RoutesMet) {
    let changed = met.now.indices.filter { index in
      let next = met.now[index]
      guard next.leadsToServers, met.newIndex[next.requests] == index else { return false }
      let before = met.oldIndex[next.requests].map { met.was[$0] }
      let isElsewhere =
        before.map { !$0.leadsToServers || $0.to != next.to || $0.pathChange != next.pathChange } ?? true
      return isElsewhere && (next.changes.rewritesPath || before?.changes.rewritesPath == true)
    }
    guard !changed.isEmpty else { return }
    let (servers, newServers) = (Self.servers(old.config), Self.servers(new.config))
    let was = met.was.map { Way($0, servers) }
    let now = met.now.map { Way($0, newServers) }
    for index in changed {
      let next = met.now[index]
      let before = met.oldIndex[next.requests].map { met.was[$0] }
      if let kept = Self.kept(from: now[index], behind: now[..<index], was) {
        passed(kept, by: next, before, met)
      } else if let before, before.answer == nil, before.pathChange != next.pathChange {
        add(
          .routeRewrite, .changes, "route \(called(next))",
          "the route `\(called(next))` asks the upstream `\(next.to)` for other paths",
          Value(before.pathChange, at: before.place), Value(next.pathChange, at: next.place), .nobody)
      }
    }
  }

  private static func servers(_ config: Config) -> [String: Set<Config.Endpoint>] {
    Dictionary(config.upstreams.map { ($0.name, Set($0.servers.map(\.endpoint))) }) { first, _ in first }
  }

  /// An old route whose paths at the servers `next` may lead to, and that asked for more.
  /// - Parameter fronts: the new routes in front of it.
  private static func kept(from next: Way, behind fronts: ArraySlice<Way>, _ was: [Way]) -> Config.Route? {
    let rewrites = next.route.changes.rewritesPath
    let isOpen = was.contains { way in
      way.isRewrite && (way.atServers.covers(next.atServers) || way.route.makesPaths(as: next.route))
        && way.isSameUpstream(next) && way.route.takesAll(of: next.route) && !way.asksMore(than: next, of: .everybody)
    }
    guard !isOpen else { return nil }
    // Of clients that ask for one of the paths as it is: those whom no route has taken yet.
    var left = AddressSet.everybody
    // Those that a route names may ask for one, and nobody else of whom no route is known.
    var named: Config.Route?
    for (index, way) in was.enumerated() where !left.isEmpty {
      let route = way.route
      if route.changes.rewritesPath, route.answer == nil {
        // Requests for these paths take it by another one.
        if way.isRewrite, way.atServers.overlaps(next.atServers), way.isSameUpstream(next),
          route.requests != next.route.requests, way.asksMore(than: next, of: .everybody),
          !isKept(way.atServers, of: way, from: next, by: fronts)
        {
          return route
        }
        continue
      }
      guard !route.isRedirect, way.paths.overlaps(next.atServers), route.mayTake(requestsOf: next.route) else {
        continue
      }
      let taken = way.clients.intersection(left)
      // What is asked for as it came is looked up in the new routes (`access`).
      if rewrites, isBarrier(way, was[..<index], to: next), !isKept(way.paths, of: way, from: next, by: fronts) {
        if way.asksMore(than: next, of: taken) { return route }
        if named == nil, route.leadsToServers, !route.match.clients.isEmpty { named = route }
      }
      if way.paths.covers(next.atServers), route.takesAll(of: next.route) { left = left.subtracting(taken) }
    }
    return left.intersection(next.mayTake).isEmpty ? nil : named
  }

  /// It decides about who may ask those servers.
  private static func isBarrier(_ way: Way, _ before: ArraySlice<Way>, to next: Way) -> Bool {
    if way.route.answer == nil { return way.route.isEnabled && way.isSameUpstream(next) }
    // Whoever is named in front of a refusal may.
    return way.route.isRefusal
      && before.contains {
        !$0.route.match.clients.isEmpty && $0.route.match.withoutClients == way.route.match.withoutClients
          && $0.route.leadsToServers && $0.isSameUpstream(next)
      }
  }

  /// Requests of `next` that would lead to such paths take a route in front of it that asks for as much: with `strip_prefix` it is known
  /// which these are.
  private static func isKept(_ paths: PathSet, of way: Way, from next: Way, by fronts: ArraySlice<Way>) -> Bool {
    guard let strip = next.route.changes.stripPrefix else { return false }
    let asked = next.atServers.overlap(paths).below(strip)
    return fronts.contains {
      $0.paths.covers(asked) && $0.route.takesAll(of: next.route) && $0.clients == .everybody
        && (!$0.route.leadsToServers || !way.asksMore(than: $0, of: .everybody))
    }
  }

  private mutating func passed(
    _ route: Config.Route, by next: Config.Route, _ before: Config.Route?, _ met: RoutesMet
  ) {
    // It depends on all routes which requests they are.
    func value(_ text: String, at place: Place, _ side: Side) -> Value {
      let whole = met.texts.whole(side.rawValue, side == .old ? met.was : met.now) {
        [
          $0.match.text, $0.goal, $0.pathChange, $0.admitted.whole, $0.access.basic?.htpasswd ?? "",
          "\($0.needsDistinctClients)",
        ]
      }
      return Value(text, at: place, whole: whole)
    }
    add(
      .routeRewrite, .weakens, "route \(called(next)) \(called(route))",
      "the route `\(called(next))` asks the upstream `\(next.to)` for \(next.pathsAtServers.text), which may be what the route "
        + "`\(called(route))` asks more for (\(route.demand))",
      value(before?.pathChange ?? "no such route", at: before?.place ?? route.place, .old),
      value(next.pathChange, at: next.place, .new), .upstreams([next.to]))
  }

  private func called(_ route: Config.Route) -> String { route.name ?? route.match.text }
}

/// A route, and what it lets through to which servers.
private struct Way {
  let route: Config.Route
  /// Of its requests.
  let paths: PathSet
  /// Of what it asks its servers for.
  let atServers: PathSet
  let clients: AddressSet
  /// Who reaches the servers by it.
  let mayTake: AddressSet
  let servers: Set<Config.Endpoint>

  init(_ route: Config.Route, _ servers: [String: Set<Config.Endpoint>]) {
    self.route = route
    paths = PathSet(route.match.path)
    atServers = route.pathsAtServers
    clients = route.match.clients.isEmpty ? .everybody : AddressSet(route.match.clients)
    mayTake = route.leadsToServers ? route.admitted.intersection(clients) : AddressSet()
    self.servers = servers[route.to] ?? []
  }

  var isRewrite: Bool { route.leadsToServers && route.changes.rewritesPath }

  /// An old route and a new one lead to the same servers, or to some.
  func isSameUpstream(_ other: Way) -> Bool {
    route.to == other.route.to && route.answer == nil || !servers.isDisjoint(with: other.servers)
  }

  /// Whether some of these clients, or anybody else, needs less to take `next` than to take this.
  func asksMore(than next: Way, of clients: AddressSet) -> Bool {
    guard next.mayTake.intersection(clients).subtracting(mayTake).isEmpty else { return true }
    guard route.leadsToServers, !next.clients.intersection(clients).isEmpty else { return false }
    let (access, others) = (route.access.basic, next.route.access.basic)
    return access != nil && access?.htpasswd != others?.htpasswd
      || route.needsDistinctClients && !next.route.needsDistinctClients
  }
}

extension Config.Route {
  fileprivate var leadsToServers: Bool { answer == nil && isEnabled }

  /// As the file has it.
  fileprivate var pathChange: String {
    if let strip = changes.stripPrefix { return "strip_prefix: \(strip)" }
    return changes.rewrite.map { "rewrite: \($0.source)" } ?? "the path as it came"
  }

  /// One template makes paths of the same groups: the patterns differ in front of these alone.
  fileprivate func makesPaths(as other: Config.Route) -> Bool {
    guard let rewrite = changes.rewrite, rewrite == other.changes.rewrite, let own = match.path?.pattern,
      let others = other.match.path?.pattern, match.normalizes == other.match.normalizes
    else { return false }
    func groups(_ pattern: String) -> Substring? { pattern.firstIndex(of: "(").map { pattern[$0...] } }
    return !(own + others).contains("|") && groups(own) != nil && groups(own) == groups(others)
  }

  /// For people.
  fileprivate var demand: String {
    var words: [String] = []
    if answer != nil { words.append("it refuses") }
    if admitted != .everybody { words.append("`access`") }
    if access.basic != nil { words.append("a password") }
    if needsDistinctClients { words.append("distinct clients") }
    if !match.clients.isEmpty { words.append("`client`") }
    return words.joined(separator: ", ")
  }

  /// Some requests of the other route may be for this one, but for their paths and clients.
  fileprivate func mayTake(requestsOf other: Config.Route) -> Bool {
    let methods = Set(match.methods)
    guard methods.isEmpty || other.match.methods.isEmpty || !methods.isDisjoint(with: other.match.methods) else {
      return false
    }
    return switch (match.host, other.match.host) {
    case (.name(let a)?, .name(let b)?): a == b
    case (.name(let name)?, .below(let domain)?), (.below(let domain)?, .name(let name)?): name.hasSuffix(".\(domain)")
    case (.below(let a)?, .below(let b)?): a == b || a.hasSuffix(".\(b)") || b.hasSuffix(".\(a)")
    default: true
    }
  }

  /// All requests of the other route are for this one, but for their paths and clients.
  fileprivate func takesAll(of other: Config.Route) -> Bool {
    (match.host == nil || match.host == other.match.host)
      && (match.methods.isEmpty
        || !other.match.methods.isEmpty && Set(match.methods).isSuperset(of: other.match.methods))
      && match.headers.allSatisfy(other.match.headers.contains)
  }
}
