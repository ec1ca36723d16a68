// Connections that the old process of an upgrade keeps: what another request of theirs gets, and how long they are kept.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct UpgradeKept {
    private struct Service {
      let upgradable: Upgradable
      let configuration: Configuration
      let backend: RecordingBackend
      let workspace: Workspace
      var address: Address { get throws { try upgradable.first["public"] } }

      init(drain: String = "5s", change: (inout Configuration) throws -> Void = { _ in }) throws {
        workspace = try Workspace()
        backend = try RecordingBackend()
        var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.workers = "1"
        try change(&configuration)
        self.configuration = configuration
        upgradable = try Upgradable(configuration, in: workspace, drain: drain)
      }
    }

    /// Once the new process says that it has loaded, the old one begins nothing by what held before.
    @Test func behindReloadedAnOlderProcessBeginsNothingByEarlierRules() throws {
      for round in 0..<5 {
        let service = try Service { $0.listeners[0].trust = ["from: any, evidence: socket"] }
        let kept = try (0..<12).map { _ in try Connection(to: try service.address, from: Peer.client(3)) }
        for connection in kept { #expect(try connection.get("/before").status == 200) }
        let pid = try service.upgradable.upgrade()
        var next = service.configuration
        next.listeners[0].trust = ["from: [\(Peer.client(3))], evidence: refuse", "from: any, evidence: socket"]
        try service.upgradable.write(next)
        let start = service.upgradable.errors.count
        kill(pid, SIGHUP)
        try service.upgradable.first.said("reloaded generation=3", from: start)
        // One that has ended meanwhile has no answer.
        for connection in kept { _ = try? connection.get("/behind") }
        #expect(service.backend.requests(to: "/behind").isEmpty, "round \(round)")
      }
    }

    /// A balancer takes a server out whose check fails, and the one that answers it is as ready as it was.
    @Test func aBalancersCheckOnAKeptConnectionDoesNotFailBecauseOfAnUpgrade() throws {
      let service = try Service {
        $0.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: proxy-protocol", "from: any, evidence: socket"]
        $0.listeners[0].more = ["checks: [{ from: [\(Peer.balancers)], path: /healthz }]"]
      }
      func check(_ connection: Connection) throws -> Int { try connection.get("/healthz").status }
      let (kept, fresh) = (
        try Connection(to: try service.address, from: Peer.balancer),
        try Connection(to: try service.address, from: Peer.balancer)
      )
      #expect(try check(kept) == 200)
      try service.upgradable.upgrade()
      // Either may have been closed meanwhile; then there is no answer, and the next check is on another connection.
      for connection in [kept, fresh] { if let status = try? check(connection) { #expect(status == 200) } }
      #expect(try check(try Connection(to: try service.address, from: Peer.balancer)) == 200)
      #expect(service.backend.requests(to: "/healthz").isEmpty)
    }

    /// Kept connections have a second for a last request; bytes that are none do not make it longer.
    @Test func aConnectionThatDribblesIsNotKeptUntilTheEndOfTheDrain() throws {
      let service = try Service(drain: "10m") {
        $0.listeners[0].certificates = [try Certificates.standard.app]
        $0.timeouts = ["idle: 10m"]
      }
      let relay = try TrickleRelay(to: try service.address)
      let client = try Connection.tls(to: relay.address)
      #expect(try client.get("/").status == 200)
      try service.upgradable.upgrade()
      #expect(try relay.trickle(everyMilliseconds: 50, untilEndBy: .usual))
      #expect(try service.upgradable.first.process.waitForExit() == .code(0))
    }

    /// The new process has one start for all keys, so it does not begin while a key is too new for any.
    @Test func anUpgradeRightBehindANewKeyRefusesNothingThatOtherKeysSign() throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      let service = try Service {
        $0 = Configuration.validator(keys: keys, to: $0.upstreams[0].servers, bound: false)
        $0.identity[$0.identity.count - 1] = "clock_skew: 2s"
        $0.workers = "1"
      }
      let address = try service.upgradable.first["from-edge"]
      let forger = try Forger(validatorKeys: keys.validator)
      let status: @Sendable () throws -> Int = {
        let connection = try Connection(to: address)
        try connection.send(SignedRequest("/\(UUID().uuidString)", by: forger).text)
        return try connection.readResponse().status
      }
      try eventually("the validator has started", everyMilliseconds: 50) { try status() == 200 }
      try keys.add("later")
      let start = service.upgradable.errors.count
      service.upgradable.first.process.signal(SIGHUP)
      try service.upgradable.first.said("reloaded generation=2", from: start)
      let isOver = Guarded(false)
      let load = Background("messages by the other key") {
        var taken = 0
        while !isOver.now {
          let status = try status()
          guard status == 200 else { throw Trouble("answered \(status) behind \(taken)") }
          taken += 1
        }
      }
      try service.upgradable.upgrade()
      for _ in 0..<20 { #expect(try status() == 200) }
      isOver.with { $0 = true }
      try load.result()
    }

    // MARK: Chains

    private static func refusing(_ configuration: Configuration) -> Configuration {
      var next = configuration
      next.listeners[0].trust = ["from: [\(Peer.client(3))], evidence: refuse", "from: any, evidence: socket"]
      return next
    }

    /// With many routes, which take the processes between a while.
    @Test func behindAnUpgradeNoOlderProcessBeginsAnythingByEarlierRules() throws {
      let service = try Service {
        $0.listeners[0].trust = ["from: any, evidence: socket"]
        $0.routes = (0..<300).map { "path: /route/\($0), to: backend, name: r\($0)" } + $0.routes
      }
      func half(_ target: String) throws -> Connection {
        let connection = try Connection(to: try service.address, from: Peer.client(3))
        try connection.send("GET \(target) HTTP/1.1\r\nHost: a\r\n")
        // The process that serves now has it.
        try eventually("an answer") { try Connection(to: try service.address).get("/before").status == 200 }
        return connection
      }
      var held: [Connection] = []
      for _ in 0..<4 {
        for _ in 0..<3 { held.append(try half("/behind")) }
        try service.upgradable.upgrade()
      }
      for _ in 0..<3 { held.append(try half("/behind")) }
      try service.upgradable.write(Self.refusing(service.configuration))
      try service.upgradable.upgrade()
      for connection in held { try? connection.send("\r\n") }
      for connection in held { _ = try? connection.readResponse() }
      #expect(service.backend.requests(to: "/behind").isEmpty)
    }

    /// What was said while it could not hear holds for what came behind that.
    @Test func anOldProcessThatStoodStillBeginsNothingByEarlierRules() throws {
      let service = try Service { $0.listeners[0].trust = ["from: any, evidence: socket"] }
      let held = try (0..<8).map { _ in
        let connection = try Connection(to: try service.address, from: Peer.client(3))
        try connection.send("GET /behind HTTP/1.1\r\nHost: a\r\n")
        return connection
      }
      try eventually("an answer") { try Connection(to: try service.address).get("/before").status == 200 }
      let pid = try service.upgradable.upgrade()
      let old = service.upgradable.first.process
      try old.standStill()
      defer { old.signal(SIGCONT) }
      try service.upgradable.write(Self.refusing(service.configuration))
      let start = service.upgradable.errors.count
      kill(pid, SIGHUP)
      try service.upgradable.first.said("an older process that drains has not heard by which rules", from: start)
      try service.upgradable.first.said("reloaded generation=3", from: start)
      for connection in held { try connection.send("\r\n") }
      old.signal(SIGCONT)
      for connection in held { #expect(try connection.readResponse().status == 503) }
      #expect(service.backend.requests(to: "/behind").isEmpty)
    }

    // MARK: What waits

    /// Two are asked for at once, of which the first waits for an older process: the second must not be answered by a process that has
    /// handed over what is closed.
    @Test func aClosureThatIsAnsweredIsNotLostInAnUpgrade() throws {
      let service = try Service {
        $0.routes = ["path_prefix: /a, to: backend, name: a", "path_prefix: /b, to: backend, name: b"] + $0.routes
        $0.timeouts = ["drain_tunnels: 10m"]
      }
      let admin = String(service.upgradable.admin.dropFirst(5))
      let tunnel = try Connection(to: try service.address)
      try tunnel.send("GET /never HTTP/1.1\r\nHost: a\r\n")
      let second = try service.upgradable.upgrade()
      let oldest = service.upgradable.first.process
      try oldest.standStill()
      defer { oldest.signal(SIGCONT) }
      let asking = try (0..<2).map { _ in try Connection(unix: admin) }
      // Both are there when it looks.
      kill(second, SIGSTOP)
      for (name, connection) in zip(["a", "b"], asking) {
        try connection.send("POST /routes/close?name=\(name) HTTP/1.1\r\nHost: x\r\n\r\n")
      }
      kill(second, SIGCONT)
      try service.upgradable.upgrade()
      let answers = try asking.map { try $0.readResponse().status }
      for (name, answer) in zip(["a", "b"], answers) {
        let status = try Connection(to: try service.address).get("/\(name)").status
        #expect(answer == 503 && status == 200 || answer == 200 && status == 503, "\(name): \(answer), \(status)")
      }
    }

    /// It may take long; a reload that is urgent does not wait for it.
    @Test func aReloadIsTakenWhileAnUpgradeWaitsForANewKey() throws {
      let workspace = try Workspace()
      let keys = try Keys(in: workspace, prefix: "")
      let service = try Service {
        $0 = Configuration.validator(keys: keys, to: $0.upstreams[0].servers, bound: false)
        $0.identity[$0.identity.count - 1] = "clock_skew: 30s"
      }
      try keys.add("later")
      let process = service.upgradable.first
      process.process.signal(SIGHUP)
      try process.said("reloaded generation=2", from: 0)
      process.process.signal(SIGUSR2)
      try process.said("until what is signed by a key that has just come is taken", from: 0)
      process.process.signal(SIGHUP)
      try process.said("reloaded generation=3", from: 0)
      #expect(!service.upgradable.errors.lines.contains { $0.contains("starting the new process") })
      process.process.signal(SIGTERM)
      #expect(try process.process.waitForExit() == .code(0))
    }
  }
}
