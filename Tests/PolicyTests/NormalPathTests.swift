// A path's normal form is what most servers make of it, and two paths that are read alike have one.

import Platform
import Policy
import TestSupport
import Testing
import Wire

@Suite struct NormalPathTests {
  @Test(arguments: [
    ("/", "/"), ("/a/b", "/a/b"), ("/a/b/", "/a/b/"), ("*", "*"),
    // Dot segments and slashes (RFC 3986 section 5.2.4).
    ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/.", "/a/b/"), ("/..", "/"), ("/../../a", "/a"),
    ("//a", "/a"), ("/a//b", "/a/b"), ("/a//../b", "/b"), ("/a/...", "/a/..."), ("/a/..b", "/a/..b"),
    ("/a/b..", "/a/b.."),
    ("/.well-known/x", "/.well-known/x"), ("/a/.", "/a/"), ("/.", "/"),
    // Decoded once.
    ("/%61dmin", "/admin"), ("/a%2Fb", "/a/b"), ("/a%2f%2fb", "/a/b"), ("/x/%2e%2e/a", "/a"), ("/x/.%2E/a", "/a"),
    ("/%2561dmin", "/%2561dmin"), ("/%7Euser", "/~user"),
    // What cannot stand in a path as it is, with capitals.
    ("/a%20b", "/a%20b"), ("/caf%c3%a9", "/caf%C3%A9"), ("/a%3fb", "/a%3Fb"), ("/a%23", "/a%23"), ("/a%5cb", "/a%5Cb"),
    ("/%00", "/%00"), ("/%0a", "/%0A"),
    // No encodings.
    ("/100%", "/100%25"), ("/100%25", "/100%25"), ("/%zz", "/%25zz"), ("/%4", "/%254"),
  ]) func aPathIsReadAsServersReadIt(_ path: String, _ normal: String) {
    #expect(NormalPath.of(path) == normal)
    #expect(NormalPath.of(normal) == normal, "a normal form is its own")
  }

  /// What `..` takes away where servers decode, join slashes and resolve in another order.
  @Test(arguments: [
    ("/./admin//../x", true), ("/./admin/y%2f..%2f..%2fpub", true), ("/a/..%2Fb", true), ("/a/%2e%2e//b", true),
    ("/a%2f/../b", true), ("/a/../b/%2e%2e", true), ("/a/.%2e/b/..", true),
    ("/a/../b", false), ("/a//b", false), ("/a%2Fb", false), ("/a/.//b", false), ("/a/..b//c", false),
    ("/../../a", false),
    ("/a/%2e%2E/b", false), ("/a%5c../b", false),
  ]) func aPathWithoutOneNormalFormSaysSo(_ path: String, _ isUnclear: Bool) {
    let out = Buffer(capacity: 256)
    #expect(NormalPath.write(Array(path.utf8).span, into: out).isUnclear == isUnclear)
  }

  /// As servers read it that decode a path and leave it at that.
  @Test(arguments: [
    ("/%61/../b", "/a/../b"), ("/a//%2e%2e/./b", "/a//.././b"), ("/a%2Fb", "/a/b"), ("/caf%c3%a9/..", "/caf%C3%A9/.."),
    ("/%2561", "/%2561"), ("/..", "/.."),
  ]) func theDecodedFormKeepsWhatCouldBeResolved(_ path: String, _ decoded: String) {
    let out = Buffer(capacity: 256)
    NormalPath.write(Array(path.utf8).span, resolves: false, into: out)
    #expect(String(decoding: out.copyBytes(), as: UTF8.self) == decoded)
  }

  /// What is plain is in normal form: routes are then looked up once.
  @Test(arguments: 1...4) func aPlainPathIsInNormalForm(_ seed: UInt64) {
    var dice = Seeded(seed)
    var plain = 0
    for _ in 0..<5_000 {
      var path = "/"
      for _ in 0..<Int.random(in: 0...20, using: &dice) {
        path += ["a", "b", "/", "/", ".", "..", "%", "%2f", "-", "abcdefg"].randomElement(using: &dice)!
      }
      guard PathText.isPlain(Array(path.utf8).span) else { continue }
      plain += 1
      #expect(NormalPath.of(path) == path)
    }
    #expect(plain > 300)
    for (path, isPlain) in [
      ("/service-0999/state", true), ("/1234567/./", false), ("/123456//", false), ("/a%20", false),
    ] {
      let found = PathText.isPlain(Array(path.utf8).span)
      #expect(found == isPlain, "\(path)")
    }
  }
}
