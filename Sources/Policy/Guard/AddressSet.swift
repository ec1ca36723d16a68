// A set of addresses, for telling which peers a change touches: what is in one range and not in another is seldom a range.
// Invariant: in each family the intervals are sorted, and between two of them there is a gap.

import Wire

package struct AddressSet: Sendable, Equatable {
  /// One interval of one family; both ends belong to it.
  struct Interval: Sendable, Equatable {
    var first: UInt128
    var last: UInt128
  }

  private var v4: [Interval] = []
  private var v6: [Interval] = []

  package init() {}

  package init(_ prefixes: [IPPrefix]) {
    for prefix in prefixes.map(\.unmapped) {
      let first = prefix.address.bits
      let last = first | Self.ones(prefix.address.width - Int(prefix.length))
      self[prefix.address.family].append(Interval(first: first, last: last))
    }
    v4 = Self.merged(v4)
    v6 = Self.merged(v6)
  }

  /// Intervals of one family, in any order.
  init(_ intervals: [Interval], _ family: IPAddress.Family) { self[family] = Self.merged(intervals) }

  func intervals(_ family: IPAddress.Family) -> [Interval] { self[family] }

  private subscript(family: IPAddress.Family) -> [Interval] {
    get { family == .v4 ? v4 : v6 }
    set { if family == .v4 { v4 = newValue } else { v6 = newValue } }
  }

  package var isEmpty: Bool { v4.isEmpty && v6.isEmpty }

  package func contains(_ address: IPAddress) -> Bool {
    let address = address.unmapped
    let (intervals, bits) = (self[address.family], address.bits)
    // The first interval that does not end before the address.
    var (low, high) = (0, intervals.count)
    while low < high {
      let middle = low + (high - low) / 2
      if intervals[middle].last < bits { low = middle + 1 } else { high = middle }
    }
    return low < intervals.count && intervals[low].first <= bits
  }

  package func union(_ other: AddressSet) -> AddressSet {
    var all = self
    all.v4 = Self.merged(v4 + other.v4)
    all.v6 = Self.merged(v6 + other.v6)
    return all
  }

  /// What is in this set and not in `other`.
  package func subtracting(_ other: AddressSet) -> AddressSet {
    var rest = AddressSet()
    rest.v4 = Self.difference(v4, other.v4)
    rest.v6 = Self.difference(v6, other.v6)
    return rest
  }

  package func intersection(_ other: AddressSet) -> AddressSet { subtracting(subtracting(other)) }

  /// The fewest ranges that make up this set, IPv4 first.
  package var prefixes: [IPPrefix] {
    [(IPAddress.Family.v4, 32), (.v6, 128)].flatMap { family, width in
      self[family].flatMap { Self.prefixes($0, family, width: width) }
    }
  }

  /// For people: `10.0.0.0/24`, a bare address for one alone, and after the first three how many more.
  package var text: String {
    let prefixes = prefixes
    let shown = prefixes.prefix(3).map(Self.text).joined(separator: ", ")
    return prefixes.count > 3 ? "\(shown) and \(prefixes.count - 3) more" : shown
  }

  /// All of it, for a comparison.
  var whole: String { prefixes.map(\.description).joined(separator: ",") }

  private static func text(_ prefix: IPPrefix) -> String { prefix.isHost ? "\(prefix.address)" : "\(prefix)" }

  // MARK: Intervals

  /// That many ones at the low end; 128 are all.
  private static func ones(_ count: Int) -> UInt128 { count >= 128 ? .max : (1 << UInt128(count)) - 1 }

  private static func merged(_ intervals: [Interval]) -> [Interval] {
    var merged: [Interval] = []
    for interval in intervals.sorted(by: { ($0.first, $0.last) < ($1.first, $1.last) }) {
      if let end = merged.last?.last, end == .max || interval.first <= end + 1 {
        merged[merged.count - 1].last = max(end, interval.last)
      } else {
        merged.append(interval)
      }
    }
    return merged
  }

  private static func difference(_ from: [Interval], _ taken: [Interval]) -> [Interval] {
    var rest: [Interval] = []
    var next = 0
    for interval in from {
      var first = interval.first
      var isOver = false
      while next < taken.count, taken[next].last < first { next += 1 }
      var index = next
      while index < taken.count, taken[index].first <= interval.last {
        if taken[index].first > first { rest.append(Interval(first: first, last: taken[index].first - 1)) }
        guard taken[index].last < interval.last else {
          isOver = true
          break
        }
        first = max(first, taken[index].last + 1)
        index += 1
      }
      if !isOver { rest.append(Interval(first: first, last: interval.last)) }
    }
    return rest
  }

  private static func prefixes(_ interval: Interval, _ family: IPAddress.Family, width: Int) -> [IPPrefix] {
    var prefixes: [IPPrefix] = []
    var first = interval.first
    while true {
      // The widest range that begins here and does not reach beyond the end.
      var free = min(width, first == 0 ? width : first.trailingZeroBitCount)
      while free > 0, first | ones(free) > interval.last { free -= 1 }
      if let prefix = IPPrefix(IPAddress(bits: first, family), length: width - free) { prefixes.append(prefix) }
      let last = first | ones(free)
      guard last < interval.last else { return prefixes }
      first = last + 1
    }
  }
}

extension IPAddress {
  var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

  init(bits: UInt128, _ family: Family) {
    switch family {
    case .v4: self.init(v4: UInt32(truncatingIfNeeded: bits))
    case .v6: self.init(v6High: UInt64(truncatingIfNeeded: bits >> 64), v6Low: UInt64(truncatingIfNeeded: bits))
    }
  }
}
