// Ranges of addresses: what the configuration writes and what PrefixTable looks up.
// Invariant: bits past the length are zero, so that a range has one value and equality means the same range.

/// A range of addresses that share their first `length` bits; bits past the length are zero.
public struct IPPrefix: Hashable, Sendable {
  public let address: IPAddress
  /// 0–32 for IPv4, 0–128 for IPv6.
  public let length: UInt8

  /// Nil when the length is over the family's or a bit past it is set.
  public init?(_ address: IPAddress, length: Int) {
    let width = address.width
    guard length >= 0, length <= width else { return nil }
    let ones = width - length
    let lowMask: UInt64 = ones >= 64 ? .max : (1 << UInt64(ones)) &- 1
    let highMask: UInt64 = ones >= 128 ? .max : ones > 64 ? (1 << UInt64(ones - 64)) &- 1 : 0
    guard address.low & lowMask == 0, address.high & highMask == 0 else { return nil }
    self.address = address
    self.length = UInt8(length)
  }
}

extension IPPrefix {
  /// The range that holds `address` alone.
  @inlinable public init(host address: IPAddress) {
    self.address = address
    self.length = address.family == .v4 ? 32 : 128
  }

  /// Whether it holds one address only.
  @inlinable public var isHost: Bool { length == (address.family == .v4 ? 32 : 128) }

  /// Whether `other` is in the range. A mapped address is an IPv6 one here; ask for its `unmapped` before.
  @inlinable public func contains(_ other: IPAddress) -> Bool {
    guard other.family == address.family else { return false }
    switch address.family {
    case .v4:
      // Shifting a 32-bit value by 32 gives zero: a /0 holds everything.
      return UInt32(truncatingIfNeeded: other.low ^ address.low) >> (32 - UInt32(length)) == 0
    case .v6:
      if length <= 64 { return (other.high ^ address.high) >> (64 - UInt64(length)) == 0 }
      return other.high == address.high && (other.low ^ address.low) >> (128 - UInt64(length)) == 0
    }
  }

  /// A range inside `::ffff:0:0/96` as the IPv4 range that it means; anything else as it is. Addresses are
  /// unmapped before they are looked up, so a mapped range would match nothing if it were left alone.
  public var unmapped: IPPrefix {
    guard address.isMapped, length >= 96 else { return self }
    return IPPrefix(address.unmapped, length: Int(length) - 96) ?? self
  }
}

// MARK: Text

extension IPPrefix: CustomStringConvertible, LosslessStringConvertible {
  /// `10.0.0.0/8`, `2001:db8::/32`, or a bare address for that address alone. The length has no leading zero, and no
  /// bit past it may be set: `10.0.0.1/8` is nil, because it is not known which of the two was meant.
  public init?(_ text: String) { self.init(parsing: text.utf8.span) }

  /// As `init?(_: String)`.
  public init?(parsing text: Span<UInt8>) {
    var slash = text.count
    for index in text.indices where text[index] == 0x2f {
      slash = index
      break
    }
    guard let address = IPAddress.parse(text.extracting(0..<slash)) else { return nil }
    guard slash < text.count else {
      self.init(host: address)
      return
    }
    guard let length = DecimalText.parse(text.extracting((slash + 1)..<text.count), max: 128) else { return nil }
    self.init(address, length: Int(length))
  }

  /// The address and the length, always both.
  public var description: String { "\(address)/\(length)" }
}
