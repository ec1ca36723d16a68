// The request line and the host as they are sent to an upstream. What is signed is what is sent: HeadWriter and Signer are both given this,
// and take the same bytes. Where nothing is changed these are the bytes of the client's head; where a route changes the path, or an
// upstream the host, they are written once into memory of the exchange's own, for each try anew.

import Platform
import Policy
import Wire

/// Ranges of one text.
package struct RequestTarget {
  package var method: ByteRange
  package var authority: ByteRange
  package var path: ByteRange
  /// With its `?`; empty when there is none.
  package var query: ByteRange

  package init(_ head: RequestHead) {
    method = head.methodRange
    authority = head.authority
    path = head.path
    query = head.query
  }
}

/// How a route changes the path. One for each worker, whose patterns it has.
package final class PathChange {
  private enum Kind {
    case strip([UInt8])
    case rewrite(FieldTemplate, Pattern?)
  }

  /// In the log, where a path cannot be changed.
  static let refusalText: StaticString = "the path has `.` or `..`, or does not begin as the route's change needs it"

  private let kind: Kind
  /// The route reads the path in its normal form, and so it is sent.
  private let normalizes: Bool
  /// For that form; of all routes of a worker, and empty between two calls.
  private let scratch: Buffer

  /// Nil where the path stays as it is.
  package convenience init?(
    _ route: Config.Route, _ workspace: PatternWorkspace, scratch: Buffer
  ) throws(Pattern.SyntaxError) {
    if let prefix = route.changes.stripPrefix {
      self.init(.strip(Array(prefix.utf8)), route.match, scratch)
    } else if let rewrite = route.changes.rewrite {
      try self.init(rewrite, route.match, workspace, scratch: scratch)
    } else {
      return nil
    }
  }

  /// A path from a template, for the requests of `match`.
  convenience init(
    _ template: FieldTemplate, _ match: Config.RouteMatch, _ workspace: PatternWorkspace, scratch: Buffer
  ) throws(Pattern.SyntaxError) {
    var pattern: Pattern?
    if template.lastGroup >= 0, let text = match.path?.pattern { pattern = try Pattern(text, workspace: workspace) }
    self.init(.rewrite(template, pattern), match, scratch)
  }

  private init(_ kind: Kind, _ match: Config.RouteMatch, _ scratch: Buffer) {
    self.kind = kind
    normalizes = match.normalizes
    self.scratch = scratch
  }

  /// Appends the changed path and its query, or says why that cannot be.
  func write(path: Span<UInt8>, query: Span<UInt8>, into out: Buffer) -> Refusal? {
    let start = out.count
    return changed(path, query, into: out) ?? (makesDots(out, from: start) ? .pathAmbiguous : nil)
  }

  private func changed(_ path: Span<UInt8>, _ query: Span<UInt8>, into out: Buffer) -> Refusal? {
    guard takesPath, !PathText.isPlain(path) else { return change(path, query, into: out) }
    scratch.removeAll()
    let marks = NormalPath.write(path, into: scratch)
    guard !scratch.overflowed else { return .routeUndecided }
    if normalizes { return scratch.withReadable { change($0, query, into: out) } }
    // `..` in what is left of a path would lead out of what the change puts in front of it, or take away what it left out.
    return marks.hasDots ? .pathAmbiguous : change(path, query, into: out)
  }

  /// Whether the written path has a segment `.` or `..` that the client's has not: a group may begin or end within a segment, as of
  /// `/x../y` by the pattern `/x(.*)`.
  private func makesDots(_ out: Buffer, from start: Int) -> Bool {
    guard case .rewrite(_, .some) = kind, !out.overflowed else { return false }
    return out.withReadable { text in
      let path = text.extracting(start..<(text.firstIndex(of: 0x3f, from: start) ?? text.count))
      guard !PathText.isPlain(path) else { return false }
      scratch.removeAll()
      return NormalPath.write(path, into: scratch).hasDots || scratch.overflowed
    }
  }

  /// Something of the path is in what it becomes.
  private var takesPath: Bool {
    if case .rewrite(_, nil) = kind { false } else { true }
  }

  private func change(_ path: Span<UInt8>, _ query: Span<UInt8>, into out: Buffer) -> Refusal? {
    switch kind {
    case .strip(let prefix):
      // Another path has the prefix in another spelling, and takes this route by its normal form (`path_mismatch: stricter`).
      guard path.count >= prefix.count, ByteComparison.isEqual(path.extracting(first: prefix.count), prefix.span) else {
        return .pathAmbiguous
      }
      guard path.count == prefix.count || path[prefix.count] == 0x2f else { return .pathAmbiguous }
      PathChange.appendPath(path.extracting(droppingFirst: prefix.count), to: out)
      out.append(query)
      return nil
    case .rewrite(let template, let pattern):
      return PathChange.write(template, pattern, path: path, query: query, into: out)
    }
  }

  /// Appends a path that begins with one slash, whatever is left of it.
  private static func appendPath(_ path: Span<UInt8>, to out: Buffer) {
    var at = 0
    while at < path.count, path[at] == 0x2f { at += 1 }
    out.append(0x2f)
    out.append(path.extracting(droppingFirst: at))
  }

  /// Appends a path from a template, and the query where that has none. Two slashes at its beginning, which some would take for a host,
  /// become one. A refusal where the pattern gives up, or does not match.
  private static func write(
    _ template: FieldTemplate, _ pattern: Pattern?, path: Span<UInt8>, query: Span<UInt8>, into out: Buffer
  ) -> Refusal? {
    guard let pattern else {
      write(template, path, query, into: out) { _ in nil }
      return nil
    }
    return switch pattern.matchWithGroups(path, { write(template, path, query, into: out, group: $0) }) {
    case .match: nil
    case .noMatch: .pathAmbiguous
    case .undecided: .routeUndecided
    }
  }

  private static func write(
    _ template: FieldTemplate, _ path: Span<UInt8>, _ query: Span<UInt8>, into out: Buffer,
    group: (Int) -> Range<Int>?
  ) {
    let start = out.count
    var isQuery = false
    var i = 0
    while i < template.parts.count {
      switch template.parts[i] {
      case .text(let text):
        for byte in text {
          if byte == 0x3f { isQuery = true }
          append(byte, to: out, from: start)
        }
      case .group(let number):
        if let range = group(number) {
          for at in range {
            // What a path may have and a query is divided by.
            if isQuery, let escape = queryEscape(path[at]) {
              out.append(escape)
            } else {
              append(path[at], to: out, from: start)
            }
          }
        }
      case .variable: break
      }
      i += 1
    }
    if !isQuery { out.append(query) }
  }

  private static func append(_ byte: UInt8, to out: Buffer, from start: Int) {
    if byte == 0x2f, out.count == start + 1 { return }
    out.append(byte)
  }

  private static func queryEscape(_ byte: UInt8) -> StaticString? {
    switch byte {
    case 0x26: "%26"
    case 0x2b: "%2B"
    case 0x3b: "%3B"
    case 0x3d: "%3D"
    default: nil
    }
  }
}

