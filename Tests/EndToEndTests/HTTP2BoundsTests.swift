// What a connection of HTTP/2 may hold, whatever its other end does and leaves undone.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Bounds {
    /// A server that is connected to and takes nothing. Clients begin requests and take them back: what was never sent of them must not
    /// be kept.
    @Test func requestsThatAreTakenBackDoNotPileUpForAServerThatTakesNothing() throws {
      let (listening, address) = try Socket.listen()
      defer { close(listening) }
      let site = try HTTP2Site(change: {
        $0.upstreams[0].servers = ["\(address)"]
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.workers = "1"
      })
      let field = ("x-a", String(repeating: "b", count: 15_000))
      /// Fewer than a connection may take back, some at a time: each is on its way to the server before it is taken back.
      func takeBack(_ groups: Int, from source: String) throws {
        let client = try site.begun(from: source)
        for _ in 0..<groups {
          let streams = try (0..<30).map { _ in try client.begin("/taken-back", fields: [field]) }
          try client.settle(by: .after(30))
          for stream in streams { try client.send(.reset(stream)) }
          try client.settle(by: .after(30))
        }
        #expect(client.goAway == nil && client.streams.values.allSatisfy { $0.reset == nil })
      }
      try takeBack(5, from: Peer.client(1))
      let before = try site.edge.process.residentBytes
      try site.edge.process.forgetPeak()
      for index in 0..<20 { try takeBack(5, from: Peer.client(2 + index)) }
      try eventually("no request is left") { try site.edge.metric("countersign_open_requests") == 0 }
      let growth = try site.edge.process.peakResidentBytes - before
      // All of them had 45 MB.
      #expect(growth < 20 << 20, "\(growth >> 10) KiB")
    }

    /// What a connection's streams may have on its way in is bounded by its window, also behind tunnels that ended with bytes that
    /// nobody had taken.
    @Test func aTunnelGivesItsWindowBackOnce() throws {
      let hole = try BlackHole()
      let isOver = Guarded(false)
      defer { isOver.with { $0 = true } }
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        guard exchange.target != "/read" else {
          try exchange.finishBody()
          return try exchange.reply("read")
        }
        let answer = WebSocketAccept.answer(to: exchange.request.head["sec-websocket-key"] ?? "")
        try exchange.send(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(answer)\r\n\r\n"
        )
        exchange.takesBodyItself()
        _ = isOver.wait(until: .after(60)) { $0 ? true : nil }
        exchange.end()
      } change: {
        $0.routes.insert("path: /stalled, to: hole", at: 0)
        $0.upstreams.append(.init(name: "hole", members: ["identity: none"], servers: ["\(hole.address)"]))
        $0.timeouts = ["upstream_connect: 1m"]
        $0.workers = "1"
      }
      let client = try site.begun()
      // Behind the settings comes more of a window.
      try client.settle()
      let window = client.sendWindow
      #expect(window == 1 << 20)
      /// Sends as much as the windows let through, while anybody takes it; how much that was.
      func fill(_ stream: UInt32, leaving reserve: Int = 0) throws -> Int {
        var total = 0
        try eventually("nobody takes more on stream \(stream)", everyMilliseconds: 100) {
          let before = total
          while case let most = min(
            client.sendWindow - reserve, client.streams[stream]!.sendWindow, client.frameSizeMax), most > 0
          {
            try client.send(.data(stream, [UInt8](repeating: 0, count: most)))
            total += most
          }
          try client.settle()
          return total == before
        }
        return total
      }
      for index in 0..<12 {
        let fields = client.fields("/tunnel/\(index)", method: "CONNECT")
        let all = [fields[0], HPACKField(":protocol", "websocket")] + fields.dropFirst()
        let stream = try client.open(HPACKBlock(all + [HPACKField("sec-websocket-version", "13")]).bytes, ends: false)
        try client.wait(for: "a tunnel") { $0.streams[stream]?.blocks.isEmpty == false }
        #expect(HTTP2Response(client.streams[stream]!).status == 200)
        // One frame of WebSocket that never ends.
        try client.send(.data(stream, [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]))
        _ = try fill(stream)
        try client.send(.reset(stream))
        try client.settle()
      }
      // The library looks at what it owes when something is given back, and gives back nothing less than half of a window: now it owes
      // a little less than that.
      for _ in 0..<200 where client.sendWindow > window / 2 + 17_000 {
        #expect(try client.get("/read", method: "POST", body: [UInt8](repeating: 1, count: 16_000)).text == "read")
        try client.settle()
      }
      try #require(client.sendWindow <= window / 2 + 17_000)
      var held = 0
      func stall(leaving reserve: Int) throws {
        for _ in 0..<60 {
          let stream = try client.open(client.block("/stalled", method: "POST"), ends: false)
          let count = try fill(stream, leaving: reserve)
          held += count
          if count == 0 { return }
        }
      }
      try stall(leaving: 1_000)
      #expect(try client.get("/read", method: "POST", body: [1]).text == "read")
      try stall(leaving: 0)
      #expect(held <= window, "\(held - window) bytes more than the window")
      #expect(held >= window / 2 - 1_000)
    }
  }
}
