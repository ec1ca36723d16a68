// RFC 9113 sections 3 to 5: the beginning, frames, streams.

import TestSupport
import Testing

extension HTTP2Case {
  private static let test = Array("test".utf8)
  private static let unknown = HTTP2Frame(type: 0x16, [UInt8](repeating: 0, count: 8))

  static let connections: [HTTP2Case] = beginning + framing + states + identifiers + errors

  private static let beginning: [HTTP2Case] = [
    HTTP2Case("3.5", "the server's preface is SETTINGS", .asChecked, hasBegun: false) { client in
      try client.send(HTTP2Client.preface)
      try client.send(.settings([(.initialWindowSize, 65_535)]))
      let first = try #require(try client.nextFrame())
      #expect(first.kind == .settings && !first.has(HTTP2Frame.ack))
    },
    HTTP2Case("3.5", "a preface that is none", .asChecked, hasBegun: false) { client in
      try client.connection.send("INVALID CONNECTION PREFACE\r\n\r\n")
      _ = try client.connection.readToEnd()
    },
  ]

  private static let framing: [HTTP2Case] = [
    HTTP2Case("4.1", "a frame of an unknown type", .goesOn) { try $0.send(unknown) },
    HTTP2Case("4.1", "a flag that means nothing", .asChecked) { client in
      try client.send(HTTP2Frame(.ping, flags: 0x16, [UInt8](repeating: 0, count: 8)))
      try client.wait(for: "PING") { !$0.pongs.isEmpty }
    },
    HTTP2Case("4.1", "the reserved bit", .asChecked) { client in
      try client.send(HTTP2Frame(.ping, flags: 0x16, stream: 1 << 31, [UInt8](repeating: 0, count: 8)))
      try client.wait(for: "PING") { !$0.pongs.isEmpty }
    },
    HTTP2Case("4.2", "DATA of 16,384 bytes", .response) { client in
      try client.send(
        client.headers(method: "POST", ends: false), .data(1, [UInt8](repeating: 0x78, count: 16_384), ends: true))
    },
    HTTP2Case("4.2", "DATA larger than the largest frame", .streamError([.frameSizeError])) { client in
      let data = [UInt8](repeating: 0x78, count: client.frameSizeMax + 1)
      try client.send(client.headers(method: "POST", ends: false), .data(1, data, ends: true))
    },
    HTTP2Case("4.2", "HEADERS larger than the largest frame", .connectionError([.frameSizeError])) { client in
      let fill = (0..<client.frameSizeMax / 4000 + 1).flatMap { HTTP2Client.large($0) }
      try client.send(.headers(1, client.block("/case") + fill))
    },
    HTTP2Case("4.3", "a header block that breaks off", .connectionError([.compressionError])) {
      try $0.send(.headers(1, [0x40]))
    },
    HTTP2Case("4.3", "PRIORITY within a header block", .connectionError([.protocolError])) {
      try $0.send($0.headers(ends: false, isWhole: false), .priority(1), .continuation(1, HTTP2Client.large()))
    },
    HTTP2Case("4.3", "HEADERS of another stream within a header block", .connectionError([.protocolError])) {
      try $0.send($0.headers(ends: false, isWhole: false), $0.headers(3), .continuation(1, HTTP2Client.large()))
    },
  ]

  // MARK: Streams

