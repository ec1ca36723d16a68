// What libnghttp2 calls back into (HTTP2Session has the description): each callback finds its session and tells the handler.

import CNGHTTP2
import Wire

/// The callbacks, the same for every session.
// SAFETY: made once, never changed, and never freed.
@safe final class HTTP2Callbacks: @unchecked Sendable {
  static let shared = HTTP2Callbacks()
  let callbacks: OpaquePointer

  /// More than any head has that a configuration allows (1 MiB), as libnghttp2 counts it beforehand.
  private static let headBlockBytesMax = 4 << 20

  /// A body is asked for by `readBody`.
  // SAFETY: libnghttp2 keeps the source, which is empty.
  static var bodyProvider: nghttp2_data_provider {
    unsafe nghttp2_data_provider(source: nghttp2_data_source(), read_callback: readBody)
  }

  private init() {
    // SAFETY: a new set of callbacks, each a function without a context of its own.
    var made: OpaquePointer?
    unsafe nghttp2_session_callbacks_new(&made)
    guard let made = unsafe made else { fatalError("no memory for the callbacks of HTTP/2") }
    unsafe callbacks = made
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(made, headBegan)
    unsafe nghttp2_session_callbacks_set_on_header_callback(made, fieldCame)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(made, frameCame)
    unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(made, frameBegan)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, dataCame)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(made, streamClosed)
    unsafe nghttp2_session_callbacks_set_send_data_callback(made, sendData)
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(made, frameLeft)
    unsafe nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(made, priorityBytesCame)
    unsafe nghttp2_session_callbacks_set_unpack_extension_callback(made, priorityCame)
  }

  /// The options of a new session.
  // SAFETY: the options are new, copied by the session that is made with them, and freed here.
  func withOption<R>(_ body: (OpaquePointer?) -> R) -> R {
    var options: OpaquePointer?
    unsafe nghttp2_option_new(&options)
    defer { unsafe nghttp2_option_del(options) }
    unsafe nghttp2_option_set_no_auto_window_update(options, 1)
    unsafe nghttp2_option_set_no_http_messaging(options, 1)
    // What is sent has its limits where it is written. A head beyond this one would be dropped in silence.
    unsafe nghttp2_option_set_max_send_header_block_length(options, HTTP2Callbacks.headBlockBytesMax)
    // Who resets too many streams is judged by HTTP2Budget, which knows whose they are. libnghttp2 would end the connection of an edge for
    // what all of its clients do together.
    unsafe nghttp2_option_set_stream_reset_rate_limit(options, .max, .max)
    // Read here, not by libnghttp2: with a PRIORITY_UPDATE for a stream that is still to begin, version 1.52 keeps that stream in its list
    // of idle ones when it has begun, counts it there for good, and writes to its memory when it is gone.
    unsafe nghttp2_option_set_user_recv_extension_type(options, HTTP2Session.Frame.Kind.priorityUpdate.rawValue)
    return unsafe body(options)
  }
}

// All that follow are called by libnghttp2, inside `receive` and `send`.

private let callbackFailed = Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)

