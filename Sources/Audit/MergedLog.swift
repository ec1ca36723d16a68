// All logs of an audit as one, in the order of time: of the lines at hand, one of each file, the earliest comes next. So it does not
// matter in which order files are named, and lines that belong together (SideJoin) come soon after each other. The order depends
// on the files' content alone: a second reading has the same.
//
// Memory: the buffers of all files. Called by Summary and Affected.

import Platform
import Wire

package struct AuditError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

package final class MergedLog {
  /// Files that are read at the same time.
  package static let filesMax = 512

  /// What there was beside the lines that were given out.
  package struct Counts: Equatable, Sendable {
    package var lines: UInt64 = 0
    package var malformed: UInt64 = 0
    /// Files that end within a line that could not be read.
    package var cutOff: UInt64 = 0
    /// The first malformed line: its file, and its number in it.
    package var firstMalformed: String?
  }

  private final class Source {
    let input: LineInput
    var line = LogLine()
    var clock = LogTime()
    var number: UInt64 = 0
    init(_ input: LineInput) { self.input = input }
  }

  package private(set) var counts = Counts()
  private let sources: ContiguousArray<Source>
  /// Those that have a line at hand, the earliest first: a heap.
  private var heap: ContiguousArray<Source> = []
  private let window: AuditWindow
  private let field: [UInt8]
  private let progress: (UInt64) -> Void
  private var ticks: UInt64 = 0

  /// - Parameters:
  ///   - field: the name of a member that is asked for; empty: none.
  ///   - progress: told now and then how many bytes of the files were read.
  package init(_ inputs: [LineInput], window: AuditWindow, field: String = "", progress: @escaping (UInt64) -> Void) {
    sources = ContiguousArray(inputs.map { Source($0) })
    self.window = window
    self.field = Array(field.utf8)
    self.progress = progress
  }

  /// Gives each line of the window to `body`. The line's bytes are good during the call.
  package func read(_ body: (LogLine, Span<UInt8>) throws(AuditError) -> Void) throws(AuditError) {
    heap.removeAll()
    for source in sources where try advance(source) {
      heap.append(source)
      rise(heap.count - 1)
    }
    while let first = heap.first {
      var failure: AuditError?
      first.input.withLine { bytes in
        do throws(AuditError) { try body(first.line, bytes) } catch { failure = error }
      }
      if let failure { throw failure }
      if try advance(first) {
        sink()
      } else {
        let last = heap.removeLast()
        if !heap.isEmpty {
          heap[0] = last
          sink()
        }
      }
    }
    tellProgress()
  }

  /// Begins anew.
  package func rewind() throws(AuditError) {
    counts = Counts()
    for source in sources {
      do { try source.input.rewind() } catch { throw AuditError(error.description) }
      source.number = 0
    }
  }

  /// Goes on to the next line of the window; false where there is none.
  private func advance(_ source: Source) throws(AuditError) -> Bool {
    while true {
      do { guard try source.input.next() else { return false } } catch { throw AuditError(error.description) }
      source.number &+= 1
      counts.lines &+= 1
      ticks &+= 1
      if ticks & 0x3fff == 0 { tellProgress() }
      let outcome =
        source.input.isTooLong
        ? .malformed
        : source.input.withLine { source.line.parse($0, from: window.from, field: field, &source.clock) }
      switch outcome {
      case .line: if window.holds(source.line) { return true }
      case .early, .beginning: break
      case .malformed where source.input.isUnfinished: counts.cutOff += 1
      case .malformed:
        counts.malformed += 1
        if counts.firstMalformed == nil { counts.firstMalformed = "\(source.input.name):\(source.number)" }
      }
    }
  }

  private func tellProgress() { progress(sources.reduce(0) { $0 + $1.input.readBytes }) }

  // MARK: The heap

  private func rise(_ start: Int) {
    var at = start
    while at > 0 {
      let parent = (at - 1) / 2
      guard heap[at].line.milliseconds < heap[parent].line.milliseconds else { return }
      heap.swapAt(at, parent)
      at = parent
    }
  }

  private func sink() {
    var at = 0
    while true {
      var child = 2 * at + 1
      guard child < heap.count else { return }
      if child + 1 < heap.count, heap[child + 1].line.milliseconds < heap[child].line.milliseconds { child += 1 }
      guard heap[child].line.milliseconds < heap[at].line.milliseconds else { return }
      heap.swapAt(at, child)
      at = child
    }
  }
}
