// RFC 9113 section 6: each frame.

import TestSupport
import Testing

extension HTTP2Setting {
  fileprivate static let unassigned = HTTP2Setting(rawValue: 0xff)
}

extension HTTP2Case {
  private static let test = Array("test".utf8)

  static let frameDefinitions: [HTTP2Case] = data + headers + others + settings + windows + continuations

  private static let data: [HTTP2Case] = [
    HTTP2Case("6.1", "DATA on the connection", .connectionError([.protocolError])) {
      try $0.send(.data(0, test, ends: true))
    },
    HTTP2Case("6.1", "DATA on a stream that its sender has ended", .streamError([.streamClosed])) {
      try $0.send($0.headers(method: "POST"), .data(1, test, ends: true))
    },
    HTTP2Case("6.1", "DATA with more padding than payload", .connectionError([.protocolError])) {
      let frame = HTTP2Frame(.data, flags: HTTP2Frame.padded | HTTP2Frame.endStream, stream: 1, [6] + test)
      try $0.send($0.headers(method: "POST", ends: false, with: ("content-length", "4")), frame)
    },
  ]

  private static let headers: [HTTP2Case] = [
    HTTP2Case("6.2", "HEADERS that are not whole, then PRIORITY", .connectionError([.protocolError])) {
      try $0.send($0.headers(ends: false, isWhole: false), .priority(1), .continuation(1, HTTP2Client.large()))
    },
    HTTP2Case("6.2", "HEADERS that are not whole, then those of another stream", .connectionError([.protocolError])) {
      try $0.send($0.headers(ends: false, isWhole: false), $0.headers(3), .continuation(1, HTTP2Client.large()))
    },
    HTTP2Case("6.2", "HEADERS on the connection", .connectionError([.protocolError])) { try $0.send($0.headers(0)) },
    HTTP2Case("6.2", "HEADERS with more padding than payload", .connectionError([.protocolError])) { client in
      var frame = client.headers()
      frame.flags |= HTTP2Frame.padded
      frame.payload = [UInt8(frame.payload.count + 1)] + frame.payload
      try client.send(frame)
    },
  ]

  private static let others: [HTTP2Case] = [
    HTTP2Case("6.3", "PRIORITY on the connection", .connectionError([.protocolError])) { try $0.send(.priority(0)) },
    HTTP2Case("6.3", "PRIORITY of four bytes", .streamError([.frameSizeError])) {
      try $0.send($0.headers(), HTTP2Frame(.priority, stream: 1, [0x80, 0, 0, 1]))
    },
    HTTP2Case("6.4", "RST_STREAM on the connection", .connectionError([.protocolError])) { try $0.send(.reset(0)) },
    HTTP2Case("6.4", "RST_STREAM on an idle stream", .connectionError([.protocolError])) { try $0.send(.reset(1)) },
    HTTP2Case("6.4", "RST_STREAM of three bytes", .connectionError([.frameSizeError])) {
      try $0.send($0.headers(), HTTP2Frame(.reset, stream: 1, [0, 0, 0]))
    },
    HTTP2Case("6.7", "PING", .asChecked) { try $0.settle() },
    HTTP2Case("6.7", "PING that acknowledges what nobody asked", .asChecked) { client in
      try client.send(.ping(Array("unasked!".utf8), isAck: true))
      try client.settle()
      #expect(client.pongs.count == 1)
    },
    HTTP2Case("6.7", "PING on a stream", .connectionError([.protocolError])) {
      try $0.send(HTTP2Frame(.ping, stream: 1, [UInt8](repeating: 0, count: 8)))
    },
    HTTP2Case("6.7", "PING of six bytes", .connectionError([.frameSizeError])) {
      try $0.send(HTTP2Frame(.ping, [UInt8](repeating: 0, count: 6)))
    },
    HTTP2Case("6.8", "GOAWAY on a stream", .connectionError([.protocolError])) {
      try $0.send(HTTP2Frame(.goAway, stream: 1, [UInt8](repeating: 0, count: 8)))
    },
  ]

  // MARK: SETTINGS

  private static let settings: [HTTP2Case] = [
    HTTP2Case("6.5", "an acknowledgement with a payload", .connectionError([.frameSizeError])) {
      try $0.send(HTTP2Frame(.settings, flags: HTTP2Frame.ack, [0]))
    },
    HTTP2Case("6.5", "SETTINGS on a stream", .connectionError([.protocolError])) {
      try $0.send(HTTP2Frame(.settings, stream: 1, [0, 3, 0, 0, 0, 0x64]))
    },
    HTTP2Case("6.5", "SETTINGS of three bytes", .connectionError([.frameSizeError])) {
      try $0.send(HTTP2Frame(.settings, [0, 3, 0]))
    },
    setting("ENABLE_PUSH of 2", .enablePush, 2, .protocolError),
    setting("INITIAL_WINDOW_SIZE beyond all windows", .initialWindowSize, 1 << 31, .flowControlError),
    setting("MAX_FRAME_SIZE below the least", .maxFrameSize, 16_383, .protocolError),
    setting("MAX_FRAME_SIZE beyond the greatest", .maxFrameSize, 1 << 24, .protocolError),
    HTTP2Case("6.5.2", "an unknown setting", .goesOn) {
      try $0.send(.settings([(.unassigned, 1)]))
    },
    HTTP2Case("6.5.3", "of several INITIAL_WINDOW_SIZE the last holds", .asChecked) { client in
      try changeWindow(client, 100, 1)
      try client.send(client.headers())
      try expectData(client, [1])
    },
    HTTP2Case("6.5.3", "SETTINGS are acknowledged", .asChecked) { client in
      let before = client.settingsAckCount
      try client.send(.settings([(.enablePush, 0)]))
      try client.wait(for: "an acknowledgement") { $0.settingsAckCount == before + 1 }
    },
  ]

