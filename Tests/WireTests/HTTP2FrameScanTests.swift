// Frames of HTTP/2 that end a connection though a library lets them pass, in whatever pieces they come.

import TestSupport
import Testing
import Wire

@Suite struct HTTP2FrameScanTests {
  private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  private static func frame(_ type: UInt8, _ stream: UInt32, _ payload: [UInt8] = [], flags: UInt8 = 0) -> [UInt8] {
    let n = payload.count
    return [UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255), type, flags]
      + (0..<4).map { UInt8(truncatingIfNeeded: stream >> UInt32(24 - 8 * $0)) } + payload
  }

  private static func headers(_ stream: UInt32) -> [UInt8] { frame(1, stream, [0x82]) }
  private static func priority(_ stream: UInt32, on other: UInt32) -> [UInt8] {
    frame(2, stream, (0..<4).map { UInt8(truncatingIfNeeded: other >> UInt32(24 - 8 * $0)) } + [16])
  }

  static let cases: [(what: String, bytes: [UInt8], fault: HTTP2FrameScan.Fault?)] = [
    ("nothing", [], nil),
    ("settings and requests", frame(4, 0) + headers(1) + frame(0, 1, [1, 2, 3]) + headers(3), nil),
    ("trailers", headers(1) + frame(0, 1, [7]) + headers(1), nil),
    ("a stream that was passed over", headers(5) + headers(3), .skippedStream),
    ("the first of them", headers(7) + headers(1), .skippedStream),
    ("passed over later", headers(1) + headers(9) + headers(11) + headers(7), .skippedStream),
    ("a stream in order behind one that was passed over", headers(5) + headers(7) + headers(5), nil),
    ("a stream of an even number", headers(2), .wrongStream),
    ("one far behind the last, and the next", headers(1) + headers(4) + headers(3), .wrongStream),
    ("the first of all, and the next", headers(2) + headers(1), .wrongStream),
    ("the last of all", headers(0x7fff_ffff) + headers(0x7fff_ffff), nil),
    ("what is passed over by the last of all", headers(0x7fff_ffff) + headers(0x7fff_fffd), .skippedStream),
    ("the connection itself", headers(0), .wrongStream),
    ("PRIORITY of the connection", priority(0, on: 1), .priority),
    ("PRIORITY on itself", priority(3, on: 3), .priority),
    ("PRIORITY on itself, exclusively", priority(3, on: 3 | 0x8000_0000), .priority),
    ("PRIORITY on another", priority(3, on: 5) + priority(5, on: 3), nil),
    ("PRIORITY that is too short", frame(2, 3, [0, 0, 0]) + headers(1), nil),
    ("as many continuations as may be", headers(1) + (0..<8).flatMap { _ in frame(9, 1, [0]) } + headers(3), nil),
    ("one more", headers(1) + (0..<9).flatMap { _ in frame(9, 1, [0]) }, .continuations),
    ("of two blocks", (0..<2).flatMap { headers(UInt32(1 + 2 * $0)) + (0..<8).flatMap { _ in frame(9, 1) } }, nil),
    ("what looks like one in a payload", headers(1) + frame(0, 1, priority(0, on: 0)) + headers(3), nil),
    ("DATA behind its end", headers(1) + frame(0, 1, [1], flags: 1) + frame(0, 1, [1]), .closedStream),
    ("trailers behind their end", headers(1) + frame(1, 1, [1], flags: 1) + headers(1), .closedStream),
    ("DATA behind a reset", headers(1) + frame(3, 1, [0, 0, 0, 8]) + frame(0, 1), .closedStream),
    ("HEADERS behind a reset", headers(1) + headers(3) + frame(3, 1, [0, 0, 0, 8]) + headers(1), .closedStream),
    (
      "windows and resets behind an end",
      frame(1, 1, flags: 1) + frame(8, 1, [0, 0, 0, 8]) + frame(3, 1, [0, 0, 0, 8]), nil
    ),
    ("DATA of another stream", headers(1) + frame(3, 1, [0, 0, 0, 8]) + headers(3) + frame(0, 3, [1]), nil),
    ("an unknown frame", frame(0xee, 77, [UInt8](repeating: 2, count: 300)) + headers(1), nil),
  ]

  @Test(arguments: cases) func findsItAtEverySplitPoint(
    _ what: String, _ bytes: [UInt8], _ fault: HTTP2FrameScan.Fault?
  ) {
    let all = Self.preface + bytes
    for split in 0...all.count {
      var scan = HTTP2FrameScan()
      var found = Self.scan(Array(all[..<split]), &scan)
      if found == nil { found = Self.scan(Array(all[split...]), &scan) }
      #expect(found == fault, "\(what), split at \(split)")
    }
    var scan = HTTP2FrameScan()
    var found: HTTP2FrameScan.Fault?
    for byte in all where found == nil { found = Self.scan([byte], &scan) }
    #expect(found == fault, "\(what), byte by byte")
  }

  static let counted: [(what: String, bytes: [UInt8], count: Int)] = [
    (
      "requests and data",
      headers(1) + frame(0, 1, [1]) + frame(9, 1, [1]) + frame(7, 0, [UInt8](repeating: 0, count: 8)), 0
    ),
    ("empty DATA", headers(1) + frame(0, 1) + frame(0, 1), 2),
    ("empty DATA that ends", headers(1) + frame(0, 1, flags: 1), 0),
    ("DATA of padding alone", headers(1) + frame(0, 1, [3, 0, 0, 0], flags: 8) + frame(0, 1, [0], flags: 8), 2),
    ("DATA with padding", headers(1) + frame(0, 1, [3, 7, 0, 0, 0], flags: 8) + frame(0, 1, [0, 7], flags: 8), 0),
    ("settings, and their acknowledgement", frame(4, 0) + frame(4, 0, flags: 1), 1),
    (
      "pings, and their answers",
      (0..<3).flatMap { _ in frame(6, 0, [UInt8](repeating: 0, count: 8)) } + frame(6, 0, flags: 1), 3
    ),
    (
      "windows, priorities, resets",
      headers(1) + frame(8, 0, [0, 0, 0, 1]) + priority(1, on: 3) + frame(3, 1, [0, 0, 0, 8]), 3
    ),
    ("what nobody knows", frame(0xbb, 0, [1, 2, 3]) + frame(0x10, 0, [0, 0, 0, 1, 117]), 2),
  ]

  @Test(arguments: counted) func framesThatCarryNothingAreCounted(_ what: String, _ bytes: [UInt8], _ count: Int) {
    let all = Self.preface + bytes
    for split in 0...all.count {
      var scan = HTTP2FrameScan()
      #expect(Self.scan(Array(all[..<split]), &scan) == nil)
      #expect(Self.scan(Array(all[split...]), &scan) == nil)
      #expect(scan.takeEmptyFrames() == count, "\(what), split at \(split)")
      #expect(scan.takeEmptyFrames() == 0)
    }
  }

  /// What is passed on ends neither within a frame's header nor where a header block goes on, whatever it is split by.
  @Test func whatWaitsForMoreIsCounted() {
    let frames: [(bytes: [UInt8], goesOn: Bool)] = [
      (Self.frame(4, 0), false), (Self.frame(1, 1, [0x82, 0x84, 0x86]), true), (Self.frame(9, 1), true),
      (Self.frame(9, 1, [0]), true), (Self.frame(9, 1), true), (Self.frame(9, 1, [0], flags: 4), false),
      (Self.priority(3, on: 5), false), (Self.frame(0, 1, [2, 7, 0, 0], flags: 8), false),
      (Self.frame(1, 3), true), (Self.frame(9, 3, [0, 0], flags: 4), false),
    ]
    var all = Self.preface
    var safe = Set(0...all.count)
    for (bytes, goesOn) in frames {
      let header = all.count + 9
      all += bytes
      for at in header...all.count where at < all.count || !goesOn { safe.insert(at) }
    }
    for split in 0...all.count {
      let expected = split - safe.filter { $0 <= split }.max()!
      var scan = HTTP2FrameScan()
      #expect(Self.scan(Array(all[..<split]), &scan) == nil)
      #expect(scan.waitingBytes == expected, "split at \(split)")
      #expect(Self.scan(Array(all[split...]), &scan) == nil)
      #expect(scan.waitingBytes == 0)
      var slow = HTTP2FrameScan()
      for byte in all[..<split] { #expect(Self.scan([byte], &slow) == nil) }
      #expect(slow.waitingBytes == expected, "byte by byte up to \(split)")
    }
  }

  private static func scan(_ bytes: [UInt8], _ scan: inout HTTP2FrameScan) -> HTTP2FrameScan.Fault? {
    scan.scan(bytes.span)
  }

  /// Whatever comes has an answer. Not one of these bytes is a reason to end the process.
  @Test func anyFramesAreLookedAt() {
    var random = Seeded(9_113)
    for _ in 0..<20_000 {
      var bytes = Self.preface
      for _ in 0..<Int.random(in: 0..<8, using: &random) {
        let stream: UInt32 =
          random.next() % 4 == 0 ? UInt32(truncatingIfNeeded: random.next()) : .random(in: 0..<9, using: &random)
        let payload = random.bytes(.random(in: 0..<7, using: &random))
        bytes += Self.frame(
          .random(in: 0...(random.next() % 8 == 0 ? 255 : 9), using: &random), stream, payload,
          flags: .random(in: 0..<64, using: &random))
      }
      let split = Int.random(in: 0...bytes.count, using: &random)
      var (whole, pieces) = (HTTP2FrameScan(), HTTP2FrameScan())
      let fault = Self.scan(bytes, &whole)
      let found = Self.scan(Array(bytes[..<split]), &pieces) ?? Self.scan(Array(bytes[split...]), &pieces)
      #expect(found == fault)
    }
  }

  /// Ranges are remembered as far as there is room: the latest ones.
  @Test func manyRangesTakeNoMoreMemory() {
    var scan = HTTP2FrameScan()
    #expect(Self.scan(Self.preface, &scan) == nil)
    for i in 1...1_000 { #expect(Self.scan(Self.headers(UInt32(i * 10 + 1)), &scan) == nil) }
    #expect(Self.scan(Self.headers(9_999), &scan) == .skippedStream)
  }
}
