// Live news of printers, from whoever changes something to every event stream that follows that printer. Kept in memory
// only: a follower that reconnects gets the current state first, so nothing has to be replayed. A follower too slow to
// read loses the oldest news rather than taking memory.

import FlyingFox
import Foundation

/// Something that happened to a printer.
package enum PrinterEvent: Encodable, Sendable {
  case state(Printer)
  case snapshot(entityTag: String, takenAt: Instant)
  case command(Command)
  case linked
  case unlinked

  private enum Keys: String, CodingKey { case type, printer, entityTag, takenAt, command }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    switch self {
    case .state(let printer):
      try container.encode("state", forKey: .type)
      try container.encode(printer, forKey: .printer)
    case .snapshot(let entityTag, let takenAt):
      try container.encode("snapshot", forKey: .type)
      try container.encode(entityTag, forKey: .entityTag)
      try container.encode(takenAt, forKey: .takenAt)
    case .command(let command):
      try container.encode("command", forKey: .type)
      try container.encode(command, forKey: .command)
    case .linked: try container.encode("linked", forKey: .type)
    case .unlinked: try container.encode("unlinked", forKey: .type)
    }
  }
}

/// Who follows which printer.
actor EventHub {
  private struct Follower {
    let principal: Principal
    let stream: AsyncStream<PrinterEvent>.Continuation
  }

  private static let backlogMax = 64
  private let followersMax: Int
  private var followers: [String: [UInt64: Follower]] = [:]
  private var nextNumber: UInt64 = 0
  private var isClosed = false

  init(followersMax: Int) { self.followersMax = followersMax }

  /// Nil when the printer has all the followers it may have, or the program is about to end.
  func follow(_ printer: String, as principal: Principal) -> AsyncStream<PrinterEvent>? {
    guard !isClosed, followers[printer, default: [:]].count < followersMax else { return nil }
    let (events, stream) = AsyncStream.makeStream(
      of: PrinterEvent.self, bufferingPolicy: .bufferingNewest(Self.backlogMax))
    nextNumber += 1
    let number = nextNumber
    followers[printer, default: [:]][number] = Follower(principal: principal, stream: stream)
    stream.onTermination = { [weak self] _ in
      Task { await self?.remove(number, from: printer) }
    }
    return events
  }

  func publish(_ event: PrinterEvent, of printer: String) {
    for follower in followers[printer, default: [:]].values { follower.stream.yield(event) }
  }

  /// Ends the streams of someone who may not see this printer any more.
  func dismiss(_ principal: Principal, from printer: String) {
    for follower in followers[printer, default: [:]].values where follower.principal == principal {
      follower.stream.finish()
    }
  }

  func close() {
    isClosed = true
    for follower in followers.values.flatMap(\.values) { follower.stream.finish() }
  }

  func followerCount(of printer: String) -> Int { followers[printer]?.count ?? 0 }

  private func remove(_ number: UInt64, from printer: String) {
    followers[printer]?[number] = nil
    if followers[printer]?.isEmpty == true { followers[printer] = nil }
  }
}

/// The WebSocket side of one event stream (RFC 6455): text frames out, control frames answered, anything else refused.
struct EventFeed: WSHandler {
  /// What the stream begins with.
  let current: PrinterEvent
  let events: AsyncStream<PrinterEvent>
  let pingIntervalSeconds: Double

  private static let goingAway = WSCloseCode(1001, reason: "the stream has ended")
  private static let protocolError = WSCloseCode(1002, reason: "malformed control frame")
  private static let unsupportedData = WSCloseCode(1003, reason: "this stream takes no messages")

  func makeFrames(for client: AsyncThrowingStream<WSFrame, any Error>) async throws -> AsyncStream<WSFrame> {
    let (frames, out) = AsyncStream.makeStream(of: WSFrame.self, bufferingPolicy: .bufferingNewest(256))
    let work = Task { [self] in
      await withTaskGroup(of: WSFrame?.self) { group in
        group.addTask { await forwardEvents(to: out) }
        group.addTask { await answer(client, to: out) }
        group.addTask { await ping(out) }
        // Whichever ends first ends the stream: the printer's news, the client, or the ping's task being cancelled.
        if let closing = await group.next() ?? nil { out.yield(closing) }
        out.finish()
        group.cancelAll()
      }
    }
    out.onTermination = { _ in work.cancel() }
    return frames
  }

  private func forwardEvents(to out: AsyncStream<WSFrame>.Continuation) async -> WSFrame? {
    send(current, to: out)
    for await event in events { send(event, to: out) }
    return .close(code: Self.goingAway)
  }

  private func send(_ event: PrinterEvent, to out: AsyncStream<WSFrame>.Continuation) {
    guard let text = try? JSONCoding.encode(event) else { return }
    out.yield(WSFrame(fin: true, opcode: .text, mask: nil, payload: text))
  }

  private func answer(
    _ client: AsyncThrowingStream<WSFrame, any Error>, to out: AsyncStream<WSFrame>.Continuation
  ) async -> WSFrame? {
    do {
      for try await frame in client {
        switch frame.opcode {
        case .ping, .pong, .close:
          // RFC 6455, 5.5: a control frame is whole and carries at most 125 bytes.
          guard frame.fin, frame.payload.count <= 125 else { return .close(code: Self.protocolError) }
          if frame.opcode == .close { return WSFrame(fin: true, opcode: .close, mask: nil, payload: frame.payload) }
          if frame.opcode == .ping { out.yield(WSFrame(fin: true, opcode: .pong, mask: nil, payload: frame.payload)) }
        default:
          return .close(code: Self.unsupportedData)
        }
      }
    } catch {
      // The connection broke; there is nobody to tell.
    }
    return nil
  }

  private func ping(_ out: AsyncStream<WSFrame>.Continuation) async -> WSFrame? {
    while (try? await Task.sleep(for: .seconds(pingIntervalSeconds))) != nil {
      out.yield(WSFrame(fin: true, opcode: .ping, mask: nil, payload: Data()))
    }
    return nil
  }
}
