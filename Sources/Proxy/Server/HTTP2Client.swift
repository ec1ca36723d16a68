// A connection to a server that speaks HTTP/2 (RFC 9113): its session, and its streams. A stream is an `Upstream` of its own, without a
// socket, that belongs to one exchange; so an exchange is the same whichever way its request goes. A response's head is
// written as HTTP/1's text into the stream's input and judged by the parser that judges HTTP/1's.
//
//   Attempt ─► HTTP2Client.open ─► stream ─► head, body ─► frames ─► the connection's output ─► socket
//   bytes ─► HTTP2Session ─► the stream's input ─► the exchange goes on
//
// A shared connection has streams of any client; one that speaks for a client (mode `bound`) has that client's only, and ends with its
// connection.
//
// Invariants: `streams` are those that belong to an exchange, each with its index in `position`; a session's mark for a stream is its slot
// and one, and 0 once it is over here.

import Platform
import Policy
import Wire

final class HTTP2Client {
  let connection: Upstream
  let worker: Worker
  let session: HTTP2Session
  let streams = WorkList<Upstream>()
  /// Bytes of all bodies that went into frames; wraps around.
  var sentBytes: UInt32 = 0
  private let touched = WorkList<Upstream>()
  let head: HTTP2ResponseText
  /// The server takes no more streams, or none may be given to it.
  var isLeaving = false
  /// The connection is lost: nothing more is read from it, and what cannot be sent is not tried again. It is kept for streams whose response is
  /// all here.
  private(set) var isLost = false
  private(set) var pulling: Upstream?
  /// The session is being told what came.
  private var isReceiving = false
  /// In the worker's lists of connections whose bytes are to be sent, and which have more to be read.
  var isToBeFlushed = false
  var isToBeRead = false
  /// Frames that carry nothing, in the present second: a server is trusted further than a client, not without end.
  var emptyFrames = 0
  var emptySinceMilliseconds: UInt64 = 0
  /// When bytes came last.
  private var heardMilliseconds: UInt64

  private static let readsPerTurn = 8
  /// What each stream may send before its bytes have left.
  static let streamWindow = 65_535
  /// What all of them may: as much as each has for itself, so that those whose clients take nothing stop no others.
  static let connectionWindow = streamsMax * streamWindow
  /// Streams that a connection has at a time, whatever the server allows.
  static let streamsMax = 100
  /// Requests that a connection has in all; HTTP/2 has numbers for a few more (RFC 9113 section 5.1.1).
  static let requestsMax = 1_000_000_000
  static let emptyFramesPerSecond = 10_000
  /// Frames that may wait for a server that takes nothing: heads, windows and resets of so many streams.
  static let framesWaitingMax = 4 * streamsMax

  init?(_ connection: Upstream, _ worker: Worker) {
    self.connection = connection
    self.worker = worker
    heardMilliseconds = worker.nowMilliseconds
    head = HTTP2ResponseText(Buffer(pool: worker.pool, small: worker.smallPool))
    let settings = HTTP2Session.Settings(
      streamsMax: 0, streamWindow: HTTP2Client.streamWindow, connectionWindow: HTTP2Client.connectionWindow,
      headBytesMax: HTTP2ResponseText.listBytesMax)
    guard let session = HTTP2Session(.client, settings, memory: worker.http2Memory) else { return nil }
    self.session = session
    session.tell(self)
  }

  /// Another request may go this way.
  var mayOpen: Bool {
    !isLeaving && connection.phase != .free && streams.count < min(HTTP2Client.streamsMax, session.peerStreamsMax)
      && connection.served < HTTP2Client.requestsMax
  }

  /// So many requests were taken back while the server took nothing that their heads must not become more.
  private var isOverfull: Bool { session.waitingFrames > HTTP2Client.framesWaitingMax }

  /// Its connection has not ended: whoever comes late in a turn could find another one in its slot, which has a session of its own.
  private var isCurrent: Bool { connection.http2 === self }

  /// It turned this stream away because it ends, or was so new that its server's limits were not known: another one may take it.
  func refusedInPassing(_ s: Upstream) -> Bool { isLeaving || s.served == 0 }

  // MARK: Events

