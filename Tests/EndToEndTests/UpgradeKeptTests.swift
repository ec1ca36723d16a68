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
      for arguments in [
        ["new", "--kid", "later", "--out", keys.edge],
        ["export", "--audience", Keys.audience, "--in", keys.edge, "--out", keys.validator],
      ] { try ChildProcess.succeed([try Programs.countersign, "keys"] + arguments) }
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
  }
}
