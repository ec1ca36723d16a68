// Who may take a route, before and after: its addresses, and whether a password is asked for. Routes with the same patterns are
// compared; requests of one may take another one that stands in front of it now and did not before, or, where it is gone, any that
// stood behind it. Of those the first that asks for less is told. Routes with `client` before one that refuses everybody else the same
// requests are such a rule, too.

import Wire

extension TrustDiff {
  mutating func access(_ met: RoutesMet) {
    let (was, now, oldIndex, newIndex) = (met.was, met.now, met.oldIndex, met.newIndex)
    // Looked at once: thousands of routes have each of the others in front of them.
    let admitted = now.map(\.admitted)
    // Where each stood before, at the end if nowhere; in front of all what lets nobody through.
    let places = now.map { $0.isEnabled && !$0.isRedirect ? oldIndex[$0.requests] ?? .max : -1 }
    // The last of those places, of the first so many.
    let last = places.reduce(into: [-1]) { $0.append(max($0[$0.count - 1], $1)) }
    for (index, route) in was.enumerated() where oldIndex[route.requests] == index {
      let at = newIndex[route.requests]
      if let at {
        addresses(route, now[at], isCertain: true)
        password(route, now[at], isCertain: true)
      }
      guard route.admitted != .everybody || route.access.basic != nil else { continue }
      let end = at ?? now.count
      guard last[end] > index else { continue }
      let others = now.indices[..<end].lazy.filter { places[$0] > index }
      // What weakens on the same route has been told.
      let own = route.admitted
      if at.map({ own.containsAll(of: admitted[$0]) }) ?? true,
        let next = others.first(where: { !own.containsAll(of: admitted[$0]) })
      {
        addresses(route, now[next], isCertain: false)
      }
      if let basic = route.access.basic, at.map({ now[$0].access.basic != nil }) ?? true,
        let next = others.first(where: { now[$0].access.basic?.htpasswd != basic.htpasswd })
      {
        password(route, now[next], isCertain: false)
      }
    }
  }

  /// Addresses that are let in by `client` alone, in front of a route that refuses all others.
  mutating func refusedClients(_ met: RoutesMet) {
    let (was, now) = (met.was, met.now)
    var told: Set<Config.RouteMatch> = []
    for route in was where route.isRefusal && route.match.clients.isEmpty && told.insert(route.match).inserted {
      let (before, after) = (Self.passed(was, route.match), Self.passed(now, route.match))
      let (come, gone) = (after.subtracting(before), before.subtracting(after))
      // Where nobody was let in it was no rule about who.
      guard !before.isEmpty, !come.isEmpty || !gone.isEmpty else { continue }
      func value(_ passed: AddressSet, at place: Place) -> Value {
        let shown =
          passed == .everybody ? "open to every address" : "open to \(passed.isEmpty ? "no address" : passed.text) only"
        return Value(shown, at: place, whole: TrustChange.joined([route.match.text]) + passed.whole)
      }
      add(
        .routeAccess, come.isEmpty ? .strengthens : .weakens, "clients \(route.match.text)",
        come.isEmpty
          ? "\(gone.text) no longer passes the route `\(called(route))`"
          : "\(come.text) may pass the route `\(called(route))`, which refused it",
        value(before, at: route.place),
        value(after, at: now.first { $0.match.withoutClients == route.match }?.place ?? .none),
        .clients(come.isEmpty ? gone : come))
    }
  }

  /// Whose requests, of those that a match without `client` takes, get something else than a refusal.
  private static func passed(_ routes: [Config.Route], _ match: Config.RouteMatch) -> AddressSet {
    var passed = AddressSet()
    var left = AddressSet.everybody
    for route in routes where route.match.withoutClients == match {
      let taken = route.match.clients.isEmpty ? left : left.intersection(AddressSet(route.match.clients))
      if !route.isRefusal, !route.isRedirect { passed = passed.union(taken.intersection(route.admitted)) }
      left = left.subtracting(taken)
    }
    // Whoever is left goes on to routes for other requests.
    return passed.union(left)
  }

  private func called(_ route: Config.Route) -> String { route.name ?? route.match.text }

