// What concerns more than one part of the configuration: names that must exist and be single, identity that
// must be complete, and things that are allowed but look like a mistake (warnings).

import Wire

extension Reading {
  mutating func crossChecks() {
    checkListeners()
    checkRoutes()
    checkRouteNames()
    checkRouteListeners()
    checkSigning()
    checkVerifying()
    checkAudiences()
    checkLog()
    // What looks like a mistake is told once there is none.
    guard !diagnostics.contains(where: { $0.severity == .error }) else { return }
    suspectAdmin()
    suspectRoutes()
    suspectCollapse()
    suspectIdentity()
    suspectUpstreams()
    suspectCompression()
  }

  private mutating func checkListeners() {
    var names: [String: Place] = [:]
    var addresses: [Config.Endpoint: Place] = [:]
    for (index, listener) in config.listeners.enumerated() {
      let path = "listeners[\(index)]"
      let place = config.place(of: "\(path).name")
      if listener.name == "admin" || listener.name == "control" {
        error(place, "`\(listener.name)` names an admin listener in the log; give this one another name")
      }
      if !listener.name.isEmpty, let earlier = names.updateValue(place, forKey: listener.name) {
        error(place, "a listener in \(spot(earlier, from: place)) has the name `\(listener.name)` already")
      }
      claim(listener.address, config.place(of: "\(path).listen"), &addresses)
    }
    if let admin = config.admin { claim(admin.address, config.place(of: "admin.listen"), &addresses) }
    if let control = config.admin?.control { claim(control, config.place(of: "admin.control"), &addresses) }
  }

  private mutating func claim(_ address: Config.Endpoint, _ place: Place, _ taken: inout [Config.Endpoint: Place]) {
    switch address {
    case .unix(""), .address(_, port: 0): return
    default: break
    }
    if let earlier = taken.updateValue(place, forKey: address) {
      error(place, "the address in \(spot(earlier, from: place)) is the same; one address has one listener")
    }
  }

  private mutating func checkRoutes() {
    guard !faulty.contains("upstreams") else { return }
    let names = config.upstreams.map(\.name)
    for (index, route) in config.routes.enumerated() where !route.to.isEmpty && !names.contains(route.to) {
      let suggestion = Spelling.nearest(to: route.to, among: names).map { ": did you mean `\($0)`?" }
      error(
        config.place(of: "routes[\(index)].to"),
        "there is no upstream \(quoted(route.to))\(suggestion ?? (names.isEmpty ? "" : "; there is \(list(names))"))")
    }
  }

  private mutating func checkRouteListeners() {
    let names = config.listeners.map(\.name)
    // One without a name is told of already.
    guard !faulty.contains("listeners"), !names.contains("") else { return }
    for (index, route) in config.routes.enumerated() {
      for name in route.match.listeners where !names.contains(name) {
        let suggestion = Spelling.nearest(to: name, among: names).map { ": did you mean `\($0)`?" }
        error(
          config.place(of: "routes[\(index)].listener"),
          "there is no listener \(quoted(name))\(suggestion ?? "; there is \(list(names))")")
      }
    }
  }

  private mutating func suspectCollapse() {
    guard !config.routes.contains(where: \.needsDistinctClients) else { return }
    for (index, listener) in config.listeners.enumerated() where listener.onCollapse == .refuse {
      warn(
        config.place(of: "listeners[\(index)].on_collapse"),
        "`on_collapse: refuse` closes routes with `needs_distinct_clients: true`, and there is none")
    }
  }

  private mutating func checkRouteNames() {
    var names: [String: Place] = [:]
    for (index, route) in config.routes.enumerated() {
      guard let name = route.name else { continue }
      let place = config.place(of: "routes[\(index)].name")
      if let earlier = names.updateValue(place, forKey: name) {
        error(place, "a route in \(spot(earlier, from: place)) has the name `\(name)` already")
      }
    }
  }

  /// An upstream that is attested to needs to know who signs, and with what.
  private mutating func checkSigning() {
    let identity = config.identity
    if let place = attests {
      needs("identity: attest", place, "edge", identity.edge, "this edge's name")
      needs("identity: attest", place, "keys", identity.keys, "the path of the key set")
      needs("identity: attest", place, "sign_with", identity.signWith, "the `kid` of the key that signs")
    }
    for key in ["sign_with", "keys_group"] where config.places["identity.\(key)"] != nil && attests == nil {
      // The group may also read the keys of the log's digests and of cookies.
      let areOthers = config.places["log.fields_key"] != nil || config.upstreams.contains { $0.sticky != nil }
      if key == "keys_group", areOthers { continue }
      needs(key, config.place(of: "identity.\(key)"), "keys", identity.keys, "the path of the key set")
    }
  }

