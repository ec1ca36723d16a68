// What HTTP2Session is told, and tells: roles, frames, settings, codes.

extension HTTP2Session {
  package enum Role { case server, client }

  /// The header of a frame that came.
  package struct Frame {
    package enum Kind: UInt8 {
      case data = 0, headers, priority, reset, settings, pushPromise, ping, goaway, windowUpdate, continuation
      /// RFC 9218 section 7.1.
      case priorityUpdate = 16
      case other = 255
    }
    package let kind: Kind
    package let bytes: Int
    package let endsStream: Bool

    package init(kind: Kind, bytes: Int, endsStream: Bool) {
      self.kind = kind
      self.bytes = bytes
      self.endsStream = endsStream
    }
  }

  /// What of a stream's body can be sent.
  package enum BodyPart {
    /// Nothing before `resume`.
    case nothing
    /// So many bytes; `.last`: with them the stream ends; `.lastBeforeTrailers`: trailers were submitted behind them.
    case bytes(Int)
    case last(Int)
    case lastBeforeTrailers(Int)
    /// Its end cannot be sent as it is: the stream is reset.
    case failed
  }

  package enum Received: Equatable {
    case all
    /// The connection is to end; what is still to be sent says why.
    case failed
    /// The peer makes more work than it may.
    case flooded
  }

  /// What each side is told about the other.
  package struct Settings {
    package var streamsMax: Int
    package var streamWindow: Int
    package var connectionWindow: Int
    package var headBytesMax: Int

    package init(streamsMax: Int, streamWindow: Int, connectionWindow: Int, headBytesMax: Int) {
      self.streamsMax = streamsMax
      self.streamWindow = streamWindow
      self.connectionWindow = connectionWindow
      self.headBytesMax = headBytesMax
    }
  }

  /// Error codes (RFC 9113 section 7).
  package enum Code {
    package static let none: UInt32 = 0
    package static let protocolError: UInt32 = 1
    package static let internalError: UInt32 = 2
    package static let streamClosed: UInt32 = 5
    package static let refusedStream: UInt32 = 7
    package static let cancel: UInt32 = 8
    package static let enhanceYourCalm: UInt32 = 11
  }
}
