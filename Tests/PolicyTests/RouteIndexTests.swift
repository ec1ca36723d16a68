// A route that could match is never passed over.

import Platform
import Policy
import Testing

@Suite struct RouteIndexTests {
  @Test(arguments: [
    ("", "", false), ("/api/.*", "/api/", false), ("/api", "/api", true),
    ("app\\.example\\.com", "app.example.com", true),
    ("/a/b?", "/a/", false), ("/ab*", "/a", false), ("/ab+", "/ab", false), ("/ab{2}", "/a", false),
    ("/a|/b", "", false), ("(/a|/b)/c", "", false), ("/x(a|b)", "", false), ("/a\\|b", "/a|b", true),
    ("/\\d+", "/", false), ("/\\Qa.b\\E", "/", false), ("(?i)/a", "", false), ("^/a", "", false), ("/a$", "/a", false),
    ("/a[bc]", "/a", false), ("/a\\.b.c", "/a.b", false), ("/a\\", "/a", false), ("/a b", "/a", false),
    ("/é", "/", false),
    ("/a\\?b", "/a?b", true), ("/a\\??", "/a", false), ("/a#b", "/a#b", true), (".*", "", false),
  ]) func whatAPatternMustBeginWith(pattern: String, bytes: String, isWhole: Bool) {
    let prefix = LiteralPrefix(of: pattern)
    #expect(String(decoding: prefix.bytes, as: UTF8.self) == bytes)
    #expect(prefix.isWhole == isWhole)
  }

  /// Whatever the engine matches, the index lets through.
  @Test func nothingThatMatchesIsPassedOver() throws {
    let patterns = [
      "/api/.*", "/api/v1/printers/[0-9]+", "/", ".*", "/a|/b", "/api/v1/printers-and-more/x", "/\\w+", "/a?b", "/A.*",
      "(?i)/api/.*", "/api/v1/owners{1,2}/x*", "/\\.well-known/.*", "/api/v1/\\Qa.b\\E.*",
    ]
    let subjects = [
      "/", "/a", "/b", "/ab", "/A", "/Ab", "/api/", "/api/v1/printers/7", "/API/x", "/api/v1/printers-and-more/x",
      "/api/v1/owners/x", "/api/v1/ownerss/", "/.well-known/x", "/api/v1/a.bcd", "", "/\u{e9}", "x",
    ]
    for pattern in patterns {
      let compiled = try Pattern(pattern)
      let insensitive = try Pattern(pattern, ignoresCase: true)
      let asPath = RouteIndex([(host: nil, path: pattern)])
      let asHost = RouteIndex([(host: pattern, path: nil)])
      let nothing = LeadingBytes("".utf8.span, ignoresCase: false)
      for subject in subjects {
        let bytes = Array(subject.utf8)
        if compiled.match(bytes.span) == .match {
          let found = LeadingBytes(bytes.span, ignoresCase: false)
          #expect(asPath.next(from: 0, host: nothing, path: found) == 0, "\(pattern) and \(subject)")
        }
        if insensitive.match(bytes.span) == .match {
          let found = LeadingBytes(bytes.span, ignoresCase: true)
          #expect(asHost.next(from: 0, host: found, path: nothing) == 0, "\(pattern) and \(subject)")
        }
      }
    }
  }

  @Test func routesAreOfferedInTheirOrder() {
    let index = RouteIndex([
      (host: "a\\.example", path: nil), (host: nil, path: "/api/v1/printers/.*"), (host: nil, path: nil),
    ])
    func offered(_ host: String, _ path: String) -> [Int] {
      var found: [Int] = []
      let host = LeadingBytes(host.utf8.span, ignoresCase: true)
      let path = LeadingBytes(path.utf8.span, ignoresCase: false)
      while let next = index.next(from: (found.last ?? -1) + 1, host: host, path: path) { found.append(next) }
      return found
    }
    #expect(offered("A.Example", "/api/v1/printers/1") == [0, 1, 2])
    #expect(offered("b.example", "/api/v1/printers/1") == [1, 2])
    // The first eight bytes are the same; the second eight tell.
    #expect(offered("b.example", "/api/v1/owners/1") == [2])
    #expect(offered("a.exampl", "/") == [2])
  }
}
