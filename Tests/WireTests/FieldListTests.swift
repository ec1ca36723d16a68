// Lists in the values of fields: where their elements begin and end, and which entity tags one has.

import Testing
import Wire

@Suite struct FieldListTests {
  private func elements(_ text: String) -> [String] {
    let bytes = Array(text.utf8)
    var found: [String] = []
    var at = 0
    while let element = FieldList.next(bytes.span, &at) {
      found.append(String(decoding: bytes[element], as: UTF8.self))
    }
    return found
  }

  @Test(arguments: [
    ("", []), (" ", []), (",", []), (" ,\t, ,", []), ("a", ["a"]), ("a,b", ["a", "b"]), (" a\t,\t b ", ["a", "b"]),
    (",a,,b,", ["a", "b"]), ("a b,c", ["a b", "c"]), ("a=\"b,c\"", ["a=\"b", "c\""]), (",,,a", ["a"]), ("a,", ["a"]),
    ("a , ", ["a"]),
  ])
  func elementsStandBetweenCommas(text: String, expected: [String]) { #expect(elements(text) == expected, "\(text)") }

  @Test func oneOfThemMayBeWanted() {
    let bytes = Array("a, Bc ,d".utf8)
    let holds = ["a", "bc", "d", "b", "", "e"].map { name in
      FieldList.holds(bytes.span) { $0.equalsIgnoringCase(lowercase: name.utf8.span) }
    }
    #expect(holds == [true, true, true, false, false, false])
  }

  @Test(arguments: [
    ("no-transform", true), ("max-age=5,NO-TRANSFORM", true), ("no-transform=1", true), ("no-transform=", true),
    ("no-transforms", false), ("x=no-transform", false), ("no-transfor", false), ("=no-transform", false), ("", false),
  ])
  func aDirectiveIsMeantWithWhateverArgument(text: String, expected: Bool) {
    let bytes = Array(text.utf8)
    let isThere = FieldList.hasDirective(bytes.span, lowercase: "no-transform".utf8.span)
    #expect(isThere == expected, "\(text)")
  }

  /// Of the tag `"a"`.
  @Test(arguments: [
    ("\"a\"", "strong"), ("W/\"a\"", "weak"), ("\"a\",W/\"a\"", "strong weak"), ("\"b\", \"a\"", "strong"),
    (" , W/\"a\" ,", "weak"), ("\"a,\", W/\"a\"", "weak"), ("\"\", \"a\"", "strong"), ("", ""), ("*", ""), ("a", ""),
    ("\"a", ""), ("w/\"a\"", ""), ("W/", ""), ("W", ""), ("W/\"b\"", ""), ("\"aa\"", ""), ("\"A\"", ""),
    ("x \"a\"", ""),
    ("\"b\"\"a\"", ""), ("\"a\"x", ""), ("W/ \"a\"", ""), ("\"a\" \"b\"", "strong"),
  ])
  func aListHasATagInItsForms(list: String, expected: String) {
    let (tag, bytes) = (Array("\"a\"".utf8), Array(list.utf8))
    let forms = EntityTags(of: tag.span, in: bytes.span)
    let found = [forms.hasStrong ? "strong" : nil, forms.hasWeak ? "weak" : nil].compactMap(\.self)
    #expect(found.joined(separator: " ") == expected, "\(list)")
  }
}
