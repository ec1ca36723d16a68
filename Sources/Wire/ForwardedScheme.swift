// Which scheme the client used, as a proxy tells it: one element of X-Forwarded-Proto, or `proto` in Forwarded (RFC 7239
// section 5.4). Invariant: a scheme is one of four words in any case, or cannot be read. Called by TrustPolicy and
// ForwardedElements.

public enum ForwardedScheme {
  public enum Element: Equatable, Sendable {
    case secure(Bool)
    /// Empty, or another word.
    case malformed
    /// There is no such element.
    case none
  }

  private static let http = PackedName("http")
  private static let https = PackedName("https")
  // What some proxies write for a WebSocket.
  private static let ws = PackedName("ws")
  private static let wss = PackedName("wss")

  /// Whether the scheme at `range` is one with TLS; nil where it cannot be read.
  static func isSecure(_ bytes: Span<UInt8>, _ range: ByteRange) -> Bool? {
    if bytes.holds(https, at: range) || bytes.holds(wss, at: range) { return true }
    return bytes.holds(http, at: range) || bytes.holds(ws, at: range) ? false : nil
  }

  /// How many elements the comma-separated list at `value` has; an empty one counts.
  public static func count(_ bytes: Span<UInt8>, _ value: ByteRange) -> Int {
    var count = 1
    for at in value.range where bytes[at] == Ascii.comma { count &+= 1 }
    return count
  }

  /// The element of the list at `value` that has `behind` elements to its right.
  public static func element(_ bytes: Span<UInt8>, _ value: ByteRange, behind: Int) -> Element {
    var upper = value.upper
    var left = behind
    var at = upper
    while true {
      while at > value.lower, bytes[at &- 1] != Ascii.comma { at &-= 1 }
      if left == 0 { break }
      guard at > value.lower else { return .none }
      left &-= 1
      at &-= 1
      upper = at
    }
    while at < upper, Ascii.isBlank(bytes[at]) { at &+= 1 }
    while upper > at, Ascii.isBlank(bytes[upper &- 1]) { upper &-= 1 }
    return isSecure(bytes, ByteRange(at, upper &- at)).map(Element.secure) ?? .malformed
  }
}
