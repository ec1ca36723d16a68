// Requests for the self-test that take a given route: made from its patterns (PatternExample), looked up in the table that workers use,
// and judged by the engine route by route, without the table. Confined to one thread.

import Platform
import Policy
import Wire

struct RouteProbes {
  /// What became of the search for a request that takes a route.
  enum Way {
    case found(ProbeRequest)
    /// A request that its patterns match goes elsewhere, and not to one in front of it that matches too.
    case lost(String)
    /// None could be made, or each that could goes to a route in front of it.
    case unknown
  }

  /// Requests that are tried for one route.
  private static let proposalsMax = 64

  private let routes: [Config.Route]
  private let table: RouteTable
  private let engine: Engine
  private let host: [UInt8]
  private let path: [UInt8]
  private let claims: String
  private let names: FieldNames

  /// - Parameters:
  ///   - host: for routes without a pattern for it; `path` likewise, and what a path begins with.
  ///   - claims: field lines of the requests.
  init(
    _ config: Config, host: [UInt8], path: [UInt8], claims: String, names: FieldNames
  ) throws(Pattern.SyntaxError) {
    routes = config.routes
    table = try Plan.makeTable(config)
    engine = Engine(routes)
    self.host = host
    self.path = path
    self.claims = claims
    self.names = names
  }

  func way(to index: Int) -> Way {
    let route = routes[index]
    let hosts = route.host.map { PatternExample.proposals(for: $0) } ?? [host]
    let paths = route.path.map { PatternExample.proposals(for: $0, first: path.first) } ?? [path]
    var left = RouteProbes.proposalsMax
    for host in hosts {
      for path in paths {
        guard left > 0 else { return .unknown }
        left -= 1
        guard let request = ProbeRequest(host: host, path: path, claims: claims, names: names) else { continue }
        let found = request.route(table)
        let what: String
        switch found {
        case .route(index): return .found(request)
        case .undecided: continue
        case .route(let other):
          // One that stands in front and matches, or it was a bad proposal.
          let isInFront = other < index && engine.outcome(other, host, path) != .noMatch
          guard !isInFront, engine.outcome(index, host, path) == .match else { continue }
          what = "the route in \(routes[other].place.name)"
        case .none:
          guard engine.outcome(index, host, path) == .match else { continue }
          what = "no route"
        }
        return .lost(
          "a request for \(String(decoding: host + path, as: UTF8.self)), which this route matches, takes \(what)")
      }
    }
    return .unknown
  }

  /// What the engine says of single routes. A pattern is compiled when it is asked first.
  private final class Engine {
    private let routes: [Config.Route]
    private let workspace = PatternWorkspace()
    private var compiled: [Int: (host: Pattern?, path: Pattern?)] = [:]

    init(_ routes: [Config.Route]) { self.routes = routes }

    func outcome(_ index: Int, _ host: [UInt8], _ path: [UInt8]) -> Pattern.Outcome {
      let patterns = compiled[index] ?? compile(routes[index])
      compiled[index] = patterns
      let byHost = patterns.host?.match(host.span) ?? .match
      return byHost == .match ? patterns.path?.match(path.span) ?? .match : byHost
    }

    private func compile(_ route: Config.Route) -> (host: Pattern?, path: Pattern?) {
      (
        route.host.flatMap { try? Pattern($0, ignoresCase: true, workspace: workspace) },
        route.path.flatMap { try? Pattern($0, workspace: workspace) }
      )
    }
  }
}
