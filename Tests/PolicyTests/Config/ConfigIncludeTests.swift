// Several files: what is joined, in which order, and that each finding names the file that it is in.

import Foundation
import Policy
import Testing

@Suite struct ConfigIncludeTests {
  /// A directory of its own, with these files.
  private final class Directory {
    let path: String

    init(_ files: [String: String]) throws {
      path = FileManager.default.temporaryDirectory.appendingPathComponent("include-\(UUID().uuidString)").path
      for (name, text) in files {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
          at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
      }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func read() -> ConfigResult { ConfigReader.read(path: "\(path)/main.yaml") }
    /// Findings, without the directory's path.
    var said: [String] { read().diagnostics.map { $0.text(file: "\(path)/main.yaml").replacing("\(path)/", with: "") } }
  }

  private static let main = """
    include: conf.d/*.yaml
    listeners: [{ name: web, listen: "127.0.0.1:8080" }]
    routes: [{ path: /main, to: app }]
    upstreams: { app: { servers: ["127.0.0.1:3000"] } }

    """

  @Test func filesAreJoinedInTheOrderOfTheirNames() throws {
    let directory = try Directory([
      "main.yaml": Self.main,
      "conf.d/20-b.yaml":
        "routes: [{ path: /b, to: app }, { path: /c, to: b }]\nupstreams: { b: { servers: ['unix:b.sock'] } }\n",
      "conf.d/10-a.yaml": "# the first\nroutes:\n  - { path: /a, to: app }\n",
      "conf.d/30-z.yaml": "routes: [{ to: app }]\nlisteners: [{ name: two, listen: '127.0.0.1:8081' }]\n",
      "conf.d/.hidden.yaml": "routes: [{ path: /hidden, to: app }]\n", "conf.d/notes.txt": "not YAML: [",
    ])
    let result = directory.read()
    #expect(result.diagnostics == [])
    let config = try #require(result.config)
    #expect(config.routes.map(\.match.path) == [.exact("/main"), .exact("/a"), .exact("/b"), .exact("/c"), nil])
    #expect(config.listeners.map(\.name) == ["web", "two"])
    #expect(config.upstreams.map(\.name) == ["app", "b"])
    // Relative to the file that it stands in.
    #expect(config.upstreams[1].servers[0].endpoint == .unix("\(directory.path)/conf.d/b.sock"))
    #expect(config.routes.map(\.place.line) == [3, 3, 1, 1, 1])
    #expect(config.routes[0].place.name == "line 3")
    #expect(config.routes[1].place.name == "\(directory.path)/conf.d/10-a.yaml:3")
    // What is written out is one file that says the same.
    let again = ConfigReader.read(text: config.resolved(), path: "/x.yaml")
    #expect(again.config?.withoutPlaces == config.withoutPlaces)
  }

  @Test func everythingMayBeIncluded() throws {
    let directory = try Directory([
      "main.yaml": "include: [a.yaml, sub/?.yaml]\n", "a.yaml": "listeners: [{ name: web, listen: '127.0.0.1:1' }]\n",
      "sub/b.yaml": "routes: [{ to: app }]\n", "sub/c.yaml": "upstreams: { app: { servers: ['127.0.0.1:2'] } }\n",
      "sub/cc.yaml": "nonsense: 1\n",
    ])
    #expect(directory.said == [])
  }