  private mutating func addresses(_ was: Config.Route, _ next: Config.Route, isCertain: Bool) {
    let come = next.admitted.subtracting(was.admitted)
    let gone = was.admitted.subtracting(next.admitted)
    guard !come.isEmpty || !gone.isEmpty else { return }
    let text =
      if come.isEmpty {
        "\(gone.text) may no longer take the route `\(called(was))`"
      } else if isCertain {
        "\(come.text) may take the route `\(called(was))` and could not before"
      } else {
        "requests of the route `\(called(was))` may take `\(called(next))`, which \(come.text) may take, too"
      }
    func value(_ route: Config.Route, _ side: Side) -> Value {
      let ranges = route.admitted
      let shown =
        if ranges == .everybody {
          "open to every address"
        } else if route.access.allow.isEmpty {
          "closed to \(AddressSet.everybody.subtracting(ranges).text)"
        } else {
          "open to \(ranges.isEmpty ? "no address" : ranges.text) only"
        }
      let whole = whole(.routeAccess, side, route, isCertain: isCertain) { [$0.match.text, $0.admitted.whole] }
      return Value(shown, at: route.place, whole: whole)
    }
    add(
      .routeAccess, come.isEmpty ? .strengthens : .weakens, "route \(called(was))", text,
      value(was, .old), value(next, .new), .clients(come.isEmpty ? gone : come))
  }

  private mutating func password(_ was: Config.Route, _ next: Config.Route, isCertain: Bool) {
    let (before, after) = (was.access.basic, next.access.basic)
    guard before?.htpasswd != after?.htpasswd else {
      if isCertain, let after, before?.passesCredentials != after.passesCredentials { credentials(was, next) }
      return
    }
    let text =
      switch (before, after) {
      case (_, nil): "asks for no password"
      case (nil, _): "asks for a password"
      default: "asks for a password of another file"
      }
    let subject =
      isCertain
      ? "the route `\(called(was))` \(text)"
      : "requests of the route `\(called(was))` may take `\(called(next))`, which \(text)"
    func value(_ route: Config.Route, _ side: Side) -> Value {
      let whole = whole(.routePassword, side, route, isCertain: isCertain) {
        [$0.match.text, $0.access.basic?.htpasswd ?? ""]
      }
      return Value(
        route.access.basic.map { "htpasswd: \($0.htpasswd)" } ?? "no htpasswd", at: route.place, whole: whole)
    }
    add(
      .routePassword, before == nil ? .strengthens : .weakens, "route \(called(was))", subject,
      value(was, .old), value(next, .new), .nobody)
  }
}

extension TrustDiff {
  private mutating func credentials(_ was: Config.Route, _ next: Config.Route) {
    let passes = next.access.basic?.passesCredentials == true
    add(
      .routePassword, .changes, "route \(called(was))",
      "the upstream `\(next.to)` \(passes ? "gets" : "no longer gets") the names and passwords of the route `\(called(was))`",
      Value("pass_credentials: \(!passes)", at: was.place), Value("pass_credentials: \(passes)", at: next.place),
      .nobody)
  }
}

extension AddressSet {
  static let everybody = AddressSet(
    [
      IPPrefix(IPAddress.unspecified(.v4), length: 0), IPPrefix(IPAddress.unspecified(.v6), length: 0),
    ].compactMap { $0 })

  func containsAll(of other: AddressSet) -> Bool { other.subtracting(self).isEmpty }
}

extension Config.Route {
  /// It leads elsewhere, and gives nothing away.
  var isRedirect: Bool {
    if case .redirect? = answer { true } else { false }
  }

  /// It tells whoever comes that it is not for them.
  var isRefusal: Bool {
    if case .respond(let respond)? = answer { (400...499).contains(respond.status) } else { false }
  }

  /// The addresses that may take it; a longer range decides before a shorter one.
  var admitted: AddressSet {
    var set = access.allow.isEmpty ? AddressSet.everybody : AddressSet()
    let rules = access.allow.map { ($0.unmapped, true) } + access.deny.map { ($0.unmapped, false) }
    for (range, isAllowed) in rules.sorted(by: { $0.0.length < $1.0.length }) {
      set = isAllowed ? set.union(AddressSet([range])) : set.subtracting(AddressSet([range]))
    }
    return set
  }
}
