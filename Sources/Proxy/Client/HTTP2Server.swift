// A client's connection that speaks HTTP/2 (RFC 9113): its session, and its streams. A stream is a `Downstream` of its own, without a
// socket, whose leg is in HTTP2Stream; so an exchange is the same whichever way its request came. What the connection has shown of its
// client (listener, rule, PROXY header, certificate) is copied to each stream as it begins.
//
//   bytes ─► HTTP2Session ─► head ─► stream + exchange
//                       ├──► data ─► the stream's input          then, for each stream that was touched: advance
//                       └──► reset, end
//   flush: the streams' output ─► frames ─► the connection's output ─► socket
//
// What libnghttp2 calls back with (HTTP2ServerEvents) is only noted; exchanges take their steps when it has returned.
//
// Invariants: `streams` are those that have an exchange, each with its index in `position`; a session's mark for a stream is its slot and one, and 0 once
// it is over here. Nothing is sent while bytes are received.

import Platform
import Policy
import Wire

final class HTTP2Server {
  let connection: Downstream
  let worker: Worker
  let session: HTTP2Session
  let streams = WorkList<Downstream>()
  /// Bytes of all bodies that went into frames; wraps around.
  var sentBytes: UInt32 = 0
  /// Streams that something was noted for.
  private let touched = WorkList<Downstream>()
  let head: HTTP2Head
  var budget: HTTP2Budget
  /// Of streams that are still to begin.
  var early = EarlyPriorities()
  /// Why the next frame ends it.
  var overspent: Refusal?
  /// Why the connection ends, if it is for something that the client did.
  var refusal: Refusal?
  private var frames = HTTP2FrameScan()
  /// Header blocks that the session has told of, of those that `frames` has counted; with those that it ignores, for which the budget was
  /// charged. Wraps around.
  var headsSeen: UInt32 = 0
  /// The session is being told what came.
  private var isReceiving = false
  var drainStep = DrainStep.none
  /// The last stream that is served: the client is told that nothing was done with those behind it, and begins them again elsewhere.
  var lastStream = Int32.max
  /// Its time without a request is over.
  var isExpired = false
  /// What had been sent when that was last looked at.
  var lastSentBytes: UInt32 = 0
  /// The client begins no more streams.
  var clientLeaves = false
  /// Connections to servers that speak for this client, and wait for its next request (mode `bound`).
  let spare = WorkList<Upstream>()
  /// The stream whose own bytes are being fetched.
  private(set) var pulling: Downstream?

  enum DrainStep { case none, announced, final }

  /// Reads of one connection in one turn, before others have theirs.
  private static let readsPerTurn = 8
  /// What each stream may send before its bytes have left; also what its input can hold.
  static let streamWindow = 65_535
  /// What all of a connection's streams may send before their bytes have left.
  static let connectionWindow = 1 << 20
  /// What is read of a connection that was ended for what its client did, so that the client learns why.
  private static let floodLingerBytes = 64 * 1024
  /// What the heads of a client's requests may have together, before it has to wait with more of them.
  private static let heldHeadBytesMax = 512 * 1024
  private(set) var heldHeadBytes = 0
  /// Of many clients none may take the room of the others: each stream has its own.
  private var heldHeadBytesMax: Int {
    connection.bringsMany ? streamsMax * limits.headBytes : max(HTTP2Server.heldHeadBytesMax, limits.headBytes)
  }
  /// Its peer has brought requests of others: of an edge's clients, or of those of a balancer that is believed.
  var bringsOthers = false
  /// Of clients of such a balancer.
  var clientResets = ClientResets()
  /// How many streams the client was told that it may have.
  private let streamsMax: Int
  /// Those of its streams that neither side has closed. Their exchanges may last a little longer.
  var openStreams = 0
  /// Room for another stream, and its head, beside those that are under way.
  var hasRoom: Bool { openStreams < streamsMax && heldHeadBytes + head.textBytes <= heldHeadBytesMax }
  /// How many connections to servers are kept for a client's next requests.
  private static let spareMax = 16

