// A tree over what the patterns of routes must begin with: going down it with a host or a path finds all routes that may
// match it, in the time that it takes to read that text once, however many routes there are.
// Invariant: a node's members are routes whose literal ends there. Made when routes are loaded; never changed.

/// Routes by number, a bit each.
struct RouteSet: Sendable {
  var words: ContiguousArray<UInt64>

  /// - Parameter isFull: every route is in it.
  init(routes: Int, isFull: Bool) {
    words = ContiguousArray(repeating: isFull ? ~0 : 0, count: (routes + 63) / 64)
    if isFull, routes % 64 != 0 { words[words.count - 1] = (1 << UInt64(routes % 64)) - 1 }
  }

  init(routes: Int, members: [Int]) {
    self.init(routes: routes, isFull: false)
    for route in members { words[route / 64] |= 1 << UInt64(route % 64) }
  }
}

struct PrefixTree: Sendable {
  /// What one route asks of a text.
  struct Claim {
    let route: Int
    let literal: [UInt8]
    /// The text is the literal; otherwise it begins with it.
    let isWhole: Bool
  }

  /// Some of the routes of one word of a set.
  private struct Members {
    let word: Int
    var bits: UInt64
  }

  private struct Node {
    /// The bytes between the node above and this one.
    var label: Range<Int> = 0..<0
    /// The bytes that go on from here, as bits; a node below for each, in their order. Literals are ASCII.
    var low: UInt64 = 0
    var high: UInt64 = 0
    var firstBelow = 0
    var members: Range<Int> = 0..<0
    /// Members only of a text that ends here.
    var wholeMembers: Range<Int> = 0..<0

    /// The node below that goes on with a byte, counted from the first; nil when none does.
    @inline(__always) func below(_ byte: UInt8) -> Int? {
      let bit: UInt64 = 1 << UInt64(byte & 63)
      if byte < 64 { return low & bit == 0 ? nil : (low & (bit &- 1)).nonzeroBitCount }
      if byte < 128 { return high & bit == 0 ? nil : low.nonzeroBitCount &+ (high & (bit &- 1)).nonzeroBitCount }
      return nil
    }
  }

  private var nodes: ContiguousArray<Node> = []
  private var labels: ContiguousArray<UInt8> = []
  private var members: ContiguousArray<Members> = []

  init(_ claims: [Claim]) {
    let claims = claims.sorted { $0.literal.lexicographicallyPrecedes($1.literal) }
    // Breadth first, so that the nodes below one stand side by side. Each with its claims, which all begin alike up to
    // `from`, where the node above ends.
    var waiting: [(claims: ArraySlice<Claim>, from: Int)] = [(claims[...], 0)]
    nodes.append(Node())
    var at = 0
    while at < waiting.count {
      let (claims, from) = waiting[at]
      var node = Node()
      // They are in order: what the first and the last have in common, all have. The root is where nothing was read.
      let end = at == 0 ? 0 : PrefixTree.common(claims.first?.literal ?? [], claims.last?.literal ?? [])
      node.label = labels.count..<(labels.count + end - from)
      labels += claims.first?.literal[from..<end] ?? []
      let ending = claims.prefix { $0.literal.count == end }
      node.members = store(ending.filter { !$0.isWhole })
      node.wholeMembers = store(ending.filter(\.isWhole))
      node.firstBelow = waiting.count
      var rest = claims.dropFirst(ending.count)
      while let byte = rest.first?.literal[end] {
        precondition(byte < 128, "a literal is ASCII")
        if byte < 64 { node.low |= 1 << UInt64(byte) } else { node.high |= 1 << UInt64(byte - 64) }
        let alike = rest.prefix { $0.literal[end] == byte }
        waiting.append((alike, end))
        nodes.append(Node())
        rest = rest.dropFirst(alike.count)
      }
      nodes[at] = node
      at += 1
    }
  }

  private static func common(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var count = 0
    while count < a.count, count < b.count, a[count] == b[count] { count += 1 }
    return count
  }

  private mutating func store(_ claims: [Claim]) -> Range<Int> {
    let start = members.count
    for route in claims.map(\.route).sorted() {
      let bit: UInt64 = 1 << UInt64(route % 64)
      if members.count > start, members[members.count - 1].word == route / 64 {
        members[members.count - 1].bits |= bit
      } else {
        members.append(Members(word: route / 64, bits: bit))
      }
    }
    return start..<members.count
  }

  /// Makes `found` the routes whose claims a text meets.
  /// - Parameter ignoresCase: capitals of ASCII count as small letters, as which the literals are written.
  func find(_ text: Span<UInt8>, ignoresCase: Bool, into found: inout RouteSet) {
    var words = found.words.mutableSpan
    for word in words.indices { words[word] = 0 }
    walk(text, ignoresCase: ignoresCase, isBackwards: false, into: &words)
  }

  /// Adds the routes whose claims a text meets when it is read from its end, whatever its case.
  func addEnding(_ text: Span<UInt8>, into found: inout RouteSet) {
    var words = found.words.mutableSpan
    walk(text, ignoresCase: true, isBackwards: true, into: &words)
  }

  /// Inlined into both, so that the way of reading is a constant there.
  @inline(__always) private func walk(
    _ text: Span<UInt8>, ignoresCase: Bool, isBackwards: Bool, into words: inout MutableSpan<UInt64>
  ) {
    let nodes = nodes.span
    let labels = labels.span
    var node = 0
    var at = 0
    while true {
      insert(nodes[node].members, into: &words)
      if at == text.count {
        insert(nodes[node].wholeMembers, into: &words)
        return
      }
      let next = text[isBackwards ? text.count &- 1 &- at : at]
      guard let below = nodes[node].below(PrefixTree.byte(next, ignoresCase)) else { return }
      node = nodes[node].firstBelow &+ below
      let label = nodes[node].label
      guard text.count &- at >= label.count else { return }
      var letter = label.lowerBound
      while letter < label.upperBound {
        let byte = text[isBackwards ? text.count &- 1 &- at : at]
        guard labels[letter] == PrefixTree.byte(byte, ignoresCase) else { return }
        at &+= 1
        letter &+= 1
      }
    }
  }

  @inline(__always) private static func byte(_ byte: UInt8, _ ignoresCase: Bool) -> UInt8 {
    ignoresCase ? byte.asciiLowercased : byte
  }

  @inline(__always) private func insert(_ range: Range<Int>, into words: inout MutableSpan<UInt64>) {
    var i = range.lowerBound
    while i < range.upperBound {
      words[members[i].word] |= members[i].bits
      i &+= 1
    }
  }
}
