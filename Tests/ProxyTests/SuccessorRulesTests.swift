// Which routes of a process that drains are closed by what the process says that serves instead: those that are closed or gone there,
// and those whose requests may have another route there that does not let everybody pass.

import Policy
import Proxy
import Testing
import Wire

@Suite struct SuccessorRulesTests {
  private static func route(_ name: String?, _ path: String, _ change: (inout Config.Route) -> Void = { _ in })
    -> Config.Route
  {
    var match = Config.RouteMatch()
    match.path = .prefix(path)
    var route = Config.Route(match: match, to: "app")
    route.name = name
    change(&route)
    return route
  }

  private static let old = [route("a", "/a"), route(nil, "/b"), route("c", "/")]

  /// Of requests that bring a secret, which the configuration has from outside.
  private static func secret(_ value: String) -> Config.Route {
    route(nil, "/s") { $0.match.headers = [.init(name: "X-Key", value: value, written: "${KEY}")] }
  }

  /// By its place, each route of the old process: open, or closed.
  private static func isOpen(_ new: [Config.Route], closed: [String] = []) -> [Bool] {
    var config = Config()
    config.routes = new
    let closures = closed.map {
      HandoverState.Closure(
        route: $0, why: "", user: 0, sinceWallMilliseconds: 0, endMilliseconds: .max, endWallMilliseconds: nil)
    }
    let rules = HandoverRules(config, number: 1, areOther: false, closures, collapsed: [])
    let made = SuccessorRules(rules, for: old.enumerated().map { ($0.offset, $0.element) }, at: [:])
    return old.indices.map { if case .open = made[$0] { true } else { false } }
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let title: String
    let new: [Config.Route]
    var closed: [String] = []
    let isOpen: [Bool]
    var testDescription: String { title }
  }

  static let cases: [Case] = [
    Case(title: "the same", new: old, isOpen: [true, true, true]),
    Case(title: "a closed route is told by its closure", new: old, closed: ["a"], isOpen: [true, true, true]),
    Case(
      title: "disabled", new: [route("a", "/a") { $0.isEnabled = false }, old[1], old[2]], isOpen: [false, true, true]),
    Case(
      title: "an unnamed one disabled", new: [old[0], route(nil, "/b") { $0.isEnabled = false }, old[2]],
      isOpen: [true, false, true]),
    Case(title: "gone", new: [old[1], old[2]], isOpen: [false, true, true]),
    Case(title: "all gone", new: [], isOpen: [false, false, false]),
    Case(title: "renamed", new: [route("x", "/a"), old[1], old[2]], isOpen: [true, true, true]),
    Case(title: "named", new: [old[0], route("b", "/b"), old[2]], isOpen: [true, true, true]),
    Case(
      title: "renamed, and closed by that name", new: [route("x", "/a"), old[1], old[2]], closed: ["x"],
      isOpen: [false, true, true]),
    Case(
      title: "named, and closed", new: [old[0], route("b", "/b"), old[2]], closed: ["b"], isOpen: [true, false, true]),
    Case(title: "in another order", new: [old[1], old[0], old[2]], isOpen: [true, true, true]),
    Case(
      title: "a closed one in front is in doubt whose", new: [route("x", "/x") { $0.isEnabled = false }] + old,
      isOpen: [false, false, false]),
    Case(
      title: "one that an operator has closed in front", new: [route("x", "/x")] + old, closed: ["x"],
      isOpen: [false, false, false]),
    Case(
      title: "one for some clients in front",
      new: [old[0], route("x", "/x") { $0.access.allow = [ConfigReader.range("10.0.0.0/8")!] }, old[1], old[2]],
      isOpen: [true, false, false]),
    Case(title: "an open one in front", new: [route("x", "/x")] + old, isOpen: [true, true, true]),
    Case(
      title: "a closed one behind", new: old + [route("x", "/x") { $0.isEnabled = false }], isOpen: [true, true, true]),
    Case(
      title: "a closed one behind one that has become another",
      new: [route("a", "/z"), old[1], old[2], route("x", "/a") { $0.isEnabled = false }], isOpen: [false, true, true]),
    Case(
      title: "one that is closed and was in front", new: [route("a", "/a") { $0.isEnabled = false }, old[1], old[2]],
      isOpen: [false, true, true]),
    Case(
      title: "one that is closed and has come to the front",
      new: [route("c", "/") { $0.isEnabled = false }, old[0], old[1]], isOpen: [false, false, false]),
  ]

  @Test(arguments: cases) func whatMayBeClosedThereIsClosedHere(_ item: Case) {
    #expect(Self.isOpen(item.new, closed: item.closed) == item.isOpen)
  }

