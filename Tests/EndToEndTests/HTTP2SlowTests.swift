// Clients that take their time, or never come to an end: each stream and each connection has its deadlines, and nobody waits for
// another's stream.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Slow {
    private static let body = String(repeating: "0123456789abcdef", count: 1 << 14)

    private static func site(_ timeouts: [String]) throws -> HTTP2Site {
      try HTTP2Site(keepsBytes: false) { exchange in
        try exchange.finishBody()
        try exchange.reply(exchange.target.hasPrefix("/large") ? body : exchange.clientAddress)
      } change: {
        $0.timeouts = timeouts
      }
    }

    /// Of a client that never opens its window the streams end, one by one; what has a window beside them is served.
    @Test func aWindowThatStaysShutEndsTheStream() throws {
      let site = try Self.site(["idle: 1s"])
      let client = try site.begun(settings: [(.initialWindowSize, 0)])
      let stalled = try client.begin("/large/stalled")
      let served = try client.begin("/served")
      try client.send(.windowUpdate(served, by: 1_000))
      #expect(try client.response(on: served).text == Peer.client())
      try client.wait(for: "the end of the stream") { $0.streams[stalled]?.reset != nil }
      #expect(client.streams[stalled]?.body.isEmpty == true && client.goAway == nil)
      #expect(try site.edge.access.wait(path: "/large/stalled").refusal == "client-timeout")
      #expect(try site.refusals("client-timeout") >= 1)
    }

    /// The connection's own window is shut: every stream that waits for it ends.
    @Test func aConnectionsWindowThatStaysShutEndsItsStreams() throws {
      let site = try Self.site(["idle: 1s"])
      let client = try site.begun(settings: [(.initialWindowSize, 1 << 20)])
      client.givesWindowsBack = false
      let streams = try (0..<3).map { try client.begin("/large/\($0)") }
      try client.wait(for: "the end of all streams") { client in
        streams.allSatisfy { client.streams[$0]?.isOver == true }
      }
      #expect(client.streams.values.reduce(0) { $0 + $1.body.count } == HTTP2Client.windowUsual)
      _ = try site.edge.access.wait(refusal: "client-timeout")
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/large/honest").text == Self.body)
    }

    /// A header block that comes byte by byte, and never to its end.
    @Test func aHeadThatTricklesIsEndedByItsDeadline() throws {
      let site = try Self.site(["head: 1s"])
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").text == Peer.client(1))
      let client = try site.begun()
      let block = HPACKBlock([HPACKField("x-a", String(repeating: "b", count: 4_000))]).bytes
      try client.send(.headers(1, client.block("/trickles"), isWhole: false))
      // One frame, byte by byte behind its header, so that it is no flood of frames.
      var frame = HTTP2Frame.continuation(1, block).bytes[...]
      try client.send(Array(frame.prefix(HTTP2Frame.headBytes)))
      frame = frame.dropFirst(HTTP2Frame.headBytes)
      let seconds = try secondsTaken {
        while !client.hasEnded, client.goAway == nil, let byte = frame.popFirst() {
          do { try client.send([byte]) } catch { break }
          if try client.hasFrame(by: .after(0.02)) { _ = try client.nextFrame() }
        }
      }
      #expect(seconds < 10)
      try client.waitForEnd()
      #expect(try site.edge.access.wait(refusal: "head-timeout").client == Peer.client())
      #expect(try site.refusals("head-timeout") == 1)
      #expect(try honest.get("/after").text == Peer.client(1))
    }

    /// What a client sends is no progress of what it does not take, or a byte now and then would hold its request for good.
    @Test(arguments: ["/early/200", "/early/403", "/early/endless"], [true, false])
    func aClientThatTakesNothingIsEndedHoweverLongItSends(_ path: String, isHTTP2: Bool) throws {
      // A short answer is the kernel's at once; what is read behind it has its own time.
      guard isHTTP2 || path == "/early/endless" else { return }
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        exchange.takesBodyItself()
        defer { exchange.end() }
        if path == "/early/endless" { try exchange.replyEndlessly() }
        try exchange.send("HTTP/1.1 \(path.suffix(3)) Early\r\nContent-Length: 5\r\n\r\nearly")
        _ = try? exchange.connection.readToEnd()
      } change: {
        $0.timeouts = ["idle: 1s"]
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
      }
      let client = isHTTP2 ? try site.begun(settings: [(.initialWindowSize, 0)]) : nil
      let stream = try client?.open(client!.block(path, method: "POST"), ends: false)
      let connection = isHTTP2 ? nil : try Connection(to: site.edge["cleartext"], from: Peer.client())
      try connection?.send("POST \(path) HTTP/1.1\r\nHost: \(Site.host)\r\nTransfer-Encoding: chunked\r\n\r\n")
      // Behind a whole answer it may send for 30 s before it reads.
      let end = Date(timeIntervalSinceNow: 60)
      var isOver = false
      while !isOver, Date() < end {
        if let client {
          try client.send(.data(stream!, [0x61]))
          let until = Deadline.after(0.1)
          while try client.hasFrame(by: until) { _ = try client.nextFrame() }
          isOver = client.streams[stream!]?.reset != nil
        } else {
          do { try connection?.send("1\r\na\r\n") } catch { isOver = true }
          Thread.sleep(forTimeInterval: 0.1)
        }
      }
      #expect(isOver)
      #expect(try site.edge.access.wait(path: path).refusal == "client-timeout")
      #expect(client?.goAway == nil, "only the stream ends")
    }

    @Test func aBodyThatStopsIsEndedByItsDeadline() throws {
      let site = try Self.site(["idle: 1s"])
      let client = try site.begun()
      let stream = try client.open(client.block("/stops", method: "POST", [("content-length", "100")]), ends: false)
      try client.send(.data(stream, Array("half".utf8)))
      let response = try client.outcome(on: stream)
      #expect(response.status == 408)
      #expect(try site.edge.access.wait(path: "/stops").refusal == "body-timeout")
      #expect(try client.get("/after").status == 200, "only the stream ends")
    }

    /// There is no least rate: `idle` counts from each byte, as with HTTP/1.1, and ends the request when none comes.
    @Test(arguments: [true, false]) func aBodyThatTricklesHasTheDeadlineFromEachByte(isHTTP2: Bool) throws {
      let idle = 3.0
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("whole")
      } change: {
        $0.timeouts = ["idle: 3s"]
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
      }
      let client = isHTTP2 ? try site.begun() : nil
      let connection = isHTTP2 ? nil : try Connection(to: site.edge["cleartext"], from: Peer.client())
      let stream = try client?.open(
        client!.block("/trickles", method: "POST", [("content-length", "100")]), ends: false)
      try connection?.send("POST /trickles HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 100\r\n\r\n")
      _ = try site.backend.waitForRequest(to: "/trickles")
      let start = Date()
      var last = start
      while Date().timeIntervalSince(start) < idle * 1.5 {
        last = Date()
        try client?.send(.data(stream!, [0x61]))
        try connection?.send("a")
        // Nothing comes but windows that are given back.
        if let client {
          let until = Deadline.after(0.2)
          while try client.hasFrame(by: until) { _ = try client.nextFrame() }
          #expect(client.streams[stream!]?.isOver == false && client.streams[stream!]?.blocks.isEmpty == true)
        } else {
          #expect(try connection?.fill(withinSeconds: 0.2) == nil)
        }
      }
      if let client {
        #expect(try client.outcome(on: stream!).status == 408)
      } else {
        #expect(try connection?.readResponse().status == 408)
      }
      #expect(Date().timeIntervalSince(last) >= idle - 0.1)
      #expect(try site.edge.access.wait(path: "/trickles").refusal == "body-timeout")
      #expect(!site.backend.completed.contains("/trickles"))
    }

    /// A client that takes all that it can, steadily, over a connection with more than that to send. No stream of it ends for that: not one that
    /// sends a byte now and then and has what was for it, and not one that waits for others. What was answered is over.
    @Test func aBusyConnectionCutsNoneOfItsStreams() throws {
      let idle = 3.0
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        switch exchange.target {
        case "/continued":
          exchange.takesBodyItself()
          defer { exchange.end() }
          try exchange.send("HTTP/1.1 100 Continue\r\n\r\n")
          _ = try? exchange.connection.readToEnd()
        case "/endless":
          try exchange.replyEndlessly()
        default: try exchange.reply("short")
        }
      } change: {
        $0.timeouts = ["idle: 3s"]
        $0.workers = "1"
      }
      let client = try site.begun(settings: [(.initialWindowSize, 1 << 30)], receiveBufferBytes: 65_536)
      try client.send(.windowUpdate(0, by: 1 << 30))
      let downloads = try (0..<50).map { _ in try client.begin("/endless") }
      var taken = 0
      func takeSome() throws {
        // 800 KB in a second, and not more at the end of a pause.
        for _ in 0..<5 {
          if try client.hasFrame(by: .after(0.05)) { taken += try client.nextFrame()?.payload.count ?? 0 }
        }
        Thread.sleep(forTimeInterval: 0.1)
      }
      try eventually("the backend cannot send any more", everyMilliseconds: 0) {
        try takeSome()
        return taken > 1 << 20
      }
      let upload = try client.open(
        client.block("/continued", method: "POST", [("expect", "100-continue"), ("priority", "u=0")]), ends: false)
      let asked = try (0..<20).map { _ in try client.begin("/short", fields: [("priority", "u=0")]) }
      try eventually("the answers have come", everyMilliseconds: 0) {
        try client.send(.data(upload, [0x61]))
        try takeSome()
        return asked.allSatisfy { client.streams[$0]?.hasEnded == true }
          && client.streams[upload]?.blocks.isEmpty == false
      }
      let start = Date()
      while Date().timeIntervalSince(start) < idle * 2 {
        try client.send(.data(upload, [0x61]))
        try takeSome()
      }
      let cut = (downloads + [upload]).filter { client.streams[$0]?.reset != nil }
      #expect(cut.isEmpty && client.goAway == nil, "\(site.edge.access.entries.filter { $0.refusal != nil })")
      #expect(try site.edge.metric("countersign_open_requests") == downloads.count + 1)
      #expect(try site.refusals("client-timeout") == 0)
    }

    /// The kernel holds megabytes for it, and tells of room only when a third of them is gone.
    @Test func aClientThatReadsSlowlyIsServed() throws {
      let site = try HTTP2Site(keepsBytes: false) {
        try $0.replyEndlessly()
      } change: {
        $0.timeouts = ["idle: 3s"]
        $0.listeners[0].more = ["protocols: [http/1.1]"]
      }
      let connection = try Connection(to: site.edge["cleartext"], from: Peer.client(), receiveBufferBytes: 16_384)
      try connection.send("GET /slow HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      let start = Date()
      while Date().timeIntervalSince(start) < 9 {
        _ = try connection.read(4_000)
        Thread.sleep(forTimeInterval: 0.1)
      }
      #expect(try site.refusals("client-timeout") == 0)
      // Once it takes nothing, its time counts.
      #expect(try site.edge.access.wait(path: "/slow").refusal == "client-timeout")
    }

    /// A server may let the rest of a request come when it likes within its time: each gives its window near the moment at which it is first
    /// looked at, so that for some of them the bytes leave in that very turn.
    @Test func aServerThatTakesTheRestOfARequestInTimeIsNotLate() throws {
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        let connection = try exchange.speakHTTP2(.settings([(.initialWindowSize, 10)]))
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .data else { continue }
          if frame.flags & 1 != 0 {
            let block = HPACKBlock([HPACKField(":status", "200")]).bytes
            try connection.send(HTTP2Frame.headers(frame.stream, block, ends: true).bytes)
          } else {
            Thread.sleep(forTimeInterval: 0.1 + Double.random(in: 0...0.05))
            try connection.send(HTTP2Frame.windowUpdate(frame.stream, by: 1_000).bytes)
          }
        }
      } change: {
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = ["upstream_response: 2s"]
        $0.workers = "1"
      }
      let client = try site.begun()
      for index in 0..<40 {
        let stream = try client.begin("/\(index)", method: "POST", body: [UInt8](repeating: 0x62, count: 100))
        #expect(try client.response(on: stream).status == 200)
      }
    }

    /// One stream takes a byte at a time; all others on its connection have theirs at once.
    @Test func aStreamThatTricklesHoldsNobodyUp() throws {
      let site = try Self.site([])
      let client = try site.begun(settings: [(.initialWindowSize, 1)])
      client.givesWindowsBack = false
      let slow = try client.begin("/large/slow")
      for index in 1...20 {
        try client.send(.windowUpdate(slow, by: 1))
        let other = try client.begin("/\(index)")
        try client.send(.windowUpdate(other, by: 1_000))
        #expect(try client.response(on: other).text == Peer.client())
        try client.wait(for: "byte \(index) of the slow one") { ($0.streams[slow]?.body.count ?? 0) > index }
      }
      #expect(client.streams[slow]?.isOver == false)
    }

    /// A slow reader holds up the backend that it reads from, and takes no memory for it.
    @Test func aSlowReaderTakesNoMemory() throws {
      let sent = Guarded(0)
      let site = try HTTP2Site(keepsBytes: false) { exchange in
        guard exchange.target == "/endless" else { return try exchange.reply("short") }
        try exchange.replyEndlessly { count in sent.with { $0 += count } }
      }
      let honest = try site.begun(from: Peer.client(1))
      #expect(try honest.get("/before").text == "short")
      let before = try site.edge.process.residentBytes
      try site.edge.process.forgetPeak()
      let client = try site.begun()
      client.givesWindowsBack = false
      let slow = try client.begin("/endless")
      try client.wait(for: "as much as the window") { $0.streams[slow]?.body.count == HTTP2Client.windowUsual }
      // The backend comes to a stop, since nobody takes what it has.
      var last = -1
      try eventually("the backend waits", everyMilliseconds: 300) {
        defer { last = sent.now }
        return sent.now == last
      }
      let growth = try site.edge.process.peakResidentBytes - before
      #expect(growth < 4 << 20, "\(growth >> 10) KiB")
      #expect(try honest.get("/after").text == "short")
      try client.send(.windowUpdate(0, by: 1 << 20), .windowUpdate(slow, by: 1 << 20))
      try client.wait(for: "more, once there is a window") {
        $0.streams[slow]?.body.count == HTTP2Client.windowUsual + 1 << 20
      }
    }
  }
}
