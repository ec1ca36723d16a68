// What a session says of a server's connection: heads, data, ends. It is noted here, and acted on by `HTTP2Client.progress`, when
// libnghttp2 has returned.

import Platform
import Policy
import Wire

extension HTTP2Client: HTTP2Handler {
  func noteFrame(_ frame: HTTP2Session.Frame) -> Bool {
    switch frame.kind {
    case .headers, .continuation, .goaway, .windowUpdate: return true
    case .data: if frame.bytes > 0 || frame.endsStream { return true }
    case .priority, .priorityUpdate, .reset, .settings, .pushPromise, .ping, .other: break
    }
    if worker.nowMilliseconds &- emptySinceMilliseconds > 1_000 {
      emptySinceMilliseconds = worker.nowMilliseconds
      emptyFrames = 0
    }
    emptyFrames += 1
    return emptyFrames <= HTTP2Client.emptyFramesPerSecond
  }

  func headBegan(stream: Int32, isTrailer: Bool) { head.begin() }

  func field(stream: Int32, name: Span<UInt8>, value: Span<UInt8>) -> Bool { head.add(name: name, value: value) }

  func headEnded(stream: Int32, isTrailer: Bool, endsStream: Bool) {
    defer { head.clear() }
    guard let s = find(stream), let state = s.stream else { return }
    if state.hasFinalHead {
      // RFC 9113 section 8.1: trailers end the message.
      if !endsStream {
        state.noteFault(.secondHead)
      } else if head.writeTrailers(into: state.arrivingTrailers) {
        state.trailerBytes = state.arrivingTrailers.count
      } else {
        state.noteFault(head.fault)
      }
    } else if let status = head.write(into: s.input) {
      state.hasFinalHead = status >= 200
      state.endedWithHead = state.hasFinalHead && endsStream
      if !state.hasFinalHead, endsStream { state.noteFault(.interimEnd) }
    } else {
      state.noteFault(head.fault)
    }
    touch(s)
  }

  func data(stream: Int32, _ bytes: Span<UInt8>) {
    guard let s = find(stream), let state = s.stream, state.hasFinalHead else {
      session.consumed(stream: stream, bytes.count)
      if let s = find(stream) {
        s.stream?.noteFault(.contentFirst)
        touch(s)
      }
      return
    }
    state.arriving.append(bytes)
    state.unconsumed += bytes.count
    // That cannot be, for it has room for the whole window.
    if state.arriving.overflowed { state.noteFault(.excess) }
    s.exchange?.upstreamProgressMilliseconds = worker.nowMilliseconds
    touch(s)
  }

  func inputEnded(stream: Int32) {
    guard let s = find(stream), let state = s.stream else { return }
    state.inputEnded = true
    touch(s)
  }

  func closed(stream: Int32, code: UInt32) {
    guard let s = find(stream), let state = s.stream else { return }
    state.isClosed = true
    session.setMark(0, stream: stream)
    if state.inputEnded, code == 0 { return }
    // RFC 9113 section 8.7: nothing was done with it.
    state.isUnprocessed = code == HTTP2Session.Code.refusedStream
    if !state.inputEnded { state.isReset = true }
    // A server that has answered wants no more of the request.
    s.exchange?.upstreamDeaf = true
    touch(s)
  }

  func goingAway(lastStream: Int32) {
    isLeaving = true
    worker.flushLater(self)
  }

  func sendable(stream: Int32, most: Int) -> HTTP2Session.BodyPart {
    guard let s = find(stream), let state = s.stream else { return .nothing }
    return state.part(of: s.output, most: most, session, worker.http2Lines)
  }

  func take(stream: Int32, count: Int, into out: Buffer) {
    guard let s = find(stream) else { return }
    out.append(first: count, of: s.output)
    s.output.consume(count)
    s.output.releaseIfEmpty()
    sentBytes &+= UInt32(truncatingIfNeeded: count)
    s.stream?.ownEnd = connection.transport.writtenBytes + UInt64(out.count)
    guard let x = s.exchange else { return }
    x.upstreamProgressMilliseconds = worker.nowMilliseconds
    if s !== pulling { worker.enqueue(x.downstream) }
  }

  func headLeft(stream: Int32) {
    guard let s = find(stream), let state = s.stream, state.headsWaiting > 0 else { return }
    state.headsWaiting -= 1
    state.ownEnd = connection.transport.writtenBytes + UInt64(connection.output.count)
    guard let x = s.exchange else { return }
    x.machine.noteSent()
    x.upstreamProgressMilliseconds = worker.nowMilliseconds
    if s !== pulling, s.isFlushed { worker.enqueue(x.downstream) }
  }
}
