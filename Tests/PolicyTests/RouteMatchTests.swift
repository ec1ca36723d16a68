// What routes ask of requests: names and paths taken literally, methods, fields, the settled client, the listener; and what becomes of a
// path that can be read in two ways.

import Platform
import Policy
import TestSupport
import Testing
import Wire

@Suite struct RouteMatchTests {
  private struct Request {
    var method = "GET"
    var host = "a.example"
    var path = "/"
    var fields: [String] = []
    var listener = 0
    var client: String? = "192.0.2.7"
    var isSecure = false
  }

  /// `routes` are lines of a configuration with the listeners `web` and `inside`.
  private func table(_ routes: [String]) throws -> (RouteTable, Config) {
    let read = ConfigReader.read(
      text: """
        listeners: [{ name: web, listen: "127.0.0.1:8080" }, { name: inside, listen: "127.0.0.1:8081" }]
        upstreams: { app: { servers: ["127.0.0.1:1"] } }
        routes:

        """
          + routes.map { "  - { \($0)\($0.isEmpty ? "" : ", ")\($0.contains("redirect") ? "" : "to: app") }\n" }
          .joined(),
      path: "/c.yaml")
    let config = try #require(read.config, "\(read.diagnostics)")
    return (
      try RouteTable(config.routes, listeners: config.listeners.map(\.name), pathBytesMax: 8_192), config
    )
  }

  private func found(_ table: RouteTable, _ request: Request) throws -> RouteTable.Found {
    let lines = ["\(request.method) \(request.path) HTTP/1.1", "Host: \(request.host)"] + request.fields
    let text = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    let head = RequestHead(fieldsMax: 16)
    guard case .complete = head.parse(text.span, limits: HeadLimits(headBytes: text.count, fields: 16)) else {
      throw NotARequest()
    }
    return table.find(
      text.span, head,
      RouteFacts(
        listener: request.listener, client: request.client.flatMap { IPAddress($0) }, isSecure: request.isSecure))
  }

  private struct NotARequest: Error {}

  private func isTaken(_ route: String, _ request: Request) throws -> Bool {
    let (table, _) = try table([route])
    return try found(table, request) == .route(0)
  }

  @Test(arguments: [
    ("host: a.example", "A.Example", true), ("host: a.example", "a.example:8443", true),
    ("host: A.example", "a.example", true),
    ("host: a.example", "aa.example", false), ("host: a.example", "b.example.", false),
    // With a dot at its end it is the same name.
    ("host: a.example", "a.example.", true), ("host: a.example", "a.example.:80", true),
    ("host: '*.example'", "a.example.", true), ("host_regex: '[ab]\\.example'", "b.example.", true),
    ("host: a.example", "a-example", false),
    ("host: '*.example'", "a.example", true), ("host: '*.example'", "b.A.EXAMPLE:80", true),
    ("host: '*.example'", "example", false),
    ("host: '*.example'", "aexample", false), ("host: 192.0.2.1", "192.0.2.1:80", true),
    ("host: '[2001:db8::1]'", "[2001:db8::1]:80", true),
    ("host_regex: '[ab]\\.example'", "B.example", true), ("host_regex: '[ab]\\.example'", "c.example", false),
  ]) func aHostIsANameOrWhatIsBelowOne(_ route: String, _ host: String, _ isTaken: Bool) throws {
    #expect(try self.isTaken(route, Request(host: host)) == isTaken)
  }

  @Test(arguments: [
    ("path: /a", "/a", true), ("path: /a", "/a?b", true), ("path: /a", "/a/", false), ("path: /a", "/A", false),
    ("path: /a.b", "/axb", false),
    ("path_prefix: /api", "/api", true), ("path_prefix: /api", "/api/", true), ("path_prefix: /api", "/api/x/y", true),
    ("path_prefix: /api", "/apis", false), ("path_prefix: /api", "/ap", false), ("path_prefix: /api/", "/api", false),
    ("path_prefix: /api/", "/api/", true), ("path_prefix: /api/", "/api/x", true),
    ("path_prefix: /", "/anything", true),
    ("path_regex: '/v[0-9]+'", "/v12", true), ("path_regex: '/v[0-9]+'", "/v12/", false),
  ]) func aPathIsTakenLiterally(_ route: String, _ path: String, _ isTaken: Bool) throws {
    #expect(try self.isTaken(route, Request(path: path)) == isTaken)
  }

