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
      guard close < end, IPAddress.parse(bytes.extracting(at &+ 1..<close))?.family == .v6 else { return false }
      at = close &+ 1
    } else {
      while at < end, Token.isPlain(bytes[at]) || bytes[at] == 0x2e || bytes[at] == 0x5f { at &+= 1 }
      guard at > range.lower else { return false }
    }
    if at == end { return true }
    guard bytes[at] == Ascii.colon,
      let port = DecimalText.parse(bytes.extracting(at &+ 1..<end), max: 65535)
    else { return false }
    return port > 0
  }
}
