// Who sent the requests of a short time, in a fixed few hundred bytes: how many there were, about how many different clients sent
// them, which of these sent most, and how many came from private addresses. Sketches of several workers, and of several times, add up.
//
// Distinct clients are counted by a bitmap (linear counting: K.-Y. Whang et al., 1990): right to a few in a hundred up to some
// thousand. The most frequent are kept by the algorithm of Misra and Gries (1982): a count is never more than the truth, and less by at
// most a seventeenth of all. Addresses are hashed with a secret, so that nobody can choose ones that collide.

import Wire

package struct ClientSketch: Sendable {
  static let topMax = 16
  private static let bits = 2_048

  private var bitmap = InlineArray<32, UInt64>(repeating: 0)
  private var keys = InlineArray<16, UInt64>(repeating: 0)
  private var counts = InlineArray<16, UInt32>(repeating: 0)
  /// Requests.
  package private(set) var count: UInt32 = 0
  /// Of these, from addresses that are not reachable from the internet.
  package private(set) var privateCount: UInt32 = 0

  package init() {}

  package var isEmpty: Bool { count == 0 }

  /// What stands for an address: an IPv4 address, or the /64 of an IPv6 address, for a client there may have many.
  package static func key(_ address: IPAddress, secret: UInt64) -> UInt64 {
    let address = address.unmapped
    var x = (address.family == .v4 ? address.low | 1 << 40 : address.high) ^ secret
    x = (x ^ x >> 33) &* 0xff51_afd7_ed55_8ccd
    x = (x ^ x >> 33) &* 0xc4ce_b9fe_1a85_ec53
    return (x ^ x >> 33) | 1
  }

  /// One more request.
  package mutating func observe(_ key: UInt64, isPrivate: Bool) {
    guard count < .max else { return }
    count += 1
    if isPrivate { privateCount += 1 }
    let bit = Int(truncatingIfNeeded: key >> 32) & (Self.bits - 1)
    bitmap[bit >> 6] |= 1 << UInt64(bit & 63)
    add(key, 1)
  }

  private mutating func add(_ key: UInt64, _ n: UInt32) {
    var free = -1
    for i in 0..<Self.topMax {
      if keys[i] == key {
        counts[i] &+= n
        return
      }
      if counts[i] == 0, free < 0 { free = i }
    }
    if free >= 0 {
      keys[free] = key
      counts[free] = n
      return
    }
    // Nobody's place is free: everybody gives up as many as the newcomer, or as the least has.
    var least = n
    for i in 0..<Self.topMax { least = min(least, counts[i]) }
    for i in 0..<Self.topMax {
      counts[i] -= least
      if counts[i] == 0 {
        keys[i] = 0
        free = i
      }
    }
    if n > least, free >= 0 {
      keys[free] = key
      counts[free] = n - least
    }
  }

  /// Adds what `other` saw.
  package mutating func merge(_ other: ClientSketch) {
    count = count.addingReportingOverflow(other.count).overflow ? .max : count + other.count
    privateCount =
      privateCount.addingReportingOverflow(other.privateCount).overflow ? .max : privateCount + other.privateCount
    for i in 0..<32 { bitmap[i] |= other.bitmap[i] }
    for i in 0..<Self.topMax where other.counts[i] > 0 { add(other.keys[i], other.counts[i]) }
  }

  /// About how many different clients.
  package var distinct: Double {
    var set = 0
    for i in 0..<32 { set += bitmap[i].nonzeroBitCount }
    let empty = max(1, Self.bits - set)
    return Double(Self.bits) * logarithm(Double(Self.bits) / Double(empty))
  }

  /// How many requests came from others than the `m` most frequent clients, for m from 1 to `others.count`.
  package func countOthers<let levels: Int>(_ others: inout InlineArray<levels, Double>) {
    var sorted = counts
    for i in 1..<Self.topMax {
      var j = i
      while j > 0, sorted[j - 1] < sorted[j] {
        sorted.swapAt(j - 1, j)
        j -= 1
      }
    }
    var rest = Double(count)
    for m in 0..<levels {
      rest -= Double(sorted[m])
      others[m] = max(0, rest)
    }
  }

  /// The natural logarithm of x >= 1, to six places: the standard library has none without Foundation.
  private func logarithm(_ x: Double) -> Double {
    var exponent = 0.0
    var mantissa = x
    while mantissa >= 2 {
      mantissa /= 2
      exponent += 1
    }
    // ln(m) = 2 artanh((m - 1) / (m + 1)), with the ratio at most a third.
    let ratio = (mantissa - 1) / (mantissa + 1)
    let square = ratio * ratio
    var term = ratio
    var sum = 0.0
    for n in 0..<12 {
      sum += term / Double(2 * n + 1)
      term *= square
    }
    return 2 * sum + exponent * 0.693_147_180_559_945_3
  }
}

// MARK: Upgrades

extension ClientSketch {
  package func write(to out: inout HandoverWriter) {
    out.write(flag: !isEmpty)
    guard !isEmpty else { return }
    out.write(count: Int(count))
    out.write(count: Int(privateCount))
    for i in 0..<32 { out.write(word: bitmap[i]) }
    for i in 0..<Self.topMax {
      out.write(word: keys[i])
      out.write(count: Int(counts[i]))
    }
  }

  package init(_ body: inout HandoverReader) throws(HandoverFault) {
    let what = "who sent requests"
    self.init()
    guard try body.flag(what) else { return }
    count = try body.figure32(what)
    privateCount = try body.figure32(what)
    guard count > 0, privateCount <= count else { throw .malformed(what) }
    for i in 0..<32 { bitmap[i] = try body.word(what) }
    for i in 0..<Self.topMax {
      keys[i] = try body.word(what)
      counts[i] = try body.figure32(what)
      guard (keys[i] == 0) == (counts[i] == 0) else { throw .malformed(what) }
    }
  }
}

extension HandoverReader {
  mutating func figure32(_ what: String) throws(HandoverFault) -> UInt32 {
    UInt32(try count(most: Int(UInt32.max), what))
  }
}

extension IPAddress {
  /// In no part of the internet: RFC 1918, shared by a provider's customers (RFC 6598), loopback, link-local, or unique local
  /// (RFC 4193).
  package var isPrivate: Bool {
    let address = unmapped
    guard address.family == .v4 else {
      return address.high >> 57 == 0xfc >> 1 || address.high >> 54 == 0xfe80 >> 6 || address.isLoopback
    }
    let v4 = UInt32(truncatingIfNeeded: address.low)
    return v4 >> 24 == 10 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8 || v4 >> 22 == 0x6440 >> 6 || v4 >> 24 == 127
      || v4 >> 16 == 0xa9fe
  }
}
