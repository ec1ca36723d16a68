// The bytes of RFC 9110 section 5.6: which may stand in a token, and how a comma-separated list of tokens is read.
// Short words are compared as packed integers, so that no comparison on the way of a request loops over bytes.
// Callers: the head parsers, FieldNames, BodyDecoder.

enum Ascii {
  static let tab: UInt8 = 0x09
  static let lf: UInt8 = 0x0a
  static let cr: UInt8 = 0x0d
  static let space: UInt8 = 0x20
  static let comma: UInt8 = 0x2c
  static let colon: UInt8 = 0x3a

  @inline(__always) static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  /// The value of a hexadecimal digit, or nil.
  @inline(__always) static func hex(_ byte: UInt8) -> UInt8? {
    let digit = byte &- 0x30
    if digit < 10 { return digit }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  /// SP and HTAB: optional whitespace (RFC 9110 section 5.6.3).
  @inline(__always) static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

  /// What a field value may hold besides HTAB: visible characters, SP and obs-text (RFC 9110 section 5.5).
  @inline(__always) static func isText(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7f }
}

enum Token {
  // One bit for each of the 128 ASCII bytes, in two words.
  private static let alphanumericLow: UInt64 = 0x03ff_0000_0000_0000  // 0-9
  private static let alphanumericHigh: UInt64 = 0x07ff_fffe_07ff_fffe  // A-Z a-z
  private static let tokenLow: UInt64 = 0x03ff_6cfa_0000_0000  // ! # $ % & ' * + - . 0-9
  private static let tokenHigh: UInt64 = 0x57ff_ffff_c7ff_fffe  // A-Z ^ _ ` a-z | ~

  /// Letters, digits and the hyphen: the bytes that nearly every field name keeps to.
  @inline(__always) static func isPlain(_ byte: UInt8) -> Bool {
    guard byte < 0x80 else { return false }
    let word = byte < 0x40 ? alphanumericLow | (1 << 0x2d) : alphanumericHigh
    return word &>> UInt64(byte & 0x3f) & 1 != 0
  }

  /// tchar (RFC 9110 section 5.6.2).
  @inline(__always) static func isTokenByte(_ byte: UInt8) -> Bool {
    guard byte < 0x80 else { return false }
    let word = byte < 0x40 ? tokenLow : tokenHigh
    return word &>> UInt64(byte & 0x3f) & 1 != 0
  }

  /// The first byte from `start` that may not stand in a token, or `end`.
  @inline(__always) static func end(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
    var at = start
    while at < end, isTokenByte(bytes[at]) { at &+= 1 }
    return at
  }

  @inline(__always) static func isAlphanumeric(_ byte: UInt8) -> Bool {
    guard byte < 0x80 else { return false }
    let word = byte < 0x40 ? alphanumericLow : alphanumericHigh
    return word &>> UInt64(byte & 0x3f) & 1 != 0
  }
}

/// Up to 32 bytes of a name, lower-cased and packed into four words, shorter names padded with zeros. Two names of
/// token bytes are equal without regard to case exactly when their packed forms are: a byte gets bit 5 set, and
/// no token byte but a letter's other case becomes a letter, a digit or a hyphen by that.
struct PackedName: Equatable, Sendable {
  static let countMax = 32

  /// The whole name's length, which may be over 32.
  var count = 0
  var word0: UInt64 = 0
  var word1: UInt64 = 0
  var word2: UInt64 = 0
  var word3: UInt64 = 0

  /// Packs the letters, digits and hyphens from `start` on, as many as there are before `end`.
  @inline(__always) init(plainFrom start: Int, to end: Int, _ bytes: Span<UInt8>) {
    while end &- start &- count >= 8 {
      let word = bytes.word(at: start &+ count)
      let found = Word.notPlain(word)
      guard found == 0 else {
        let plain = Word.firstIndex(found)
        put(Word.prefix(word | Word.caseBits, plain))
        count &+= plain
        return
      }
      put(word | Word.caseBits)
      count &+= 8
    }
    while start &+ count < end, Token.isPlain(bytes[start &+ count]) {
      put(UInt64(bytes[start &+ count] | 0x20) &<< (UInt64(count & 7) &<< 3))
      count &+= 1
    }
  }

  /// Packs all of `range`.
  @inline(__always) init(_ bytes: Span<UInt8>, _ range: ByteRange) {
    self.init(bytes, range, folding: false)
  }

  /// With `folding`, every byte that is neither a letter nor a digit becomes a hyphen, the way a backend that turns
  /// names into variables (CGI, WSGI, PHP) makes one of many spellings.
  init(_ bytes: Span<UInt8>, _ range: ByteRange, folding: Bool) {
    for at in range.range {
      var byte = bytes[at]
      if folding, !Token.isAlphanumeric(byte) { byte = 0x2d }
      put(UInt64(byte | 0x20) &<< (UInt64(count & 7) &<< 3))
      count &+= 1
    }
  }

  /// Adds bytes to the word that the next byte belongs to.
  @inline(__always) private mutating func put(_ bits: UInt64) {
    switch count &>> 3 {
    case 0: word0 |= bits
    case 1: word1 |= bits
    case 2: word2 |= bits
    case 3: word3 |= bits
    default: break
    }
  }

  static let websocket = PackedName("websocket")

  /// For tables and constants; `text` is ASCII.
  init(_ text: String) {
    let utf8 = Array(text.utf8)
    self.init(utf8.span, ByteRange(0, utf8.count))
  }
}

extension UInt8 {
  /// The byte; for a capital of ASCII, its small letter.
  @inlinable @inline(__always) public var asciiLowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
}

extension Span where Element == UInt8 {
  /// Whether these bytes are `word`, which has no capitals, without regard to the case of their ASCII letters.
  @inlinable public func equalsIgnoringCase(lowercase word: Span<UInt8>) -> Bool {
    guard count == word.count else { return false }
    for i in word.indices where self[i].asciiLowercased != word[i] { return false }
    return true
  }

  /// Whether `range` holds `name`, without regard to case.
  @inline(__always) func holds(_ name: PackedName, at range: ByteRange) -> Bool {
    range.range.count == name.count && PackedName(self, range) == name
  }

  /// Whether two ranges hold the same bytes, but for the case of ASCII letters.
  func equalsIgnoringCase(_ left: ByteRange, _ right: ByteRange) -> Bool {
    guard left.count == right.count else { return false }
    for offset in 0..<Int(left.count) {
      let a = self[left.lower + offset]
      let b = self[right.lower + offset]
      guard a != b else { continue }
      guard a ^ b == 0x20, (a | 0x20) &- 0x61 < 26 else { return false }
    }
    return true
  }
}

/// Walks `#token` (RFC 9110 section 5.6.1): tokens between commas, with optional whitespace; empty elements are skipped.
struct TokenCursor {
  enum Step: Equatable { case token(ByteRange), end, malformed }

  private var at: Int
  private let end: Int

  init(_ range: ByteRange) {
    at = range.lower
    end = range.upper
  }

  mutating func next(_ bytes: Span<UInt8>) -> Step {
    while at < end, Ascii.isBlank(bytes[at]) || bytes[at] == Ascii.comma { at &+= 1 }
    guard at < end else { return .end }
    let start = at
    while at < end, Token.isTokenByte(bytes[at]) { at &+= 1 }
    let token = ByteRange(start, at &- start)
    while at < end, Ascii.isBlank(bytes[at]) { at &+= 1 }
    guard !token.isEmpty, at == end || bytes[at] == Ascii.comma else { return .malformed }
    return .token(token)
  }
}
