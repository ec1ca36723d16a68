// A balancer whose word about its clients is taken brings the requests of all of them on one connection of HTTP/2: none of them may end it, or
// take the room of the others.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Balancers {
    /// Of one client (docs/CONFIG.md, "HTTP/2"), at once.
    private static let resetsMax = 200

    private static func site(
      _ script: @escaping RecordingBackend.Script = {
        try $0.finishBody()
        try $0.reply($0.clientAddress)
      },
      change: (inout Configuration) throws -> Void = { _ in }
    ) throws -> HTTP2Site {
      try HTTP2Site(keepsBytes: false, script) {
        $0.identity = ["infrastructure: [\(Peer.balancers)]"]
        $0.listeners[0].trust = ["from: [\(Peer.balancers)], evidence: forwarded", "from: any, evidence: socket"]
        try change(&$0)
      }
    }

    private static func from(_ client: Int) -> (String, String) { ("x-forwarded-for", Peer.client(client)) }

    /// A request whose body is still to come.
    private static func open(
      _ target: String, _ client: Int, _ fields: [(String, String)] = [], on balancer: HTTP2Client
    ) throws -> UInt32 {
      try balancer.open(balancer.block(target, method: "POST", [from(client)] + fields), ends: false)
    }

    /// Whose word about its clients is taken brings what many of them take back.
    @Test func whatClientsOfABalancerTakeBackDoesNotEndItsConnection() throws {
      let site = try Self.site()
      let balancer = try site.begun(from: Peer.balancer)
      let held = try Self.open("/held", 2, on: balancer)
      for _ in 0..<Self.resetsMax + 100 { try balancer.send(.reset(try Self.open("/taken-back", 1, on: balancer))) }
      // The one who does that is refused, and nobody else.
      let refused = try balancer.get("/refused", fields: [Self.from(1)])
      #expect(refused.status == 429 && !site.backend.saw("/refused"))
      #expect(try site.edge.access.wait(path: "/refused").refusal == "rate-limited")
      #expect(try balancer.get("/another", fields: [Self.from(3)]).text == Peer.client(3))
      // Whose a request is that names nobody is not known.
      for _ in 0..<Self.resetsMax + 20 {
        let stream = try balancer.begin("/nobody")
        #expect(try balancer.response(on: stream).status == 403)
        try balancer.send(.reset(try balancer.begin("/nobody")))
      }
      try balancer.send(.data(held, [1], ends: true))
      #expect(try balancer.response(on: held).text == Peer.client(2))
      #expect(balancer.goAway == nil)
    }

    /// What one of them takes back at once, in one read.
    @Test func aBurstOfResetsEndsNoRequestOfAnother() throws {
      let site = try Self.site()
      let balancer = try site.begun(from: Peer.balancer)
      let held = try Self.open("/held", 2, on: balancer)
      try balancer.settle()
      var first = HPACKBlock()
      for index in [2, 6, 4] { first.indexed(index) }
      first.literal(HPACKField(":authority", "app.example.com"), .incremental)
      first.literal(HPACKField("x-forwarded-for", Peer.client(1)), .incremental)
      var next = HPACKBlock()
      for index in [2, 6, 4, 63, 62] { next.indexed(index) }
      var bytes: [UInt8] = []
      for number in 0..<2_000 {
        let stream = balancer.nextStream
        balancer.nextStream += 2
        bytes += HTTP2Frame.headers(stream, number == 0 ? first.bytes : next.bytes).bytes
        bytes += HTTP2Frame.reset(stream).bytes
      }
      try balancer.send(bytes)
      #expect(try balancer.get("/another", fields: [Self.from(3)]).text == Peer.client(3))
      try balancer.send(.data(held, [1], ends: true))
      #expect(try balancer.response(on: held).text == Peer.client(2))
      #expect(balancer.goAway == nil)
    }

    @Test func headsOfOneClientTakeNoRoomFromOthers() throws {
      let site = try Self.site()
      let balancer = try site.begun(from: Peer.balancer)
      let large = ("x-a", String(repeating: "b", count: 12_000))
      for index in 0..<60 { _ = try Self.open("/held/\(index)", 1, [large], on: balancer) }
      for index in 0..<20 {
        #expect(try balancer.get("/\(index)", fields: [Self.from(2), large]).text == Peer.client(2))
      }
    }

    @Test func aLargeHeadOfOneClientIsRefusedAlone() throws {
      let site = try Self.site(change: { $0.limits = ["head: 8KiB"] })
      let balancer = try site.begun(from: Peer.balancer)
      let held = try Self.open("/held", 2, on: balancer)
      let large = ("x-a", String(repeating: "b", count: 60_000))
      #expect(try balancer.get("/large", fields: [Self.from(1), large]).status == 431)
      try balancer.send(.data(held, [1], ends: true))
      #expect(try balancer.response(on: held).text == Peer.client(2))
      #expect(balancer.goAway == nil)
    }

    /// Each stream has 64 KiB that may wait; together those of one client had all that the connection has.
    @Test func uploadsThatNobodyTakesStopNoOthers() throws {
      let isOver = Guarded(false)
      defer { isOver.with { $0 = true } }
      let site = try Self.site { exchange in
        if exchange.target.hasPrefix("/held") { _ = isOver.wait(until: .after(60)) { $0 ? true : nil } }
        try exchange.finishBody()
        try exchange.reply(exchange.clientAddress)
      } change: {
        // They wait for its only place, unsent.
        let server = $0.upstreams[0].servers[0]
        $0.upstreams.append(
          .init(
            name: "narrow",
            members: ["servers: [{ address: \"\(server)\", max_connections: 1 }]", "queue: { timeout: 1m }"],
            servers: []))
        $0.routes.insert("path_prefix: /held, to: narrow", at: 0)
        $0.workers = "1"
      }
      let balancer = try site.begun(from: Peer.balancer)
      let body = [UInt8](repeating: 1, count: 65_000)
      for index in 0..<30 {
        try balancer.send(body: body, on: try Self.open("/held/\(index)", 1, on: balancer), ends: false)
      }
      try eventually("all but one wait") {
        try site.edge.metric("countersign_waiting_requests{upstream=\"narrow\"}") == 29
      }
      let stream = try Self.open("/another", 2, on: balancer)
      try balancer.send(body: body, on: stream)
      #expect(try balancer.response(on: stream).text == Peer.client(2))
    }

    /// RFC 9218 section 13.1: a client must not have its responses go before those of others.
    @Test func responsesOfAllClientsTakeTurns() throws {
      let (small, large) = (String(repeating: "s", count: 100_000), String(repeating: "l", count: 1_000_000))
      let site = try Self.site { exchange in
        try exchange.finishBody()
        try exchange.reply(exchange.target == "/small" ? small : large)
      }
      let balancer = try site.begun(from: Peer.balancer, settings: [(.initialWindowSize, 2_000_000)])
      let first = try (0..<20).map {
        try balancer.begin("/large/\($0)", fields: [Self.from(1), ("priority", "u=0")])
      }
      try balancer.wait(for: "the first byte") { _ in !balancer.dataOrder.isEmpty }
      let other = try balancer.begin("/small", fields: [Self.from(2)])
      #expect(try balancer.response(on: other).text == small)
      #expect(first.allSatisfy { !(balancer.streams[$0]?.hasEnded ?? false) })
    }
  }
}
