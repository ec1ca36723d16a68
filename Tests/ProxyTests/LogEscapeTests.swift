// A peer's bytes in the log are escaped by the word; every byte in every place, against one at a time.

import Platform
import Proxy
import Testing

@Suite struct LogEscapeTests {
  private func plainly(_ bytes: [UInt8]) -> [UInt8] {
    bytes.flatMap { byte -> [UInt8] in
      if byte >= 0x20, byte < 0x7f, byte != 0x22, byte != 0x5c { return [byte] }
      let digits = String(byte, radix: 16)
      return Array("\\u00\(byte < 0x10 ? "0" : "")\(digits)".utf8)
    }
  }

  @Test func everyByteInEveryPlace() {
    let out = Buffer(capacity: 256)
    for count in 1...18 {
      for place in 0..<count {
        for byte in 0...UInt8.max {
          var bytes = [UInt8](repeating: 0x61, count: count)
          bytes[place] = byte
          out.removeAll()
          out.appendEscaped(bytes.span, most: 100)
          if out.copyBytes() != plainly(bytes) { Issue.record("\(byte) at \(place) of \(count)") }
        }
      }
    }
  }

  @Test func whatIsCutIsNotLookedAt() {
    let out = Buffer(capacity: 1_024)
    for count in [0, 1, 7, 8, 9, 40] {
      for most in 0...count {
        for byte in [0x00, 0x22, 0x61, 0xff] as [UInt8] {
          let bytes = [UInt8](repeating: byte, count: count)
          out.removeAll()
          out.appendEscaped(bytes.span, most: most)
          #expect(out.copyBytes() == plainly(Array(bytes.prefix(most))))
        }
      }
    }
  }
}
