// An address as a value: 128 bits and a family. No text is kept; no two spellings are two addresses.

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address is not IPv4 until `unmapped` is asked for.
package struct IPAddress: Hashable, Sendable {
  package enum Family: UInt8, Sendable { case v4 = 4, v6 = 6 }

  package let family: Family
  /// The first 64 bits in network order as an integer; zero for IPv4.
  package let high: UInt64
  /// The last 64 bits; for IPv4 the address in the lowest 32.
  package let low: UInt64

  @inlinable package init(v4: UInt32) {
    family = .v4
    high = 0
    low = UInt64(v4)
  }

  @inlinable package init(v6High: UInt64, v6Low: UInt64) {
    family = .v6
    high = v6High
    low = v6Low
  }

  /// `::ffff:a.b.c.d` as `a.b.c.d` (RFC 4291 section 2.5.5.2); anything else as it is.
  @inlinable package var unmapped: IPAddress {
    guard family == .v6, high == 0, low >> 32 == 0xffff else { return self }
    return IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }
}

/// A range of addresses that share their first `length` bits; bits past the length are zero.
package struct IPPrefix: Hashable, Sendable {
  package let address: IPAddress
  /// 0–32 for IPv4, 0–128 for IPv6.
  package let length: UInt8

  /// Nil when the length is over the family's or a bit past it is set.
  package init?(_ address: IPAddress, length: Int) {
    let width = address.family == .v4 ? 32 : 128
    guard length >= 0, length <= width else { return nil }
    let ones = width - length
    let lowMask: UInt64 = ones >= 64 ? .max : (1 << UInt64(ones)) &- 1
    let highMask: UInt64 = ones >= 128 ? .max : ones > 64 ? (1 << UInt64(ones - 64)) &- 1 : 0
    guard address.low & lowMask == 0, address.high & highMask == 0 else { return nil }
    self.address = address
    self.length = UInt8(length)
  }
}
