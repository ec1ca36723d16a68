// Where bytes are written. Wire formats addresses, numbers and headers without knowing what holds them: the
// worker's pooled buffers (Platform) and the tests' arrays are both sinks.

/// A bounded place to append bytes to. What does not fit is left out whole, and the sink remembers that it
/// overflowed: the writer's caller asks once, at the end, and uses nothing of it.
public protocol ByteSink: AnyObject {
  func append(_ byte: UInt8)
  func append(_ bytes: Span<UInt8>)
  func append(_ literal: StaticString)
}

extension ByteSink {
  /// Appends `value` in decimal, without leading zeros: at most 20 bytes.
  @inlinable public func append(decimal value: UInt64) {
    if value < 10 {
      append(UInt8(truncatingIfNeeded: value) &+ 0x30)
      return
    }
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
}
