// The frames of a client's HTTP/2 connection by their headers alone (RFC 9113 section 4.1), before a library reads them: what it would
// let pass, and has to end the connection. A value of a few words; bytes may come in any pieces.
// Invariants: it never looks past the bytes it is given, and keeps none but a frame's header and a priority; `waitingBytes` is at most
// the headers of as many frames as a block may have.
// Caller: the client leg, with all bytes of a connection from its preface on.

public struct HTTP2FrameScan: Sendable {
  public enum Fault: Equatable, Sendable {
    /// PRIORITY of the connection itself (RFC 9113 section 6.3), or of a stream that would depend on itself (RFC 7540 section 5.3.1).
    case priority
    /// HEADERS for a stream that no client can begin: 0, or one of an even number (RFC 9113 section 5.1.1).
    case wrongStream
    /// HEADERS for a stream that was passed over, and is thereby closed (RFC 9113 section 5.1.1).
    case skippedStream
    /// DATA or HEADERS for a stream that the client itself has ended or reset (RFC 9113 section 5.1).
    case closedStream
    /// A header block in more frames than it can need.
    case continuations
  }

  /// CONTINUATION frames of one header block. With HEADERS they hold 144 KiB in frames of the usual size.
  public static let continuationsMax = 8
  private static let headerBytes = 9
  private static let priorityBytes = 4
  private static let paddingBytes = 1
  private static let prefaceBytes = 24
  private static let rangesMax = 4

  /// How many of the last bytes should be passed on together with what follows: a frame's header that is not whole, and before it the end
  /// of a frame whose header block goes on. libnghttp2 counts CONTINUATION each time when it looks for more of its header.
  public private(set) var waitingBytes = 0
  /// The last frame's header block goes on in the next one.
  private var isBlockOpen = false
  private var prefaceLeft = HTTP2FrameScan.prefaceBytes
  /// Frames that carried nothing since they were last taken: all but HEADERS, CONTINUATION, GOAWAY, acknowledgements, and DATA that
  /// has a byte besides its padding or ends its stream.
  public private(set) var emptyFrames = 0
  /// HEADERS that came, trailers included; wraps around.
  public private(set) var heads: UInt32 = 0
  /// How much of a payload is kept behind the header: of PRIORITY the stream that it names, of padded DATA how much padding there is.
  private var wanted = 0
  /// The header, and that.
  private var held = InlineArray<13, UInt8>(repeating: 0)
  private var heldCount = 0
  private var payloadLeft = 0
  private var continuations = 0
  private var lastStream: UInt32 = 0
  /// Streams that were passed over, as the first and the last of a range; the latest of them.
  private var skipped = InlineArray<4, (UInt32, UInt32)>(repeating: (0, 0))
  private var nextRange = 0
  /// Streams that the client has ended or reset; the latest of them. What comes for one of before is left to the library.
  private var finished = InlineArray<32, UInt32>(repeating: 0)
  private var nextFinished = 0
  private static let finishedMax = 32
  private static let endStream: UInt8 = 1
  private static let acknowledges: UInt8 = 1
  private static let endHeaders: UInt8 = 4
  private static let padded: UInt8 = 8

  public init() {}

  /// Looks at the bytes that came next. Nil: nothing is wrong with their frames as far as this tells.
  public mutating func scan(_ bytes: Span<UInt8>) -> Fault? {
    var at = min(prefaceLeft, bytes.count)
    prefaceLeft -= at
    while at < bytes.count {
      if payloadLeft > 0, heldCount == 0 {
        let n = min(payloadLeft, bytes.count - at)
        payloadLeft -= n
        at += n
        waitingBytes = isBlockOpen && payloadLeft == 0 ? 1 : 0
        continue
      }
      held[heldCount] = bytes[at]
      heldCount += 1
      at += 1
      if heldCount <= HTTP2FrameScan.headerBytes { waitingBytes += 1 }
      if heldCount == HTTP2FrameScan.headerBytes {
        if let fault = readHeader() { return fault }
        if payloadLeft > 0 || !isBlockOpen { waitingBytes = 0 }
      } else if heldCount == HTTP2FrameScan.headerBytes + wanted {
        payloadLeft -= wanted
        heldCount = 0
        if wanted == HTTP2FrameScan.paddingBytes {
          if payloadLeft <= Int(held[HTTP2FrameScan.headerBytes]) { emptyFrames += 1 }
        } else if word(HTTP2FrameScan.headerBytes) & 0x7fff_ffff == word(5) & 0x7fff_ffff {
          // The highest bit is not the stream's.
          return .priority
        }
      }
    }
    return nil
  }

