// Which route a request takes: the first, in the order of the file, whose patterns match its host and its path. What
// patterns must begin with is looked up for all routes at once; the engine is asked only about routes that are left, and
// only where their literals did not decide.
// Invariant: the answer is that of the engine asked about every route in order; but a route that cannot match by its
// first bytes is not asked, so it cannot give up. Used by one worker; neither allocates nor locks when asked.

import Platform
import Wire

package final class RouteTable {
  package enum Found: Equatable, Sendable {
    case route(Int)
    case none
    /// A pattern gave up at its limit: no later route may be taken for it.
    case undecided
  }

  /// What the engine still has to say.
  private struct Entry {
    let host: Pattern?
    let path: Pattern?
  }

  private let entries: ContiguousArray<Entry>
  /// Nil when no route asks for a host, or for a path; the set is then full and stays so.
  private let hosts: PrefixTree?
  private let paths: PrefixTree?
  private var byHost: RouteSet
  private var byPath: RouteSet
  /// The first route takes every request.
  package let firstTakesAll: Bool

  /// - Parameter routes: each with its patterns; nil matches everything.
  package init(_ routes: [(host: String?, path: String?)]) throws(Pattern.SyntaxError) {
    let workspace = PatternWorkspace()
    var entries: ContiguousArray<Entry> = []
    var hostClaims: [PrefixTree.Claim] = []
    var pathClaims: [PrefixTree.Claim] = []
    for (number, route) in routes.enumerated() {
      let host = route.host.map(LiteralPrefix.init(of:))
      let path = route.path.map(LiteralPrefix.init(of:))
      hostClaims.append(RouteTable.claim(number, host, ignoresCase: true))
      pathClaims.append(RouteTable.claim(number, path, ignoresCase: false))
      entries.append(
        Entry(
          host: try RouteTable.pattern(route.host, host, ignoresCase: true, workspace),
          path: try RouteTable.pattern(route.path, path, ignoresCase: false, workspace)))
      // What stands behind a route for everything is never reached.
      if route.host == nil, route.path == nil { break }
    }
    let isAsked = routes.prefix(entries.count)
    firstTakesAll = routes.first.map { $0.host == nil && $0.path == nil } ?? false
    hosts = isAsked.contains { $0.host != nil } ? PrefixTree(hostClaims) : nil
    paths = isAsked.contains { $0.path != nil } ? PrefixTree(pathClaims) : nil
    byHost = RouteSet(routes: entries.count, isFull: hosts == nil)
    byPath = RouteSet(routes: entries.count, isFull: paths == nil)
    self.entries = entries
  }

  private static func claim(_ route: Int, _ prefix: LiteralPrefix?, ignoresCase: Bool) -> PrefixTree.Claim {
    let literal = (prefix?.bytes ?? []).map { ignoresCase && $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }
    return PrefixTree.Claim(route: route, literal: literal, isWhole: prefix?.rest == .nothing)
  }

  /// Nil where the tree decides. What `.*` does not match is a line feed, and `RequestHead` takes none in a host or path.
  private static func pattern(
    _ text: String?, _ prefix: LiteralPrefix?, ignoresCase: Bool, _ workspace: PatternWorkspace
  ) throws(Pattern.SyntaxError) -> Pattern? {
    guard let text, prefix?.rest == .pattern else { return nil }
    return try Pattern(text, ignoresCase: ignoresCase, workspace: workspace)
  }

  /// The route of a request whose head `bytes` begin with: by its host without the port, and its path.
  package func find(_ bytes: Span<UInt8>, _ head: RequestHead) -> Found {
    if firstTakesAll { return .route(0) }
    let authority = bytes.extracting(head.authority.range)
    let host = authority.extracting(first: RouteTable.hostNameBytes(authority))
    return find(host: host, path: bytes.extracting(head.path.range))
  }

  /// Bytes of an authority before its port. An IPv6 literal keeps its brackets.
  private static func hostNameBytes(_ authority: Span<UInt8>) -> Int {
    var i = authority.count
    while i > 0 {
      i -= 1
      let byte = authority[i]
      if byte == 0x3a { return i }
      if byte < 0x30 || byte > 0x39 { break }
    }
    return authority.count
  }

  /// The first route that matches.
  /// - Parameters:
  ///   - host: without its port; case does not matter.
  ///   - path: without the query.
  package func find(host: Span<UInt8>, path: Span<UInt8>) -> Found {
    if firstTakesAll { return .route(0) }
    hosts?.find(host, ignoresCase: true, into: &byHost)
    paths?.find(path, ignoresCase: false, into: &byPath)
    var word = 0
    while word < byHost.words.count {
      var candidates = byHost.words[word] & byPath.words[word]
      while candidates != 0 {
        let route = word &* 64 &+ candidates.trailingZeroBitCount
        candidates &= candidates &- 1
        if let pattern = entries[route].host {
          let outcome = pattern.match(host)
          if outcome == .undecided { return .undecided }
          if outcome == .noMatch { continue }
        }
        if let pattern = entries[route].path {
          let outcome = pattern.match(path)
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