  @Test func whatElseIsAskedMustHoldToo() throws {
    #expect(try isTaken("method: [PUT, POST]", Request(method: "POST")))
    #expect(try !isTaken("method: [PUT, POST]", Request(method: "GET")))
    #expect(try !isTaken("method: GET", Request(method: "HEAD")))
    #expect(try isTaken("header: { name: X-Canary }", Request(fields: ["x-canary: no"])))
    #expect(try !isTaken("header: { name: X-Canary }", Request(fields: ["x-canaries: 1"])))
    #expect(try isTaken("header: { name: X-Canary, value: '1' }", Request(fields: ["X-Canary: 0", "X-CANARY:  1 "])))
    #expect(try !isTaken("header: { name: X-Canary, value: '1' }", Request(fields: ["X-Canary: 11"])))
    // Meant for the hop before us, so the upstream will not see it.
    #expect(try !isTaken("header: { name: X-Canary }", Request(fields: ["Connection: x-canary", "X-Canary: 1"])))
    let both = "header: [{ name: X-A }, { name: X-B, value: b }]"
    #expect(try isTaken(both, Request(fields: ["X-B: b", "X-A: "])))
    #expect(try !isTaken(both, Request(fields: ["X-B: b"])))
    let client = "client: [192.0.2.0/24, \"2001:db8::/32\"]"
    #expect(try isTaken(client, Request(client: "192.0.2.200")))
    #expect(try isTaken(client, Request(client: "2001:db8::1")))
    #expect(try !isTaken(client, Request(client: "192.0.3.1")))
    #expect(try !isTaken(client, Request(client: nil)))
    #expect(try isTaken("listener: inside", Request(listener: 1)))
    #expect(try !isTaken("listener: inside", Request(listener: 0)))
    #expect(try !isTaken("listener: inside", Request(listener: -1)))
    #expect(try isTaken("listener: [web, inside]", Request(listener: 0)))
  }

  /// What one of many asks is asked of its own requests alone.
  @Test func theFirstWhoseMatchHoldsWins() throws {
    let (table, _) = try table([
      "path_prefix: /admin, client: [10.0.0.0/8]", "path_prefix: /admin, method: GET", "host: '*.example', path: /x",
      "header: { name: X-A }", "",
    ])
    #expect(try found(table, Request(path: "/admin/a", client: "10.1.1.1")) == .route(0))
    #expect(try found(table, Request(path: "/admin/a")) == .route(1))
    #expect(try found(table, Request(method: "PUT", path: "/admin/a")) == .route(4))
    #expect(try found(table, Request(path: "/x", fields: ["X-A: 1"])) == .route(2))
    #expect(try found(table, Request(path: "/y", fields: ["X-A: 1"])) == .route(3))
  }

  /// A redirect without a path stands in front of what it leads to.
  @Test func aRedirectTakesOnlyWhatItChanges() throws {
    let (table, _) = try table([
      "redirect: { scheme: https }", "redirect: { host: www.example }, host: a.example",
      "redirect: { path: /new }, path: /old", "",
    ])
    #expect(try found(table, Request(isSecure: false)) == .route(0))
    #expect(try found(table, Request(isSecure: true)) == .route(1))
    #expect(try found(table, Request(host: "b.example", isSecure: true)) == .route(3))
    #expect(try found(table, Request(host: "b.example", path: "/old", isSecure: true)) == .route(2))
    let (second, _) = try self.table(["redirect: { host: a.example }", ""])
    #expect(try found(second, Request(host: "A.example:8080")) == .route(1))
    #expect(try found(second, Request(host: "b.example")) == .route(0))
    let (third, _) = try self.table(["redirect: { host: 'a.example:8443' }", ""])
    #expect(try found(third, Request(host: "a.example:8443")) == .route(1))
    #expect(try found(third, Request(host: "a.example")) == .route(0))
  }

