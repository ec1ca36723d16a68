import TestSupport
import Testing
import Wire

@Suite struct ForwardedTests {
  /// Every element of the value, from the right, as far as the walk goes.
  private func elements(_ value: String, _ syntax: ForwardedElements.Syntax) -> String {
    // Inside other bytes, so that a walk past the value's ends would find something.
    let bytes = Array("9.9.9.9,".utf8) + Array(value.utf8) + Array(",8.8.8.8".utf8)
    var walk = ForwardedElements(ByteRange(8, value.utf8.count), syntax: syntax)
    var found: [String] = []
    while true {
      switch walk.previous(bytes.span) {
      case .end: return found.joined(separator: " ")
      case .malformed: found.append("malformed")
      case .node(let node): found.append(node.port == 0 ? "\(node.address)" : "\(node.address)#\(node.port)")
      }
      if found.count > 100 { return "endless" }
    }
  }

  @Test(arguments: [
    ("192.0.2.7", "192.0.2.7"),
    ("2001:db8::7", "2001:db8::7"),
    ("[2001:db8::7]", "2001:db8::7"),
    ("192.0.2.7:51324", "192.0.2.7#51324"),
    ("[2001:db8::7]:51324", "2001:db8::7#51324"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("[::ffff:192.0.2.7]:1", "192.0.2.7#1"),
    ("  192.0.2.7\t", "192.0.2.7"),
    ("1.1.1.1, 2.2.2.2,3.3.3.3", "3.3.3.3 2.2.2.2 1.1.1.1"),
    ("1.1.1.1 ,\t2001:db8::2 , [2001:db8::3]:3", "2001:db8::3#3 2001:db8::2 1.1.1.1"),
    ("0.0.0.0, 255.255.255.255", "255.255.255.255 0.0.0.0"),

    ("", "malformed"),
    (" ", "malformed"),
    (",", "malformed"),
    ("1.1.1.1,", "malformed"),
    (",1.1.1.1", "1.1.1.1 malformed"),
    ("1.1.1.1,,2.2.2.2", "2.2.2.2 malformed"),
    ("1.1.1.1, x, 2.2.2.2", "2.2.2.2 malformed"),
    ("unknown", "malformed"),
    ("_hidden", "malformed"),
    ("localhost", "malformed"),
    ("192.0.2.07", "malformed"),
    ("192.0.2", "malformed"),
    ("192.0.2.7 192.0.2.8", "malformed"),
    ("192.0.2.7;192.0.2.8", "malformed"),
    ("\"192.0.2.7\"", "malformed"),
    ("for=192.0.2.7", "malformed"),
    ("192.0.2.7:", "malformed"),
    ("192.0.2.7:0", "malformed"),
    ("192.0.2.7:080", "malformed"),
    ("192.0.2.7:65536", "malformed"),
    ("192.0.2.7:http", "malformed"),
    ("192.0.2.7:80:81", "malformed"),
    ("[192.0.2.7]", "malformed"),
    ("[192.0.2.7]:80", "malformed"),
    ("[2001:db8::7", "malformed"),
    ("2001:db8::7]", "malformed"),
    ("[2001:db8::7]80", "malformed"),
    ("[2001:db8::7]:", "malformed"),
    ("[2001:db8::7]:65536", "malformed"),
    ("[[2001:db8::7]]", "malformed"),
    ("[]", "malformed"),
    ("[]:80", "malformed"),
    ("fe80::1%eth0", "malformed"),
    ("[fe80::1%25eth0]", "malformed"),
    ("::1.2.3.4:80", "malformed"),
    ("192.0.2.7/32", "malformed"),
    ("192.0.2.7\u{a0}", "malformed"),
  ]) func xForwardedFor(value: String, expected: String) {
    #expect(elements(value, .xForwardedFor) == expected, "\(value)")
  }

  @Test(arguments: [
    // RFC 7239 sections 4 and 7.
    (#"for="_gazonk""#, "malformed"),
    (#"For="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17#4711"),
    ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
    ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17 192.0.2.43"),
    (#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#, "malformed"),
    (#"for=192.0.2.43, for="[2001:db8:cafe::17]""#, "2001:db8:cafe::17 192.0.2.43"),
    (#"for="192.0.2.43:47011""#, "192.0.2.43#47011"),
    (#"for="[2001:db8::1]""#, "2001:db8::1"),
    (#"for="192.0.2.43""#, "192.0.2.43"),
    // HAProxy's order, and what a name in any case and empty pairs may look like.
    (#"proto=https;for="192.0.2.7:51324";by=198.51.100.1;host="app.example.com""#, "192.0.2.7#51324"),
    ("PROTO=https;FOR=192.0.2.7", "192.0.2.7"),
    (";for=192.0.2.7;;", "192.0.2.7"),
    (#"for="[::ffff:192.0.2.7]""#, "192.0.2.7"),

    // Quoted strings hide commas, semicolons and quotes, from the right as from the left.
    (#"for=1.1.1.1;host="a,b", for=2.2.2.2;host="c;for=6.6.6.6""#, "2.2.2.2 1.1.1.1"),
    (#"for=1.1.1.1, for=2.2.2.2;host="x\", for=6.6.6.6""#, "2.2.2.2 1.1.1.1"),
    (#"for=1.1.1.1, for=2.2.2.2;host="x\\""#, "2.2.2.2 1.1.1.1"),
    (#"for=1.1.1.1, for=2.2.2.2;host="x\\\", for=6.6.6.6\\""#, "2.2.2.2 1.1.1.1"),
    (#"for=1.1.1.1, for=2.2.2.2;host="""#, "2.2.2.2 1.1.1.1"),

    // What a client put to the left cannot move where the trusted element begins.
    (#"for="1.1.1.1, for=2.2.2.2"#, "2.2.2.2 malformed"),
    (#"for=1.1.1.1;host="x\, for=2.2.2.2"#, "2.2.2.2 malformed"),
    (#"", for=2.2.2.2;host="y""#, "2.2.2.2 malformed"),
    (#"for=6.6.6.6;x="\", for=2.2.2.2;host="y""#, "2.2.2.2 malformed"),
    (#""""", for=2.2.2.2"#, "2.2.2.2 malformed"),
    (#"garbage,,;=, for=2.2.2.2"#, "2.2.2.2 malformed"),

    ("", "malformed"),
    (";", "malformed"),
    ("for=", "malformed"),
    ("for", "malformed"),
    ("=192.0.2.7", "malformed"),
    ("proto=https", "malformed"),
    ("by=192.0.2.7", "malformed"),
    ("for=unknown", "malformed"),
    ("for=_x", "malformed"),
    (#"for="unknown:80""#, "malformed"),
    (#"for="192.0.2.7:_port""#, "malformed"),
    ("for=192.0.2.7:80", "malformed"),
    ("for=2001:db8::1", "malformed"),
    ("for=[2001:db8::1]", "malformed"),
    (#"for="2001:db8::1""#, "malformed"),
    (#"for="[192.0.2.7]""#, "malformed"),
    (#"for="192.0.2.7"#, "malformed"),
    (#"for=192.0.2.7""#, "malformed"),
    (#"for="192.0.2.7"x"#, "malformed"),
    (#"for="192\.0.2.7""#, "malformed"),
    (#"for=" 192.0.2.7""#, "malformed"),
    (#"for="192.0.2.7\"#, "malformed"),
    ("for = 192.0.2.7", "malformed"),
    ("for=192.0.2.7; proto=http", "malformed"),
    ("for=192.0.2.7 ;proto=http", "malformed"),
    ("for=192.0.2.7;for=192.0.2.8", "malformed"),
    ("for=192.0.2.7;FOR=192.0.2.7", "malformed"),
    ("for=192.0.2.7;proto", "malformed"),
    ("for=192.0.2.7;proto=", "malformed"),
    ("for=192.0.2.7;proto=a b", "malformed"),
    ("192.0.2.7", "malformed"),
    ("xfor=192.0.2.7", "malformed"),
    ("for=192.0.2.7,", "malformed"),
  ]) func forwarded(value: String, expected: String) {
    #expect(elements(value, .forwarded) == expected, "\(value)")
  }

  /// Whatever is to the left of a well-formed element, that element reads the same.
  @Test func nothingToTheLeftChangesAnElement() {
    var generator = Seeded(7239)
    let alphabet = Array(#"",;=\ for192.:[]x"#.utf8)
    let trusted = [
      "for=192.0.2.7", #"for="[2001:db8::7]:9""#, #"host="a\"b,c\\";for=192.0.2.7"#, #"for=192.0.2.7;host="\\\"""#,
    ]
    for round in 0..<4_000 {
      let left = (0..<Int.random(in: 0...24, using: &generator)).map { _ in alphabet.randomElement(using: &generator)! }
      let element = trusted[round % trusted.count]
      let alone = elements(element, .forwarded)
      let found = elements(String(decoding: left, as: UTF8.self) + ", " + element, .forwarded)
      #expect(found.split(separator: " ").first.map(String.init) == alone, "\(String(decoding: left, as: UTF8.self))")
    }
  }
}
