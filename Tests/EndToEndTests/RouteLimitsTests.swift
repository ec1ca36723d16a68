// What a route grants and asks of its own: addresses, sizes, times, and how many requests a client may have.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct RouteLimits {
    /// One process in front of a backend, with these routes; clients are who connects.
    final class Door {
      let workspace: Workspace
      let backend: RecordingBackend
      let edge: Countersign
      var configuration: Configuration

      init(
        _ routes: [String], script: @escaping RecordingBackend.Script = { try $0.reply("fine") },
        change: (inout Configuration, Workspace) throws -> Void = { _, _ in }
      ) throws {
        workspace = try Workspace()
        backend = try RecordingBackend(script)
        configuration = Configuration.plainEdge(to: ["\(backend.address)"])
        configuration.routes = routes
        configuration.hasAdmin = true
        try change(&configuration, workspace)
        edge = try Countersign(configuration, in: workspace)
      }

      func connect(from source: String = Peer.client()) throws -> Connection {
        try Connection(to: edge["public"], from: source)
      }
    }

    @Test func aRouteIsForSomeAddressesOnly() throws {
      let door = try Door([
        "path_prefix: /admin, to: backend, access: { allow: [\(Peer.client(1))] }",
        "path_prefix: /shop, to: backend, access: { deny: [\(Peer.client(2))] }", "to: backend",
      ])
      for (client, path, status) in [
        (1, "/admin", 200), (2, "/admin", 403), (3, "/admin/x", 403), (1, "/shop", 200), (2, "/shop", 403),
        (2, "/", 200),
      ] {
        let connection = try door.connect(from: Peer.client(client))
        // What a client claims to be does not matter.
        let answer = try connection.get(
          path, fields: ["X-Forwarded-For: \(Peer.client(1))", "X-Real-IP: \(Peer.client(1))"])
        #expect(answer.status == status, "client \(client) at \(path)")
        #expect(try connection.get("/").status == 200, "the connection goes on")
      }
      let entry = try door.edge.access.wait(refusal: "access-denied")
      #expect(entry.status == 403 && entry.detail == "the client's address may not take this route")
      #expect(door.backend.requests.allSatisfy { $0.target != "/admin/x" })
      #expect(try door.edge.metric("countersign_refusals_total{name=\"access-denied\"}") == 3)
    }

    @Test func theAddressIsTheSettledOne() throws {
      let door = try Door(
        ["to: backend, access: { allow: [\"2001:db8:1::/48\"] }"],
        change: { configuration, _ in configuration.listeners[0].trust = ["from: 127.0.0.0/8, evidence: proxy-protocol"]
        })
      for (client, status) in [("2001:db8:1:2::3", 200), ("2001:db8:2::3", 403)] {
        let connection = try door.connect()
        try connection.send("PROXY TCP6 \(client) ::1 1025 443\r\n")
        #expect(try connection.get("/").status == status)
      }
    }

    /// A tunnel does not outlive the right to it.
    @Test func aReloadEndsTunnelsOfWhoMayNoLongerTakeTheRoute() throws {
      let door = try Door(["to: backend"], script: WebSocket.echo)
      let (kept, ended) = (try door.connect(from: Peer.client(1)), try door.connect(from: Peer.client(2)))
      for connection in [kept, ended] { #expect(try connection.get("/ws", fields: WebSocket.upgrade).status == 101) }
      door.configuration.routes = ["to: backend, access: { deny: [\(Peer.client(2))] }"]
      try door.edge.reloadAccepting(door.configuration)
      _ = try ended.readToEnd()
      #expect(try door.edge.access.wait(refusal: "access-denied").client == Peer.client(2))
      #expect(try kept.fill(withinSeconds: 0.2) == nil)
    }

    @Test func aReloadThatRemovesAccessIsRefused() throws {
      let door = try Door([
        "path: /admin, to: backend, name: admin, access: { allow: [\(Peer.client(1))] }", "to: backend",
      ])
      let start = door.edge.process.standardError.count
      var open = door.configuration
      open.routes[0] = "path: /admin, to: backend, name: admin"
      try door.edge.reload(open)
      try door.edge.said("weakens trust (route-access)", "may take the route `admin` and could not before", from: start)
      #expect(try door.connect(from: Peer.client(2)).get("/admin").status == 403)
      try door.edge.reloadAccepting(open)
      #expect(try door.connect(from: Peer.client(2)).get("/admin").status == 200)
    }

    @Test func aRouteHasABodyLimitOfItsOwn() throws {
      let door = try Door(
        [
          "path: /large, to: backend, limits: { body: 100KiB }", "path: /any, to: backend, limits: { body: 0 }",
          "to: backend",
        ],
        change: { configuration, _ in configuration.limits = ["body: 1KiB"] })
      let body = String(repeating: "a", count: 50 * 1024)
      for (path, times, status) in [("/large", 1, 200), ("/large", 3, 413), ("/any", 3, 200), ("/other", 1, 413)] {
        let whole = String(repeating: body, count: times)
        for isChunked in [false, true] {
          let connection = try door.connect()
          let request =
            isChunked
            ? Text.request(path, method: "POST", fields: ["Transfer-Encoding: chunked"]) + Text.chunks([whole])
            : Text.request(path, method: "POST", body: whole)
          try? connection.send(request)
          #expect(try connection.readResponse().status == status, "\(path) \(times) \(isChunked)")
        }
      }
    }

    @Test func aRouteHasItsOwnPatience() throws {
      let door = try Door(
        [
          "path: /short, to: backend, timeouts: { upstream_response: 200ms }",
          "path: /body, to: backend, timeouts: { idle: 200ms }", "to: backend",
        ],
        script: { exchange in
          if exchange.target == "/short" { _ = try exchange.connection.readToEnd() }
          try exchange.reply("")
        })
      let connection = try door.connect()
      try connection.send(Text.request("/short", method: "POST", body: "once"))
      #expect(try connection.readResponse().status == 504)
      let slow = try door.connect()
      try slow.send("POST /body HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 100\r\n\r\nhalf")
      #expect(try slow.readResponse().status == 408)
      #expect(try door.edge.access.wait(path: "/body").refusal == "body-timeout")
    }

    // MARK: Rates

    @Test func aClientHasItsBurstAndThenIsToldToWait() throws {
      let door = try Door([
        "path: /limited, to: backend, limits: { rate: { requests: 60/h, burst: 3 } }", "to: backend",
      ])
      // Each on a connection of its own, so on either worker.
      var left: [String?] = []
      for _ in 0..<3 {
        let answer = try door.connect().get("/limited")
        #expect(answer.status == 200)
        #expect(answer["ratelimit-policy"] == "\"client\";q=3;w=180")
        left.append(answer["ratelimit"]?.components(separatedBy: ";t=").first)
      }
      #expect(left == ["\"client\";r=2", "\"client\";r=1", "\"client\";r=0"])
      let connection = try door.connect()
      for _ in 0..<2 {
        let refused = try connection.get("/limited")
        #expect(refused.status == 429 && refused.head.startLine == "HTTP/1.1 429 Too Many Requests")
        let wait = try #require(refused["retry-after"].flatMap { Int($0) })
        #expect((50...60).contains(wait))
        #expect(refused["ratelimit-policy"] == "\"client\";q=3;w=180")
        #expect(refused["ratelimit"]?.hasPrefix("\"client\";r=0;t=1") == true, "\(refused["ratelimit"] ?? "")")
      }
      // Another route, and another client, pay nothing for it.
      let other = try connection.get("/other")
      #expect(other.status == 200 && other["ratelimit"] == nil)
      #expect(try door.connect(from: Peer.client(8)).get("/limited").status == 200)
      #expect(door.backend.requests(to: "/limited").count == 4)
      #expect(try door.edge.access.wait(refusal: "rate-limited").status == 429)
      #expect(try door.edge.metric("countersign_refusals_total{name=\"rate-limited\"}") == 2)
      #expect(try door.edge.metric("countersign_rate_shared_total") == 0)
    }

    @Test func whatIsEarnedPasses() throws {
      let door = try Door(["to: backend, limits: { rate: { requests: 5/s, burst: 1 } }"])
      let connection = try door.connect()
      #expect(try connection.get("/").status == 200)
      var refused = 0
      try eventually("another request is earned") {
        let status = try connection.get("/").status
        if status == 429 { refused += 1 }
        return status == 200
      }
      #expect(refused > 0)
    }

    @Test func anIPv6ClientIsCountedByItsNetwork() throws {
      let door = try Door(
        [
          "path: /client, to: backend, limits: { rate: { requests: 1/h } }",
          "path: /subnet, to: backend, limits: { rate: { requests: 1/h, key: client_subnet } }", "to: backend",
        ],
        change: { configuration, _ in
          configuration.listeners[0].trust = ["from: 127.0.0.0/8, evidence: proxy-protocol"]
          configuration.limits = ["connections_per_client: 1"]
        })
      func connect(_ client: String) throws -> Connection {
        let connection = try door.connect()
        try connection.send(
          "PROXY TCP\(client.contains(":") ? 6 : 4) \(client) \(client.contains(":") ? "::1" : "127.0.0.1") 1025 443\r\n"
        )
        return connection
      }
      for (client, path, status) in [
        ("2001:db8:1:2::3", "/client", 200), ("2001:db8:1:2:ffff::9", "/client", 429),
        ("2001:db8:1:3::3", "/client", 200),
        ("2001:db8:1:2::3", "/subnet", 200), ("2001:db8:1:9::3", "/subnet", 429), ("2001:db8:2:9::3", "/subnet", 200),
        ("192.0.2.7", "/client", 200), ("192.0.2.8", "/client", 200), ("192.0.2.7", "/subnet", 200),
        ("192.0.2.8", "/subnet", 429), ("192.0.3.8", "/subnet", 200),
      ] {
        // Connections of one network are counted together, too, so the one before has to be gone.
        let answer: HTTPResponse = try eventually("the connection before is gone") {
          let connection = try connect(client)
          defer { connection.close() }
          return try? connection.get(path)
        }
        #expect(answer.status == status, "\(client) at \(path)")
      }
      let held = try connect("2001:db8:7:7::1")
      #expect(try held.get("/other").status == 200)
      let start = door.edge.access.end
      let second = try connect("2001:db8:7:7:1::2")
      try? second.send(Text.request("/other"))
      _ = try? second.readToEnd()
      _ = try door.edge.access.wait(refusal: "client-limit", from: start)
      #expect(try connect("2001:db8:7:8::2").get("/other").status == 200)
    }

    @Test func aFieldMayBeWhatIsCounted() throws {
      let door = try Door(["to: backend, limits: { rate: { requests: 1/h, key: { header: X-Api-Key } } }"])
      let connection = try door.connect()
      for (key, status) in [("a", 200), ("b", 200), ("a", 429), ("b", 429)] {
        #expect(try connection.get("/", fields: ["x-api-key: \(key)"]).status == status, "\(key)")
      }
      // Whoever leaves it out is counted by its address.
      #expect(try connection.get("/").status == 200)
      #expect(try connection.get("/").status == 429)
      #expect(try door.connect(from: Peer.client(8)).get("/").status == 200)
    }

    @Test func countsGoOnThroughAReloadThatLeavesTheRouteAsItIs() throws {
      let route = "path: /limited, to: backend, limits: { rate: { requests: 1/h, burst: 2 } }"
      let door = try Door([route, "to: backend"])
      let connection = try door.connect()
      #expect(try connection.get("/limited").status == 200)
      door.configuration.routes = ["path: /new, to: backend", route, "to: backend"]
      try door.edge.reloadAccepting(door.configuration)
      #expect(try connection.get("/limited").status == 200)
      #expect(try connection.get("/limited").status == 429)
      door.configuration.routes[1] = route.replacing("burst: 2", with: "burst: 3")
      try door.edge.reloadAccepting(door.configuration)
      #expect(try connection.get("/limited").status == 200, "another rate has other counts")
    }
  }
}
