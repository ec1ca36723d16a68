// The client's leg of an exchange, as a stream of HTTP/2 (RFC 9113 section 8.1): the request's body lies in `input` as its DATA came,
// what is written goes to `output` and from there into frames, and a head goes to the session at once. The functions of HTTP1Server
// call these where the connection is a stream.

import Platform
import Policy
import Wire

/// What a client's stream has that a connection has not. Made once for a slot of the table of streams, and used again and again.
final class StreamState: StreamFrames {
  /// Nil while no stream has the slot.
  private(set) var server: HTTP2Server!
  /// What the exchange's beginning came to, before its first step.
  var first: Step?
  /// The response's head is more than HTTP/2 can carry.
  var isHeadTooLarge = false
  /// What was wrong behind the head.
  var fault: Refusal?
  /// Its exchange has been told.
  var isFaultTold = false
  /// Its head was not understood, so nothing is known of a body.
  var isMalformed = false
  /// With which code it is reset when its answer is out; 0: it is not.
  var resetCode: UInt32 = 0
  /// What its head takes of what the connection's heads may.
  var headBytes = 0
  /// Content-Length of the request.
  var declared: UInt64?
  /// Bytes of DATA that came.
  var received: UInt64 = 0
  /// Of those, what was read behind the answer, for nothing.
  var discardedBytes: UInt64 = 0
  /// That was as much as may be, or took as long.
  var isRestTooMuch = false
  /// At the end of `input`.
  var trailerBytes = 0
  /// The same of what is held of the body for another try.
  var heldTrailerBytes = 0
  /// The response has a body, so its end goes out behind it.
  var hasBody = false
  /// Bytes of the response's body that went into frames.
  var sentBytes: UInt32 = 0
  /// Whose it is, where a balancer says so.
  var client: IPAddress?
  /// Its answers are gRPC's.
  var isGRPC = false
  /// An extended CONNECT for a WebSocket (RFC 8441).
  var wantsWebSocket = false
  /// What came for its tunnel, where it wants one.
  let arriving: Buffer
  /// Of such a request, what the server has to answer to show that it speaks WebSocket; empty before it was asked.
  var webSocketAccept: [UInt8] = []

  override init(pool: BufferPool, small: BufferPool) {
    arriving = Buffer(pool: pool, small: small)
    super.init(pool: pool, small: small)
  }

  func begin(_ id: Int32, _ server: HTTP2Server, position: Int) {
    self.id = id
    self.server = server
    self.position = position
  }

  /// Forgets the stream that is over.
  func clear() {
    clearFrames()
    server = nil
    first = nil
    isHeadTooLarge = false
    fault = nil
    isFaultTold = false
    isMalformed = false
    resetCode = 0
    headBytes = 0
    declared = nil
    received = 0
    discardedBytes = 0
    isRestTooMuch = false
    trailerBytes = 0
    heldTrailerBytes = 0
    hasBody = false
    sentBytes = 0
    isGRPC = false
    client = nil
    if wantsWebSocket {
      wantsWebSocket = false
      arriving.reset()
      webSocketAccept = []
    }
  }
}

extension Downstream {
  var isStream: Bool { stream != nil }

  /// The connection that it is a stream of, or itself.
  var carrier: Downstream { stream?.server.connection ?? self }

  // MARK: Reading

  /// How the body of a request ends, and that it goes out in chunks where nobody says how long it is.
  func requestFraming(_ head: RequestHead) -> BodyFraming {
    guard let stream else { return head.framing }
    if stream.isMalformed || stream.resetCode != 0 || stream.wantsWebSocket { return .none }
    if stream.declared != nil { return head.framing }
    return inputEnded ? .none : .untilClose
  }

  /// The next piece of the request's body: first what is held of it, on another try, then what came.
  func nextStreamPiece(of x: Exchange, _ stream: StreamState) -> Piece {
    if let fault = stream.fault { return .fault(.request(fault)) }
    if stream.isReset { return .fault(.clientGone) }
    let trailerBytes = x.isResending ? stream.heldTrailerBytes : stream.trailerBytes
    var decoder = x.request.decoder
    let step = x.withBody { decoder.step($0.extracting(droppingLast: trailerBytes)) }
    x.request.decoder = decoder
    switch step {
    case .refused(let refusal): return .fault(.request(refusal))
    case .data(_, let count): return .data(count)
    case .trailers: preconditionFailure("only chunks have trailers among them")
    case .end: return .end
    case .incomplete:
      guard inputEnded else { return .blocked }
      return trailerBytes > 0 ? .trailers(trailerBytes) : .end
    }
  }

