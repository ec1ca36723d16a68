// What counts as one client where clients are counted. Whoever has an IPv6 address has at least the /64 around it, and can use
// another address of it for each request (RFC 6177, RFC 7721), so a count by addresses would limit nobody.

extension IPAddress {
  /// The address, and of an IPv6 address the first 64 bits.
  @inlinable public var clientUnit: IPAddress { family == .v4 ? self : IPAddress(v6High: high, v6Low: 0) }

  /// The network around it: an IPv4 address's /24, an IPv6 address's /48, the most that one site is usually given.
  @inlinable public var clientSubnet: IPAddress {
    switch family {
    case .v4: IPAddress(v4: UInt32(truncatingIfNeeded: low) & 0xffff_ff00)
    case .v6: IPAddress(v6High: high & 0xffff_ffff_ffff_0000, v6Low: 0)
    }
  }
}
