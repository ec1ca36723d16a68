// What a client meets that connects to an address counts, and not what the listener there is called: renames, names that change places, listeners
// that move, and those that stand in front of one on every address.

import Policy
import Testing

@Suite struct TrustDiffPlaceTests {
  private static let kept = "path_prefix: /admin, access: { allow: [192.0.2.0/24] }"

  private func yaml(_ listeners: [String], _ routes: [String]) -> String {
    "listeners:\n" + listeners.map { "  - { \($0) }\n" }.joined() + "routes:\n"
      + routes.map { "  - { \($0), to: app }\n" }.joined() + "upstreams: { app: { servers: [\"127.0.0.1:3000\"] } }\n"
  }

  private static func at(_ name: String, _ listen: String, _ more: String = "") -> String {
    "name: \(name), listen: \"\(listen)\"\(more.isEmpty ? "" : ", \(more)")"
  }

  private func weaker(_ old: String, _ new: String) throws -> [String] {
    try Guarded.changes(old, new).filter { $0.effect == .weakens }.map { "\($0.kind.rawValue): \($0.text)" }
  }

  private static let swaps: [(String, String)] = [
    ("0.0.0.0:8080", "127.0.0.1:8081"), ("[::]:443", "192.0.2.1:443"), ("unix:/run/a.sock", "unix:/run/b.sock"),
    ("127.0.0.1:80", "unix:/run/b.sock"),
  ]

  /// A rule for the name that an address had holds no more there.
  @Test(arguments: swaps) func namesThatChangePlacesTakeTheirRoutesAlong(_ one: String, _ two: String) throws {
    let routes = ["listener: [a], \(Self.kept)", "path_prefix: /"]
    let old = yaml([Self.at("a", one), Self.at("b", two)], routes)
    for listeners in [
      [Self.at("b", one), Self.at("a", two)], [Self.at("a", two), Self.at("b", one)],
      // The one that had the name is called otherwise, or the other one is gone.
      [Self.at("c", one), Self.at("a", two)],
    ] {
      let found = try weaker(old, yaml(listeners, routes))
      #expect(found.count == 1 && found[0].hasPrefix("route-access: "), "\(found)")
      #expect(found.first?.hasSuffix("(at \(one))") == true, "\(found)")
    }
    // Routes that follow the names are the same ones.
    let swapped = [Self.at("b", one), Self.at("a", two)]
    #expect(try Guarded.changes(old, yaml(swapped, ["listener: b, \(Self.kept)", "path_prefix: /"])) == [])
  }

  /// What each of them demands was compared by address before; it still is.
  @Test func namesThatChangePlacesTakeTheirRulesAlong() throws {
    let strict = "trust: [{ from: any, evidence: refuse }]"
    let old = yaml([Self.at("a", "127.0.0.1:80", strict), Self.at("b", "127.0.0.1:81")], ["path_prefix: /"])
    let new = yaml([Self.at("b", "127.0.0.1:80"), Self.at("a", "127.0.0.1:81", strict)], ["path_prefix: /"])
    #expect(try weaker(old, new).count == 1)
    let same = yaml([Self.at("b", "127.0.0.1:80", strict), Self.at("a", "127.0.0.1:81")], ["path_prefix: /"])
    #expect(try Guarded.changes(old, same) == [])
  }

