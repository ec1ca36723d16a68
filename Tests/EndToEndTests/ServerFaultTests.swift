// Servers that do not answer, validators that have just come up, connections that end while nobody uses them: what of it
// reaches a client.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ServerFaults {
    // MARK: Out of reach

    /// Few requests find out that it does not answer, however many there are.
    @Test func aServerThatSwallowsEverythingIsAskedRarely() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let hole = try BlackHole()
      var configuration = Configuration.plainEdge(to: ["\(hole.address)", "\(backend.address)"])
      configuration.timeouts = ["upstream_connect: 200ms"]
      configuration.workers = "1"
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let connections = try (0..<8).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      let seconds = try secondsTaken {
        let end = Deadline.after(3.5)
        var round = 0
        while !end.hasPassed {
          round += 1
          for connection in connections { try connection.send(Text.request("/\(round)")) }
          for connection in connections { #expect(try connection.readResponse().status == 200) }
        }
      }
      let line = try edge.said("upstream server \(hole.address) cannot be reached: no connection in time")
      #expect(line.contains("warning"))
      // The first time those that had set out together found out, by turns half of the clients; after that one at a
      // time, after rests of one second, two, four and so on.
      let tries = try #require(try edge.metric("countersign_retries_total"))
      #expect(tries >= 1)
      #expect(tries <= connections.count + Int(log2(seconds + 2)) + 1, "\(tries) tries in \(seconds) s")
    }

    /// It is asked again, and taken back when it answers.
    @Test func aServerThatCanBeReachedAgainIsTakenBack() throws {
      let workspace = try Workspace()
      let lone = try RecordingBackend { try $0.reply("lone") }
      let address = try Socket.reserve()
      var configuration = Configuration.plainEdge(to: ["\(lone.address)", "\(address)"])
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let client = try Connection(to: edge["public"])
      for _ in 0..<4 { #expect(try client.get("/").text == "lone") }
      let other = try RecordingBackend(listen: address) { try $0.reply("other") }
      try eventually("it is taken back", everyMilliseconds: 50) { try client.get("/").text == "other" }
      #expect(other.requests.count >= 1)
    }

    /// A client that gives up first does not keep the server from resting.
    @Test func aConnectTimeoutIsNoticedThoughTheClientLeft() throws {
      let workspace = try Workspace()
      let hole = try BlackHole()
      var configuration = Configuration.plainEdge(to: ["\(hole.address)"])
      configuration.timeouts = ["upstream_connect: 1s"]
      configuration.hasAdmin = true
      let edge = try Countersign(configuration, in: workspace)
      let client = try Connection(to: edge["public"])
      try client.send(Text.request("/"))
      try eventually("it is being connected") { try open(edge) == 1 }
      client.reset()
      _ = try edge.access.wait(refusal: "client-reset")
      try edge.said("no connection in time")
      let patient = try Connection(to: edge["public"])
      #expect(try patient.get("/").status == 504)
    }

    /// One that takes connections and fails at TLS rests as well.
    @Test func aServerWhoseTLSFailsRests() throws {
      let workspace = try Workspace()
      let site = try Site(.shared, hopTLS: true)
      let plain = try RecordingBackend { $0.end() }
      var configuration = site.edgeConfiguration
      configuration.upstreams[0].servers.insert("\(plain.address)", at: 0)
      configuration.workers = "1"
      configuration.timeouts = ["handshake: 1s"]
      let edge = try Countersign(configuration, name: "second", in: workspace)
      let client = try Connection(to: edge["public"])
      let seconds = try secondsTaken { () throws in
        for i in 0..<100 { #expect(try client.get("/\(i)").status == 200) }
      }
      try edge.said("\(plain.address) cannot be reached: TLS: ")
      #expect(plain.connectionCount >= 1)
      #expect(plain.connectionCount <= 2 + Int(log2(seconds + 2)))
    }

    /// Connections to servers that are open, or being opened.
    private func open(_ edge: Countersign) throws -> Int? {
      try edge.metric("countersign_open_connections{side=\"upstream\"}")
    }

    // MARK: Just started

    /// More than can be held: its rest stays with the client until the validator takes it.
    @Test(arguments: Site.Mode.allCases)
    func aLargeBodyWaitsForAValidatorThatIsStarting(_ mode: Site.Mode) throws {
      let body = String(repeating: "0123456789abcdef", count: 20_000)
      let site = try Site(
        mode, isStarting: true, script: { try $0.reply("\(try $0.readBody().bytes.count)") },
        validator: { $0.identity[$0.identity.count - 1] = "clock_skew: 1500ms" })
      let connections = try (0..<4).map { try site.connect(from: Peer.client($0)) }
      // What does not fit the buffers is sent while the edge reads it, so each has a thread of its own.
      try together(connections.count, by: .usual) { i in
        try connections[i].send(Text.request("/large/\(i)", method: "POST", body: body))
      }
      for (i, connection) in connections.enumerated() {
        let response = try connection.readResponse()
        #expect(response.status == 200)
        #expect(response.text == "\(body.utf8.count)")
        #expect(site.backend.requests(to: "/large/\(i)").count == 1)
      }
      _ = try site.validator.access.wait(refusal: "starting")
    }

    /// Nobody told the edge that the validator is another process: no connection was open when it was restarted.
    @Test(arguments: Site.Mode.allCases)
    func aLargeBodyMeetsARestartedValidator(_ mode: Site.Mode) throws {
      let body = String(repeating: "0123456789abcdef", count: 20_000)
      let address = try Socket.reserve()
      let site = try Site(
        mode,
        script: { exchange in
          if exchange.head["expect"] != nil { try exchange.send("HTTP/1.1 100 Continue\r\n\r\n") }
          try exchange.reply("\(exchange.readBody().bytes.count)")
        }, validator: { $0.listeners[0].listen = "\(address)" },
        edge: {
          $0.workers = "1"
          $0.timeouts = ["idle: 2s"]
          $0.hasAdmin = true
        })
      let early = try site.connect()
      #expect(try early.get("/early").status == 200)
      early.close()
      try eventually("no connection is left") { try open(site.edge) == 0 }
      site.validator.process.kill()
      var configuration = site.validatorConfiguration
      configuration.identity[configuration.identity.count - 1] = "clock_skew: 1500ms"
      let again = try Countersign(configuration, name: "again", in: site.workspace)
      let client = try site.connect()
      try client.send(Text.request("/large", method: "POST", body: body))
      // Its first line is the answer's: the word that the edge asked for is not the client's.
      let head = try #require(try client.readHead())
      #expect(head.text.hasPrefix("HTTP/1.1 200 "))
      #expect(try client.readText(head.contentLength ?? 0) == "\(body.utf8.count)")
      #expect(site.backend.requests(to: "/large").count == 1)
      _ = try again.access.wait(refusal: "starting")
      // It has answered now, and over this connection it is not asked again.
      try client.send(Text.request("/more", method: "POST", body: body))
      #expect(try client.readResponse().status == 200)
      #expect(site.backend.requests(to: "/more").first?.head["expect"] == nil)
    }

    /// Where another server is ready, nobody waits for the one that has just started.
    @Test func aServerThatIsReadyTakesWhatAStartingOneRefuses() throws {
      let site = try Site(.shared)
      var young = site.validatorConfiguration
      young.identity[young.identity.count - 1] = "clock_skew: 30s"
      let second = try Countersign(young, name: "second", in: site.workspace)
      var configuration = site.edgeConfiguration
      configuration.upstreams[0].servers.insert("\(try second["from-edge"])", at: 0)
      configuration.workers = "1"
      let edge = try Countersign(configuration, name: "front", in: site.workspace)
      let client = try Connection(to: edge["public"])
      // The young one would refuse them for half a minute.
      for i in 0..<20 { #expect(try client.get("/\(i)").status == 200) }
      _ = try second.access.wait(refusal: "starting")
    }

    // MARK: Idle

    /// What ended one kept connection may have ended them all, as a process that drains does.
    @Test func aRequestMeetsOneEndedConnectionAtMost() throws {
      let count = 8
      let served = Guarded<Set<Int>>([])
      let backend = try RecordingBackend { exchange in
        // Each connection has one answer, and the first ones wait for each other, so that they are `count`.
        guard served.with({ $0.insert(exchange.request.connection).inserted }) else { return exchange.end() }
        guard served.wait(until: .usual, { $0.count >= count ? true : nil }) != nil else {
          throw Trouble("fewer than \(count) connections came")
        }
        try exchange.reply("\(exchange.request.connection)")
      }
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let clients = try (0..<count).map { try Connection(to: edge["public"], from: Peer.client($0)) }
      for client in clients { try client.send(Text.request("/first")) }
      for client in clients { #expect(try client.readResponse().status == 200) }
      #expect(backend.connectionCount == count)
      for method in ["GET", "PUT"] {
        try clients[0].send(Text.request("/\(method)", method: method, body: method == "PUT" ? "all" : nil))
        #expect(try clients[0].readResponse().status == 200, "\(method)")
        #expect(backend.requests(to: "/\(method)").count == 2, "\(method)")
      }
      // What may have been acted on is not sent again.
      try clients[0].send(Text.request("/POST", method: "POST", body: "once"))
      #expect(try clients[0].readResponse().status == 502)
      #expect(backend.requests(to: "/POST").count == 1)
    }

    /// So that no request meets the validator's end of the connection on its way.
    @Test func theEdgeEndsAnIdleBoundConnectionFirst() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.timeouts = ["idle: 12s"]
          $0.hasAdmin = true
        })
      let client = try site.connect()
      #expect(try client.get("/first").status == 200)
      try eventually("it is counted") { try open(site.edge) == 1 }
      try eventually("the edge ends it", everyMilliseconds: 50) { try open(site.edge) == 0 }
      // The client's own connection has a quarter of its time left, 3 s.
      try client.send(Text.request("/second", method: "POST", body: "once"))
      #expect(try client.readResponse().status == 200)
      let peers = try ["/first", "/second"].map { try site.validator.access.wait(path: $0).peer }
      #expect(peers[0] != peers[1])
    }
  }
}