private func isHead(_ category: Int32) -> Bool {
  category == Int32(NGHTTP2_HCAT_REQUEST.rawValue) || category == Int32(NGHTTP2_HCAT_RESPONSE.rawValue)
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let headBegan: nghttp2_on_begin_headers_callback = { _, frame, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  guard unsafe cs_frame_hd(frame).pointee.type == UInt8(NGHTTP2_HEADERS.rawValue) else { return 0 }
  let isTrailer = unsafe !isHead(cs_headers_category(frame))
  owner.headBegan(stream: unsafe cs_frame_hd(frame).pointee.stream_id, isTrailer: isTrailer)
  return 0
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let fieldCame: nghttp2_on_header_callback = { _, frame, name, nameCount, value, valueCount, _, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  let goesOn = unsafe owner.field(
    stream: cs_frame_hd(frame).pointee.stream_id,
    name: Span(_unsafeStart: name!, count: nameCount), value: Span(_unsafeStart: value!, count: valueCount))
  return goesOn ? 0 : callbackFailed
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let frameBegan: nghttp2_on_begin_frame_callback = { _, header, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  let header = unsafe header!.pointee
  let frame = HTTP2Session.Frame(
    kind: HTTP2Session.Frame.Kind(rawValue: header.type) ?? .other, bytes: header.length,
    endsStream: header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0)
  return owner.noteFrame(frame) ? 0 : callbackFailed
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let frameCame: nghttp2_on_frame_recv_callback = { _, frame, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  let header = unsafe cs_frame_hd(frame).pointee
  let ends = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
  switch HTTP2Session.Frame.Kind(rawValue: header.type) {
  case .headers:
    let isTrailer = unsafe !isHead(cs_headers_category(frame))
    owner.headEnded(stream: header.stream_id, isTrailer: isTrailer, endsStream: ends)
    if ends { owner.inputEnded(stream: header.stream_id) }
  case .data: if ends { owner.inputEnded(stream: header.stream_id) }
  case .goaway: owner.goingAway(lastStream: unsafe cs_goaway_last_stream(frame))
  default: break
  }
  return 0
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let priorityBytesCame: nghttp2_on_extension_chunk_recv_callback = { _, _, bytes, count, argument in
  unsafe HTTP2Session.of(argument).addPriorityUpdate(Span(_unsafeStart: bytes!, count: count))
  return 0
}

// SAFETY: the argument is the session's object; nothing is handed over by the payload.
private let priorityCame: nghttp2_unpack_extension_callback = { _, payload, header, argument in
  unsafe payload!.pointee = nil
  return unsafe HTTP2Session.of(argument).endPriorityUpdate(on: header!.pointee.stream_id) ? 0 : callbackFailed
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let dataCame: nghttp2_on_data_chunk_recv_callback = { _, _, stream, bytes, count, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  if count > 0 { unsafe owner.data(stream: stream, Span(_unsafeStart: bytes!, count: count)) }
  return 0
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let streamClosed: nghttp2_on_stream_close_callback = { _, stream, code, argument in
  unsafe HTTP2Session.owner(of: argument).closed(stream: stream, code: code)
  return 0
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let readBody: nghttp2_data_source_read_callback = { _, stream, _, most, flags, _, argument in
  let owner = unsafe HTTP2Session.owner(of: argument)
  let copies = UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue)
  switch owner.sendable(stream: stream, most: most) {
  case .nothing: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
  case .bytes(let n):
    unsafe flags!.pointee |= copies
    return n
  case .last(let n):
    unsafe flags!.pointee |= copies | UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
    return n
  case .failed: return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
  case .lastBeforeTrailers(let n):
    unsafe flags!.pointee |=
      copies | UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) | UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue)
    return n
  }
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let sendData: nghttp2_send_data_callback = { _, frame, header, count, _, argument in
  let session = unsafe HTTP2Session.of(argument)
  guard let out = session.buffer, out.room >= count + 9 else { return callbackFailed }
  unsafe out.append(Span(_unsafeStart: header!, count: 9))
  session.owner.take(stream: unsafe cs_frame_hd(frame).pointee.stream_id, count: count, into: out)
  session.noteDataSent()
  return Int32(NGHTTP2_ERR_PAUSE.rawValue)
}

// SAFETY: the argument is the session's object; a frame, and the bytes beside it, are valid until this returns.
private let frameLeft: nghttp2_on_frame_send_callback = { _, frame, argument in
  let header = unsafe cs_frame_hd(frame).pointee
  guard header.type == HTTP2Session.Frame.Kind.headers.rawValue else { return 0 }
  unsafe HTTP2Session.owner(of: argument).headLeft(stream: header.stream_id)
  return 0
}