extension RequestTarget {
  /// Writes the request line's parts and the host, changed, into an empty buffer, and says where they lie; or why that cannot be.
  /// - Parameter host: in place of the client's.
  static func write(
    _ bytes: Span<UInt8>, _ head: RequestHead, _ change: PathChange?, host: Span<UInt8>?, into out: Buffer
  ) -> (target: RequestTarget, refusal: Refusal?) {
    var target = RequestTarget(head)
    out.append(bytes.extracting(head.methodRange.range))
    target.method = ByteRange(0, out.count)
    let pathStart = out.count
    if let change {
      let refusal = change.write(
        path: bytes.extracting(head.path.range), query: bytes.extracting(head.query.range), into: out)
      if let refusal { return (target, refusal) }
    } else {
      out.append(bytes.extracting(head.path.range))
      out.append(bytes.extracting(head.query.range))
    }
    let queryStart = out.withReadable { $0.firstIndex(of: 0x3f, from: pathStart) ?? $0.count }
    target.path = ByteRange(pathStart, queryStart - pathStart)
    target.query = ByteRange(queryStart, out.count - queryStart)
    let hostStart = out.count
    if let host { out.append(host) } else { out.append(bytes.extracting(head.authority.range)) }
    target.authority = ByteRange(hostStart, out.count - hostStart)
    return (target, out.overflowed ? .headTooLarge : nil)
  }

  /// Whether the request line or the host is another one than the client's at a server of that upstream.
  static func isChanged(_ x: Exchange, at group: UpstreamPlan) -> Bool {
    x.route?.pathChange != nil || group.config.rewritesHost
  }

  /// Writes the changed request line and host into the exchange's `targetText`.
  static func write(
    _ x: Exchange, for group: UpstreamPlan, host: [UInt8]
  ) -> (target: RequestTarget, refusal: Refusal?) {
    x.targetText.removeAll()
    let made = x.headText.withReadable {
      write($0, x.head, x.route?.pathChange, host: group.config.rewritesHost ? host.span : nil, into: x.targetText)
    }
    if made.refusal == .pathAmbiguous { x.detail = .text(PathChange.refusalText) }
    return made
  }

  /// Whether a head of what the client sent and what is changed fits into a buffer, identity included.
  static func fits(_ x: Exchange, _ edit: HeadEdit?, into out: Buffer) -> Bool {
    let added = edit?.lines.bytesMax(hostBytes: Int(x.head.authority.count)) ?? 0
    return out.room >= x.headBytes + x.targetText.count + added + Worker.headGrowthBytes / 2
  }

  /// What a server's requests say in Host where the upstream rewrites it: the name that its certificate must have, or else how the
  /// configuration names it. The port is left out where it is the scheme's own (RFC 9110 section 7.2).
  static func hostField(of server: Snapshot.Server, at upstream: Config.Upstream) -> String {
    let usualPort: UInt16 = upstream.tls == nil ? 80 : 443
    let ending = { (port: UInt16) in port == usualPort ? "" : ":\(port)" }
    let port: UInt16? =
      switch server.config.endpoint {
      case .host(_, let port), .address(_, let port): port
      case .service: server.address.ip == nil ? nil : server.address.port
      case .unix: nil
      }
    if let name = upstream.tls?.name {
      let isV6 = IPAddress(name)?.family == .v6
      return (isV6 ? "[\(name)]" : name) + (port.map(ending) ?? "")
    }
    switch server.config.endpoint {
    case .host(let name, let port): return name + ending(port)
    case .address(let address, let port):
      return (address.family == .v6 ? "[\(address)]" : "\(address)") + ending(port)
    case .service: return server.text
    case .unix: return "localhost"
    }
  }
}
