// What can be said of a path by looking at its bytes once, without writing it anew. Caller: the route table, for each request whose
// routes ask for a path.

public enum PathText {
  /// Whether a path is surely in normal form: without a percent sign, without `//`, and without a segment that begins with a dot. False of
  /// some that are in normal form as well (`/.well-known/`).
  public static func isPlain(_ path: Span<UInt8>) -> Bool {
    // Bit 7 of byte 0: the byte before this word is a slash.
    var carry: UInt64 = 0
    var at = 0
    while at < path.count {
      // Beyond the end there are zeros, which are nothing that is looked for.
      let word = path.word(at: at, before: path.count)
      let slash = Word.equals(0x2f, word)
      let dotOrSlash = slash | Word.equals(0x2e, word)
      if Word.equals(0x25, word) | (slash << 8 | carry) & dotOrSlash != 0 { return false }
      carry = slash >> 56
      at &+= 8
    }
    return true
  }

  /// The value of two hexadecimal digits; nil where they are none.
  public static func escaped(_ high: UInt8, _ low: UInt8) -> UInt8? {
    guard let high = digit(high), let low = digit(low) else { return nil }
    return high << 4 | low
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }
}
