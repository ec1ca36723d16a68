// One HTTP/2 connection's frames, header compression, streams and flow control, by libnghttp2 (RFC 9113, RFC 7541). Bytes go in by
// `receive` and come out by `send`; what they mean goes to the handler at once. What a message may say is judged there and not
// here: libnghttp2's own checks of messages are switched off, so that there is one place for them (`Wire`), for either protocol.
//
// Windows are given back by `consumed` alone, when bytes have left for the other side; so whoever sends is held back by whoever
// receives.
//
// Invariants: the handler outlives the session's calls; nothing is submitted for a stream that `closed` was said of. One thread.

import CNGHTTP2
import Wire

/// What a session tells its owner, during `receive` and `send`. A handler may submit, and must not call `receive` or `send`.
package protocol HTTP2Handler: AnyObject {
  /// A header block begins: a head, or trailers.
  func headBegan(stream: Int32, isTrailer: Bool)
  /// One field of it, in order. False: there has been so much that the connection is to end.
  func field(stream: Int32, name: Span<UInt8>, value: Span<UInt8>) -> Bool
  func headEnded(stream: Int32, isTrailer: Bool, endsStream: Bool)
  func data(stream: Int32, _ bytes: Span<UInt8>)
  /// The peer sends no more on this stream, behind the last of its data.
  func inputEnded(stream: Int32)
  /// The stream is over; `code`: of its RST_STREAM, or 0.
  func closed(stream: Int32, code: UInt32)
  /// A frame came, whatever it means: for budgets. False: the connection is to end.
  func noteFrame(_ frame: HTTP2Session.Frame) -> Bool
  /// How much of a stream's body can be sent now, at most `most` bytes.
  func sendable(stream: Int32, most: Int) -> HTTP2Session.BodyPart
  /// Appends `count` bytes of a stream's body to `out`, as was said by `sendable`.
  func take(stream: Int32, count: Int, into out: Buffer)
  /// A head, or trailers, that were submitted for this stream went out.
  func headLeft(stream: Int32)
  /// What the peer wants of a stream that may still be to begin, or be over, in the words of the Priority field (RFC 9218 section 7.1).
  /// False: the connection is to end, as it is for a frame that says this of no stream.
  func prioritized(stream: Int32, _ value: Span<UInt8>) -> Bool
  /// The peer ends the connection behind this stream.
  func goingAway(lastStream: Int32)
}

extension HTTP2Handler {
  /// For whoever waits for no head of its own.
  package func headLeft(stream: Int32) {}
  /// Servers do not say such a thing.
  package func prioritized(stream: Int32, _ value: Span<UInt8>) -> Bool { false }
}

