// What a client may not take: more room, more time, more connections than it is given.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Limits {
    @Test func aHeadMayBeAsLargeAsTheLimitAndNoLarger() throws {
      let site = try Site(.bound, validator: { $0.limits = ["head: 16KiB"] }, edge: { $0.limits = ["head: 8KiB"] })
      func request(_ size: Int) -> String {
        let frame = Text.request("/sized", fields: ["X-Fill: "]).utf8.count
        return Text.request("/sized", fields: ["X-Fill: " + String(repeating: "a", count: size - frame)])
      }
      let connection = try site.connect()
      try connection.send(request(8 * 1024))
      #expect(try connection.readResponse().status == 200)
      try connection.send(request(8 * 1024 + 1))
      #expect(try connection.readResponse().status == 431)
      #expect(try connection.readToEnd() == [])
      #expect(site.backend.requests.count == 1)
    }

    @Test func fieldsAreCounted() throws {
      let site = try Site(.bound, validator: { $0.limits = ["fields: 40"] }, edge: { $0.limits = ["fields: 20"] })
      let connection = try site.connect()
      // Host is one of them.
      #expect(try connection.get("/fields", fields: (0..<19).map { "X-\($0): a" }).status == 200)
      #expect(try connection.get("/fields", fields: (0..<20).map { "X-\($0): a" }).status == 431)
      _ = try site.edge.access.wait(refusal: "too-many-fields")
    }

    /// An edge adds fields of its own, and a validator to the answer: with the same limits at both, what the first one takes
    /// is not refused by the second. The fields are spelled without a space, which those that we write have.
    @Test(arguments: ["hmac", "ed25519"])
    func whatTheEdgeTakesIsNotTooLargeForTheValidator(_ algorithm: String) throws {
      let workspace = try Workspace()
      let keys = algorithm == "hmac" ? try Keys.standard : try Keys(in: workspace, prefix: "", algorithm: algorithm)
      let limits = ["head: 2KiB", "fields: 20"]
      let site = try Site(
        .shared,
        script: { request in
          guard let size = Int(request.head["x-want"] ?? "") else { return try request.reply("small") }
          let frame = "HTTP/1.1 200 OK\r\nTransfer-Encoding:chunked\r\nX-Fill:\r\n\r\n"
          let fill = String(repeating: "a", count: size - frame.utf8.count)
          try request.send(frame.replacing("X-Fill:", with: "X-Fill:\(fill)") + Text.chunks(["large"]))
        },
        validator: {
          $0.identity[0] = "keys: \"\(keys.validator)\""
          $0.limits = limits
        },
        edge: {
          $0.identity[1] = "keys: \"\(keys.edge)\""
          $0.limits = limits
        })
      func request(_ size: Int, fields count: Int) -> String {
        let fields = (2..<count).map { "X-\($0):a" }
        let frame =
          "POST /sized HTTP/1.1\r\nHost:\(Site.host)\r\nTransfer-Encoding:chunked\r\n"
          + fields.map { $0 + "\r\n" }.joined()
        let fill = String(repeating: "a", count: max(0, size - frame.utf8.count - 11))
        return frame + (count > 2 ? "X-Fill:\(fill)\r\n" : "") + "\r\n" + Text.chunks(["body"])
      }
      let most = 2 * 1024
      for (size, fields, status) in [
        (most - 1, 19, 200), (most, 19, 200), (most + 1, 19, 431), (most, 18, 200), (most, 20, 431),
      ] {
        let connection = try site.connect()
        try connection.send(request(size, fields: fields))
        #expect(try connection.readResponse().status == status, "\(size) bytes, \(fields + 1) fields")
      }
      #expect(site.validator.access.entries.allSatisfy { $0.refusal == nil })
      // A server's head may have 16 KiB at least.
      for (size, status) in [(16 * 1024 - 1, 200), (16 * 1024, 200), (16 * 1024 + 1, 502)] {
        let connection = try site.connect()
        #expect(try connection.get("/large", fields: ["X-Want: \(size)"]).status == status, "\(size) bytes back")
      }
      _ = try site.validator.access.wait(refusal: "upstream-response")
    }

    /// Each trailer is written with a space more than it came with.
    @Test func trailersThatTheEdgeTakesAreNotTooLargeForTheValidator() throws {
      let lines = (0..<90).map { "t\($0):" + String(repeating: "v", count: 85) }
      var section = lines.map { $0 + "\r\n" }.joined()
      section += "f:" + String(repeating: "v", count: 8_192 - section.utf8.count - 6) + "\r\n\r\n"
      #expect(section.utf8.count == 8_192)
      let body = "2\r\nok\r\n0\r\n" + section
      let site = try Site(
        .shared,
        script: { request in
          try request.finishBody()
          try request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        })
      let connection = try site.connect()
      try connection.send(
        "POST /trailers HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
      let head = try #require(try connection.readHead())
      #expect(head.text.hasPrefix("HTTP/1.1 200 "))
      let answer = try connection.readChunked()
      #expect(answer.text == "ok" && answer.trailers.count == 91)
      #expect(site.validator.access.entries.allSatisfy { $0.refusal == nil })
    }

    @Test func aBodyMayBeAsLargeAsTheLimitAndNoLarger() throws {
      let site = try Site(.bound, edge: { $0.limits = ["body: 10KiB"] })
      let fits = String(repeating: "a", count: 10 * 1024)
      let connection = try site.connect()
      try connection.send(Text.request("/fits", method: "POST", body: fits))
      #expect(try connection.readResponse().status == 200)
      try connection.send(Text.request("/large", method: "POST", body: fits + "a"))
      #expect(try connection.readResponse().status == 413)
      #expect(!site.backend.saw("/large"))
      let chunked = try site.connect()
      try chunked.send(
        Text.request("/chunked", method: "POST", fields: ["Transfer-Encoding: chunked"]) + Text.chunks([fits, "a"]))
      #expect(try chunked.readResponse().status == 413)
      #expect(!site.backend.completed.contains("/chunked"))
    }

    @Test func aSlowHeadIsEndedByItsDeadline() throws {
      let site = try Site(.bound, edge: { $0.timeouts = ["head: 1s"] })
      // One that stops in the middle, and one that goes on for ever, byte by byte.
      let stopped = try site.connect()
      try stopped.send("GET /stopped HTTP/1.1\r\nHost:")
      let dribbling = try site.connect()
      try dribbling.send("GET /dribbling HTTP/1.1\r\nHost: \(Site.host)\r\n")
      let seconds = try secondsTaken {
        var heard = false
        while !heard {
          do { try dribbling.send("X-A: b\r\n") } catch { break }
          heard = try dribbling.fill(withinSeconds: 0.05) != nil
        }
      }
      #expect(seconds < 5, "the drip went on for \(seconds) s")
      #expect(try dribbling.readResponse().status == 408)
      #expect(try stopped.readResponse().status == 408)
      #expect(try stopped.readToEnd() == [])
      #expect(try site.edge.access.wait(refusal: "head-timeout").status == 408)
      // The deadline is of a head, not of a connection.
      let honest = try site.connect()
      for index in 0..<5 {
        #expect(try honest.get("/honest/\(index)").status == 200)
        #expect(try honest.fill(withinSeconds: 0.25) == nil)
      }
      #expect(!site.backend.saw("dribbling") && !site.backend.saw("stopped"))
    }

    @Test func aBodyThatStopsIsEndedByItsDeadline() throws {
      let site = try Site(.bound, edge: { $0.timeouts = ["idle: 1s"] })
      let connection = try site.connect()
      try connection.send("POST /stops HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 100\r\n\r\nhalf")
      _ = try site.backend.waitForRequest(to: "/stops")
      #expect(try connection.readResponse().status == 408)
      #expect(try connection.readToEnd() == [])
      #expect(try site.edge.access.wait(path: "/stops").refusal == "body-timeout")
      try site.backend.waitForOpenCount(0)
      #expect(!site.backend.completed.contains("/stops"))
    }

    @Test func aSilentConnectionIsClosedWithoutAWord() throws {
      let site = try Site(.bound, edge: { $0.timeouts = ["head: 1s", "idle: 1s"] })
      let silent = try site.connect()
      let bytes = String(decoding: try silent.readToEnd(), as: UTF8.self)
      #expect(bytes.isEmpty || bytes.hasPrefix("HTTP/1.1 408"))
      let idle = try site.connect()
      #expect(try idle.get("/idle").status == 200)
      #expect(try idle.readToEnd() == [])
    }

    /// Whoever takes nothing until its time is over is reset: a close would leave megabytes in the kernel for it. The
    /// validator has more time, so it is the edge that finds out.
    @Test(arguments: ["/response", "/ws"])
    func aClientThatReadsNothingIsReset(target: String) throws {
      let site = try Site(
        .bound, keepsBytes: false,
        script: { exchange in
          guard exchange.target == "/ws" else { try exchange.replyEndlessly() }
          try exchange.send(WebSocket.accepted)
          try exchange.sendEndlessly()
        }, edge: { $0.timeouts = ["idle: 1s", "tunnel: 1s"] })
      let connection = try Connection(to: site.publicAddress, receiveBufferBytes: 4096)
      try connection.send(Text.request(target, fields: target == "/ws" ? WebSocket.upgrade : []))
      let entry = try site.edge.access.wait(path: target)
      if target == "/response" { #expect(entry.refusal == "client-timeout") }
      #expect(throws: ConnectionReset.self) {
        while try connection.fill() { connection.consume(connection.heldCount) }
      }
    }

    /// A deadline is put off by bytes that mean something, not by pieces of a TLS record that is never whole.
    @Test func piecesOfARecordDoNotPutTheIdleDeadlineOff() throws {
      let site = try Site(
        .shared, tls: true, script: WebSocket.echo, edge: { $0.timeouts = ["idle: 1s", "tunnel: 1s"] })
      for target in ["/idle", "/ws"] {
        let relay = try TrickleRelay(to: site.publicAddress)
        let connection = try Connection.tls(to: relay.address)
        let response = try connection.get(target, fields: target == "/ws" ? WebSocket.upgrade : [])
        #expect(response.status == (target == "/ws" ? 101 : 200))
        // From now on a byte of a record of 16,384 at a time, more often than the deadline.
        let start = ContinuousClock.now
        #expect(try relay.trickle(everyMilliseconds: 100, untilEndBy: .usual))
        #expect(ContinuousClock.now - start < .seconds(10))
      }
    }

    @Test func aHandshakeHasADeadline() throws {
      let site = try Site(.bound, tls: true, edge: { $0.timeouts = ["handshake: 1s"] })
      let silent = try site.connect()
      #expect(try silent.readToEnd() == [])
      #expect(try site.edge.access.wait(refusal: "handshake-timeout").client ?? Peer.client() == Peer.client())
      let half = try site.connect()
      try half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
      _ = try half.readToEnd()
      #expect(try site.connectTLS().get("/fine").status == 200)
    }

    @Test func aSlowUpstreamIsATimeout() throws {
      let site = try Site(
        .bound,
        script: { exchange in
          if exchange.target == "/never" { _ = try exchange.connection.readToEnd() }
          try exchange.reply("")
        }, validator: { $0.timeouts = ["upstream_response: 300ms"] })
      let connection = try site.connect()
      try connection.send(Text.request("/never", method: "POST", body: "once"))
      #expect(try connection.readResponse().status == 504)
      #expect(try site.validator.access.wait(path: "/never").refusal == "upstream-timeout")
      #expect(site.backend.requests(to: "/never").count == 1)
    }

    @Test func nobodyAtTheUpstreamIsABadGateway() throws {
      let workspace = try Workspace()
      let edge = try Countersign(Configuration.plainEdge(to: ["\(try Socket.reserve())"]), in: workspace)
      let connection = try Connection(to: edge["public"])
      #expect(try connection.get("/nobody").status == 502)
      #expect(try edge.access.wait(path: "/nobody").refusal == "upstream-connect")
      #expect(try connection.get("/nobody").status == 502, "the connection goes on")
    }

    @Test func connectionsAreCounted() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.limits = ["connections: 5"]
          $0.workers = "1"
        })
      var held = try (0..<5).map { try site.connect(from: Peer.client($0)) }
      for connection in held { #expect(try connection.get("/held").status == 200) }
      let start = site.edge.access.end
      let extra = try site.connect(from: Peer.client(9))
      try? extra.send(Text.request("/extra"))
      #expect(try extra.readToEnd() == [])
      _ = try site.edge.access.wait(refusal: "connection-limit", from: start)
      #expect(!site.backend.saw("/extra"))
      held.removeLast().close()
      try eventually("room again") {
        let connection = try site.connect(from: Peer.client(9))
        return (try? connection.get("/room").status) == 200
      }
    }

    @Test func aClientsConnectionsAreCounted() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.limits = ["connections_per_client: 3"]
          $0.workers = "1"
        })
      var held = try (0..<3).map { _ in try site.connect(from: Peer.client(1)) }
      for connection in held { #expect(try connection.get("/held").status == 200) }
      let extra = try site.connect(from: Peer.client(1))
      try? extra.send(Text.request("/extra"))
      #expect(try !String(decoding: extra.readToEnd(), as: UTF8.self).contains("200"))
      _ = try site.edge.access.wait(refusal: "client-limit")
      #expect(try site.connect(from: Peer.client(2)).get("/other").status == 200)
      held.removeLast().close()
      try eventually("room again") { (try? site.connect(from: Peer.client(1)).get("/room").status) == 200 }
    }

    /// Out of file descriptors, it neither dies nor spins, and goes on as soon as there are some again.
    @Test func acceptingWithoutDescriptorsDoesNotSpin() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.access = "off"
      configuration.limits = ["connections: 10000"]
      let edge = try Countersign(configuration, in: workspace, openFilesMax: 80)
      let address = try edge["public"]
      let working = try Connection(to: address)
      #expect(try working.get("/working").status == 200)
      var waiting = try (0..<100).map { try Connection(to: address, from: Peer.client($0)) }
      try eventually("it is out of descriptors") { try edge.process.openFileCount >= 78 }

      let before = try edge.process.processorSeconds
      observe(seconds: 1)
      let used = try edge.process.processorSeconds - before
      #expect(used < 0.2, "\(used) s of processor time in a second of waiting")
      #expect(edge.process.exit == nil)
      #expect(try working.get("/still").status == 200, "who is served is served on")

      for connection in waiting.prefix(60) { connection.close() }
      waiting.removeFirst(60)
      try eventually("those who waited are served") { try waiting.last!.get("/waited").status == 200 }
      #expect(try Connection(to: address).get("/new").status == 200)
    }

    /// A connection of HTTP/2 has many streams, each of which may need a connection to a server. What they leave serves others.
    @Test func streamsDoNotTakeAllDescriptors() throws {
      let workspace = try Workspace()
      let hole = try BlackHole()
      var configuration = Configuration.plainEdge(to: ["\(hole.address)"])
      configuration.listeners[0].more.append("protocols: [h2c, http/1.1]")
      configuration.routes.insert("path: /here, respond: { status: 200, body: here }", at: 0)
      configuration.limits = ["connections: 100"]
      // No place becomes free while the machine has other things to do.
      configuration.timeouts = ["upstream_connect: 100s"]
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace, openFilesMax: 700)
      let address = try edge["public"]
      let clients = try (0..<5).map { try HTTP2Client.cleartext(to: address, from: Peer.client($0)) }
      for client in clients { for index in 0..<100 { try client.begin("/held/\(index)") } }
      // 700 without 100 for clients and 256 for the rest.
      _ = try edge.said("all descriptors that are set aside for servers are in use")
      // Each stream that has no connection is answered.
      try eventually("an answer") {
        for client in clients { try client.settle() }
        return clients.contains { $0.streams.values.contains { HTTP2Response($0).status == 503 } }
      }
      #expect(try edge.process.openFileCount <= 344 + 100)
      #expect(try Connection(to: address, from: Peer.client(9)).get("/here").text == "here")
      try edge.reloadAccepting(configuration)
      for client in clients { client.connection.close() }
      try eventually("places are free again", everyMilliseconds: 100) { try edge.process.openFileCount < 200 }
    }

    /// A server's connections that have no request are closed where another server needs their descriptors.
    @Test func idleConnectionsMakeWayForOtherServers() throws {
      let workspace = try Workspace()
      let (arrived, mayAnswer) = (Guarded(0), Guarded(false))
      let busy = try RecordingBackend(keepsBytes: false) { exchange in
        arrived.with { $0 += 1 }
        _ = mayAnswer.wait(until: .usual) { $0 ? true : nil }
        try exchange.reply("busy")
      }
      let other = try RecordingBackend(keepsBytes: false) { try $0.reply("other") }
      var configuration = Configuration.plainEdge(to: ["\(busy.address)"])
      configuration.listeners[0].more.append("protocols: [h2c]")
      configuration.routes.insert("path_prefix: /other, to: other", at: 0)
      configuration.upstreams[0].members += ["idle_connections: 200"]
      configuration.upstreams.append(.init(name: "other", members: ["identity: none"], servers: ["\(other.address)"]))
      configuration.limits = ["connections: 60"]
      configuration.workers = "1"
      configuration.hasAdmin = true
      // A quarter of them for servers, which is 100.
      let edge = try Countersign(configuration, in: workspace, openFilesMax: 400)
      let client = try HTTP2Client.cleartext(to: edge["public"], from: Peer.client(1))
      let streams = try (0..<70).map { try client.begin("/\($0)") }
      try eventually("all are asked") { arrived.now == 70 }
      mayAnswer.with { $0 = true }
      for stream in streams { #expect(try client.response(on: stream).text == "busy") }
      // A worker counts at the end of its turn, when the last response has left.
      try eventually("all are kept") { try edge.metric("countersign_idle_upstream_connections") == 70 }
      let others = try (0..<60).map { try client.begin("/other/\($0)") }
      for stream in others { #expect(try client.response(on: stream).text == "other") }
      #expect(try edge.process.openFileCount < 100 + 60)
    }

    /// An idle process uses no time.
    @Test func idleCostsNothing() throws {
      let site = try Site(.bound)
      let connections = try (0..<50).map { try site.connect(from: Peer.client($0)) }
      for connection in connections { #expect(try connection.get("/").status == 200) }
      let processes = [site.edge.process, site.validator.process]
      let before = try processes.map { try $0.processorSeconds }
      observe(seconds: 1)
      for (process, before) in zip(processes, before) {
        let used = try process.processorSeconds - before
        #expect(used <= 0.05, "\(process.name) used \(used) s of a second in which nothing happened")
      }
    }
  }
}