  private static func setting(_ title: String, _ setting: HTTP2Setting, _ value: UInt32, _ code: HTTP2Code) -> HTTP2Case
  {
    HTTP2Case("6.5.2", title, .connectionError([code])) { try $0.send(.settings([(setting, value)])) }
  }

  /// Sends INITIAL_WINDOW_SIZE, and waits until it holds.
  private static func changeWindow(_ client: HTTP2Client, _ sizes: UInt32...) throws {
    let before = client.settingsAckCount
    client.givesWindowsBack = false
    try client.send(.settings(sizes.map { (HTTP2Setting.initialWindowSize, $0) }))
    try client.wait(for: "an acknowledgement") { $0.settingsAckCount == before + 1 }
  }

  /// DATA of these lengths comes on stream 1, and no more.
  private static func expectData(_ client: HTTP2Client, _ counts: [Int]) throws {
    try client.wait(for: "DATA") { ($0.streams[1]?.dataFrameCounts.count ?? 0) >= counts.count }
    try client.settle()
    #expect(client.streams[1]?.dataFrameCounts == counts)
  }

  // MARK: Windows

  private static let windows: [HTTP2Case] = [
    HTTP2Case("6.9", "WINDOW_UPDATE by 0 on the connection", .connectionError([.protocolError])) {
      try $0.send(.windowUpdate(0, by: 0))
    },
    HTTP2Case("6.9", "WINDOW_UPDATE by 0 on a stream", .streamError([.protocolError])) {
      try $0.send($0.headers(ends: false), .windowUpdate(1, by: 0))
    },
    HTTP2Case("6.9", "WINDOW_UPDATE of three bytes", .connectionError([.frameSizeError])) {
      try $0.send(HTTP2Frame(.windowUpdate, [0, 0, 1]))
    },
    HTTP2Case("6.9.1", "a window of one byte", .asChecked) { client in
      try changeWindow(client, 1)
      try client.send(client.headers())
      try expectData(client, [1])
    },
    HTTP2Case("6.9.1", "the connection's window beyond 2^31-1", .connectionError([.flowControlError])) {
      try $0.send(.windowUpdate(0, by: .max >> 1), .windowUpdate(0, by: .max >> 1))
    },
    HTTP2Case("6.9.1", "a stream's window beyond 2^31-1", .streamError([.flowControlError])) {
      try $0.send($0.headers(ends: false), .windowUpdate(1, by: .max >> 1), .windowUpdate(1, by: .max >> 1))
    },
    HTTP2Case("6.9.2", "INITIAL_WINDOW_SIZE changes open streams", .asChecked) { client in
      try changeWindow(client, 0)
      try client.send(client.headers())
      try client.wait(for: "a response") { $0.streams[1]?.blocks.isEmpty == false }
      try changeWindow(client, 1)
      try expectData(client, [1])
    },
    HTTP2Case("6.9.2", "a window may be negative", .asChecked) { client in
      try changeWindow(client, 3)
      try client.send(client.headers())
      try expectData(client, [3])
      try changeWindow(client, 2)
      try client.send(.windowUpdate(1, by: 2))
      try expectData(client, [3, 1])
    },
    HTTP2Case("6.9.2", "INITIAL_WINDOW_SIZE beyond all windows", .connectionError([.flowControlError])) {
      try $0.send(HTTP2Frame(.settings, [0, 4, 0x80, 0, 0, 0]))
    },
  ]

  // MARK: CONTINUATION

  private static let continuations: [HTTP2Case] = [
    HTTP2Case("6.10", "several CONTINUATION frames", .response) {
      try $0.send(
        $0.headers(isWhole: false), .continuation(1, HTTP2Client.large(1), isWhole: false),
        .continuation(1, HTTP2Client.large(2)))
    },
    HTTP2Case("6.10", "CONTINUATION, then DATA", .connectionError([.protocolError])) {
      try $0.send(
        $0.headers(method: "POST", ends: false, isWhole: false),
        .continuation(1, HTTP2Client.large(), isWhole: false), .data(1, test, ends: true))
    },
    HTTP2Case("6.10", "CONTINUATION on the connection", .connectionError([.protocolError])) {
      try $0.send($0.headers(isWhole: false), .continuation(0, HTTP2Client.large()))
    },
    HTTP2Case("6.10", "CONTINUATION behind HEADERS that were whole", .connectionError([.protocolError])) {
      try $0.send($0.headers(), .continuation(1, HTTP2Client.large()))
    },
    HTTP2Case("6.10", "CONTINUATION behind the last CONTINUATION", .connectionError([.protocolError])) {
      try $0.send(
        $0.headers(isWhole: false), .continuation(1, HTTP2Client.large(1)), .continuation(1, HTTP2Client.large(2)))
    },
    HTTP2Case("6.10", "CONTINUATION behind DATA", .connectionError([.protocolError])) {
      try $0.send(
        $0.headers(method: "POST", ends: false, isWhole: false), .data(1, test, ends: true),
        .continuation(1, HTTP2Client.large(1), isWhole: false), .continuation(0, HTTP2Client.large(2)))
    },
  ]
}
