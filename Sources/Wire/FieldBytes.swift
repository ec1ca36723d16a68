// Names and values of fields as HTTP/2 brings them (RFC 9113 section 8.2.1), judged before they become lines of text: nothing in them may
// end a line or begin another. Which of the other bytes a token and a value may have is judged with the line, as HTTP/1's.

public enum FieldBytes {
  /// `.nameCase` for an upper-case letter, `.nameToken` for an empty name, and for a byte that is a control, a space, a colon or not
  /// ASCII.
  public static func refusal(ofName name: Span<UInt8>) -> Refusal? {
    var at = 0
    while name.count &- at >= 8 {
      let word = name.word(at: at)
      // Lower-case letters, digits and hyphens, as nearly all names have them.
      guard Word.notPlain(word) | (Word.lowerCase(word) ^ word) == 0 else { return slowRefusal(ofName: name) }
      at &+= 8
    }
    while at < name.count {
      guard Token.isPlain(name[at]), name[at] < 0x41 || name[at] > 0x5a else { return slowRefusal(ofName: name) }
      at &+= 1
    }
    return at > 0 ? nil : .nameToken
  }

  /// `.valueInvalid` for CR, LF and NUL, and for whitespace at an end.
  public static func refusal(ofValue value: Span<UInt8>) -> Refusal? {
    guard value.count > 0 else { return nil }
    if Ascii.isBlank(value[0]) || Ascii.isBlank(value[value.count &- 1]) { return .valueInvalid }
    var at = 0
    while value.count &- at >= 8 {
      if Word.notText(value.word(at: at)) != 0 {
        for i in at..<at &+ 8 where endsLine(value[i]) { return .valueInvalid }
      }
      at &+= 8
    }
    while at < value.count {
      if endsLine(value[at]) { return .valueInvalid }
      at &+= 1
    }
    return nil
  }

  private static func slowRefusal(ofName name: Span<UInt8>) -> Refusal? {
    for i in 0..<name.count where name[i] >= 0x41 && name[i] <= 0x5a { return .nameCase }
    for i in 0..<name.count where name[i] <= 0x20 || name[i] == Ascii.colon || name[i] >= 0x7f { return .nameToken }
    return nil
  }

  @inline(__always) private static func endsLine(_ byte: UInt8) -> Bool {
    byte == Ascii.cr || byte == Ascii.lf || byte == 0
  }
}