  init?(_ connection: Downstream, _ worker: Worker) {
    self.connection = connection
    self.worker = worker
    head = HTTP2Head(pool: worker.pool, small: worker.smallPool)
    budget = HTTP2Budget(nowMilliseconds: worker.nowMilliseconds)
    let settings = HTTP2Server.settings(connection, worker)
    streamsMax = settings.streamsMax
    guard let session = HTTP2Session(.server, settings, memory: worker.http2Memory) else { return nil }
    self.session = session
    session.tell(self)
  }

  /// What may be due to a client that takes nothing: heads, windows and resets of its streams, and acknowledgements.
  private var framesWaitingMax: Int { 4 * streamsMax + HTTP2Budget.framesAtOnce }

  var limits: HeadLimits { HTTP2Server.limits(of: connection, worker) }

  /// What HTTP/1 may have, as far as header blocks go. An edge may have taken the request by HTTP/1, where nothing is counted for a
  /// field but its bytes.
  static func limits(of connection: Downstream, _ worker: Worker) -> HeadLimits {
    counted(worker.plan.requestLimits(hasGrown: connection.isAttested), connection)
  }

  /// The same of trailers.
  static func trailerLimits(of connection: Downstream, _ worker: Worker) -> HeadLimits {
    counted(worker.plan.trailerLimits(hasGrown: connection.isAttested), connection)
  }

  private static func counted(_ limits: HeadLimits, _ connection: Downstream) -> HeadLimits {
    let growth = connection.isAttested ? HTTP2Lines.fieldOverhead * limits.fields : 0
    return HeadLimits(headBytes: min(limits.headBytes + growth, HTTP2Lines.listBytesMax), fields: limits.fields)
  }

  // MARK: Events

  /// Does what can be done now: reads, has the exchanges go on, and leaves what is to be sent for the end of the turn.
  func progress() {
    let d = connection
    // What told that it is HTTP/2, or came before it was known by which rules it is judged.
    if d.input.count > frames.waitingBytes {
      guard mayTake() else { return }
      take()
      guard d.phase == .http2 else { return }
    }
    for _ in 0..<HTTP2Server.readsPerTurn {
      switch d.transport.read(into: d.input) {
      case .bytes:
        guard mayTake() else { return }
        take()
        guard d.http2 === self, d.phase == .http2 else { return }
      case .blocked:
        d.input.releaseIfEmpty()
        advanceTouched()
        if d.phase == .http2 { worker.flushLater(d) }
        return
      case .ended where isExpired && !d.isFlushed:
        // It may still be taking the last frames.
        worker.flushLater(d)
        return
      case .ended, .failed:
        d.close(worker)
        return
      }
    }
    worker.enqueue(d)
    worker.flushLater(d)
  }

  /// Heads may be among what was read. False: it has the next turn, at the beginning of which messages are taken. What comes over the line
  /// of a process that serves may take longer, and streams that have begun must not wait for it (`headEnded`).
  private func mayTake() -> Bool {
    guard worker.takenCount != worker.shared.toldCount else { return true }
    worker.enqueue(connection)
    return false
  }

