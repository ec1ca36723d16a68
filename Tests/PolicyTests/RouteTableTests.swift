// The table finds what the engine alone would find, asked about every route in the order of the file.

import Platform
import Policy
import TestSupport
import Testing

@Suite struct RouteTableTests {
  /// Routes of patterns.
  private static func table(_ routes: [(host: String?, path: String?)]) throws(Pattern.SyntaxError) -> RouteTable {
    try RouteTable(
      routes.map { route in
        var match = Config.RouteMatch()
        match.host = route.host.map { .pattern($0) }
        match.path = route.path.map { .pattern($0) }
        return match
      })
  }

  private func found(_ routes: [(host: String?, path: String?)], _ host: String, _ path: String) throws
    -> RouteTable.Found
  {
    try Self.table(routes).find(host: Array(host.utf8).span, path: Array(path.utf8).span)
  }

  @Test func theFirstInTheFileWins() throws {
    let routes: [(host: String?, path: String?)] = [
      ("a\\.example", nil), (nil, "/api/v1/printers/.*"), ("B\\.example", "/api/v1/printers/1"), (nil, "/api.*"),
      (nil, nil), ("c\\.example", nil),
    ]
    #expect(try found(routes, "A.Example", "/api/v1/printers/1") == .route(0))
    #expect(try found(routes, "b.example", "/api/v1/printers/1") == .route(1))
    #expect(try found(routes, "b.example", "/api/v1/printers") == .route(3))
    #expect(try found(routes, "a.exampl", "/") == .route(4))
    #expect(try found(routes, "c.example", "/") == .route(4))
    #expect(try found([], "a", "/") == .none)
    #expect(try found([(nil, nil)], "", "") == .route(0))
    #expect(try found([("a", nil), (nil, "/b")], "b", "/a") == .none)
  }

