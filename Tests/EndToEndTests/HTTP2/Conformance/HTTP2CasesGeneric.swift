// What every client may rely on: h2spec's generic cases.

import TestSupport
import Testing

extension HTTP2Case {
  private static let test = Array("test".utf8)

  static let generic: [HTTP2Case] = starting + streams + frames + messages + hpack

  private static let starting: [HTTP2Case] = [
    HTTP2Case("generic 1", "the preface is answered by SETTINGS", .asChecked, hasBegun: false) { client in
      try client.send(HTTP2Client.preface)
      try client.send(.settings([(.initialWindowSize, 65_535)]))
      let first = try #require(try client.nextFrame())
      #expect(first.kind == .settings && !first.has(HTTP2Frame.ack))
    }
  ]

  private static let streams: [HTTP2Case] = [
    HTTP2Case("generic 2", "PRIORITY on an idle stream", .goesOn) { try $0.send(.priority(1)) },
    HTTP2Case("generic 2", "WINDOW_UPDATE on a half-closed stream", .asChecked) { client in
      try client.send(.settings([(.initialWindowSize, 0)]), client.headers(), .windowUpdate(1, by: 1))
      try client.wait(for: "a byte of DATA") { $0.streams[1]?.dataFrameCounts.contains(1) == true }
    },
    HTTP2Case("generic 2", "PRIORITY on a half-closed stream", .asChecked) { client in
      try client.send(.settings([(.initialWindowSize, 0)]), client.headers(), .priority(1), .windowUpdate(1, by: 1))
      try client.wait(for: "a byte of DATA") { $0.streams[1]?.dataFrameCounts.contains(1) == true }
    },
    HTTP2Case("generic 2", "RST_STREAM on a half-closed stream", .goesOn) { try $0.send($0.headers(), .reset(1)) },
    HTTP2Case("generic 2", "PRIORITY on a closed stream", .goesOn) { client in
      try client.send(client.headers())
      _ = try client.response(on: 1)
      try client.send(.priority(1))
    },
  ]

  private static let frames: [HTTP2Case] = [
    HTTP2Case("generic 3.1", "DATA", .response) {
      try $0.send($0.headers(method: "POST", ends: false), .data(1, test, ends: true))
    },
    HTTP2Case("generic 3.1", "several DATA frames", .response) {
      try $0.send($0.headers(method: "POST", ends: false), .data(1, test), .data(1, test, ends: true))
    },
    HTTP2Case("generic 3.1", "DATA with padding", .response) {
      try $0.send($0.headers(method: "POST", ends: false), .data(1, test, ends: true).padded(by: 5))
    },
    HTTP2Case("generic 3.2", "HEADERS", .response) { try $0.send($0.headers()) },
    HTTP2Case("generic 3.2", "HEADERS with padding", .response) { try $0.send($0.headers().padded(by: 8)) },
    HTTP2Case("generic 3.2", "HEADERS with a priority", .response) { client in
      var frame = client.headers()
      frame.flags |= HTTP2Frame.prioritised
      frame.payload = HTTP2Frame.priorityBytes(on: 0) + frame.payload
      try client.send(frame)
    },
    HTTP2Case("generic 3.3", "PRIORITY of weight 1", .response) { try $0.send(.priority(1, weight: 0), $0.headers()) },
    HTTP2Case("generic 3.3", "PRIORITY of weight 256", .response) { try $0.send(.priority(1), $0.headers()) },
    HTTP2Case("generic 3.3", "PRIORITY with a dependency", .response) {
      try $0.send(.priority(3, on: 1, weight: 0), $0.headers())
    },
    HTTP2Case("generic 3.3", "PRIORITY that is exclusive", .response) {
      try $0.send(.priority(1, weight: 0, isExclusive: true), $0.headers())
    },
    HTTP2Case("generic 3.3", "PRIORITY of an idle stream, then HEADERS of a lower one", .response) {
      try $0.send(.priority(3), $0.headers())
    },
    HTTP2Case("generic 3.4", "RST_STREAM", .goesOn) { try $0.send($0.headers(ends: false), .reset(1)) },
    HTTP2Case("generic 3.5", "SETTINGS", .asChecked) { client in
      let before = client.settingsAckCount
      try client.send(
        .settings([
          (.headerTableSize, 4096), (.enablePush, 1), (.maxConcurrentStreams, 100), (.initialWindowSize, 65_535),
          (.maxFrameSize, 16_384), (.maxHeaderListSize, 100),
        ]))
      try client.wait(for: "an acknowledgement") { $0.settingsAckCount > before }
    },
    HTTP2Case("generic 3.7", "PING", .asChecked) { try $0.settle() },
    HTTP2Case("generic 3.8", "GOAWAY", .goesOnOrEnds) { try $0.send(.goAway(0, Array("bye".utf8))) },
    HTTP2Case("generic 3.9", "WINDOW_UPDATE on the connection", .goesOn) { try $0.send(.windowUpdate(0, by: 1)) },
    HTTP2Case("generic 3.9", "WINDOW_UPDATE on a stream", .response) {
      try $0.send($0.headers(), .windowUpdate(1, by: 1))
    },
    HTTP2Case("generic 3.10", "CONTINUATION", .response) { client in
      let block = client.block("/case")
      try client.send(
        .headers(1, Array(block[..<5]), isWhole: false), .continuation(1, Array(block[5...])))
    },
    HTTP2Case("generic 3.10", "several CONTINUATION frames", .response) { client in
      let block = client.block("/case")
      try client.send(
        .headers(1, Array(block[..<5]), isWhole: false), .continuation(1, Array(block[5..<10]), isWhole: false),
        .continuation(1, Array(block[10...])))
    },
  ]

