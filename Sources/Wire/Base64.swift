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
    while bytes.count &- at >= 6 {
      let six = bytes.word(at: at, before: min(bytes.count, at &+ 8)).byteSwapped &>> 16
      sink.append(packed: characters(of: six, alphabet), count: 8)
      at &+= 6
    }
    let left = bytes.count &- at
    guard left > 0 else { return }
    var six: UInt64 = 0
    for i in 0..<left { six |= UInt64(bytes[at &+ i]) &<< UInt64(40 &- 8 &* i) }
    append(six, bytes: left, alphabet, to: sink)
  }

  /// Appends the text of the first `count` (1–5) bytes of `six`; the others are zero.
  @inlinable @inline(__always) static func append(
    _ six: UInt64, bytes count: Int, _ alphabet: Alphabet, to sink: some ByteSink
  ) {
    let digits = (count &* 8 &+ 5) / 6
    let text = Word.prefix(characters(of: six, alphabet), digits)
    switch alphabet {
    case .url: sink.append(packed: text, count: digits)
    case .standard:
      let padding = ~Word.prefix(.max, digits) & 0x3d3d_3d3d_3d3d_3d3d
      sink.append(packed: text | padding, count: encodedCount(count, .standard))
    }
  }

  /// Appends the text of the 8 bytes of `word`, the highest first, in the alphabet `url`: 11 characters.
  @inlinable public static func write(_ word: UInt64, to sink: some ByteSink) {
    sink.append(packed: characters(of: word &>> 16, .url), count: 8)
    append((word & 0xffff) &<< 32, bytes: 2, .url, to: sink)
  }

  /// Appends the padded text of 16 bytes, the highest first: 24 characters.
  @inlinable static func write(_ high: UInt64, _ low: UInt64, to sink: some ByteSink) {
    sink.append(packed: characters(of: high &>> 16, .standard), count: 8)
    sink.append(packed: characters(of: (high & 0xffff) &<< 32 | low &>> 32, .standard), count: 8)
    append((low & 0xffff_ffff) &<< 16, bytes: 4, .standard, to: sink)
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
      if digitCount > 0, text[digitCount &- 1] == padding {
        digitCount &-= 1
        if text[digitCount &- 1] == padding { digitCount &-= 1 }
      }
    }
    let tail = digitCount & 3
    guard tail != 1 else { return nil }
    let count = digitCount >> 2 &* 3 &+ (tail == 0 ? 0 : tail &- 1)
    guard count <= bytes.count else { return nil }

    let table = alphabet == .standard ? standardValues.span : urlValues.span
    precondition(table.count == 256)  // so that no look-up has to ask
    var invalid: UInt64 = 0
    var from = 0
    var to = 0
    while digitCount &- from >= 8 {
      let six = values(of: text.word(at: from), table, &invalid)
      for i in 0..<6 { bytes[to &+ i] = UInt8(truncatingIfNeeded: six &>> UInt64(40 &- 8 &* i)) }
      from &+= 8
      to &+= 6
    }
    let left = digitCount &- from
    if left > 0 {
      let six = values(of: filled(text.word(at: from, before: digitCount), left), table, &invalid)
      // What the last digit says past the last byte, or any fill, is zero.
      guard six &<< UInt64(16 &+ 8 &* (count &- to)) == 0 else { return nil }
      var at: UInt64 = 40
      while to < count {
        bytes[to] = UInt8(truncatingIfNeeded: six &>> at)
        at &-= 8
        to &+= 1
      }
    }
    return invalid == 0 ? count : nil
  }

  /// The 8 bytes, the first one highest, that the 11 characters at `at` stand for in the alphabet `url`; nil when they are
  /// not the one text of any.
  static func word(_ text: Span<UInt8>, at: Int) -> UInt64? {
    let table = urlValues.span
    precondition(table.count == 256)
    var invalid: UInt64 = 0
    let first = values(of: text.word(at: at), table, &invalid)
    let last = values(of: filled(text.word(at: at &+ 8, before: at &+ 11), 3), table, &invalid)
    guard invalid == 0, last & 0xffff_ffff == 0 else { return nil }
    return first &<< 16 | last &>> 32
  }

  /// The 16 bytes, the first one highest, that 24 characters with their padding stand for; nil as above.
  static func words(_ text: Span<UInt8>) -> (UInt64, UInt64)? {
    guard text.count == 24, text[22] == padding, text[23] == padding else { return nil }
    let table = standardValues.span
    precondition(table.count == 256)
    var invalid: UInt64 = 0
    let first = values(of: text.word(at: 0), table, &invalid)
    let second = values(of: text.word(at: 8), table, &invalid)
    let third = values(of: filled(text.word(at: 16), 6), table, &invalid)
    guard invalid == 0, third & 0xffff == 0 else { return nil }
    return (first &<< 16 | second &>> 32, second &<< 32 | third &>> 16)
  }

  /// The text of `bytes` as a string; not for the hot path.
  public static func text(_ bytes: [UInt8], _ alphabet: Alphabet) -> String {
    let text = Text()
    encode(bytes.span, alphabet, to: text)
    return String(decoding: text.bytes, as: UTF8.self)
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

  private final class Text: ByteSink {
    var bytes: [UInt8] = []

    func append(_ byte: UInt8) { bytes.append(byte) }
    func append(_ more: Span<UInt8>) { for i in more.indices { bytes.append(more[i]) } }
    func append(_ literal: StaticString) { bytes += Array("\(literal)".utf8) }
  }

  private static let padding = UInt8(ascii: "=")

  // MARK: Eight characters, six bytes

  /// The characters, the first one lowest, of six bytes, the first one highest of 48 bits. All are converted at once: each
  /// range of the alphabet is its values plus a number, and every byte gets the sum of the steps that it is past. The
  /// additions may carry between bytes on the way; the sums are bytes, so nothing of that is left.
  @inlinable @inline(__always) static func characters(of six: UInt64, _ alphabet: Alphabet) -> UInt64 {
    let by4 = (six &<< 8) & 0x00ff_ffff_0000_0000 | six & 0x00ff_ffff
    let by2 = (by4 &<< 4) & 0x0fff_0000_0fff_0000 | by4 & 0x0000_0fff_0000_0fff
    let values = ((by2 &<< 2) & 0x3f00_3f00_3f00_3f00 | by2 & 0x003f_003f_003f_003f).byteSwapped
    let letters = values &+ 0x4141_4141_4141_4141 &+ past(26, values) &* 6
    let digits = letters &- past(52, values) &* 75
    switch alphabet {
    case .standard: return digits &- past(62, values) &* 15 &+ past(63, values) &* 3
    case .url: return digits &- past(62, values) &* 13 &+ past(63, values) &* 49
    }
  }

  /// 1 in each byte that is at least `bound`; all of them are below 64.
  @inlinable @inline(__always) static func past(_ bound: UInt64, _ values: UInt64) -> UInt64 {
    (values &+ Word.ones &* (0x80 &- bound)) &>> 7 & Word.ones
  }

  /// The six bytes, the first one highest of 48 bits, of eight characters; sets bits of `invalid` when one is none. Here a
  /// table is quicker: there are more ranges than in the other direction, and each byte has to be in one.
  @inline(__always) private static func values(
    of text: UInt64, _ values: Span<UInt8>, _ invalid: inout UInt64
  ) -> UInt64 {
    @inline(__always) func value(_ at: UInt64) -> UInt64 { UInt64(values[Int(text &>> (at &<< 3) & 0xff)]) }
    let (a, b, c, d) = (value(0), value(1), value(2), value(3))
    let (e, f, g, h) = (value(4), value(5), value(6), value(7))
    invalid |= (a | b | c | d | e | f | g | h) & 0xc0
    let upper = (a &<< 18 | b &<< 12) | (c &<< 6 | d)
    let lower = (e &<< 18 | f &<< 12) | (g &<< 6 | h)
    return upper &<< 24 | lower
  }

  /// The first `count` characters, and the digit for 0 in the place of the others.
  @inline(__always) private static func filled(_ text: UInt64, _ count: Int) -> UInt64 {
    Word.prefix(text, count) | ~Word.prefix(.max, count) & 0x4141_4141_4141_4141
  }

  private static let standardValues = values("+/")
  private static let urlValues = values("-_")

  /// 0–63 for each character of an alphabet, 0xff for any other byte. It is an array because a larger value in place would be
  /// copied for every use.
  private static func values(_ last: String) -> [UInt8] {
    var values = [UInt8](repeating: 0xff, count: 256)
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\(last)"
    for (value, digit) in digits.utf8.enumerated() { values[Int(digit)] = UInt8(value) }
    return values
  }
}