  /// Needs of distinct clients, closed routes and upstreams are looked up by address, too.
  @Test func whateverARouteAsksIsLookedUpByAddress() throws {
    func yaml(_ first: String, _ second: String) -> String {
      """
      listeners:
        - { name: \(first), listen: "127.0.0.1:80" }
        - { name: \(second), listen: "127.0.0.1:81" }
      routes:
        - { listener: a, path: /d, name: d, needs_distinct_clients: true, to: app }
        - { listener: a, path: /e, name: e, enabled: false, to: app }
        - { listener: a, path: /h, access: { htpasswd: users }, to: app }
        - { listener: a, path: /u, to: secure }
        - { to: app }
      upstreams:
        app: { servers: ["127.0.0.1:3000"] }
        secure: { servers: ["127.0.0.1:3001"], tls: { ca: ca.pem, name: x.test } }

      """
    }
    let changes = try Guarded.changes(yaml("a", "b"), yaml("b", "a"))
    let atFirst = changes.filter { $0.text.hasSuffix("(at 127.0.0.1:80)") }
    #expect(
      Guarded.brief(atFirst.filter { $0.effect == .weakens }).map { $0.split(separator: " ")[1] } == [
        "route", "route-password", "distinct-clients",
      ])
    #expect(atFirst.contains { $0.kind == .routeEnabled })
    #expect(!changes.contains { $0.effect == .weakens && !$0.text.hasSuffix("(at 127.0.0.1:80)") })
  }

  /// What was accepted for one address is not accepted for another.
  @Test func theHashIsOfTheAddress() throws {
    func yaml(_ first: String, _ second: String, _ kept: String) -> String {
      self.yaml([Self.at("a", first), Self.at("b", second)], ["listener: \(kept), \(Self.kept)", "path_prefix: /"])
    }
    let one = try WeakerHash.of(
      Guarded.changes(yaml("127.0.0.1:80", "127.0.0.1:81", "[a, b]"), yaml("127.0.0.1:80", "127.0.0.1:81", "b")))
    let two = try WeakerHash.of(
      Guarded.changes(yaml("127.0.0.1:80", "127.0.0.1:81", "[a, b]"), yaml("127.0.0.1:81", "127.0.0.1:80", "b")))
    #expect(one != nil && two != nil && one != two)
  }

  // MARK: Honest edits

  @Test func aNewNameIsNoChange() throws {
    let old = yaml(
      [Self.at("a", "0.0.0.0:80"), Self.at("b", "127.0.0.1:81")], ["listener: a, \(Self.kept)", "path_prefix: /"])
    let new = yaml(
      [Self.at("web", "0.0.0.0:80"), Self.at("b", "127.0.0.1:81")], ["listener: web, \(Self.kept)", "path_prefix: /"])
    #expect(try Guarded.changes(old, new) == [])
    // Other orders of the same listeners and names, and all names in place of none.
    let listeners = [Self.at("a", "0.0.0.0:80"), Self.at("b", "127.0.0.1:81")]
    let both = yaml(listeners, ["listener: [a, b], \(Self.kept)", "path_prefix: /"])
    for routes in [["listener: [b, a], \(Self.kept)", "path_prefix: /"], [Self.kept, "path_prefix: /"]] {
      #expect(try Guarded.changes(both, yaml(listeners, routes)) == [])
      #expect(try Guarded.changes(both, yaml(listeners.reversed(), routes)) == [])
    }
  }

  /// A listener that moves takes its name, and so its routes, along.
  @Test(arguments: [("127.0.0.1:80", "127.0.0.1:8080"), ("unix:/run/a", "unix:/run/b"), ("0.0.0.0:80", "127.0.0.1:80")])
  func aListenerThatMovesKeepsItsRoutes(_ from: String, _ to: String) throws {
    let routes = ["listener: a, \(Self.kept)", "path_prefix: /"]
    let other = Self.at("b", "127.0.0.1:81")
    let changes = try Guarded.changes(
      yaml([Self.at("a", from), other], routes), yaml([Self.at("a", to), other], routes))
    #expect(Guarded.brief(changes) == ["changes listener-moved 2>2"])
  }

  /// A port that the system chooses goes with the name.
  @Test func aPortThatTheSystemChoosesGoesWithTheName() throws {
    let routes = ["listener: a, \(Self.kept)", "path_prefix: /"]
    let old = yaml([Self.at("a", "127.0.0.1:0"), Self.at("b", "127.0.0.1:0")], routes)
    #expect(try Guarded.changes(old, yaml([Self.at("b", "127.0.0.1:0"), Self.at("a", "127.0.0.1:0")], routes)) == [])
    let other = ["listener: b, \(Self.kept)", "path_prefix: /"]
    let found = try weaker(old, yaml([Self.at("a", "127.0.0.1:0"), Self.at("b", "127.0.0.1:0")], other))
    #expect(found.count == 1 && found[0].hasPrefix("route-access: "), "\(found)")
  }

  // MARK: Every address and one

  private static let refuses = "trust: [{ from: any, evidence: refuse }]"

  /// Where one address has no listener of its own any more, that on every address is met there.
  @Test func aListenerThatIsGoneLeavesItsAddressToTheOneOnEveryAddress() throws {
    let every = Self.at("every", "0.0.0.0:80")
    let old = yaml(
      [every, Self.at("one", "192.0.2.1:80", Self.refuses)], ["listener: one, \(Self.kept)", "path_prefix: /"])
    let new = yaml([every], ["path_prefix: /"])
    let changes = try Guarded.changes(old, new)
    #expect(
      Guarded.brief(changes.filter { $0.effect == .weakens }).map { $0.split(separator: " ")[1] } == [
        "evidence", "route-access",
      ])
    #expect(changes.contains { $0.kind == .listenerRemoved && $0.effect == .changes })
    // Of another port, or of the other family, it is not.
    for other in ["0.0.0.0:81", "[::]:80"] {
      let every = Self.at("every", other)
      let changes = try Guarded.changes(
        yaml([every, Self.at("one", "192.0.2.1:80", Self.refuses)], ["path_prefix: /"]),
        yaml([every], ["path_prefix: /"]))
      #expect(Guarded.brief(changes) == ["strengthens listener-removed 3>2"])
    }
  }

  @Test func aListenerInFrontOfTheOneOnEveryAddressIsHeldAgainstIt() throws {
    let every = Self.at("every", "0.0.0.0:80", Self.refuses)
    let old = yaml([every], ["listener: every, \(Self.kept)", "path_prefix: /"])
    let one = yaml([every, Self.at("one", "192.0.2.1:80")], ["listener: every, \(Self.kept)", "path_prefix: /"])
    let found = try weaker(old, one).map { $0.split(separator: ":")[0] }
    #expect(found == ["evidence", "route-access"])
    // One that demands the same weakens nothing, though it believes its peers.
    let proxy = "trust: [{ from: [10.0.0.0/8], evidence: proxy-protocol }]"
    let routes = ["path_prefix: /"]
    let same = try Guarded.changes(
      yaml([Self.at("every", "0.0.0.0:80", proxy)], routes),
      yaml([Self.at("every", "0.0.0.0:80", proxy), Self.at("one", "192.0.2.1:80", proxy)], routes))
    #expect(Guarded.brief(same) == ["changes listener-added 2>3"])
  }

  @Test func oneOnEveryAddressIsHeldAgainstThoseThatItTakesIn() throws {
    let old = yaml([Self.at("one", "127.0.0.1:80", Self.refuses)], ["path_prefix: /"])
    let found = try weaker(old, yaml([Self.at("every", "0.0.0.0:80")], ["path_prefix: /"])).map {
      $0.split(separator: ":")[0]
    }
    #expect(found == ["evidence", "listener-added"])
  }

  // MARK: New listeners

  /// Where nobody listened, as much must be asked as where its clients could go before.
  @Test func aNewListenerIsNoWayAroundARoute() throws {
    let listeners = [Self.at("a", "0.0.0.0:80"), Self.at("inside", "127.0.0.1:81")]
    let routes = ["listener: inside, path_prefix: /admin", Self.kept, "path_prefix: /"]
    let old = yaml(listeners, routes)
    func added(_ listen: String, _ first: String) throws -> [String] {
      try weaker(old, yaml(listeners + [Self.at("new", listen)], [first] + routes.dropFirst()))
        .map { String($0.split(separator: ":")[0]) }
    }
    // Open where strangers come, and open where only this host does.
    #expect(try added("0.0.0.0:82", "listener: [inside, new], path_prefix: /admin") == ["route-access"])
    #expect(try added("[::]:80", "listener: [inside, new], path_prefix: /admin") == ["route-access"])
    #expect(try added("127.0.0.1:82", "listener: [inside, new], path_prefix: /admin") == [])
    #expect(try added("unix:/run/new", "listener: [inside, new], path_prefix: /admin") == [])
    // Who may use a unix socket is decided by its file.
    let onSocket = [Self.at("a", "0.0.0.0:80"), Self.at("inside", "unix:/run/inside")]
    let opened = ["listener: [inside, new], path_prefix: /admin"] + routes.dropFirst()
    let found = try weaker(yaml(onSocket, routes), yaml(onSocket + [Self.at("new", "127.0.0.1:82")], opened))
    #expect(found.map { $0.split(separator: ":")[0] } == ["route-access"])
    // Nobody wrote anything about it.
    for listen in ["0.0.0.0:82", "[::]:80", "127.0.0.1:82", "unix:/run/new", "127.0.0.1:0"] {
      #expect(try added(listen, "listener: inside, path_prefix: /admin") == [], "\(listen)")
    }
  }

  /// All listeners may be new: then they are held against all that there were.
  @Test func routesCountWhereAllListenersAreNew() throws {
    let old = yaml([Self.at("a", "127.0.0.1:80")], ["listener: a, \(Self.kept)", "path_prefix: /"])
    let new = yaml([Self.at("b", "127.0.0.1:81")], ["path_prefix: /"])
    let found = try weaker(old, new)
    #expect(found.count == 1 && found[0].hasPrefix("route-access: "), "\(found)")
    #expect(
      try weaker(old, yaml([Self.at("b", "127.0.0.1:81")], ["listener: b, \(Self.kept)", "path_prefix: /"])) == [])
  }
}
