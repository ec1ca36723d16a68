// Which routes are never reached, as far as what is written tells: an earlier one takes everything that they match. It does where
// each of its patterns is absent, is the same, is the same literal, or is a literal and then `.*` that the later path must begin with.
// Whether two other patterns overlap is not known, and is not asked.
// Called by ConfigChecks, which warns.

struct RouteCover {
  /// What one pattern of a route takes.
  private enum Side: Hashable {
    case anything
    case literal([UInt8])
    /// What begins with these bytes.
    case beginning([UInt8])
    case pattern(String)
  }

  private struct Sides: Hashable {
    let host: Side
    let path: Side
  }

  /// The first route that takes each.
  private var first: [Sides: Int] = [:]
  /// How long the literals are of paths that end in `.*`.
  private var beginnings: Set<Int> = []

  /// Notes the next route in the order of the file.
  /// - Returns: the earliest one that takes all of its requests; nil where none is known to.
  mutating func add(_ route: Config.Route, index: Int) -> Int? {
    let host = RouteCover.hostSide(route.host)
    let literal = route.path.map(LiteralPrefix.init(of:))
    let path = RouteCover.pathSide(route.path, literal)
    var paths = [Side.anything, path]
    if let literal = literal?.bytes {
      paths += beginnings.filter { $0 <= literal.count }.map { .beginning(Array(literal[..<$0])) }
    }
    var earliest: Int?
    for host in [Side.anything, host] {
      for path in paths {
        if let found = first[Sides(host: host, path: path)], found < earliest ?? .max { earliest = found }
      }
    }
    if case .beginning(let literal) = path { beginnings.insert(literal.count) }
    if first[Sides(host: host, path: path)] == nil { first[Sides(host: host, path: path)] = index }
    return earliest
  }

  /// Hosts that begin alike are no use of a pattern; of theirs, only `.*` is known to take others.
  private static func hostSide(_ pattern: String?) -> Side {
    guard let pattern else { return .anything }
    let prefix = LiteralPrefix(of: pattern)
    switch prefix.rest {
    case .nothing: return .literal(prefix.bytes.map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 })
    case .anything where prefix.bytes.isEmpty: return .anything
    case .anything, .pattern: return .pattern(pattern)
    }
  }

  private static func pathSide(_ pattern: String?, _ prefix: LiteralPrefix?) -> Side {
    guard let pattern, let prefix else { return .anything }
    switch prefix.rest {
    case .nothing: return .literal(prefix.bytes)
    case .anything: return .beginning(prefix.bytes)
    case .pattern: return .pattern(pattern)
    }
  }
}
