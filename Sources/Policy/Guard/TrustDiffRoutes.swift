// Which upstream a request goes to, before and after: only a question of trust where the two upstreams differ in it.
//
// Routes with the same patterns are compared. Which requests two different patterns share is not known: a route with new
// patterns may take what any old route took, unless that one stands in front of it now; what a route took that is gone may go
// to any new one, unless that one stood in front of it before; and so with routes whose order changed. Of these, each pair of
// upstreams is told once, and only where it weakens.

import Wire

extension TrustDiff {
  /// A request of the route `was` takes the route `next` now, or may.
  private struct Passage {
    let was: Config.Route
    let next: Config.Route
    /// Both have the same patterns.
    let isCertain: Bool
  }

  /// Where something that holds on a route, old or new, does not on the other side: on the same route, or on another one that its
  /// requests may take.
  private func passages(_ met: RoutesMet, where holds: (Config.Route) -> Bool) -> [Passage] {
    let (was, now, oldIndex, newIndex) = (met.was, met.now, met.oldIndex, met.newIndex)
    var passages: [Passage] = []
    for (index, route) in was.enumerated() where oldIndex[route.requests] == index {
      let at = newIndex[route.requests]
      if let at, holds(route) != holds(now[at]) {
        passages.append(Passage(was: route, next: now[at], isCertain: true))
      } else if holds(route) {
        // What stands in front of it now and did not before; where it is gone, also what stood behind it.
        let next = now[..<(at ?? now.count)].first { !holds($0) && (oldIndex[$0.requests] ?? .max) > index }
        if let next { passages.append(Passage(was: route, next: next, isCertain: false)) }
      }
    }
    return passages
  }

  /// Requests whose route needs to tell clients apart, and may take one that does not.
  mutating func distinctClients(_ met: RoutesMet) {
    // What is answered here tells no clients apart.
    for passage in passages(met, where: { $0.needsDistinctClients || $0.answer != nil })
    where passage.was.answer == nil && passage.next.answer == nil {
      distinctClients(passage.was, passage.next, isCertain: passage.isCertain)
    }
  }

  /// Requests that were answered 503 because their route has `enabled: false`, and may pass now. Nobody may speak for somebody else
  /// by that; but a file from before a route was closed opens it again, and that is told.
  mutating func enabledRoutes(_ met: RoutesMet) {
    for passage in passages(met, where: { !$0.isEnabled }) {
      let (was, next) = (passage.was, passage.next)
      let called = was.name ?? was.match.text
      let text =
        if !next.isEnabled {
          "route `\(called)` is closed"
        } else if passage.isCertain {
          "route `\(called)` was closed and is open"
        } else {
          "route `\(called)` was closed, and its requests may take `\(next.name ?? next.match.text)`, which is open"
        }
      add(
        .routeEnabled, next.isEnabled ? .changes : .strengthens, "route \(called)", text,
        Value("enabled: \(was.isEnabled)", at: was.place), Value("enabled: \(next.isEnabled)", at: next.place),
        .nobody)
    }
  }

  /// Requests of which two readings lead to two routes. Both routes are asked either way, so nobody is let in.
  mutating func pathMismatch() {
    let (was, now) = (old.config.pathMismatch, new.config.pathMismatch)
    guard was != now else { return }
    add(
      .pathMismatch, now == .refuse ? .strengthens : .changes, "path_mismatch",
      now == .refuse
        ? "requests whose path leads to two routes, by the way it is read, are refused"
        : "requests whose path leads to two routes, by the way it is read, take the stricter one",
      oldValue("path_mismatch", was.rawValue), newValue("path_mismatch", now.rawValue), .nobody)
  }

  private mutating func distinctClients(_ was: Config.Route, _ next: Config.Route, isCertain: Bool) {
    let called = was.name ?? was.match.text
    let text =
      if next.needsDistinctClients {
        "route `\(called)` is closed while clients cannot be told apart"
      } else if isCertain {
        "route `\(called)` stays open also while clients cannot be told apart"
      } else {
        "requests of the route `\(called)` may take `\(next.name ?? next.match.text)`, which stays open while clients cannot be told apart"
      }
    func value(_ route: Config.Route, _ side: Side) -> Value {
      let whole = whole(.distinctClients, side, route, isCertain: isCertain) {
        [$0.match.text, "\($0.needsDistinctClients)"]
      }
      return Value("needs_distinct_clients: \(route.needsDistinctClients)", at: route.place, whole: whole)
    }
    add(
      .distinctClients, next.needsDistinctClients ? .strengthens : .weakens, "route \(called)", text,
      value(was, .old), value(next, .new), .nobody)
  }

  /// From one upstream to another.
  private struct Lead: Hashable {
    let from: String
    let to: String
  }

  /// Of each upstream, the route that stands last in the other configuration; one that is not there stands behind all.
  private struct Last {
    var index: Int
    var route: Config.Route
  }

