// The orderly end of a process: not ready first, then nothing new, and tunnels that are told to go.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct Drain {
    private static let goingAway: [UInt8] = [0x03, 0xe9]

    /// A backend that speaks WebSocket: sends each frame back, and so answers a Close frame, and keeps what it got. It leaves the end of
    /// the connection to the other side: its own could overtake what a client has still to say.
    private final class Speaker: Sendable {
      let frames = Guarded<[String: [WebSocketFrame]]>([:])

      @Sendable func serve(_ exchange: Exchange) throws {
        guard exchange.target.hasPrefix("/ws") else { return try exchange.reply(exchange.clientAddress) }
        try exchange.send(WebSocket.accepted)
        exchange.end()
        while let frame = try exchange.connection.readFrame() {
          frames.with { $0[exchange.target, default: []].append(frame) }
          try exchange.connection.send(WebSocketFrame(frame.first, frame.payload).bytes(masked: false))
        }
      }

      /// The Close frame that came to a target.
      func close(_ target: String) throws -> WebSocketFrame {
        let found = frames.wait(until: .usual) { $0[target]?.first { $0.first == 0x88 } }
        guard let found else { throw Trouble("no Close frame came to \(target)") }
        return found
      }
    }

    private static func open(_ site: Site, _ target: String = "/ws") throws -> Connection {
      let connection = try site.connect()
      guard try connection.get(target, fields: WebSocket.upgrade).status == 101 else { throw Trouble("no tunnel") }
      return connection
    }

    private static func say(_ text: String, over tunnel: Connection) throws {
      try tunnel.send(WebSocketFrame(0x81, Array(text.utf8)).bytes(masked: true))
      let echo = try tunnel.readFrame()
      #expect(echo == WebSocketFrame(0x81, Array(text.utf8)))
    }

    private static func answer(_ status: [UInt8] = goingAway, over tunnel: Connection) throws {
      try tunnel.send(WebSocketFrame(0x88, status).bytes(masked: true))
    }

    /// A worker says what is open at the end of its turn, which may be after a client's answer or a server's request.
    private static func waitForOpen(requests: Int, tunnels: Int, at process: Countersign) throws {
      try eventually("\(requests) requests and \(tunnels) tunnels are open") {
        let page = try Connection(to: process["admin"], from: nil).get("/metrics")
        return page.metric("countersign_open_requests") == requests
          && page.metric("countersign_open_tunnels") == tunnels
      }
    }

    // MARK: The delay

    @Test func inTheDelayItIsNotReadyAndServesAsBefore() throws {
      let site = try Site(
        .bound,
        edge: {
          $0.hasAdmin = true
          $0.timeouts = ["drain_delay: 1h"]
          $0.listeners[0].trust = ["from: any, evidence: socket"]
          $0.listeners[0].more = ["checks: [{ from: [\(Peer.balancers)], path: /healthz }]"]
        })
      let kept = try site.connect()
      #expect(try kept.get("/before").status == 200)
      #expect(try Connection(to: site.edge["admin"], from: nil).get("/healthz").status == 200)
      site.edge.process.signal(SIGTERM)
      let health: HTTPResponse = try eventually("it is not ready") {
        let answer = try Connection(to: site.edge["admin"], from: nil).get("/healthz")
        return answer.status == 503 ? answer : nil
      }
      #expect(health.text.hasPrefix("draining"), "\(health.text)")
      #expect(try site.edge.metric("countersign_ready") == 0)
      #expect(try site.edge.metric("countersign_unready{reason=\"draining\"}") == 1)
      let check = try site.connect(from: Peer.balancer).get("/healthz")
      #expect(check.status == 503 && check.text.contains("draining"), "\(check.text)")
      for connection in [kept, try site.connect()] {
        for _ in 0..<2 {
          let answer = try connection.get("/still")
          #expect(answer.status == 200 && answer["connection"] == nil)
        }
      }
      // A second signal does not wait for the hour.
      site.edge.process.signal(SIGTERM)
      #expect(try site.edge.process.waitForExit() == .code(0))
      try site.edge.said("told to end a second time")
    }

    @Test func behindTheDelayItDrains() throws {
      let address = try Socket.reserve()
      let site = try Site(
        .bound,
        edge: {
          $0.timeouts = ["drain_delay: 300ms"]
          $0.listeners[0].listen = "\(address)"
        })
      let kept = try site.connect()
      #expect(try kept.get("/before").status == 200)
      var rest: [UInt8]?
      let seconds = try secondsTaken {
        site.edge.process.signal(SIGTERM)
        rest = try kept.readToEnd()
      }
      #expect(rest == [], "an idle connection is ended in order")
      // Its clock counts whole milliseconds, of which the first may have been nearly over.
      #expect(seconds >= 0.298)
      #expect(try site.edge.process.waitForExit() == .code(0))
      try site.edge.said("not ready from now on; draining begins in 300 ms")
      try site.edge.said("drained: 0 requests and 0 tunnels were cut")
    }

    // MARK: Close frames

    @Test(arguments: ["edge", "validator"], Site.Mode.allCases)
    func bothSidesOfATunnelAreToldWhicheverProcessDrains(_ which: String, _ mode: Site.Mode) throws {
      let speaker = Speaker()
      let site = try Site(
        mode, script: speaker.serve, validator: { $0.timeouts = ["drain_tunnels: 0s"] },
        edge: { $0.timeouts = ["drain_tunnels: 0s"] })
      let process = which == "edge" ? site.edge : site.validator
      let tunnel = try Self.open(site)
      try Self.say("hello", over: tunnel)
      process.process.signal(SIGTERM)
      #expect(try tunnel.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      #expect(try speaker.close("/ws") == WebSocketFrame(0x88, Self.goingAway, isMasked: true))
      try Self.answer(over: tunnel)
      #expect(try tunnel.readToEnd() == [], "a second Close frame, or more")
      #expect(try process.process.waitForExit() == .code(0))
      try process.said("draining: 0 requests under way")
      try process.said("1 tunnels are closed within 0 ms")
      try process.said("drained: 0 requests and 0 tunnels were cut")
      let entry = try process.access.wait(path: "/ws")
      #expect(entry.status == 101 && entry.refusal == nil)
      #expect(speaker.frames.now["/ws"]?.count == 2)
    }

    @Test func throughTLSTheyAreToldToo() throws {
      let speaker = Speaker()
      let site = try Site(
        .bound, tls: true, hopTLS: true, script: speaker.serve, edge: { $0.timeouts = ["drain_tunnels: 0s"] })
      let tunnel = try site.connectTLS()
      #expect(try tunnel.get("/ws", fields: WebSocket.upgrade).status == 101)
      try Self.say("hello", over: tunnel)
      site.edge.process.signal(SIGTERM)
      #expect(try tunnel.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      try Self.answer(over: tunnel)
      #expect(try speaker.close("/ws").payload == Self.goingAway)
      #expect(try site.edge.process.waitForExit() == .code(0))
    }

    /// A Close frame inside another frame would be a part of its payload.
    @Test func aFrameUnderWayIsFinishedBeforeTheCloseFrame() throws {
      let large = WebSocketFrame(0x82, (0..<300_000).map { UInt8(truncatingIfNeeded: $0) })
      let (down, up) = (large.bytes(masked: false), large.bytes(masked: true))
      let gate = Guarded(false)
      let received = Guarded<[UInt8]>([])
      let site = try Site(
        .bound,
        script: { exchange in
          try exchange.send(WebSocket.accepted)
          exchange.end()
          let connection = exchange.connection
          try connection.send(Array(down[..<100_000]))
          let half = try connection.read(100_000)
          received.with { $0 = half }
          _ = gate.wait(until: .usual) { $0 ? true : nil }
          // What begins behind the boundary does not pass.
          try connection.send(Array(down[100_000...]) + WebSocketFrame(0x81, [1]).bytes(masked: false))
          let rest = try connection.read(up.count - 100_000 + 8)
          received.with { $0 += rest }
          try connection.send(WebSocketFrame(0x88, Self.goingAway).bytes(masked: false))
          _ = try connection.readToEnd()
        },
        edge: {
          $0.timeouts = ["drain_tunnels: 0s", "tunnel_close: 30s"]
          $0.hasAdmin = true
        })
      let tunnel = try Self.open(site)
      try tunnel.send(Array(up[..<100_000]))
      #expect(try tunnel.read(100_000) == Array(down[..<100_000]))
      #expect(received.wait(until: .usual) { $0.count == 100_000 ? true : nil } == true)
      site.edge.process.signal(SIGTERM)
      try eventually("Close frames are due") {
        try #require(try site.edge.metric("countersign_tunnels_closed_total")) == 1
      }
      gate.with { $0 = true }
      #expect(try tunnel.read(down.count - 100_000) == Array(down[100_000...]))
      #expect(try tunnel.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      try tunnel.send(Array(up[100_000...]) + WebSocketFrame(0x81, [1]).bytes(masked: true))
      let got = received.wait(until: .usual) { $0.count == up.count + 8 ? $0 : nil }
      #expect(got.map { Array($0.prefix(up.count)) == up } == true, "the frame passes as it came")
      let close = got.map { Array($0.suffix(8)) } ?? []
      #expect(close.prefix(2) == [0x88, 0x82], "a masked Close frame")
      #expect(close.count == 8 && close[6] ^ close[2] == 0x03 && close[7] ^ close[3] == 0xe9)
      try Self.answer(over: tunnel)
      #expect(try tunnel.readToEnd() == [])
      #expect(try site.edge.process.waitForExit() == .code(0))
    }

    /// A fleet that is told at once comes back at once.
    @Test func theCloseFramesOfManyTunnelsAreSpread() throws {
      let speaker = Speaker()
      let site = try Site(
        .shared, script: speaker.serve,
        edge: {
          $0.timeouts = ["drain_tunnels: 4s"]
          $0.hasAdmin = true
        })
      let tunnels = try (0..<20).map { try Self.open(site, "/ws/\($0)") }
      try Self.waitForOpen(requests: 0, tunnels: 20, at: site.edge)
      let start = ContinuousClock.now
      site.edge.process.signal(SIGTERM)
      let waits = tunnels.map { tunnel in
        Background("a tunnel's end") {
          let frame = try tunnel.readFrame()
          let after = ContinuousClock.now - start
          #expect(frame == WebSocketFrame(0x88, Self.goingAway))
          try Self.answer(over: tunnel)
          return after
        }
      }
      let times = try waits.map { try $0.result() }.sorted()
      #expect(times.last! - times.first! >= .seconds(2), "\(times)")
      let parts = Set(times.map { Int($0 / .milliseconds(200)) })
      #expect(parts.count >= 8, "\(times)")
      #expect(try site.edge.process.waitForExit() == .code(0))
      for number in 0..<20 { #expect(try speaker.close("/ws/\(number)").payload == Self.goingAway) }
      try site.edge.said("20 tunnels are closed within 4000 ms")
      try site.edge.said("drained: 0 requests and 0 tunnels were cut")
    }

    /// Requests have their own time, which is over at once here; a tunnel that is not yet due carries on and ends as it likes.
    @Test func aTunnelOutlivesTheRequestsAndMayEndByItself() throws {
      let speaker = Speaker()
      let site = try Site(
        .bound, script: speaker.serve,
        edge: {
          $0.timeouts = ["drain: 0s", "drain_tunnels: 1h"]
          $0.workers = "1"
        })
      let first = try Self.open(site, "/ws/first")
      let second = try Self.open(site, "/ws/second")
      site.edge.process.signal(SIGTERM)
      #expect(try first.readFrame() == WebSocketFrame(0x88, Self.goingAway), "the first one does not wait")
      try Self.answer(over: first)
      #expect(try first.readToEnd() == [])
      for _ in 0..<3 { try Self.say("still here", over: second) }
      #expect(site.edge.process.exit == nil)
      try Self.answer([0x03, 0xe8], over: second)
      #expect(try second.readFrame() == WebSocketFrame(0x88, [0x03, 0xe8]), "its server's answer, and none of ours")
      #expect(try second.readToEnd() == [])
      #expect(try site.edge.process.waitForExit() == .code(0))
      #expect(try speaker.close("/ws/second").payload == [0x03, 0xe8])
      try site.edge.said("drained: 0 requests and 0 tunnels were cut")
    }

    @Test func aClientThatDoesNotAnswerIsNotWaitedForLong() throws {
      let speaker = Speaker()
      let site = try Site(
        .bound, script: speaker.serve, edge: { $0.timeouts = ["drain_tunnels: 0s", "tunnel_close: 500ms"] })
      let tunnel = try Self.open(site)
      site.edge.process.signal(SIGTERM)
      #expect(try tunnel.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      // It goes on as if nothing had been said.
      let sender = Background("sender") {
        while true {
          do { try tunnel.send(WebSocketFrame(0x81, Array("more".utf8)).bytes(masked: true)) } catch { return }
          poll(nil, 0, 20)
        }
      }
      #expect(try site.edge.process.waitForExit() == .code(0))
      try sender.result()
      #expect(try speaker.close("/ws").payload == Self.goingAway)
      #expect(speaker.frames.now["/ws"]?.count == 1, "nothing passes behind our Close frame")
      // It was told.
      try site.edge.said("drained: 0 requests and 0 tunnels were cut")
    }

    /// What is no WebSocket has no place for a Close frame.
    @Test func aTunnelOfOtherBytesEndsWithoutACloseFrame() throws {
      let site = try Site(
        .bound, script: WebSocket.echo, edge: { $0.timeouts = ["drain_tunnels: 700ms"] })
      let tunnel = try Self.open(site)
      try tunnel.send("hello")
      #expect(try tunnel.readText(5) == "hello")
      let count = site.backend.receivedCount
      site.edge.process.signal(SIGTERM)
      #expect(try tunnel.readToEnd() == [])
      #expect(try site.edge.process.waitForExit() == .code(0))
      // It has read up to the end of its connection.
      try site.backend.waitForOpenCount(0)
      #expect(site.backend.receivedCount == count, "a Close frame, or something else that the client did not send")
      try site.edge.said("drained: 0 requests and 1 tunnels were cut")
      #expect(try site.edge.access.wait(path: "/ws").refusal == "draining")
    }

    // MARK: What is cut

    @Test func aSecondSignalCutsWhatIsUnderWayAndSaysHowMuch() throws {
      let speaker = Speaker()
      let gate = Guarded(false)
      let site = try Site(
        .bound,
        script: { exchange in
          if exchange.target == "/slow" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
          try speaker.serve(exchange)
        },
        edge: {
          $0.timeouts = ["drain: 1h", "drain_tunnels: 1h"]
          $0.workers = "1"
          $0.hasAdmin = true
        })
      let told = try Self.open(site, "/ws/told")
      let cut = try Self.open(site, "/ws/cut")
      let slow = try site.connect()
      try slow.send(Text.request("/slow"))
      _ = try site.backend.waitForRequest(to: "/slow")
      try Self.waitForOpen(requests: 1, tunnels: 2, at: site.edge)
      site.edge.process.signal(SIGTERM)
      #expect(try told.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      try site.edge.said("draining: 1 requests under way")
      try site.edge.said("2 tunnels are closed within 3600000 ms")
      site.edge.process.signal(SIGTERM)
      #expect(try site.edge.process.waitForExit() == .code(0))
      gate.with { $0 = true }
      #expect(try cut.readToEnd() == [])
      #expect(try slow.readToEnd() == [])
      try site.edge.said("told to end a second time")
      try site.edge.said("drained: 1 requests and 1 tunnels were cut")
      #expect(try site.edge.access.wait(path: "/slow").refusal == "draining")
    }

    // MARK: Not a drain

    @Test func aReloadEndsNoTunnel() throws {
      let speaker = Speaker()
      let site = try Site(.bound, script: speaker.serve)
      let tunnel = try Self.open(site)
      try Self.say("before", over: tunnel)
      var other = site.edgeConfiguration
      other.timeouts = ["drain_tunnels: 0s", "tunnel: 2h"]
      for (generation, configuration) in [other, site.edgeConfiguration].enumerated() {
        try site.edge.reload(configuration)
        try site.edge.said("reloaded generation=\(generation + 2) ")
        try Self.say("after \(generation)", over: tunnel)
      }
    }

    @Test func theTunnelsOfAClosedRouteAreTold() throws {
      let speaker = Speaker()
      let workspace = try Workspace()
      let admin = "unix:\(workspace.file("admin.sock"))"
      let site = try Site(
        .bound, script: speaker.serve,
        edge: {
          $0.routes = ["to: monitor, name: all"]
          $0.more = ["admin: { listen: \"\(admin)\" }"]
        })
      let tunnel = try Self.open(site)
      try Self.say("before", over: tunnel)
      #expect(
        try ChildProcess.run([try Programs.countersign, "route", "close", "all", "--admin", admin]).succeeded)
      #expect(try tunnel.readFrame() == WebSocketFrame(0x88, Self.goingAway))
      try tunnel.send(WebSocketFrame(0x81, Array("behind".utf8)).bytes(masked: true))
      try Self.answer(over: tunnel)
      #expect(try tunnel.readToEnd() == [])
      #expect(try speaker.close("/ws").payload == Self.goingAway)
      let entry = try site.edge.access.wait(path: "/ws")
      #expect(entry.status == 101 && entry.refusal == "route-closed")
      #expect(speaker.frames.now["/ws"]?.count == 2, "nothing passes a closed route")
    }
  }
}
