// Where bytes are written. Wire formats addresses, numbers and headers without knowing what holds them: the
// worker's pooled buffers (Platform) and the tests' arrays are both sinks.

/// A bounded place to append bytes to. What does not fit is left out whole, and the sink remembers that it
/// overflowed: the writer's caller asks once, at the end, and uses nothing of it.
public protocol ByteSink: AnyObject {
  func append(_ byte: UInt8)
  func append(_ bytes: Span<UInt8>)
  func append(_ literal: StaticString)
  /// Appends the first `count` (0–8) bytes of a word, the lowest first. What is formatted in a register goes out with
  /// one store and no call.
  func append(packed word: UInt64, count: Int)
  /// The same with two words, for up to 16 bytes.
  func append(packed word: UInt64, _ second: UInt64, count: Int)
}

extension ByteSink {
  @inlinable public func append(packed word: UInt64, count: Int) { append(packed: word, 0, count: count) }

  @inlinable public func append(packed word: UInt64, _ second: UInt64, count: Int) {
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for i in 0..<8 {
      bytes[i] = UInt8(truncatingIfNeeded: word &>> UInt64(i &<< 3))
      bytes[i &+ 8] = UInt8(truncatingIfNeeded: second &>> UInt64(i &<< 3))
    }
    append(bytes.span.extracting(first: count))
  }

  /// Appends `value` in decimal, without leading zeros: at most 20 bytes.
  @inlinable public func append(decimal value: UInt64) {
    guard value >= Digits.hundredMillion else {
      let digits = Digits.text(value)
      let zeros = Digits.leadingZeros(digits)
      append(packed: digits &>> UInt64(zeros &<< 3), count: 8 &- zeros)
      return
    }
    let (upper, lower) = value.quotientAndRemainder(dividingBy: Digits.hundredMillion)
    guard upper < Digits.hundredMillion else {
      append(longDecimal: value)
      return
    }
    let (first, second) = (Digits.text(upper), Digits.text(lower))
    let zeros = Digits.leadingZeros(first)
    let shift = UInt64(zeros &<< 3)
    append(packed: first &>> shift | second << (64 &- shift), second &>> shift, count: 16 &- zeros)
  }

  /// As above, for 17 digits and more.
  @usableFromInline func append(longDecimal value: UInt64) {
    var digits = InlineArray<20, UInt8>(repeating: 0)
    var at = 20
    var rest = value
    while rest > 0 {
      at -= 1
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
      digits[at] = UInt8(truncatingIfNeeded: digit) &+ 0x30
      rest = quotient
    }
    append(digits.span.extracting(at..<20))
  }

  /// Appends `value` in lower-case hexadecimal, without leading zeros: at most 16 bytes.
  @inlinable public func append(hex value: UInt64) {
    var digits = InlineArray<16, UInt8>(repeating: 0x30)
    var at = 16
    var rest = value
    repeat {
      at -= 1
      let digit = UInt8(truncatingIfNeeded: rest & 15)
      digits[at] = digit < 10 ? digit &+ 0x30 : digit &+ 0x57
      rest >>= 4
    } while rest > 0
    append(digits.span.extracting(at..<16))
  }

  /// Appends ASCII letters in lower case and every other byte as it is.
  @inlinable public func append(lowerCase bytes: Span<UInt8>) {
    var at = 0
    while bytes.count &- at >= 8 {
      append(packed: Word.lowerCase(bytes.word(at: at)), count: 8)
      at &+= 8
    }
    guard at < bytes.count else { return }
    append(packed: Word.lowerCase(bytes.word(at: at, before: bytes.count)), count: bytes.count &- at)
  }
}