  private static let messages: [HTTP2Case] = [
    HTTP2Case("generic 4", "GET", .response) { try $0.send($0.headers()) },
    HTTP2Case("generic 4", "HEAD", .response) { try $0.send($0.headers(method: "HEAD")) },
    HTTP2Case("generic 4", "POST", .response) {
      try $0.send($0.headers(method: "POST", ends: false), .data(1, test, ends: true))
    },
    HTTP2Case("generic 4", "POST with trailers", .response) {
      try $0.send(
        $0.headers(method: "POST", ends: false, with: ("trailer", "x-test")), .data(1, test),
        .headers(1, HPACKBlock([HPACKField("x-test", "ok")]).bytes))
    },
  ]

  // MARK: HPACK

  /// A request with one field more, written like this.
  private static func field(_ title: String, _ write: @escaping @Sendable (inout HPACKBlock) -> Void) -> HTTP2Case {
    HTTP2Case("generic 5", title, .response) { client in
      var block = HPACKBlock(client.fields("/case"))
      write(&block)
      try client.send(.headers(1, block.bytes))
    }
  }

  private static func literals(_ what: String, _ indexing: HPACKBlock.Indexing) -> [HTTP2Case] {
    let userAgent = HPACKField("user-agent", "tests")
    let test = HPACKField("x-test", "tests")
    return [
      field("\(what), an indexed name") { $0.literal(userAgent, indexing, nameIndex: 58) },
      field("\(what), an indexed name, Huffman coding") {
        $0.literal(userAgent, indexing, nameIndex: 58, isHuffman: true)
      },
      field("\(what), a new name") { $0.literal(test, indexing) },
      field("\(what), a new name, Huffman coding") { $0.literal(test, indexing, isHuffman: true) },
    ]
  }

  private static let hpack: [HTTP2Case] =
    [field("an indexed field") { $0.indexed(58) }] + literals("a literal with incremental indexing", .incremental)
    + literals("a literal without indexing", .without) + literals("a literal never indexed", .never) + [
      HTTP2Case("generic 5", "a change of the table's size", .response) { client in
        var block = HPACKBlock()
        block.tableSize(128)
        try client.send(.headers(1, block.bytes + client.block("/case")))
      },
      HTTP2Case("generic 5", "two changes of the table's size", .response) { client in
        var block = HPACKBlock()
        block.tableSize(128)
        block.tableSize(4096)
        try client.send(.headers(1, block.bytes + client.block("/case")))
      },
    ]
}
