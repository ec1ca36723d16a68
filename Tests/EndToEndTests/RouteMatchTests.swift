// Which route a request takes, in the real program: by listener, host, path, method, field and client; and what becomes of a path
// that can be read in two ways.

import Testing

extension EndToEnd {
  @Suite struct RouteMatches {
    /// A lone edge whose routes say in the answer which of them it was.
    private final class Bench {
      let workspace: Workspace
      let edge: Countersign
      let backend: RecordingBackend

      init(_ routes: [String], more: [String] = [], access: String = "stdout") throws {
        workspace = try Workspace()
        backend = try RecordingBackend { try $0.reply("backend") }
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.listeners.append(Configuration.Listener(name: "inside"))
        configuration.routes = routes
        configuration.more = more
        configuration.access = access
        edge = try Countersign(configuration, in: workspace)
      }

      func ask(
        _ path: String, _ method: String = "GET", host: String = Site.host, fields: [String] = [],
        listener: String = "public", from source: String = Peer.client()
      ) throws -> String {
        let answer = try Connection(to: edge[listener], from: source).get(
          path, method: method, host: host, fields: fields)
        return answer.status == 200 ? answer.text : "\(answer.status)"
      }
    }

    private static func says(_ text: String, _ match: String) -> String { "\(match), respond: { body: \(text) }" }

    @Test func aRouteIsFoundByAllThatItAsks() throws {
      let bench = try Bench([
        Self.says("inside", "listener: inside, path: /where"), Self.says("named", "host: a.example"),
        Self.says("below", "host: '*.example'"), Self.says("written", "method: [PUT, DELETE]"),
        Self.says("canary", "header: { name: X-Canary, value: '1' }"), Self.says("neighbour", "client: [127.0.9.0/24]"),
        Self.says("api", "path_prefix: /api"), Self.says("numbers", "path_regex: '/[0-9]+'"), "to: backend",
      ])
      #expect(try bench.ask("/where", listener: "inside") == "inside")
      #expect(try bench.ask("/where") == "backend")
      #expect(try bench.ask("/", host: "A.example:81") == "named")
      #expect(try bench.ask("/", host: "b.a.example") == "below")
      #expect(try bench.ask("/", "PUT") == "written")
      #expect(try bench.ask("/", fields: ["x-canary: 1"]) == "canary")
      #expect(try bench.ask("/", from: "127.0.9.7") == "neighbour")
      #expect(try bench.ask("/api/x?y=/") == "api")
      #expect(try bench.ask("/apis") == "backend")
      #expect(try bench.ask("/123") == "numbers")
      #expect(bench.backend.requests.count == 2)
    }

    /// Default: whoever writes a path in another way does not come past a route that is closed to him.
    @Test(arguments: [
      "/%61dmin/keys", "//admin/keys", "/x/../admin/keys", "/x/%2e%2e/admin/keys",
      // Below /admin to a server that decodes a path and leaves it at that, as Flask, Django and Starlette do.
      "/%61dmin/keys/../..", "/admi%6e/%2e%2e/x",
    ])
    func aPathThatIsReadAsAnotherRoutesIsRefused(_ path: String) throws {
      let bench = try Bench([
        Self.says("admin", "path_prefix: /admin, name: admin, client: [127.0.9.0/24]"), "to: backend, name: rest",
      ])
      #expect(try bench.ask(path) == "backend", "for this client both readings take one route")
      #expect(try bench.ask(path, from: "127.0.9.7") == "400")
      let entry = try bench.edge.access.wait(refusal: "path-ambiguous")
      #expect(entry.detail == "the path takes the route rest as it was sent, the route admin as others read it")
      #expect(entry.route == "rest" && entry.status == 400)
      // The connection goes on.
      let connection = try Connection(to: bench.edge["public"], from: "127.0.9.7")
      #expect(try connection.get(path).status == 400)
      #expect(try connection.get("/admin").text == "admin")
    }

    /// Its third reading is /admin/x.
    @Test(arguments: ["refuse", "stricter"]) func aPathWithoutOneNormalFormIsRefused(_ mode: String) throws {
      let bench = try Bench(
        [Self.says("admin", "path_prefix: /admin"), "to: backend"], more: ["path_mismatch: \(mode)"])
      for path in ["/./admin//../x", "/x%2F..%2Fadmin"] { #expect(try bench.ask(path) == "400", "\(path)") }
      let entry = try bench.edge.access.wait(refusal: "path-ambiguous")
      #expect(entry.detail == "servers differ in what `..` takes away in such a path")
      #expect(bench.backend.requests.isEmpty)
    }

    @Test func theStricterOfTwoRoutesMayTakeIt() throws {
      let bench = try Bench(
        [
          Self.says("page", "path_prefix: /page"), "path_prefix: /closed, enabled: false, to: backend",
          "path_prefix: /api, to: backend, name: api", "path_regex: '/.*', to: backend, name: rest",
        ], more: ["path_mismatch: stricter"])
      // What is answered here comes before what reaches an upstream.
      #expect(try bench.ask("/x/../page") == "page")
      #expect(try bench.ask("/page/../x") == "page")
      // What either refuses is refused.
      #expect(try bench.ask("/x/../closed") == "503")
      #expect(try bench.ask("/closed/../x") == "503")
      // Then the first in the file; the path goes on as it came.
      #expect(try bench.ask("/%61pi") == "backend")
      #expect(try bench.edge.access.wait(path: "/%61pi").route == "api")
      #expect(bench.backend.requests.map(\.target) == ["/%61pi"])
    }

    @Test func aRouteMayMatchTheNormalForm() throws {
      let bench = try Bench([Self.says("admin", "path_prefix: /admin, normalize: true"), "to: backend"])
      for path in ["/admin", "/%61dmin", "//admin/x", "/x/../admin"] { #expect(try bench.ask(path) == "admin") }
      // To a server that resolves nothing it is below /admin.
      #expect(try bench.ask("/admin/../x") == "400")
      #expect(try bench.ask("/a/../x") == "backend")
      #expect(bench.backend.requests.map(\.target) == ["/a/../x"])
    }
  }
}
