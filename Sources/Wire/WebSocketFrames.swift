// Follows the frames of one direction of a WebSocket (RFC 6455 section 5.2), so that it is known where one ends and the next begins.
// It changes nothing and keeps no bytes: a few words that the exchange holds. Payload is passed over by its count.
//
//   header ──length known──▶ payload ──all of it──▶ header …        header, payload ──▶ broken
//
// Invariants: a stream that breaks a rule of framing is `broken` for good, and no place in it counts as a boundary; behind
// a Close frame nothing is looked at. Caller: the tunnel, for each direction.

public struct WebSocketFrames: Equatable, Sendable {
  /// Whose frames these are: a client masks what it sends, a server does not (section 5.1).
  public enum Sender: Sendable { case client, server }

  private enum State: UInt8 { case header, payload, closed, broken }

  private let isMasked: Bool
  private var state = State.header
  /// Bytes of the present frame's header that were seen.
  private var headerCount: UInt8 = 0
  /// Bytes that the header has as far as it says; 2 before its second byte.
  private var headerLength: UInt8 = 2
  private var isControl = false
  /// The present frame is a Close frame.
  private var isClose = false
  /// A message's first frame was seen and not its last: control frames may come between them (section 5.4).
  private var isInMessage = false
  /// Of the present frame: its length while the header is read, what is to come of its payload then.
  private var payload: UInt64 = 0

  public init(from sender: Sender) { isMasked = sender == .client }

  /// A frame has just ended, or none has begun: another one may stand here. Not behind a Close frame, which is the last one.
  public var isBetweenFrames: Bool { state == .header && headerCount == 0 }
  /// A Close frame has passed.
  public var hasClosed: Bool { state == .closed }
  /// What came is not a WebSocket's frames.
  public var isBroken: Bool { state == .broken }

  /// Follows all of `bytes`.
  public mutating func follow(_ bytes: Span<UInt8>) {
    var at = 0
    while at < bytes.count {
      let n = followFrame(bytes, from: at)
      guard n > 0 else { return }
      at += n
    }
  }

  /// Follows `bytes` from `start` on, to the end of the present frame at most.
  /// - Returns: how many bytes were followed: 0 where nothing is to be followed any more.
  public mutating func followFrame(_ bytes: Span<UInt8>, from start: Int = 0) -> Int {
    var at = start
    while at < bytes.count {
      switch state {
      case .closed, .broken: return at - start
      case .header:
        let byte = bytes[at]
        at += 1
        take(byte)
        guard state == .header, headerCount == 0 else { continue }
        return at - start
      case .payload:
        let n = min(payload, UInt64(bytes.count - at))
        payload -= n
        at += Int(n)
        if payload == 0 { endFrame() }
        return at - start
      }
    }
    return at - start
  }

  // MARK: Headers

  private static let final: UInt8 = 0x80
  private static let reserved: UInt8 = 0x70
  /// RSV1: a compressed message's first frame (RFC 7692 section 6). No other extension that is registered uses these bits.
  private static let compressed: UInt8 = 0x40
  private static let control: UInt8 = 0x08
  private static let masked: UInt8 = 0x80
  private static let maskBytes: UInt8 = 4

  private enum Opcode {
    static let continuation: UInt8 = 0
    static let text: UInt8 = 1
    static let binary: UInt8 = 2
    static let close: UInt8 = 8
    static let pong: UInt8 = 10
  }

  private mutating func take(_ byte: UInt8) {
    headerCount += 1
    switch headerCount {
    case 1: takeFirst(byte)
    case 2: takeSecond(byte)
    default:
      let lengthEnd = headerLength - (isMasked ? WebSocketFrames.maskBytes : 0)
      if headerCount <= lengthEnd {
        payload = payload << 8 | UInt64(byte)
        if headerCount == lengthEnd { checkLength(bytes: lengthEnd - 2) }
      }
    }
    guard state == .header, headerCount > 1, headerCount == headerLength else { return }
    if payload > 0 { state = .payload } else { endFrame() }
  }

  private mutating func takeFirst(_ byte: UInt8) {
    let opcode = byte & 0x0f
    let isFinal = byte & WebSocketFrames.final != 0
    let reserved = byte & WebSocketFrames.reserved
    isClose = opcode == Opcode.close
    switch opcode {
    case Opcode.text, Opcode.binary:
      // The message before has to be over (section 5.4).
      guard !isInMessage, reserved & ~WebSocketFrames.compressed == 0 else { return fail() }
      isInMessage = !isFinal
    case Opcode.continuation:
      guard isInMessage, reserved == 0 else { return fail() }
      isInMessage = !isFinal
    case Opcode.close...Opcode.pong:
      // Section 5.5: not fragmented.
      guard isFinal, reserved == 0 else { return fail() }
    default: fail()
    }
    headerLength = 2
    isControl = opcode & WebSocketFrames.control != 0
  }

  private mutating func takeSecond(_ byte: UInt8) {
    guard (byte & WebSocketFrames.masked != 0) == isMasked else { return fail() }
    let length = byte & 0x7f
    // Section 5.5: a control frame has 125 bytes at most; section 5.5.1: a Close frame has none, or a status of two.
    guard !isControl || length <= 125, !isClose || length != 1 else { return fail() }
    headerLength = 2 + (isMasked ? WebSocketFrames.maskBytes : 0)
    switch length {
    case 126: headerLength += 2
    case 127: headerLength += 8
    default: payload = UInt64(length)
    }
  }

  /// Section 5.2: a length takes the fewest bytes, and its most significant bit is 0.
  private mutating func checkLength(bytes: UInt8) {
    if bytes == 2 ? payload < 126 : payload <= 0xffff || payload >> 63 != 0 { fail() }
  }

  private mutating func endFrame() {
    headerCount = 0
    payload = 0
    state = isClose ? .closed : .header
  }

  private mutating func fail() { state = .broken }
}

/// A Close frame that says why (RFC 6455 section 5.5.1).
public enum WebSocketClose {
  /// "Going away, such as a server going down" (section 7.4.1).
  public static let goingAway: UInt16 = 1001

  /// Appends the frame.
  /// - Parameter mask: for a frame of the client's, which must be masked with a key that nobody can foresee (section 5.3).
  public static func append(_ status: UInt16, mask: UInt32?, to out: some ByteSink) {
    let (high, low) = (UInt8(status >> 8), UInt8(status & 0xff))
    out.append(0x88)
    guard let mask else {
      out.append(0x02)
      out.append(high)
      out.append(low)
      return
    }
    out.append(0x82)
    for shift: UInt32 in [24, 16, 8, 0] { out.append(UInt8(truncatingIfNeeded: mask >> shift)) }
    out.append(high ^ UInt8(truncatingIfNeeded: mask >> 24))
    out.append(low ^ UInt8(truncatingIfNeeded: mask >> 16))
  }
}