  /// Both are written the same, and shown so.
  @Test func aRouteForAnotherSecretIsAnotherRoute() {
    for (new, isOpen) in [("old", true), ("new", false)] {
      var config = Config()
      config.routes = [Self.secret(new)]
      let rules = HandoverRules(config, number: 1, areOther: false, [], collapsed: [])
      #expect(!rules.routes[0].match.contains(new) && rules.routes[0].match.contains("${KEY}"))
      let made = SuccessorRules(rules, for: [(1, Self.secret("old"))], at: [:])
      #expect(isOpen == { if case .open = made[1] { true } else { false } }())
    }
  }

  // MARK: Listeners

  /// Two listeners, each with a route of its own, by their ports.
  private static func site(
    _ first: (name: String, port: UInt16), _ second: (name: String, port: UInt16), disabled: String? = nil
  ) -> Config {
    var config = Config()
    config.listeners = [first, second].map {
      var listener = Config.Listener(
        name: $0.name, address: .address(IPAddress(v4: 0x7f00_0001), port: $0.port))
      listener.onCollapse = .refuse
      return listener
    }
    config.routes = ["A", "B"].map { name in
      route("route-\(name)", "/ws") {
        $0.match.listeners = [name]
        $0.isEnabled = name != disabled
      }
    }
    return config
  }

  private static func areOpen(_ old: Config, _ new: Config, closed: [String] = []) -> [Bool] {
    let closures = closed.map {
      HandoverState.Closure(
        route: $0, why: "", user: 0, sinceWallMilliseconds: 0, endMilliseconds: .max, endWallMilliseconds: nil)
    }
    let rules = HandoverRules(new, number: 1, areOther: true, closures, collapsed: [])
    let made = SuccessorRules(
      rules, for: old.routes.enumerated().map { ($0.offset, $0.element) }, at: old.listenerPlaces)
    return old.routes.indices.map { if case .open = made[$0] { true } else { false } }
  }

  /// A reload ends the tunnels of the port whose route is closed, whatever its listener is called; so does an upgrade.
  @Test func listenersThatExchangeTheirNamesAreTheSameByTheirAddress() {
    let old = Self.site(("A", 1), ("B", 2))
    #expect(Self.areOpen(old, Self.site(("A", 1), ("B", 2), disabled: "B")) == [true, false])
    #expect(Self.areOpen(old, Self.site(("A", 2), ("B", 1), disabled: "B")) == [false, true])
    #expect(Self.areOpen(old, Self.site(("A", 2), ("B", 1))) == [true, true])
    #expect(Self.areOpen(old, Self.site(("A", 2), ("B", 1)), closed: ["route-B"])[0] == false)
    // A listener at another address is another one, and its route goes by its name.
    #expect(Self.areOpen(old, Self.site(("A", 1), ("B", 3))) == [true, true])
    #expect(Self.areOpen(old, Self.site(("A", 1), ("B", 3), disabled: "B")) == [true, false])
    // Where the system chooses the port, the name is all there is.
    let chosen = Self.site(("A", 0), ("B", 0))
    #expect(Self.areOpen(chosen, Self.site(("A", 0), ("B", 0), disabled: "B")) == [true, false])
  }

  @Test func aCollapseIsKnownByTheAddressOfItsListener() {
    let rules = HandoverRules(Self.site(("A", 2), ("B", 1)), number: 1, areOther: true, [], collapsed: ["A"])
    let old = Self.site(("A", 1), ("B", 2))
    let made = SuccessorRules(rules, for: [], at: old.listenerPlaces)
    #expect(old.listeners.map { made.collapsedListeners.contains($0.place) } == [false, true])
  }

  /// It may come back, closed and under another name.
  @Test func aRouteThatAReloadTookAwayIsClosedByAnUpgrade() {
    var config = Config()
    config.routes = Self.old
    let rules = HandoverRules(config, number: 1, areOther: false, [], collapsed: [])
    let made = SuccessorRules(rules, for: [(1, Self.old[0])], at: [:])
    guard case .open = made[1], case .closed = made[2] else {
      Issue.record("\(made)")
      return
    }
  }

  @Test func aRangeThatCannotBeReadClosesItsRoute() {
    let rules = HandoverRules(
      number: 1, areOther: false,
      routes: [HandoverRules.Route(name: "a", match: Self.old[0].match.text, allow: ["somewhere else"])])
    let made = SuccessorRules(rules, for: [(1, Self.old[0])], at: [:])
    guard case .closed = made[1] else {
      Issue.record("open")
      return
    }
  }
}