  /// `n` bytes of the body were used: the client may send as many more.
  func noteUsed(_ n: Int, _ stream: StreamState) {
    var n = n
    if stream.trailerBytes > input.count {
      // Trailers are not counted in windows.
      n -= min(n, stream.trailerBytes - input.count)
      if exchange?.machine.replayable == true { stream.heldTrailerBytes = stream.trailerBytes }
      stream.trailerBytes = 0
    }
    if stream.isClosed {
      stream.server.session.consumedConnection(n)
    } else {
      stream.server.session.consumed(stream: stream.id, n)
    }
    stream.server.worker.flushLater(stream.server.connection)
  }

  // MARK: Writing

  /// Hands a head to the session, as the lines that `write` appends. How many bytes they have.
  func writeStreamHead(
    _ stream: StreamState, isInterim: Bool, hasBody: Bool, _ write: (Buffer) -> Void
  ) -> Int {
    let text = headLines(of: stream)
    write(text)
    return submitHead(text, of: stream, isInterim: isInterim, hasBody: hasBody)
  }

  /// Where the lines of a head go, before it is submitted: empty, the worker's, and used by nobody else meanwhile.
  func headLines(of stream: StreamState) -> Buffer {
    let text = stream.server.worker.http2Text
    text.removeAll()
    return text
  }

  /// Hands the head that was written to `text` to the session. How many bytes it has.
  func submitHead(_ text: Buffer, of stream: StreamState, isInterim: Bool, hasBody: Bool) -> Int {
    let (session, lines) = (stream.server.session, stream.server.worker.http2Lines)
    let hasBody = hasBody || stream.resetCode != 0
    guard !stream.isClosed else { return text.count }
    let isTaken = text.withReadable {
      isInterim
        ? session.inform(stream: stream.id, lines, $0)
        : session.respond(stream: stream.id, lines, $0, hasBody: hasBody)
    }
    if isTaken {
      stream.headsWaiting += 1
      guard !isInterim else { return text.count }
      stream.hasBody = hasBody
      if !hasBody {
        stream.outputEnded = true
        stream.isEndOut = true
      }
    } else if lines.isTooLarge {
      // An interim response is not needed.
      stream.isHeadTooLarge = !isInterim
    } else {
      // Without memory, or with more fields than anybody has: the stream ends.
      stream.isReset = true
    }
    return text.count
  }

  /// Writes payload from the front of `source`, as far as there is room.
  func writeStreamBody(_ count: Int, from source: Buffer, for x: Exchange, _ stream: StreamState) -> Written {
    if stream.isReset { return .fault(.clientGone) }
    guard makeRoom(1) else { return .blocked }
    let n = min(count, output.room)
    output.append(first: n, of: source)
    x.bytesOut += UInt64(n)
    stream.server.session.resume(stream: stream.id)
    return .took(n)
  }

  func endStreamOutput(_ stream: StreamState) {
    guard !stream.outputEnded else { return }
    stream.outputEnded = true
    stream.server.session.resume(stream: stream.id)
  }

  /// Fetches what was written into frames. False when the client takes no more.
  func flushStream(_ stream: StreamState) -> Bool {
    if stream.isReset { return false }
    if isFlushed { return true }
    stream.server.pull(self)
    return !stream.isReset
  }

  // MARK: Its end

  /// Both messages are over: the stream ends, and whatever else the client sends on it is not read.
  func endStream(_ stream: StreamState) { stream.server.endStream(self, code: stream.resetCode) }

  /// Takes over what the connection has shown of its client.
  func begin(on d: Downstream, _ id: Int32, _ server: HTTP2Server, position: Int) {
    let state = streamState ?? StreamState(pool: input.pool, small: server.worker.smallPool)
    streamState = state
    state.begin(id, server, position: position)
    stream = state
    listener = d.listener
    socket = d.socket
    peer = d.peer
    peerPort = d.peerPort
    local = d.local
    localPort = d.localPort
    rule = d.rule
    check = d.check
    connection = d.connection
    announcement = d.announcement
    client = d.client
    clientRefusal = d.clientRefusal
    shareUncommon(of: d)
    isTLS = d.isTLS
    scheme = d.scheme
    isTLS13 = d.isTLS13
    acceptedMilliseconds = d.acceptedMilliseconds
    // It counts its request itself.
    requestCount = d.requestCount - 1
  }
}
