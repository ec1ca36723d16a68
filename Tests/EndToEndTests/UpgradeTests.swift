// One process replaces another without a gap: nothing is refused, lost or taken twice, and what was known is known. And where the
// new one cannot, the old one goes on.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Upgrade {
    private static func site(
      _ workspace: Workspace, _ backend: RecordingBackend, options: [String] = [],
      change: (inout Configuration) -> Void = { _ in }
    ) throws -> (Configuration, Upgradable) {
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "off"
      change(&configuration)
      return (configuration, try Upgradable(configuration, in: workspace, options: options))
    }

    /// One request on a connection of its own, which the answer ends.
    private static func fetch(_ connection: Connection) throws {
      let response = try connection.get("/", fields: ["Connection: close"])
      guard response.status == 200 else { throw Trouble("answered \(response.status)") }
    }

    // MARK: Nothing is lost

    @Test func twentyUpgradesUnderLoadLoseNothing() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false)
      let path = workspace.file("public.sock")
      let (_, service) = try Self.site(workspace, backend) {
        $0.listeners[0].trust = ["from: any, evidence: socket"]
        $0.listeners.append(
          Configuration.Listener(
            name: "local", listen: "unix:\(path)", trust: ["from: any, evidence: forwarded"]))
      }
      let address = try service.first["public"]
      let isOver = Guarded(false)
      let done = Guarded(0)
      let load = (0..<4).map { index in
        Background("load \(index)") {
          while !isOver.now {
            try Self.fetch(try Connection(to: address))
            done.with { $0 += 1 }
          }
        }
      }
      let local = Background("load over a unix socket") {
        while !isOver.now {
          let connection = try Connection(unix: path)
          let response = try connection.get(
            "/", fields: ["Connection: close", "X-Forwarded-For: 192.0.2.7"])
          guard response.text == "192.0.2.7" else { throw Trouble("answered \(response.status) \(response.text)") }
          done.with { $0 += 1 }
        }
      }
      let watch = Background("counters") {
        var last = 0
        while !isOver.now {
          guard let now = try service.metric("countersign_requests_total") else {
            throw Trouble("a counter is missing")
          }
          guard now >= last else { throw Trouble("a counter went back from \(last) to \(now)") }
          last = now
        }
      }
      for count in 1...20 {
        let pid = try service.upgrade()
        try eventually("upgrade \(count) is said") { service.processes.count == count + 1 }
        #expect(service.processes.last == pid)
      }
      isOver.with { $0 = true }
      for one in load { try one.result() }
      try local.result()
      try watch.result()
      #expect(done.now > 100)
      // The old ones have ended, and what they counted is known.
      try eventually("the old processes end") { service.processes.dropLast().allSatisfy { !Upgradable.isRunning($0) } }
      var counted: Int?
      do {
        try eventually("all is counted") {
          counted = try service.metric("countersign_requests_total")
          return counted == done.now
        }
      } catch { throw Trouble("\(error): \(counted ?? -1) requests are counted, of \(done.now)") }
      #expect(try service.ask("/status").text.contains("\"generation\":21,"))
      #expect(workspace.has("public.sock") && workspace.has("service.admin"))
      #expect(try service.first.process.waitForExit() == .code(0))
    }

    /// Copies of each message are held at both processes, and let go in either order and at once; senders are new to both.
    @Test func aValidatorIsReplacedWithoutAReplayAndWithoutAStart() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let keys = try Keys.standard
      var configuration = Configuration.validator(keys: keys, to: ["\(backend.address)"], bound: false)
      configuration.identity[configuration.identity.count - 1] = "clock_skew: 1s"
      let service = try Upgradable(configuration, in: workspace)
      let address = try service.first["from-edge"]
      let known = try Forger(validatorKeys: keys.validator)
      // It may take requests up to a second before it calls itself ready.
      try eventually("the validator has started", everyMilliseconds: 50) {
        try answer(address, SignedRequest("/start", by: known).text) == 200 && service.ask("/healthz").status == 200
      }
      for round in 0..<5 {
        let new = try Forger(validatorKeys: keys.validator)
        let captured = try (0..<3).map { _ in try hold(address, SignedRequest(mark(), by: known), by: known) }
        let held = try (0..<24).map {
          try hold(address, SignedRequest(mark(), by: $0 % 2 == 0 ? known : new), by: known)
        }
        // What the old process has taken already.
        for one in captured { #expect(try one.finish() == 200) }
        let old = try #require(service.processes.last)
        let pid = try service.upgrade()
        #expect(Upgradable.isRunning(old) && pid != old, "the old process drains with what it holds")
        for one in captured { #expect(try answer(address, one.text) == 403, "round \(round)") }
        try together(held.count, by: .usual) { i in
          let one = held[i]
          var statuses: [Int]
          switch i % 3 {
          case 0: statuses = [try one.finish(), try answer(address, one.text)]
          case 1: statuses = [try answer(address, one.text), try one.finish()]
          default:
            let copy = Background("a copy") { try answer(address, one.text) }
            statuses = [try one.finish(), try copy.result()]
          }
          statuses.sort()
          guard statuses == [200, 403] else { throw Trouble("a message and its copy were answered \(statuses)") }
        }
        for one in held + captured { #expect(backend.requests(to: one.target).count == 1) }
        try eventually("the old process ends") { !Upgradable.isRunning(old) }
      }
      // It has started once, before the first upgrade.
      let firstRound = try #require(service.first.access.entries.firstIndex { $0.refusal == "replay" })
      #expect(!service.first.access.entries[firstRound...].contains { $0.refusal == "starting" })
      let health = try service.ask("/healthz")
      #expect(health.status == 200, "\(health.text)")
    }

    private func mark() -> String { "/upgrade/\(UUID().uuidString)" }

    /// A request all of which but its last byte has come to a process.
    private struct Held: Sendable {
      let connection: Connection
      let text: String
      let target: String

      func finish() throws -> Int {
        try connection.send(Array(text.utf8.suffix(1)))
        return try connection.readResponse().status
      }
    }

    private func hold(_ address: Address, _ request: SignedRequest, by forger: Forger) throws -> Held {
      let text = request.text
      let connection = try Connection(to: address)
      // An answer shows that this process has accepted the connection.
      try connection.send(SignedRequest("/hello", by: forger).text)
      guard try connection.readResponse().status == 200 else { throw Trouble("an honest request was refused") }
      try connection.send(Array(text.utf8.dropLast()))
      return Held(connection: connection, text: text, target: request.target)
    }

    private func answer(_ address: Address, _ text: String) throws -> Int {
      let connection = try Connection(to: address)
      try connection.send(text)
      return try connection.readResponse().status
    }

    /// They are closed one after the other within `drain_tunnels`, the first at once.
    @Test func aTunnelLivesOnInTheOldProcessUntilItIsClosed() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(WebSocket.echo)
      let (_, service) = try Self.site(workspace, backend) {
        $0.workers = "1"
        $0.timeouts = ["drain_tunnels: 10m"]
      }
      let tunnels = try (0..<2).map { _ in
        let connection = try Connection(to: try service.first["public"])
        #expect(try connection.get("/ws", fields: WebSocket.upgrade).status == 101)
        return connection
      }
      try service.upgrade()
      let closed: Int = try eventually("one is closed") {
        for (i, tunnel) in tunnels.enumerated() where try tunnel.fill(withinSeconds: 0.01) == true { return i }
        return nil
      }
      // A Close frame with "going away".
      #expect(try tunnels[closed].readFrame() == WebSocketFrame(0x88, [0x03, 0xe9]))
      let frame = WebSocket.frame("still here")
      try tunnels[1 - closed].send(frame)
      #expect(try tunnels[1 - closed].read(frame.count) == frame)
      #expect(service.first.process.exit == nil)
      for tunnel in tunnels { tunnel.close() }
      #expect(try service.first.process.waitForExit() == .code(0))
      #expect(try Connection(to: try service.first["public"]).get("/").status == 200)
    }

    /// A kept connection's request behind an upgrade has a second. The command may end a little before the old process's workers hear that
    /// they drain, so it asks until a response says that the connection ends. False where this host let it wait for longer than that.
    private static func askUntilTheLast(_ connection: Connection) throws -> Bool {
      var quiet = ContinuousClock.now
      while true {
        do {
          let response = try connection.get("/behind")
          #expect(response.status == 200)
          if response["connection"] == "close" { return true }
          quiet = .now
        } catch {
          guard ContinuousClock.now - quiet > .milliseconds(800) else { throw error }
          return false
        }
      }
    }

    private static func inTime(_ attempt: () throws -> Bool) throws {
      for _ in 0..<5 where try attempt() { return }
      throw Trouble("this host did not get to ask within a second, five times")
    }

    /// A request that was on its way when the old process began to drain would be lost with its connection.
    @Test func aKeptConnectionMayHaveALastRequest() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (_, service) = try Self.site(workspace, backend)
      try Self.inTime {
        let kept = try Connection(to: service.first["public"])
        #expect(try kept.get("/before").status == 200)
        try service.upgrade()
        return try Self.askUntilTheLast(kept)
      }
    }

    /// A response that began by saying that its connection stays open may end behind the handover.
    @Test(arguments: [false, true]) func aKeptConnectionWhoseResponseIsUnderWayMayHaveOneToo(_ isTLS: Bool) throws {
      let workspace = try Workspace()
      let certificate = try Certificates.standard.app
      let isReplaced = Guarded(false)
      let backend = try RecordingBackend { exchange in
        guard exchange.target == "/slow" else { return try exchange.reply("last") }
        try exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhe")
        _ = isReplaced.wait(until: .usual) { $0 ? true : nil }
        try exchange.send("re")
        exchange.end()
      }
      let (_, service) = try Self.site(workspace, backend) {
        if isTLS { $0.listeners[0].certificates = [certificate] }
      }
      let address = try service.first["public"]
      try Self.inTime {
        isReplaced.with { $0 = false }
        let connection = isTLS ? try Connection.tls(to: address, from: Peer.client()) : try Connection(to: address)
        try connection.send(Text.request("/slow"))
        let head = try #require(try connection.readHead())
        #expect(head["connection"] != "close")
        #expect(try connection.read(2) == Array("he".utf8))
        try service.upgrade()
        isReplaced.with { $0 = true }
        #expect(try connection.read(2) == Array("re".utf8))
        return try Self.askUntilTheLast(connection)
      }
    }

    /// Nor does it wait for long where none comes.
    @Test func aKeptConnectionWithoutARequestEndsSoon() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (_, service) = try Self.site(workspace, backend)
      let kept = try Connection(to: service.first["public"])
      #expect(try kept.get("/before").status == 200)
      try service.upgrade()
      #expect(try kept.readToEnd().isEmpty)
      #expect(try service.first.process.waitForExit() == .code(0))
    }

    /// It has the old one's path, and another file.
    @Test func aDrainingProcessLeavesTheSocketFileOfAnotherOne() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(WebSocket.echo)
      let path = workspace.file("local.sock")
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.workers = "1"
      configuration.timeouts = ["drain_tunnels: 10m"]
      configuration.listeners.append(
        Configuration.Listener(name: "local", listen: "unix:\(path)", trust: ["from: any, evidence: forwarded"]))
      let old = try Countersign(configuration, in: workspace)
      let tunnels = try (0..<2).map { _ in
        let connection = try Connection(to: try old["public"])
        #expect(try connection.get("/ws", fields: WebSocket.upgrade).status == 101)
        return connection
      }
      old.process.signal(SIGTERM)
      try eventually("nobody listens there") { (try? Connection(unix: path)) == nil }
      let new = try Countersign(configuration, in: try Workspace())
      #expect(old.process.exit == nil)
      for tunnel in tunnels { tunnel.close() }
      #expect(try old.process.waitForExit() == .code(0))
      #expect(try Connection(unix: path).get("/", fields: ["X-Forwarded-For: 192.0.2.7"]).status == 200)
      new.process.signal(SIGTERM)
      #expect(try new.process.waitForExit() == .code(0))
      #expect(!FileManager.default.fileExists(atPath: path))
    }

    // MARK: What is known is known

    @Test func closedRoutesStayClosed() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (_, service) = try Self.site(workspace, backend) { $0.routes = ["to: backend, name: all"] }
      let address = try service.first["public"]
      func route(_ arguments: String...) throws -> ChildProcess.Outcome {
        try ChildProcess.run([try Programs.countersign, "route"] + arguments + ["--admin", service.admin])
      }
      #expect(try route("close", "all", "--for", "2h", "--why", "a leak").succeeded)
      try service.upgrade()
      try service.upgrade()
      #expect(try Connection(to: address).get("/").status == 503)
      let listed = try route("list").output
      #expect(listed.contains("closed until ") && listed.contains("a leak"), "\(listed)")
      #expect(try route("open", "all").succeeded)
      try eventually("the route is open") { try Connection(to: address).get("/").status == 200 }
    }

    /// An operator who took a server out wants it out; and what checks have found is known before the first check.
    @Test func serversThatAreOutStayOut() throws {
      let workspace = try Workspace()
      let backends = try ["a", "b", "c"].map { name in
        try RecordingBackend { try $0.reply(name, status: $0.target == "/up" && name == "c" ? "500 No" : "200 OK") }
      }
      let (_, service) = try Self.site(workspace, backends[0]) {
        $0.upstreams[0].servers = backends.map { "\($0.address)" }
        $0.upstreams[0].members.append("health: { path: /up, interval: 2s, timeout: 2s, fall: 2 }")
      }
      let address = try service.first["public"]
      func servers(_ arguments: String...) throws -> String {
        let outcome = try ChildProcess.run(
          [try Programs.countersign, "servers"] + arguments + ["--admin", service.admin])
        #expect(outcome.succeeded, "\(outcome.error)")
        return outcome.output
      }
      // Each on a connection of its own, for one that an old process has may end between two of its requests.
      func answers() throws -> Set<String> {
        Set(try (0..<8).map { _ in try Connection(to: address).get("/", fields: ["Connection: close"]).text })
      }
      _ = try servers("drain", "\(backends[0].address)", "--why", "new kernel")
      try eventually("only one serves") { try answers() == ["b"] }
      for _ in 0..<2 {
        try service.upgrade()
        #expect(try answers() == ["b"])
        let listed = try servers()
        #expect(listed.contains("drained") && listed.contains("new kernel"), "\(listed)")
        #expect(listed.contains("check-failed") && listed.contains("status 500"), "\(listed)")
      }
      _ = try servers("up", "\(backends[0].address)")
      try eventually("it is back") { try answers() == ["a", "b"] }
      // An array is freed after its last use, and these serve to the end.
      withExtendedLifetime(backends) { #expect(backends.allSatisfy { !$0.requests.isEmpty }) }
    }

    @Test func workersAndListenersMayBeOthers() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (gone, come) = (workspace.file("gone.sock"), workspace.file("come.sock"))
      func listener(_ name: String, _ path: String) -> Configuration.Listener {
        Configuration.Listener(name: name, listen: "unix:\(path)", trust: ["from: any, evidence: refuse"])
      }
      var (configuration, service) = try Self.site(workspace, backend) {
        $0.workers = "3"
        $0.listeners.append(listener("gone", gone))
      }
      let address = try service.first["public"]
      for workers in ["1", "2", "4"] {
        configuration.workers = workers
        configuration.listeners[1] = listener("come", come)
        try service.write(configuration)
        let start = service.errors.count
        try service.upgrade()
        try service.first.said(" workers=\(workers) ", from: start)
        // Whichever socket of the port a connection comes to, somebody accepts it.
        for _ in 0..<32 { try Self.fetch(try Connection(to: address)) }
        #expect(workspace.has("come.sock"))
        try eventually("the old listener is gone") { !workspace.has("gone.sock") }
      }
    }

    @Test func aSignalUpgradesAndTheNewProcessServesItsOwn() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var (configuration, service) = try Self.site(workspace, backend)
      let address = try service.first["public"]
      service.first.process.signal(SIGUSR2)
      try service.first.said("serves from here on; this one drains")
      let pid: pid_t = try eventually("the new process is ready") {
        service.processes.count == 2 ? service.processes[1] : nil
      }
      #expect(try service.first.process.waitForExit() == .code(0))
      configuration.routes = ["path: \"/only\", to: backend"]
      try service.write(configuration)
      kill(pid, SIGHUP)
      try eventually("the new process reloads") { try Connection(to: address).get("/").status == 404 }
      kill(pid, SIGTERM)
      try eventually("the new process ends") { !Upgradable.isRunning(pid) }
      #expect(!workspace.has("service.admin"), "the socket's file is the new process's to remove")
    }

    // MARK: Where it is refused

    struct Refusal: Sendable, CustomTestStringConvertible {
      let title: String
      let words: [String]
      let make: @Sendable (Upgradable, Configuration) throws -> Void
      var testDescription: String { title }

      static let all: [Refusal] = [
        Refusal(title: "a program that ends", words: ["ended with status 3"]) { service, _ in
          try service.replaceProgram(by: "#!/bin/sh\nexit 3\n")
        },
        Refusal(title: "a program that hangs", words: ["did not get ready within 5500 ms"]) { service, _ in
          try service.replaceProgram(by: "#!/bin/sh\nexec sleep 600\n")
        },
        Refusal(title: "a program that is missing", words: ["no such file"]) { service, _ in
          try service.replaceProgram(withPath: "/nonexistent/countersign")
        },
        Refusal(title: "a program that speaks something else", words: ["is no handover"]) { service, _ in
          try service.replaceProgram(by: "#!/bin/sh\necho something else >&3\nexec sleep 600\n")
        },
        Refusal(title: "a program of another version", words: ["hands over in version 2"]) { service, _ in
          try service.replaceProgram(
            by: "#!/bin/sh\nprintf 'CSGH\\000\\002\\004\\000\\000\\000\\000\\000' >&3\nexec sleep 600\n")
        },
        Refusal(title: "a broken configuration", words: ["lissteners"]) { service, configuration in
          try service.write(text: configuration.text.replacing("listeners:", with: "lissteners:"))
        },
        Refusal(title: "a listener in use", words: ["in use"]) { service, configuration in
          var configuration = configuration
          let taken = try Socket.listen()
          configuration.listeners[0].listen = "\(taken.address)"
          try service.write(configuration)
        },
      ]
    }

    @Test(arguments: Refusal.all)
    func theOldProcessGoesOn(_ refusal: Refusal) throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let (configuration, service) = try Self.site(workspace, backend, options: ["--load-timeout", "500ms"])
      let address = try service.first["public"]
      let kept = try Connection(to: address)
      #expect(try kept.get("/").status == 200)
      try refusal.make(service, configuration)
      let outcome = try service.command()
      #expect(outcome.exit == .code(1))
      for word in refusal.words {
        #expect(outcome.error.lowercased().contains(word.lowercased()), "\(outcome.error)")
      }
      try service.first.said("upgrade refused; this process goes on: ")
      #expect(try kept.get("/").status == 200)
      for _ in 0..<8 { try Self.fetch(try Connection(to: address)) }
      // And it can still be upgraded.
      try service.replaceProgram(withPath: try Programs.countersign)
      try service.write(configuration)
      try service.upgrade()
      for _ in 0..<8 { try Self.fetch(try Connection(to: address)) }
    }

    @Test func anUpgradeIsNoWayAroundTheReloadGuard() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var (configuration, service) = try Self.site(workspace, backend) {
        $0.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: proxy-protocol", "from: any, evidence: socket"]
      }
      configuration.listeners[0].trust[0] = "from: [\(Peer.balancers)], evidence: forwarded"
      try service.write(configuration)
      let outcome = try service.command()
      #expect(outcome.exit == .code(1))
      #expect(outcome.error.contains("weakens trust (forwarded-before-proxy)"), "\(outcome.error)")
      #expect(try service.metric("countersign_config_generation") == 1)
      let asked = try service.first.said("needs `accept_weaker: \"")
      let hash = asked.components(separatedBy: "accept_weaker: \"")[1].prefix(16)
      try service.write(configuration, more: "accept_weaker: \"\(hash)\"\n")
      try service.upgrade()
      #expect(try service.metric("countersign_config_generation") == 2)
    }

    /// What a reload could not do either: the old process runs what it was last told, not what its file says.
    @Test func aReloadWaitsForAnUpgrade() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var (configuration, service) = try Self.site(workspace, backend)
      let address = try service.first["public"]
      let gate = workspace.file("gate")
      #expect(mkfifo(gate, 0o600) == 0)
      // Both ways, so that neither side waits for the other to open it.
      let opener = open(gate, O_RDWR | O_CLOEXEC)
      defer { close(opener) }
      let program = try Programs.countersign
      try service.replaceProgram(by: "#!/bin/sh\nread line < \"\(gate)\"\nexec \"\(program)\" \"$@\"\n")
      service.first.process.signal(SIGUSR2)
      try service.first.said("upgrade: starting")
      configuration.routes = ["path: \"/only\", to: backend"]
      try service.write(configuration)
      service.first.process.signal(SIGHUP)
      #expect(try Connection(to: address).get("/").status == 200)
      #expect(write(opener, "go\n", 3) == 3)
      // The new process is told.
      try service.first.said("reloaded generation=3")
      #expect(try Connection(to: address).get("/").status == 404)
    }

    @Test func whoMayNotChangeAnythingMayNotUpgrade() throws {
      let site = try Site(edge: { $0.hasAdmin = true })
      let connection = try Connection(to: site.edge["admin"], from: nil)
      try connection.send(Text.request("/upgrade", method: "POST", body: ""))
      #expect(try connection.readResponse().status == 403)
      #expect(try Connection(to: site.edge["admin"], from: nil).get("/upgrade").text.contains("\"state\":\"none\""))
    }
  }
}
