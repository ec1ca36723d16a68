// Compressed responses on their way: prompt when the server trickles, stopped when the client takes nothing, cut when the server is, and as
// they are when too many are under way.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct CompressedStreams {
    private static let start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    private static let gzip = "Accept-Encoding: gzip"

    private static func configuration(to backend: RecordingBackend) -> Configuration {
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners.append(.init(name: "h2c", more: ["protocols: [h2c]"]))
      configuration.hasAdmin = true
      configuration.routes = ["to: backend, compress: true"]
      return configuration
    }

    private static func stream(_ edge: Countersign) throws -> HTTP2Client {
      let client = HTTP2Client(over: try Connection(to: edge["h2c"]), scheme: "http")
      try client.begin([])
      return client
    }

    private static func soFar(_ bytes: [UInt8]) throws -> String {
      String(decoding: try Gunzip.text(bytes, isWhole: false), as: UTF8.self)
    }

    // MARK: Prompt

    /// Each piece is there before the next is sent.
    @Test(arguments: [false, true]) func eachPieceArrivesBeforeTheNext(isStream: Bool) throws {
      let seen = Guarded(0)
      let backend = try RecordingBackend { exchange in
        try exchange.send(Self.start + "Transfer-Encoding: chunked\r\n\r\n")
        for number in 1...20 {
          let piece = "piece \(number)\n"
          try exchange.send("\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n")
          guard seen.wait(until: .usual, { $0 >= number ? true : nil }) != nil else { throw Trouble("not seen") }
        }
        try exchange.send("0\r\n\r\n")
      }
      let edge = try Countersign(Self.configuration(to: backend), in: try Workspace())
      var packed: [UInt8] = []
      func waits(for number: Int) throws -> Bool {
        let text = try Self.soFar(packed)
        guard text.hasSuffix("piece \(number)\n") else { return true }
        seen.with { $0 = number }
        return false
      }
      if isStream {
        let client = try Self.stream(edge)
        let stream = try client.begin("/", fields: [("accept-encoding", "gzip")])
        for number in 1...20 {
          try client.wait(for: "piece \(number)") {
            packed = $0.streams[stream]?.body ?? []
            return try !waits(for: number)
          }
        }
        packed = try client.response(on: stream).body
      } else {
        let connection = try Connection(to: edge["public"])
        try connection.send(Text.request("/", fields: [Self.gzip]))
        #expect(try connection.readHead()?["content-encoding"] == "gzip")
        for number in 1...20 {
          repeat {
            let count = try #require(Int(try connection.readLine(), radix: 16))
            packed += try connection.read(count)
            #expect(try connection.readLine().isEmpty)
          } while try waits(for: number)
        }
        packed += try connection.readChunked().bytes
      }
      #expect(try Gunzip.text(packed) == Array((1...20).map { "piece \($0)\n" }.joined().utf8))
    }

    // MARK: Bounded

    /// The server stops; what it sends then arrives whole.
    @Test(arguments: [false, true]) func aClientThatTakesNothingStopsTheServer(isStream: Bool) throws {
      // More than the kernel keeps between the server and a client of HTTP/1; a stream's window is small.
      let total = 32 << 20
      let hasStopped = Guarded(false)
      let backend = try RecordingBackend(keepsBytes: false) { exchange in
        try exchange.send(Self.start + "Content-Length: \(total)\r\n\r\n")
        var random = Seeded(1)
        var sent = 0
        var block: [UInt8] = []
        while sent < total {
          if block.isEmpty { block = random.bytes(64 << 10).map { 0x30 + ($0 & 0x3f) } }
          let count = try block.withUnsafeBytes { try exchange.connection.sendSome($0) }
          if let count {
            sent += count
            block.removeFirst(count)
          } else if !exchange.connection.hasRoom(withinSeconds: 1) {
            hasStopped.with { $0 = true }
            guard exchange.connection.hasRoom(withinSeconds: Deadline.usualSeconds) else {
              throw Trouble("it never goes on")
            }
          }
        }
      }
      let edge = try Countersign(Self.configuration(to: backend), in: try Workspace())
      func stops() {
        #expect(hasStopped.wait(until: .after(60), { $0 ? true : nil }) != nil, "the server never stopped")
      }
      let packed: [UInt8]
      if isStream {
        let client = try Self.stream(edge)
        let stream = try client.begin("/", fields: [("accept-encoding", "gzip")])
        stops()
        packed = try client.response(on: stream, by: .after(120)).body
      } else {
        let connection = try Connection(to: edge["public"], receiveBufferBytes: 16 << 10)
        try connection.send(Text.request("/", fields: [Self.gzip]))
        stops()
        packed = try connection.readResponse().body
      }
      var random = Seeded(1)
      let content = try Gunzip.text(packed)
      #expect(content.count == total)
      #expect(content.prefix(64 << 10) == random.bytes(64 << 10).map { 0x30 + ($0 & 0x3f) }[...])
    }

    /// More than a worker compresses at a time go as they are; those under way are not disturbed.
    @Test func beyondTheBoundResponsesGoAsTheyAre() throws {
      let most = 128
      let mayEnd = Guarded(false)
      let backend = try RecordingBackend(keepsBytes: false) { exchange in
        try exchange.send(Self.start + "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        guard mayEnd.wait(until: .after(60), { $0 ? true : nil }) != nil else { throw Trouble("nobody says so") }
        try exchange.send("4\r\nlast\r\n0\r\n\r\n")
      }
      var configuration = Self.configuration(to: backend)
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: try Workspace())
      var connections: [Connection] = []
      for number in 0..<most + 2 {
        let connection = try Connection(to: edge["public"])
        connections.append(connection)
        try connection.send(Text.request("/\(number)", fields: [Self.gzip]))
        let head = try #require(try connection.readHead())
        #expect(head["content-encoding"] == (number < most ? "gzip" : nil) && head["vary"] == "Accept-Encoding")
      }
      #expect(try edge.metric("countersign_compressed_responses_total") == most)
      #expect(try edge.metric("countersign_compressions_skipped_total") == 2)
      mayEnd.with { $0 = true }
      for (number, connection) in connections.enumerated() {
        let body = try connection.readChunked().bytes
        let text = try number < most ? Gunzip.text(body) : body
        #expect(text == Array("firstlast".utf8))
      }
      // They are free again.
      let answer = try connections[0].get("/again", fields: [Self.gzip])
      #expect(try Gunzip.text(answer.body) == Array("firstlast".utf8))
    }

    // MARK: Cut

    /// By a server that dies, at once behind its bytes or when these have arrived: neither gzip's end nor that of the message.
    @Test(arguments: [false, true], ["/length", "/chunked", "/broken"])
    func aCutResponseIsSeenToBeCut(isStream: Bool, target: String) throws {
      let part = String(repeating: "some of it, ", count: 1_000)
      let arrived = Guarded(false)
      let backend = try RecordingBackend { exchange in
        if target == "/length" {
          try exchange.send(Self.start + "Content-Length: 100000\r\n\r\n" + part)
        } else {
          try exchange.send(
            Self.start + "Transfer-Encoding: chunked\r\n\r\n\(String(part.utf8.count, radix: 16))\r\n\(part)\r\n")
        }
        if exchange.head["x-waits"] != nil {
          guard arrived.wait(until: .usual, { $0 ? true : nil }) != nil else { throw Trouble("it never arrived") }
        }
        if target == "/broken" { try exchange.send("no chunk\r\n") }
        exchange.end()
      }
      let edge = try Countersign(Self.configuration(to: backend), in: try Workspace())
      for waits in [false, true] {
        let more = waits ? ["X-Waits: 1"] : []
        var packed: [UInt8] = []
        if isStream {
          let client = try Self.stream(edge)
          let stream = try client.begin(
            target, fields: [("accept-encoding", "gzip")] + more.map { _ in ("x-waits", "1") })
          if waits {
            try client.wait(for: "the part") { try Self.soFar($0.streams[stream]?.body ?? []) == part }
            arrived.with { $0 = true }
          }
          let response = try client.response(on: stream)
          #expect(!response.hasEnded && response.reset != nil)
          packed = response.body
        } else {
          let connection = try Connection(to: edge["public"])
          try connection.send(Text.request(target, fields: [Self.gzip] + more))
          var raw: [UInt8] = []
          #expect(try connection.readHead()?["content-encoding"] == "gzip")
          if waits {
            repeat {
              let count = try #require(Int(try connection.readLine(), radix: 16))
              packed += try connection.read(count)
              #expect(try connection.readLine().isEmpty)
            } while try Self.soFar(packed) != part
            arrived.with { $0 = true }
          }
          raw = try connection.readToEnd()
          #expect(!raw.suffix(5).elementsEqual("0\r\n\r\n".utf8), "a last chunk")
          if waits { #expect(raw.isEmpty) }
        }
        if waits { #expect(try Self.soFar(packed) == part) }
        #expect(throws: (any Error).self) { try Gunzip.text(packed) }
        arrived.with { $0 = false }
      }
      #expect(
        try edge.access.wait(path: target).refusal == (target == "/broken" ? "upstream-response" : "upstream-reset"))
    }

    /// A client that goes gives back what compressed for it.
    @Test func aClientThatGoesGivesItBack() throws {
      let backend = try RecordingBackend(keepsBytes: false) { exchange in
        try exchange.send(Self.start + "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        _ = try exchange.connection.readToEnd()
        exchange.end()
      }
      var configuration = Self.configuration(to: backend)
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: try Workspace())
      for _ in 0..<150 {
        let connection = try Connection(to: edge["public"])
        try connection.send(Text.request("/", fields: [Self.gzip]))
        #expect(try connection.readHead()?["content-encoding"] == "gzip")
        connection.reset()
        try backend.waitForOpenCount(0)
      }
    }
  }
}
