// Patterns match whole texts or not at all, and give up instead of holding a worker.

import Platform
import Testing

@Suite struct PatternTests {
  private func outcome(_ pattern: String, _ text: String, ignoresCase: Bool = false) throws -> Pattern.Outcome {
    try Pattern(pattern, ignoresCase: ignoresCase).match(Array(text.utf8).span)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let pattern: String
    let text: String
    let matches: Bool
    var testDescription: String { "\(pattern) on \(text)" }
    init(_ pattern: String, _ text: String, _ matches: Bool) {
      self.pattern = pattern
      self.text = text
      self.matches = matches
    }
  }

  @Test(arguments: [
    Case("app\\.example\\.com", "app.example.com", true),
    Case("app\\.example\\.com", "app.example.com.evil.test", false),
    Case("app\\.example\\.com", "evil-app.example.com", false),
    Case("/api/.*", "/api/", true),
    Case("/api/.*", "/api", false),
    Case("/api/.*", "/x/api/y", false),
    // Each branch is anchored, not only the first and the last.
    Case("a|ab", "ab", true),
    Case("a|b", "ab", false),
    Case("a|bc", "xbc", false),
    Case("a|bc", "ax", false),
    Case("(a|ab)(c|bcd)", "abcd", true),
    Case("a*", "aaa", true),
    Case("a*?", "aaa", true),
    Case("a*", "aab", false),
    Case("^a$", "a", true),
    // `$` alone would let a line feed follow.
    Case("a$", "a\n", false),
    Case("a", "a\n", false),
    Case("", "", true),
    Case("", "a", false),
    Case(".*", "", true),
    Case("[^/]+", "ä", true),
    // Bytes, not characters: a two-byte letter is two.
    Case(".", "ä", false),
    Case("..", "ä", true),
    Case("A", "a", false),
  ])
  func theWholeTextMatchesOrNothing(_ one: Case) throws {
    #expect(try outcome(one.pattern, one.text) == (one.matches ? .match : .noMatch))
  }

  @Test func hostsMatchWhateverTheirCase() throws {
    #expect(try outcome("App\\.Example", "aPP.eXAMPLE", ignoresCase: true) == .match)
    #expect(try outcome("App\\.Example", "aPP.eXAMPLE!", ignoresCase: true) == .noMatch)
  }

  @Test func bytesThatAreNotTextAreMatchedAsBytes() throws {
    let pattern = try Pattern("a[\\x80-\\xff]b")
    #expect(pattern.match([0x61, 0xff, 0x62].span) == .match)
    #expect(pattern.match([0x61, 0x00, 0x62].span) == .noMatch)
    #expect(try Pattern("a.b").match([0x61, 0x00, 0x62].span) == .match)
  }

