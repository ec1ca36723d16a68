// What a stream of HTTP/2 has that a connection has not, whichever side it is on: its number, what came and went of its frames, and the
// end of what is written to it. StreamState adds what a client's stream has, ServerStream what a server's has.

import Platform

class StreamFrames {
  /// 0 before its head was handed to the session.
  final var id: Int32 = 0
  /// In the connection's list.
  final var position = 0
  /// Something came for it that its exchange has not been told.
  final var isTouched = false
  /// The peer has reset it, or the connection is lost.
  final var isReset = false
  /// libnghttp2 knows it no more.
  final var isClosed = false
  /// The peer sends no more.
  final var inputEnded = false
  /// Nothing more is written to `output`.
  final var outputEnded = false
  /// The end of what is written went into a frame.
  final var isEndOut = false
  /// Heads and trailers that were submitted and are not in frames yet.
  final var headsWaiting = 0
  /// Where the last frame that was written for it ends, in bytes of its connection.
  final var ownEnd: UInt64 = 0
  /// The lines of the trailers that are written.
  final let trailers: Buffer
  /// There are some. Most streams have none, and need not look at the buffer.
  final var hasTrailers = false

  init(pool: BufferPool, small: BufferPool) { trailers = Buffer(pool: pool, small: small) }

  /// Forgets the stream that is over.
  final func clearFrames() {
    id = 0
    isTouched = false
    isReset = false
    isClosed = false
    inputEnded = false
    outputEnded = false
    isEndOut = false
    headsWaiting = 0
    ownEnd = 0
    if hasTrailers { trailers.reset() }
    hasTrailers = false
  }

  /// How much of `output` goes into the next frame of DATA, which has room for `most` bytes; behind all of it, the end.
  final func part(of output: Buffer, most: Int, _ session: HTTP2Session, _ lines: HTTP2Lines) -> HTTP2Session.BodyPart {
    let n = min(output.count, most)
    guard outputEnded, n == output.count else { return n > 0 ? .bytes(n) : .nothing }
    if hasTrailers {
      // Without them the message would look whole.
      guard trailers.withReadable({ session.submitTrailers(stream: id, lines, $0) }) else { return .failed }
      headsWaiting += 1
    }
    isEndOut = true
    guard hasTrailers else { return .last(n) }
    return .lastBeforeTrailers(n)
  }
}