  /// Hands what was read to the session, and has the exchanges go on. What the scan has wait stays in the input: a slow client's frames are
  /// not counted more often than they come.
  private func take() {
    let d = connection
    // It was told that nothing more is read (GOAWAY). What it sends while it takes the last frames is dropped.
    guard !isExpired else {
      d.input.removeAll()
      return
    }
    var scan = frames
    let seen = scan.waitingBytes
    let fault = d.input.withReadable { scan.scan($0.extracting(droppingFirst: seen)) }
    // One for each head is free: what resets a request that is not counted yet. How many resets there may be has a budget of its own.
    let emptyFrames = max(0, scan.takeEmptyFrames() - Int(scan.heads &- frames.heads))
    frames = scan
    switch fault {
    case nil: break
    case .continuations: return end(.http2Flood)
    case .priority, .wrongStream, .skippedStream: return end(.http2Protocol)
    case .closedStream: return end(.http2Protocol, code: HTTP2Session.Code.streamClosed)
    }
    if let refusal = budget.note(emptyFrames: emptyFrames, nowMilliseconds: worker.nowMilliseconds) {
      return end(refusal)
    }
    isReceiving = true
    let held = scan.waitingBytes
    var received = d.input.withReadable { session.receive($0.extracting(droppingLast: held)) }
    isReceiving = false
    d.input.consume(d.input.count - held)
    // libnghttp2 ends a connection by itself for what is no HTTP/2.
    if received == .all, !session.takesMore, !clientLeaves, drainStep == .none { received = .failed }
    switch received {
    case .all: if session.waitingFrames > framesWaitingMax || ignoredTooMuch() { end(.http2Flood) }
    case .failed: end(refusal ?? .http2Protocol)
    case .flooded: end(refusal ?? .http2Flood)
    }
    advanceTouched()
  }

  /// Streams that are more than the client was told, or of which it knows that they are over, are refused or ignored by libnghttp2 without
  /// a word to us. What came last may not be whole.
  private func ignoredTooMuch() -> Bool {
    let ignored = frames.heads &- headsSeen
    guard ignored > 1, !connection.bringsMany else { return false }
    headsSeen &+= ignored - 1
    return budget.noteRefused(Int(ignored - 1), nowMilliseconds: worker.nowMilliseconds) != nil
  }

  /// The connection ends for what the client did; what it began is cut.
  func end(_ refusal: Refusal, code: UInt32 = HTTP2Session.Code.protocolError) {
    self.refusal = refusal
    worker.counters.add(refusal)
    worker.log.recordRefused(connection, refusal, .none, worker)
    session.terminate(code: refusal == .http2Protocol ? code : HTTP2Session.Code.enhanceYourCalm)
    flush()
    cutStreams()
    guard connection.phase == .http2 else { return }
    connection.closeInOrder(waits: true, worker)
    // Of one that floods us little more is read.
    connection.lingerBytesLeft = HTTP2Server.floodLingerBytes
  }

  func touch(_ s: Downstream) {
    guard !s.stream!.isTouched else { return }
    // What is noted while bytes are sent waits for nobody's return.
    guard isReceiving else {
      worker.enqueue(s)
      return
    }
    s.stream!.isTouched = true
    touched.append(s)
  }

  private func advanceTouched() {
    // What goes on may touch others, which come behind.
    var at = 0
    while at < touched.count {
      let s = touched[at]
      at += 1
      guard let stream = s.stream, stream.isTouched else { continue }
      stream.isTouched = false
      guard let x = s.exchange else { continue }
      if stream.isReset {
        x.advance(worker, .fault(.clientGone))
      } else if let fault = stream.fault, !stream.isFaultTold {
        // Whatever has become of it: nothing that was written for a server has left yet in this turn.
        stream.isFaultTold = true
        var step = Step.fault(.request(fault))
        if let first = stream.first, case .refuse = first { step = first }
        stream.first = nil
        x.advance(worker, step)
      } else if let first = stream.first {
        stream.first = nil
        x.advance(worker, first)
        // A tunnel that has just begun may have bytes at hand.
        if s.phase == .tunnel { worker.pump(s) }
      } else {
        worker.pump(s)
      }
    }
    touched.removeAll()
  }

  // MARK: Sending

  /// Fetches a stream's frames into the connection's output, as far as windows and memory allow.
  func pull(_ s: Downstream) {
    pulling = s
    defer { pulling = nil }
    let d = connection
    guard d.phase == .http2 else { return }
    if session.send(into: d.output) == .full, d.transport.write(contentsOf: d.output) != .failed {
      _ = session.send(into: d.output)
    }
    worker.flushLater(d)
  }

