// What a session says of a client's connection: heads, data, ends. It is noted here, and acted on by `HTTP2Server.progress`, when
// libnghttp2 has returned.

import Platform
import Policy
import Wire

extension HTTP2Server: HTTP2Handler {
  /// What the client is told.
  static func settings(_ connection: Downstream, _ worker: Worker) -> HTTP2Session.Settings {
    let streamsMax = worker.plan.config.limits.streams
    // Of many clients those whose bodies nobody takes must stop no others.
    let connectionWindow =
      connection.bringsMany ? streamsMax * HTTP2Server.streamWindow : HTTP2Server.connectionWindow
    return HTTP2Session.Settings(
      streamsMax: streamsMax, streamWindow: HTTP2Server.streamWindow, connectionWindow: connectionWindow,
      headBytesMax: HTTP2Server.limits(of: connection, worker).headBytes)
  }

  func noteFrame(_ frame: HTTP2Session.Frame) -> Bool {
    guard let found = overspent else { return true }
    refusal = found
    return false
  }

  func headBegan(stream: Int32, isTrailer: Bool) {
    headsSeen &+= 1
    head.begin(
      isTrailer: isTrailer, limits: isTrailer ? HTTP2Server.trailerLimits(of: connection, worker) : limits,
      isOfMany: connection.bringsMany, pool: worker.pool, small: worker.smallPool)
  }

  func field(stream: Int32, name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    guard head.add(name: name, value: value) else {
      refusal = .headTooLarge
      return false
    }
    return true
  }

  func headEnded(stream: Int32, isTrailer: Bool, endsStream: Bool) {
    defer { head.clear() }
    guard !isTrailer else {
      takeTrailers(stream, endsStream: endsStream)
      return
    }
    // Rules that a reload brought hold for the connection first, and each stream begins with what it has come to.
    adoptRules()
    connection.requestCount += 1
    // The client may begin it again (RFC 9113 section 8.7): where it came behind the last one that the connection takes, there is no room, or
    // by what rules it is judged is still being said.
    let isLate = stream > lastStream
    guard !isLate, hasRoom, worker.refusesHeads || !worker.isLineAhead, let s = begin(stream) else {
      let refusal = isLate ? Refusal.draining : .http2Busy
      worker.counters.add(refusal)
      worker.log.recordRefused(connection, refusal, .none, worker)
      session.reset(stream: stream, code: HTTP2Session.Code.refusedStream)
      if !connection.bringsMany, overspent == nil {
        overspent = budget.noteRefused(1, nowMilliseconds: worker.nowMilliseconds)
      }
      return
    }
    budget.noteRequest()
    s.inputEnded = endsStream
    s.stream!.inputEnded = endsStream
    s.stream!.isGRPC = head.isGRPC
    let outcome = head.write(worker.requestHead, into: s.input)
    guard let x = Begin.take(s, worker) else {
      // No part of a window.
      s.input.removeAll()
      endStream(s, code: HTTP2Session.Code.refusedStream)
      return
    }
    let state = s.stream!
    state.first =
      switch outcome {
      case .complete(let length):
        if let refusal = judge(s, x) {
          Begin.refused(x, refusal, headBytes: length, worker)
        } else {
          Begin.request(x, length, worker)
        }
      case .refused(.methodRefused): Begin.refused(x, .methodRefused, headBytes: s.input.count, worker)
      case .refused(let refusal): malformed(s, x, refusal)
      case .incomplete: malformed(s, x, .requestLine)
      }
    if let identity = x.identity, x.isVerified || identity.via == .forwarded {
      bringsOthers = true
      if !x.isVerified { state.client = identity.address.clientUnit }
    }
    touch(s)
  }

  /// The connection comes under the rules that a reload brought. Where it may not, it drains: its client is told to ask on another one,
  /// rather than 503 for each of its requests.
  func adoptRules() { if case .outlived = ConnectionRules.adopt(connection, worker) { drain() } }

  /// What takes the whole head, and only HTTP/2 asks.
  private func judge(_ s: Downstream, _ x: Exchange) -> Refusal? {
    let state = s.stream!
    state.wantsWebSocket = head.wantsWebSocket
    if case .length(let length) = x.head.framing, x.head.has(.contentLength) {
      // A tunnel has no content.
      if !head.wantsWebSocket { state.declared = length }
      // RFC 9113 section 8.1.1.
      if s.inputEnded || head.wantsWebSocket, length > 0 {
        state.resetCode = HTTP2Session.Code.protocolError
        return .contentLengthMismatch
      }
    }
    if connection.bringsMany {
      // Of many clients none goes first (RFC 9218 section 13.1).
      prioritize(state.id, HTTP2Priority(urgency: HTTP2Priority.defaultUrgency, isIncremental: true))
    } else if let priority = early.take(stream: state.id) ?? head.priority {
      prioritize(state.id, priority)
    }
    return s.input.withReadable { text in
      ConnectionRules.mayBeAsked(connection, for: text.extracting(x.head.authority.range)) ? nil : .misdirected
    }
  }

  /// RFC 9113 section 8.1.1: a malformed request may have an answer, and is a stream error.
  private func malformed(_ s: Downstream, _ x: Exchange, _ refusal: Refusal) -> Step {
    if refusal.status == 400 { s.stream!.resetCode = HTTP2Session.Code.protocolError }
    s.stream!.isMalformed = true
    s.input.removeAll()
    return Begin.refused(x, refusal, headBytes: 0, worker)
  }

