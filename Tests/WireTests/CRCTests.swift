import TestSupport
import Testing
import Wire

@Suite struct CRCTests {
  /// RFC 3720 appendix B.4, and the usual check value.
  static let published: [(bytes: [UInt8], value: UInt32)] = [
    ([UInt8]("123456789".utf8), 0xe306_9283),
    ([], 0),
    ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
    ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
    ([UInt8](0..<32), 0x46dd_794e),
    ([UInt8]((0..<32).reversed()), 0x113f_db5c),
  ]

  @Test(arguments: published) func publishedValues(bytes: [UInt8], expected: UInt32) {
    let sum = CRC32C.checksum(bytes.span)
    #expect(sum == expected)
  }

  @Test func everyLengthAndSplitAgreesWithOneBitAtATime() {
    var generator = Seeded(7)
    for length in 0..<70 {
      let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let expected = bitwiseCRC32C(bytes)
      let whole = CRC32C.checksum(bytes.span)
      #expect(whole == expected)
      for split in 0...length {
        var sum = CRC32C()
        sum.update(bytes.span.extracting(0..<split))
        sum.update(bytes.span.extracting(split..<length))
        #expect(sum.value == expected)
      }
    }
  }

  @Test func zeroingARangeIsTheChecksumOfThoseBytesAsZeros() {
    let bytes = [UInt8](1...60)
    for start in 0...56 {
      var zeroed = bytes
      for index in start..<(start + 4) { zeroed[index] = 0 }
      let sum = CRC32C.checksum(bytes.span, zeroing: start..<(start + 4))
      #expect(sum == bitwiseCRC32C(zeroed))
    }
  }
}

/// The definition, without tables: what the tests believe.
func bitwiseCRC32C(_ bytes: [UInt8]) -> UInt32 {
  var remainder: UInt32 = .max
  for byte in bytes {
    remainder ^= UInt32(byte)
    for _ in 0..<8 { remainder = remainder & 1 == 1 ? 0x82f6_3b78 ^ remainder >> 1 : remainder >> 1 }
  }
  return ~remainder
}