  /// Sends what is to be sent, at the end of a turn.
  func flush() {
    let d = connection
    guard d.phase == .http2 else { return }
    while true {
      let sent = session.send(into: d.output)
      let moved = d.transport.flush(d.output)
      if sent == .failed || moved == .failed {
        d.close(worker)
        return
      }
      guard sent == .full, d.output.isEmpty, !d.transport.hasUnsent else { break }
    }
    d.output.releaseIfEmpty()
    // libnghttp2 has ended the connection by itself, for what is no HTTP/2, and has said so. Streams that are closed have only to end their
    // exchanges.
    if session.isOver, refusal == nil, !isExpired,
      (drainStep == .none && !clientLeaves) || streams.contains(where: { !$0.stream!.isClosed })
    {
      end(.http2Protocol)
      return
    }
    let isOver = streams.isEmpty && (drainStep == .none ? session.isOver : drainStep == .final)
    guard isOver, refusal == nil, d.isFlushed else { return setDeadline() }
    d.closeInOrder(waits: true, worker)
  }

  // MARK: Connections that speak for this client

  /// Keeps one for a later request. False when there are enough.
  func keep(_ u: Upstream) -> Bool {
    guard spare.count < HTTP2Server.spareMax, connection.phase == .http2 else { return false }
    u.owner = connection
    spare.append(u)
    return true
  }

  func takeSpare() -> Upstream? { spare.popLast() }

  func forget(_ u: Upstream) { if let at = spare.lastIndex(where: { $0 === u }) { _ = spare.remove(at: at) } }

  // MARK: Streams

  func find(_ stream: Int32) -> Downstream? {
    let mark = session.mark(stream: stream)
    return mark > 0 ? worker.streams.all[mark - 1] : nil
  }

  /// Begins a stream for the head that was read. Nil when there is no slot.
  func begin(_ id: Int32) -> Downstream? {
    let d = connection
    let capacity = worker.pool.chunkBytes
    let made = worker.streams.take(
      replaces: { $0.input.capacity != capacity },
      make: { Downstream(stream: $0, pool: worker.pool, small: worker.smallPool, outputPool: worker.streamPool) })
    guard let s = made else { return nil }
    s.phase = .head
    s.begin(on: d, id, self, position: streams.count)
    s.stream!.headBytes = head.textBytes
    heldHeadBytes += head.textBytes
    streams.append(s)
    openStreams += 1
    session.setMark(s.slot + 1, stream: id)
    // The second step of a drain comes all the same.
    if drainStep != .announced { worker.clearDeadline(d) }
    return s
  }

  /// A stream's exchange is over, or could not begin.
  func endStream(_ s: Downstream, code: UInt32) {
    guard let stream = s.stream, stream.server === self else { return }
    streams.removeUnordered(at: stream.position)?.stream!.position = stream.position
    if !stream.isClosed {
      openStreams -= 1
      session.setMark(0, stream: stream.id)
      if code != HTTP2Session.Code.none {
        session.reset(stream: stream.id, code: code)
        // What the client provoked counts as if it had reset the stream itself.
        if code == HTTP2Session.Code.protocolError { spendReset(stream) }
      } else if !stream.isEndOut {
        session.reset(stream: stream.id, code: HTTP2Session.Code.internalError)
      } else if !stream.inputEnded {
        // RFC 9113 section 8.1: the answer is whole, and the rest of the request is not read (any more: EarlyAnswer), also where that is
        // more than its Content-Length said: the server had what was said, and no more.
        session.reset(stream: stream.id, code: HTTP2Session.Code.none)
        if stream.isRestTooMuch { spendReset(stream) }
      }
    }
    heldHeadBytes -= stream.headBytes
    if let u = s.boundUpstream { u.close(worker) }
    // Trailers are not counted in windows. Of what has come for a tunnel, what lies in its input was given back on the way there.
    let unused = stream.wantsWebSocket ? stream.arriving.count : max(0, s.input.count - stream.trailerBytes)
    if unused > 0 { session.consumedConnection(unused) }
    stream.isTouched = false
    s.clear()
    worker.streams.give(s.slot)
    worker.flushLater(connection)
  }
}
