// Reads cookies of a request (RFC 6265 section 5.4), where they lie.

import Platform
import Wire

enum CookieField {
  private static let name = Array("cookie".utf8)

  /// The value of the first cookie of that name, with its quotes if it has any: a range of the head's bytes.
  static func value(_ bytes: Span<UInt8>, _ head: RequestHead, named cookie: [UInt8]) -> Range<Int>? {
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: name.span) else { continue }
      let start = field.value.range.lowerBound
      guard let value = value(bytes.extracting(field.value.range), named: cookie) else { continue }
      return start + value.lowerBound..<start + value.upperBound
    }
    return nil
  }

  private static func value(_ text: Span<UInt8>, named name: [UInt8]) -> Range<Int>? {
    var at = 0
    while at < text.count {
      while at < text.count, isBlank(text[at]) || text[at] == 0x3b { at += 1 }
      var end = at
      while end < text.count, text[end] != 0x3b { end += 1 }
      let start = at + name.count
      if start < end, text[start] == 0x3d, ByteComparison.isEqual(text.extracting(at..<start), name.span) {
        var last = end
        while last > start + 1, isBlank(text[last - 1]) { last -= 1 }
        return start + 1..<last
      }
      at = end
    }
    return nil
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
