// Bodies and responses on their way. Bytes stay in the buffer of the side they came from until the other side takes
// them: a slow reader fills the buffer, a full buffer is not read into, and the kernel tells the sender. Large pieces
// are written from where they lie; small ones are gathered so that a head and its body leave together.

import Platform
import Policy
import Wire

extension Worker {
  /// Pieces from this size on are written directly.
  static let directBytesMin = 8 * 1024
  /// What a chunk costs besides its payload: sixteen digits at most and two line ends.
  private static let chunkOverheadBytes = 20
  /// What a response head may grow by: date, framing, connection, and three bytes a line that is written anew.
  private static let responseGrowthBytes = 256 + 3 * (Worker.responseFieldsMax + HeadGrowth.fields)
  /// Steps of one exchange in one turn, before other connections have theirs.
  private static let relayStepsPerTurn = 128
  /// Gathered bytes are sent once there are this many: one TLS record.
  private static let gatherBytes = 16 * 1024

  /// Moves what can be moved between the buffers. True when the connection's phase may have changed; false when it is to
  /// be settled, or an event must come first.
  func relay(_ x: Exchange, _ d: Downstream) -> Bool {
    guard !x.isBackingOff else { return false }
    var moved = true
    var steps = 0
    while moved {
      guard steps < Worker.relayStepsPerTurn else {
        enqueue(d)
        break
      }
      steps += 1
      moved = false
      if x.machine.isDiscarding {
        release(x, keep: false)
        moved = discardRequest(x, d)
      } else if let u = x.upstream, u.phase == .ready {
        if x.machine.request == .body { moved = relayRequest(x, d, u) }
        // By turns while the request goes on; otherwise there is one direction only.
        while goesOn(x, d, u), relayResponse(x, d, u) {
          guard x.machine.request == .body else { continue }
          moved = true
          break
        }
        // Another try's connection, or none.
        if x.upstream !== u { moved = true }
      }
      guard x.isActive, d.phase == .exchange, !x.isBackingOff else { return d.phase != .free && !x.isBackingOff }
    }
    settleLater(d)
    return false
  }

  private func goesOn(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    x.isActive && d.phase == .exchange && !x.isBackingOff && x.upstream === u && u.phase == .ready
  }

  // MARK: The request's body

  /// One step of the request's body. True when something moved.
  private func relayRequest(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    var decoder = x.requestDecoder
    let step = withBody(x, d) { decoder.step($0) }
    x.requestDecoder = decoder
    switch step {
    case .refused(let refusal):
      fault(x, .request(refusal))
      return true
    case .data(let skip, let count):
      use(x, skip)
      let most = usable(count, x, u)
      guard most > 0 else { return holdBack(u) }
      return sendRequest(x, d, u, most) || skip > 0
    case .trailers(let skip, let count):
      use(x, skip)
      guard usable(count, x, u) == count else { return holdBack(u) }
      return sendTrailers(x, d, u, count)
    case .end(let skip):
      use(x, skip)
      if x.requestFraming == .chunked, !x.requestTrailersSent {
        guard hasRoom(u, 5) else { return false }
        u.output.append("0\r\n\r\n")
      }
      d.input.releaseIfEmpty()
      x.machine.requestEnded()
      x.upstreamProgressMilliseconds = nowMilliseconds
      return true
    case .incomplete(let skip):
      let isResending = x.resentBytes < x.held.count
      use(x, skip)
      // The rest of it is in the client's input.
      if isResending { return true }
      return readRequest(x, d, u)
    }
  }

  private func readRequest(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    switch d.transport.read(into: d.input) {
    case .bytes(let n):
      x.downstreamProgressMilliseconds = nowMilliseconds
      return n > 0
    case .blocked:
      flush(u)
      return false
    case .ended, .failed:
      fault(x, .clientGone)
      return true
    }
  }