  private func takeTrailers(_ id: Int32, endsStream: Bool) {
    guard let s = find(id), let state = s.stream, let x = s.exchange else { return }
    // RFC 9113 section 8.5: behind a CONNECT there is DATA alone.
    guard endsStream, !state.wantsWebSocket else { return fault(s, .http2PseudoField) }
    let before = s.input.count
    let trailers = worker.trailers(of: x)
    switch head.write(trailers, into: s.input) {
    case .complete: state.trailerBytes = s.input.count - before
    case .refused(let refusal): fault(s, refusal)
    case .incomplete: fault(s, .framingChunk)
    }
    // Where the body's length was stated there is no place for them; a validator still refuses what names an identity.
    if state.declared != nil {
      if trailers.hasIdentity, x.isVerified, worker.plan.config.identity.mode == .enforce {
        fault(s, .trailerIdentity)
      }
      s.input.removeLast(state.trailerBytes)
      state.trailerBytes = 0
    }
  }

  /// A request that was wrong behind its head.
  private func fault(_ s: Downstream, _ refusal: Refusal) {
    s.stream!.fault = refusal
    s.stream!.resetCode = HTTP2Session.Code.protocolError
    touch(s)
  }

  func data(stream: Int32, _ bytes: Span<UInt8>) {
    guard let s = find(stream), let state = s.stream, state.fault == nil else {
      session.consumed(stream: stream, bytes.count)
      return
    }
    state.received += UInt64(bytes.count)
    if let declared = state.declared, state.received > declared {
      session.consumed(stream: stream, bytes.count)
      fault(s, .contentLengthMismatch)
      return
    }
    let buffer = state.wantsWebSocket ? state.arriving : s.input
    buffer.append(bytes)
    // The window is the buffer's size, so this is a fault of ours.
    if buffer.overflowed { fault(s, .http2Protocol) }
    if let x = s.exchange { Deadlines.noteClientSent(x, worker) }
    touch(s)
  }

  func inputEnded(stream: Int32) {
    guard let s = find(stream), let state = s.stream else { return }
    state.inputEnded = true
    // A tunnel finds its end behind the bytes that came before it.
    if !state.wantsWebSocket { s.inputEnded = true }
    // Who has the whole answer may end a request before its length, as curl does: what is missing nobody reads.
    if let declared = state.declared, state.received != declared, state.fault == nil,
      !EarlyAnswer.isGiven(s.exchange, state)
    {
      fault(s, .contentLengthMismatch)
    }
    touch(s)
  }

  func closed(stream: Int32, code: UInt32) {
    guard let s = find(stream), let state = s.stream else { return }
    state.isClosed = true
    openStreams -= 1
    session.setMark(0, stream: stream)
    guard !state.isEndOut || !state.inputEnded || code != 0 else { return }
    if EarlyAnswer.isGiven(s.exchange, state) {
      // It has its answer, and sends no more of what nobody reads.
      state.inputEnded = true
      s.inputEnded = true
      touch(s)
      return
    }
    state.isReset = true
    spendReset(state)
    touch(s)
  }

  /// A stream was reset by the client, or for what it did. An edge passes on what its clients take back, and do wrong, each of whom has a
  /// budget where it is connected; it must not lose its connection, and with it the requests of others, for what some of them do. Nor must
  /// a balancer that is believed who they are: each of these has a budget here, and is refused when that is spent (`Begin.request`).
  func spendReset(_ state: StreamState) {
    if bringsOthers {
      if let client = state.client { clientResets.note(client, nowMilliseconds: worker.nowMilliseconds) }
      return
    }
    guard let refusal = budget.noteReset(nowMilliseconds: worker.nowMilliseconds), self.refusal == nil else { return }
    // Acted on when libnghttp2 has returned: the next frame ends it.
    overspent = refusal
  }

  private func prioritize(_ stream: Int32, _ priority: HTTP2Priority) {
    session.setPriority(stream: stream, urgency: priority.urgency, isIncremental: priority.isIncremental)
  }

  func prioritized(stream: Int32, _ value: Span<UInt8>) -> Bool {
    guard !connection.bringsMany else { return true }
    let priority = HTTP2Priority.read(value)
    if find(stream) != nil {
      prioritize(stream, priority)
    } else if !session.hasBegun(stream: stream) {
      early.note(priority, stream: stream)
    }
    return true
  }

  func goingAway(lastStream: Int32) { clientLeaves = true }

  func sendable(stream: Int32, most: Int) -> HTTP2Session.BodyPart {
    guard let s = find(stream), let state = s.stream else { return .nothing }
    // The answer to a malformed request is ended by a reset, which no stream can have that has ended on both sides.
    guard state.resetCode == 0 else { return s.output.isEmpty ? .nothing : .bytes(min(s.output.count, most)) }
    return state.part(of: s.output, most: most, session, worker.http2Lines)
  }

  func take(stream: Int32, count: Int, into out: Buffer) {
    guard let s = find(stream), let state = s.stream else { return }
    out.append(first: count, of: s.output)
    s.output.consume(count)
    budget.noteSent(count, isCut: !s.output.isEmpty)
    s.output.releaseIfEmpty()
    state.sentBytes &+= UInt32(truncatingIfNeeded: count)
    sentBytes &+= UInt32(truncatingIfNeeded: count)
    state.ownEnd = connection.transport.writtenBytes + UInt64(out.count)
    // Whoever waited for room goes on.
    if s !== pulling { worker.enqueue(s) }
  }

  func headLeft(stream: Int32) {
    guard let s = find(stream), let state = s.stream, state.headsWaiting > 0 else { return }
    state.headsWaiting -= 1
    state.ownEnd = connection.transport.writtenBytes + UInt64(connection.output.count)
    // Its end, or its next head, waited for that.
    if s !== pulling, s.isFlushed { worker.enqueue(s) }
  }
}