  /// A listener that takes attestations needs to know for whom they must be, and the keys.
  private mutating func checkVerifying() {
    // An edge behind an edge goes by the name it signs with, unless it is given another.
    if verifies != nil, config.identity.audience == nil, let edge = config.identity.edge,
      AttestName.isAudience(edge.utf8.span), config.places["identity.audience"] == nil
    {
      config.identity.audience = edge
    }
    let identity = config.identity
    if let place = verifies {
      needs("evidence: attested", place, "keys", identity.keys, "the path of the key set")
      needs("evidence: attested", place, "audience", identity.audience, "the name that attestations must be made for")
    }
  }

  /// One audience is one validator, which remembers by itself what it has seen. Servers that share one are servers between
  /// which a message can be replayed, so that has to be asked for (docs/IDENTITY.md section 5).
  private mutating func checkAudiences() {
    var servers: [String: Set<Config.Endpoint>] = [:]
    for upstream in config.upstreams where upstream.identity == .attest {
      if let audience = upstream.audience { servers[audience, default: []].formUnion(upstream.servers.map(\.endpoint)) }
    }
    for upstream in config.upstreams where upstream.identity == .attest && !upstream.sharedAudience {
      guard let audience = upstream.audience, let count = servers[audience]?.count, count > 1 else { continue }
      error(
        config.place(of: "upstreams.\(upstream.name).audience"), Config.sharesAudience(audience, "\(count) servers"))
    }
  }

  /// The key of the log's digests is the same at all edges of a site, and none that signs.
  private mutating func checkLog() {
    guard let key = config.log.fieldsKey, key == config.identity.keys else { return }
    error(
      config.place(of: "log.fields_key"),
      "`log.fields_key` must be a key set of its own, not `identity.keys`: make one with `countersign keys new`")
  }

  private mutating func needs(_ what: String, _ place: Place, _ key: String, _ value: String?, _ meaning: String) {
    guard value == nil, !faulty.contains("identity"), !faulty.contains("identity.\(key)") else { return }
    error(place, "`\(what)` needs `identity.\(key)`: \(meaning)")
  }

  // MARK: What looks like a mistake

  private mutating func suspectAdmin() {
    guard case .address(let address, _)? = config.admin?.address, !address.isLoopback else { return }
    warn(
      config.place(of: "admin.listen"),
      "the admin listener asks nobody who they are; bind it to loopback or to a unix socket")
  }

  private mutating func suspectRoutes() {
    var cover = RouteCover()
    for (index, route) in config.routes.enumerated() {
      guard let earlier = cover.add(route, index: index).map({ config.routes[$0] }) else { continue }
      let what = earlier.match.isEverything ? "request" : "request that this one matches"
      warn(
        config.place(of: "routes[\(index)]"),
        "never reached: the route in \(spot(earlier.place, from: route.place)) takes every \(what)")
    }
    for name in config.upstreams.map(\.name) where !config.routes.contains(where: { $0.to == name }) {
      warn(config.place(of: "upstreams.\(name)"), "no route leads to the upstream `\(name)`")
    }
  }

  private mutating func suspectIdentity() {
    guard verifies == nil else { return }
    for key in ["audience", "edges"] where config.places["identity.\(key)"] != nil {
      guard key != "edges" || !config.identity.edges.isEmpty else { continue }
      warn(
        config.place(of: "identity.\(key)"),
        "`\(key)` has no use here: no listener has a rule with `evidence: attested`")
    }
  }

  private mutating func suspectUpstreams() {
    for upstream in config.upstreams {
      let path = "upstreams.\(upstream.name)"
      guard upstream.identity == .plain, upstream.tls == nil else { continue }
      for (index, server) in upstream.servers.enumerated() where !server.endpoint.isLocal {
        warn(
          config.place(of: "\(path).servers[\(index)]"),
          "the identity goes there in plain words, unsigned and without TLS: whoever is on the way, or reaches the "
            + "server directly, can write another")
      }
    }
  }

}

extension Config.Endpoint {
  /// A server there is on this host.
  var isLocal: Bool {
    switch self {
    case .unix: true
    case .host(let host, _): host == "localhost" || host.hasSuffix(".localhost")
    case .service: false
    case .address(let address, _): address.isLoopback
    }
  }
}

extension Config {
  /// What is wrong with several servers under one audience, and what to write.
  package static func sharesAudience(_ audience: String, _ servers: String) -> String {
    "\(servers) share the audience `\(audience)`, so a message that one has taken could be replayed at another: give each "
      + "validator an upstream and an audience of its own, or accept that with `shared_audience: true`"
  }
}
