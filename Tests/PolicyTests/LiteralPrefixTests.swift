// What a pattern must begin with is never more than what it must begin with.

import Platform
import Policy
import Testing
import Wire

@Suite struct LiteralPrefixTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let pattern: String
    let bytes: String
    let rest: LiteralPrefix.Rest
    var testDescription: String { pattern }
    init(_ pattern: String, _ bytes: String, _ rest: LiteralPrefix.Rest = .pattern) {
      self.pattern = pattern
      self.bytes = bytes
      self.rest = rest
    }
  }

  @Test(arguments: [
    Case("", ""), Case(".*", "", .anything), Case("/api/.*", "/api/", .anything), Case("/api", "/api", .nothing),
    Case("app\\.example\\.com", "app.example.com", .nothing),
    // Quantifiers.
    Case("/a/b?", "/a/"), Case("/ab*", "/a"), Case("/ab+", "/ab"), Case("/ab++", "/ab"), Case("/ab*+", "/a"),
    Case("/ab{2}", "/a"), Case("/ab{0}", "/a"), Case("/ab{,3}", "/a"), Case("/ab{x", "/a"), Case("/a\\??", "/a"),
    Case("/a.*+", "/a"), Case("/a.*?", "/a"), Case("/a.+", "/a"), Case("/a.*b", "/a"), Case("/a\\.*", "/a"),
    Case("/a..*", "/a"), Case("/a.**", "/a"),
    // Alternatives, where they are not in a group.
    Case("/a|/b", ""), Case("/a\\|b", "/a|b", .nothing), Case("/a\\|b|c", ""), Case("(/a|/b)/c", ""),
    Case("/x(a|b)", "/x"), Case("/x(?:a|b)c|d", ""), Case("/x(a|b)|", ""), Case("/x[|]", "/x"), Case("/x[^|]y", "/x"),
    Case("/x[a]|b", ""), Case("/x[]|]", ""), Case("/x[^]|]", ""), Case("/x[[:alpha:]|]", ""), Case("/x[\\]|]", ""),
    Case("/x[(]a|b", ""), Case("/x[)](a|b)", "/x"), Case("/x\\(a|b\\)", ""), Case("/x(a\\)|b)", "/x"),
    Case("/x\\Q(\\E|b", ""), Case("/x(?#()|b", ""), Case("/x(?x) # (\n|b", ""), Case("/x(?|a|b)", ""),
    Case("/x\\c(|b", ""), Case("/x(?=a|b).*", "/x"), Case("/x(?<n>a|b)", "/x"), Case("/x(?(?=a)a|b)", ""),
    // What the engine skips: a quantifier behind it is the byte's before it.
    Case("/ab\\E*", "/a"), Case("/ab\\E", "/a"), Case("/ab\\Q\\E*", "/a"), Case("/ab(?#c)*", "/a"),
    Case("/ab(?C1)*", "/a"), Case("/ab(?i)*", "/a"), Case("/ab(*MARK:x)*", "/a"), Case("/ab(?:c)*", "/ab"),
    // Classes, quotations, options, verbs.
    Case("/\\d+", "/"), Case("/\\Qa.b\\E", ""), Case("/a[bc]", "/a"), Case("/a\\.b.c", "/a.b"), Case("/a\\", "/a"),
    Case("(?i)/a", ""), Case("/a(?i)b", "/"), Case("(?x)/a b", ""), Case("(?x)/a #|b", ""), Case("(*UTF)/a", ""),
    Case("(*UCP)/a", ""), Case("(*ANYCRLF)/a.*", ""), Case("/a(*ACCEPT)b", "/"), Case("^/a", ""), Case("/a$", "/a"),
    Case("/a b", "/a"), Case("/a #b", "/a"), Case("/é", "/"), Case("/a#b", "/a#b", .nothing),
    Case("/a]}", "/a]}", .nothing),
  ]) func whatAPatternMustBeginWith(_ one: Case) {
    let prefix = LiteralPrefix(of: one.pattern)
    #expect(String(decoding: prefix.bytes, as: UTF8.self) == one.bytes)
    #expect(prefix.rest == one.rest)
  }

  /// The engine is not asked where the rest is `.*`, so everything that can come must match that.
  @Test func aHeadHasNoByteThatADotDoesNotMatch() throws {
    let any = try Pattern(".*")
    #expect(any.match([0x61, 0x0a, 0x61].span) == .noMatch)
    var taken = 0
    for byte in UInt8.min...UInt8.max {
      for text in [
        Array("GET /a".utf8) + [byte] + Array("b HTTP/1.1\r\nHost: a\r\n\r\n".utf8),
        Array("GET / HTTP/1.1\r\nHost: a".utf8) + [byte] + Array("b\r\n\r\n".utf8),
      ] {
        let head = RequestHead(fieldsMax: 8)
        let result = head.parse(text.span, limits: HeadLimits(headBytes: 1_024, fields: 8))
        guard case .complete(text.count) = result else { continue }
        taken += 1
        for range in [head.path.range, head.authority.range] {
          let bytes = text.span.extracting(range)
          #expect(any.match(bytes) == .match, "a byte \(byte)")
        }
      }
    }
    #expect(taken > 150)
  }
}