  /// Hands up to `count` payload bytes at the front of the body to the upstream.
  private func sendRequest(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ count: Int) -> Bool {
    let most = plan.config.limits.bodyBytes
    if most > 0, x.requestBodyBytes + UInt64(count) > UInt64(most) {
      fault(x, .request(.bodyTooLarge))
      return true
    }
    // The upstream takes no more. What it said before is for the reading side to find; once that is on its way to the
    // client, the client may go on sending.
    guard !x.upstreamDeaf else {
      guard x.machine.response != .awaiting else { return false }
      x.requestConsumed(count)
      use(x, count)
      return true
    }
    var n: Int
    if x.requestFraming == .chunked {
      guard hasRoom(u, Worker.chunkOverheadBytes + 1) else { return false }
      n = min(count, u.output.room - Worker.chunkOverheadBytes)
      u.output.append(hex: UInt64(n))
      u.output.append("\r\n")
      withBody(x, d) { u.output.append($0.extracting(first: n)) }
      u.output.append("\r\n")
    } else if count >= Worker.directBytesMin, u.output.isEmpty {
      let sent = u.transport.sentBytes
      switch withBody(x, d, { u.transport.write($0.extracting(first: count)) }) {
      case .bytes(let written):
        n = written
        x.machine.noteSent()
        x.upstreamProgressMilliseconds = nowMilliseconds
      case .blocked:
        if u.transport.sentBytes != sent {
          x.machine.noteSent()
          x.upstreamProgressMilliseconds = nowMilliseconds
        }
        return false
      case .ended, .failed:
        x.upstreamDeaf = true
        u.transport.noteReadable()
        return false
      }
    } else {
      guard hasRoom(u, 1) else { return false }
      n = min(count, u.output.room)
      withBody(x, d) { u.output.append($0.extracting(first: n)) }
      if u.output.count >= Worker.gatherBytes { flush(u) }
    }
    x.requestConsumed(n)
    x.requestBodyBytes += UInt64(n)
    use(x, n)
    return true
  }

  /// Passes a trailer section on, without what speaks of identity; a validator refuses one that does.
  private func sendTrailers(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ count: Int) -> Bool {
    // A colon without a space behind it gets one.
    guard hasRoom(u, count * 2 + 8) else { return false }
    let outcome = withBody(x, d) {
      trailers.parse($0.extracting(first: count), limits: trailerLimits(x.isVerified))
    }
    guard case .complete = outcome else {
      if case .refused(let refusal) = outcome { fault(x, .request(refusal)) } else { fault(x, .request(.framingChunk)) }
      return true
    }
    if trailers.hasIdentity, x.isVerified {
      guard plan.config.identity.mode == .observe else {
        fault(x, .request(.trailerIdentity))
        return true
      }
      if x.refusal == nil {
        x.refusal = .trailerIdentity
        counters.add(.trailerIdentity)
      }
    }
    withBody(x, d) { TrailerWriter.write($0.extracting(first: count), trailers, into: u.output) }
    x.requestTrailersSent = true
    x.requestConsumed(count)
    use(x, count)
    return true
  }

  /// Whether `n` bytes can be appended for the upstream, after sending what waits if need be.
  private func hasRoom(_ u: Upstream, _ n: Int) -> Bool {
    if u.output.room >= n { return true }
    flush(u)
    return u.output.room >= n
  }

  // MARK: The response

  private func relayResponse(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    switch x.machine.response {
    case .awaiting: return readResponseHead(x, d, u)
    case .body: return relayResponseBody(x, d, u)
    case .done: return false
    }
  }

