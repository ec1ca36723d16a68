// The credentials of the Basic scheme (RFC 7617) in the value of an Authorization field.
// Called by RouteDemands (Proxy), for routes that ask for a password.

/// Where name and password lie in the decoded bytes.
public struct BasicCredentials: Equatable, Sendable {
  public let name: ByteRange
  public let password: ByteRange

  /// What the decoded credentials may have; longer ones are nobody's.
  public static let bytesMax = 768

  private static let scheme = Array("basic".utf8)

  /// Decodes `value` into `bytes`, which has room for `bytesMax`. Nil where it is of another scheme, is not the one text of any
  /// bytes, has no colon, no name, or is longer.
  public init?(parsing value: Span<UInt8>, into bytes: inout MutableSpan<UInt8>) {
    let count = BasicCredentials.scheme.count
    guard value.count > count else { return nil }
    for i in 0..<count where value[i] | 0x20 != BasicCredentials.scheme[i] { return nil }
    var start = count
    // RFC 9110 section 11.4: one space or more between scheme and token.
    while start < value.count, value[start] == 0x20 { start += 1 }
    let token = value.extracting(start..<value.count)
    guard start > count, token.count <= Base64.encodedCount(BasicCredentials.bytesMax, .standard),
      let length = Base64.decode(token, .standard, into: &bytes), length <= BasicCredentials.bytesMax
    else { return nil }
    // RFC 7617 section 2: a name holds no colon; the password may.
    var colon = 0
    while colon < length, bytes[colon] != 0x3a { colon += 1 }
    guard colon > 0, colon < length else { return nil }
    name = ByteRange(0, colon)
    password = ByteRange(colon + 1, length - colon - 1)
  }
}
