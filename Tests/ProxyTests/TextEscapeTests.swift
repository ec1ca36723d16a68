// Texts in a line of the access log that is no JSON: whatever a peer sends, the line stays one line, a quoted text stays quoted, and
// no column begins that the template does not have. And queries, of which the configuration says how much is shown.

import Platform
import Policy
import Proxy
import TestSupport
import Testing

@Suite struct TextEscapeTests {
  private func written(_ bytes: [UInt8], most: Int = .max, _ escape: TextEscape) -> [UInt8] {
    let buffer = Buffer(capacity: 64 * 1024)
    buffer.append(bytes.span, most: most, escape)
    return buffer.copyBytes()
  }

  private func written(_ target: String, _ query: Config.Log.Query, most: Int = .max) -> String {
    let buffer = Buffer(capacity: 64 * 1024)
    buffer.append(Array(target.utf8).span, most: most, query: query, .quoted)
    return String(decoding: buffer.copyBytes(), as: UTF8.self)
  }

  /// What an escaped text stands for.
  private func decoded(_ text: [UInt8]) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      #expect(rest.popFirst() == UInt8(ascii: "x"))
      let digits = String(decoding: rest.prefix(2), as: UTF8.self)
      bytes.append(try #require(UInt8(digits, radix: 16)))
      rest = rest.dropFirst(2)
    }
    return bytes
  }

  @Test func everyByteCanBeToldAndNoneEndsATextOrALine() throws {
    var separators = LogTemplate.Bytes()
    for byte in " |;".utf8 { separators.insert(byte) }
    for first in UInt8.min...UInt8.max {
      for second: UInt8 in [0x0a, 0x0d, 0x22, 0x5c, 0x20, 0x7c, 0x61, 0x78, 0x80, first] {
        let bytes = [first, second]
        let quoted = written(bytes, .quoted)
        #expect(quoted.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != 0x22 }, "\(bytes)")
        #expect(try decoded(quoted) == bytes)
        let between = written(bytes, .between(separators))
        #expect(between.allSatisfy { $0 > 0x20 && $0 < 0x7f && !separators.contains($0) }, "\(bytes)")
        #expect(try decoded(between) == bytes)
      }
    }
  }

  @Test func aTextIsCut() {
    #expect(written([0x61, 0x62, 0x63], most: 2, .quoted) == [0x61, 0x62])
    #expect(written([0x0a, 0x62], most: 1, .quoted) == Array("\\x0a".utf8))
    #expect(written([], .quoted) == [])
  }

  @Test(arguments: [
    ("/a", "/a", "/a"), ("/a?", "/a?", "/a"), ("/a?b=c", "/a?b=*", "/a"), ("/a?b=c&d=e", "/a?b=*&d=*", "/a"),
    ("/a?secret", "/a?*", "/a"), ("/a?b=&c", "/a?b=*&*", "/a"), ("/a?&&b=c&", "/a?&&b=*&", "/a"),
    ("/a?b=c=d?e=f", "/a?b=*", "/a"), ("http://h/p?q=1", "http://h/p?q=*", "http://h/p"),
  ])
  func aQueryShowsNamesOrNothing(target: String, names: String, none: String) {
    #expect(written(target, .full) == target)
    #expect(written(target, .names) == names)
    #expect(written(target, .none) == none)
  }

  /// The part of a value that remains where a target is cut is a value still.
  @Test func aCutQueryShowsNoValue() {
    let target = "/a?token=0123456789&b=c"
    for most in 0...target.utf8.count {
      let shown = written(target, .names, most: most)
      #expect(!shown.contains { $0.isNumber }, "\(shown)")
      #expect(!shown.contains("token") || most <= 8 || shown.hasPrefix("/a?token=*"), "\(shown)")
    }
  }
}
