// RFC 4648 in both alphabets, over spans. Decoding is strict: one text for one value, so a signature or an identifier
// has no second spelling. Standard is padded (RFC 9651 byte sequences); url is not (RFC 7515 section 2, nonces).

public enum Base64 {
  public enum Alphabet: Sendable {
    /// `A-Z a-z 0-9 + /`, with padding.
    case standard
    /// `A-Z a-z 0-9 - _`, without padding.
    case url
  }

  /// Characters that `count` bytes take.
  @inlinable public static func encodedCount(_ count: Int, _ alphabet: Alphabet) -> Int {
    switch alphabet {
    case .standard: (count + 2) / 3 * 4
    case .url: (count * 8 + 5) / 6
    }
  }

  /// Appends the text of `bytes`.
  @inlinable public static func encode(_ bytes: Span<UInt8>, _ alphabet: Alphabet, to sink: some ByteSink) {
    var at = 0
    while at < bytes.count {
      let n = min(48, bytes.count &- at)
      var text = InlineArray<64, UInt8>(repeating: 0)
      var room = text.mutableSpan
      let written = encodeBlock(bytes.extracting(at..<at &+ n), alphabet, into: &room)
      sink.append(text.span.extracting(0..<written))
      at &+= n
    }
  }

  /// Writes the text of at most 48 bytes and says how long it is.
  @usableFromInline static func encodeBlock(
    _ bytes: Span<UInt8>, _ alphabet: Alphabet, into text: inout MutableSpan<UInt8>
  ) -> Int {
    let digits = alphabet == .standard ? standardDigits.span : urlDigits.span
    var to = 0
    var from = 0
    while from &+ 3 <= bytes.count {
      let three = UInt32(bytes[from]) << 16 | UInt32(bytes[from &+ 1]) << 8 | UInt32(bytes[from &+ 2])
      text[to] = digits[Int(three >> 18)]
      text[to &+ 1] = digits[Int(three >> 12 & 63)]
      text[to &+ 2] = digits[Int(three >> 6 & 63)]
      text[to &+ 3] = digits[Int(three & 63)]
      from &+= 3
      to &+= 4
    }
    let left = bytes.count &- from
    if left > 0 {
      let three = UInt32(bytes[from]) << 16 | (left == 2 ? UInt32(bytes[from &+ 1]) << 8 : 0)
      text[to] = digits[Int(three >> 18)]
      text[to &+ 1] = digits[Int(three >> 12 & 63)]
      to &+= 2
      if left == 2 {
        text[to] = digits[Int(three >> 6 & 63)]
        to &+= 1
      }
      if alphabet == .standard {
        for _ in left..<3 {
          text[to] = UInt8(ascii: "=")
          to &+= 1
        }
      }
    }
    return to
  }

  /// Writes the bytes that `text` stands for and says how many; nil when it is not the one canonical text of any bytes
  /// (a character outside the alphabet, wrong or missing padding, bits set past the last byte: RFC 4648 section 3.5)
  /// or when `bytes` is too small.
  public static func decode(
    _ text: Span<UInt8>, _ alphabet: Alphabet, into bytes: inout MutableSpan<UInt8>
  ) -> Int? {
    var digitCount = text.count
    if alphabet == .standard {
      guard text.count & 3 == 0 else { return nil }
      if digitCount > 0, text[digitCount &- 1] == UInt8(ascii: "=") {
        digitCount &-= 1
        if text[digitCount &- 1] == UInt8(ascii: "=") { digitCount &-= 1 }
      }
    }
    let tail = digitCount & 3
    guard tail != 1 else { return nil }
    let count = digitCount >> 2 &* 3 &+ (tail == 0 ? 0 : tail &- 1)
    guard count <= bytes.count else { return nil }

    let values = alphabet == .standard ? standardValues.span : urlValues.span
    var from = 0
    var to = 0
    // Values are 0–63; 0xff marks what is not a digit, so one test of the collected high bits finds any.
    while from &+ 4 <= digitCount {
      let a = values[Int(text[from])]
      let b = values[Int(text[from &+ 1])]
      let c = values[Int(text[from &+ 2])]
      let d = values[Int(text[from &+ 3])]
      guard (a | b | c | d) < 64 else { return nil }
      bytes[to] = a << 2 | b >> 4
      bytes[to &+ 1] = b << 4 | c >> 2
      bytes[to &+ 2] = c << 6 | d
      from &+= 4
      to &+= 3
    }
    if tail > 0 {
      let a = values[Int(text[from])]
      let b = values[Int(text[from &+ 1])]
      let c = tail == 3 ? values[Int(text[from &+ 2])] : 0
      guard (a | b | c) < 64 else { return nil }
      bytes[to] = a << 2 | b >> 4
      if tail == 3 {
        guard c & 3 == 0 else { return nil }
        bytes[to &+ 1] = b << 4 | c >> 2
      } else {
        guard b & 15 == 0 else { return nil }
      }
    }
    return count
  }

  /// The text of `bytes` as a string; not for the hot path.
  public static func text(_ bytes: [UInt8], _ alphabet: Alphabet) -> String {
    var all: [UInt8] = []
    all.reserveCapacity(encodedCount(bytes.count, alphabet))
    var at = 0
    while at < bytes.count {
      let n = min(48, bytes.count - at)
      var text = InlineArray<64, UInt8>(repeating: 0)
      var room = text.mutableSpan
      let written = encodeBlock(bytes.span.extracting(at..<at + n), alphabet, into: &room)
      for i in 0..<written { all.append(text[i]) }
      at += n
    }
    return String(decoding: all, as: UTF8.self)
  }

  /// The bytes of a canonical text; not for the hot path.
  public static func bytes(_ text: String, _ alphabet: Alphabet) -> [UInt8]? {
    let characters = Array(text.utf8)
    var all = [UInt8](repeating: 0, count: characters.count)
    var room = all.mutableSpan
    guard let count = decode(characters.span, alphabet, into: &room) else { return nil }
    all.removeLast(all.count - count)
    return all
  }

  private static let standardDigits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  private static let urlDigits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
  private static let standardValues = values(of: standardDigits)
  private static let urlValues = values(of: urlDigits)

  private static func values(of digits: [UInt8]) -> [UInt8] {
    var values = [UInt8](repeating: 0xff, count: 256)
    for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
    return values
  }
}
