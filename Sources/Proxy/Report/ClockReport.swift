// What a validator says about clocks that disagree: in the access log by how much a message missed its time, and on
// standard error, once a minute for each edge, that a clock is off. Only what is validly signed is called an edge's.

import Platform
import Policy
import Wire

enum ClockReport {
  private static let intervalMilliseconds: UInt64 = 60_000

  /// What the log says of a message that the verifier has just refused for its time; nothing for any other refusal.
  /// - Parameters:
  ///   - edge: holds the head that names the edge; nil for a PROXY header.
  ///   - peer: who sent it; nil for a unix socket.
  static func detail(
    _ refusal: Refusal, _ listener: ListenerPlan, edge: Buffer?, peer: IPAddress?, _ worker: Worker
  ) -> RefusalDetail {
    guard refusal == .timeFuture || refusal == .timeExpired || refusal == .timeLifetime,
      let fault = listener.verifier?.timeFault
    else { return .none }
    let milliseconds = Int(truncatingIfNeeded: min(fault.milliseconds, UInt64(Int.max)))
    if fault.isSigned, refusal != .timeLifetime {
      report(
        refusal, milliseconds, of: edge?.withReadable { Array(copying: $0.extracting(fault.edge.range)) }, peer, worker)
    }
    return switch (refusal, fault.isSigned) {
    case (.timeFuture, true): .number("created ", milliseconds, " ms ahead of this host's clock")
    case (.timeFuture, false): .number("created ", milliseconds, " ms ahead of this host's clock; not validly signed")
    case (.timeExpired, true): .number("expired ", milliseconds, " ms ago by this host's clock")
    case (.timeExpired, false): .number("expired ", milliseconds, " ms ago by this host's clock; not validly signed")
    case (_, true): .number("signed to be used for ", milliseconds / 1_000, " s instead of 30 s")
    case (_, false): .number("to be used for ", milliseconds / 1_000, " s instead of 30 s; not validly signed")
    }
  }

  private static func report(
    _ refusal: Refusal, _ milliseconds: Int, of edge: [UInt8]?, _ peer: IPAddress?, _ worker: Worker
  ) {
    let from = peer.map { "\($0)" } ?? "a unix socket"
    let name = edge.map { "edge \"\(String(decoding: $0, as: UTF8.self))\"" } ?? "the edge at \(from)"
    let text =
      refusal == .timeFuture
      ? "\(name) signs \(milliseconds) ms ahead of this host's clock; its messages are refused (time-future) until both "
        + "clocks are right: see that NTP runs on both hosts"
      : "what \(name) signed came \(milliseconds) ms after it had expired by this host's clock and was refused "
        + "(time-expired): its clock is behind, this host's is ahead, or the message was held back on the way"
    worker.shared.report(text, once: "clock \(name)", everyMilliseconds: intervalMilliseconds)
  }
}

extension [UInt8] {
  fileprivate init(copying bytes: Span<UInt8>) {
    self = []
    reserveCapacity(bytes.count)
    for i in bytes.indices { append(bytes[i]) }
  }
}
