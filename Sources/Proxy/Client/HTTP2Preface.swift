// How a connection begins that speaks HTTP/2 by prior knowledge (RFC 9113 section 3.4), where HTTP/1.1 is spoken as well.

import Platform
import Wire

enum HTTP2Preface {
  private static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  enum Seen { case whole, begun, none }

  /// Whether the bytes that came first are that.
  static func look(at input: Buffer) -> Seen {
    input.withReadable { bytes in
      let n = min(bytes.count, text.utf8CodeUnitCount)
      guard AsciiWord.begins(text, with: bytes.extracting(first: n)) else { return .none }
      return n == text.utf8CodeUnitCount ? .whole : .begun
    }
  }
}
