// Requests for the self-test are made from patterns: what is proposed is for the engine to judge, and for most patterns it agrees.

import Platform
import Policy
import Testing

@Suite struct PatternExampleTests {
  private func matching(_ pattern: String, first: UInt8? = 0x2f) throws -> [String] {
    let compiled = try Pattern(pattern)
    return PatternExample.proposals(for: pattern, first: first).filter { compiled.match($0.span) == .match }
      .map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(arguments: [
    "/", "/api", "/api/.*", ".*", ".+", "/a?b*c+d", "/x{3}", "/x{0}y", "/x{2,}", "/x{2,4}z", "/x{a}", "/[a-z]+",
    "/[^/]+",
    "/[]a]", "/[^]a]", "/[\\w.-]+", "/[\\]x]", "/[a-]", "/(a|b)/c", "/a|/b", "/(?:a|b)+", "/(?<name>a)b",
    "/(?P<name>a)b",
    "/(?'name'a)b", "/(?>a)b", "/(?|a|b)", "(?i)/ABC", "/(?i:ABC)", "/(?-i)a", "/(?!admin).*", "/(?=a)a", "/x(?<!y)",
    "/\\d+", "/\\D", "/\\w\\W", "/\\S", "/\\x41", "/a\\.b", "/\\Qa.b*\\E.*", "^/a$", "/\\Aa|/b", "/a\\b.*",
    "/(?#a comment)x",
    "/a+?b*+", "/((a|b)(c|d))+", "/(|x)", "/\\N+", "[/]a", "/(((((x)))))", "/\\_x",
  ]) func aTextIsProposedThatThePatternMatches(_ pattern: String) throws {
    let texts = try matching(pattern)
    #expect(texts.contains { $0.hasPrefix("/") }, "\(texts)")
  }

  /// Each branch of a pattern may be taken, for others may stand in front of one.
  @Test func thereAreSeveral() throws {
    #expect(try Set(matching("/(a|b|c)")) == ["/a", "/b", "/c"])
    #expect(try Set(matching("/x/?")) == ["/x/", "/x"])
    #expect(try Set(matching("/[a0]")) == ["/a", "/0"])
    #expect(PatternExample.proposals(for: String(repeating: "(a|b)?", count: 40)).count <= 16)
  }

  /// No text, rather than a wrong one that nobody looked at.
  @Test(arguments: [
    "/(a)\\1", "/(?R)?x", "/a(*FAIL)", "/\\p{L}", "/[[:alpha:]]", "/(?(1)a|b)", "/\\Kx", "/(?C1)", "/(?&n)", "/(",
    "/[a", "/a)", "*/a",
    "/\\", "/\\x4", "/x{65535}", String(repeating: "(", count: 40) + "/" + String(repeating: ")", count: 40),
  ]) func whatCannotBeReadMakesNone(_ pattern: String) {
    #expect(PatternExample.proposals(for: pattern).isEmpty)
  }

  /// Where the pattern leaves no choice, it does not begin with it.
  @Test func theFirstByteIsAWish() throws {
    #expect(try matching("[^/]x") == ["ax", "0x"])
    #expect(try matching("a.*", first: nil).contains("aa"))
  }
}
