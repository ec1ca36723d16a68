// One end of a simulated connection that speaks HTTP/2: libnghttp2 for frames, compression and windows, with its checks of messages
// on, for what the engine sends has to pass them. What comes is handed on in order, for the owner to compare with what was sent.
//
//   bytes ─► receive ─► events              bodies ─► fetch ─► frames ─► outgoing bytes
//
// Windows are given back by `giveBack` alone, so that an end can be slow, or take nothing more.

import CNGHTTP2
import TestSupport

final class HTTP2End {
  typealias Fields = [(name: String, value: String)]

  enum Event {
    /// A head, or trailers: the owner knows whether the head came before.
    case fields(Int32, Fields, ends: Bool)
    case data(Int32, [UInt8])
    /// The other end sends no more on that stream, behind its last byte.
    case ended(Int32)
    /// The stream is over, with a reset's code or 0.
    case closed(Int32, UInt32)
    /// A request that never left.
    case notSent(Int32)
    case goingAway(last: Int32, code: UInt32)
    /// What came is not HTTP/2, or is no message.
    case invalid(String)
  }

  /// The body of a message on its way out.
  final class Body {
    fileprivate var bytes = ByteQueue()
    fileprivate(set) var isEnded = false
    fileprivate var trailers: Fields = []
    fileprivate var isDeferred = false
    /// How many bytes of it are in frames.
    fileprivate(set) var sent = 0
    var count: Int { bytes.count }
  }

  enum Code {
    static let none: UInt32 = 0, protocolError: UInt32 = 1, internalError: UInt32 = 2, refused: UInt32 = 7,
      cancel: UInt32 = 8
  }

  /// What a side allows the other one, as it says at the beginning or later.
  enum Setting: Int32 { case tableBytes = 1, push, streams, window }

  let isServer: Bool
  private var session: OpaquePointer!
  private var random: Seeded
  private(set) var events: [Event] = []
  private var fields: Fields = []
  private var bodies: [Int32: Body] = [:]
  /// Bytes of DATA for which no window was given back, by streams, in order.
  private var owed: [(stream: Int32, count: Int)] = []
  /// Names and values that libnghttp2 reads where they lie.
  private var kept: [UnsafeMutablePointer<UInt8>] = []
  /// At most so many bytes of a body in a frame.
  var frameBytesMax = 16_384
  /// Frames get padding at times.
  var pads = false
  private(set) var isBroken = false
  /// Streams of which a frame of HEADERS was fetched.
  private var headsOut: Set<Int32> = []
  /// Streams whose last frame was fetched.
  private var endsOut: [Int32] = []

  init(isServer: Bool, random: Seeded, settings: [(Setting, Int)]) {
    self.isServer = isServer
    self.random = random
    var options: OpaquePointer?
    nghttp2_option_new(&options)
    nghttp2_option_set_no_auto_window_update(options, 1)
    nghttp2_option_set_max_send_header_block_length(options, 1 << 20)
    if isServer { nghttp2_option_set_builtin_recv_extension_type(options, UInt8(NGHTTP2_PRIORITY_UPDATE.rawValue)) }
    let argument = Unmanaged.passUnretained(self).toOpaque()
    if isServer {
      nghttp2_session_server_new2(&session, HTTP2End.callbacks, argument, options)
    } else {
      nghttp2_session_client_new2(&session, HTTP2End.callbacks, argument, options)
    }
    nghttp2_option_del(options)
    announce(settings)
  }

  deinit {
    nghttp2_session_del(session)
    for pointer in kept { pointer.deallocate() }
  }

  // MARK: Bytes

  /// Takes bytes that came. What they mean is in `takeEvents`.
  func receive(_ bytes: ArraySlice<UInt8>) {
    guard !isBroken else { return }
    let n = bytes.withUnsafeBufferPointer { nghttp2_session_mem_recv(session, $0.baseAddress, $0.count) }
    guard n < 0 else { return }
    isBroken = true
    events.append(.invalid(String(cString: nghttp2_strerror(Int32(n)))))
  }

  func takeEvents() -> [Event] {
    defer { events = [] }
    return events
  }

  /// Frames that can leave now, at most about so many bytes of them.
  func fetch(_ most: Int) -> [UInt8] {
    var out: [UInt8] = []
    while out.count < most {
      var data: UnsafePointer<UInt8>?
      let n = nghttp2_session_mem_send(session, &data)
      guard n > 0, let data else { break }
      out += UnsafeBufferPointer(start: data, count: n)
    }
    return out
  }

