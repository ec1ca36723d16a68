// The routes of the process by their names, and which of them an operator has closed (`countersign route close`). A name keeps its
// number as long as the process lives, so a closure outlives reloads, also one in which its route is missing for a while.
// Changed by the admin thread and, on a reload, by the supervisor; workers keep a copy of the times and are told to renew it.

import Platform
import Policy
import Synchronization
import Wire

package final class RouteDirectory: Sendable {
  package struct Closure: Sendable {
    package let why: String
    /// Who closed it, as the operating system names users.
    package let user: UInt32
    package let sinceWallMilliseconds: UInt64
    /// Of the monotonic clock; `.max`: until somebody opens it.
    package let endMilliseconds: UInt64
    /// The same of the wall clock, as it was then.
    package let endWallMilliseconds: UInt64?
    let whyBytes: [UInt8]
  }

  package struct Route: Sendable {
    package let name: String
    package let to: String
    package let place: Place
    package let isEnabled: Bool
    package let needsDistinctClients: Bool
  }

  private struct State {
    var numbers: [String: Int] = [:]
    var routes: [Route] = []
    var closures: [Int: (name: String, closure: Closure)] = [:]
    var config = Config()
    /// What the process says that serves instead of this one.
    var successor: HandoverRules?
    var successorRules: SuccessorRules?

    mutating func number(of name: String) -> Int {
      if let known = numbers[name] { return known }
      let number = numbers.count + 1
      numbers[name] = number
      return number
    }

    /// No name of a route begins like what stands for one without.
    mutating func number(of route: Config.Route) -> Int { number(of: route.name ?? "\0\(route.match.text)") }

    mutating func replaceClosures(by carried: [HandoverState.Closure]) {
      closures = [:]
      for each in carried {
        let closure = Closure(
          why: each.why, user: UInt32(clamping: each.user), sinceWallMilliseconds: each.sinceWallMilliseconds,
          endMilliseconds: each.endMilliseconds, endWallMilliseconds: each.endWallMilliseconds,
          whyBytes: Array(each.why.utf8))
        closures[number(of: each.route)] = (each.route, closure)
      }
    }
  }

  private let state = Mutex(State())

  package init() {}

  /// The number of a route, by its name, or else by what it matches: 1 and up.
  func number(of route: Config.Route) -> Int { state.withLock { $0.number(of: route) } }

  /// What there is from now on.
  package func take(_ config: Config) {
    let routes = config.routes.compactMap { route in
      route.name.map {
        Route(
          name: $0, to: route.goal, place: route.place, isEnabled: route.isEnabled,
          needsDistinctClients: route.needsDistinctClients)
      }
    }
    state.withLock { state in
      state.routes = routes
      state.config = config
    }
  }

  package var routes: [Route] { state.withLock { $0.routes } }

  /// Closures whose routes the configuration has no more, as warnings: what they refused may take another route.
  var warnings: [String] {
    state.withLock { state in
      let names = Set(state.routes.map(\.name))
      return state.closures.values.map(\.name).filter { !names.contains($0) }.sorted()
    }.map { "the route \($0) is closed, but there is none of that name now: what it refused may take another route" }
  }

  // MARK: Closing

  /// False when no route has that name now.
  package func close(
    _ name: String, forMilliseconds duration: UInt64?, why: String, user: UInt32, now: Clock.Reading
  ) -> Bool {
    let closure = Closure(
      why: why, user: user, sinceWallMilliseconds: now.wallMilliseconds,
      endMilliseconds: duration.map { now.monotonicMilliseconds + $0 } ?? .max,
      endWallMilliseconds: duration.map { now.wallMilliseconds + $0 }, whyBytes: Array(why.utf8))
    return state.withLock { state in
      guard state.routes.contains(where: { $0.name == name }) else { return false }
      state.closures[state.number(of: name)] = (name, closure)
      return true
    }
  }

  /// False when it was not closed.
  package func open(_ name: String) -> Bool {
    state.withLock { state in
      guard let number = state.numbers[name] else { return false }
      return state.closures.removeValue(forKey: number) != nil
    }
  }

  /// Names whose time is over, which are open again.
  func takeExpired(nowMilliseconds: UInt64) -> [String] {
    state.withLock { state in
      let over = state.closures.filter { $0.value.closure.endMilliseconds <= nowMilliseconds }
      for number in over.keys { state.closures[number] = nil }
      return over.values.map(\.name).sorted()
    }
  }

  /// When the next closure ends; `.max`: none ends by itself.
  var nextEndMilliseconds: UInt64 {
    state.withLock { $0.closures.values.reduce(.max) { min($0, $1.closure.endMilliseconds) } }
  }

  package func closure(of name: String) -> Closure? {
    state.withLock { state in state.numbers[name].flatMap { state.closures[$0]?.closure } }
  }

  func closure(number: Int) -> Closure? { state.withLock { $0.closures[number]?.closure } }

  package var closures: [(name: String, closure: Closure)] {
    state.withLock { Array($0.closures.values) }.sorted { $0.name < $1.name }
  }

  /// The closures of the process that this one goes on for.
  package func take(_ carried: [HandoverState.Closure]) { state.withLock { $0.replaceClosures(by: carried) } }

  package var carried: [HandoverState.Closure] {
    closures.map { name, its in
      HandoverState.Closure(
        route: name, why: its.why, user: UInt64(its.user), sinceWallMilliseconds: its.sinceWallMilliseconds,
        endMilliseconds: its.endMilliseconds, endWallMilliseconds: its.endWallMilliseconds)
    }
  }

  // MARK: Upgrades

  /// What the processes are told that this one was upgraded from.
  /// - Parameter collapsed: listeners whose clients have become one.
  func rules(number: UInt64, collapsed: Set<String>) -> HandoverRules {
    HandoverRules(state.withLock { $0.config }, number: number, areOther: false, carried, collapsed: collapsed)
  }

  /// What the process says that serves instead of this one is what those are told that this one was upgraded from.
  func pass(_ rules: HandoverRules) { state.withLock { $0.successor = rules } }

  /// Goes by it, too.
  func follow(_ rules: HandoverRules) {
    let (routes, places) = state.withLock { state in
      (state.config.routes.map { (number: state.number(of: $0), route: $0) }, state.config.listenerPlaces)
    }
    let made = SuccessorRules(rules, for: routes, at: places)
    state.withLock { state in
      state.replaceClosures(by: rules.closures)
      state.successor = rules
      state.successorRules = made
    }
  }

  var successor: HandoverRules? { state.withLock { $0.successor } }
  var successorRules: SuccessorRules? { state.withLock { $0.successorRules } }

  /// Until when each number is closed; 0: open.
  func ends() -> ContiguousArray<UInt64> {
    state.withLock { state in
      guard let most = state.closures.keys.max() else { return [] }
      var ends = ContiguousArray<UInt64>(repeating: 0, count: most + 1)
      for (number, entry) in state.closures { ends[number] = entry.closure.endMilliseconds }
      return ends
    }
  }
}