  /// Does what can be done now: reads, and has the exchanges go on.
  func progress() {
    guard isCurrent, !isLost else { return }
    let u = connection
    // libnghttp2 has ended the connection by itself, for what is no HTTP/2.
    if session.isOver, !streams.isEmpty {
      fail(.closedBeforeResponse)
      return
    }
    for _ in 0..<HTTP2Client.readsPerTurn {
      switch u.transport.read(into: u.input) {
      case .bytes:
        heardMilliseconds = worker.nowMilliseconds
        isReceiving = true
        let received = u.input.withReadable { session.receive($0) }
        isReceiving = false
        u.input.removeAll()
        advanceTouched()
        // What went on may have closed the connection.
        guard isCurrent else { return }
        guard received == .all, session.takesMore || isLeaving else {
          fail(.closedBeforeResponse)
          return
        }
        guard u.phase == .ready else { return }
      case .blocked:
        u.input.releaseIfEmpty()
        worker.flushLater(self)
        return
      case .ended, .failed:
        fail(.closedBeforeResponse)
        return
      }
    }
    // The others first; what is left has the next turn.
    worker.readLater(self)
  }

  func touch(_ s: Upstream) {
    guard let stream = s.stream, !stream.isTouched else { return }
    guard isReceiving else {
      if let x = s.exchange { worker.enqueue(x.downstream) }
      return
    }
    stream.isTouched = true
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
      if let x = s.exchange { worker.pump(x.downstream) }
    }
    touched.removeAll()
  }

  /// The connection is ready for requests: those that waited leave, and what has come of their bodies meanwhile.
  func becameReady() {
    let all = Array(streams)
    for s in all { s.phase = .ready }
    // All are asked before anything is sent: one stream's head takes those of all others along, and only what has not left can be taken back.
    let held = all.filter { $0.exchange.map { !RouteGate.maySend($0, worker) } ?? false }
    for s in held where s.stream?.client === self { s.exchange?.advance(worker, .fault(.unprocessed)) }
    for s in all {
      guard let x = s.exchange, s.stream?.client === self else { continue }
      x.upstreamProgressMilliseconds = worker.nowMilliseconds
      x.timing.noteReady(worker.nowMicroseconds)
      s.flush(worker)
      Deadlines.setServer(x, x.downstream, s, worker)
      // No other event may tell: a client that has sent everything says nothing more.
      worker.enqueue(x.downstream)
    }
    worker.flushLater(self)
  }

  /// The connection is lost, or could not be made: so are its streams, but for those whose response is all here.
  func fail(_ fault: ExchangeMachine.Fault) {
    isLeaving = true
    isLost = true
    for s in Array(streams) {
      // What became of another one may have ended it.
      guard let stream = s.stream, stream.client === self else { continue }
      guard let x = s.exchange else {
        endStream(s)
        continue
      }
      if stream.inputEnded, !stream.isReset {
        // Its client takes it in its own time. What is left of its request goes nowhere.
        if !stream.isClosed { session.setMark(0, stream: stream.id) }
        stream.isClosed = true
        x.upstreamDeaf = true
        worker.pump(x.downstream)
        continue
      }
      // What was beyond the server's limit of streams never left.
      if stream.id > 0, !stream.isClosed, session.mark(stream: stream.id) == 0 { stream.isUnprocessed = true }
      stream.isReset = true
      // What it said before it went may be whole.
      if fault == .closedBeforeResponse, s.phase == .ready {
        worker.pump(x.downstream)
        guard s.stream === stream, stream.client === self, s.exchange === x else { continue }
        if x.machine.response == .done {
          x.release(worker, keep: false)
          continue
        }
      }
      x.advance(worker, .fault(x.machine.response == .awaiting ? fault : .truncatedResponse))
      if s.stream === stream, stream.client === self { s.close(worker) }
    }
    if streams.isEmpty, isCurrent { connection.close(worker) }
  }

  /// The connection is closed.
  func closed() {
    isLeaving = true
    while let s = streams.last { s.close(worker) }
    head.clear()
  }

  /// Its server fails, or was taken away: each of its requests goes by that, and the connection ends with its last one.
  func serverChanged(_ order: ServerStatus.Order) {
    isLeaving = true
    for s in Array(streams) {
      guard s.stream?.client === self, let x = s.exchange else { continue }
      ServerReports.leave(x, order, worker)
    }
    rest()
  }

  /// A response has not come in so many milliseconds. Where nothing else came either the server may be gone without a word, and the
  /// next request has another connection; with HTTP/1 this one would be closed.
  func noteSilence(milliseconds: Int) {
    if worker.nowMilliseconds &- heardMilliseconds >= UInt64(milliseconds) { isLeaving = true }
  }

  /// It takes no more streams, and ends with its last one.
  func retire() {
    isLeaving = true
    rest()
  }

  // MARK: Sending

  func pull(_ s: Upstream) {
    guard connection.phase == .ready else { return }
    pulling = s
    defer { pulling = nil }
    let u = connection
    if session.send(into: u.output) == .full, u.transport.write(contentsOf: u.output) != .failed {
      _ = session.send(into: u.output)
    }
    worker.flushLater(self)
  }

  /// Sends what is to be sent, at the end of a turn.
  func flush() {
    let u = connection
    guard isCurrent, u.phase == .ready else { return }
    while true {
      let sent = session.send(into: u.output)
      let moved = u.transport.flush(u.output)
      if sent == .failed || moved == .failed || moved == .ended {
        // What the server said before it went is found by reading.
        u.output.removeAll()
        isLeaving = true
        guard !isLost else { break }
        u.transport.noteReadable()
        worker.readLater(self)
        return
      }
      guard sent == .full, u.output.isEmpty, !u.transport.hasUnsent else { break }
    }
    u.output.releaseIfEmpty()
    if session.isOver, !streams.isEmpty, !isLost { worker.readLater(self) }
    rest()
  }

  /// Without a stream it is kept for the next one, for a while; or it ends.
  private func rest() {
    guard isCurrent else { return }
    let u = connection
    guard streams.isEmpty, u.phase == .ready else {
      if u.phase == .ready { worker.wheel.set(u.timer, deadlineMilliseconds: 0) }
      return
    }
    if u.pool?.isRetired == true || worker.isDraining { isLeaving = true }
    if !isLeaving, u.owner == nil, u.pool?.keepIdle(self, worker) == false { isLeaving = true }
    if isLost || isLeaving && (u.isFlushed || isOverfull) {
      u.close(worker)
      return
    }
    guard worker.wheel.deadline(of: u.timer) == 0 else { return }
    u.setIdleDeadline(worker)
  }

  // MARK: Streams

  func find(_ stream: Int32) -> Upstream? {
    let mark = session.mark(stream: stream)
    return mark > 0 ? worker.serverStreams.all[mark - 1] : nil
  }

  /// A stream for an exchange, to which the pool gives it. Nil when there is no slot.
  func open() -> Upstream? {
    let capacity = worker.pool.chunkBytes
    let made = worker.serverStreams.take(
      replaces: { $0.input.capacity != capacity },
      make: { Upstream(stream: $0, pool: worker.pool, small: worker.smallPool, outputPool: worker.streamPool) })
    guard let s = made else { return nil }
    let state = s.streamState ?? ServerStream(worker)
    s.streamState = state
    state.begin(self, position: streams.count)
    s.stream = state
    s.pool = connection.pool
    s.owner = nil
    s.phase = connection.phase == .ready ? .ready : .connecting
    s.served = connection.served
    s.boundClient = connection.boundClient
    s.boundSigner = connection.boundSigner
    streams.append(s)
    connection.pool?.noteUsed(self, worker)
    worker.wheel.set(
      connection.timer,
      deadlineMilliseconds: connection.phase == .ready ? 0 : worker.wheel.deadline(of: connection.timer))
    return s
  }

  /// Hands a request's head to the session: the lines that `write` appends, `:method` first. False when the server takes no more streams,
  /// or it cannot be sent.
  func begin(_ s: Upstream, hasBody: Bool, _ write: (Buffer) -> Bool) -> Bool {
    guard let stream = s.stream else { return false }
    let text = worker.http2Text
    text.removeAll()
    guard write(text), !text.overflowed,
      let id = text.withReadable({ session.request(worker.http2Lines, $0, hasBody: hasBody) })
    else { return false }
    stream.id = id
    stream.headsWaiting = 1
    stream.outputEnded = !hasBody
    stream.isEndOut = !hasBody
    session.setMark(s.slot + 1, stream: id)
    return true
  }

  /// A stream's exchange has no more use for it.
  func endStream(_ s: Upstream) {
    guard let stream = s.stream, stream.client === self else { return }
    streams.removeUnordered(at: stream.position)?.stream!.position = stream.position
    if stream.id > 0, !stream.isClosed {
      session.setMark(0, stream: stream.id)
      if !stream.isEndOut || !stream.inputEnded { session.reset(stream: stream.id, code: HTTP2Session.Code.cancel) }
    }
    // libnghttp2 keeps the head of a request that was taken back before it left.
    if isOverfull { isLeaving = true }
    if stream.unconsumed > 0 { session.consumedConnection(stream.unconsumed) }
    connection.served += 1
    worker.wheel.set(s.timer, deadlineMilliseconds: 0)
    s.clear()
    worker.serverStreams.give(s.slot)
    worker.flushLater(self)
  }
}
