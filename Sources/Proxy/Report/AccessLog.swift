// One line for each exchange, and for each connection that was refused before one: a JSON object (ExchangeRecord), or as a template says
// (TextRecord). A worker writes lines into a buffer of its own and hands full buffers to the log thread (LogThread); it never waits for a disk.

import Platform
import Policy
import Wire

/// A worker's end of the log.
package final class AccessLog {
  private let buffer = Buffer(capacity: AccessLog.capacity)
  private let queue: LogQueue
  private(set) var isOn = false
  /// Nil: lines are JSON.
  private(set) var template: LogTemplate?
  /// Members of lines in JSON beside the usual ones.
  private(set) var extra: [LogVariable] = []
  private(set) var query = Config.Log.Query.full
  /// A tunnel has a line also when it begins.
  private(set) var tellsTunnelBegin = false
  private var firstWaitingMilliseconds: UInt64 = 0

  private static let capacity = 128 * 1024
  /// A line is never longer: what comes from a peer is cut.
  package static let lineBytesMax = Config.Log.lineBytesMax
  /// The longest name of an edge (`Attest`).
  package static let edgeBytesMax = 64
  /// Lines wait this long at most before they are handed over.
  package static let delayMilliseconds: UInt64 = 5

  package init(queue: LogQueue) { self.queue = queue }

  /// What a configuration says of it.
  func configure(_ log: Config.Log) {
    isOn = log.access != .off
    template =
      switch log.format {
      case .json: nil
      case .combined: LogTemplate.combined
      case .template(let template): template
      }
    extra = log.extra
    query = log.query
    tellsTunnelBegin = log.tellsTunnelBegin
  }

  package var hasWaiting: Bool { !buffer.isEmpty }

  /// Hands over what waits, if it is much or has waited long enough.
  package func handOver(nowMilliseconds: UInt64, force: Bool = false) {
    guard !buffer.isEmpty else { return }
    guard
      force || buffer.count > AccessLog.capacity / 2
        || nowMilliseconds >= firstWaitingMilliseconds + AccessLog.delayMilliseconds
    else { return }
    queue.post(lines: buffer.copyBytes())
    buffer.removeAll()
  }

  /// Writes one line in JSON: `body` appends members, each with a comma before it.
  package func line(time: Span<UInt8>, nowMilliseconds: UInt64, _ body: (Buffer) -> Void) {
    line(nowMilliseconds: nowMilliseconds) { buffer in
      buffer.append("{\"time\":\"")
      buffer.append(time)
      buffer.append(0x22)
      body(buffer)
      buffer.append(0x7d)
    }
  }

  /// Writes one line, without its line feed, which is added.
  func line(nowMilliseconds: UInt64, _ body: (Buffer) -> Void) {
    if buffer.room < AccessLog.lineBytesMax { handOver(nowMilliseconds: nowMilliseconds, force: true) }
    if buffer.isEmpty { firstWaitingMilliseconds = nowMilliseconds }
    body(buffer)
    buffer.append(0x0a)
  }
}

/// Members of a line.
extension Buffer {
  /// Members that were written before.
  package func append(members: [UInt8]) { append(members.span) }

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
