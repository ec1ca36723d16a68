// Paths in their normal form, as far as they are known before there is a request: single ones, and all that begin alike. For telling whether what a
// route leads to at its servers may be what another route keeps.
// Invariant: every path that is meant is in the set; where the set may hold others, `isExact` says so.

struct PathSet: Equatable {
  private struct Piece: Equatable {
    let literal: [UInt8]
    /// The path itself; else all paths that begin with it.
    let isWhole: Bool

    func covers(_ other: Piece) -> Bool {
      isWhole ? other.isWhole && literal == other.literal : other.literal.starts(with: literal)
    }

    func overlaps(_ other: Piece) -> Bool { covers(other) || other.covers(self) }
  }

  private var pieces: [Piece]
  private var isExact = true

  static let all = PathSet(pieces: [Piece(literal: [0x2f], isWhole: false)])

  private init(pieces: [Piece]) { self.pieces = pieces }

  /// What a route asks for.
  init(_ path: Config.RouteMatch.Path?) {
    switch path {
    case nil: self = .all
    case .exact(let path): self.init(pieces: [Piece(literal: Array(NormalPath.of(path).utf8), isWhole: true)])
    case .prefix(let path): self.init(under: NormalPath.of(path))
    case .pattern(let text):
      let prefix = LiteralPrefix(of: text)
      self.init(pieces: [Piece(literal: prefix.bytes, isWhole: prefix.rest == .nothing)])
      isExact = prefix.rest != .pattern
    }
  }

  /// A path and what is below it; with a slash at its end, only that.
  init(under path: String) {
    pieces = [Piece(literal: Array(path.utf8), isWhole: false)]
    guard !path.hasSuffix("/") else { return }
    pieces = [
      Piece(literal: Array(path.utf8), isWhole: true), Piece(literal: Array("\(path)/".utf8), isWhole: false),
    ]
  }

  /// What a template makes.
  init(_ template: FieldTemplate) {
    var literal: [UInt8] = []
    var isWhole = true
    parts: for part in template.parts {
      guard case .text(let text) = part else {
        isWhole = false
        break
      }
      for byte in text {
        // Behind it is the query.
        if byte == 0x3f { break parts }
        literal.append(byte)
      }
    }
    if !isWhole {
      // What a group brings may end an encoding, or a segment of dots.
      let segment = literal.lastIndex(of: 0x2f).map { $0 + 1 } ?? 0
      let hasDoubt = literal[segment...].contains(0x25) || literal[segment...].allSatisfy { $0 == 0x2e }
      if hasDoubt { literal = Array(literal[..<segment]) }
      isExact = false
    }
    pieces = [Piece(literal: Array(NormalPath.of(String(decoding: literal, as: UTF8.self)).utf8), isWhole: isWhole)]
  }

  func overlaps(_ other: PathSet) -> Bool {
    pieces.contains { piece in other.pieces.contains(where: piece.overlaps) }
  }

  /// Every path of the other set is surely in this one.
  func covers(_ other: PathSet) -> Bool {
    isExact && other.pieces.allSatisfy { piece in pieces.contains { $0.covers(piece) } }
  }

  /// The paths of this set that are in the other one as well, or may be.
  func overlap(_ other: PathSet) -> PathSet {
    var overlap = self
    overlap.pieces = pieces.flatMap { piece in
      other.pieces.compactMap { piece.covers($0) ? $0 : $0.covers(piece) ? piece : nil }
    }
    overlap.isExact = isExact && other.isExact
    return overlap
  }

  /// Each path with this one in front of it.
  func below(_ prefix: String) -> PathSet {
    var below = self
    below.pieces = pieces.map { Piece(literal: Array(prefix.utf8) + $0.literal, isWhole: $0.isWhole) }
    return below
  }

  /// For people.
  var text: String {
    pieces.isEmpty
      ? "nothing"
      : pieces.map { String(decoding: $0.literal, as: UTF8.self) + ($0.isWhole ? "" : "…") }.joined(separator: ", ")
  }
}

extension Config.Route {
  /// What its servers are asked for.
  var pathsAtServers: PathSet {
    if let rewrite = changes.rewrite { return PathSet(rewrite) }
    guard let strip = changes.stripPrefix, case .prefix(let own)? = match.path else { return PathSet(match.path) }
    let rest = String(own.dropFirst(strip.count))
    return rest.isEmpty ? .all : PathSet(under: NormalPath.of(rest))
  }
}