  private static let states: [HTTP2Case] = [
    HTTP2Case("5.1", "idle: DATA", .connectionError([.protocolError, .streamClosed])) {
      try $0.send(.data(1, test, ends: true))
    },
    HTTP2Case("5.1", "idle: RST_STREAM", .connectionError([.protocolError])) { try $0.send(.reset(1)) },
    HTTP2Case("5.1", "idle: WINDOW_UPDATE", .connectionError([.protocolError])) {
      try $0.send(.windowUpdate(1, by: 100))
    },
    HTTP2Case("5.1", "idle: CONTINUATION", .connectionError([.protocolError])) {
      try $0.send(.continuation(1, $0.block("/case")))
    },
    HTTP2Case("5.1", "half-closed: DATA", .streamError([.streamClosed])) {
      try $0.send($0.headers(), .data(1, test, ends: true))
    },
    HTTP2Case("5.1", "half-closed: HEADERS", .streamError([.streamClosed])) { try $0.send($0.headers(), $0.headers()) },
    HTTP2Case("5.1", "half-closed: CONTINUATION", .connectionError([.streamClosed, .protocolError])) {
      try $0.send($0.headers(), .continuation(1, $0.block("/case")))
    },
    HTTP2Case("5.1", "closed by RST_STREAM: DATA", .streamError([.streamClosed])) {
      try $0.send($0.headers(ends: false), .reset(1), .data(1, test, ends: true))
    },
    HTTP2Case("5.1", "closed by RST_STREAM: HEADERS", .streamError([.streamClosed])) {
      try $0.send($0.headers(ends: false), .reset(1), $0.headers())
    },
    HTTP2Case("5.1", "closed by RST_STREAM: CONTINUATION", .connectionError([.streamClosed, .protocolError])) {
      try $0.send($0.headers(ends: false), .reset(1), .continuation(1, HTTP2Client.large()))
    },
    HTTP2Case("5.1", "closed: DATA", .streamError([.streamClosed])) {
      try $0.send($0.headers())
      _ = try $0.response(on: 1)
      try $0.send(.data(1, test, ends: true))
    },
    HTTP2Case("5.1", "closed: HEADERS", .connectionError([.streamClosed])) {
      try $0.send($0.headers())
      _ = try $0.response(on: 1)
      try $0.send($0.headers())
    },
    HTTP2Case("5.1", "closed: CONTINUATION", .connectionError([.streamClosed, .protocolError])) {
      try $0.send($0.headers())
      _ = try $0.response(on: 1)
      try $0.send(.continuation(1, HTTP2Client.large()))
    },
  ]

  private static let identifiers: [HTTP2Case] = [
    HTTP2Case("5.1.1", "an even stream", .connectionError([.protocolError])) { try $0.send($0.headers(2)) },
    // A server that forgets closed streams cannot tell one that never was from one that is over.
    HTTP2Case("5.1.1", "a stream lower than the one before", .connectionError([.protocolError, .streamClosed])) {
      try $0.send($0.headers(5), $0.headers(3))
    },
    HTTP2Case("5.1.2", "more streams than the server allows", .asChecked) { client in
      let most = try #require(client.settings[.maxConcurrentStreams], "the server sets no limit")
      // Without a window no stream ends.
      try client.send(.settings([(.initialWindowSize, 0)]))
      try client.send((0...most).map { client.headers($0 * 2 + 1) })
      let codes = [HTTP2Code.protocolError, .refusedStream].map(\.rawValue)
      try client.wait(for: "a refusal") { client in
        client.streams.values.contains { $0.reset.map(codes.contains) == true }
          || client.goAway.map { codes.contains($0.code) } == true
      }
    },
    HTTP2Case("5.3.1", "HEADERS that depend on their own stream", .streamError([.protocolError])) { client in
      var frame = client.headers()
      frame.flags |= HTTP2Frame.prioritised
      frame.payload = HTTP2Frame.priorityBytes(on: 1) + frame.payload
      try client.send(frame)
    },
    HTTP2Case("5.3.1", "PRIORITY that depends on its own stream", .connectionError([.protocolError])) {
      try $0.send(.priority(1, on: 1))
    },
  ]

  private static let errors: [HTTP2Case] = [
    HTTP2Case("5.4.1", "the connection ends after a connection error", .end) {
      try $0.send(HTTP2Frame(.ping, stream: 3, [UInt8](repeating: 0, count: 8)))
    },
    HTTP2Case("5.4.1", "GOAWAY comes before the end", .connectionError([.protocolError])) {
      try $0.send(HTTP2Frame(.ping, stream: 3, [UInt8](repeating: 0, count: 8)))
    },
    HTTP2Case("5.5", "a frame of an extension", .goesOn) { try $0.send(unknown) },
    HTTP2Case("5.5", "a frame of an extension within a header block", .connectionError([.protocolError])) {
      try $0.send($0.headers(isWhole: false), unknown)
    },
  ]
}