@safe package final class HTTP2Session {
  /// libnghttp2 ends the connection of a client that has more streams than it was told, where RFC 9113 section 5.1.2 asks for the end of
  /// that stream. So libnghttp2 allows so many more, and the handler refuses them.
  private static let streamsBeyond = 1_000

  /// `send` needs as much room for whatever comes next: a frame's payload, and its header (RFC 9113 sections 4.1 and 4.2).
  package static let sendRoomBytes = 16_384 + 256

  // SAFETY: made in init and freed in deinit; libnghttp2 has `self` as its argument and calls back inside calls of this object only,
  // on its thread. Methods below that hand it the session say no more.
  private let session: OpaquePointer
  // SAFETY: the handler owns this object, so it is there in every call; it is set before the first one.
  unowned(unsafe) private var handler: (any HTTP2Handler)!
  private let memory: HTTP2Memory
  private let role: Role
  // SAFETY: set during `send` only, to a buffer that its caller has.
  unowned(unsafe) private var out: Buffer?
  /// Of streams that a client may have, before it has been told.
  private var untoldStreams: Int?
  /// A frame of DATA went into `out`.
  private var hasSentData = false
  /// Of the PRIORITY_UPDATE that comes: its stream, and the first bytes of its value. No priority that is understood is longer.
  private var update = InlineArray<36, UInt8>(repeating: 0)
  private var updateBytes = 0

  /// Nil if there is no memory.
  package init?(_ role: Role, _ settings: Settings, memory: HTTP2Memory) {
    self.role = role
    self.memory = memory
    // SAFETY: libnghttp2 copies callbacks and options. Its argument is set right behind, before any callback can come.
    let made: OpaquePointer? = unsafe HTTP2Callbacks.shared.withOption { options in
      unsafe memory.withFunctions { functions in
        var session: OpaquePointer?
        switch role {
        case .server:
          _ = unsafe nghttp2_session_server_new3(&session, HTTP2Callbacks.shared.callbacks, nil, options, functions)
        case .client:
          _ = unsafe nghttp2_session_client_new3(&session, HTTP2Callbacks.shared.callbacks, nil, options, functions)
        }
        return unsafe session
      }
    }
    guard let made = unsafe made else { return nil }
    unsafe session = made
    unsafe nghttp2_session_set_user_data(made, Unmanaged.passUnretained(self).toOpaque())
    guard submit(settings) else { return nil }
  }

  /// Says who is told; whoever made this, before anything is received or sent.
  // SAFETY: as at `handler`.
  package func tell(_ handler: any HTTP2Handler) { unsafe self.handler = handler }

  // SAFETY: nobody has a reference to self any more; libnghttp2 frees what it took from `memory`, which self still has.
  deinit { unsafe nghttp2_session_del(session) }

  private func submit(_ settings: Settings) -> Bool {
    func entry(_ id: Int, _ value: Int) -> nghttp2_settings_entry {
      nghttp2_settings_entry(settings_id: Int32(id), value: UInt32(clamping: value))
    }
    // RFC 9113 section 6.5.2; RFC 8441 section 3; RFC 9218 section 2.1.
    let entries =
      role == .server
      ? [
        entry(3, settings.streamsMax + HTTP2Session.streamsBeyond), entry(4, settings.streamWindow),
        entry(6, settings.headBytesMax), entry(8, 1),
        entry(9, 1),
      ] : [entry(2, 0), entry(4, settings.streamWindow), entry(6, settings.headBytesMax)]
    if role == .server { untoldStreams = settings.streamsMax }
    // SAFETY: libnghttp2 copies the entries.
    guard unsafe nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count) == 0 else {
      return false
    }
    return unsafe nghttp2_session_set_local_window_size(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: settings.connectionWindow)) == 0
  }

  // MARK: Bytes

  /// Takes bytes that came. The handler is told what they mean before this returns.
  package func receive(_ bytes: Span<UInt8>) -> Received {
    // SAFETY: libnghttp2 reads the span's bytes during the call.
    let n = unsafe bytes.withUnsafeBufferPointer { unsafe nghttp2_session_mem_recv(session, $0.baseAddress, $0.count) }
    switch n {
    case bytes.count: return .all
    case Int(NGHTTP2_ERR_FLOODED.rawValue), HTTP2Session.tooManyContinuations: return .flooded
    default: return .failed
    }
  }

  /// NGHTTP2_ERR_TOO_MANY_CONTINUATIONS, which not every version of the library has by name.
  private static let tooManyContinuations = -905

  package enum Sent: Equatable {
    /// Nothing waits that could be sent now.
    case all
    /// There is more, for which `out` has no room.
    case full
    case failed
  }

  /// Appends to `out` what is to be sent, as far as there is room and the peer's windows allow. One frame for each call of the
  /// library, so that there is room for any that it begins: one that waits half done could belong to a stream that is gone when it
  /// goes on, and one that is dropped would take its neighbours with it.
  package func send(into out: Buffer) -> Sent {
    unsafe self.out = out
    defer { unsafe self.out = nil }
    while true {
      guard out.room >= HTTP2Session.sendRoomBytes else { return wantsToSend ? .full : .all }
      // SAFETY: the bytes are libnghttp2's until the next call, and are copied before.
      var data: UnsafePointer<UInt8>?
      hasSentData = false
      let n = unsafe nghttp2_session_mem_send(session, &data)
      guard n >= 0 else { return .failed }
      guard n > 0, let data = unsafe data else {
        if hasSentData { continue }
        return .all
      }
      let frame = unsafe Span(_unsafeStart: data, count: n)
      if let streams = untoldStreams {
        untoldStreams = nil
        HTTP2Session.append(settings: frame, streams: streams, to: out)
      } else {
        out.append(frame)
      }
    }
  }

  /// Appends the first frame of a server, its SETTINGS (RFC 9113 section 6.5.1), whose first entry is how many streams a client may have,
  /// with that number in it.
  private static func append(settings frame: Span<UInt8>, streams: Int, to out: Buffer) {
    let start = 9
    guard frame.count >= start + 6, frame[3] == 4, frame[start] == 0, frame[start + 1] == 3 else {
      preconditionFailure("the first frame of a server is its SETTINGS")
    }
    out.append(frame.extracting(first: start + 2))
    for shift in [24, 16, 8, 0] { out.append(UInt8(truncatingIfNeeded: streams >> shift)) }
    out.append(frame.extracting(droppingFirst: start + 6))
  }

  /// Called back by the library behind a frame of DATA, with which its call ends.
  func noteDataSent() { hasSentData = true }

  /// Bytes that come still mean something.
  // SAFETY: the session is this object's own.
  package var takesMore: Bool { unsafe nghttp2_session_want_read(session) != 0 }
  // SAFETY: the session is this object's own.
  package var wantsToSend: Bool { unsafe nghttp2_session_want_write(session) != 0 }
  /// Frames that wait to be sent, bodies and what a stream has for its own apart.
  // SAFETY: the session is this object's own.
  package var waitingFrames: Int { unsafe nghttp2_session_get_outbound_queue_size(session) }
  /// Neither side has anything more to say.
  // SAFETY: the session is this object's own.
  package var isOver: Bool { unsafe nghttp2_session_want_read(session) == 0 && !wantsToSend }

  // MARK: Streams

  /// What the owner keeps of a stream, a small number; 0: nothing.
  // SAFETY: the session is this object's own; the mark is a number in the place of a pointer, and is never followed.
  package func setMark(_ mark: Int, stream: Int32) {
    unsafe nghttp2_session_set_stream_user_data(session, stream, UnsafeMutableRawPointer(bitPattern: mark))
  }

  // SAFETY: the session is this object's own; the mark is a number in the place of a pointer, and is never followed.
  package func mark(stream: Int32) -> Int {
    unsafe Int(bitPattern: nghttp2_session_get_stream_user_data(session, stream))
  }

  /// The head of a response, `:status` first. `hasBody`: it goes on by `sendable`; else the stream ends with it. False: it cannot
  /// be sent.
  package func respond(stream: Int32, _ lines: HTTP2Lines, _ text: Span<UInt8>, hasBody: Bool) -> Bool {
    // SAFETY: the fields are copied, as is the provider; `readBody` asks the handler.
    unsafe lines.withFields(text) { fields, count in
      guard hasBody else { return unsafe nghttp2_submit_response(session, stream, fields, count, nil) == 0 }
      var provider = unsafe HTTP2Callbacks.bodyProvider
      return unsafe nghttp2_submit_response(session, stream, fields, count, &provider) == 0
    } ?? false
  }

  /// An interim response's head.
  // SAFETY: the session is this object's own, and libnghttp2 copies the fields and the provider.
  package func inform(stream: Int32, _ lines: HTTP2Lines, _ text: Span<UInt8>) -> Bool {
    unsafe lines.withFields(text) { fields, count in
      unsafe nghttp2_submit_headers(
        session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, fields, count, nil) == 0
    } ?? false
  }

  /// What a server takes of a head or of trailers. What a client says of itself does not make a response impossible.
  // SAFETY: the session is this object's own.
  private var peerMax: Int {
    role == .server
      ? HTTP2Lines.listBytesMax
      : unsafe Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE))
  }

  /// A request's head, its pseudo-fields first. Nil: no stream can be had, or it cannot be sent; `lines` knows whether it is too large.
  // SAFETY: the session is this object's own, and libnghttp2 copies the fields and the provider.
  package func request(_ lines: HTTP2Lines, _ text: Span<UInt8>, hasBody: Bool) -> Int32? {
    let stream: Int32? = unsafe lines.withFields(text, peerMax: peerMax) { fields, count in
      guard hasBody else { return unsafe nghttp2_submit_request(session, nil, fields, count, nil, nil) }
      var provider = unsafe HTTP2Callbacks.bodyProvider
      return unsafe nghttp2_submit_request(session, nil, fields, count, &provider, nil)
    }
    guard let stream, stream > 0 else { return nil }
    return stream
  }

  /// Whether the peer takes these trailers, as far as it has said how large they may be.
  // SAFETY: the fields are not looked at.
  package func mayCarry(_ lines: HTTP2Lines, _ text: Span<UInt8>) -> Bool {
    unsafe lines.withFields(text, peerMax: peerMax) { _, _ in true } ?? false
  }

  /// Trailers behind a body; `sendable` has said, or says at once, that they follow.
  // SAFETY: the session is this object's own, and libnghttp2 copies the fields and the provider.
  package func submitTrailers(stream: Int32, _ lines: HTTP2Lines, _ text: Span<UInt8>) -> Bool {
    unsafe lines.withFields(text, peerMax: peerMax) { fields, count in
      unsafe nghttp2_submit_trailer(session, stream, fields, count) == 0
    } ?? false
  }

  /// There is more of a stream's body.
  // SAFETY: the session is this object's own.
  package func resume(stream: Int32) { _ = unsafe nghttp2_session_resume_data(session, stream) }

  /// Its peer has room for more of a stream's body. The connection may have none.
  // SAFETY: the session is this object's own.
  package func hasWindow(stream: Int32) -> Bool {
    unsafe nghttp2_session_get_stream_remote_window_size(session, stream) > 0
  }

  /// `n` bytes of a stream's data have left: the peer may send as many more.
  // SAFETY: the session is this object's own.
  package func consumed(stream: Int32, _ n: Int) { _ = unsafe nghttp2_session_consume(session, stream, n) }

  /// The same, of a stream that is over.
  // SAFETY: the session is this object's own.
  package func consumedConnection(_ n: Int) { _ = unsafe nghttp2_session_consume_connection(session, n) }

  // SAFETY: the session is this object's own.
  package func reset(stream: Int32, code: UInt32) {
    _ = unsafe nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code)
  }

  /// How urgent a stream is (RFC 9218 section 4): 0, first, to 7; and whether responses of one urgency take turns.
  // SAFETY: the session is this object's own; libnghttp2 reads the priority during the call.
  package func setPriority(stream: Int32, urgency: Int, isIncremental: Bool) {
    var priority = nghttp2_extpri(urgency: UInt32(urgency), inc: isIncremental ? 1 : 0)
    _ = unsafe nghttp2_session_change_extpri_stream_priority(session, stream, &priority, 0)
  }

  /// The stream has begun, or one that was begun behind it.
  // SAFETY: the session is this object's own.
  package func hasBegun(stream: Int32) -> Bool { unsafe stream <= nghttp2_session_get_last_proc_stream_id(session) }

  func addPriorityUpdate(_ bytes: Span<UInt8>) {
    for i in bytes.indices where updateBytes + i < update.count { update[updateBytes + i] = bytes[i] }
    updateBytes += bytes.count
  }

  /// False: the connection is to end (RFC 9218 section 7.1).
  func endPriorityUpdate(on stream: Int32) -> Bool {
    defer { updateBytes = 0 }
    guard stream == 0, updateBytes >= 4 else { return false }
    let word = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(update[$1]) }
    let prioritized = Int32(word & 0x7fff_ffff)
    // Nothing is pushed: streams of even numbers do not exist.
    guard prioritized % 2 == 1 else { return false }
    guard updateBytes <= update.count else { return true }
    return owner.prioritized(stream: prioritized, update.span.extracting(4..<updateBytes))
  }

  /// How many streams the peer takes at a time.
  // SAFETY: the session is this object's own.
  package var peerStreamsMax: Int {
    unsafe Int(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
  }

  // MARK: The end

  /// Tells the peer to begin no more streams, while those under way on the wire are still taken (RFC 9113 section 6.8).
  // SAFETY: the session is this object's own.
  package func announceEnd() { _ = unsafe nghttp2_submit_shutdown_notice(session) }

  /// Takes no further stream, and returns the last one that was taken, which is what the peer is told. libnghttp2 begins those that come
  /// behind it until the frame has left: the caller is to refuse them.
  // SAFETY: the session is this object's own.
  package func takeNoMore(code: UInt32 = Code.none) -> Int32 {
    let last = unsafe nghttp2_session_get_last_proc_stream_id(session)
    _ = unsafe nghttp2_submit_goaway(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code, nil, 0)
    return last
  }

  /// Ends the connection with this code once it was sent.
  // SAFETY: the session is this object's own.
  package func terminate(code: UInt32) { _ = unsafe nghttp2_session_terminate_session(session, code) }

  // MARK: What libnghttp2 calls

  // SAFETY: libnghttp2's argument is the session object, which is alive in its own calls.
  static func of(_ argument: UnsafeMutableRawPointer?) -> HTTP2Session {
    unsafe Unmanaged<HTTP2Session>.fromOpaque(argument!).takeUnretainedValue()
  }
  // SAFETY: as at `of` and at `handler`; only the owner is retained.
  static func owner(of argument: UnsafeMutableRawPointer?) -> any HTTP2Handler {
    unsafe Unmanaged<HTTP2Session>.fromOpaque(argument!)._withUnsafeGuaranteedRef { unsafe $0.handler }
  }
  // SAFETY: as at `handler`.
  var owner: any HTTP2Handler { unsafe handler }
  // SAFETY: as at `out`.
  var buffer: Buffer? { unsafe out }
}
