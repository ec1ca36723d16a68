// Responses of servers that speak HTTP/2 and keep to it loosely: what is no response is named, what never ends is ended, and nothing of it
// costs the client more than its request.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2Responses {
    typealias Field = (String, String)

    /// A server's end of a connection, for what `serve` is to answer.
    struct Answering {
      let connection: Connection
      let stream: UInt32

      func head(_ fields: [Field], ends: Bool = false) -> [HTTP2Frame] {
        let block = HPACKBlock(fields.map { HPACKField($0.0, $0.1) }).bytes
        let pieces = stride(from: 0, to: max(1, block.count), by: 16_000).map {
          Array(block[$0..<min(block.count, $0 + 16_000)])
        }
        return pieces.enumerated().map { index, piece in
          let isLast = index == pieces.count - 1
          return index == 0
            ? .headers(stream, piece, ends: ends, isWhole: isLast) : .continuation(stream, piece, isWhole: isLast)
        }
      }

      func data(_ text: String, ends: Bool = false) -> [HTTP2Frame] { data(Array(text.utf8), ends: ends) }

      func data(_ bytes: [UInt8], ends: Bool = false) -> [HTTP2Frame] {
        stride(from: 0, to: bytes.count, by: 16_000).map {
          let end = min(bytes.count, $0 + 16_000)
          return .data(stream, Array(bytes[$0..<end]), ends: ends && end == bytes.count)
        }
      }

      func send(_ frames: [HTTP2Frame]) throws { try connection.send(frames.flatMap(\.bytes)) }

      /// Reads what comes until a frame is like that.
      func wait(for isIt: (HTTP2Frame) -> Bool) throws {
        while true {
          let frame = try connection.readHTTP2Frame()
          if frame.kind == .settings, !frame.has(HTTP2Frame.ack) { try send([.settingsAck]) }
          if isIt(frame) { return }
        }
      }
    }

    static let ok: [Field] = [(":status", "200"), ("content-type", "text/plain")]

    /// An edge in front of a server that answers each request by `answer`, and reads on behind that until the connection ends.
    static func site(
      _ settings: [(HTTP2Setting, UInt32)] = [], timeouts: [String] = [],
      _ answer: @escaping @Sendable (Answering, String) throws -> Void
    ) throws -> HTTP2Site {
      try HTTP2Site(keepsBytes: false) { exchange in
        let connection = try exchange.speakHTTP2(.settings(settings))
        var decoder = HPACKDecoder()
        while true {
          let frame = try connection.readHTTP2Frame()
          guard frame.kind == .headers else { continue }
          let path = try decoder.decode(frame.payload).all(":path").first ?? ""
          try answer(Answering(connection: connection, stream: frame.stream), path)
        }
      } change: {
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
        $0.routes.insert("path_prefix: /gzip/, to: backend, compress: { types: [text/plain], minimum: 1B }", at: 0)
        $0.upstreams[0].members += ["protocol: http2", "retries: { count: 0 }"]
        $0.timeouts = timeouts
        $0.workers = "1"
      }
    }

    // MARK: Lost connections

    /// The rest of its request had nowhere to go, and was sent for ever.
    @Test func aWholeResponseOnALostConnectionWaitsForItsClientWithoutWork() throws {
      let body = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
      let (isSent, mayBreak, isBroken) = (Guarded(false), Guarded(false), Guarded(false))
      let site = try Self.site([(.initialWindowSize, 0)]) { server, _ in
        try server.send(server.head(Self.ok) + server.data(body, ends: true) + [.ping()])
        try server.wait { $0.kind == .ping && $0.has(HTTP2Frame.ack) }
        isSent.with { $0 = true }
        _ = mayBreak.wait(until: .usual) { $0 ? true : nil }
        // DATA of no stream: an error of the connection.
        try server.send([.data(0, [1, 2, 3])])
        try server.wait { $0.kind == .goAway }
        isBroken.with { $0 = true }
        _ = try server.connection.readToEnd()
      }
      let client = try site.begun(settings: [(.initialWindowSize, 0)])
      let stream = try client.open(client.block("/waits", method: "POST"), ends: false)
      try eventually("the response is at the edge") { isSent.now }
      // By now the edge knows that the server has no window.
      try client.send(.data(stream, [UInt8](repeating: 0x79, count: 1_000)))
      try client.settle()
      mayBreak.with { $0 = true }
      try eventually("the edge has seen the error") { isBroken.now }
      let before = try site.edge.process.processorSeconds
      observe(seconds: 2)
      let used = try site.edge.process.processorSeconds - before
      #expect(used < 0.2, "\(used) s of 2 s")
      // It is whole all the same.
      try client.send(.windowUpdate(stream, by: 100_000))
      try client.wait(for: "the whole response") { $0.streams[stream]?.hasEnded == true }
      #expect(client.streams[stream]?.body == body)
      try client.send(.data(stream, [], ends: true))
      try eventually("its connection is closed behind it") {
        try site.edge.metric("countersign_open_connections{side=\"upstream\"}") == 0
      }
    }
  }
}
