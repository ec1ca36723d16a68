// Lines that a log thread has in hand, and how far they are written. A disk or a pipe may take half of a line: the other
// half is then kept, and is the first thing to be written when there is room again, so that every line in a log is
// whole. Invariant: pieces begin and end with whole lines, except the first, of which a part may be written already.

import Platform

package struct LogBatch {
  package enum Outcome {
    /// Everything is written.
    case done
    /// The destination takes nothing now.
    case full
    case failed(SystemError)
  }

  private var pieces: [[UInt8]] = []
  /// The piece that is being written, and how much of it is.
  private var piece = 0
  private var at = 0
  /// The destination has the beginning of a line whose end is still here.
  private var isMidLine = false

  package init() {}

  package var isEmpty: Bool { piece == pieces.count }

  package mutating func add(_ lines: [[UInt8]]) {
    if isEmpty {
      pieces.removeAll(keepingCapacity: true)
      piece = 0
    }
    pieces += lines
  }

  /// Writes until everything is written or no more is taken. `write` gets a piece and where in it to begin.
  package mutating func write(_ write: ([UInt8], Int) -> LogFile.Outcome) -> Outcome {
    while piece < pieces.count {
      let bytes = pieces[piece]
      guard at < bytes.count else {
        piece += 1
        at = 0
        continue
      }
      switch write(bytes, at) {
      case .wrote(let count):
        at += count
        isMidLine = bytes[at - 1] != 0x0a
      case .full: return .full
      case .failed(let error): return .failed(error)
      }
    }
    pieces.removeAll(keepingCapacity: true)
    (piece, at) = (0, 0)
    return .done
  }

  /// Gives up the lines in hand and returns how many they were. With `keepingRest` the end of a line that is half
  /// written stays; without it, the destination is another one now, and that line is lost as well.
  package mutating func discard(keepingRest: Bool) -> Int {
    guard !isEmpty else { return 0 }
    var lost = LogBatch.lineCount(pieces[piece][at...])
    for other in pieces[(piece + 1)...] { lost += LogBatch.lineCount(other[...]) }
    var rest: [UInt8]?
    if isMidLine, keepingRest, let end = pieces[piece][at...].firstIndex(of: 0x0a) {
      rest = Array(pieces[piece][at...end])
      lost -= 1
    }
    pieces = rest.map { [$0] } ?? []
    (piece, at) = (0, 0)
    if rest == nil { isMidLine = false }
    return lost
  }

  /// The destination is another one: the end of a line whose beginning the old one has is lost. Returns 1 if there was
  /// one.
  package mutating func dropRest() -> Int {
    guard isMidLine else { return 0 }
    isMidLine = false
    if let end = pieces[piece][at...].firstIndex(of: 0x0a) { at = end + 1 }
    return 1
  }

  static func lineCount(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 + ($1 == 0x0a ? 1 : 0) } }
}
