// The value of Host: a name or an address, perhaps with a port (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
// Stricter than the grammar, because the authority is signed and routed by: no percent-encoding, no sub-delims, no
// user information, no empty port. Caller: RequestHead.

enum Authority {
  static let countMax = 255

  /// Whether `range` is a reg-name of letters, digits, `.`, `-` and `_`, an IPv4 address or a bracketed IPv6 address,
  /// with an optional port of 1–65535 without leading zeros.
  static func isValid(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool {
    guard !range.isEmpty, range.range.count <= countMax else { return false }
    var at = range.lower
    let end = range.upper
    if bytes[at] == 0x5b {  // [
      var close = at &+ 1
      while close < end, bytes[close] != 0x5d { close &+= 1 }
      guard close < end, isIPv6(bytes, at &+ 1, close) else { return false }
      at = close &+ 1
    } else {
      while at < end, Token.isPlain(bytes[at]) || bytes[at] == 0x2e || bytes[at] == 0x5f { at &+= 1 }
      guard at > range.lower else { return false }
    }
    if at == end { return true }
    return bytes[at] == Ascii.colon && isPort(bytes, at &+ 1, end)
  }

  private static func isPort(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    guard end &- start >= 1, end &- start <= 5, bytes[start] != 0x30 else { return false }
    var port = 0
    for at in start..<end {
      guard Ascii.isDigit(bytes[at]) else { return false }
      port = port &* 10 &+ Int(bytes[at] &- 0x30)
    }
    return port <= 65535
  }

  /// IPv6address of RFC 3986: eight groups, or fewer around one `::`, the last two perhaps as a dotted quad. No zone.
  private static func isIPv6(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    var groups = 0
    var isCompressed = false
    var at = start
    if end &- at >= 2, bytes[at] == Ascii.colon {
      guard bytes[at &+ 1] == Ascii.colon else { return false }
      isCompressed = true
      at &+= 2
      if at == end { return true }
    }
    while at < end {
      let group = at
      while at < end, at &- group <= 4, Ascii.hex(bytes[at]) != nil { at &+= 1 }
      if at < end, bytes[at] == 0x2e {
        guard isIPv4(bytes, group, end) else { return false }
        groups &+= 2
        at = end
        break
      }
      guard at > group, at &- group <= 4 else { return false }
      groups &+= 1
      guard at < end else { break }
      guard bytes[at] == Ascii.colon else { return false }
      at &+= 1
      guard at < end else { return false }  // a lone colon at the end
      if bytes[at] == Ascii.colon {
        guard !isCompressed else { return false }
        isCompressed = true
        at &+= 1
      }
    }
    return isCompressed ? groups <= 7 : groups == 8
  }

  private static func isIPv4(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    var octets = 0
    var at = start
    while octets < 4 {
      let octet = at
      var value = 0
      while at < end, at &- octet < 3, Ascii.isDigit(bytes[at]) {
        value = value &* 10 &+ Int(bytes[at] &- 0x30)
        at &+= 1
      }
      guard at > octet, value <= 255, at &- octet == 1 || bytes[octet] != 0x30 else { return false }
      octets &+= 1
      guard octets < 4 else { break }
      guard at < end, bytes[at] == 0x2e else { return false }
      at &+= 1
    }
    return at == end
  }
}
