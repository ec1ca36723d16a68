// A log's lines reach a destination that takes what it likes and fails when it likes: every line that is there is
// whole, in order, and every one that is not there was counted.

import Platform
import Proxy
import TestSupport
import Testing

@Suite struct LogBatchTests {
  /// Takes `most` bytes, and then does as `then` says.
  private final class Destination {
    var taken: [UInt8] = []
    var most: Int
    var then: LogFile.Outcome
    /// Bytes in one call.
    let piece: Int

    init(most: Int, then: LogFile.Outcome, piece: Int = .max) {
      (self.most, self.then, self.piece) = (most, then, piece)
    }

    func write(_ bytes: [UInt8], _ start: Int) -> LogFile.Outcome {
      guard most > 0 else { return then }
      let count = min(piece, most, bytes.count - start)
      taken += bytes[start..<(start + count)]
      most -= count
      return .wrote(count)
    }
  }

  private static let pieces = ["one\n", "second\nthird\n", "\n", "4\n"].map { Array($0.utf8) }
  private static let full = SystemError("write", code: 28)
  private static let lineCount = 5
  private static let byteCount = pieces.joined().count

  @Test(arguments: 0...byteCount, [1, 2, 3, Int.max])
  func aDiskThatFillsAnywhere(_ room: Int, _ piece: Int) {
    let destination = Destination(most: room, then: .failed(Self.full), piece: piece)
    var batch = LogBatch()
    batch.add(Self.pieces)
    var lost = 0
    if case .failed = batch.write(destination.write) { lost += batch.discard(keepingRest: true) }
    // It is full a second time, and the lines that come meanwhile are lost.
    batch.add([Array("lost\n".utf8)])
    if case .failed = batch.write(destination.write) { lost += batch.discard(keepingRest: true) }
    let lostBefore = lost
    destination.most = .max
    batch.add([Array("last\n".utf8)])
    guard case .done = batch.write(destination.write) else {
      Issue.record("not written")
      return
    }
    #expect(batch.isEmpty && batch.discard(keepingRest: true) == 0)
    let lines = destination.taken.split(separator: 0x0a, omittingEmptySubsequences: false).dropLast().map(Array.init)
    #expect(destination.taken.last == 0x0a && lines.last == Array("last".utf8))
    let known = Set(["one", "second", "third", "", "4", "lost", "last"].map { Array($0.utf8) })
    #expect(lines.allSatisfy { known.contains($0) }, "a broken line")
    #expect(lines.count + lostBefore == Self.lineCount + 2)
  }

  @Test(arguments: 0...byteCount)
  func aReaderThatWaitsMissesNothing(_ room: Int) {
    let destination = Destination(most: room, then: .full)
    var batch = LogBatch()
    batch.add(Self.pieces)
    if room < Self.byteCount {
      guard case .full = batch.write(destination.write) else {
        Issue.record("not full")
        return
      }
    }
    destination.most = .max
    guard case .done = batch.write(destination.write) else {
      Issue.record("not written")
      return
    }
    #expect(destination.taken == Array(Self.pieces.joined()))
  }

  /// The beginning of a line is in the old file: its end does not begin the new one.
  @Test(arguments: 0...byteCount)
  func anotherDestinationBeginsWithAWholeLine(_ room: Int) {
    let old = Destination(most: room, then: .full)
    var batch = LogBatch()
    batch.add(Self.pieces)
    _ = batch.write(old.write)
    let lost = batch.dropRest()
    let new = Destination(most: .max, then: .full)
    _ = batch.write(new.write)
    #expect(batch.isEmpty)
    let isMidLine = old.taken.last != nil && old.taken.last != 0x0a
    #expect(lost == (isMidLine ? 1 : 0))
    func lines(_ bytes: [UInt8]) -> Int { bytes.count { $0 == 0x0a } }
    #expect(lines(old.taken) + lines(new.taken) + lost == Self.lineCount)
    let all = Array(Self.pieces.joined())
    #expect(all.suffix(new.taken.count) == new.taken[...])
  }

  /// A FIFO whose reader has left takes the beginning of a line with it.
  @Test(arguments: 0...byteCount)
  func withoutARestEverythingInHandIsLost(_ room: Int) {
    let old = Destination(most: room, then: .failed(Self.full))
    var batch = LogBatch()
    batch.add(Self.pieces)
    _ = batch.write(old.write)
    let lost = batch.discard(keepingRest: false)
    #expect(batch.isEmpty)
    #expect(old.taken.count { $0 == 0x0a } + lost == Self.lineCount)
    batch.add([Array("new\n".utf8)])
    let new = Destination(most: .max, then: .full)
    _ = batch.write(new.write)
    #expect(new.taken == Array("new\n".utf8))
  }
}
