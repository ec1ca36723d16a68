// An address as a value: 128 bits and a family. No text is kept; no two spellings are two addresses.
// IPAddressText.swift reads and writes it; IPPrefix.swift has the ranges.

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address is not IPv4 until `unmapped` is asked for.
public struct IPAddress: Hashable, Sendable {
  public enum Family: UInt8, Sendable { case v4 = 4, v6 = 6 }

  /// The first 64 bits in network order as an integer; zero for IPv4.
  public let high: UInt64
  /// The last 64 bits; for IPv4 the address in the lowest 32.
  public let low: UInt64
  // Last, so that a port behind an address takes no more space in a structure of both.
  public let family: Family

  @inlinable public init(v4: UInt32) {
    family = .v4
    high = 0
    low = UInt64(v4)
  }

  @inlinable public init(v6High: UInt64, v6Low: UInt64) {
    family = .v6
    high = v6High
    low = v6Low
  }

  /// `::ffff:a.b.c.d` as `a.b.c.d` (RFC 4291 section 2.5.5.2); anything else as it is.
  @inlinable public var unmapped: IPAddress {
    guard family == .v6, high == 0, low >> 32 == 0xffff else { return self }
    return IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }
}

// MARK: Classes of address

extension IPAddress {
  /// `0.0.0.0` or `::`.
  @inlinable public var isUnspecified: Bool { high == 0 && low == 0 }

  /// `224.0.0.0/4` (RFC 5771) or `ff00::/8` (RFC 4291 section 2.7).
  @inlinable public var isMulticast: Bool {
    switch family {
    case .v4: low >> 28 == 0xe
    case .v6: high >> 56 == 0xff
    }
  }

  /// The limited broadcast address, `255.255.255.255`.
  @inlinable public var isBroadcast: Bool { family == .v4 && low == 0xffff_ffff }

  /// `127.0.0.0/8` or `::1`.
  @inlinable public var isLoopback: Bool {
    switch family {
    case .v4: low >> 24 == 127
    case .v6: high == 0 && low == 1
    }
  }

  /// `::ffff:0:0/96`: an IPv4 address in IPv6 clothes.
  @inlinable public var isMapped: Bool { family == .v6 && high == 0 && low >> 32 == 0xffff }

  /// Whether a host can have this address as its own and be named by it: never true of the unspecified address,
  /// of a group, of the broadcast address, nor of a mapped one, which has another, shorter name.
  @inlinable public var isPossibleClient: Bool {
    !isUnspecified && !isMulticast && !isBroadcast && !isMapped
  }

  /// The unspecified address of a family.
  @inlinable public static func unspecified(_ family: Family) -> IPAddress {
    family == .v4 ? IPAddress(v4: 0) : IPAddress(v6High: 0, v6Low: 0)
  }

  /// 32 or 128: the bits of an address of this family.
  @inlinable public var width: Int { family == .v4 ? 32 : 128 }
}
