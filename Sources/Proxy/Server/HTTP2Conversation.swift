// Requests over a connection of HTTP/2, one after the other, for whoever has only a few: a health check, or a load that asks a
// validator. What comes back is written as the text that HTTP/1 would have, so that one reader judges both.
//
//   ask ─► frames ─► `output` of whoever asks ─► socket
//   socket ─► HTTP2Session ─► heads as text, bodies ─► `input` of whoever asks
//
// Invariants: one answer is read at a time, that of the last request; what has come of it and was not moved lies in `arriving`,
// which has room for a head and the stream's window. One thread.

import Platform
import Policy
import Wire

/// What conversations of one thread share.
final class HTTP2Shared {
  let memory = HTTP2Memory()
  /// A request has some ten fields.
  let lines = HTTP2Lines(fieldsMax: 64)
}

final class HTTP2Conversation: HTTP2Handler {
  private let session: HTTP2Session
  private let shared: HTTP2Shared
  private let text: HTTP2ResponseText
  private let frames: Buffer
  private let arriving: Buffer
  private var stream: Int32 = 0
  private var body: [UInt8] = []
  private var hasFinalHead = false
  private var inputEnded = false
  /// Bytes of DATA, the last ones in `arriving`, for which the window was not given back.
  private var unconsumed = 0
  private var isReset = false
  private var isBad = false
  private var framesLeft = HTTP2Conversation.framesMax
  /// The lines of the answer's trailers.
  private(set) var trailers: [UInt8] = []
  /// The server takes no further request on this connection.
  private(set) var isLeaving = false
  private var hasReceived = false
  private var hasSpoken = false
  /// The other side has answered, and not in HTTP/2.
  var speaksOtherwise: Bool { hasReceived && !hasSpoken }

  private static let streamWindow = 8 * 1024
  private static let connectionWindow = 65_535
  /// A head of 16 KiB, the window, and as much again: a window is given back as the head in front of its bytes goes.
  private static let bufferBytes = 32 * 1024
  /// Frames of one connection, whatever they are.
  private static let framesMax = 4_096

  /// Nil without memory.
  init?(_ shared: HTTP2Shared) {
    self.shared = shared
    text = HTTP2ResponseText(Buffer(capacity: HTTP2Conversation.bufferBytes))
    frames = Buffer(capacity: HTTP2Conversation.bufferBytes)
    arriving = Buffer(capacity: HTTP2Conversation.bufferBytes)
    let settings = HTTP2Session.Settings(
      streamsMax: 0, streamWindow: HTTP2Conversation.streamWindow, connectionWindow: HTTP2Conversation.connectionWindow,
      headBytesMax: HTTP2ResponseText.listBytesMax)
    guard let session = HTTP2Session(.client, settings, memory: shared.memory) else { return nil }
    self.session = session
    session.tell(self)
  }

  // MARK: Asking

  /// Begins a request: `lines` are its head, `:method` first. What is left of the answer before it is not read. False when no
  /// request can be made.
  func ask(_ lines: Span<UInt8>, body: [UInt8]) -> Bool {
    session.consumed(stream: stream, unconsumed)
    unconsumed = 0
    arriving.removeAll()
    trailers = []
    (hasFinalHead, inputEnded, isReset, isBad) = (false, false, false, false)
    self.body = body
    guard !isLeaving, let id = session.request(shared.lines, lines, hasBody: !body.isEmpty) else { return false }
    stream = id
    return true
  }

  /// Appends what is to be sent to `output`, as far as there is room. False when nothing can be sent any more.
  func send(into output: Buffer) -> Bool { session.send(into: output) != .failed }

  // MARK: What comes back

  /// Takes bytes that came. False where they are not HTTP/2, or the connection is over.
  func take(_ bytes: Span<UInt8>) -> Bool {
    hasReceived = true
    return session.receive(bytes) == .all && (session.takesMore || isLeaving)
  }

  /// Moves what has come of the answer behind what `input` holds, as far as there is room. `.ended`: that was all of it; `.failed`: the
  /// stream was reset, or is no answer.
  func move(into input: Buffer) -> IOResult {
    let n = min(arriving.count, input.room)
    if n > 0 {
      input.append(first: n, of: arriving)
      arriving.consume(n)
      let used = min(n, unconsumed)
      session.consumed(stream: stream, used)
      unconsumed -= used
      return .bytes(n)
    }
    if isBad || isReset { return .failed }
    return inputEnded ? .ended : .blocked
  }

  /// Reads from a connection until there is something of the answer in `input`, or nothing more comes now. What is to be sent goes
  /// to `output`.
  func read(from transport: Transport, into input: Buffer, _ output: Buffer) -> IOResult {
    while true {
      let moved = move(into: input)
      guard moved == .blocked else { return moved }
      switch transport.read(into: frames) {
      case .bytes:
        let isTaken = frames.withReadable { take($0) }
        frames.removeAll()
        // libnghttp2 ends a connection by itself for what is no HTTP/2, once it has sent why.
        let isGoingOn = send(into: output) && session.takesMore
        // What a connection says before it ends may be the whole answer.
        if !isTaken || !isGoingOn, arriving.isEmpty, !inputEnded { return .failed }
      case .blocked: return .blocked
      case .ended, .failed: return .failed
      }
    }
  }

  // MARK: What the session says

  func noteFrame(_ frame: HTTP2Session.Frame) -> Bool {
    hasSpoken = true
    framesLeft -= 1
    return framesLeft > 0
  }

  func headBegan(stream: Int32, isTrailer: Bool) { text.begin() }

  func field(stream: Int32, name: Span<UInt8>, value: Span<UInt8>) -> Bool { text.add(name: name, value: value) }

  func headEnded(stream: Int32, isTrailer: Bool, endsStream: Bool) {
    defer { text.clear() }
    guard stream == self.stream else { return }
    guard !hasFinalHead else {
      // RFC 9113 section 8.1: trailers end the message.
      let lines = Buffer(capacity: HTTP2Conversation.bufferBytes)
      isBad = !endsStream || !text.writeTrailers(into: lines)
      trailers = lines.copyBytes()
      return
    }
    guard let status = text.write(into: arriving) else {
      isBad = true
      return
    }
    hasFinalHead = status >= 200
    if !hasFinalHead, endsStream { isBad = true }
  }

  func data(stream: Int32, _ bytes: Span<UInt8>) {
    guard stream == self.stream, hasFinalHead else {
      session.consumed(stream: stream, bytes.count)
      return
    }
    arriving.append(bytes)
    unconsumed += bytes.count
    if arriving.overflowed { isBad = true }
  }

  func inputEnded(stream: Int32) { if stream == self.stream { inputEnded = true } }

  func closed(stream: Int32, code: UInt32) {
    guard stream == self.stream else { return }
    if !inputEnded { isReset = true }
  }

  func goingAway(lastStream: Int32) { isLeaving = true }

  func sendable(stream: Int32, most: Int) -> HTTP2Session.BodyPart {
    let n = min(body.count, most)
    return n == body.count ? .last(n) : .bytes(n)
  }

  func take(stream: Int32, count: Int, into out: Buffer) {
    out.append(body.span.extracting(first: count))
    body.removeFirst(count)
  }
}
