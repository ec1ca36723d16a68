// RFC 9113 sections 7 and 8, and RFC 7541: error codes, messages, header compression.

import TestSupport
import Testing

extension HTTP2Case {
  private static let test = Array("test".utf8)

  static let exchanges: [HTTP2Case] = codes + messages + pseudoFields + fields

  private static let codes: [HTTP2Case] = [
    HTTP2Case("7", "GOAWAY with an unknown code", .goesOnOrEnds) { try $0.send(.goAway(0xff)) },
    HTTP2Case("7", "RST_STREAM with an unknown code", .goesOn) {
      try $0.send($0.headers(method: "POST", ends: false), .reset(1, 0xff))
    },
  ]

  private static let messages: [HTTP2Case] = [
    HTTP2Case("8.1", "a second HEADERS that does not end the stream", .malformed) {
      try $0.send(
        $0.headers(method: "POST", ends: false), .data(1, test),
        .headers(1, HPACKBlock([HPACKField("x-test", "ok")]).bytes, ends: false))
    },
    HTTP2Case("8.1.2", "upper case in a name", .malformed) { try $0.send($0.headers(with: ("X-TEST", "ok"))) },
    HTTP2Case("8.1.2.6", "Content-Length that DATA is not", .malformed) {
      try $0.send(
        $0.headers(method: "POST", ends: false, with: ("content-length", "1")), .data(1, test, ends: true))
    },
    HTTP2Case("8.1.2.6", "Content-Length that several DATA frames are not", .malformed) {
      try $0.send(
        $0.headers(method: "POST", ends: false, with: ("content-length", "1")), .data(1, test),
        .data(1, test, ends: true))
    },
    HTTP2Case("8.2", "PUSH_PROMISE", .connectionError([.protocolError])) {
      try $0.send(
        HTTP2Frame(.pushPromise, flags: HTTP2Frame.endHeaders, stream: 1, HTTP2Frame.word(3) + $0.block("/pushed")))
    },
  ]

  private static let pseudoFields: [HTTP2Case] =
    [
      HTTP2Case("8.1.2.1", "an unknown pseudo-field", .malformed) { try $0.send($0.headers(with: (":test", "ok"))) },
      HTTP2Case("8.1.2.1", "a response's pseudo-field", .malformed) {
        try $0.send($0.headers(with: (":status", "200")))
      },
      HTTP2Case("8.1.2.1", "a pseudo-field in trailers", .malformed) {
        try $0.send(
          $0.headers(method: "POST", ends: false), .data(1, test),
          .headers(1, HPACKBlock([HPACKField(":method", "POST")]).bytes, ends: true))
      },
      HTTP2Case("8.1.2.1", "a pseudo-field behind a field", .malformed) {
        try $0.send(.headers(1, HPACKBlock([HPACKField("x-test", "ok")] + $0.fields("/case")).bytes))
      },
      HTTP2Case("8.1.2.3", "an empty :path", .malformed) { try $0.send(.headers(1, $0.block(""))) },
    ]
    + [":method", ":scheme", ":path"].flatMap { name in
      [
        HTTP2Case("8.1.2.3", "no \(name)", .malformed) { client in
          try client.send(.headers(1, HPACKBlock(client.fields("/case").filter { $0.nameText != name }).bytes))
        },
        HTTP2Case("8.1.2.3", "\(name) twice", .malformed) { client in
          let fields = client.fields("/case")
          try client.send(.headers(1, HPACKBlock(fields + fields.filter { $0.nameText == name }).bytes))
        },
      ]
    }

  private static let fields: [HTTP2Case] = [
    HTTP2Case("8.1.2.2", "Connection", .malformed) { try $0.send($0.headers(with: ("connection", "keep-alive"))) },
    HTTP2Case("8.1.2.2", "TE that says more than trailers", .malformed) {
      try $0.send($0.headers(with: ("trailers", "test"), ("te", "trailers, deflate")))
    },
  ]

  // MARK: RFC 7541

  /// A request whose block ends with these bytes.
  private static func compression(_ section: String, _ title: String, _ end: [UInt8]) -> HTTP2Case {
    HTTP2Case("HPACK \(section)", title, .connectionError([.compressionError])) {
      try $0.send(.headers(1, $0.block("/case") + end))
    }
  }

  private static let huffmanName: [UInt8] = [0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff]

  static let compression: [HTTP2Case] = [
    compression("2.3.3", "an index beyond the tables", [0xc6]),
    compression("2.3.3", "a name's index beyond the tables", [0x7f, 0x07, 0x00]),
    compression("4.2", "a change of the table's size at the block's end", [0x21]),
    compression("5.2", "more than seven bits of padding", huffmanName + [0x84, 0x49, 0x50, 0x9f, 0xff]),
    compression("5.2", "padding of zeroes", huffmanName + [0x83, 0x49, 0x50, 0x90]),
    compression(
      "5.2", "the end of the string within it", huffmanName + [0x87, 0x49, 0x51, 0xff, 0xff, 0xff, 0xfa, 0x7f]),
    compression("6.1", "index 0", [0x80]),
    HTTP2Case("HPACK 6.3", "a table larger than allowed", .connectionError([.compressionError])) { client in
      var block = HPACKBlock()
      block.tableSize(Int(client.settings[.headerTableSize] ?? 4096) + 1)
      try client.send(.headers(1, block.bytes + client.block("/case")))
    },
  ]
}