  private func readResponseHead(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    // An interim response must not pile up behind a client that does not read.
    if d.output.room < u.input.capacity / 2 {
      guard flush(d) else {
        fault(x, .clientGone)
        return true
      }
      guard d.output.isEmpty else { return false }
    }
    if u.input.count > u.headSeen {
      var limits = responseLimits(of: x.group)
      limits.headBytes = min(limits.headBytes, u.input.capacity - Worker.headGrowthBytes)
      let outcome = u.input.withReadable {
        responseHead.parse(
          $0, limits: limits, requestWasHead: x.method == .head, isFirst: u.served == 0, seen: u.headSeen)
      }
      switch outcome {
      case .complete(let length):
        // It goes out whole or not at all: a head that lost its last fields would still look like one.
        if d.output.room < length + Worker.responseGrowthBytes {
          guard flush(d) else {
            fault(x, .clientGone)
            return true
          }
          guard d.output.room >= length + Worker.responseGrowthBytes else {
            guard d.output.isEmpty else { return false }
            refuseResponse(x, .headTooLarge)
            return true
          }
        }
        u.headSeen = 0
        takeResponse(x, d, u, length)
        return true
      case .refused:
        refuseResponse(x, responseHead.fault)
        return true
      case .incomplete: u.headSeen = u.input.count
      }
    }
    switch u.transport.read(into: u.input) {
    case .bytes:
      x.upstreamProgressMilliseconds = nowMilliseconds
      return true
    case .blocked: return false
    case .ended, .failed:
      fault(x, .closedBeforeResponse)
      return true
    }
  }

  /// The log says what it was that cannot be taken.
  private func refuseResponse(_ x: Exchange, _ what: ResponseFault) {
    x.detail = .text(what.text)
    fault(x, .badResponse)
  }

  /// Acts on a whole response head at the front of the upstream's input.
  private func takeResponse(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ length: Int) {
    let head = responseHead
    if head.isBent { x.serverIsBent = true }
    if head.status == 101 {
      guard x.wantsWebSocket, head.wantsWebSocket else {
        refuseResponse(x, .upgrade)
        return
      }
      beginTunnel(x, d, u, length)
      return
    }
    if head.status < 200 {
      noteAnswered(x)
      // The word that we asked for is not the client's. RFC 9110 section 15.2: none to one of HTTP/1.0.
      let isOurs = head.status == 100 && x.asksContinue
      if isOurs { x.asksContinue = false } else if head.status == 100 { x.expectsContinue = false }
      if x.minorVersion > 0, !isOurs { write(head, x, d, u, length, .none, isTunnel: false) }
      u.input.consume(length)
      return
    }
    if x.isSigned, u.input.withReadable({ HeadWriter.isStartingRefusal($0, head) }) {
      if case .retryLater = x.machine.fault(.starting) {
        waitForStart(x)
        return
      }
    } else {
      noteAnswered(x)
    }
    let framing = head.framing
    let outgoing = HeadWriter.ResponseFraming(
      head, requestWasHead: x.method == .head, clientMinorVersion: x.minorVersion)
    if case .close = outgoing {
      x.machine.noteDownstreamCloses()
      x.endsWithConnection = true
    }
    if mayNotSend(x) { x.machine.noteDownstreamCloses() }
    if isDraining { x.machine.noteDownstreamCloses() }
    x.machine.responseHead(keepAlive: head.keepAlive)
    // No other try is made from here on, and a response may take hours.
    letGo(x)
    x.status = head.status
    x.responseStartedMicroseconds = nowMicroseconds
    x.responseFraming = framing
    x.responseDecoder = BodyDecoder(
      framing, trailerBytesMax: trailerLimits(x.isSigned).headBytes, isLenient: true)
    if case .chunked = outgoing { x.chunksResponse = true } else { x.chunksResponse = false }
    x.responseTrailersSent = false
    write(head, x, d, u, length, outgoing, isTunnel: false)
    u.input.consume(length)
    if framing == .none || framing == .length(0) { x.machine.responseEnded() }
  }

  /// The client asked to be told before it sends its body, and was not: whether it comes after a final answer is open
  /// (RFC 9110 section 10.1.1), so what follows on the connection could be read in two ways.
  func mayNotSend(_ x: Exchange) -> Bool {
    x.machine.request == .body && x.expectsContinue && x.requestBodyBytes == 0
  }

  func write(
    _ head: ResponseHead, _ x: Exchange, _ d: Downstream, _ u: Upstream, _ length: Int,
    _ framing: HeadWriter.ResponseFraming, isTunnel: Bool
  ) {
    let before = d.output.count
    u.input.withReadable {
      HeadWriter.writeResponse(
        $0, head: head, length: length, framing: framing, keepAlive: x.machine.keepsDownstream,
        clientMinorVersion: x.minorVersion, isTunnel: isTunnel, date: date.imf.span, into: d.output)
    }
    x.bytesOut += UInt64(d.output.count - before)
  }

