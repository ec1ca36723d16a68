// Heads are kept as offsets into the buffer that they were read into, never as strings.

/// A range of bytes, counted from the first byte of the message that was parsed.
public struct ByteRange: Equatable, Sendable {
  public var start: UInt32
  public var count: UInt32

  @inlinable public init(_ start: Int, _ count: Int) {
    self.start = UInt32(truncatingIfNeeded: start)
    self.count = UInt32(truncatingIfNeeded: count)
  }

  @inlinable public static var empty: ByteRange { ByteRange(0, 0) }
  @inlinable public var isEmpty: Bool { count == 0 }
  @inlinable public var lower: Int { Int(start) }
  @inlinable public var upper: Int { Int(start) + Int(count) }
  @inlinable public var range: Range<Int> { lower..<upper }

  /// Where it ends if nothing at or past `limit` is looked at.
  func end(before limit: Int) -> Int { max(lower, min(upper, limit)) }
}
