import Testing
import Wire

/// Headers that name no client: what a load balancer sends with connections of its own.
@Suite struct ProxyUnnamedTests {
  private static let v2 = ProxyBytes.hex("0d0a0d0a000d0a515549540a")

  private static func look(_ bytes: [UInt8], limit: Int = ProxyHeader.bytesMaxDefault) -> ProxyHeader.Unnamed {
    ProxyHeader.unnamed(bytes.span, limit: limit)
  }

  static let unnamed: [(bytes: [UInt8], refusal: Refusal)] = [
    (v2 + [0x20, 0x00, 0, 0], .proxyLocal),
    (v2 + [0x20, 0x11, 0, 12] + [UInt8](repeating: 7, count: 12), .proxyLocal),
    (v2 + [0x20, 0x21, 0, 43] + [UInt8](repeating: 0, count: 43), .proxyLocal),
    // Nothing behind the length is believed, so nothing is looked at: here no TLV is whole.
    (v2 + [0x20, 0x31, 0, 2, 0xff, 0xff], .proxyLocal),
    (v2 + [0x21, 0x00, 0, 0], .proxyFamily),
    (v2 + [0x21, 0x00, 0, 3, 4, 0, 0], .proxyFamily),
    (Array("PROXY UNKNOWN\r\n".utf8), .proxyFamily),
    (Array("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".utf8), .proxyFamily),
  ]

  /// Cut anywhere it is incomplete, and what follows it changes nothing.
  @Test(arguments: unnamed.indices)
  func isFoundAtEverySplitPoint(_ index: Int) {
    let (bytes, refusal) = Self.unnamed[index]
    for count in 0..<bytes.count { #expect(Self.look(Array(bytes[..<count])) == .incomplete, "\(count)") }
    #expect(Self.look(bytes) == .complete(length: bytes.count, refusal: refusal))
    #expect(Self.look(bytes + Array("GET / HTTP/1.0\r\n".utf8)) == .complete(length: bytes.count, refusal: refusal))
  }

  @Test(arguments: [
    Array("GET / HTTP/1.1\r\n".utf8), [0x16, 3, 1, 2, 0], Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".utf8),
    Array("PROXY UNKNOWNS\r\n".utf8), Array("PROXY UNKNOWN\n".utf8), Array("PROXY UNKNOWN\rX".utf8),
    Array("PROXY UNKNOWN \u{1}\r\n".utf8), Array("proxy unknown\r\n".utf8),
    v2 + [0x21, 0x11, 0, 12], v2 + [0x21, 0x31, 0, 0], v2 + [0x22, 0x00, 0, 0], v2 + [0x10, 0x00, 0, 0],
    v2 + [0x20, 0x44, 0, 0], v2 + [0x20, 0x00, 4, 0], v2 + [0x20, 0x00, 0xff, 0xff],
  ])
  func anythingElseIsNot(_ bytes: [UInt8]) { #expect(Self.look(bytes) == .other) }

  /// A line of 107 bytes is the longest that there is.
  @Test func theLengthIsBounded() {
    let line = { (count: Int) in Array("PROXY UNKNOWN ".utf8) + [UInt8](repeating: 0x41, count: count - 16) + [13, 10] }
    #expect(Self.look(line(107)) == .complete(length: 107, refusal: .proxyFamily))
    #expect(Self.look(line(108)) == .other)
    #expect(Self.look(Array(line(400)[..<106])) == .other)
  }
}
