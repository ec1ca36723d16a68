// A connection to an admin listener: one request, a head of at most 8 KiB, and its answer. None waits for another, and one that
// says nothing holds up nobody: AdminServer looks at all of its connections at once.

import Platform
import Wire

final class AdminConnection {
  enum Stage {
    /// The head is not whole yet.
    case asking
    case asked
    /// What came is no request.
    case malformed
    case answering
    case over
  }

  static let headBytesMax = 8 * 1024
  /// For the head, and then for the answer to be taken.
  private static let patienceMilliseconds: UInt64 = 5_000

  private(set) var stage = Stage.asking
  private(set) var deadlineMilliseconds: UInt64
  let transport = Transport()
  let input = Buffer(capacity: headBytesMax)
  let head = RequestHead(fieldsMax: 64)
  private var output: Buffer?

  /// The connection's descriptor is the object's from here on.
  init(_ descriptor: Int32, nowMilliseconds: UInt64) {
    transport.open(descriptor)
    deadlineMilliseconds = nowMilliseconds + AdminConnection.patienceMilliseconds
  }

  func hasAtMost(_ milliseconds: UInt64, nowMilliseconds: UInt64) {
    deadlineMilliseconds = min(deadlineMilliseconds, nowMilliseconds + milliseconds)
  }

  func end() {
    transport.close()
    stage = .over
  }

  /// Reads what has come of the head.
  func read() {
    transport.noteReadable()
    while stage == .asking {
      switch transport.read(into: input) {
      case .bytes: stage = parsed()
      case .blocked: return
      case .ended, .failed: stage = .over
      }
    }
  }

  private func parsed() -> Stage {
    let limits = HeadLimits(headBytes: AdminConnection.headBytesMax, fields: 64)
    switch input.withReadable({ head.parse($0, limits: limits) }) {
    case .complete: return .asked
    // HTTP/1.0 may do without Host (RFC 9112 section 3.2), and checks of balancers do. Nothing here depends on it.
    case .refused(.hostMissing) where head.minorVersion == 0: return .asked
    case .refused: return .malformed
    case .incomplete: return .asking
    }
  }

  func text(_ range: ByteRange) -> String {
    input.withReadable { bytes in String(decoding: range.range.map { bytes[$0] }, as: UTF8.self) }
  }

  /// Begins to send the answer, after which the connection ends.
  func answer(status: String, type: String, body: String, nowMilliseconds: UInt64) {
    let text =
      "HTTP/1.1 \(status)\r\ncontent-type: \(type)\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n"
      + "cache-control: no-store\r\n\r\n" + (stage == .asked && head.method == .head ? "" : body)
    let answer = Buffer(capacity: text.utf8.count)
    answer.append(text: text)
    output = answer
    stage = .answering
    deadlineMilliseconds = nowMilliseconds + AdminConnection.patienceMilliseconds
    send()
  }

  /// Sends what is taken of the answer.
  func send() {
    guard stage == .answering, let output else { return }
    while !output.isEmpty {
      transport.noteWritable()
      switch transport.flush(output) {
      case .bytes: continue
      case .blocked: return
      case .ended, .failed:
        stage = .over
        return
      }
    }
    transport.finish()
    stage = .over
  }
}
