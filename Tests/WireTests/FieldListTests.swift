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

  /// RFC 9111 section 5.2 gives a directive as `token [ "=" ( token / quoted-string ) ]`. What is written otherwise counts as meant.
  @Test(arguments: [
    // As the grammar has it: any case, any place in the list, an argument that the directive does not have.
    ("no-transform", true), ("max-age=5,NO-TRANSFORM", true), ("No-Transform , public", true),
    ("no-transform=1", true), ("no-transform=\"\"", true), ("private=\"a, b\", no-transform", true),
    // Empty elements and white space between elements.
    (",no-transform,", true), (" ,\t, no-transform\t,", true), ("\tno-transform ", true),
    // Not as the grammar has it: blanks around the `=`, no argument behind it, another separator, none at all.
    ("no-transform =x", true), ("no-transform = x", true), ("no-transform\t=\tx", true), ("no-transform =", true),
    ("no-transform=", true), ("no-transform= \"x\"", true), ("max-age=5; no-transform", true),
    ("no-transform;q=1", true), ("public no-transform", true), ("no-transform public", true),
    ("max-age=5 no-transform=1", true), ("=no-transform", true), ("x = no-transform", true),
    ("x= no-transform", true), ("x=no-transform;", true), ("x=no-transform y", true), ("x y=no-transform", true),
    ("x==no-transform", true), ("x=no-transform=y", true), ("no-transform\u{a0}", true), ("(no-transform)", true),
    // Quotes, closed or not: where they begin and end is not known of a value that somebody wrote by hand.
    ("\"no-transform\"", true), ("x=\"no-transform\"", true), ("x=\"a, no-transform\"", true),
    ("x=\"a, no-transform", true), ("x=\"\\\", no-transform", true), ("\"no-transform", true),
    // Twice in one element.
    ("x=no-transform no-transform", true), ("no-transforms no-transform", true),
    // Another directive, or its argument.
    ("no-transforms", false), ("xno-transform", false), ("x-no-transform", false), ("no-transform-x", false),
    ("no-transfor", false), ("no-transform_", false), ("no_transform", false), ("no-trans, form", false),
    ("no- transform", false), ("no-transform*", false), ("x=no-transform", false), ("X=No-Transform", false),
    ("x=no-transform , max-age=5", false), ("", false), ("=", false), (",", false), ("public, max-age=5", false),
  ])
  func aDirectiveCountsAsThereInDoubt(text: String, expected: Bool) {
    let bytes = Array(text.utf8)
    let isThere = FieldList.mayHaveDirective(bytes.span, lowercase: "no-transform".utf8.span)
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
