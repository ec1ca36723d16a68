// Writes one log: the access log or the operational log, each on a thread of its own, which alone may wait for a disk.
//
//   nothing in hand ─► write ─► done
//                        ├────► full: waits for room; what comes meanwhile waits in the queue, up to its bound
//                        └────► failed (a full disk, a FIFO without a reader): the lines in hand are lost and counted,
//                               but for the end of one that is half written; tried again with the next lines
//
// Commands are served in every state. Lines that were lost are counted in the queue and told, at most every five
// seconds.

import Platform

package final class LogThread {
  private let queue: LogQueue
  private var file: LogFile?
  private let name: String
  private let isToldWhileFull: Bool
  private let report: (String) -> Void

  private var batch = LogBatch()
  private var isFull = false
  private var isEnding = false
  private var reason: SystemError?
  private var toldDropped: UInt64 = 0
  private var nextTellingMilliseconds: UInt64 = 0
  private var nextOpeningMilliseconds: UInt64 = 0

  /// Taken from the queue at once; more waits there.
  private static let batchBytes = 1 << 20
  private static let tellingMilliseconds: UInt64 = 5_000
  /// How often a FIFO that nobody reads is tried.
  private static let openingMilliseconds: UInt64 = 1_000

  /// - Parameters:
  ///   - name: how messages name this log.
  ///   - isToldWhileFull: whether `report` goes somewhere else than to this log.
  package init(
    _ queue: LogQueue, to file: LogFile?, name: String, isToldWhileFull: Bool = true,
    report: @escaping (String) -> Void
  ) {
    self.queue = queue
    self.file = file
    self.name = name
    self.isToldWhileFull = isToldWhileFull
    self.report = report
  }

  /// Runs until told to stop; then everything posted before has been written or counted as lost.
  package func run() {
    defer { queue.noteEnded() }
    while true {
      wait()
      for command in queue.takeCommands() { obey(command) }
      var isMore = true
      while isMore {
        let lines = isFull && !batch.isEmpty ? [] : queue.takeLines(most: LogThread.batchBytes)
        batch.add(lines)
        write()
        isMore = !lines.isEmpty && !isFull
      }
      tellDropped()
      if isEnding, !isFull { return }
    }
  }

  private func wait() {
    if isFull, let file, file.isOpen {
      file.waitWritable(or: queue.mailbox.descriptor, timeoutMilliseconds: 1_000)
    } else if !isEnding {
      _ = queue.mailbox.wait(timeoutMilliseconds: 1_000)
    }
  }

  private func obey(_ command: LogQueue.Command) {
    switch command {
    case .destination(let new):
      // What was posted before belongs to the old one.
      finishPosted()
      queue.noteDropped(batch.dropRest())
      file = new
      isFull = false
    case .reopen:
      finishPosted()
      do {
        try file?.reopen()
        queue.noteDropped(batch.dropRest())
        isFull = false
      } catch {
        report("the \(name) could not be opened anew: \(error)")
      }
    case .stop: isEnding = true
    }
  }

  /// Writes what waits, as far as it is taken without waiting.
  private func finishPosted() {
    guard !isFull else { return }
    while true {
      let lines = queue.takeLines(most: LogThread.batchBytes)
      guard !lines.isEmpty else { return }
      batch.add(lines)
      write()
      guard !isFull else { return }
    }
  }

  private func write() {
    guard let file else {
      // Switched off: nothing is wanted, so nothing is lost.
      _ = batch.discard(keepingRest: false)
      return
    }
    openIfDue(file)
    guard !batch.isEmpty else { return }
    let outcome = batch.write { bytes, start in
      let outcome = file.write(bytes, from: start)
      if case .wrote = outcome { queue.noteWritten() }
      return outcome
    }
    switch outcome {
    case .done:
      isFull = false
      reason = nil
    case .full:
      isFull = true
      reason = nil
    case .failed(let error):
      isFull = false
      reason = error
      // A reader that has left takes the beginning of a line with it.
      queue.noteDropped(batch.discard(keepingRest: file.isOpen))
    }
  }

  private func openIfDue(_ file: LogFile) {
    guard !file.isOpen else { return }
    let now = Clock.monotonicMilliseconds()
    guard now >= nextOpeningMilliseconds else { return }
    nextOpeningMilliseconds = now + LogThread.openingMilliseconds
    try? file.reopen()
  }

  private func tellDropped() {
    let dropped = queue.dropped
    let now = Clock.monotonicMilliseconds()
    guard dropped > toldDropped, now >= nextTellingMilliseconds || isEnding, isToldWhileFull || !isFull else { return }
    let count = dropped - toldDropped
    let why =
      switch reason {
      case let error? where file?.isOpen == false: "nobody reads it (\(error))"
      case let error?: "\(error)"
      case nil: "it is not taken as fast as lines come"
      }
    report("the \(name) lost \(count) line\(count == 1 ? "" : "s"): \(why)")
    toldDropped = dropped
    nextTellingMilliseconds = now + LogThread.tellingMilliseconds
  }
}
