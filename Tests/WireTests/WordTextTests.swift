// Text that is made and read by the word, against the plain way of doing it.

import Testing
import Wire

@Suite struct WordTextTests {
  @Test func decimalsOfEveryLength() {
    var power: UInt64 = 1
    for _ in 0..<20 {
      for value in [power &- 1, power, power &+ 1, power &* 9, power / 3, power &* 5 &+ 7, power &* 99] {
        #expect(written { $0.append(decimal: value) } == "\(value)")
      }
      power &*= 10
    }
    for value in [UInt64.max, UInt64.max - 1, 1 << 63] { #expect(written { $0.append(decimal: value) } == "\(value)") }
    for value in 0...100_000 as ClosedRange<UInt64> where written({ $0.append(decimal: value) }) != "\(value)" {
      Issue.record("\(value)")
    }
  }

  @Test func everyOctetInEveryPlace() {
    for octet in 0...255 as ClosedRange<UInt32> {
      for shift in [0, 8, 16, 24] as [UInt32] {
        for others in [0, 0x0909_0909, 0x6363_6363, 0xffff_ffff] as [UInt32] {
          let value = others & ~(255 << shift) | octet << shift
          let octets = [24, 16, 8, 0].map { "\(value >> $0 & 255)" }
          #expect(written { IPAddress(v4: value).write(to: $0) } == octets.joined(separator: "."))
        }
      }
    }
  }

  @Test func lowerCaseOfEveryByteAtEveryLength() {
    for count in 0...20 {
      for byte in 0...UInt8.max {
        var bytes = [UInt8](repeating: 0x51, count: count)
        if count > 0 { bytes[count - 1] = byte }
        let sink = ArraySink()
        sink.append(lowerCase: bytes.span)
        #expect(sink.bytes == bytes.map { $0 >= 0x41 && $0 <= 0x5a ? $0 + 0x20 : $0 })
      }
    }
  }

  @Test func bytesThatJSONEscapes() {
    for place in 0..<8 {
      for byte in 0...UInt8.max {
        let word = 0x6161_6161_6161_6161 & ~(0xff << UInt64(8 * place)) | UInt64(byte) << UInt64(8 * place)
        let isPlain = byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x5c
        #expect(Word.firstIndex(Word.notJSONText(word)) == (isPlain ? 8 : place))
      }
    }
  }

  // MARK: Base64

  /// Bit after bit, as RFC 4648 says it.
  private func reference(_ bytes: [UInt8], _ last: String, padded: Bool) -> String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\(last)")
    var bits = bytes.flatMap { byte in (0..<8).map { Int(byte >> (7 - $0) & 1) } }
    while bits.count % 6 != 0 { bits.append(0) }
    var text = stride(from: 0, to: bits.count, by: 6).map { at in digits[bits[at..<at + 6].reduce(0) { $0 * 2 + $1 }] }
    while padded, text.count % 4 != 0 { text.append("=") }
    return String(text)
  }

  @Test func everyLengthInBothAlphabets() {
    for count in 0...70 {
      for seed in 0..<8 as Range<UInt64> {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(count)
        let bytes = (0..<count).map { _ in
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return UInt8(truncatingIfNeeded: state >> 33)
        }
        for (alphabet, last, padded) in [(Base64.Alphabet.standard, "+/", true), (.url, "-_", false)] {
          let text = reference(bytes, last, padded: padded)
          #expect(written { Base64.encode(bytes.span, alphabet, to: $0) } == text)
          #expect(Base64.bytes(text, alphabet) == bytes)
        }
      }
    }
  }

  /// Of every byte in every place: either nothing is read, or what is read is written the same.
  @Test(arguments: [16, 32, 8, 64]) func oneTextForOneValueInEveryPlace(_ count: Int) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 73 &+ 5) }
    for (alphabet, last, padded) in [(Base64.Alphabet.standard, "+/", true), (.url, "-_", false)] {
      let text = Array(reference(bytes, last, padded: padded).utf8)
      var taken = 0
      for at in text.indices {
        for byte in 0...UInt8.max {
          var changed = text
          changed[at] = byte
          var room = [UInt8](repeating: 0, count: 64)
          var span = room.mutableSpan
          guard let count = Base64.decode(changed.span, alphabet, into: &span) else { continue }
          taken += 1
          let read = Array(room.prefix(count))
          if reference(read, last, padded: padded) != String(decoding: changed, as: UTF8.self) {
            Issue.record("\(at) \(byte)")
          }
        }
      }
      // The last digit of a text that is not full has fewer values.
      #expect(taken >= 64 * (count * 8 / 6))
    }
  }

  @Test func identifiersInEveryPlace() {
    let connection = ConnectionID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
    #expect(written { connection.write(hex: $0) } == "0123456789abcdeffedcba9876543210")
    let text = Array(written { connection.write(base64: $0) }.utf8)
    for at in text.indices {
      for byte in 0...UInt8.max {
        var changed = text
        changed[at] = byte
        var room = [UInt8](repeating: 0, count: 16)
        var span = room.mutableSpan
        let whole = Base64.decode(changed.span, .standard, into: &span) == 16 ? ConnectionID(room.span) : nil
        #expect(ConnectionID(base64: changed.span) == whole)
      }
    }
  }

  private func written(_ body: (ArraySink) -> Void) -> String {
    let sink = ArraySink()
    body(sink)
    return String(decoding: sink.bytes, as: UTF8.self)
  }
}

private final class ArraySink: ByteSink {
  var bytes: [UInt8] = []
  func append(_ byte: UInt8) { bytes.append(byte) }
  func append(_ span: Span<UInt8>) { for i in span.indices { bytes.append(span[i]) } }
  func append(_ literal: StaticString) { bytes += Array("\(literal)".utf8) }
}
