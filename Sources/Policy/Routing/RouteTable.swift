// Which route a request takes: the first, in the order of the file, whose match holds. What hosts and paths must begin with, or hosts end
// with, is looked up for all routes at once; what else a route asks (RouteConditions), and the engine, is asked only of routes that are
// left, the engine only where their literals did not decide.
//
// A path that is not in normal form is looked up as it was sent, in that form (NormalPath), and where that has resolved anything also
// in its decoded form: where these lead to different routes, that is said.
//
// Invariant: the answer is that of asking every route in order; but a route that cannot match by its first bytes is not asked, so its
// pattern cannot give up. Used by one worker; neither allocates nor locks when asked.

import Platform
import Wire

package final class RouteTable {
  package enum Found: Equatable, Sendable {
    case route(Int)
    case none
    /// A pattern gave up at its limit: no later route may be taken for it.
    case undecided
    /// The path as it was sent leads to one route, and its normal form, or else its decoded form, to another; nil: to none.
    case ambiguous(sent: Int?, normal: Int?)
    /// The path has no one normal form (`NormalPath.Marks.isUnclear`), or leads to three routes.
    case unclear
  }

  /// What is still to be asked.
  private struct Entry {
    let host: Pattern?
    let path: Pattern?
    let conditions: RouteConditions?
    let normalizes: Bool
  }

  private let entries: ContiguousArray<Entry>
  /// Nil when no route asks for a host, or for a path; the set is then full and stays so.
  private let hosts: PrefixTree?
  private let paths: PrefixTree?
  /// Names below another one, by their ends.
  private let hostEnds: PrefixTree?
  /// What is written of paths, in normal form; nil where that is `paths`.
  private let normalPaths: PrefixTree?
  private var byHost: RouteSet
  private var byPath: RouteSet
  /// Of a path's normal form.
  private var byNormal: RouteSet
  /// Of its decoded form.
  private var byDecoded: RouteSet
  /// Routes that match the normal form alone.
  private let normalizing: RouteSet
  private let normal: Buffer
  private let decoded: Buffer
  /// The first route takes every request.
  package let firstTakesAll: Bool

  /// - Parameters:
  ///   - listeners: the names of the configuration's listeners, in its order.
  ///   - pathBytesMax: the longest path of a request.
  package init(
    _ routes: [Config.Route], listeners: [String], pathBytesMax: Int
  ) throws(Pattern.SyntaxError) {
    let workspace = PatternWorkspace()
    var entries: ContiguousArray<Entry> = []
    var claims = RouteClaims()
    var normalizing: [Int] = []
    for (number, route) in routes.enumerated() {
      let match = route.match
      claims.add(number, match)
      if match.normalizes { normalizing.append(number) }
      let conditions = RouteConditions(route, listeners: listeners)
      entries.append(
        Entry(
          host: try RouteTable.engine(match.host?.pattern, ignoresCase: true, workspace),
          path: try RouteTable.engine(match.path?.pattern, ignoresCase: false, workspace), conditions: conditions,
          normalizes: match.normalizes))
      // What stands behind a route for everything is never reached.
      if match.isEverything, conditions == nil { break }
    }
    let asked = routes.prefix(entries.count).map(\.match)
    firstTakesAll = asked.first?.isEverything ?? false && entries.first?.conditions == nil
    hosts = asked.contains { $0.host != nil } ? PrefixTree(claims.hosts) : nil
    hostEnds = claims.hostEnds.isEmpty ? nil : PrefixTree(claims.hostEnds)
    paths = asked.contains { $0.path != nil } ? PrefixTree(claims.paths) : nil
    normalPaths = claims.areNormal || paths == nil ? nil : PrefixTree(claims.normalPaths)
    byHost = RouteSet(routes: entries.count, isFull: hosts == nil)
    byPath = RouteSet(routes: entries.count, isFull: paths == nil)
    byNormal = byPath
    byDecoded = byPath
    self.normalizing = RouteSet(routes: entries.count, members: normalizing)
    normal = Buffer(capacity: pathBytesMax + 64)
    decoded = Buffer(capacity: pathBytesMax + 64)
    self.entries = entries
  }

  /// Nil where a tree decides. What `.*` does not match is a line feed, and `RequestHead` takes none in a host or path.
  private static func engine(
    _ text: String?, ignoresCase: Bool, _ workspace: PatternWorkspace
  ) throws(Pattern.SyntaxError) -> Pattern? {
    guard let text, LiteralPrefix(of: text).rest == .pattern else { return nil }
    return try Pattern(text, ignoresCase: ignoresCase, workspace: workspace)
  }

  /// The route of a request whose head `bytes` begin with.
  package func find(_ bytes: Span<UInt8>, _ head: RequestHead, _ facts: RouteFacts) -> Found {
    if firstTakesAll { return .route(0) }
    let authority = bytes.extracting(head.authority.range)
    let host = authority.extracting(first: RouteTable.hostNameBytes(authority))
    return find(host: host, path: bytes.extracting(head.path.range), bytes, head, facts)
  }

  /// Bytes of an authority before its port. An IPv6 literal keeps its brackets.
  package static func hostNameBytes(_ authority: Span<UInt8>) -> Int {
    var i = authority.count
    while i > 0 {
      i -= 1
      let byte = authority[i]
      if byte == 0x3a { return i }
      if byte < 0x30 || byte > 0x39 { break }
    }
    return authority.count
  }

  /// Bytes of a name before the dots at its end: with one it is the same name (RFC 3986 section 3.2.2), and servers take it so.
  private static func bytesBeforeDots(_ host: Span<UInt8>) -> Int {
    var count = host.count
    while count > 1, host[count - 1] == 0x2e { count -= 1 }
    return count
  }

  /// The same, of a host without its port and a path without the query. Without a head only routes are found that ask for nothing but
  /// host and path. From outside, only tests call it, with hosts and paths that no head can have.
  package func find(
    host: Span<UInt8>, path: Span<UInt8>, _ bytes: Span<UInt8>, _ head: RequestHead?, _ facts: RouteFacts
  ) -> Found {
    let host = host.extracting(first: RouteTable.bytesBeforeDots(host))
    hosts?.find(host, ignoresCase: true, into: &byHost)
    hostEnds?.addEnding(host, into: &byHost)
    paths?.find(path, ignoresCase: false, into: &byPath)
    guard let paths, !PathText.isPlain(path) else {
      return first(host, sent: path, normal: path, reading: .plain, bytes, head, facts)
    }
    normal.removeAll()
    let marks = NormalPath.write(path, into: normal)
    if marks.isUnclear { return .unclear }
    // It has more encodings than anything that is meant.
    if normal.overflowed { return .undecided }
    return normal.withReadable { normal in
      if ByteComparison.isEqual(normal, path) {
        return first(host, sent: path, normal: path, reading: .plain, bytes, head, facts)
      }
      (normalPaths ?? paths).find(normal, ignoresCase: false, into: &byNormal)
      let asSent = first(host, sent: path, normal: normal, reading: .asSent, bytes, head, facts)
      let asNormal = first(host, sent: normal, normal: normal, reading: .normal, bytes, head, facts)
      if asSent == .undecided || asNormal == .undecided { return .undecided }
      guard marks.hasDots || marks.hasEmpty else { return RouteTable.join(asSent, asNormal) }
      decoded.removeAll()
      NormalPath.write(path, resolves: false, into: decoded)
      if decoded.overflowed { return .undecided }
      let asDecoded = decoded.withReadable { decoded in
        (normalPaths ?? paths).find(decoded, ignoresCase: false, into: &byDecoded)
        return first(host, sent: decoded, normal: normal, reading: .decoded, bytes, head, facts)
      }
      if asDecoded == .undecided { return .undecided }
      if asSent == asNormal { return RouteTable.join(asSent, asDecoded) }
      return asDecoded == asSent || asDecoded == asNormal ? RouteTable.join(asSent, asNormal) : .unclear
    }
  }

  private static func join(_ one: Found, _ other: Found) -> Found {
    one == other ? one : .ambiguous(sent: one.number, normal: other.number)
  }

  private enum Reading {
    /// The path is in normal form.
    case plain
    /// Each route reads the path as it asks to.
    case asSent
    /// Every route reads its normal form.
    case normal
    /// Every route reads its decoded form, and those that ask for it the normal form, too.
    case decoded
  }

  private func first(
    _ host: Span<UInt8>, sent: Span<UInt8>, normal: Span<UInt8>, reading: Reading, _ bytes: Span<UInt8>,
    _ head: RequestHead?, _ facts: RouteFacts
  ) -> Found {
    var word = 0
    while word < byHost.words.count {
      var candidates = byHost.words[word]
      switch reading {
      case .plain: candidates &= byPath.words[word]
      case .asSent:
        let mask = normalizing.words[word]
        candidates &= byPath.words[word] & ~mask | byNormal.words[word] & mask
      case .normal: candidates &= byNormal.words[word]
      case .decoded: candidates &= byDecoded.words[word] | byNormal.words[word] & normalizing.words[word]
      }
      while candidates != 0 {
        let route = word &* 64 &+ candidates.trailingZeroBitCount
        candidates &= candidates &- 1
        if let conditions = entries[route].conditions {
          guard let head, conditions.hold(bytes, head, facts) else { continue }
        }
        if let pattern = entries[route].host {
          let outcome = pattern.match(host)
          if outcome == .undecided { return .undecided }
          if outcome == .noMatch { continue }
        }
        if let pattern = entries[route].path {
          var outcome = pattern.match(entries[route].normalizes ? normal : sent)
          if outcome == .noMatch, reading == .decoded, entries[route].normalizes { outcome = pattern.match(sent) }
          if outcome == .undecided { return .undecided }
          if outcome == .noMatch { continue }
        }
        return .route(route)
      }
      word &+= 1
    }
    return .none
  }
}

