// Names and values before they are lines, against the rules said byte by byte.

import Testing
import Wire

@Suite struct FieldBytesTests {
  private func refusal(ofName name: [UInt8]) -> Refusal? {
    if name.contains(where: { (0x41...0x5a).contains($0) }) { return .nameCase }
    return name.isEmpty || name.contains { $0 <= 0x20 || $0 == 0x3a || $0 >= 0x7f } ? .nameToken : nil
  }

  private func refusal(ofValue value: [UInt8]) -> Refusal? {
    let blanks: [UInt8] = [0x20, 0x09]
    if let first = value.first, let last = value.last, blanks.contains(first) || blanks.contains(last) {
      return .valueInvalid
    }
    return value.contains { [0x0d, 0x0a, 0].contains($0) } ? .valueInvalid : nil
  }

  @Test func everyByteAtEveryPlace() {
    for count in 1...20 {
      for at in 0..<count {
        for byte in UInt8.min...UInt8.max {
          var run = [UInt8](repeating: 0x70, count: count)
          run[at] = byte
          #expect(FieldBytes.refusal(ofName: run.span) == refusal(ofName: run), "\(byte) at \(at) of \(count)")
          #expect(FieldBytes.refusal(ofValue: run.span) == refusal(ofValue: run), "\(byte) at \(at) of \(count)")
        }
      }
    }
    let empty: [UInt8] = []
    #expect(FieldBytes.refusal(ofName: empty.span) == .nameToken)
    #expect(FieldBytes.refusal(ofValue: empty.span) == nil)
  }

  /// What is harmless does not hide what comes behind it.
  @Test func twoBytesThatAreNoLetters() {
    let bytes: [UInt8] = [
      0, 0x09, 0x0a, 0x0d, 0x1f, 0x20, 0x21, 0x2d, 0x3a, 0x41, 0x5a, 0x5b, 0x61, 0x7e, 0x7f, 0x80, 0xff,
    ]
    for (first, second) in bytes.flatMap({ a in bytes.map { (a, $0) } }) {
      for (a, b) in (0..<18).flatMap({ a in ((a + 1)..<19).map { (a, $0) } }) {
        var run = [UInt8](repeating: 0x70, count: 19)
        (run[a], run[b]) = (first, second)
        #expect(FieldBytes.refusal(ofName: run.span) == refusal(ofName: run), "\(run)")
        #expect(FieldBytes.refusal(ofValue: run.span) == refusal(ofValue: run), "\(run)")
      }
    }
  }
}
