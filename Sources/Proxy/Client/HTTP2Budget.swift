// What a client of HTTP/2 may ask of us beside requests, which have limits of their own: frames that cost it nothing, and streams
// that it begins and takes back, or has refused. Each has a budget that fills again with time; whoever uses one up is ended with ENHANCE_YOUR_CALM.
// A value, so that tests can spend it.

import Wire

package struct HTTP2Budget {
  /// Frames that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA, and unknown ones) that a connection
  /// may send at once, and in a second.
  package static let framesAtOnce = 1_000
  package static let framesPerSecond = 200
  /// So many of those frames come with a request, or with a piece of data that is sent, for they answer it; a piece that is smaller because
  /// the client's window cut it has one for each 64 bytes. A request that is refused without a look at it costs as many.
  package static let framesPerRequest = 4
  private static let bytesPerFrame = 64
  /// Streams that end by a reset before they were answered: at once, and in a second (CVE-2023-44487). Also those that we reset for
  /// what the client did.
  package static let resetsAtOnce = 200
  package static let resetsPerSecond = 20

  private var frames = HTTP2Budget.framesAtOnce
  private var resets = HTTP2Budget.resetsAtOnce
  private var filledMilliseconds: UInt64

  package init(nowMilliseconds: UInt64) { filledMilliseconds = nowMilliseconds }

  /// So many frames came that carry nothing. Nil while that is within its budget.
  package mutating func note(emptyFrames count: Int, nowMilliseconds: UInt64) -> Refusal? {
    if frames < count { fill(nowMilliseconds) }
    guard frames >= count else { return .http2Flood }
    frames -= count
    return nil
  }

  /// A stream ended by a reset. Nil while that is within its budget.
  package mutating func noteReset(nowMilliseconds: UInt64) -> Refusal? {
    if resets <= 0 { fill(nowMilliseconds) }
    guard resets > 0 else { return .http2Resets }
    resets -= 1
    return nil
  }

  /// A request came, and is served.
  package mutating func noteRequest() { frames = min(frames + HTTP2Budget.framesPerRequest, HTTP2Budget.framesAtOnce) }

  /// So many bytes of a body were sent at once: all that there were, or `isCut`, what the client had room for. One that takes a byte at a
  /// time has no more of a budget for it; how small the messages of a stream are is the server's affair.
  package mutating func noteSent(_ bytes: Int, isCut: Bool) {
    let more =
      isCut ? min(HTTP2Budget.framesPerRequest, bytes / HTTP2Budget.bytesPerFrame) : HTTP2Budget.framesPerRequest
    frames = min(frames + more, HTTP2Budget.framesAtOnce)
  }

  /// So many requests were refused without a look at them. Nil while that is within the budget.
  package mutating func noteRefused(_ count: Int, nowMilliseconds: UInt64) -> Refusal? {
    note(emptyFrames: count * HTTP2Budget.framesPerRequest, nowMilliseconds: nowMilliseconds)
  }

  private mutating func fill(_ now: UInt64) {
    let passed = Int(clamping: now &- filledMilliseconds)
    guard passed > 0 else { return }
    let milliseconds = min(passed, 10_000)
    let newFrames = HTTP2Budget.framesPerSecond * milliseconds / 1_000
    let newResets = HTTP2Budget.resetsPerSecond * milliseconds / 1_000
    guard newFrames > 0, newResets > 0 else { return }
    filledMilliseconds = now
    frames = min(frames + newFrames, HTTP2Budget.framesAtOnce)
    resets = min(resets + newResets, HTTP2Budget.resetsAtOnce)
  }
}

/// The same of resets for each client of a balancer, whose connection brings the requests of many and must not end for what one of them does.
package struct ClientResets {
  private struct Spent {
    private var count = 0
    private var filledMilliseconds: UInt64

    init(_ now: UInt64) { filledMilliseconds = now }

    func count(_ now: UInt64) -> Int { max(0, count - filled(now)) }

    private func filled(_ now: UInt64) -> Int {
      HTTP2Budget.resetsPerSecond * Int(clamping: now &- filledMilliseconds) / 1_000
    }

    mutating func note(_ now: UInt64) {
      let filled = filled(now)
      // Of a time that is too short to have filled it the rest counts later.
      filledMilliseconds =
        count > filled ? filledMilliseconds + UInt64(filled * 1_000 / HTTP2Budget.resetsPerSecond) : now
      // Whoever goes on is not put off for longer than a second.
      count = min(max(0, count - filled) + 1, HTTP2Budget.resetsAtOnce + HTTP2Budget.resetsPerSecond)
    }
  }

  private var spent: [IPAddress: Spent] = [:]
  /// More of them at a time have no budget.
  package static let clientsMax = 1_024

  package init() {}

  /// A stream of this client ended by a reset.
  package mutating func note(_ client: IPAddress, nowMilliseconds now: UInt64) {
    if spent[client] == nil, spent.count >= ClientResets.clientsMax {
      spent = spent.filter { $0.value.count(now) > 0 }
      guard spent.count < ClientResets.clientsMax else { return }
    }
    spent[client, default: Spent(now)].note(now)
  }

  /// It has had as many as it may.
  package func areSpent(by client: IPAddress, nowMilliseconds now: UInt64) -> Bool {
    guard !spent.isEmpty, let its = spent[client] else { return false }
    return its.count(now) >= HTTP2Budget.resetsAtOnce
  }
}