extension RouteTable.Found {
  fileprivate var number: Int? {
    if case .route(let number) = self { number } else { nil }
  }
}

extension Config.RouteMatch.Host {
  /// Of the engine.
  package var pattern: String? {
    if case .pattern(let text) = self { text } else { nil }
  }
}

extension Config.RouteMatch.Path {
  /// Of the engine.
  package var pattern: String? {
    if case .pattern(let text) = self { text } else { nil }
  }
}

/// What the routes of a table claim of hosts and paths, for its trees.
private struct RouteClaims {
  var hosts: [PrefixTree.Claim] = []
  /// Turned around.
  var hostEnds: [PrefixTree.Claim] = []
  var paths: [PrefixTree.Claim] = []
  var normalPaths: [PrefixTree.Claim] = []
  /// `normalPaths` are `paths`.
  var areNormal = true

  mutating func add(_ route: Int, _ match: Config.RouteMatch) {
    switch match.host {
    case nil: hosts.append(PrefixTree.Claim(route: route, literal: [], isWhole: false))
    case .name(let name): hosts.append(PrefixTree.Claim(route: route, literal: Array(name.utf8), isWhole: true))
    case .below(let name):
      hostEnds.append(PrefixTree.Claim(route: route, literal: Array(".\(name)".utf8.reversed()), isWhole: false))
    case .pattern(let text): hosts.append(Self.claim(route, LiteralPrefix(of: text), ignoresCase: true))
    }
    switch match.path {
    case nil: add(route, "", isWhole: false)
    case .exact(let path): add(route, path, isWhole: true)
    case .prefix(let path):
      if path.hasSuffix("/") {
        add(route, path, isWhole: false)
      } else {
        add(route, path, isWhole: true)
        add(route, "\(path)/", isWhole: false)
      }
    case .pattern(let text):
      let claim = Self.claim(route, LiteralPrefix(of: text), ignoresCase: false)
      paths.append(claim)
      normalPaths.append(claim)
    }
  }

  private mutating func add(_ route: Int, _ path: String, isWhole: Bool) {
    let normal = NormalPath.of(path)
    if normal != path { areNormal = false }
    paths.append(PrefixTree.Claim(route: route, literal: Array(path.utf8), isWhole: isWhole))
    normalPaths.append(PrefixTree.Claim(route: route, literal: Array(normal.utf8), isWhole: isWhole))
  }

  private static func claim(_ route: Int, _ prefix: LiteralPrefix, ignoresCase: Bool) -> PrefixTree.Claim {
    let literal = ignoresCase ? prefix.bytes.map(\.asciiLowercased) : prefix.bytes
    return PrefixTree.Claim(route: route, literal: literal, isWhole: prefix.rest == .nothing)
  }
}
