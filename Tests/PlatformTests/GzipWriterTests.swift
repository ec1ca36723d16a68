// What GzipWriter writes, read by zlib's inflate: the same bytes, wherever the input is cut and however little room there is.

import Platform
import TestSupport
import Testing
import Wire

@Suite struct GzipWriterTests {
  /// Has some content compressed: in pieces of so many bytes (0: all at once), into an output of so many, flushed behind every nth piece.
  private func packed(
    _ writer: GzipWriter, _ content: [UInt8], piece: Int, room: Int, flushEach: Int = 0, level: Int = 6
  ) throws -> [UInt8] {
    try #require(writer.begin(level: level))
    let out = Buffer(capacity: room)
    var all: [UInt8] = []
    func drain() {
      all += out.copyBytes()
      out.removeAll()
    }
    var at = 0
    var pieces = 0
    while at < content.count {
      let count = piece == 0 ? content.count - at : min(piece, content.count - at)
      at += writer.compress(content.span.extracting(at..<at + count), into: out)
      drain()
      pieces += 1
      guard flushEach > 0, pieces % flushEach == 0 else { continue }
      while !writer.flush(into: out) { drain() }
      drain()
      #expect(try Gunzip.text(all, isWhole: false) == Array(content[..<at]), "what was flushed can be read")
    }
    while !writer.finish(into: out) { drain() }
    drain()
    return all
  }

  private static func content(_ kind: Int, _ count: Int) -> [UInt8] {
    var random = Seeded(UInt64(kind + count))
    return switch kind {
    case 0: [UInt8](repeating: 0x61, count: count)
    case 1: random.bytes(count)
    default: (0..<count).map { UInt8(0x20 + $0 * $0 % 61) }
    }
  }

  @Test(arguments: [0, 1, 2])
  func whatIsWrittenIsReadAgain(kind: Int) throws {
    let writer = try #require(GzipWriter())
    for count in [0, 1, 2, 100, 5_000, 70_000] {
      let content = Self.content(kind, count)
      for (piece, room) in [(0, 64 * 1024), (1, 1), (1, 4_096), (7, 9), (4_096, 3), (65_536, 100)] {
        guard count < 10_000 || piece != 1 || room > 1 else { continue }
        let bytes = try packed(writer, content, piece: piece, room: room)
        #expect(try Gunzip.text(bytes) == content, "\(count) bytes in pieces of \(piece), room for \(room)")
      }
    }
  }

  /// At each place, into little room and much.
  @Test func whatIsFlushedIsReadAtOnce() throws {
    let writer = try #require(GzipWriter())
    let content = Self.content(2, 300)
    for piece in [1, 2, 7, 64] {
      for room in [8, 9, 20, 4_096] {
        let bytes = try packed(writer, content, piece: piece, room: room, flushEach: 1)
        #expect(try Gunzip.text(bytes) == content)
      }
    }
    for each in 1...5 {
      #expect(try Gunzip.text(packed(writer, content, piece: 13, room: 64, flushEach: each)) == content)
    }
  }

  @Test func nothingToFlushIsNoEndlessFlush() throws {
    let writer = try #require(GzipWriter())
    try #require(writer.begin(level: 4))
    let out = Buffer(capacity: 64)
    for _ in 0..<3 {
      var calls = 0
      while !writer.flush(into: out) {
        out.removeAll()
        calls += 1
        try #require(calls < 10)
      }
    }
    while !writer.finish(into: out) { out.removeAll() }
    // In less room than zlib takes for a mark nothing begins.
    try #require(writer.begin(level: 4))
    #expect(!writer.flush(into: Buffer(capacity: 7)))
  }

  /// A member that is given up leaves nothing to the next, at whatever level.
  @Test func oneAfterTheOtherAtAnyLevel() throws {
    let writer = try #require(GzipWriter())
    let out = Buffer(capacity: 50)
    for level in [1, 9, 4, 4, 1, 6, 2, 3, 5, 7, 8] {
      let content = Self.content(2, 20_000 + level)
      #expect(try Gunzip.text(packed(writer, content, piece: 1_000, room: 3_000, level: level)) == content)
      try #require(writer.begin(level: level))
      _ = writer.compress(content.span, into: out)
      if level % 2 == 0 { _ = writer.flush(into: out) }
      out.removeAll()
    }
  }

  /// Levels above 6 search no further than 6: of such content 16 KiB would take zlib's level 9 tens of milliseconds. Only the header
  /// says which level it was (RFC 1952 section 2.3.1, XFL).
  @Test(arguments: [7, 8, 9]) func aHighLevelSearchesAsFarAsSix(level: Int) throws {
    let writer = try #require(GzipWriter())
    var random = Seeded(7)
    let content = random.bytes(100_000).map { 0x61 + $0 % 2 }
    let expected = try packed(writer, content, piece: 16_384, room: 4_096, level: 6)
    // Also where the level was the same before.
    for _ in 0..<3 {
      let bytes = try packed(writer, content, piece: 16_384, room: 4_096, level: level)
      #expect(try Gunzip.text(bytes) == content)
      let isSame = bytes.dropFirst(10) == expected.dropFirst(10)
      #expect(isSame, "\(bytes.count) bytes, \(expected.count) at level 6")
    }
  }

  @Test func whatIsCutIsNoWholeMember() throws {
    let writer = try #require(GzipWriter())
    let content = Self.content(2, 1_000)
    let bytes = try packed(writer, content, piece: 100, room: 4_096, flushEach: 1)
    for count in 0..<bytes.count {
      #expect(throws: (any Error).self) { try Gunzip.text(Array(bytes[..<count])) }
    }
  }
}
