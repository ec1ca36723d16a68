// The client's leg of an exchange, as HTTP/1.1 (RFC 9112): heads and bodies of requests are read from the connection, responses
// are written to it. An exchange asks for the next piece and writes pieces; it does not know how they travel. Where the client is a stream
// of HTTP/2 each of these functions has a branch for it, into HTTP2Stream.

import Platform
import Wire

extension Downstream {
  /// Pieces from this size on are written directly.
  static let directBytesMin = 8 * 1024
  /// And from this size on even if a head waits to be sent: then it goes by itself, which costs about as much as copying so many.
  private static let directBehindHeadBytesMin = 32 * 1024
  /// Gathered bytes are sent once there are this many: one TLS record.
  static let gatherBytes = 16 * 1024
  /// What a chunk costs besides its payload: sixteen digits at most and two line ends.
  static let chunkOverheadBytes = 20

  // MARK: Reading heads

  /// What reading a request's head came to.
  enum HeadRead {
    /// A request, understood or refused, is under way; its exchange has come to that.
    case request(Step)
    /// Nothing more before the next event, or the connection is closed.
    case waits
  }

  /// Reads and parses a request's head, and begins its exchange.
  func readHead(_ worker: Worker) -> HeadRead {
    while true {
      if !input.isEmpty, input.count > headSeen, requestCount == 0, listener?.opening == .either {
        switch HTTP2Preface.look(at: input) {
        case .whole:
          Announce.beginHTTP2(self, worker)
          http2?.progress()
          return .waits
        case .begun: headSeen = input.count
        case .none: break
        }
      }
      if !input.isEmpty, input.count > headSeen {
        // Where none is begun any more, none waits for what decides about it.
        if !worker.refusesHeads, worker.putsOff(self) { return .waits }
        switch parseHead(worker) {
        case .complete(let length): return begin(worker) { Begin.request($0, length, worker) }
        // HTTP/1.0 may do without Host (RFC 9112 section 3.2), and checks do.
        case .refused(.hostMissing)
        where worker.requestHead.minorVersion == 0 && BalancerCheck.asks(self, worker.requestHead, in: input):
          return begin(worker) { Begin.check($0, worker) }
        case .refused(let refusal):
          // A refused method has a head that was understood: the connection is still in step.
          let length = refusal.closes ? 0 : worker.requestHead.length
          return begin(worker) { Begin.refused($0, refusal, headBytes: length, worker) }
        case .incomplete: headSeen = input.count
        }
      }
      let wasEmpty = input.isEmpty
      switch transport.read(into: input) {
      case .bytes:
        // The head's own deadline begins with its first byte.
        if wasEmpty { worker.setDeadline(self, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds) }
      case .blocked:
        if input.isEmpty { rest(worker) }
        return .waits
      case .ended, .failed:
        if check != nil, requestCount == 0, input.isEmpty { Announce.endCheck(self, worker) } else { close(worker) }
        return .waits
      }
    }
  }

  @inline(__always)
  private func begin(_ worker: Worker, _ body: (Exchange) -> Step) -> HeadRead {
    guard let x = Begin.take(self, worker) else {
      close(worker)
      return .waits
    }
    return .request(body(x))
  }

  private func parseHead(_ worker: Worker) -> HeadOutcome {
    // An older connection's buffer may be smaller than the limit that a reload has brought.
    let limits = worker.plan.requestLimits(hasGrown: isAttested)
    let most = min(limits.headBytes, input.capacity - Worker.headGrowthBytes)
    let outcome = input.withReadable {
      worker.requestHead.parse($0, limits: HeadLimits(headBytes: most, fields: limits.fields), seen: headSeen)
    }
    // A new connection, with its larger buffer, may have taken it.
    if case .refused(.headTooLarge) = outcome, most < limits.headBytes { return .refused(.draining) }
    return outcome
  }

  /// A connection without a request: it holds no memory and has the idle deadline, from when it came to rest. Bytes that
  /// complete no TLS record do not put it off.
  private func rest(_ worker: Worker) {
    if worker.isDraining {
      // One that has just come may have its first request on the way.
      guard requestCount == 0 || !worker.closesKept else {
        closeAtRest(worker)
        return
      }
      // Not anew with bytes that complete no TLS record.
      let latest = worker.nowMilliseconds + UInt64(Worker.drainFirstRequestMilliseconds)
      let deadline = worker.wheel.deadline(of: timer)
      if deadline == 0 || deadline > latest { worker.wheel.set(timer, deadlineMilliseconds: latest) }
    }
    // A session ticket waits for the first answer; where the request has not come with the handshake it leaves now.
    transport.sendRecords()
    input.releaseIfEmpty()
    output.releaseIfEmpty()
    if worker.wheel.deadline(of: timer) == 0 {
      worker.setDeadline(self, afterMilliseconds: worker.plan.config.timeouts.idleMilliseconds)
    }
  }

