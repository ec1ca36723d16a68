// Who takes what was sent slowly, and steadily, is not cut while it does: what counts is what leaves our kernel, also when we have nothing
// more to write.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct SlowReaders {
    private static let body = String(repeating: "0123456789abcdef", count: 1 << 16)

    private static func site(_ timeouts: [String], of body: String = body) throws -> HTTP2Site {
      try HTTP2Site(keepsBytes: false) { exchange in
        try exchange.reply(body)
      } change: {
        $0.timeouts = timeouts
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
      }
    }

    /// Its time between two requests passes while the kernel still holds most of the response.
    @Test func theLastResponseOfAKeptConnectionIsReadToItsEnd() throws {
      let site = try Self.site(["idle: 1s"])
      let connection = try Connection(to: site.edge["cleartext"], from: Peer.client(), receiveBufferBytes: 16_384)
      connection.pace = (0.05, 20_000)
      try connection.send("GET /slow HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      let head = try #require(try connection.readHead())
      #expect(head.contentLength == Self.body.utf8.count && head["connection"] == nil)
      var taken = connection.take(connection.heldCount).count
      while taken < Self.body.utf8.count {
        guard try connection.fill() else { break }
        taken += connection.take(connection.heldCount).count
      }
      #expect(taken == Self.body.utf8.count)
      // Nothing more comes, and the end is no reset.
      #expect(try !connection.fill())
      #expect(try site.edge.access.wait(path: "/slow").refusal == nil)
    }

    /// What a server said before it ended takes its client longer than a tunnel of which a side has ended may be silent.
    @Test func theLastBytesOfATunnelAreReadToTheirEnd() throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        try exchange.send(WebSocket.accepted)
        try exchange.send(Self.body)
        exchange.end()
      } change: {
        $0.timeouts = ["tunnel_close: 1s"]
        $0.listeners[0].more = ["protocols: [http/1.1]"]
      }
      let connection = try Connection(to: site.edge["cleartext"], from: Peer.client(), receiveBufferBytes: 16_384)
      #expect(try connection.get("/ws", fields: WebSocket.upgrade).status == 101)
      connection.pace = (0.05, 20_000)
      #expect(try connection.readToEnd().count == Self.body.utf8.count)
      // Once all of it has arrived, it has its time, and no more.
      #expect(try site.edge.access.wait(path: "/ws").status == 101)
    }

    /// A process that stood still has not looked for what came meanwhile.
    @Test func whatCameWhileTheProcessStoodStillIsInTime() throws {
      let site = try Self.site(["head: 1s"], of: "in time")
      let connection = try Connection(to: site.edge["cleartext"], from: Peer.client())
      try connection.send("GET /first HTTP/1.1\r\nHost: \(Site.host)\r\n\r\nGET /second HTTP/1.1\r\n")
      #expect(try connection.readResponse().text == "in time")
      site.edge.process.signal(SIGSTOP)
      defer { site.edge.process.signal(SIGCONT) }
      try eventually("it stands still") { try site.edge.process.isStopped }
      try connection.send("Host: \(Site.host)\r\n\r\n")
      Thread.sleep(forTimeInterval: 1.5)
      site.edge.process.signal(SIGCONT)
      #expect(try connection.readResponse().text == "in time")
    }

    /// The same of a connection of HTTP/2, whose last frames did not even fit into the kernel.
    @Test(arguments: [false, true])
    func theLastFramesOfAConnectionAreReadToTheirEnd(clientSpeaks: Bool) throws {
      let sent = Guarded(0)
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        try exchange.replyEndlessly { count in sent.with { $0 += count } }
      } change: {
        $0.timeouts = ["idle: 1s"]
      }
      let client = try site.begun(settings: [(.initialWindowSize, 1 << 30)], receiveBufferBytes: 16_384)
      try client.send(.windowUpdate(0, by: 1 << 30))
      client.givesWindowsBack = false
      let endless = try client.begin("/endless")
      try client.wait(for: "the response") { ($0.streams[endless]?.body.count ?? 0) > 0 }
      // The backend comes to a stop, since neither the kernel nor the edge has room for more.
      var last = -1
      try eventually("the backend waits", everyMilliseconds: 300) {
        defer { last = sent.now }
        return sent.now == last
      }
      try client.send(.reset(endless))
      client.connection.pace = (0.02, 20_000)
      // What most clients say as they read.
      client.givesWindowsBack = clientSpeaks
      try client.waitForEnd()
      #expect(client.goAway?.code == 0)
      #expect(try site.edge.access.wait(path: "/endless").refusal == "client-reset")
    }

    /// Until the bytes that have used up its window have arrived, a client cannot open it.
    @Test func aWindowThatIsShutForBytesOnTheirWayIsNotTheClientsFault() throws {
      let (window, count) = (1 << 18, 400_000)
      let site = try Self.site(["idle: 2s"], of: String(Self.body.prefix(count)))
      let client = try site.begun(settings: [(.initialWindowSize, UInt32(window))], receiveBufferBytes: 8_192)
      try client.send(.windowUpdate(0, by: 1 << 20))
      client.givesWindowsBack = false
      client.connection.pace = (0.04, 2_000)
      let stream = try client.begin("/slow")
      var given = 0
      while try client.nextFrame() != nil, let state = client.streams[stream], !state.isOver {
        // As most clients do: when half of it is used.
        let taken = state.body.count
        if taken - given > window / 2 {
          try client.send(.windowUpdate(stream, by: UInt32(taken - given)))
          given = taken
        }
      }
      #expect(client.streams[stream]?.body.count == count && client.streams[stream]?.reset == nil)
      #expect(try site.edge.access.wait(path: "/slow").refusal == nil)
    }

    /// All of a request is in our kernel, and its server takes it as fast as it can.
    @Test func aServerThatTakesAnUploadSlowlyIsNotLate() throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        let connection = try exchange.speakHTTP2(
          .settings([(.initialWindowSize, 1 << 20)]), .windowUpdate(0, by: 1 << 20), receiveBufferBytes: 16_384,
          pace: (0.1, 5_000))
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .data, frame.flags & 1 != 0 else { continue }
          let block = HPACKBlock([HPACKField(":status", "200")]).bytes
          try connection.send(HTTP2Frame.headers(frame.stream, block, ends: true).bytes)
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = ["upstream_response: 2s"]
        $0.workers = "1"
      }
      let client = try site.begun()
      let stream = try client.begin("/upload", method: "POST", body: [UInt8](repeating: 0x62, count: 300_000))
      let response = try client.response(on: stream)
      #expect(response.status == 200, "\(response)")
      #expect(try site.edge.access.wait(path: "/upload").refusal == nil)
    }

    /// What others take on the same connection is no progress of a stream whose end, without a byte, waits for its window.
    @Test func aStreamIsNotKeptByItsNeighbours() throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        guard exchange.target == "/stalled" else { return try exchange.reply("short") }
        try exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n")
        _ = try exchange.connection.fill(withinSeconds: 0.2)
        try exchange.send("0\r\nX-Trailer: t\r\n\r\n")
      } change: {
        $0.timeouts = ["idle: 1s"]
      }
      let client = try site.begun(settings: [(.initialWindowSize, 5)])
      client.givesWindowsBack = false
      let stalled = try client.begin("/stalled")
      let end = Date(timeIntervalSinceNow: 10)
      while client.streams[stalled]?.isOver == false, Date() < end {
        let other = try client.begin("/short")
        try client.wait(for: "the other") { $0.streams[other]?.isOver == true || $0.streams[stalled]?.isOver == true }
        Thread.sleep(forTimeInterval: 0.05)
      }
      #expect(client.streams[stalled]?.reset != nil && client.streams[stalled]?.body.count == 5)
      #expect(try site.edge.access.wait(path: "/stalled").refusal == "client-timeout")
    }

    /// A server that does not answer is late, however long it takes for what others send it.
    @Test func aServerThatTakesOfOthersIsLateAllTheSame() throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        let connection = try exchange.speakHTTP2(
          .settings([(.initialWindowSize, 1 << 30)]), .windowUpdate(0, by: 1 << 30), receiveBufferBytes: 16_384,
          pace: (0.1, 10_000))
        _ = try connection.readToEnd()
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = ["upstream_response: 2s"]
        $0.workers = "1"
      }
      let client = try site.begun()
      let silent = try client.begin("/silent")
      let upload = try client.open(client.block("/upload", method: "POST"), ends: false)
      let end = Date(timeIntervalSinceNow: 10)
      while client.streams[silent]?.isOver == false, client.streams[upload]?.isOver == false, Date() < end {
        let room = min(client.sendWindow, client.streams[upload]!.sendWindow, 16_384)
        if room > 0 { try client.send(.data(upload, [UInt8](repeating: 0x62, count: room))) }
        if try client.hasFrame(by: .after(room > 0 ? 0 : 0.1)) { _ = try client.nextFrame() }
      }
      #expect(client.streams[silent]?.blocks.first?.status == 504)
    }
  }
}
