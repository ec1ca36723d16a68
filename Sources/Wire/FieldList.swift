// Lists in the values of fields, as far as commas tell: elements that have more of a grammar are read on by whoever looks at them.
// Callers: MediaPreference, Policy's configuration, and Proxy's rule of compression and priorities of HTTP/2.

public enum FieldList {
  /// The next element from `at` on, which moves behind it: what stands between two commas, or an end, without the blanks around it; nil
  /// where none is left. Empty elements are none (RFC 9110 section 5.6.1.2). Quotes are not looked at.
  public static func next(_ value: Span<UInt8>, _ at: inout Int) -> Range<Int>? {
    while at < value.count {
      var (start, end) = (at, at)
      while end < value.count, value[end] != Ascii.comma { end &+= 1 }
      at = end &+ 1
      while start < end, Ascii.isBlank(value[start]) { start &+= 1 }
      while end > start, Ascii.isBlank(value[end &- 1]) { end &-= 1 }
      if start < end { return start..<end }
    }
    return nil
  }

  public static func holds(_ value: Span<UInt8>, where isWanted: (Span<UInt8>) -> Bool) -> Bool {
    var at = 0
    while let element = next(value, &at) { if isWanted(value.extracting(element)) { return true } }
    return false
  }

  /// Whether a list of directives (RFC 9111 section 5.2) has this one, in whatever case; in doubt it has. A directive is `token`,
  /// `token=token` or `token="…"`. Where the name stands as a word of its own in any other text (blanks around `=`, another separator,
  /// quotes that may not be closed), whoever wrote it may have meant it. It is surely another's argument in `other=name` alone.
  public static func mayHaveDirective(_ value: Span<UInt8>, lowercase name: Span<UInt8>) -> Bool {
    holds(value) { element in
      let first = Token.end(element, 0, element.count)
      if first > 0, first < element.count, element[first] == 0x3d,
        element.extracting(droppingFirst: first &+ 1).equalsIgnoringCase(lowercase: name)
      {
        return element.extracting(first: first).equalsIgnoringCase(lowercase: name)
      }
      var at = 0
      while at < element.count {
        let end = Token.end(element, at, element.count)
        if element.extracting(at..<end).equalsIgnoringCase(lowercase: name) { return true }
        at = end &+ 1
      }
      return false
    }
  }
}