  private func word(_ at: Int) -> UInt32 {
    UInt32(held[at]) << 24 | UInt32(held[at + 1]) << 16 | UInt32(held[at + 2]) << 8 | UInt32(held[at + 3])
  }

  private mutating func readHeader() -> Fault? {
    payloadLeft = Int(held[0]) << 16 | Int(held[1]) << 8 | Int(held[2])
    let stream = word(5) & 0x7fff_ffff
    heldCount = 0
    let flags = held[4]
    let ends = flags & HTTP2FrameScan.endStream != 0
    isBlockOpen = (held[3] == 1 || held[3] == 9) && flags & HTTP2FrameScan.endHeaders == 0
    switch held[3] {
    case 0:
      if isFinished(stream) { return .closedStream }
      if ends {
        finish(stream)
      } else if payloadLeft == 0 {
        emptyFrames += 1
      } else if flags & HTTP2FrameScan.padded != 0 {
        keep(HTTP2FrameScan.paddingBytes)
      }
    case 1:
      guard stream & 1 == 1 else { return .wrongStream }
      continuations = 0
      heads &+= 1
      if isFinished(stream) { return .closedStream }
      if ends { finish(stream) }
      return note(stream)
    case 3:
      emptyFrames += 1
      if !isFinished(stream) { finish(stream) }
    // SETTINGS and PING, of which an acknowledgement is an answer.
    case 4, 6: if flags & HTTP2FrameScan.acknowledges == 0 { emptyFrames += 1 }
    case 7: break
    case 2:
      if stream == 0 { return .priority }
      emptyFrames += 1
      // Another length is the library's to refuse.
      if payloadLeft == HTTP2FrameScan.priorityBytes + 1 { keep(HTTP2FrameScan.priorityBytes) }
    case 9:
      continuations += 1
      if continuations > HTTP2FrameScan.continuationsMax { return .continuations }
    default: emptyFrames += 1
    }
    return nil
  }

  private mutating func keep(_ bytes: Int) {
    wanted = bytes
    heldCount = HTTP2FrameScan.headerBytes
  }

  /// Takes the count, which begins anew.
  public mutating func takeEmptyFrames() -> Int {
    defer { emptyFrames = 0 }
    return emptyFrames
  }

  private func isFinished(_ stream: UInt32) -> Bool {
    guard stream <= lastStream, stream > 0 else { return false }
    for i in 0..<HTTP2FrameScan.finishedMax where finished[i] == stream { return true }
    return false
  }

  private mutating func finish(_ stream: UInt32) {
    finished[nextFinished] = stream
    nextFinished = (nextFinished + 1) % HTTP2FrameScan.finishedMax
  }

  /// HEADERS came for a stream, of an odd number.
  private mutating func note(_ stream: UInt32) -> Fault? {
    if stream > lastStream {
      let first = lastStream == 0 ? 1 : lastStream + 2
      if stream > first {
        skipped[nextRange] = (first, stream - 2)
        nextRange = (nextRange + 1) % HTTP2FrameScan.rangesMax
      }
      lastStream = stream
      return nil
    }
    for i in 0..<HTTP2FrameScan.rangesMax where stream >= skipped[i].0 && stream <= skipped[i].1 {
      return .skippedStream
    }
    return nil
  }
}