  @Test(arguments: ["(a+)+b", "(a|a)*b", "(a|aa)+b", "(.*)*b", "(?:(?:a*)*)*b", "([a-z]+)*=", "(x+x+)+y"])
  func aPatternThatExplodesIsUndecided(_ pattern: String) throws {
    let compiled = try Pattern(pattern)
    // What the pattern must end with is there, or the library would see at once that nothing can match.
    let letter: UInt8 = pattern.contains("x") ? 0x78 : 0x61
    let text = [UInt8](repeating: letter, count: 4_000) + [0x21, try #require(pattern.utf8.last), 0x21]
    #expect(compiled.match(text.span) == .undecided)
    // And it is as good as new for the next text.
    #expect(compiled.match([0x21].span) == .noMatch)
  }

  /// Every step of these reads what is left of the text, or there are no steps to count: a limit on steps alone let them
  /// hold a worker for 10 to 300 ms.
  @Test(arguments: [
    #"/(.+)\1[0-9]"#, "/(?:a(?=a*+))*+[0-9]", "/(?:/|a(?=.*+))*+[0-9]", "/(?:a(?=a*+))*[0-9]", "/(?:a|.*x)*[0-9]",
    "/(?:a*?x|a)*[0-9]", "/(?:(?=(a+))\\1x|a)*[0-9]", "/(?:[^/]*+/|a|/)*+[0-9]", "/(?:(?!a{9000}b)a)*+[0-9]",
    "/(?:a{9000}b|a{9000}c|a{9000}d|a)*+[0-9]", "/(?:a{9000}b|a{9000}c|a{9000}d|a)*[0-9]",
    "/(?:.*x|.*y|.*z|a)*[0-9]", "/(?:a(?:.*x|))*[0-9]", "(?x)/(?:.*x|a) *[0-9]", #"/(?:.*x|a)\E*[0-9]"#,
    "(*NO_JIT)/(?:a(?=a*+))*[0-9]", "/(?:a(?!.*x))*[0-9]", "/(?:a(?!.*x))*[0-9a]", "/(?:a(?=.*x)?)*[0-9]",
    "/(?:a(*nla:.*x))*[0-9]", "/(?:a(?!a{9000}x))*[0-9]", #"/(?:a(?!\.|.*x))*[0-9]"#,
  ])
  func aPatternWhoseStepsAreLongIsUndecided(_ pattern: String) throws {
    let compiled = try Pattern(pattern)
    let path = Array(("/" + String(repeating: "a", count: 29_999)).utf8)
    #expect(compiled.match(path.span) == .undecided)
    // On paths as they are it is decided.
    #expect(compiled.match("/aaaaaaaaaaaaaaaaaaaaaaaa!".utf8.span) == .noMatch)
    #expect(compiled.match("/!7".utf8.span) == .noMatch)
  }

  /// The code that counts is larger than the library takes; the other serves, and gives up where it would have been asked.
  @Test func aPatternTooLargeToBeCountedServesAsFarAsItsStepsGo() throws {
    let pattern = try Pattern("(?:/[a-z0-9-]+){1,1100}")
    #expect(pattern.match(Array("/a/b-2/c".utf8).span) == .match)
    #expect(pattern.match(Array("/a//c".utf8).span) == .noMatch)
    #expect(pattern.match(Array(String(repeating: "/a", count: 1_101).utf8).span) != .match)
    #expect(throws: Pattern.SyntaxError.self) { try Pattern("(?:/(?!.*x)[a-z0-9-]+|y){1,1100}") }
  }

  /// Without JIT as with it, up to what the interpreter may keep.
  @Test func aLongHarmlessPathIsDecidedWithoutJIT() throws {
    let pattern = try Pattern("(*NO_JIT)(?:/[a-z]+)*")
    #expect(pattern.match(Array(String(repeating: "/a", count: 600).utf8).span) == .match)
  }

  /// Groups of which each calls the one before it twice: a million calls, and not one step.
  @Test func aPatternThatDoublesIsUndecided() throws {
    let groups = (1...20).map { "(?<g\($0)>(?&g\($0 - 1))(?&g\($0 - 1)))" }.joined()
    let compiled = try Pattern("/(?(DEFINE)(?<g0>(?=a))\(groups))(?&g20)a")
    #expect(compiled.match("/a".utf8.span) == .undecided)
    #expect(compiled.match("/b".utf8.span) == .noMatch)
  }

  /// What is long and harmless is decided: a group that goes round as often as a path has room for.
  @Test(arguments: [
    "(?:/[a-z0-9-]+)*", "(/[a-z0-9-]+)*", "(?:/([a-z0-9-]+))*", "(?:/[a-z0-9-]*)*", "(?:(?!\\.\\.).)*",
    "(?:(?!\\.\\.).)*+",
    "/.*/[a-z]", "/(?!admin/).*[a-z]", "/(?:[^x]/?)+",
  ])
  func aRepeatedGroupOnALongPathIsDecided(_ pattern: String) throws {
    let compiled = try Pattern(pattern)
    let path = Array(String(repeating: "/a", count: 15_000).utf8)
    #expect(compiled.match(path.span) == .match)
    #expect(compiled.match((path + [0x2e, 0x2e]).span) == (pattern.hasSuffix("?)+") ? .match : .noMatch))
  }

  @Test func patternsOfOneWorkspaceDoNotDisturbEachOther() throws {
    let workspace = PatternWorkspace()
    let hostile = try Pattern("/(?:a(?=a*+))*[0-9]", workspace: workspace)
    let honest = try Pattern("(?:/[a-z0-9-]+)*", workspace: workspace)
    let text = Array(("/" + String(repeating: "a", count: 29_999)).utf8)
    let path = Array(String(repeating: "/a", count: 15_000).utf8)
    for _ in 0..<3 {
      #expect(hostile.match(text.span) == .undecided)
      #expect(honest.match(path.span) == .match)
      #expect(honest.match("/A".utf8.span) == .noMatch)
      #expect(hostile.match("/aa7".utf8.span) == .match)
    }
  }

  @Test func anHonestPatternOnTheLongestPathIsDecided() throws {
    let path = Array(("/api/" + String(repeating: "segment/", count: 4_000)).utf8)
    #expect(try Pattern("/api/.*").match(path.span) == .match)
    #expect(try Pattern("/api/[^?]*/").match(path.span) == .match)
    #expect(try Pattern("/app/.*").match(path.span) == .noMatch)
  }

  @Test(arguments: [("a(b", 3), ("a)b", 1), ("[z", 2), ("*a", 0), ("a\\", 2), ("(?<n>a)(?<n>b)", 12)])
  func anErrorSaysWhere(_ pattern: String, _ offset: Int) throws {
    do {
      _ = try Pattern(pattern)
      Issue.record("compiled: \(pattern)")
    } catch {
      #expect(error.offset == offset)
      #expect(!error.reason.isEmpty)
    }
  }

  /// What would let a pattern leave the rules it is compiled under.
  @Test(arguments: ["(*UTF)a", "(*UCP)(*UTF8)a", "a\\Cb"])
  func whatChangesTheRulesIsRefused(_ pattern: String) {
    #expect(throws: Pattern.SyntaxError.self) { try Pattern(pattern) }
  }

  @Test func aPatternCannotRaiseItsOwnLimit() throws {
    let text = [UInt8](repeating: 0x61, count: 4_000) + Array("!b!".utf8)
    #expect(try Pattern("(*LIMIT_MATCH=4000000000)(a+)+b").match(text.span) == .undecided)
    #expect(try Pattern("(*LIMIT_DEPTH=4000000000)(*NO_JIT)(a+)+b").match(text.span) == .undecided)
  }

  @Test func thereIsALongestPattern() throws {
    #expect(throws: Never.self) { try Pattern(String(repeating: "a", count: Pattern.patternBytesMax)) }
    #expect(throws: Pattern.SyntaxError.self) {
      try Pattern(String(repeating: "a", count: Pattern.patternBytesMax + 1))
    }
  }
}
