// One message of an exchange on its way through: how its body ends as it comes, and how it goes out. A request has one and its
// response another, and neither knows of the other.

import Wire

struct MessageState {
  /// How the body ends as it comes.
  private(set) var framing = BodyFraming.none
  /// Reads the body. Changed as a copy: a mutating call on a property of a class costs a dynamic exclusivity check.
  var decoder: BodyDecoder
  /// Bytes of the body that were passed on.
  var bodyBytes: UInt64 = 0
  /// The body goes out in chunks.
  private(set) var goesInChunks = false
  /// Its content goes out in another coding than it came in.
  var isCoded = false
  /// A trailer section went out in place of a bare last chunk.
  var trailersSent = false

  init() { decoder = BodyDecoder(.none) }

  /// The framing and the decoder that reads it, or reads and discards it: one is never without the other, so that no body
  /// is taken for the next message.
  /// - Parameters:
  ///   - goesInChunks: nil for a body that goes out as it came.
  ///   - isLenient: a server's, with what devices are forgiven.
  init(_ framing: BodyFraming, trailerBytesMax: Int, goesInChunks: Bool? = nil, isLenient: Bool = false) {
    self.framing = framing
    decoder = BodyDecoder(framing, trailerBytesMax: trailerBytesMax, isLenient: isLenient)
    self.goesInChunks = goesInChunks ?? (framing == .chunked)
  }

  var hasBody: Bool { framing != .none && framing != .length(0) }
}
