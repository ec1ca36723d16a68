// Chunks of the operator's own servers that are not how they should be and have one reading: taken in a response, refused
// in a request.

import TestSupport
import Testing
import Wire

@Suite struct HTTPIrregularBodyTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let text: String
    /// Nil: refused, from a server too.
    let payload: String?
    let trailerBytes: Int

    init(_ text: String, _ payload: String?, trailerBytes: Int = 0) {
      self.text = text
      self.payload = payload
      self.trailerBytes = trailerBytes
    }

    var testDescription: String { text }
  }

  /// Add a line for what the next server sends.
  static let rows = [
    Row(#"5  \r\nhello\r\n0\r\n\r\n"#, "hello"),
    Row(#"5\t\r\nhello\r\n0 \r\n\r\n"#, "hello"),
    Row(#"00000005        \r\nhello\r\n0       \r\n\r\n"#, "hello"),
    Row(#"5 ;a=b\r\nhello\r\n0\r\n\r\n"#, "hello"),
    Row(#"5\nhello\n0\n\n"#, "hello"),
    Row(#"5\r\nhello\n0\r\n\r\n"#, "hello"),
    Row(#"5\r\nhello\r\n0\n\r\n"#, "hello"),
    Row(#"5;a\nhello\r\n0\r\n\n"#, "hello"),
    Row(#"5  \nhello\n0\r\nX: y\r\n\r\n"#, "hello", trailerBytes: 8),
    Row(#"5\nhello\n0\nX: y\n\n"#, "hello", trailerBytes: 6),
    Row(#"5\r\nhello\r\n0\r\nX: y\r\nZ: w\n\r\n"#, "hello", trailerBytes: 13),
    // Two readings, or none.
    Row(#" 5\r\nhello\r\n0\r\n\r\n"#, nil),
    Row(#"5 5\r\nhello\r\n0\r\n\r\n"#, nil),
    Row(#"5 x\r\nhello\r\n0\r\n\r\n"#, nil),
    Row(#"5\rhello\r\n0\r\n\r\n"#, nil),
    Row(#"5 \rhello\r\n0\r\n\r\n"#, nil),
    Row(#"0x5\r\nhello\r\n0\r\n\r\n"#, nil),
    Row(#"+5\r\nhello\r\n0\r\n\r\n"#, nil),
    Row(#" \r\n"#, nil),
    Row(#"\n"#, nil),
    Row(#"5\nhello\rX0\n\n"#, nil),
    Row(#"4\nhello\n0\n\n"#, nil),
    Row(#"5\nhello\n0\nX: y\rz\n\n"#, nil),
  ]

  @Test(arguments: rows) func fromAServer(_ row: Row) {
    let bytes = Document.bytes(row.text)
    for piece in 1...bytes.count {
      let body = DecodedBody(bytes, .chunked, piece: piece, takes: 3, isLenient: true)
      guard let payload = row.payload else {
        guard case .refused = body.end else {
          Issue.record("not refused in pieces of \(piece): \(body)")
          return
        }
        continue
      }
      #expect(body.end == .complete(length: bytes.count), "in pieces of \(piece)")
      #expect(body.payload == Array(payload.utf8), "in pieces of \(piece)")
      #expect(body.trailers.count == row.trailerBytes)
      #expect(body.isIrregular)
    }
  }

  @Test(arguments: rows) func fromAClientItIsRefused(_ row: Row) {
    let bytes = Document.bytes(row.text)
    for piece in 1...bytes.count {
      guard case .refused = DecodedBody(bytes, .chunked, piece: piece, takes: 3).end else {
        Issue.record("not refused in pieces of \(piece)")
        return
      }
    }
  }

  @Test func whatIsAsItShouldBeIsRegular() {
    for text in [#"5;a=b\r\nhello\r\n0\r\n\r\n"#, #"5\r\nhello\r\n0\r\nX: y\r\n\r\n"#] {
      let body = DecodedBody(Document.bytes(text), .chunked, piece: 1, takes: 1, isLenient: true)
      #expect(body.payload == Array("hello".utf8) && !body.isIrregular)
    }
  }

  @Test func paddingMayFillTheLimitAndNotPassIt() {
    func body(_ count: Int) -> DecodedBody {
      let bytes = Array("1".utf8) + Array(repeating: 0x20, count: count) + Array("\r\na\r\n0\r\n\r\n".utf8)
      return DecodedBody(bytes, .chunked, piece: 7, takes: 1, isLenient: true)
    }
    #expect(body(BodyDecoder.extensionBytesMax).payload == [0x61])
    #expect(body(BodyDecoder.extensionBytesMax + 1).end == .refused("framing-chunk"))
  }
}
