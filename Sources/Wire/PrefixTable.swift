// Longest-prefix match over a fixed set of ranges: trust rules by peer, hops, infrastructure.
//
// The ranges are flattened, once, into disjoint intervals of addresses that cover the whole space, each with the value of
// the longest prefix over it. A lookup is one binary search for the last interval that begins at or before the address: at
// most ⌈log₂(2n + 1)⌉ steps, 18 for 100,000 prefixes, in two flat arrays. A radix trie needs up to 32 dependent steps for IPv6
// and tens of times the memory. Invariant: the first interval begins at address zero, so every search finds one.
// Called per connection and per forwarded hop: a lookup neither allocates nor copies.

/// A map from address ranges to values, read by longest match.
public struct PrefixTable: Sendable {
  private let v4: Intervals<UInt32>
  private let v6: Intervals<UInt128>
  /// How many entries it was made of.
  public let count: Int

  /// Of two entries with the same prefix the first counts. Ranges inside `::ffff:0:0/96` are the IPv4 ones they mean.
  public init(_ entries: [(IPPrefix, UInt32)]) {
    count = entries.count
    var v4: [Intervals<UInt32>.Range] = []
    var v6: [Intervals<UInt128>.Range] = []
    for (order, entry) in entries.enumerated() {
      precondition(entry.1 < Self.none, "the largest value stands for no value")
      let prefix = entry.0.unmapped
      let length = Int(prefix.length)
      switch prefix.address.family {
      case .v4:
        let first = UInt32(truncatingIfNeeded: prefix.address.low)
        // A shift by the whole width or more gives zero: a host prefix is its own last address, a /0 ends at the last of all.
        v4.append(.init(first: first, last: first | UInt32.max >> UInt32(length), order: order, value: entry.1))
      case .v6:
        let first = prefix.address.bits
        v6.append(.init(first: first, last: first | UInt128.max >> UInt128(length), order: order, value: entry.1))
      }
    }
    self.v4 = Intervals(v4)
    self.v6 = Intervals(v6)
  }

  /// A table of ranges alone.
  public init(_ prefixes: [IPPrefix]) { self.init(prefixes.map { ($0, 0) }) }

  /// The value of the longest prefix that holds `address`; a mapped address is looked up as IPv4.
  public func longestMatch(_ address: IPAddress) -> UInt32? {
    let address = address.unmapped
    let value =
      switch address.family {
      case .v4: v4.value(at: UInt32(truncatingIfNeeded: address.low))
      case .v6: v6.value(at: address.bits)
      }
    return value == Self.none ? nil : value
  }

  public func contains(_ address: IPAddress) -> Bool { longestMatch(address) != nil }

  fileprivate static let none = UInt32.max
}

extension IPAddress {
  fileprivate var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }
}

/// The address space of one family, cut where the value changes.
private struct Intervals<Bits: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
  /// Where each interval begins, ascending; it ends before the next one. Empty when there is no range at all.
  private let starts: [Bits]
  private let values: [UInt32]

  struct Range {
    let first: Bits
    let last: Bits
    let order: Int
    let value: UInt32
  }

  init(_ ranges: [Range]) {
    // Prefixes nest or are disjoint. In order of their first address, the wider first, each one's enclosing ranges are
    // those before it that have not ended: a stack.
    let sorted = ranges.sorted { a, b in
      if a.first != b.first { return a.first < b.first }
      if a.last != b.last { return a.last > b.last }
      return a.order < b.order
    }
    var builder = Builder()
    var open: [Range] = []
    for range in sorted {
      while let innermost = open.last, innermost.last < range.first {
        open.removeLast()
        builder.close(innermost, enclosing: open.last)
      }
      if let innermost = open.last, innermost.first == range.first, innermost.last == range.last { continue }
      builder.cut(at: range.first, value: range.value)
      open.append(range)
    }
    while let innermost = open.popLast() { builder.close(innermost, enclosing: open.last) }
    starts = builder.starts
    values = builder.values
  }

  private struct Builder {
    var starts: [Bits] = []
    var values: [UInt32] = []

    /// From `start` on the value is `value`.
    mutating func cut(at start: Bits, value: UInt32) {
      if starts.isEmpty, start > 0 {
        starts.append(0)
        values.append(PrefixTable.none)
      }
      if starts.last == start {
        values[values.count - 1] = value
      } else {
        starts.append(start)
        values.append(value)
      }
    }

    /// After `range`, what encloses it holds again.
    mutating func close(_ range: Range, enclosing: Range?) {
      let (next, isPastTheEnd) = range.last.addingReportingOverflow(1)
      guard !isPastTheEnd else { return }
      cut(at: next, value: enclosing?.value ?? PrefixTable.none)
    }
  }

  func value(at address: Bits) -> UInt32 {
    guard !starts.isEmpty else { return PrefixTable.none }
    // starts[low] <= address, and address < starts[high] where high is an index at all.
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = low + (high - low) / 2
      if starts[middle] <= address { low = middle } else { high = middle }
    }
    return values[low]
  }
}
