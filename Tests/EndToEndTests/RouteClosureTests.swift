// The kill switch: a route is closed at once, by an operator or by the configuration, and nothing passes it until it is open again.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct RouteClosures {
    private static let routes = [
      "path_prefix: /discovery, to: monitor, name: discovery", "path_prefix: /ws, to: monitor, name: sockets",
      "path_prefix: /off, to: monitor, name: off, enabled: false", "to: monitor, name: rest",
    ]

    private let site: Site
    private let admin: String

    init() throws {
      let directory = try Workspace()
      admin = "unix:\(directory.file("admin.sock"))"
      let listen = admin
      site = try Site(
        script: WebSocket.echo,
        edge: {
          $0.routes = Self.routes
          $0.more = ["admin: { listen: \"\(listen)\" }"]
        })
      kept = directory
    }
    private let kept: Workspace

    private func route(_ arguments: String...) throws -> ChildProcess.Outcome {
      try ChildProcess.run([try Programs.countersign, "route"] + arguments + ["--admin", admin])
    }

    private func status(_ path: String) throws -> Int { try site.connect().get(path).status }

    @Test func aClosedRouteAnswers503UntilItIsOpened() throws {
      #expect(try status("/discovery") == 200)
      let closed = try route("close", "discovery", "--for", "2h", "--why", "strangers see \"each\" other")
      #expect(closed.succeeded, "\(closed.error)")
      #expect(closed.output.contains("closed until "), "\(closed.output)")
      #expect(closed.output.contains("strangers see \"each\" other"), "\(closed.output)")

      let answer: HTTPResponse = try eventually("the route is closed") {
        let answer = try site.connect().get("/discovery/x")
        return answer.status == 503 ? answer : nil
      }
      let wait = try #require(answer["retry-after"].flatMap { Int($0) })
      #expect((3_000...3_600).contains(wait))
      let entry = try site.edge.access.wait(refusal: "route-closed")
      #expect(entry.detail == "strangers see \"each\" other")
      #expect(entry.client == Peer.client())
      #expect(!site.backend.saw("/discovery/x "))
      #expect(try status("/other") == 200, "another route is not closed")
      let said = site.edge.process.standardError.wait {
        $0.contains("route discovery closed for 2 hours by user") ? $0 : nil
      }
      #expect(said?.contains("strangers see") == true)

      let opened = try route("open", "discovery")
      #expect(opened.succeeded, "\(opened.error)")
      try eventually("it is open") { try status("/discovery") == 200 }
      let again = try route("open", "discovery")
      #expect(!again.succeeded && again.error.contains("the route discovery is not closed"), "\(again.error)")
    }

    /// Also where it has begun: no server has had it, and none gets it behind the closing.
    @Test func aFurtherTryIsNoneWhereTheRouteIsClosed() throws {
      let (hole, backend, workspace) = (try BlackHole(), try RecordingBackend(), try Workspace())
      let admin = "unix:\(workspace.file("admin.sock"))"
      var configuration = Configuration.plainEdge(to: ["\(hole.address)", "\(backend.address)"])
      configuration.routes = ["to: backend, name: all"]
      configuration.timeouts = ["upstream_connect: 3s"]
      configuration.upstreams[0].members += ["retries: { count: 1, on: [connect], budget: 100% }", "passive: off"]
      configuration.more = ["admin: { listen: \"\(admin)\" }"]
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let clients = try (0..<4).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      for (i, client) in clients.enumerated() { try client.send(Text.request("/\(i)")) }
      // Each second one is sent to the server that takes no connection.
      try eventually("two are served") { backend.requests.count == 2 }
      try ChildProcess.succeed([try Programs.countersign, "route", "close", "all", "--admin", admin])
      let statuses = try clients.map { try $0.readResponse().status }
      #expect(statuses.sorted() == [200, 200, 503, 503])
      _ = try edge.access.wait(refusal: "route-closed")
      #expect(backend.requests.count == 2)
    }

    /// Its server takes the connection when the route is closed.
    @Test func aRequestThatWaitsForItsConnectionIsNotSentBehindTheClosing() throws {
      try expectRefusal(of: "/", routes: ["to: backend, name: all"], closing: "all")
    }

    /// Of two routes that a path may take, either one's closing refuses it.
    @Test func aRequestThatWaitsIsRefusedByTheRouteOfItsOtherReading() throws {
      let routes = [
        "path_prefix: /first, to: backend, name: first", "path_prefix: /second, to: backend, name: second",
      ]
      try expectRefusal(of: "/first/../second", routes: routes, more: ["path_mismatch: stricter"], closing: "second")
    }

    /// Of a request that waits for its connection while a route is closed.
    private func expectRefusal(of path: String, routes: [String], more: [String] = [], closing: String) throws {
      let (hole, workspace) = (try BlackHole(), try Workspace())
      let admin = workspace.file("admin.sock")
      var configuration = Configuration.plainEdge(to: ["\(hole.address)"])
      configuration.routes = routes
      configuration.timeouts = ["upstream_connect: 60s", "upstream_response: 2s"]
      configuration.upstreams[0].members.append("retries: { count: 0 }")
      configuration.more = more + ["admin: { listen: \"unix:\(admin)\" }"]
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let client = try Connection(to: edge["public"], from: Peer.client(1))
      try client.send(Text.request(path))
      try eventually("it waits for a connection") {
        try Connection(unix: admin).get("/metrics").metric("countersign_open_connections{side=\"upstream\"}") == 1
      }
      try ChildProcess.succeed([try Programs.countersign, "route", "close", closing, "--admin", "unix:\(admin)"])
      hole.open()
      #expect(try client.readResponse().status == 503)
      #expect(try edge.access.wait(refusal: "route-closed").path == path)
    }

    /// Not even one that forgets the route for a while.
    @Test func aReloadOpensNothing() throws {
      #expect(try route("close", "discovery").succeeded)
      try eventually("it is closed") { try status("/discovery") == 503 }
      var without = site.edgeConfiguration
      without.routes.removeFirst()
      for (generation, configuration) in [site.edgeConfiguration, without, site.edgeConfiguration].enumerated() {
        try site.edge.reload(configuration)
        try site.edge.said("reloaded generation=\(generation + 2) ")
        let listed = try route("list").output
        #expect(listed.contains("discovery") && listed.contains("closed until it is opened"), "\(listed)")
        if generation == 1 { try site.edge.said("the route discovery is closed, but there is none of that name now") }
      }
      try eventually("the route is there again, and closed") { try status("/discovery") == 503 }
      #expect(try route("open", "discovery").succeeded)
      try eventually("it is open") { try status("/discovery") == 200 }
    }

    @Test func aClosureEndsWithItsTime() throws {
      #expect(try route("close", "discovery", "--for", "700ms").succeeded)
      try eventually("it is open again by itself") { try status("/discovery") == 200 }
      try site.edge.said("route discovery is open again")
    }

    @Test func tunnelsOfAClosedRouteEnd() throws {
      let closed = try site.connect()
      #expect(try closed.get("/ws", fields: WebSocket.upgrade).status == 101)
      try closed.send(WebSocket.frame("a"))
      #expect(try closed.read(WebSocket.frame("a").count) == WebSocket.frame("a"))
      #expect(try route("close", "sockets").succeeded)
      _ = try? closed.readToEnd()
      let entry = try site.edge.access.wait(for: "the tunnel") { $0.path == "/ws" }
      #expect(entry.status == 101 && entry.refusal == "route-closed")
      let again = try site.connect().get("/ws", fields: WebSocket.upgrade)
      #expect(again.status == 503)
    }

    /// Also where nothing is known of its client.
    @Test func tunnelsOfRequestsThatAreOnlyObservedEnd() throws {
      let workspace = try Workspace()
      let admin = "unix:\(workspace.file("admin.sock"))"
      let backend = try RecordingBackend(WebSocket.echo)
      var configuration = Configuration.validator(keys: try Keys.standard, to: ["\(backend.address)"], bound: false)
      configuration.identity.append("mode: observe")
      configuration.routes = ["to: backend, name: all"]
      configuration.more = ["admin: { listen: \"\(admin)\" }"]
      let validator = try Countersign(configuration, in: workspace)
      let tunnel = try Connection(to: validator["from-edge"])
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade).status == 101)
      try tunnel.send(WebSocket.frame("a"))
      #expect(try tunnel.read(WebSocket.frame("a").count) == WebSocket.frame("a"))
      try ChildProcess.succeed([try Programs.countersign, "route", "close", "all", "--admin", admin])
      _ = try? tunnel.readToEnd()
      let entry = try validator.access.wait(for: "the tunnel") { $0.path == "/ws" }
      #expect(entry.status == 101 && entry.refusal == "route-closed")
    }

    @Test func aRouteCanBeClosedInTheConfiguration() throws {
      let answer = try site.connect().get("/off")
      #expect(answer.status == 503 && answer["retry-after"] == "60")
      #expect(try site.edge.access.wait(path: "/off").detail == "the configuration says `enabled: false`")
      #expect(try route("list").output.contains("closed: enabled: false"))
    }

    /// Whatever the route is called now: what the same request would get on a new connection counts.
    @Test(arguments: ["name: sockets, ", "name: other, ", ""]) func tunnelsOfARouteThatAReloadClosesEnd(_ name: String)
      throws
    {
      func tunnel(_ path: String) throws -> Connection {
        let connection = try site.connect()
        #expect(try connection.get(path, fields: WebSocket.upgrade).status == 101)
        return connection
      }
      func echoes(_ connection: Connection) throws {
        try connection.send(WebSocket.frame("a"))
        #expect(try connection.read(WebSocket.frame("a").count) == WebSocket.frame("a"))
      }
      let (closed, open) = (try tunnel("/ws/x"), try tunnel("/ws"))
      try echoes(closed)
      try echoes(open)
      var next = site.edgeConfiguration
      next.routes[1] = "path_prefix: /ws/x, \(name)to: monitor, enabled: false"
      let start = site.edge.process.standardError.count
      try site.edge.reload(next)
      _ = try? closed.readToEnd()
      let entry = try site.edge.access.wait(for: "the tunnel") { $0.path == "/ws/x" }
      #expect(entry.status == 101 && entry.refusal == "route-closed")
      #expect(entry.detail == "the configuration says `enabled: false`")
      #expect(try status("/ws/x") == 503)
      try echoes(open)
      // Back again by a file from before: the guard tells of it.
      _ = try #require(
        site.edge.process.standardError.wait(from: start) { $0.contains("reloaded generation=2") ? $0 : nil })
      try site.edge.reload(site.edgeConfiguration)
      let said = site.edge.process.standardError.wait(from: start) {
        $0.contains("changes trust (route-enabled)") ? $0 : nil
      }
      #expect(said?.contains("was closed, and its requests may take `sockets`, which is open") == true)
    }

    /// In observe mode a request may have no client: a backend would take its peer for it, which is one for all.
    @Test func aRequestWithoutAClientTakesNoRouteThatTellsClientsApart() throws {
      let bench = try ValidatorBench(.shared) {
        $0.identity.append("mode: observe")
        $0.routes = ["path_prefix: /discovery, to: backend, needs_distinct_clients: true", "to: backend"]
      }
      let answer = try Connection(to: bench.address).get("/discovery")
      #expect(answer.status == 503 && answer["retry-after"] == "60")
      let entry = try bench.validator.access.wait(path: "/discovery")
      #expect(entry.refusal == "clients-indistinct" && entry.client == nil)
      #expect(entry.detail == "there is no client to tell apart: not verified (identity-missing)")
      #expect(!bench.backend.saw("/discovery"))
      #expect(try Connection(to: bench.address).get("/elsewhere").status == 200)
      // Once the validator does not call everything `starting`.
      try eventually("what is verified passes") {
        try bench.send(SignedRequest("/discovery/x", by: bench.forger)).status == 200
      }
    }

    @Test func whatCannotBeDoneIsSaid() throws {
      let unknown = try route("close", "dicsovery")
      #expect(!unknown.succeeded)
      #expect(
        unknown.error.contains("there is no route dicsovery; there is discovery, sockets, off, rest"),
        "\(unknown.error)")
      let duration = try route("close", "rest", "--for", "soon")
      #expect(!duration.succeeded && duration.error.contains("a duration with its unit"), "\(duration.error)")
      let nobody = try ChildProcess.run(
        [try Programs.countersign, "route", "list", "--admin", "unix:\(kept.file("none.sock"))"])
      #expect(!nobody.succeeded && nobody.error.contains("is the process running"), "\(nobody.error)")
    }

    /// A TCP connection does not say who asks.
    @Test func overTCPNothingCanBeChanged() throws {
      let control = kept.file("control.sock")
      let site = try Site(
        edge: {
          $0.more = ["admin: { listen: \"127.0.0.1:0\", control: \"unix:\(control)\" }"]
          $0.routes = ["to: monitor, name: rest"]
        })
      let outcome = try ChildProcess.run(
        [try Programs.countersign, "route", "close", "rest", "--admin", "\(site.edge["admin"])"])
      #expect(
        !outcome.succeeded && outcome.error.contains("changes are taken over a unix socket alone"), "\(outcome.error)")
      #expect(try site.connect().get("/").status == 200)
      let shown = try ChildProcess.run([try Programs.countersign, "route", "list", "--admin", "\(site.edge["admin"])"])
      #expect(shown.succeeded && shown.output.contains("rest"), "\(shown.output)\(shown.error)")
      // That is what `admin.control` is for; the configuration names it.
      let closed = try ChildProcess.run(
        [try Programs.countersign, "route", "close", "rest", "-c", site.edge.configurationFile])
      #expect(closed.succeeded, "\(closed.error)")
      try eventually("it is closed") { try site.connect().get("/").status == 503 }
      // A reload may take the second listener away and bring it back.
      var without = site.edgeConfiguration
      without.more = ["admin: { listen: \"127.0.0.1:0\" }"]
      try site.edge.reload(without)
      try eventually("it is gone") { !FileManager.default.fileExists(atPath: control) }
      try site.edge.reload(site.edgeConfiguration)
      try eventually("it is back, and the route still closed") {
        try ChildProcess.run([try Programs.countersign, "route", "open", "rest", "--admin", "unix:\(control)"])
          .succeeded
      }
      try eventually("it is open") { try site.connect().get("/").status == 200 }
    }

    @Test func statusShowsIt() throws {
      #expect(try route("close", "rest", "--why", "a test").succeeded)
      let status = try ChildProcess.run([try Programs.countersign, "status", "--admin", admin])
      #expect(status.succeeded)
      let object = try #require(try JSONSerialization.jsonObject(with: Data(status.output.utf8)) as? [String: Any])
      let routes = try #require(object["routes"] as? [[String: Any]])
      let rest = try #require(routes.first { $0["name"] as? String == "rest" })
      #expect((rest["closed"] as? [String: Any])?["why"] as? String == "a test")
    }
  }
}
