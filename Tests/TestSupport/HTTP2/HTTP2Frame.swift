// HTTP/2 frames (RFC 9113 section 4.1) as the tests' own ends write and read them: any type, flag, stream and payload, also what
// no frame may be. Written apart from the product's own reader on purpose: it must not share its mistakes.

public struct HTTP2Frame: Equatable, Sendable {
  public enum Kind: UInt8, Sendable {
    case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation
  }

  public var type: UInt8
  public var flags: UInt8
  /// With the reserved bit, which is sent as it is.
  public var stream: UInt32
  public var payload: [UInt8]
  /// What the frame says of its length, where that is not how long it is.
  public var saidLength: Int?

  public static let headBytes = 9
  public static let endStream: UInt8 = 0x01
  /// Of SETTINGS and PING.
  public static let ack: UInt8 = 0x01
  public static let endHeaders: UInt8 = 0x04
  public static let padded: UInt8 = 0x08
  public static let prioritised: UInt8 = 0x20

  public init(type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    self.type = type
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  public init(_ kind: Kind, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    self.init(type: kind.rawValue, flags: flags, stream: stream, payload)
  }

  public var kind: Kind? { Kind(rawValue: type) }

  public func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

  public var bytes: [UInt8] {
    let length = UInt32(saidLength ?? payload.count)
    return [
      UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
      UInt8(truncatingIfNeeded: length),
    ]
      + [type, flags] + Self.word(stream) + payload
  }

  /// The length of the payload behind this head, which is all there.
  public static func payloadCount(_ head: some Collection<UInt8>) -> Int {
    head.prefix(3).reduce(0) { $0 << 8 | Int($1) }
  }

  /// From a head of nine bytes and the payload that it announced; the reserved bit is taken away.
  public init(head: [UInt8], payload: [UInt8]) {
    precondition(head.count == Self.headBytes && Self.payloadCount(head) == payload.count)
    self.init(type: head[3], flags: head[4], stream: Self.number(head[5...]) & 0x7fff_ffff, payload)
  }

  // MARK: The frames of RFC 9113 section 6

  public static func data(_ stream: UInt32, _ payload: [UInt8], ends: Bool = false) -> HTTP2Frame {
    HTTP2Frame(.data, flags: ends ? endStream : 0, stream: stream, payload)
  }

  /// `ends` is of the stream; `isWhole` says that no CONTINUATION follows.
  public static func headers(_ stream: UInt32, _ block: [UInt8], ends: Bool = true, isWhole: Bool = true) -> HTTP2Frame
  {
    HTTP2Frame(.headers, flags: (ends ? endStream : 0) | (isWhole ? endHeaders : 0), stream: stream, block)
  }

  public static func continuation(_ stream: UInt32, _ block: [UInt8], isWhole: Bool = true) -> HTTP2Frame {
    HTTP2Frame(.continuation, flags: isWhole ? endHeaders : 0, stream: stream, block)
  }

  /// The five bytes of a priority, of a PRIORITY frame or at the front of HEADERS.
  public static func priorityBytes(on parent: UInt32, weight: UInt8 = 255, isExclusive: Bool = false) -> [UInt8] {
    word(parent | (isExclusive ? 1 << 31 : 0)) + [weight]
  }

  public static func priority(
    _ stream: UInt32, on parent: UInt32 = 0, weight: UInt8 = 255, isExclusive: Bool = false
  ) -> HTTP2Frame {
    HTTP2Frame(.priority, stream: stream, priorityBytes(on: parent, weight: weight, isExclusive: isExclusive))
  }

  /// What a client wants of a stream (RFC 9218 section 7.1), which may be still to begin.
  public static func priorityUpdate(_ prioritized: UInt32, _ value: String, on stream: UInt32 = 0) -> HTTP2Frame {
    HTTP2Frame(type: 0x10, stream: stream, word(prioritized) + Array(value.utf8))
  }

  public static func reset(_ stream: UInt32, _ code: UInt32 = HTTP2Code.cancel.rawValue) -> HTTP2Frame {
    HTTP2Frame(.reset, stream: stream, word(code))
  }

  public static func settings(_ values: [(HTTP2Setting, UInt32)] = []) -> HTTP2Frame {
    HTTP2Frame(.settings, values.flatMap { [UInt8($0.rawValue >> 8), UInt8($0.rawValue & 255)] + word($1) })
  }

  public static var settingsAck: HTTP2Frame { HTTP2Frame(.settings, flags: ack) }

  public static func ping(_ payload: [UInt8] = Array("countsgn".utf8), isAck: Bool = false) -> HTTP2Frame {
    HTTP2Frame(.ping, flags: isAck ? ack : 0, payload)
  }

  public static func goAway(lastStream: UInt32 = 0, _ code: UInt32 = 0, _ debug: [UInt8] = []) -> HTTP2Frame {
    HTTP2Frame(.goAway, word(lastStream) + word(code) + debug)
  }

  public static func windowUpdate(_ stream: UInt32, by increment: UInt32) -> HTTP2Frame {
    HTTP2Frame(.windowUpdate, stream: stream, word(increment))
  }

  /// Padding in front of and behind what the payload is. DATA and HEADERS may have it (RFC 9113 section 6.1).
  public func padded(by count: UInt8) -> HTTP2Frame {
    var frame = self
    frame.flags |= Self.padded
    frame.payload = [count] + payload + [UInt8](repeating: 0, count: Int(count))
    return frame
  }

  // MARK: Numbers

  public static func word(_ value: UInt32) -> [UInt8] {
    [UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
  }

  /// The first four bytes, the highest first.
  public static func number(_ bytes: some Collection<UInt8>) -> UInt32 {
    bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }
}

/// RFC 9113 section 7.
public enum HTTP2Code: UInt32, Sendable, CustomStringConvertible {
  case noError, protocolError, internalError, flowControlError, settingsTimeout, streamClosed, frameSizeError
  case refusedStream, cancel, compressionError, connectError, enhanceYourCalm, inadequateSecurity, http11Required

  public var description: String {
    [
      "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
      "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
      "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ][Int(rawValue)]
  }
}

/// RFC 9113 section 6.5.2, and RFC 8441's.
public struct HTTP2Setting: RawRepresentable, Hashable, Sendable {
  public var rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static let headerTableSize = HTTP2Setting(rawValue: 1)
  public static let enablePush = HTTP2Setting(rawValue: 2)
  public static let maxConcurrentStreams = HTTP2Setting(rawValue: 3)
  public static let initialWindowSize = HTTP2Setting(rawValue: 4)
  public static let maxFrameSize = HTTP2Setting(rawValue: 5)
  public static let maxHeaderListSize = HTTP2Setting(rawValue: 6)
}
