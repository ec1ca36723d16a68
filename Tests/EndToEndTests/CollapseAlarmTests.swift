// The accident again: a proxy in front stops passing its clients' addresses on, and says its own neighbour's for everyone. The edge cannot
// know that this is wrong, but it can see that many clients have become one.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct CollapseAlarm {
    /// Requests of a balancer's connection, each for its own client, a hundred a second.
    private func send(
      _ connection: Connection, seconds: Double, until isOver: () throws -> Bool = { false }, client: (Int) -> String
    )
      throws
    {
      let end = Deadline.after(seconds)
      var number = 0
      while !end.hasPassed {
        let response = try connection.get("/crowd", fields: ["X-Forwarded-For: \(client(number))"])
        #expect(response.status == 200)
        number += 1
        if number % 50 == 0, try isOver() { return }
        poll(nil, 0, 8)
      }
    }

    @Test func manyClientsThatBecomeOneAreAnAlarm() throws {
      let site = try Site(
        .shared, keepsBytes: false, script: WebSocket.echo,
        edge: {
          $0.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: forwarded", "from: any, evidence: socket"]
          $0.listeners[0].more = [
            "checks: [{ from: [\(Peer.balancers)], path: /healthz }]", "on_collapse: refuse",
            "unready_on_collapse: true",
          ]
          $0.routes = [
            "path_prefix: /discovery, to: monitor, name: discovery, needs_distinct_clients: true",
            "path_prefix: /ws, to: monitor, name: sockets, needs_distinct_clients: true", "to: monitor",
          ]
          $0.hasAdmin = true
        })
      func clients(_ number: Int) -> String { Peer.client(number * 7 % 40) }
      let balancer = try Connection(to: site.publicAddress, from: Peer.balancer)
      let tunnel = try site.connect()
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade).status == 101)
      try send(balancer, seconds: 26, client: clients)
      #expect(try site.connect().get("/discovery").status == 200)

      let said = site.edge.process.standardError
      var alarm: String?
      let start = ContinuousClock.now
      try send(
        balancer, seconds: 60,
        until: {
          alarm = said.lines.first { $0.contains("COLLAPSE at the listener public") }
          return alarm != nil
        }, client: { _ in Peer.client(239) })
      let line = try #require(alarm, "no alarm")
      // A request that was on its way when the balancer changed may be the second.
      #expect(["1", "2"].contains { line.contains("clients have become \($0), ") }, "\(line)")
      #expect(line.contains("routes with needs_distinct_clients are closed"))
      // A quarter of the time that it may take, times what a machine with much else to do takes longer.
      #expect(ContinuousClock.now - start < .seconds(40))

      let refused = try site.connect().get("/discovery")
      #expect(refused.status == 503 && refused["retry-after"] == "60")
      let entry = try site.edge.access.wait(refusal: "clients-indistinct")
      #expect(entry.path == "/discovery" || entry.path == "/ws")
      _ = try? tunnel.readToEnd()
      #expect(try site.edge.access.wait(path: "/ws").refusal == "clients-indistinct")
      #expect(try site.connect().get("/other").status == 200, "a route that does not need it is open")
      let check = try Connection(to: site.publicAddress, from: Peer.balancer).get("/healthz")
      #expect(check.status == 503 && check.text.contains("collapse: many clients have become one"), "\(check.text)")
      let metrics = try Connection(to: site.edge["admin"], from: nil).get("/metrics")
      #expect(metrics.metric("countersign_collapse{listener=\"public\"}") == 1)
      #expect(metrics.metric("countersign_collapses_total{listener=\"public\"}") == 1)

      // The balancer is repaired.
      try send(
        balancer, seconds: 60,
        until: { said.lines.contains { $0.contains("collapse at the listener public is over") } }, client: clients)
      try eventually("the route is open again") { try site.connect().get("/discovery").status == 200 }
      #expect(try Connection(to: site.publicAddress, from: Peer.balancer).get("/healthz").status == 200)
    }

    /// An upgrade is what somebody may try who sees a collapse. The new process has never seen the clients that are gone.
    @Test func anUpgradeDuringACollapseOpensNothing() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend(keepsBytes: false)
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "off"
      configuration.listeners[0].trust = [
        "from: [\(Peer.balancers)], evidence: forwarded", "from: any, evidence: socket",
      ]
      configuration.listeners[0].more = ["on_collapse: refuse", "unready_on_collapse: true"]
      configuration.routes = [
        "path_prefix: /discovery, to: backend, name: discovery, needs_distinct_clients: true", "to: backend",
      ]
      let service = try Upgradable(configuration, in: workspace)
      let address = try service.first["public"]
      func balancer() throws -> Connection { try Connection(to: address, from: Peer.balancer) }
      func discovery() throws -> Int { try Connection(to: address).get("/discovery").status }
      func clients(_ number: Int) -> String { Peer.client(number * 7 % 40) }
      func said(_ text: String) -> Bool { service.errors.lines.contains { $0.contains(text) } }
      try send(try balancer(), seconds: 26, client: clients)
      #expect(try discovery() == 200)
      try send(
        try balancer(), seconds: 60, until: { said("COLLAPSE at the listener public") },
        client: { _ in Peer.client(239) })
      #expect(try discovery() == 503)

      for _ in 0..<2 {
        try service.upgrade()
        #expect(try service.ask("/healthz").text.contains("collapse: many clients have become one"))
        #expect(try discovery() == 503)
        #expect(try service.metric("countersign_collapse{listener=\"public\"}") == 1)
        #expect(try service.metric("countersign_collapses_total{listener=\"public\"}") == 1)
        try send(try balancer(), seconds: 5, client: { _ in Peer.client(239) })
        #expect(try discovery() == 503, "what lasts is not what is usual")
      }
      #expect(said("the collapse at the listener public, which the process before this one saw, lasts here too"))
      try send(
        try balancer(), seconds: 60, until: { said("collapse at the listener public is over") }, client: clients)
      try eventually("the route is open again") { try discovery() == 200 }
    }
  }
}
