// In a process that drains beside the one that it was upgraded to: what that one's rules (Wire's HandoverRules) say about each route
// here, so that nothing lives on through a route that is closed there.
//
// A route is the same there by what it matches, or else by its name. What a route or a rule says of a listener is compared by the
// address that clients connect to, as the reload guard does (ListenerPairs). A route is closed here when it is closed or gone there, or when it
// was gone here already, and in doubt: when a route that is closed, or not for everybody, might have its requests there and could not
// have had them here. Whoever is ended by that comes back to the process that serves, and gets what holds.

import Policy
import Wire

package struct SuccessorRules: Sendable {
  /// What a route asks there; nil: it is closed.
  package struct Terms: Sendable {
    let access: AccessList?
    let needsDistinctClients: Bool
  }

  package enum Verdict: Sendable {
    case closed
    case open(Terms)
  }

  /// By the number of a route in the RouteDirectory.
  private var verdicts: [Int: Verdict] = [:]
  /// By their places (`Config.Listener.place`).
  package let collapsedListeners: Set<String>

  /// - Parameters:
  ///   - routes: this process's, in the order of its file, with their numbers.
  ///   - places: of its listeners, by their names.
  package init(
    _ rules: HandoverRules, for routes: [(number: Int, route: Config.Route)], at places: [String: String]
  ) {
    collapsedListeners = Set(rules.collapsedListeners)
    let closed = Set(rules.closures.map(\.route))
    var named: [String: Int] = [:]
    var matching: [String: Int] = [:]
    // Routes there that do not let everybody pass, but for those that stand in front of the route here that is being looked at.
    var restricting: [Int] = []
    var restrictingByMatch: [String: [Int]] = [:]
    for (place, route) in rules.routes.enumerated() {
      if !route.name.isEmpty, named[route.name] == nil { named[route.name] = place }
      if !route.match.isEmpty, matching[route.match] == nil { matching[route.match] = place }
      let isOpen = route.isEnabled && !closed.contains(route.name) && route.allow.isEmpty && route.deny.isEmpty
      if isOpen, !route.needsDistinctClients { continue }
      restricting.append(place)
      restrictingByMatch[route.match, default: []].append(place)
    }
    var inFront: Set<Int> = []
    var first = 0
    for (number, own) in routes {
      // Without a digest nothing is known to be for the same requests, and the name decides.
      let match = (try? own.match.identity(at: places)) ?? ""
      while first < restricting.count, inFront.contains(restricting[first]) { first += 1 }
      var verdict = Verdict.closed
      if let place = matching[match] ?? own.name.flatMap({ named[$0] }) {
        let its = rules.routes[place]
        let isOne = restrictingByMatch[its.match]?.contains(place) ?? false
        // What matches the same has only what stands in front of it to fear.
        let mayBeElsewhere =
          !match.isEmpty && its.match == match
          ? first < restricting.count && restricting[first] < place
          : restricting.count - inFront.count > (isOne ? 1 : 0)
        // One of the same name is told by its closure, which says why.
        let isClosed = closed.contains(its.name) && own.name != its.name
        if its.isEnabled, !isClosed, !mayBeElsewhere { verdict = SuccessorRules.terms(its) }
      }
      // Of two that match the same the second has no requests.
      if verdicts[number] == nil { verdicts[number] = verdict }
      if !match.isEmpty { inFront.formUnion(restrictingByMatch.removeValue(forKey: match) ?? []) }
    }
  }

  /// A range that cannot be read is of a version that knows more: nobody is known to be allowed then.
  private static func terms(_ route: HandoverRules.Route) -> Verdict {
    var access = Config.Access()
    access.allow = route.allow.compactMap(ConfigReader.range)
    access.deny = route.deny.compactMap(ConfigReader.range)
    guard access.allow.count == route.allow.count, access.deny.count == route.deny.count else { return .closed }
    return .open(Terms(access: AccessList(access), needsDistinctClients: route.needsDistinctClients))
  }

  /// A number without a verdict is of a route that a reload of this process took away: what became of its requests is not known.
  package subscript(number: Int) -> Verdict { verdicts[number] ?? .closed }
}

extension HandoverRules {
  /// Of a process by itself.
  package init(
    _ config: Config, number: UInt64, areOther: Bool, _ closures: [HandoverState.Closure], collapsed: Set<String>
  ) {
    let places = config.listenerPlaces
    self.init(
      number: number, areOther: areOther, closures: closures,
      routes: config.routes.map { route in
        Route(
          name: route.name ?? "", match: (try? route.match.identity(at: places)) ?? "", isEnabled: route.isEnabled,
          needsDistinctClients: route.needsDistinctClients, allow: route.access.allow.map { "\($0)" },
          deny: route.access.deny.map { "\($0)" })
      },
      collapsedListeners: config.listeners.filter { $0.onCollapse == .refuse && collapsed.contains($0.name) }.map(
        \.place))
  }
}
