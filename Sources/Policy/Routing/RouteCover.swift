// Which routes are never reached, as far as what is written tells: an earlier one takes everything that they match. It does where
// what it asks besides host and path is asked by the later one too, or is nothing, and where each of its sides takes the later one's: it is
// absent, the same, a name or path that the later one's is, or a beginning or an end that the later one's must have.
// Whether two other patterns overlap is not known, and is not asked.
// Called by ConfigChecks, which warns.

struct RouteCover {
  /// What one side of a route takes.
  private enum Side: Hashable {
    case anything
    case literal([UInt8])
    /// What begins with these bytes; of a host, what ends with them.
    case beginning([UInt8])
    /// A path and all below it.
    case segments([UInt8])
    case pattern(String)
  }

  private struct Key: Hashable {
    let host: Side
    let path: Side
    let rest: Config.RouteMatch
  }

  /// The first route that takes each.
  private var first: [Key: Int] = [:]
  /// How long the literals are of what takes paths by their beginning.
  private var beginnings: Set<Int> = []

  /// Notes the next route in the order of the file.
  /// - Returns: the earliest one that takes all of its requests; nil where none is known to.
  mutating func add(_ route: Config.Route, index: Int) -> Int? {
    let match = route.match
    let (hosts, host) = Self.hostSides(match.host)
    let path = Self.pathSide(match.path)
    // What reads another form of the path is not known to be the same.
    var nothing = Config.RouteMatch()
    nothing.normalizes = match.normalizes
    var earliest: Int?
    for rest in Set([match.rest, nothing, Config.RouteMatch()]) {
      for host in hosts {
        let isOtherForm = rest.normalizes != match.normalizes
        for path in isOtherForm ? [.anything] : pathSides(match.path, path) {
          if let found = first[Key(host: host, path: path, rest: rest)], found < earliest ?? .max { earliest = found }
        }
      }
    }
    // A redirect without a path lets pass what it would not change.
    if case .redirect(let redirect)? = route.answer, redirect.path == nil { return earliest }
    switch path {
    case .beginning(let literal), .segments(let literal): beginnings.insert(literal.count)
    case .anything, .literal, .pattern: break
    }
    let key = Key(host: host, path: path, rest: match.rest)
    if first[key] == nil { first[key] = index }
    return earliest
  }

  /// Sides that take all hosts of this one, and its own.
  private static func hostSides(_ host: Config.RouteMatch.Host?) -> (taking: [Side], own: Side) {
    let own: Side
    var ends: [Side] = []
    switch host {
    case nil: return ([.anything], .anything)
    case .name(let name):
      own = .literal(Array(name.utf8))
      ends = Self.ends(of: name)
    case .below(let name):
      own = .beginning(Array(name.utf8))
      ends = Self.ends(of: name)
    case .pattern(let text):
      // Hosts that begin alike are no use of a pattern; of theirs, only `.*` is known to take others.
      let prefix = LiteralPrefix(of: text)
      switch prefix.rest {
      case .nothing:
        let name = prefix.bytes.map(\.asciiLowercased)
        own = .literal(name)
        ends = Self.ends(of: String(decoding: name, as: UTF8.self))
      case .anything where prefix.bytes.isEmpty: return ([.anything], .anything)
      case .anything, .pattern: own = .pattern(text)
      }
    }
    return ([.anything, own] + ends, own)
  }

  /// The names that a name is below.
  private static func ends(of name: String) -> [Side] {
    let bytes = Array(name.utf8)
    return bytes.indices.filter { bytes[$0] == 0x2e }.map { .beginning(Array(bytes[($0 + 1)...])) }
  }

  private static func pathSide(_ path: Config.RouteMatch.Path?) -> Side {
    switch path {
    case nil: return .anything
    case .exact(let path): return .literal(Array(path.utf8))
    case .prefix(let path): return path.hasSuffix("/") ? .beginning(Array(path.utf8)) : .segments(Array(path.utf8))
    case .pattern(let text):
      let prefix = LiteralPrefix(of: text)
      return switch prefix.rest {
      case .nothing: .literal(prefix.bytes)
      case .anything: .beginning(prefix.bytes)
      case .pattern: .pattern(text)
      }
    }
  }

  /// Sides that take all paths of `own`.
  private func pathSides(_ path: Config.RouteMatch.Path?, _ own: Side) -> [Side] {
    var sides = [Side.anything, own]
    let literal: [UInt8]
    // The path may be the literal itself, and no more.
    let isPath: Bool
    switch path {
    case nil: return sides
    case .exact(let path), .prefix(let path):
      literal = Array(path.utf8)
      isPath = literal.last != 0x2f
    case .pattern(let text):
      let prefix = LiteralPrefix(of: text)
      literal = prefix.bytes
      isPath = prefix.rest == .nothing
    }
    for count in beginnings where count <= literal.count {
      let front = Array(literal[..<count])
      sides.append(.beginning(front))
      if count == literal.count ? isPath : literal[count] == 0x2f { sides.append(.segments(front)) }
    }
    return sides
  }
}