  /// The head's time is up.
  func headExpired(_ worker: Worker) {
    guard !input.isEmpty else {
      closeAtRest(worker)
      return
    }
    guard case .request(let step) = begin(worker, { Begin.refused($0, .headTimeout, headBytes: 0, worker) }) else {
      return
    }
    exchange?.advance(worker, step)
  }

  // MARK: Reading bodies

  /// The next piece of the request's body: first what is held of it, on another try, then what comes.
  func nextPiece(of x: Exchange, _ worker: Worker) -> Piece {
    if let stream { return nextStreamPiece(of: x, stream) }
    while true {
      var decoder = x.request.decoder
      let step = x.withBody { decoder.step($0) }
      x.request.decoder = decoder
      switch step {
      case .refused(let refusal): return .fault(.request(refusal))
      case .data(let skip, let count):
        x.use(skip)
        return .data(count)
      case .trailers(let skip, let count):
        x.use(skip)
        return .trailers(count)
      case .end(let skip):
        x.use(skip)
        return .end
      case .incomplete(let skip):
        let wasResending = x.isResending
        x.use(skip)
        // The rest of it is in the client's input.
        if wasResending { continue }
        switch transport.read(into: input) {
        case .bytes: Deadlines.noteClientSent(x, worker)
        case .blocked: return .blocked
        case .ended, .failed: return .fault(.clientGone)
        }
      }
    }
  }

  // MARK: Writing

  /// Whether there is room for a head of `n` bytes.
  enum HeadRoom { case room, blocked, never, clientGone }

  /// Makes room for a response's head, which goes out whole or not at all: a head that lost its last fields would still look like one.
  func makeRoom(forHead n: Int) -> HeadRoom {
    // A stream's goes to its session, by way of the worker's text.
    if let stream { return n <= stream.server.worker.http2Text.capacity ? .room : .never }
    if output.room >= n { return .room }
    guard flush() else { return .clientGone }
    if output.room >= n { return .room }
    return output.isEmpty ? .never : .blocked
  }

  /// Sends what waits for the client where `n` more bytes have no room. Whether they have now.
  func makeRoom(_ n: Int) -> Bool {
    if output.room >= n { return true }
    // A broken connection shows itself at the end of the turn, when flush is asked again.
    _ = flush()
    return output.room >= n
  }

  /// Whether `n` bytes of trailers, no more than the limit, can be written. A line may get a space behind its colon, and a CR.
  /// Those of a stream have a place of their own.
  func makeRoom(forTrailers n: Int) -> Bool { isStream || makeRoom(n * 2 + 8) }

  /// Writes a response's head, which stands in the first `length` bytes of the upstream's input. There is room.
  func write(
    _ head: ResponseHead, _ length: Int, from u: Upstream, for x: Exchange, _ framing: HeadWriter.ResponseFraming,
    _ coding: ResponseCoding, isTunnel: Bool, _ worker: Worker
  ) {
    let isFinal = head.status >= 200 || isTunnel
    let date = worker.date.imf
    let out = stream.map { headLines(of: $0) } ?? output
    let before = out.count
    u.input.withReadable {
      HeadWriter.writeResponse(
        $0, head: head, length: length, framing: framing, coding: coding, keepAlive: x.machine.keepsDownstream,
        clientMinorVersion: x.minorVersion, isTunnel: isTunnel, isStream: isStream,
        isGRPCAnswer: x.isGRPC && x.isSigned && u.stream?.endedWithHead == true && GRPCAnswer.isOne($0, head),
        mark: isFinal ? ValidatorMark.own(x, worker) : .none,
        cookieLine: x.setsCookie && isFinal ? u.pool?.cookieLine(isSecure: x.identity?.secure ?? false) ?? [] : [],
        edit: isFinal ? x.route?.responseEdit : nil,
        addLines: { edit in
          var values = FieldValues(x)
          values.noteReceived(isStream: u.isStream, minorVersion: head.minorVersion)
          x.headText.withReadable { edit.lines.write(values, $0, x.head, into: out) }
        },
        date: date.span, rate: x.rate, rateOfRoute: head.status >= 200 ? RouteRate.of(x) : nil, into: out)
    }
    x.bytesOut += UInt64(out.count - before)
    guard let stream else { return }
    _ = submitHead(
      out, of: stream, isInterim: head.status < 200 && !isTunnel, hasBody: isTunnel || x.response.hasBody)
  }

  /// Writes an answer of our own, and says how many bytes it has.
  func writeAnswer(
    status: Int, sentence: StaticString, keepAlive: Bool, isHead: Bool, mark: ValidatorMark = .none,
    retryAfterSeconds: Int = 1, parts: AnswerParts = AnswerParts(), _ worker: Worker
  ) -> Int {
    let reason = HeadWriter.reason(status)
    return writeAnswer(
      status: status, contentBytes: HeadWriter.answerBytes(reason, sentence, parts), keepAlive: keepAlive,
      isHead: isHead, mark: mark, retryAfterSeconds: retryAfterSeconds, parts: parts, worker
    ) { HeadWriter.writeAnswerContent(status: status, reason, sentence, parts, into: $0) }
  }