  // MARK: Two readings of a path

  @Test func aPathThatLeadsToTwoRoutesSaysSo() throws {
    let (table, _) = try table(["path_prefix: /admin", "path_regex: '/[a-z]+/private'", ""])
    for path in ["/%61dmin", "/x/../admin", "//admin", "/x/%2e%2e/admin/y", "/%61dmin%2Fx", "/./admin"] {
      #expect(try found(table, Request(path: path)) == .ambiguous(sent: 2, normal: 0), "\(path)")
    }
    #expect(try found(table, Request(path: "/admin/../x")) == .ambiguous(sent: 0, normal: 2))
    #expect(try found(table, Request(path: "/b//private")) == .ambiguous(sent: 2, normal: 1))
    // Another reading that leads to the same.
    for path in ["/a%20b", "/x//y", "/x/../y", "/caf%c3%a9", "/%2561dmin", "/.well-known/x", "/100%"] {
      #expect(try found(table, Request(path: path)) == .route(2), "\(path)")
    }
    #expect(try found(table, Request(path: "/admin//x")) == .route(0))
    // The way does not depend on the path: nothing is read twice.
    let (hosts, _) = try self.table(["host: a.example", ""])
    #expect(try found(hosts, Request(path: "/x/../y")) == .route(0))
    let (one, _) = try self.table(["path_prefix: /admin"])
    #expect(try found(one, Request(path: "/x/../admin")) == .ambiguous(sent: nil, normal: 0))
    // A third reading is /admin/x.
    for path in ["/./admin//../x", "/./admin/x%2f..%2f..%2fy"] {
      #expect(try found(table, Request(path: path)) == .unclear, "\(path)")
    }
    #expect(try found(hosts, Request(path: "/./admin//../x")) == .route(0))
  }

  /// Flask, Django and Starlette do so: to them this is /admin.
  @Test func aServerMayDecodeAPathWithoutResolvingIt() throws {
    let (table, _) = try table(["path_prefix: /admin", "path_regex: '/x/.+'", "path: /y", ""])
    for path in [
      "/%61dmin/users/bob/../../..", "/admi%6e/a/%2e%2e/%2e%2e", "/%61dmin/../index", "/caf%C3%A9/%2E%2e/../%61dmin",
    ] {
      let found = try found(table, Request(path: path))
      #expect(found == .ambiguous(sent: 3, normal: 0) || found == .unclear, "\(path): \(found)")
    }
    #expect(try found(table, Request(path: "/%78/.")) == .ambiguous(sent: 3, normal: 1))
    #expect(try found(table, Request(path: "/%78//")) == .ambiguous(sent: 3, normal: 1))
    #expect(try found(table, Request(path: "/%61dmin/../y")) == .unclear, "it leads to three routes")
    // What leads to one route in all readings takes it.
    for path in ["/%62/../c", "/https%3A//host/%7Euser", "/b/./%63"] {
      #expect(try found(table, Request(path: path)) == .route(3), "\(path)")
    }
    // A route that takes the normal form takes what is its own in the decoded form, or nobody does.
    let (normalizing, _) = try self.table(["path_prefix: /admin, normalize: true", ""])
    for path in ["/admin/users/../..", "/%61dmin/users/../..", "/%61dmin/../index"] {
      #expect(try found(normalizing, Request(path: path)) == .ambiguous(sent: 1, normal: 0), "\(path)")
    }
    for path in ["/x/../%61dmin", "//admin", "/%61dmin//x", "/./%61dmin/x"] {
      #expect(try found(normalizing, Request(path: path)) == .route(0), "\(path)")
    }
  }

