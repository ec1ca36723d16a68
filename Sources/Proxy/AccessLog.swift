// One JSON object a line for each exchange, and for each connection that was refused before one. A worker writes lines
// into a buffer of its own and hands full buffers to the log thread; it never waits for a disk. What the disk cannot
// keep up with is dropped whole lines at a time, counted, and said in the log.

import Platform
import Policy
import Synchronization
import Wire

/// What log threads and workers share.
package final class LogQueue: Sendable {
  /// Bytes that may wait for the disk.
  package static let waitingBytesMax = 32 << 20

  package enum Command: Sendable {
    case lines([UInt8])
    /// A new destination, or the old one opened anew.
    case destination(Config.Log.Destination)
    case reopen
    case stop
  }

  private struct State {
    var commands: [Command] = []
    var waitingBytes = 0
  }

  private let state = Mutex(State())
  package let mailbox: Wakeup
  /// Signalled when the log thread has ended.
  let ended: Wakeup

  package init() throws(SystemError) {
    mailbox = try Wakeup()
    ended = try Wakeup()
  }

  /// False when too much waits already: the lines are lost.
  package func post(lines: [UInt8]) -> Bool {
    let taken = state.withLock { state in
      guard state.waitingBytes + lines.count <= LogQueue.waitingBytesMax else { return false }
      state.waitingBytes += lines.count
      state.commands.append(.lines(lines))
      return true
    }
    if taken { mailbox.signal() }
    return taken
  }

  package func post(_ command: Command) {
    state.withLock { $0.commands.append(command) }
    mailbox.signal()
  }

  package func takeAll() -> [Command] {
    mailbox.clear()
    return state.withLock { state in
      let taken = state.commands
      state.commands = []
      state.waitingBytes = 0
      return taken
    }
  }
}

/// A worker's end of the log.
package final class AccessLog {
  private let buffer = Buffer(capacity: AccessLog.capacity)
  private let queue: LogQueue
  private let counters: Counters
  var isOn = false
  private var firstWaitingMilliseconds: UInt64 = 0

  private static let capacity = 128 * 1024
  /// A line is never longer: what comes from a peer is cut.
  package static let lineBytesMax = 16 * 1024
  package static let pathBytesMax = 2_048
  package static let hostBytesMax = 255
  /// Lines wait this long at most before they are handed over.
  package static let delayMilliseconds: UInt64 = 5

  package init(queue: LogQueue, counters: Counters) {
    self.queue = queue
    self.counters = counters
  }

  package var hasWaiting: Bool { !buffer.isEmpty }

  /// Hands over what waits, if it is much or has waited long enough.
  package func handOver(nowMilliseconds: UInt64, force: Bool = false) {
    guard !buffer.isEmpty else { return }
    guard
      force || buffer.count > AccessLog.capacity / 2
        || nowMilliseconds >= firstWaitingMilliseconds + AccessLog.delayMilliseconds
    else { return }
    let lines = buffer.copyBytes()
    if !queue.post(lines: lines) {
      let dropped = lines.reduce(0) { $0 + ($1 == 0x0a ? 1 : 0) }
      counters.add(.logLinesDropped, UInt64(dropped))
    }
    buffer.removeAll()
  }

  /// Writes one line: `body` appends members, each with a comma before it.
  package func line(time: Span<UInt8>, nowMilliseconds: UInt64, _ body: (Buffer) -> Void) {
    if buffer.room < AccessLog.lineBytesMax { handOver(nowMilliseconds: nowMilliseconds, force: true) }
    if buffer.isEmpty { firstWaitingMilliseconds = nowMilliseconds }
    buffer.append("{\"time\":\"")
    buffer.append(time)
    buffer.append(0x22)
    body(buffer)
    buffer.append("}\n")
  }
}

/// Members of a line.
extension Buffer {
  /// A text of the configuration's: names need no escaping, paths of unix sockets may.
  package func member(_ key: StaticString, text: [UInt8]) {
    append(key)
    append(0x22)
    appendEscaped(text.span, most: text.count)
    append(0x22)
  }

  package func member(_ key: StaticString, _ text: StaticString) {
    append(key)
    append(0x22)
    append(text)
    append(0x22)
  }

  package func member(_ key: StaticString, _ value: UInt64) {
    append(key)
    append(decimal: value)
  }

  package func member(_ key: StaticString, address: IPAddress) {
    append(key)
    append(0x22)
    address.write(to: self)
    append(0x22)
  }

  /// Milliseconds with three places, from microseconds.
  package func member(_ key: StaticString, microseconds: UInt64) {
    append(key)
    append(decimal: microseconds / 1_000)
    append(0x2e)
    let rest = microseconds % 1_000
    if rest < 100 { append(0x30) }
    if rest < 10 { append(0x30) }
    append(decimal: rest)
  }

  /// Bytes of a peer as JSON text (RFC 8259 section 7): quotes, backslashes, controls and whatever is not ASCII are
  /// escaped, so that a line stays a line and says exactly which bytes came.
  package func appendEscaped(_ bytes: Span<UInt8>, most: Int) {
    let count = min(bytes.count, most)
    var at = 0
    while at < count {
      let word = bytes.word(at: at, before: min(count, at &+ 8))
      let special = Word.notJSONText(word)
      guard special != 0 else {
        append(packed: word, count: 8)
        at &+= 8
        continue
      }
      // What is missing at the end reads as zeros, which have to be escaped.
      let plain = Word.firstIndex(special)
      append(packed: word, count: plain)
      at &+= plain
      guard at < count else { return }
      let byte = bytes[at]
      append("\\u00")
      if byte < 0x10 { append(0x30) }
      append(hex: UInt64(byte))
      at &+= 1
    }
  }

  package func appendHex16(_ value: UInt64) {
    append(packed: Digits.hex(value &>> 32), count: 8)
    append(packed: Digits.hex(value & 0xffff_ffff), count: 8)
  }
}

/// The log thread: writes what workers hand over.
package enum LogThread {
  /// Runs until told to stop; then everything handed over before has been written.
  package static func run(queue: LogQueue, destination: Config.Log.Destination, report: @Sendable (String) -> Void) {
    defer { queue.ended.signal() }
    var file = open(destination, report)
    var failures = 0
    while true {
      _ = queue.mailbox.wait(timeoutMilliseconds: 1_000)
      for command in queue.takeAll() {
        switch command {
        case .lines(let lines):
          guard let file else { continue }
          if file.write(lines) {
            failures = 0
          } else {
            // Said once, not for every buffer of a disk that is full.
            if failures == 0 { report("the access log cannot be written; lines are lost until it can") }
            failures += 1
          }
        case .destination(.off): file = nil
        case .destination(let new): file = open(new, report) ?? file
        case .reopen:
          do { try file?.reopen() } catch { report("the access log could not be opened anew: \(error)") }
        case .stop: return
        }
      }
    }
  }

  private static func open(_ destination: Config.Log.Destination, _ report: (String) -> Void) -> LogFile? {
    switch destination {
    case .off: return nil
    case .stdout: return LogFile()
    case .file(let path):
      do { return try LogFile(path: path) } catch {
        report("the access log cannot be opened: \(error)")
        return nil
      }
    }
  }
}