  @Test func findingsNameTheFileThatTheyAreIn() throws {
    let directory = try Directory([
      "main.yaml": Self.main,
      "conf.d/a.yaml": "routes:\n  - { path: /a, to: ap, name: x }\n  - { path: '/b', too: app }\n",
      "conf.d/b.yaml": "upstreams: { app: { servers: ['127.0.0.1:1'] } }\nroutes: [{ path: /x, to: app, name: x }]\n",
      "conf.d/c.yaml": "workers: 2\nlistners: []\ninclude: d.yaml\n", "conf.d/d.yaml": "- 1\n",
      "conf.d/e.yaml": "routes: { to: app }\n",
      "conf.d/g.yaml": "listeners: [{ name: web, listen: '127.0.0.1:8080' }]\n", "conf.d/h.yaml": "",
    ])
    #expect(
      directory.said == [
        "conf.d/a.yaml:2:21: there is no upstream `ap`: did you mean `app`?",
        "conf.d/a.yaml:3:19: unknown key `too` in `routes[2]`: did you mean `to`?",
        "conf.d/b.yaml:1:14: duplicate upstream `app`: it was given in main.yaml:4 already",
        "conf.d/b.yaml:2:37: a route in conf.d/a.yaml:2 has the name `x` already",
        "conf.d/c.yaml:1:1: an included file has `listeners`, `routes`, `upstreams` alone, not `workers`",
        "conf.d/c.yaml:2:1: an included file has `listeners`, `routes`, `upstreams` alone, not `listners`: did you mean "
          + "`listeners`?",
        "conf.d/c.yaml:3:1: an included file has `listeners`, `routes`, `upstreams` alone, not `include`; it includes "
          + "nothing itself",
        "conf.d/d.yaml:1:1: expected an included file to be a mapping of `listeners`, `routes`, `upstreams`, found a list",
        "conf.d/e.yaml:1:9: expected `routes` to be a list of what is joined to others, found a mapping",
        "conf.d/g.yaml:1:21: a listener in main.yaml:2 has the name `web` already",
        "conf.d/g.yaml:1:34: the address in main.yaml:2 is the same; one address has one listener",
      ])
  }

  /// What it would have said is not missed as well.
  @Test func aFileThatIsNoYAMLIsOneFinding() throws {
    let directory = try Directory([
      "main.yaml": "include: conf.d/*.yaml\nlog: { access: off }\n", "conf.d/f.yaml": "a: [\n",
    ])
    #expect(
      directory.said == [
        "conf.d/f.yaml:2:1: YAML syntax: did not find expected node content, parsing a flow node that starts in line 2"
      ])
  }

  @Test(arguments: [
    ("include: gone.yaml", "main.yaml:1:10: gone.yaml: no such file"), ("include: nowhere/*.yaml", "cannot be listed"),
    ("include: conf.d", "main.yaml:1:10: conf.d: is a directory; `conf.d/*.yaml` are the files in it"),
    ("include: '*/a.yaml'", "expected the path of a file"),
    ("include: conf.d/", "expected the path of a file"),
    ("include: { a: b }", "expected `include` to be a list of paths"),
    ("include: [conf.d/a.yaml, conf.d/*.yaml]", "`conf.d/a.yaml` is included twice"),
  ])
  func whatCannotBeIncludedIsAnError(line: String, message: String) throws {
    let directory = try Directory([
      "main.yaml": Self.main.replacing("include: conf.d/*.yaml", with: line),
      "conf.d/a.yaml": "routes: [{ path: /a, to: app }]\n",
    ])
    #expect(directory.said.count == 1 && directory.said[0].contains(message), "\(directory.said)")
    #expect(directory.read().config == nil)
  }

  @Test func aPatternThatMatchesNothingIsAWarning() throws {
    let directory = try Directory([
      "main.yaml": Self.main.replacing("*.yaml", with: "*.yml"), "conf.d/a.yaml": "routes: [{ path: /a, to: app }]\n",
    ])
    #expect(directory.said == ["main.yaml:1:10: warning: no file is included by `conf.d/*.yml`"])
    #expect(directory.read().config != nil)
  }

  /// The reload guard says which file weakens what.
  @Test func changesNameTheFileThatTheyAreIn() throws {
    let files = [
      "main.yaml": Self.main, "conf.d/a.yaml": "\nroutes:\n  - { path: /a, to: app, access: { deny: 192.0.2.7 } }\n",
    ]
    let (old, new) = (try Directory(files), try Directory(files))
    try Data("routes: [{ path: /a, to: app }]\n".utf8).write(to: URL(fileURLWithPath: "\(new.path)/conf.d/a.yaml"))
    let changes = TrustDiff.compare(
      old: try TrustBoundary(try #require(old.read().config), keys: nil),
      new: try TrustBoundary(try #require(new.read().config), keys: nil))
    let lines = try #require(changes.first).lines(oldFile: "old.yaml", newFile: "new.yaml")
    #expect(lines[0].hasPrefix("\(new.path)/conf.d/a.yaml:1: weakens trust (route-access): 192.0.2.7 may take"))
    #expect(lines[1] == "  before: closed to 192.0.2.7 (\(old.path)/conf.d/a.yaml:3)")
    #expect(lines[2] == "  after:  open to every address (\(new.path)/conf.d/a.yaml:1)")
  }
}