  /// What is written of a path is compared in normal form too: it may be written with encodings.
  @Test func literalsWithEncodingsAreTheirOwnReading() throws {
    let (table, _) = try table(["path: /caf%C3%A9", "path: /a%2Fb", "path: /100%", ""])
    #expect(try found(table, Request(path: "/caf%C3%A9")) == .route(0))
    #expect(try found(table, Request(path: "/caf%c3%a9")) == .ambiguous(sent: 3, normal: 0))
    #expect(try found(table, Request(path: "/a%2Fb")) == .route(1))
    #expect(try found(table, Request(path: "/a/b")) == .route(3))
    #expect(try found(table, Request(path: "/100%")) == .route(2))
  }

  @Test func aRouteMayAskForTheNormalForm() throws {
    let (table, _) = try table([
      "path_prefix: /admin, normalize: true", "path_regex: '/v[0-9]/x', normalize: true", "path: /plain", "",
    ])
    for path in ["/admin", "/%61dmin/x", "//admin", "/x/../admin"] {
      #expect(try found(table, Request(path: path)) == .route(0), "\(path)")
    }
    #expect(try found(table, Request(path: "/%761/x")) == .route(1))
    #expect(try found(table, Request(path: "/plai%6e")) == .ambiguous(sent: 3, normal: 2))
    // A server that resolves nothing has it below /admin.
    #expect(try found(table, Request(path: "/admin/../y")) == .ambiguous(sent: 3, normal: 0))
  }

  // MARK: Against asking each in order

  @Test(arguments: 1...6) func itIsEachRouteInOrder(_ seed: UInt64) throws {
    var dice = Seeded(seed)
    let names = ["a", "b", "a.b", "c.a.b", "ab"]
    let paths = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/", "/b"]
    var taken = 0
    for _ in 0..<60 {
      let matches = (0..<90).map { _ -> Config.RouteMatch in
        var match = Config.RouteMatch()
        switch Int.random(in: 0..<4, using: &dice) {
        case 0: match.host = .name(names.randomElement(using: &dice)!)
        case 1: match.host = .below(names.randomElement(using: &dice)!)
        case 2: match.host = .pattern(names.randomElement(using: &dice)! + ".*")
        default: break
        }
        let path = paths.randomElement(using: &dice)!
        match.path = Bool.random(using: &dice) ? .exact(path) : .prefix(path)
        return match
      }
      let table = try RouteTable(matches)
      for _ in 0..<40 {
        let host = names.randomElement(using: &dice)!
        let path = paths.randomElement(using: &dice)! + ["", "x", "/x"].randomElement(using: &dice)!
        guard PathText.isPlain(Array(path.utf8).span) else { continue }
        let expected = matches.firstIndex { Self.isMatch($0, host, path) }
        if expected != nil { taken += 1 }
        #expect(
          table.find(host: Array(host.utf8).span, path: Array(path.utf8).span) == expected.map { .route($0) } ?? .none)
      }
    }
    #expect(taken > 500)
  }

  private static func isMatch(_ match: Config.RouteMatch, _ host: String, _ path: String) -> Bool {
    let isHost =
      switch match.host {
      case .name(let name): host == name
      case .below(let name): host.hasSuffix(".\(name)")
      case .pattern(let pattern): Self.begins(host, pattern)
      case nil: true
      }
    let isPath =
      switch match.path {
      case .exact(let own): path == own
      case .prefix(let own): own.hasSuffix("/") ? path.hasPrefix(own) : path == own || path.hasPrefix(own + "/")
      default: true
      }
    return isHost && isPath
  }

  /// Of a pattern in which a dot is any letter.
  private static func begins(_ host: String, _ pattern: String) -> Bool {
    let (host, pattern) = (Array(host), Array(pattern.dropLast(2)))
    guard host.count >= pattern.count else { return false }
    return zip(host, pattern).allSatisfy { $0 == $1 || $1 == "." }
  }
}