  mutating func routes(_ met: RoutesMet) {
    let (was, now, oldIndex, newIndex) = (met.was, met.now, met.oldIndex, met.newIndex)
    var told: Set<Lead> = []

    for next in now {
      guard let at = oldIndex[next.requests], was[at].to != next.to else { continue }
      told.insert(Lead(from: was[at].to, to: next.to))
      moved(was[at], next, isCertain: true)
    }
    var possible: [(was: Config.Route, next: Config.Route)] = []
    let lastNew = Self.last(was, in: newIndex)
    let lastOld = Self.last(now, in: oldIndex)
    for (index, next) in now.enumerated() where oldIndex[next.requests] == nil {
      possible += lastNew.values.filter { $0.index > index }.map { ($0.route, next) }
    }
    for (index, gone) in was.enumerated() where newIndex[gone.requests] == nil {
      possible += lastOld.values.filter { $0.index > index }.map { (gone, $0.route) }
    }
    // Of the routes that stand in front in the new list, the one that stood furthest behind.
    var passed: [String: Last] = [:]
    for next in now {
      guard let at = oldIndex[next.requests] else { continue }
      possible += passed.values.filter { $0.index > at }.map { (was[at], $0.route) }
      if passed[next.to].map({ $0.index < at }) ?? true { passed[next.to] = Last(index: at, route: next) }
    }
    for (route, next) in possible.sorted(by: { ($0.was.place, $0.next.place) < ($1.was.place, $1.next.place) })
    where route.to != next.to && told.insert(Lead(from: route.to, to: next.to)).inserted {
      moved(route, next, isCertain: false)
    }
  }

  /// Requests that were answered 404 because no route took them, and may go to an upstream now: each upstream once.
  mutating func unroutedRequests(_ met: RoutesMet) {
    guard !met.was.contains(where: \.takesEveryPath) else { return }
    var told: Set<String> = []
    for next in met.now where met.oldIndex[next.requests] == nil && next.isEnabled {
      guard told.insert(next.to).inserted, let to = new.config.upstreams.first(where: { $0.name == next.to }) else {
        continue
      }
      let what =
        switch to.identity {
        case .attest: "the client's address, signed"
        case .plain: "the client's address in plain fields"
        case .none: "nothing of the client"
        }
      add(
        .route, .changes, "route none \(next.to)",
        "requests that no route took may go to the upstream `\(next.to)`, which is told \(what)",
        Value("no route", at: .none), Value("\(next.match.text) to \(next.to)", at: next.place), .nobody)
    }
  }

  /// Requests that were answered here go to an upstream now.
  private mutating func answered(_ was: Config.Route, _ next: Config.Route) {
    add(
      .route, .changes, "route answered \(next.match.text)",
      "requests that were answered here (\(was.goal)) go to the upstream `\(next.to)`",
      Value("\(was.match.text) to \(was.goal)", at: was.place),
      Value("\(next.match.text) to \(next.to)", at: next.place), .nobody)
  }

  private static func last(_ routes: [Config.Route], in indices: [Config.Route.Requests: Int]) -> [String: Last] {
    var last: [String: Last] = [:]
    for route in routes {
      let index = indices[route.requests] ?? .max
      if last[route.to].map({ $0.index < index }) ?? true { last[route.to] = Last(index: index, route: route) }
    }
    return last
  }

  /// Requests of the route `was` take the route `next` now, or some may.
  private mutating func moved(_ was: Config.Route, _ next: Config.Route, isCertain: Bool) {
    guard let to = new.config.upstreams.first(where: { $0.name == next.to }) else { return }
    guard let from = old.config.upstreams.first(where: { $0.name == was.to }) else {
      if isCertain { answered(was, next) }
      return
    }
    let facets = facets(from, to)
    guard let effect = facets.map(\.effect).min(), isCertain || effect == .weakens else { return }
    let counted = facets.filter { $0.effect == effect }
    func value(_ route: Config.Route, _ side: Side, _ values: [Value]) -> Value {
      let whole = whole(.route, side, route, isCertain: isCertain) { [$0.match.text, $0.goal] }
      return Value(
        "\(route.match.text) to \(route.goal)", at: route.place,
        whole: whole + TrustChange.joined(values.map(\.whole)))
    }
    add(
      .route, effect, "route \(was.to) \(next.to)",
      "requests that went to the upstream `\(was.to)` \(isCertain ? "go" : "may go") to `\(next.to)`: "
        + counted.map(\.text).joined(separator: "; "),
      value(was, .old, counted.map(\.old)), value(next, .new, counted.map(\.new)),
      .upstreams([was.to]))
  }
}

extension Config.Route {
  /// Which requests it takes: routes that are equal in this take the same.
  struct Requests: Hashable {
    let match: Config.RouteMatch
    /// A redirect without a path lets pass what it would not change.
    let scheme: Config.LinkScheme?
    let host: String?
  }

  var requests: Requests {
    guard case .redirect(let redirect)? = answer, redirect.path == nil else {
      return Requests(match: match, scheme: nil, host: nil)
    }
    return Requests(match: match, scheme: redirect.scheme, host: redirect.host)
  }

  var takesEverything: Bool {
    requests == Requests(match: Config.RouteMatch(), scheme: nil, host: nil)
  }

  fileprivate var takesEveryPath: Bool {
    match.takesEveryPath && requests.scheme == nil && requests.host == nil
  }
}