  private func relayResponseBody(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    var decoder = x.responseDecoder
    let step = u.input.withReadable { decoder.step($0) }
    x.responseDecoder = decoder
    switch step {
    case .refused:
      refuseResponse(x, .chunk)
      return true
    case .data(let skip, let count):
      u.input.consume(skip)
      return sendResponse(x, d, u, count) || skip > 0
    case .trailers(let skip, let count):
      u.input.consume(skip)
      return sendResponseTrailers(x, d, u, count)
    case .end(let skip):
      u.input.consume(skip)
      return endResponse(x, d)
    case .incomplete(let skip):
      u.input.consume(skip)
      return readResponse(x, d, u)
    }
  }

  private func readResponse(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    switch u.transport.read(into: u.input) {
    case .bytes:
      x.upstreamProgressMilliseconds = nowMilliseconds
      return true
    case .blocked: return false
    case .ended where x.responseFraming == .untilClose: return endResponse(x, d)
    case .ended, .failed:
      fault(x, .truncatedResponse)
      return true
    }
  }

  private func endResponse(_ x: Exchange, _ d: Downstream) -> Bool {
    if x.chunksResponse, !x.responseTrailersSent {
      guard hasRoom(d, 5) else { return false }
      d.output.append("0\r\n\r\n")
      x.bytesOut += 5
    }
    x.machine.responseEnded()
    return true
  }

  /// Hands up to `count` payload bytes at the front of the upstream's input to the client.
  private func sendResponse(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ count: Int) -> Bool {
    var n: Int
    if x.chunksResponse {
      guard hasRoom(d, Worker.chunkOverheadBytes + 1) else { return false }
      let before = d.output.count
      n = min(count, d.output.room - Worker.chunkOverheadBytes)
      d.output.append(hex: UInt64(n))
      d.output.append("\r\n")
      d.output.append(first: n, of: u.input)
      d.output.append("\r\n")
      x.bytesOut += UInt64(d.output.count - before)
    } else if count >= Worker.directBytesMin, d.output.isEmpty {
      switch u.input.withReadable({ d.transport.write($0.extracting(first: count)) }) {
      case .bytes(let written):
        n = written
        x.bytesOut += UInt64(written)
      case .blocked: return false
      case .ended, .failed:
        fault(x, .clientGone)
        return true
      }
    } else {
      guard hasRoom(d, 1) else { return false }
      n = min(count, d.output.room)
      d.output.append(first: n, of: u.input)
      x.bytesOut += UInt64(n)
      if d.output.count >= Worker.gatherBytes {
        switch d.transport.take(d.output) {
        case .bytes, .blocked: break
        case .ended, .failed:
          fault(x, .clientGone)
          return true
        }
      }
    }
    x.responseConsumed(n)
    u.input.consume(n)
    return true
  }

  private func sendResponseTrailers(_ x: Exchange, _ d: Downstream, _ u: Upstream, _ count: Int) -> Bool {
    guard hasRoom(d, count * 2 + 8) else { return false }
    let outcome = u.input.withReadable {
      responseTrailers.parse($0.extracting(first: count), limits: trailerLimits(x.isSigned))
    }
    guard case .complete = outcome else {
      refuseResponse(x, .trailers)
      return true
    }
    if x.chunksResponse {
      let before = d.output.count
      u.input.withReadable { TrailerWriter.write($0.extracting(first: count), responseTrailers, into: d.output) }
      x.bytesOut += UInt64(d.output.count - before)
      x.responseTrailersSent = true
    }
    x.responseConsumed(count)
    u.input.consume(count)
    return true
  }

  private func hasRoom(_ d: Downstream, _ n: Int) -> Bool {
    if d.output.room >= n { return true }
    // A broken connection shows itself at the end of the turn, when flush is asked again.
    _ = flush(d)
    return d.output.room >= n
  }
}
