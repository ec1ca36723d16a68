// The values within a frame of a handover, written and read: numbers with the most significant byte first, texts and lists with
// their length before them. Sections keep versions apart: each has a tag, and one that a program does not know is passed over
// unless it says that it must be understood.

public struct HandoverWriter {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  public mutating func write(byte: UInt8) { bytes.append(byte) }
  public mutating func write(flag: Bool) { bytes.append(flag ? 1 : 0) }

  public mutating func write(word: UInt64) {
    for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
  }

  public mutating func write(count: Int) {
    precondition(count >= 0 && count <= Int(UInt32.max))
    for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: count >> shift)) }
  }

  public mutating func write(bytes more: [UInt8]) {
    write(count: more.count)
    bytes += more
  }

  public mutating func write(text: String) { write(bytes: Array(text.utf8)) }

  /// A list with its length.
  public mutating func write<T>(list: [T], _ each: (inout HandoverWriter, T) -> Void) {
    write(count: list.count)
    for item in list { each(&self, item) }
  }

  /// `tag` is not 0.
  public mutating func write(section tag: UInt8, mustBeUnderstood: Bool = true, _ body: (inout HandoverWriter) -> Void)
  {
    var inner = HandoverWriter()
    body(&inner)
    write(byte: tag)
    write(flag: mustBeUnderstood)
    write(bytes: inner.bytes)
  }
}

/// Reads what `HandoverWriter` wrote, and nothing else. Confined to the bytes that it was given.
public struct HandoverReader {
  private let bytes: ArraySlice<UInt8>
  private var at: Int

  public init(_ bytes: [UInt8]) { self.init(bytes[...]) }

  private init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  public var isAtEnd: Bool { at == bytes.endIndex }

  private mutating func take(_ count: Int, _ what: String) throws(HandoverFault) -> ArraySlice<UInt8> {
    guard count <= bytes.endIndex - at else { throw .malformed(what) }
    defer { at += count }
    return bytes[at..<at + count]
  }

  public mutating func byte(_ what: String) throws(HandoverFault) -> UInt8 { try take(1, what).first ?? 0 }

  public mutating func flag(_ what: String) throws(HandoverFault) -> Bool {
    let byte = try byte(what)
    guard byte <= 1 else { throw .malformed(what) }
    return byte == 1
  }

  public mutating func word(_ what: String) throws(HandoverFault) -> UInt64 {
    try take(8, what).reduce(0) { $0 << 8 | UInt64($1) }
  }

  public mutating func count(most: Int, _ what: String) throws(HandoverFault) -> Int {
    let count = try take(4, what).reduce(0) { $0 << 8 | Int($1) }
    guard count <= most else { throw .malformed(what) }
    return count
  }

  public mutating func byteList(most: Int, _ what: String) throws(HandoverFault) -> [UInt8] {
    Array(try take(try count(most: most, what), what))
  }

  public mutating func text(most: Int, _ what: String) throws(HandoverFault) -> String {
    guard let text = String(validating: try byteList(most: most, what), as: UTF8.self) else { throw .malformed(what) }
    return text
  }

  public mutating func list<T>(
    most: Int, _ what: String, _ each: (inout HandoverReader) throws(HandoverFault) -> T
  ) throws(HandoverFault) -> [T] {
    let count = try count(most: most, what)
    var list: [T] = []
    // Nothing is reserved by a number that somebody else wrote.
    for _ in 0..<count { list.append(try each(&self)) }
    return list
  }

  /// The next section, or nil at the end.
  public mutating func section(
    _ what: String
  ) throws(HandoverFault) -> (tag: UInt8, mustBeUnderstood: Bool, body: HandoverReader)? {
    if isAtEnd { return nil }
    let tag = try byte(what)
    guard tag != 0 else { throw .malformed(what) }
    let must = try flag(what)
    let count = try count(most: HandoverFrame.bytesMax, what)
    return (tag, must, HandoverReader(try take(count, what)))
  }

  public func end(_ what: String) throws(HandoverFault) { guard isAtEnd else { throw .malformed(what) } }
}
