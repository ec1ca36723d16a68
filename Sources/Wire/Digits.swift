// Digits by the word: eight decimal ones, or eight hexadecimal ones, are made or read at once in a register, where a loop
// would wait for each before the next. The first digit is the lowest byte, as it lies in memory.
// Callers: ByteSink, StructuredField, ConnectionID.

public enum Digits {
  @inlinable static var hundredMillion: UInt64 { 100_000_000 }

  /// The eight decimal digits of a number below 100,000,000, with leading zeros.
  @inlinable @inline(__always) static func text(_ value: UInt64) -> UInt64 {
    // Split in halves three times, the quotient into the lower one: by 10,000, by 100, by 10. Each division is a
    // multiplication that is exact for what can come.
    let fours = value / 10_000
    let by4 = fours | (value &- fours &* 10_000) &<< 32
    let twos = (by4 &* 10_486) &>> 20 & 0x0000_007f_0000_007f
    let by2 = twos | (by4 &- twos &* 100) &<< 16
    let ones = (by2 &* 103) &>> 10 & 0x000f_000f_000f_000f
    return (ones | (by2 &- ones &* 10) &<< 8) | 0x3030_3030_3030_3030
  }

  /// How many zeros eight digits begin with; the last one does not count.
  @inlinable @inline(__always) static func leadingZeros(_ digits: UInt64) -> Int {
    (digits & 0x0f0f_0f0f_0f0f_0f0f | 0x0100_0000_0000_0000).trailingZeroBitCount &>> 3
  }

  /// How many of the bytes, from the first on, are decimal digits.
  @inline(__always) static func count(_ word: UInt64) -> Int { Word.firstIndex(Word.notDigit(word)) }

  /// The number that the first `count` (1–8) bytes are the digits of.
  @inline(__always) static func value(_ word: UInt64, count: Int) -> UInt64 {
    // Moved up, so that what is missing are zeros in front.
    let digits = (word & 0x0f0f_0f0f_0f0f_0f0f) &<< UInt64((8 &- count) &<< 3)
    let twos = (digits &* 10 &+ digits &>> 8) & 0x00ff_00ff_00ff_00ff
    let fours = (twos &* 100 &+ twos &>> 16) & 0x0000_ffff_0000_ffff
    return (fours &* 10_000 &+ fours &>> 32) & 0xffff_ffff
  }

  /// The eight lower-case hexadecimal digits of a number of 32 bits.
  @inlinable @inline(__always) public static func hex(_ value: UInt64) -> UInt64 {
    let by2 = value & 0xffff | (value &>> 16) &<< 32
    let by4 = by2 & 0x0000_00ff_0000_00ff | (by2 & 0x0000_ff00_0000_ff00) &<< 8
    let halves = (by4 & 0x000f_000f_000f_000f | (by4 & 0x00f0_00f0_00f0_00f0) &<< 4).byteSwapped
    let letters = (halves &+ 0x0606_0606_0606_0606) &>> 4 & 0x0101_0101_0101_0101
    return halves &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
  }
}