  /// Writes an answer of our own with `contentBytes` of text, which `content` appends, and says how many bytes it has.
  func writeAnswer(
    status: Int, contentBytes: Int, keepAlive: Bool, isHead: Bool, mark: ValidatorMark, isStorable: Bool = true,
    retryAfterSeconds: Int = 1, parts: AnswerParts = AnswerParts(), _ worker: Worker, content: (Buffer) -> Void
  ) -> Int {
    let date = worker.date.imf
    // A client of gRPC looks for its own status, and finds no page of text.
    if let stream, stream.isGRPC, status >= 400 {
      return writeStreamHead(stream, isInterim: false, hasBody: false) {
        GRPCAnswer.write(
          status: status, isForEdge: isAttested, mark: mark, date: date.span, into: $0)
      }
    }
    let before = output.count
    func writeHead(into out: Buffer) {
      HeadWriter.writeAnswerHead(
        status: status, reason: HeadWriter.reason(status), contentBytes: contentBytes, keepAlive: keepAlive,
        isStream: isStream, mark: mark, isStorable: isStorable, retryAfterSeconds: retryAfterSeconds, parts: parts,
        date: date.span, into: out)
    }
    var headBytes = 0
    if let stream {
      headBytes = writeStreamHead(stream, isInterim: false, hasBody: !isHead && contentBytes > 0, writeHead)
    } else {
      writeHead(into: output)
    }
    if !isHead { content(output) }
    if let stream { endStreamOutput(stream) }
    return headBytes + output.count - before
  }

  /// Writes up to `count` payload bytes at the front of `source`, which stay there. Large pieces are written from where they lie; small
  /// ones are gathered so that a head and its body leave together.
  func writeBody(_ count: Int, from source: Buffer, for x: Exchange) -> Written {
    if let stream { return writeStreamBody(count, from: source, for: x, stream) }
    var n: Int
    if x.response.goesInChunks {
      guard makeRoom(Downstream.chunkOverheadBytes + 1) else { return .blocked }
      let before = output.count
      n = min(count, output.room - Downstream.chunkOverheadBytes)
      output.append(hex: UInt64(n))
      output.append("\r\n")
      output.append(first: n, of: source)
      output.append("\r\n")
      x.bytesOut += UInt64(output.count - before)
    } else if count >= Downstream.directBehindHeadBytesMin || (count >= Downstream.directBytesMin && output.isEmpty) {
      guard transport.write(contentsOf: output, more: true) != .failed else { return .fault(.clientGone) }
      guard output.isEmpty else { return .blocked }
      output.releaseIfEmpty()
      switch source.withReadable({ transport.write($0.extracting(first: count)) }) {
      case .bytes(let written): n = written
      case .blocked: return .blocked
      case .ended, .failed: return .fault(.clientGone)
      }
      x.bytesOut += UInt64(n)
    } else {
      guard makeRoom(1) else { return .blocked }
      n = min(count, output.room)
      output.append(first: n, of: source)
      x.bytesOut += UInt64(n)
      if output.count >= Downstream.gatherBytes {
        switch transport.write(contentsOf: output) {
        case .bytes, .blocked: break
        case .ended, .failed: return .fault(.clientGone)
        }
      }
    }
    return .took(n)
  }

  /// Writes the trailers that may pass, from the first `count` bytes of the upstream's input. There is room.
  func write(_ trailers: TrailerSection, _ count: Int, from u: Upstream, for x: Exchange) {
    let edit = x.route?.responseEdit
    if let stream {
      u.input.withReadable {
        TrailerWriter.writeFields($0.extracting(first: count), trailers, without: edit, into: stream.trailers)
      }
      stream.hasTrailers = !stream.trailers.isEmpty
      x.bytesOut += UInt64(stream.trailers.count)
      x.response.trailersSent = true
      return
    }
    guard x.response.goesInChunks else { return }
    let before = output.count
    u.input.withReadable {
      TrailerWriter.write($0.extracting(first: count), trailers, without: edit, into: output)
    }
    x.bytesOut += UInt64(output.count - before)
    x.response.trailersSent = true
  }

  /// Ends the response. False when there is no room for that yet.
  func writeEnd(of x: Exchange) -> Bool {
    if let stream {
      endStreamOutput(stream)
      return true
    }
    guard x.response.goesInChunks, !x.response.trailersSent else { return true }
    guard makeRoom(5) else { return false }
    output.append("0\r\n\r\n")
    x.bytesOut += 5
    return true
  }

  /// Sends what waits for the client; `last` when its connection ends behind that. False when the connection is broken.
  func flush(last: Bool = false) -> Bool {
    if let stream { return flushStream(stream) }
    guard !isFlushed || last else { return true }
    let moved = transport.flush(output, last: last)
    output.releaseIfEmpty()
    return moved != .failed
  }
}
