// PROXY headers that name no client: version 2 with the LOCAL command or the family UNSPEC, version 1 with UNKNOWN
// (haproxy doc/proxy-protocol.txt sections 2.1 and 2.2). Load balancers send them for connections of their own, mostly checks.
// Nothing in such a header is believed, so nothing behind its length is looked at.

extension ProxyHeader {
  public enum Unnamed: Equatable, Sendable {
    /// A header of `length` bytes that names nobody. `refusal`: what it is refused as where it is not expected.
    case complete(length: Int, refusal: Refusal)
    /// The bytes so far can still become one.
    case incomplete
    /// They are something else.
    case other
  }

  /// Looks for such a header of at most `limit` bytes at the beginning of `bytes`.
  public static func unnamed(_ bytes: Span<UInt8>, limit: Int = bytesMaxDefault) -> Unnamed {
    guard bytes.count > 0 else { return .incomplete }
    switch bytes[0] {
    case 0x0d: return unnamedV2(bytes, limit: limit)
    case 0x50: return unnamedV1(bytes, limit: min(limit, v1BytesMax))
    default: return .other
    }
  }

  private static func unnamedV2(_ bytes: Span<UInt8>, limit: Int) -> Unnamed {
    for index in 0..<min(bytes.count, 12) where bytes[index] != signature[index] { return .other }
    guard bytes.count > 12 else { return .incomplete }
    let isLocal = bytes[12] == 0x20
    guard isLocal || bytes[12] == 0x21 else { return .other }
    guard bytes.count > 13 else { return .incomplete }
    switch bytes[13] {
    case 0x00: break
    // LOCAL may have any family; its addresses are not read.
    case 0x11, 0x12, 0x21, 0x22, 0x31, 0x32: guard isLocal else { return .other }
    default: return .other
    }
    guard bytes.count > 15 else { return .incomplete }
    let end = v2FixedBytes + (Int(bytes[14]) << 8 | Int(bytes[15]))
    guard end <= limit else { return .other }
    guard bytes.count >= end else { return .incomplete }
    return .complete(length: end, refusal: isLocal ? .proxyLocal : .proxyFamily)
  }

  /// `PROXY UNKNOWN`, anything, CRLF.
  private static func unnamedV1(_ bytes: Span<UInt8>, limit: Int) -> Unnamed {
    let start: InlineArray<13, UInt8> = [
      0x50, 0x52, 0x4f, 0x58, 0x59, 0x20, 0x55, 0x4e, 0x4b, 0x4e, 0x4f, 0x57, 0x4e,
    ]
    for index in 0..<min(bytes.count, 13) where bytes[index] != start[index] { return .other }
    var at = 13
    while at < bytes.count, at < limit - 1 {
      // The word ends with the line, or with a space.
      if at == 13, bytes[at] != 0x0d, bytes[at] != 0x20 { return .other }
      if bytes[at] == 0x0d {
        guard at + 1 < bytes.count else { return .incomplete }
        return bytes[at + 1] == 0x0a ? .complete(length: at + 2, refusal: .proxyFamily) : .other
      }
      guard bytes[at] >= 0x20, bytes[at] < 0x7f else { return .other }
      at += 1
    }
    return at < limit - 1 ? .incomplete : .other
  }
}