  /// The streams that are over in this direction with the frames that were fetched.
  func takeEndsOut() -> [Int32] {
    defer { endsOut = [] }
    return endsOut
  }

  func hasSentHead(_ stream: Int32) -> Bool { headsOut.contains(stream) }

  var isOver: Bool { nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0 }

  // MARK: Windows

  /// Gives back up to `most` bytes of what came, oldest first.
  func giveBack(_ most: Int) {
    var left = most
    while left > 0, let first = owed.first {
      let n = min(left, first.count)
      nghttp2_session_consume(session, first.stream, n)
      left -= n
      if n == first.count { owed.removeFirst() } else { owed[0].count -= n }
    }
  }

  func growConnectionWindow(to bytes: Int32) {
    nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, bytes)
  }

  func announce(_ settings: [(Setting, Int)]) {
    let entries = settings.map { nghttp2_settings_entry(settings_id: $0.0.rawValue, value: UInt32($0.1)) }
    nghttp2_submit_settings(session, 0, entries, entries.count)
  }

  // MARK: Messages

  /// Hands over a request; nil if no stream can be had. Without a body the stream ends with it.
  func request(_ fields: Fields, keepsCase: Bool = false, body: Body?) -> Int32? {
    let stream = withFields(fields, keepsCase) { list, count in
      guard body != nil else { return nghttp2_submit_request(session, nil, list, count, nil, nil) }
      var provider = HTTP2End.provider
      return nghttp2_submit_request(session, nil, list, count, &provider, nil)
    }
    guard stream > 0 else { return nil }
    bodies[stream] = body
    return stream
  }

  func respond(_ stream: Int32, _ fields: Fields, keepsCase: Bool = false, body: Body?) {
    bodies[stream] = body
    _ = withFields(fields, keepsCase) { list, count in
      guard body != nil else { return nghttp2_submit_response(session, stream, list, count, nil) }
      var provider = HTTP2End.provider
      return nghttp2_submit_response(session, stream, list, count, &provider)
    }
  }

  func inform(_ stream: Int32, _ fields: Fields) {
    _ = withFields(fields, false) { nghttp2_submit_headers(session, 0, stream, nil, $0, $1, nil) }
  }

  func append(_ bytes: some Sequence<UInt8>, to body: Body, of stream: Int32) {
    body.bytes.append(bytes)
    resume(stream, body)
  }

  func end(_ body: Body, of stream: Int32, trailers: Fields = []) {
    body.isEnded = true
    body.trailers = trailers
    resume(stream, body)
  }

  private func resume(_ stream: Int32, _ body: Body) {
    guard body.isDeferred else { return }
    body.isDeferred = false
    nghttp2_session_resume_data(session, stream)
  }

  func reset(_ stream: Int32, _ code: UInt32) { nghttp2_submit_rst_stream(session, 0, stream, code) }

  /// Ends the connection behind that stream of the other end.
  func goAway(last: Int32, _ code: UInt32 = Code.none) { nghttp2_submit_goaway(session, 0, last, code, nil, 0) }

  var lastStream: Int32 { nghttp2_session_get_last_proc_stream_id(session) }

  func ping() { nghttp2_submit_ping(session, 0, nil) }

  func update(priority: String, of stream: Int32) {
    var text = Array(priority.utf8)
    nghttp2_submit_priority_update(session, 0, stream, &text, text.count)
  }

  /// - Parameter keepsCase: names go out as they are; else libnghttp2 makes them lower case.
  private func withFields<R>(_ fields: Fields, _ keepsCase: Bool, _ body: (UnsafePointer<nghttp2_nv>, Int) -> R) -> R {
    let text = fields.flatMap { Array($0.name.utf8) + Array($0.value.utf8) }
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, text.count))
    bytes.initialize(from: text, count: text.count)
    var at = bytes
    let list = fields.map { field in
      let (nameCount, valueCount) = (field.name.utf8.count, field.value.utf8.count)
      defer { at += nameCount + valueCount }
      return nghttp2_nv(
        name: at, value: at + nameCount, namelen: nameCount, valuelen: valueCount,
        flags: UInt8(keepsCase ? NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue : NGHTTP2_NV_FLAG_NONE.rawValue))
    }
    defer { if keepsCase { kept.append(bytes) } else { bytes.deallocate() } }
    return list.withUnsafeBufferPointer { body($0.baseAddress!, $0.count) }
  }

  // MARK: What libnghttp2 calls

  nonisolated(unsafe) private static let callbacks: OpaquePointer = {
    var made: OpaquePointer?
    nghttp2_session_callbacks_new(&made)
    let callbacks = made!
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, _, argument in
      HTTP2End.of(argument).fields = []
      return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) {
      _, _, name, nameCount, value, valueCount, _, argument in
      HTTP2End.of(argument).fields.append((text(name, nameCount), text(value, valueCount)))
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, argument in
      HTTP2End.of(argument).take(frame!)
      return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, bytes, count, argument in
      let end = HTTP2End.of(argument)
      end.owed.append((stream, count))
      if count > 0 { end.events.append(.data(stream, Array(UnsafeBufferPointer(start: bytes, count: count)))) }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, argument in
      let end = HTTP2End.of(argument)
      end.bodies[stream] = nil
      end.events.append(.closed(stream, code))
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, argument in
      let header = cs_frame_hd(frame).pointee
      if header.type == NGHTTP2_HEADERS.rawValue { HTTP2End.of(argument).headsOut.insert(header.stream_id) }
      guard header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0, header.type <= NGHTTP2_HEADERS.rawValue else {
        return 0
      }
      HTTP2End.of(argument).endsOut.append(header.stream_id)
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { _, frame, _, argument in
      let header = cs_frame_hd(frame).pointee
      // Trailers do not leave where the stream was reset before.
      if header.type == UInt8(NGHTTP2_HEADERS.rawValue),
        cs_headers_category(frame) == Int32(NGHTTP2_HCAT_REQUEST.rawValue)
      {
        HTTP2End.of(argument).events.append(.notSent(header.stream_id))
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, frame, code, argument in
      // More streams than were allowed, before the other end could know: they are refused.
      if code == NGHTTP2_ERR_REFUSED_STREAM.rawValue { return 0 }
      let header = cs_frame_hd(frame).pointee
      HTTP2End.of(argument).events.append(
        .invalid(
          "a frame of type \(header.type) on stream \(header.stream_id): \(String(cString: nghttp2_strerror(code)))"))
      return 0
    }
    nghttp2_session_callbacks_set_select_padding_callback(callbacks) { _, frame, most, argument in
      let end = HTTP2End.of(argument)
      let length = cs_frame_hd(frame).pointee.length
      guard end.pads, most > length, end.random.oneIn(3) else { return length }
      return min(most, length + 1 + end.random.below(255))
    }
    return callbacks
  }()

  private static var provider: nghttp2_data_provider {
    nghttp2_data_provider(source: nghttp2_data_source()) { _, stream, out, most, flags, _, argument in
      HTTP2End.of(argument).read(stream, out!, most, flags!)
    }
  }

  private static func of(_ argument: UnsafeMutableRawPointer?) -> HTTP2End {
    Unmanaged<HTTP2End>.fromOpaque(argument!).takeUnretainedValue()
  }

  private static func text(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> String {
    String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  private func take(_ frame: UnsafePointer<nghttp2_frame>) {
    let header = cs_frame_hd(frame).pointee
    let ends = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue:
      events.append(.fields(header.stream_id, fields, ends: ends))
      if ends { events.append(.ended(header.stream_id)) }
    case NGHTTP2_DATA.rawValue: if ends { events.append(.ended(header.stream_id)) }
    case NGHTTP2_GOAWAY.rawValue:
      events.append(.goingAway(last: cs_goaway_last_stream(frame), code: frame.pointee.goaway.error_code))
    default: break
    }
  }

  private func read(
    _ stream: Int32, _ out: UnsafeMutablePointer<UInt8>, _ most: Int, _ flags: UnsafeMutablePointer<UInt32>
  ) -> Int {
    guard let body = bodies[stream] else {
      flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
      return 0
    }
    // Of a long body, not all in the smallest frames: through the smallest buffers that would take too long.
    let n = min(
      most, body.bytes.count, 1 + random.below(body.bytes.count > 2_000 ? max(frameBytesMax, 1_000) : frameBytesMax))
    if n == 0, !body.isEnded {
      body.isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    body.bytes.front(n).withUnsafeBufferPointer { if n > 0 { out.update(from: $0.baseAddress!, count: n) } }
    body.bytes.drop(n)
    body.sent += n
    // The end stands in the last frame with bytes, or in one of its own.
    guard body.isEnded, body.bytes.isEmpty, n == 0 || random.oneIn(2) else { return n }
    flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
    if !body.trailers.isEmpty {
      flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue)
      _ = withFields(body.trailers, false) { nghttp2_submit_trailer(session, stream, $0, $1) }
    }
    return n
  }
}
