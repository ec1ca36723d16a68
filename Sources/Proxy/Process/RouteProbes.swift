// Requests for the self-test that take a given route: made from what it asks for (of patterns, by PatternExample), looked up in the table
// that workers use, and judged route by route, without the table. Confined to one thread.

import Platform
import Policy
import Wire

struct RouteProbes {
  /// What became of the search for a request that takes a route.
  enum Way {
    case found(ProbeRequest)
    /// A request that it matches goes elsewhere, and not to one in front of it that matches too.
    case lost(String)
    /// None could be made, or each that could goes to a route in front of it.
    case unknown
  }

  /// Requests that are tried for one route.
  private static let proposalsMax = 64

  private let routes: [Config.Route]
  private let listeners: [String]
  private let table: RouteTable
  private let judge: Judge
  private let host: [UInt8]
  private let path: [UInt8]
  private let claims: String
  private let names: FieldNames

  /// - Parameters:
  ///   - host: for routes that ask for none; `path` likewise, and what a path begins with.
  ///   - claims: field lines of the requests.
  init(
    _ config: Config, host: [UInt8], path: [UInt8], claims: String, names: FieldNames
  ) throws(Pattern.SyntaxError) {
    routes = config.routes
    listeners = config.listeners.map(\.name)
    table = try Plan.makeTable(config)
    judge = Judge(routes)
    self.host = host
    self.path = path
    self.claims = claims
    self.names = names
  }

  func way(to index: Int) -> Way {
    // A redirect by scheme or host takes only what it changes.
    if case .redirect(let redirect)? = routes[index].answer, redirect.path == nil { return .unknown }
    let match = routes[index].match
    let fields = match.headers.map { "\($0.name): \($0.value ?? "1")\r\n" }.joined()
    let listener = match.listeners.first.flatMap { name in listeners.firstIndex(of: name) } ?? 0
    let client = match.clients.first.map(RouteProbes.address)
    var left = RouteProbes.proposalsMax
    for host in hosts(match.host) {
      for path in paths(match.path) {
        // A redirect in front may take the requests of one scheme.
        for isSecure in [true, false] {
          guard left > 0 else { return .unknown }
          left -= 1
          let request = ProbeRequest(
            host: host, path: path, claims: fields + claims, names: names, method: match.methods.first ?? "GET")
          guard let request else { continue }
          let facts = RouteFacts(listener: listener, client: client ?? SelfTest.clients[0], isSecure: isSecure)
          let what: String
          switch request.route(table, facts) {
          case .route(index): return .found(request)
          case .undecided, .ambiguous, .unclear: continue
          case .route(let other):
            // One that stands in front and matches, or it was a bad proposal.
            let isInFront = other < index && judge.outcome(other, host, path) != .noMatch
            guard !isInFront, judge.outcome(index, host, path) == .match else { continue }
            what = "the route in \(routes[other].place.name)"
          case .none:
            guard judge.outcome(index, host, path) == .match else { continue }
            what = "no route"
          }
          return .lost(
            "a request for \(String(decoding: host + path, as: UTF8.self)), which this route matches, takes \(what)")
        }
      }
    }
    return .unknown
  }

  private func hosts(_ host: Config.RouteMatch.Host?) -> [[UInt8]] {
    switch host {
    case nil: [self.host]
    case .name(let name): [Array(name.utf8)]
    case .below(let name): [Array("a.\(name)".utf8)]
    case .pattern(let pattern): PatternExample.proposals(for: pattern)
    }
  }

  private func paths(_ path: Config.RouteMatch.Path?) -> [[UInt8]] {
    switch path {
    case nil: [self.path]
    case .exact(let path), .prefix(let path): [Array(path.utf8)]
    case .pattern(let pattern): PatternExample.proposals(for: pattern, first: self.path.first)
    }
  }

  /// Some address of a range.
  private static func address(_ prefix: IPPrefix) -> IPAddress {
    let base = prefix.address
    guard !prefix.isHost else { return base }
    return base.family == .v4
      ? IPAddress(v4: UInt32(truncatingIfNeeded: base.low) | 1) : IPAddress(v6High: base.high, v6Low: base.low | 1)
  }

  /// What is to be said of single routes, by host and path. A pattern is compiled when it is asked first.
  private final class Judge {
    private let routes: [Config.Route]
    private let workspace = PatternWorkspace()
    private var compiled: [Int: (host: Pattern?, path: Pattern?)] = [:]

    init(_ routes: [Config.Route]) { self.routes = routes }

    func outcome(_ index: Int, _ host: [UInt8], _ path: [UInt8]) -> Pattern.Outcome {
      let match = routes[index].match
      let patterns = compiled[index] ?? compile(match)
      compiled[index] = patterns
      let byHost = patterns.host?.match(host.span) ?? Judge.literal(match.host, host)
      return byHost == .match ? patterns.path?.match(path.span) ?? Judge.literal(match.path, path) : byHost
    }

    private func compile(_ match: Config.RouteMatch) -> (host: Pattern?, path: Pattern?) {
      (
        match.host?.pattern.flatMap { try? Pattern($0, ignoresCase: true, workspace: workspace) },
        match.path?.pattern.flatMap { try? Pattern($0, workspace: workspace) }
      )
    }

    private static func literal(_ wanted: Config.RouteMatch.Host?, _ host: [UInt8]) -> Pattern.Outcome {
      let text = String(decoding: host, as: UTF8.self).lowercased()
      let isOne =
        switch wanted {
        case .name(let name): text == name
        case .below(let name): text.hasSuffix(".\(name)")
        case .pattern, nil: true
        }
      return isOne ? .match : .noMatch
    }

    private static func literal(_ wanted: Config.RouteMatch.Path?, _ path: [UInt8]) -> Pattern.Outcome {
      let text = String(decoding: path, as: UTF8.self)
      let isOne =
        switch wanted {
        case .exact(let path): text == path
        case .prefix(let path): path.hasSuffix("/") ? text.hasPrefix(path) : text == path || text.hasPrefix("\(path)/")
        case .pattern, nil: true
        }
      return isOne ? .match : .noMatch
    }
  }
}
