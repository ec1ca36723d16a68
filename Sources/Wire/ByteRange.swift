// Heads are kept as offsets into the buffer that they were read into, never as strings.

/// A range of bytes, counted from the first byte of the message that was parsed.
package struct ByteRange: Equatable, Sendable {
  package var start: UInt32
  package var count: UInt32

  @inlinable package init(_ start: Int, _ count: Int) {
    self.start = UInt32(truncatingIfNeeded: start)
    self.count = UInt32(truncatingIfNeeded: count)
  }

  @inlinable package static var empty: ByteRange { ByteRange(0, 0) }
  @inlinable package var isEmpty: Bool { count == 0 }
  @inlinable package var lower: Int { Int(start) }
  @inlinable package var upper: Int { Int(start) + Int(count) }
  @inlinable package var range: Range<Int> { lower..<upper }
}