  /// More than one word of the sets, and literals that begin or end inside each other.
  @Test func everyOneOfManyIsFound() throws {
    let routes = (0..<700).map { number -> (host: String?, path: String?) in
      (number % 3 == 0 ? "h\(number % 7)\\.example" : nil, "/p/\(number)" + (number % 2 == 0 ? "" : "/.*"))
    }
    let table = try Self.table(routes)
    for number in 0..<700 {
      let path = "/p/\(number)" + (number % 2 == 0 ? "" : "/x")
      let host = Array("H\(number % 7).EXAMPLE".utf8)
      #expect(table.find(host: host.span, path: Array(path.utf8).span) == .route(number))
      #expect(
        table.find(host: host.span, path: Array((path + "\\").utf8).span) == (number % 2 == 0 ? .none : .route(number)))
      let other: RouteTable.Found = number % 3 == 0 ? .none : .route(number)
      #expect(table.find(host: "h.example".utf8.span, path: Array(path.utf8).span) == other)
    }
  }

  /// A pattern that gives up is not passed over for a later route; one that cannot match by its literal is not asked.
  @Test func whoGivesUpDecides() throws {
    let path = "/" + String(repeating: "a", count: 4_000) + "!b!"
    #expect(try found([(nil, "/(a+)+b"), (nil, nil)], "h", path) == .undecided)
    #expect(try found([(nil, "/b(a+)+b"), (nil, nil)], "h", path) == .route(1))
    #expect(try found([("x", "/(a+)+b"), (nil, nil)], "h", path) == .route(1))
    #expect(try found([(nil, nil), (nil, "/(a+)+b")], "h", path) == .route(0))
  }

  @Test func aPatternThatDoesNotCompileMakesNoTable() {
    #expect(throws: Pattern.SyntaxError.self) { try Self.table([(nil, "/a"), (nil, "/(b")]) }
  }

  // MARK: Against the engine alone

  /// Pieces that patterns are made of. What matters is what may stand beside what.
  private static let pieces = [
    "a", "b", "A", "B", "ab", "/", "/a", "/ab", "/b/", "\\.", "\\/", "\\|", "\\*", "\\(", "\\)", "\\[", "\\#", "\\_",
    ".", ".*", ".*", ".+", "a?", "b*", "a+", "b{0}", "a{2}", "b{1,2}", "a{0,1}", "b*+", "a++", "b??", "a{,2}", "*", "+",
    "?", "{0}", "|", "|", "(", ")", "(a|b)", "(?:a|ab)", "(?:b)*", "(?:/a)+", "(?>a|ab)", "(?=a)", "(?!b)", "(?<=a)",
    "(?<!b)", "(?<n>a)", "[ab]", "[^a]", "[|]", "[)]", "[]a]", "[\\]|]", "[[:alpha:]|]", "(?i)", "(?-i)", "(?i:a)",
    "(?x)", "(?s)", "(?^)", " ", "#", "# ", "(?#c)", "(?#(|)", "(?C)", "(?C1)", "\\Q", "\\E", "\\Qa|b\\E", "\\Q\\E",
    "\\E*", "\\Q.*\\E", "\\d", "\\w", "\\K", "\\A", "\\z", "\\Z", "\\b", "\\G", "\\x61", "\\x{62}", "\\141", "\\ca",
    "\\c|", "\\N", "^", "$", "(*ACCEPT)", "(*FAIL)", "(*COMMIT)", "(*MARK:x)", "(?|a|(b))", "(?(?=a)a|b)", "(?R)?",
    "(a)\\1", "]", "}", "{", "{a", "-", "_",
  ]
  /// What a pattern may begin with before everything else.
  private static let openings = [
    "", "", "", "", "(*UCP)", "(*ANYCRLF)", "(*NO_JIT)", "(*NO_START_OPT)", "(?i)", "(?x)",
  ]

  private struct Sides {
    let host: Pattern?
    let path: Pattern?
  }

  private static func pattern(_ dice: inout Seeded) -> String {
    var text = openings.randomElement(using: &dice)!
    if Bool.random(using: &dice) { text += "/a" }
    for _ in 0..<Int.random(in: 0...5, using: &dice) { text += pieces.randomElement(using: &dice)! }
    return text
  }

  /// Texts near a pattern: its own letters, with some left out, doubled, or in the other case.
  private static func subject(_ dice: inout Seeded, near pattern: String?) -> String {
    let letters = Array("abABx/|.*+?(#_-]} 1")
    var text = ""
    if let pattern, Int.random(in: 0..<4, using: &dice) > 0 {
      var escaped = false
      for letter in pattern where letter.isASCII {
        if letter == "\\", !escaped {
          escaped = true
          continue
        }
        escaped = false
        let isPlain = letter.isLetter || letter == "/" || letter == "_"
        switch Int.random(in: 0..<12, using: &dice) {
        case 0: break
        case 1: text += "\(letter)\(letter)"
        case 2: text += letter.isUppercase ? letter.lowercased() : letter.uppercased()
        default:
          if isPlain || Int.random(in: 0..<3, using: &dice) == 0 { text += "\(letter)" }
        }
      }
    } else {
      text = Bool.random(using: &dice) ? "/a" : ""
      for _ in 0..<Int.random(in: 0...5, using: &dice) { text += "\(letters.randomElement(using: &dice)!)" }
    }
    return text.filter { $0 != "\n" }
  }

  @Test(arguments: 1...8) func itIsTheEngineInOrder(_ seed: UInt64) throws {
    var dice = Seeded(seed)
    var matched = 0
    var undecided = 0
    for _ in 0..<150 {
      var routes: [(host: String?, path: String?)] = []
      var plain: [Sides] = []
      while routes.count < 8 {
        let host = Int.random(in: 0..<3, using: &dice) == 0 ? Self.pattern(&dice) : nil
        let path = Int.random(in: 0..<8, using: &dice) > 0 ? Self.pattern(&dice) : nil
        guard let sides = try? Self.compiled(host, path) else { continue }
        routes.append((host, path))
        plain.append(sides)
      }
      let table = try Self.table(routes)
      for _ in 0..<60 {
        let near = routes.randomElement(using: &dice)!
        let host = Array(Self.subject(&dice, near: near.host).utf8)
        let path = Array(Self.subject(&dice, near: near.path).utf8)
        let expected = Self.allReadings(plain, host, path)
        if expected == .undecided {
          undecided += 1
          continue
        }
        if expected != .none { matched += 1 }
        let found = table.find(host: host.span, path: path.span)
        #expect(
          found == expected,
          "\(routes) for host \(String(decoding: host, as: UTF8.self)) and path \(String(decoding: path, as: UTF8.self))"
        )
      }
    }
    // Otherwise this would say little.
    #expect(matched > 2_000)
    #expect(undecided < 900)
  }

  /// One route at a time, so that none hides another.
  @Test(arguments: 1...4) func itIsTheEngineForOneRoute(_ seed: UInt64) throws {
    var dice = Seeded(seed &+ 1_000)
    var matched = 0
    for _ in 0..<1_500 {
      let text = Self.pattern(&dice)
      guard let sides = try? Self.compiled(text, text) else { continue }
      let byHost = try Self.table([(text, nil)])
      let byPath = try Self.table([(nil, text)])
      for _ in 0..<20 {
        let subject = Array(Self.subject(&dice, near: text).utf8)
        let description = "\(text) and \(String(decoding: subject, as: UTF8.self))"
        for (table, sides) in [
          (byHost, Sides(host: sides.host, path: nil)), (byPath, Sides(host: nil, path: sides.path)),
        ] {
          let expected = Self.allReadings([sides], subject, subject)
          guard expected != .undecided else { continue }
          if expected == .route(0) { matched += 1 }
          #expect(table.find(host: subject.span, path: subject.span) == expected, "\(description)")
        }
      }
    }
    #expect(matched > 1_000)
  }

  private static func compiled(_ host: String?, _ path: String?) throws -> Sides {
    Sides(host: try host.map { try Pattern($0, ignoresCase: true) }, path: try path.map { try Pattern($0) })
  }

  /// Each asked in order, of the path as it is, of its normal and of its decoded form, where some route asks for a path at all.
  private static func allReadings(_ routes: [Sides], _ host: [UInt8], _ path: [UInt8]) -> RouteTable.Found {
    // A dot at the end of a name is no part of it.
    var host = host
    while host.count > 1, host.last == 0x2e { host.removeLast() }
    let sent = inOrder(routes, host, path)
    guard routes.contains(where: { $0.path != nil }) else { return sent }
    if NormalPath.write(path.span, into: Buffer(capacity: 4_096)).isUnclear { return .unclear }
    let normal = inOrder(routes, host, Array(NormalPath.of(String(decoding: path, as: UTF8.self)).utf8))
    let form = Buffer(capacity: 4_096)
    NormalPath.write(path.span, resolves: false, into: form)
    let decoded = inOrder(routes, host, form.copyBytes())
    let readings = [sent, normal, decoded]
    if readings.contains(.undecided) { return .undecided }
    func number(_ found: RouteTable.Found) -> Int? {
      if case .route(let number) = found { number } else { nil }
    }
    if sent == normal { return sent == decoded ? sent : .ambiguous(sent: number(sent), normal: number(decoded)) }
    return decoded == sent || decoded == normal ? .ambiguous(sent: number(sent), normal: number(normal)) : .unclear
  }

  private static func inOrder(_ routes: [Sides], _ host: [UInt8], _ path: [UInt8]) -> RouteTable.Found {
    for (number, route) in routes.enumerated() {
      let byHost = route.host?.match(host.span) ?? .match
      if byHost == .undecided { return .undecided }
      if byHost == .noMatch { continue }
      let byPath = route.path?.match(path.span) ?? .match
      if byPath == .undecided { return .undecided }
      if byPath == .match { return .route(number) }
    }
    return .none
  }
}

extension RouteTable {
  /// Of routes without answers of their own, at any listener.
  convenience init(_ matches: [Config.RouteMatch]) throws(Pattern.SyntaxError) {
    try self.init(matches.map { Config.Route(match: $0, to: "") }, listeners: [], pathBytesMax: 64 * 1_024)
  }

  func find(host: Span<UInt8>, path: Span<UInt8>) -> Found {
    find(host: host, path: path, Span(), nil, RouteFacts(listener: -1, client: nil, isSecure: false))
  }
}
