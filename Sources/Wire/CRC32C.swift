// The checksum of the PROXY v2 header's CRC32C TLV: the Castagnoli polynomial (RFC 9260 appendix A), reflected, computed
// eight bytes a step from tables made once. It guards against broken senders, not against attackers.

/// A running CRC-32C.
public struct CRC32C: Sendable {
  private var remainder: UInt32 = .max

  public init() {}

  /// The checksum of everything added so far.
  public var value: UInt32 { ~remainder }

  public mutating func update(_ bytes: Span<UInt8>) {
    let tables = Self.tables
    var rest = remainder
    var at = 0
    while bytes.count - at >= 8 {
      rest ^=
        UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
      rest =
        tables[1792 + Int(rest & 0xff)] ^ tables[1536 + Int(rest >> 8 & 0xff)] ^ tables[1280 + Int(rest >> 16 & 0xff)]
        ^ tables[1024 + Int(rest >> 24)] ^ tables[768 + Int(bytes[at + 4])] ^ tables[512 + Int(bytes[at + 5])]
        ^ tables[256 + Int(bytes[at + 6])] ^ tables[Int(bytes[at + 7])]
      at += 8
    }
    while at < bytes.count {
      rest = tables[Int((rest ^ UInt32(bytes[at])) & 0xff)] ^ rest >> 8
      at += 1
    }
    remainder = rest
  }

  /// Adds `count` zero bytes: the place of the checksum itself.
  public mutating func update(zeros count: Int) {
    let tables = Self.tables
    for _ in 0..<count { remainder = tables[Int(remainder & 0xff)] ^ remainder >> 8 }
  }

  /// The checksum of `bytes` with the bytes of `range` taken as zeros.
  public static func checksum(_ bytes: Span<UInt8>, zeroing range: Range<Int> = 0..<0) -> UInt32 {
    var sum = CRC32C()
    sum.update(bytes.extracting(0..<range.lowerBound))
    sum.update(zeros: range.count)
    sum.update(bytes.extracting(range.upperBound..<bytes.count))
    return sum.value
  }

  /// Eight tables of 256: table `k` advances one byte over `k` bytes that follow it.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 2048)
    for byte in 0..<256 {
      var rest = UInt32(byte)
      for _ in 0..<8 { rest = rest & 1 == 1 ? 0x82f6_3b78 ^ rest >> 1 : rest >> 1 }
      tables[byte] = rest
    }
    for index in 256..<2048 {
      let before = tables[index - 256]
      tables[index] = tables[Int(before & 0xff)] ^ before >> 8
    }
    return tables
  }()
}
