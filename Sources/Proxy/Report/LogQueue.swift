// What waits to be written to one log. Whoever has lines posts them and never waits: what does not fit is dropped, whole
// lines at a time, and counted. There is one queue for the access log and one for the operational log, each with a log
// thread of its own (LogThread), so that neither destination can hold up the other.

import Platform
import Synchronization

package final class LogQueue: Sendable {
  package enum Command: Sendable {
    /// Lines go there from now on; nil: nowhere.
    case destination(LogFile?)
    case reopen
    case stop
  }

  private struct State {
    var lines: [[UInt8]] = []
    var bytes = 0
    var commands: [Command] = []
  }

  /// Bytes that may wait.
  package let bytesMax: Int
  private let state = Mutex(State())
  private let droppedLines = Atomic<UInt64>(0)
  private let writtenPieces = Atomic<UInt64>(0)
  package let mailbox: Wakeup
  /// Signalled when the log thread has ended.
  private let ended: Wakeup

  /// The access log's.
  package static let accessBytesMax = 32 << 20
  package static let operationalBytesMax = 1 << 20

  package init(bytesMax: Int) throws(SystemError) {
    self.bytesMax = bytesMax
    mailbox = try Wakeup()
    ended = try Wakeup()
  }

  // MARK: Posting

  /// Adds whole lines; false when too much waits already: then they are lost and counted.
  @discardableResult
  package func post(lines: [UInt8]) -> Bool {
    let isTaken = state.withLock { state in
      guard state.bytes + lines.count <= bytesMax else { return false }
      state.bytes += lines.count
      state.lines.append(lines)
      return true
    }
    if isTaken { mailbox.signal() } else { noteDropped(LogBatch.lineCount(lines[...])) }
    return isTaken
  }

  package func post(_ command: Command) {
    state.withLock { $0.commands.append(command) }
    mailbox.signal()
  }

  /// Lines that were lost, for the metrics.
  package var dropped: UInt64 { droppedLines.load(ordering: .relaxed) }

  // MARK: The log thread's side

  package func takeCommands() -> [Command] {
    mailbox.clear()
    return state.withLock { state in
      defer { state.commands = [] }
      return state.commands
    }
  }

  /// About `most` bytes from the front.
  package func takeLines(most: Int) -> [[UInt8]] {
    state.withLock { state in
      var (count, bytes) = (0, 0)
      while count < state.lines.count, bytes < most {
        bytes += state.lines[count].count
        count += 1
      }
      let taken = Array(state.lines[..<count])
      state.lines.removeFirst(count)
      state.bytes -= bytes
      return taken
    }
  }

  func noteDropped(_ lines: Int) { droppedLines.add(UInt64(lines), ordering: .relaxed) }
  func noteWritten() { writtenPieces.add(1, ordering: .relaxed) }
  func noteEnded() { ended.signal() }

  // MARK: Ending

  /// Has the log thread write what waits and end. False when the destination takes nothing any more: the thread and its
  /// last lines are then given up.
  package func end(stalledMilliseconds: UInt64 = 1_000, mostMilliseconds: UInt64 = 5_000) -> Bool {
    post(.stop)
    let start = Clock.monotonicMilliseconds()
    var (lastMoved, written) = (start, writtenPieces.load(ordering: .relaxed))
    while !ended.wait(timeoutMilliseconds: 20) {
      let (now, writtenNow) = (Clock.monotonicMilliseconds(), writtenPieces.load(ordering: .relaxed))
      if writtenNow != written { (lastMoved, written) = (now, writtenNow) }
      if now >= lastMoved + stalledMilliseconds || now >= start + mostMilliseconds { return false }
    }
    return true
  }
}
