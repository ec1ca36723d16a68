// Every byte value at every place of a word: the scans look at eight bytes at once, and must say of each byte what the
// rule for one byte says.

import Testing
import Wire

@Suite struct HTTPByteTests {
  private let reader = RequestReader()

  /// Reads a request with `byte` at `offset` of a run of 20 letters; `around` puts the run where it belongs.
  private func outcome(
    _ byte: UInt8, at offset: Int, followed tail: String, around: (String) -> (String, String)
  ) -> (HeadOutcome, [UInt8]) {
    let (before, after) = around(tail)
    var run = [UInt8](repeating: 0x70, count: 20)
    run[offset] = byte
    let bytes = Array(before.utf8) + run + Array(after.utf8)
    return (reader.parse(bytes, 0), bytes)
  }

  /// Bytes behind the run, so that it ends far from the end of what is at hand, and near to it.
  private static let tails = ["", "Z: a value of more than eight bytes\r\n"]

  @Test func values() {
    for tail in Self.tails {
      for byte in UInt8.min...UInt8.max {
        for offset in 0..<20 {
          let (outcome, bytes) = outcome(byte, at: offset, followed: tail) {
            ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\($0)\r\n")
          }
          let isText = byte == 0x09 || (byte >= 0x20 && byte != 0x7f)
          let expected: HeadOutcome =
            switch byte {
            case 0x0a, 0x0d: .refused(.lineEnding)
            default: isText ? .complete(length: bytes.count) : .refused(.valueInvalid)
            }
          #expect(outcome == expected, "byte \(byte) at \(offset)")
        }
      }
    }
  }

  @Test func names() {
    for tail in Self.tails {
      for byte in UInt8.min...UInt8.max {
        for offset in 0..<20 {
          let (outcome, bytes) = outcome(byte, at: offset, followed: tail) {
            ("GET / HTTP/1.1\r\nHost: a\r\n", ": x\r\n\($0)\r\n")
          }
          let expected: HeadOutcome =
            switch byte {
            case 0x0a, 0x0d: .refused(.lineEnding)
            case 0x20, 0x09: .refused(offset == 0 ? .obsFold : .nameSpace)
            case 0x3a where offset > 0: .complete(length: bytes.count)
            default: Model.tokenBytes.contains(byte) ? .complete(length: bytes.count) : .refused(.nameToken)
            }
          #expect(outcome == expected, "byte \(byte) at \(offset)")
        }
      }
    }
  }

  @Test func targets() {
    for tail in Self.tails {
      for byte in UInt8.min...UInt8.max {
        for offset in 0..<20 {
          let (outcome, bytes) = outcome(byte, at: offset, followed: tail) {
            ("GET /", " HTTP/1.1\r\nHost: a\r\n\($0)\r\n")
          }
          let expected: HeadOutcome =
            switch byte {
            case 0x0a, 0x0d: .refused(.lineEnding)
            case 0x20: .refused(.requestLine)
            case 0x23, 0x5c: .refused(.targetForm)
            default: byte > 0x20 && byte < 0x7f ? .complete(length: bytes.count) : .refused(.targetForm)
            }
          #expect(outcome == expected, "byte \(byte) at \(offset)")
          if byte == 0x3f { #expect(reader.head.query == ByteRange(5 + offset, 20 - offset)) }
        }
      }
    }
  }

  /// In a query a backslash divides nothing; all else is as in a path.
  @Test func queries() {
    for byte in UInt8.min...UInt8.max {
      for offset in 0..<20 {
        let (outcome, bytes) = outcome(byte, at: offset, followed: "") { _ in
          ("GET /?", " HTTP/1.1\r\nHost: a\r\n\r\n")
        }
        let expected: HeadOutcome =
          switch byte {
          case 0x0a, 0x0d: .refused(.lineEnding)
          case 0x20: .refused(.requestLine)
          case 0x23: .refused(.targetForm)
          default: byte > 0x20 && byte < 0x7f ? .complete(length: bytes.count) : .refused(.targetForm)
          }
        #expect(outcome == expected, "byte \(byte) at \(offset)")
        if outcome == .complete(length: bytes.count) {
          #expect(reader.head.path == ByteRange(4, 1) && reader.head.query.count == 21)
        }
      }
    }
  }

  @Test func methods() {
    for byte in UInt8.min...UInt8.max {
      for offset in 0..<20 {
        let (outcome, bytes) = outcome(byte, at: offset, followed: "") { _ in ("", " / HTTP/1.1\r\nHost: a\r\n\r\n") }
        let expected: HeadOutcome =
          switch byte {
          case 0x0a, 0x0d: .refused(.lineEnding)
          default: Model.tokenBytes.contains(byte) ? .complete(length: bytes.count) : .refused(.requestLine)
          }
        #expect(outcome == expected, "byte \(byte) at \(offset)")
      }
    }
  }
}
