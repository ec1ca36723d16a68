// Eight bytes at a time, in safe Swift: a word is put together from eight bytes behind one bounds check, which the
// compiler turns into one load; the tests below are exact for every byte of the word (no borrow crosses a byte).
// Callers: FieldTable and RequestLine, in the loops that see every byte of a head; StructuredField, Base64; whoever writes
// text that is mostly copied.

extension Span where Element == UInt8 {
  /// The eight bytes from `at`, the first one lowest.
  @inlinable @inline(__always) public func word(at: Int) -> UInt64 {
    let eight = extracting(at..<at &+ 8)
    let low =
      UInt64(eight[0]) | UInt64(eight[1]) << 8 | UInt64(eight[2]) << 16 | UInt64(eight[3]) << 24
    let high =
      UInt64(eight[4]) << 32 | UInt64(eight[5]) << 40 | UInt64(eight[6]) << 48 | UInt64(eight[7]) << 56
    return low | high
  }

  /// The bytes from `at` to `end`, at most eight of them, the first one lowest; what is missing is zero.
  @inlinable @inline(__always) public func word(at: Int, before end: Int) -> UInt64 {
    let missing = 8 &- (end &- at)
    if missing <= 0 { return word(at: at) }
    // Those that stand before them are shifted out again.
    if end >= 8 { return word(at: end &- 8) >> UInt64(truncatingIfNeeded: missing &<< 3) }
    return shortWord(at: at, before: end)
  }

  @usableFromInline func shortWord(at: Int, before end: Int) -> UInt64 {
    var word: UInt64 = 0
    for i in at..<end { word |= UInt64(self[i]) &<< UInt64(truncatingIfNeeded: (i &- at) &<< 3) }
    return word
  }
}

/// Tests on the eight bytes of a word at once. Each answers with bit 7 set in the bytes that it is true of.
public enum Word {
  @inlinable static var bit7: UInt64 { 0x8080_8080_8080_8080 }
  @inlinable static var ones: UInt64 { 0x0101_0101_0101_0101 }
  /// Turns upper-case letters to lower case; see `PackedName` for what it does to other bytes.
  static var caseBits: UInt64 { 0x2020_2020_2020_2020 }

  /// The index of the first byte that a test is true of; 8 for none.
  @inlinable @inline(__always) public static func firstIndex(_ found: UInt64) -> Int {
    found.trailingZeroBitCount &>> 3
  }

  /// `word` with all but its first `count` (0–8) bytes zero.
  @inlinable @inline(__always) static func prefix(_ word: UInt64, _ count: Int) -> UInt64 {
    word & ~(UInt64.max << UInt64(truncatingIfNeeded: count &<< 3))  // a smart shift: by 64 gives 0
  }

  /// Bytes below 0x80 that are at least `bound`; `low` is the word without its bits 7.
  @inlinable @inline(__always) static func atLeast(_ bound: UInt8, _ low: UInt64) -> UInt64 {
    low &+ ones &* UInt64(0x80 &- bound)
  }

  @inlinable @inline(__always) static func differs(from byte: UInt8, _ low: UInt64) -> UInt64 {
    (low ^ ones &* UInt64(byte)) &+ ones &* 0x7f
  }

  /// Bytes that may not stand in a field value, HTAB among them.
  @inline(__always) static func notText(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    return ~word & (~atLeast(0x20, low) | atLeast(0x7f, low)) & bit7
  }

  /// Bytes that are `byte`, which is ASCII.
  @inline(__always) static func equals(_ byte: UInt8, _ word: UInt64) -> UInt64 {
    ~(differs(from: byte, word & ~bit7) | word) & bit7
  }

  /// Bytes that are not decimal digits.
  @inline(__always) static func notDigit(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    return (~(atLeast(0x30, low) & ~atLeast(0x3a, low)) | word) & bit7
  }

  /// Bytes that may not stand in a JSON text as they are, or are not ASCII: controls, quotes and backslashes.
  @inlinable @inline(__always) public static func notJSONText(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    let plain =
      atLeast(0x20, low) & ~atLeast(0x7f, low) & differs(from: 0x22, low) & differs(from: 0x5c, low)
    return (~plain | word) & bit7
  }

  /// The word with its ASCII letters in lower case.
  @inlinable @inline(__always) static func lowerCase(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    let upper = atLeast(0x41, low) & ~atLeast(0x5b, low) & ~word & bit7
    return word | upper &>> 2
  }

  /// Bytes that are neither letters, digits nor hyphens.
  @inline(__always) static func notPlain(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    let lower = low | caseBits
    let letter = atLeast(0x61, lower) & ~atLeast(0x7b, lower)
    let digit = atLeast(0x30, low) & ~atLeast(0x3a, low)
    return (~(letter | digit) & differs(from: 0x2d, low) | word) & bit7
  }

  /// Bytes of a request target that end it, may not stand in it, or have to be looked at: `\` and `?`.
  @inline(__always) static func targetSpecial(_ word: UInt64) -> UInt64 {
    let low = word & ~bit7
    let plain =
      atLeast(0x21, low) & ~atLeast(0x7f, low) & differs(from: 0x23, low) & differs(from: 0x3f, low)
      & differs(from: 0x5c, low)
    return (~plain | word) & bit7
  }
}
