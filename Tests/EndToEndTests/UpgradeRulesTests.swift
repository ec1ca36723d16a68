// What an old process of an upgrade still holds goes by what the new one says: a route that is closed there has no tunnels here, and
// where the new one may answer otherwise, no request is begun by the old rules.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct UpgradeRules {
    private static let routes = [
      "path_prefix: /ws/a, to: backend, name: sockets", "path_prefix: /ws/b, to: backend, name: other",
      "path_prefix: /ws/c, to: backend", "to: backend, name: rest",
    ]

    private struct Service {
      let upgradable: Upgradable
      var configuration: Configuration
      let backend: RecordingBackend
      var address: Address { get throws { try upgradable.first["public"] } }

      init(
        in workspace: Workspace, change: (inout Configuration) -> Void = { _ in },
        script: @escaping RecordingBackend.Script = WebSocket.echo
      ) throws {
        backend = try RecordingBackend(script)
        configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.workers = "1"
        // Also where no rule says so any more.
        configuration.identity = ["infrastructure: [\(Peer.balancers)]"]
        configuration.timeouts = ["drain_tunnels: 10m"]
        configuration.routes = UpgradeRules.routes
        change(&configuration)
        upgradable = try Upgradable(configuration, in: workspace)
      }

      func tunnel(_ path: String) throws -> Connection {
        let connection = try Connection(to: address)
        guard try connection.get(path, fields: WebSocket.upgrade).status == 101 else { throw Trouble("no tunnel") }
        return connection
      }

      /// A drain ends the first of its tunnels at once.
      func first() throws -> Connection { try tunnel("/ws/rest") }

      func route(_ arguments: String...) throws -> ChildProcess.Outcome {
        try ChildProcess.run([try Programs.countersign, "route"] + arguments + ["--admin", upgradable.admin])
      }

      func status(has text: String) throws {
        try eventually("the status has \(text)") { try upgradable.ask("/status").text.contains(text) }
      }
    }

    private func echoes(_ connection: Connection) throws {
      let frame = WebSocket.frame("still here")
      try connection.send(frame)
      guard try connection.read(frame.count) == frame else { throw Trouble("another frame came back") }
    }

    /// With "going away", or without a word where what came back was no frame of a server.
    private func isClosed(_ connection: Connection) throws {
      guard let frame = try connection.readFrame() else { return }
      guard frame == WebSocketFrame(0x88, [0x03, 0xe9]) else { throw Trouble("not closed: \(frame)") }
    }

    // MARK: Tunnels

    @Test func aRouteThatIsClosedAfterAnUpgradeHasNoTunnelsInTheOldProcessEither() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let first = try service.first()
      let (closed, other) = (try service.tunnel("/ws/a"), try service.tunnel("/ws/b"))
      try service.upgradable.upgrade()
      try isClosed(first)
      try echoes(closed)
      let outcome = try service.route("close", "sockets", "--why", "a leak")
      #expect(outcome.succeeded && outcome.output.contains("older processes that drain end theirs too"), "\(outcome)")
      try isClosed(closed)
      try echoes(other)
      #expect(service.upgradable.first.process.exit == nil)
      closed.close()
      first.close()
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":1}")
      let entry = try service.upgradable.first.access.wait(for: "the tunnel") { $0.path == "/ws/a" }
      #expect(entry.refusal == "route-closed" && entry.detail == "a leak")
      other.close()
      #expect(try service.upgradable.first.process.waitForExit() == .code(0))
      try service.status(has: "\"older_processes\":null")
    }

    struct Change: Sendable, CustomTestStringConvertible {
      let title: String
      var refusal = "route-closed"
      /// Which of the other tunnels might have taken the route that is closed is not known.
      var endsOthers = false
      let change: @Sendable (inout Configuration) -> Void
      var testDescription: String { title }

      static let all: [Change] = [
        Change(title: "disabled") { $0.routes[0] += ", enabled: false" },
        Change(title: "renamed and disabled") {
          $0.routes[0] = "path_prefix: /ws/a, to: backend, name: later, enabled: false"
        },
        Change(title: "gone") { $0.routes.remove(at: 0) },
        Change(title: "behind a closed one", endsOthers: true) {
          $0.routes.insert("path_prefix: /w, to: backend, name: wide, enabled: false", at: 0)
        },
        Change(title: "closed to the client", refusal: "access-denied") {
          $0.routes[0] += ", access: { deny: [\(Peer.client())] }"
        },
      ]
    }

    @Test(arguments: Change.all) func whatAnUpgradesConfigurationClosesEnds(_ item: Change) throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let tunnels = ["/ws/a", "/ws/b/1", "/ws/b/2", "/ws/c"]
      let (first, open) = (try service.first(), try tunnels.map(service.tunnel))
      var next = service.configuration
      item.change(&next)
      try service.upgradable.write(next)
      try service.upgradable.upgrade()
      try isClosed(open[0])
      let entry = try service.upgradable.first.access.wait(for: "the tunnel") { $0.path == "/ws/a" }
      #expect(entry.refusal == item.refusal)
      try isClosed(first)
      for tunnel in open.dropFirst() { if item.endsOthers { try isClosed(tunnel) } else { try echoes(tunnel) } }
    }

    /// Its server takes its time to open it.
    @Test func aTunnelThatBeginsBehindTheClosureOfItsRouteEnds() throws {
      let workspace = try Workspace()
      let gate = Guarded(false)
      defer { gate.with { $0 = true } }
      let service = try Service(
        in: workspace,
        script: { exchange in
          if exchange.target == "/ws/a" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
          try WebSocket.echo(exchange)
        })
      let first = try service.first()
      let tunnel = try Connection(to: try service.address)
      try tunnel.send(Text.request("/ws/a", fields: WebSocket.upgrade))
      _ = try service.backend.waitForRequest(to: "/ws/a")
      try service.upgradable.upgrade()
      try isClosed(first)
      #expect(try service.route("close", "sockets").succeeded)
      gate.with { $0 = true }
      #expect(try tunnel.readResponse().status == 101)
      try isClosed(tunnel)
    }

    /// The same by a reload that comes later, and a route that only becomes another.
    @Test func whatALaterReloadClosesEnds() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let first = try service.first()
      let (named, unnamed, other) = (
        try service.tunnel("/ws/a"), try service.tunnel("/ws/c"), try service.tunnel("/ws/b")
      )
      let pid = try service.upgradable.upgrade()
      try isClosed(first)
      var next = service.configuration
      next.routes[0] += ", limits: { body: 1MiB }"
      next.routes[2] += ", enabled: false"
      try service.upgradable.write(next)
      kill(pid, SIGHUP)
      try isClosed(unnamed)
      try echoes(named)
      next.routes[0] += ", enabled: false"
      try service.upgradable.write(next)
      kill(pid, SIGHUP)
      try isClosed(named)
      try echoes(other)
    }

    /// As many as a file of 4 MiB has. The client that is denied last has a tunnel in the old process.
    @Test func allRangesOfAListReachTheOldProcess() throws {
      let workspace = try Workspace()
      let ranges = (0..<66_000).map { "100.\(64 + $0 >> 16).\($0 >> 8 & 255).\($0 & 255)" }.joined(separator: ", ")
      func route(_ more: String = "") -> String {
        "path_prefix: /ws/a, to: backend, name: sockets, access: { deny: [\(ranges)\(more)] }"
      }
      let service = try Service(in: workspace) { $0.routes[0] = route() }
      let (first, denied, other) = (
        try service.first(), try service.tunnel("/ws/a"), try service.tunnel("/ws/b")
      )
      let pid = try service.upgradable.upgrade()
      try isClosed(first)
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":")
      try echoes(denied)
      var next = service.configuration
      next.routes[0] = route(", \(Peer.client())")
      try service.upgradable.write(next)
      kill(pid, SIGHUP)
      try isClosed(denied)
      try echoes(other)
    }

    /// Whose route is closed is told by the address that its clients connected to.
    @Test func listenersMayExchangeTheirNames() throws {
      let workspace = try Workspace()
      let files = ["a", "b"].map { workspace.file("\($0).sock") }
      func listener(_ name: String, _ file: String) -> Configuration.Listener {
        Configuration.Listener(name: name, listen: "unix:\(file)", trust: ["from: any, evidence: forwarded"])
      }
      let service = try Service(in: workspace) {
        $0.listeners += [listener("A", files[0]), listener("B", files[1])]
        $0.routes =
          ["A", "B"].map { "listener: \($0), path_prefix: /ws, to: backend, name: of-\($0)" } + ["to: backend"]
      }
      let first = try service.first()
      let tunnels = try files.map { file in
        let connection = try Connection(unix: file)
        let fields = WebSocket.upgrade + ["X-Forwarded-For: \(Peer.client(8))"]
        guard try connection.get("/ws", fields: fields).status == 101 else { throw Trouble("no tunnel") }
        return connection
      }
      var next = service.configuration
      next.listeners[1...] = [listener("B", files[0]), listener("A", files[1])]
      next.routes[1] += ", enabled: false"
      try service.upgradable.write(next)
      try service.upgradable.upgrade()
      try isClosed(first)
      try isClosed(tunnels[0])
      try echoes(tunnels[1])
    }

    /// By a reload, and then it comes back closed, with another name.
    @Test func aRouteThatWasGoneIsNotOpenToWhoHasATunnelOfIt() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace) { $0.routes.removeLast(2) }
      let (first, gone, other) = (
        try service.tunnel("/ws/b/first"), try service.tunnel("/ws/a"), try service.tunnel("/ws/b")
      )
      var next = service.configuration
      next.routes.remove(at: 0)
      try service.upgradable.write(next)
      let start = service.upgradable.errors.count
      service.upgradable.first.process.signal(SIGHUP)
      try service.upgradable.first.said("reloaded generation=2", from: start)
      try echoes(gone)
      next.routes.append("path_prefix: /ws/a, to: backend, name: back, enabled: false")
      try service.upgradable.write(next)
      try service.upgradable.upgrade()
      try isClosed(first)
      try isClosed(gone)
      try echoes(other)
    }

    /// Also through a process that has nothing left itself.
    @Test func aClosureReachesEveryProcessOfAChainOfUpgrades() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      func hold() throws -> [Connection] { [try service.first()] + (try ["/ws/a", "/ws/b"].map(service.tunnel)) }
      let oldest = try hold()
      let second = try service.upgradable.upgrade()
      let third = try service.upgradable.upgrade()
      let later = try hold()
      try service.upgradable.upgrade()
      for tunnels in [oldest, later] {
        try isClosed(tunnels[0])
        try echoes(tunnels[1])
        tunnels[0].close()
      }
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":4}")
      #expect(try service.route("close", "sockets", "--for", "1h").succeeded)
      for tunnels in [oldest, later] {
        try isClosed(tunnels[1])
        try echoes(tunnels[2])
        tunnels[1].close()
      }
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":2}")
      #expect(Upgradable.isRunning(second) && Upgradable.isRunning(third))
      for tunnels in [oldest, later] { tunnels[2].close() }
      try eventually("all but the last end") { !Upgradable.isRunning(second) && !Upgradable.isRunning(third) }
      #expect(try service.upgradable.first.process.waitForExit() == .code(0))
    }

    /// Each passes on what it hears, at once.
    @Test func aLongChainIsToldWithinTheTimeOfAnAnswer() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      var held: [Connection] = []
      for _ in 0..<8 {
        held += [try service.first(), try service.tunnel("/ws/a")]
        try service.upgradable.upgrade()
      }
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":")
      let outcome = try service.route("close", "sockets")
      #expect(outcome.output.contains("older processes that drain end theirs too"), "\(outcome)")
      for tunnel in held { try isClosed(tunnel) }
    }

    /// One that does not run is not told, also of what a reload closes.
    @Test func whatWasNotHeardIsNotTold() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let (first, tunnel) = (try service.first(), try service.tunnel("/ws/a"))
      let pid = try service.upgradable.upgrade()
      try isClosed(first)
      first.close()
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":1}")
      let old = service.upgradable.first.process
      try old.standStill()
      defer { old.signal(SIGCONT) }
      var next = service.configuration
      next.routes[0] += ", enabled: false"
      try service.upgradable.write(next)
      kill(pid, SIGHUP)
      try service.status(has: "\"older_processes\":{\"told\":false,\"requests\":0,\"tunnels\":1}")
      old.signal(SIGCONT)
      try isClosed(tunnel)
      tunnel.close()
      try service.status(has: "\"older_processes\":null")
    }

    // MARK: A chain that is cut

    private struct Chain {
      let workspace: Workspace
      let service: Service
      let first: Connection
      let (named, other): (Connection, Connection)
      let second: pid_t
    }

    /// The oldest process has tunnels, the second one nothing, and the third is the service.
    private func chain() throws -> Chain {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let first = try service.first()
      let (named, other) = (try service.tunnel("/ws/a"), try service.tunnel("/ws/b"))
      let second = try service.upgradable.upgrade()
      try isClosed(first)
      first.close()
      try service.upgradable.upgrade()
      try service.status(has: "\"older_processes\":{\"told\":true,\"requests\":0,\"tunnels\":2}")
      return Chain(
        workspace: workspace, service: service, first: first, named: named, other: other, second: second)
    }

    /// What is closed it would never hear.
    @Test func aProcessThatIsCutOffEndsItsTunnels() throws {
      let chain = try chain()
      let service = chain.service
      let half = try Connection(to: try service.address)
      kill(chain.second, SIGKILL)
      for tunnel in [chain.named, chain.other] {
        try isClosed(tunnel)
        tunnel.close()
      }
      try service.upgradable.first.said("says no more which routes are closed: tunnels end here")
      #expect(try service.upgradable.first.process.waitForExit() == .code(0))
      try service.status(has: "\"older_processes\":null")
      #expect(try half.get("/").status == 200)
      let entry = try service.upgradable.first.access.wait(for: "the tunnel") { $0.path == "/ws/b" }
      #expect(entry.refusal == "route-closed")
    }

    /// It does not run, so it cannot find that out.
    @Test func aProcessThatIsCutOffIsNotForgotten() throws {
      let chain = try chain()
      let service = chain.service
      let oldest = service.upgradable.first.process
      try oldest.standStill()
      defer { oldest.signal(SIGCONT) }
      kill(chain.second, SIGKILL)
      try service.status(has: "\"older_processes\":{\"told\":false,\"requests\":0,\"tunnels\":2}")
      try service.upgradable.first.said("an older process with 0 requests and 2 tunnels may still drain")
      let outcome = try service.route("close", "sockets")
      #expect(outcome.error.contains("has not heard of it: 2 tunnels go on there"), "\(outcome)")
      // Nor by a further upgrade.
      try service.upgradable.upgrade()
      try service.status(has: "\"older_processes\":{\"told\":false,\"requests\":0,\"tunnels\":2}")
      oldest.signal(SIGCONT)
      for tunnel in [chain.named, chain.other] {
        try isClosed(tunnel)
        tunnel.close()
      }
      #expect(try oldest.waitForExit() == .code(0))
      try service.status(has: "\"older_processes\":null")
    }

    /// The first signal gives it the time of a drain, in which it still passes on what is closed.
    @Test func aProcessThatWaitsForTheOneBeforeItEndsAtTheSecondSignal() throws {
      let chain = try chain()
      let service = chain.service
      // Before that a signal shortens its own drain.
      try service.upgradable.first.said("this process stays until the one before it has drained too")
      kill(chain.second, SIGTERM)
      try service.upgradable.first.said("the process before this one is waited for 5000 ms at most")
      let outcome = try service.route("close", "sockets")
      #expect(outcome.output.contains("older processes that drain end theirs too"), "\(outcome)")
      try isClosed(chain.named)
      try echoes(chain.other)
      kill(chain.second, SIGTERM)
      try isClosed(chain.other)
      chain.named.close()
      chain.other.close()
      #expect(try service.upgradable.first.process.waitForExit() == .code(0))
      try service.status(has: "\"older_processes\":null")
    }

    // MARK: Requests

    private static func trust(_ evidence: String) -> [String] {
      ["from: [\(Peer.balancers)], evidence: \(evidence)", "from: any, evidence: socket"]
    }

    private static let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    private static let half = "GET /half HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: \(Peer.client(8))\r\n"

    /// Heads of which a part has come, connections without a byte, and those that have not said yet who their client is.
    @Test func anUpgradeThatRemovesTrustSettlesNoRequestByTheOldRules() throws {
      let workspace = try Workspace()
      let gate = Guarded(false)
      defer { gate.with { $0 = true } }
      let service = try Service(in: workspace) {
        $0.listeners[0].trust = Self.trust("forwarded")
        $0.listeners.append(
          Configuration.Listener(name: "announced", listen: "127.0.0.1:0", trust: Self.trust("proxy-protocol")))
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
      }
      let address = try service.address
      func connect() throws -> Connection { try Connection(to: address, from: Peer.balancer) }
      let (half, fresh) = (try connect(), try connect())
      try half.send(Self.half)
      let announced = try Connection(to: try service.upgradable.first["announced"], from: Peer.balancer)
      let stream = HTTP2Client(over: try connect(), scheme: "http")
      try stream.begin()
      #expect(try stream.get("/before", fields: [("x-forwarded-for", Peer.client(8))]).status == 200)
      var next = service.configuration
      for i in next.listeners.indices { next.listeners[i].trust = Self.trust("refuse") }
      try service.upgradable.write(next)
      try service.upgradable.upgrade()

      try half.send("\r\n")
      let answer = try half.readResponse()
      #expect(answer.status == 503 && answer["connection"] == "close")
      // The one that has said nothing has a second to.
      try fresh.send(Self.half + "\r\n")
      #expect(try fresh.readResponse().status == 503)
      #expect(try stream.get("/crossing", fields: [("x-forwarded-for", Peer.client(8))]).status == 503)
      #expect((try? announced.readToEnd()) ?? [] == [])
      for target in ["/half", "/crossing"] { #expect(!service.backend.saw(target)) }
    }

    /// And with it one that comes a moment later, by a reload.
    @Test func aLaterReloadThatRemovesTrustHoldsForTheOldProcessToo() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace) { $0.listeners[0].trust = Self.trust("forwarded") }
      let connections = try (0..<2).map { _ in try Connection(to: try service.address, from: Peer.balancer) }
      for connection in connections { try connection.send(Self.half) }
      // Until it has read them.
      try eventually("an answer") { try Connection(to: try service.address).get("/").status == 200 }
      let pid = try service.upgradable.upgrade()
      // The same configuration: nothing is dropped.
      try connections[0].send("\r\n")
      #expect(try connections[0].readResponse().status == 200)
      var next = service.configuration
      next.listeners[0].trust = Self.trust("refuse")
      try service.upgradable.write(next)
      let start = service.upgradable.errors.count
      kill(pid, SIGHUP)
      try service.upgradable.first.said("reloaded generation=3", from: start)
      try service.status(has: "\"told\":true")
      observe(seconds: 0.3)
      try connections[1].send("\r\n")
      #expect(try connections[1].readResponse().status == 503)
      #expect(service.backend.requests(to: "/half").count == 1)
    }

    /// What says nothing of what a request gets: the reason for most upgrades that change a configuration.
    @Test func anUpgradeToMoreWorkersDropsNothing() throws {
      let workspace = try Workspace()
      let service = try Service(in: workspace)
      let connection = try Connection(to: try service.address)
      try connection.send("GET /half HTTP/1.1\r\nHost: a\r\n")
      try eventually("an answer") { try Connection(to: try service.address).get("/").status == 200 }
      var next = service.configuration
      next.workers = "2"
      next.timeouts.append("idle: 50s")
      next.access = "off"
      try service.upgradable.write(next)
      try service.upgradable.upgrade()
      try connection.send("\r\n")
      #expect(try connection.readResponse().status == 200)
    }

    /// Somebody whose password was taken out is not let in by the process that had it.
    @Test func aPasswordFileThatHasChangedHoldsForTheOldProcessToo() throws {
      let workspace = try Workspace()
      let users = try workspace.write("users", "anna:\(Self.hash)\n")
      let service = try Service(in: workspace) {
        $0.routes[3] = "to: backend, name: rest, access: { htpasswd: \"\(users)\" }"
        $0.workers = "1"
      }
      let connection = try Connection(to: try service.address)
      try connection.send("GET /half HTTP/1.1\r\nHost: a\r\n")
      let kept = try Connection(to: try service.address)
      #expect(try kept.get("/").status == 401)
      try workspace.write("users", "otto:\(Self.hash)\n")
      try service.upgradable.upgrade()
      // The worker has heard of it.
      #expect(try kept.readToEnd().isEmpty)
      try connection.send("\r\n")
      #expect(try connection.readResponse().status == 503)
    }
  }
}
