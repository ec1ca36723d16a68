// Where a message's content ends (RFC 9112 section 6), and the chunked coding (section 7.1), for one body.
// Invariant: what is handed out as payload is exactly what every strict reader would take for it; the decoder never
// looks past the message. Allocates nothing and keeps no bytes: it is a few words that the exchange holds.
// Callers: the exchange, for both directions.

/// How the end of a message's content is known.
public enum BodyFraming: Equatable, Sendable {
  /// No content: nothing said so in a request; a response that cannot have any.
  case none
  case length(UInt64)
  case chunked
  /// Responses only: content ends with the connection.
  case untilClose
}

/// What stands at the front of the bytes at hand.
public enum BodyStep: Equatable, Sendable {
  /// Drop `skip` bytes of framing; then `count` bytes of payload (at least 1) are at the front.
  case data(skip: Int, count: Int)
  /// Drop `skip` bytes; then a trailer section of `count` bytes is at the front: field lines and the empty line.
  case trailers(skip: Int, count: Int)
  /// Drop `skip` bytes; the message is over and what follows belongs to the next.
  case end(skip: Int)
  /// Drop `skip` bytes; more are needed.
  case incomplete(skip: Int)
  case refused(Refusal)
}

/// ```
///  length ──data──▶ (rest 0) ──▶ ended
///  size ──"5;x" CRLF──▶ payload ──data──▶ payloadEnd ──CRLF──▶ size
///    └──"0" CRLF──▶ trailers ──CRLF──▶ ended
/// ```
public struct BodyDecoder: Sendable {
  private enum State: Equatable { case length, size, payload, payloadEnd, trailers, untilClose, ended }

  /// Bytes of extensions a chunk may carry, its `;` included. They are dropped (RFC 9112 section 7.1.1).
  public static let extensionBytesMax = 256
  private static let sizeDigitsMax = 16

  private var state: State
  /// Bytes still to be taken: of the body, of this chunk, or of the trailer section that was offered.
  private var rest: UInt64 = 0
  private let trailerBytesMax: Int
  /// From the operator's own servers: spaces behind a chunk's size, and chunk lines that end in a bare LF, are taken.
  private let isLenient: Bool
  /// Something of that kind was met: the connection should serve no further message.
  public private(set) var isIrregular = false

  public init(_ framing: BodyFraming, trailerBytesMax: Int = 8192, isLenient: Bool = false) {
    self.trailerBytesMax = trailerBytesMax
    self.isLenient = isLenient
    switch framing {
    case .none: state = .ended
    case .length(let length):
      rest = length
      state = length == 0 ? .ended : .length
    case .chunked: state = .size
    case .untilClose: state = .untilClose
    }
  }

  /// Nothing more of the message is to come.
  public var isEnded: Bool { state == .ended }

  /// What the front of `bytes` is. The framing it passes over is behind it at once: the caller drops `skip` bytes, and
  /// then reports with `consumed` what it took of the payload or the trailers. Calling again without taking anything gives the
  /// same answer with a `skip` of 0.
  public mutating func step(_ bytes: Span<UInt8>) -> BodyStep {
    var at = 0
    while true {
      switch state {
      case .ended: return .end(skip: at)
      case .length, .payload: return data(bytes, at)
      case .untilClose: return bytes.count > 0 ? .data(skip: 0, count: bytes.count) : .incomplete(skip: 0)
      case .payloadEnd:
        switch lineEnd(bytes, at) {
        case .next(let next): at = next
        case .incomplete: return .incomplete(skip: at)
        case .refused(let refusal): return .refused(refusal)
        }
        state = .size
      case .size:
        switch size(bytes, at) {
        case .next(let next): at = next
        case .incomplete: return .incomplete(skip: at)
        case .refused(let refusal): return .refused(refusal)
        }
        state = rest == 0 ? .trailers : .payload
      case .trailers:
        guard at < bytes.count else { return .incomplete(skip: at) }
        // Without trailers the empty line follows at once.
        guard bytes[at] == Ascii.cr || isLenient && bytes[at] == Ascii.lf else { return trailers(bytes, at) }
        switch lineEnd(bytes, at) {
        case .next(let next): at = next
        case .incomplete: return .incomplete(skip: at)
        case .refused(let refusal): return .refused(refusal)
        }
        state = .ended
      }
    }
  }

  /// `count` bytes of what `step` offered were taken from the front, after its `skip`.
  public mutating func consumed(_ count: Int) {
    switch state {
    case .length, .payload:
      precondition(count >= 0 && UInt64(count) <= rest, "more taken than was payload")
      rest &-= UInt64(count)
      if rest == 0 { state = state == .length ? .ended : .payloadEnd }
    case .trailers:
      precondition(UInt64(count) == rest, "a trailer section is taken whole")
      if count > 0 { state = .ended }
    case .untilClose: break
    case .size, .payloadEnd, .ended: precondition(count == 0, "nothing was offered")
    }
  }

  private func data(_ bytes: Span<UInt8>, _ at: Int) -> BodyStep {
    let count = Int(min(rest, UInt64(bytes.count &- at)))
    return count > 0 ? .data(skip: at, count: count) : .incomplete(skip: at)
  }

  /// Behind the line end at `at`.
  @inline(__always) private mutating func lineEnd(_ bytes: Span<UInt8>, _ at: Int) -> Scan {
    guard at &+ 1 < bytes.count, bytes[at] == Ascii.cr, bytes[at &+ 1] == Ascii.lf else {
      return otherLineEnd(bytes, at)
    }
    return .next(at &+ 2)
  }

  @inline(never) private mutating func otherLineEnd(_ bytes: Span<UInt8>, _ at: Int) -> Scan {
    guard at < bytes.count else { return .incomplete }
    if isLenient, bytes[at] == Ascii.lf {
      isIrregular = true
      return .next(at &+ 1)
    }
    guard bytes[at] == Ascii.cr, at &+ 1 == bytes.count else { return .refused(.framingChunk) }
    return .incomplete
  }

  /// chunk-size [ chunk-ext ] CRLF. The size ends at once in CR or `;`: no whitespace (behind it, where lenient), sign or prefix, at
  /// most 16 digits, below 2^63.
  private mutating func size(_ bytes: Span<UInt8>, _ start: Int) -> Scan {
    var at = start
    var size: UInt64 = 0
    while at < bytes.count, let digit = Ascii.hex(bytes[at]) {
      guard at &- start < Self.sizeDigitsMax else { return .refused(.framingChunk) }
      size = size &<< 4 | UInt64(digit)
      at &+= 1
    }
    guard size <= UInt64(Int64.max) else { return .refused(.framingChunk) }
    guard at < bytes.count else { return .incomplete }
    guard at > start else { return .refused(.framingChunk) }
    if bytes[at] != Ascii.cr {
      let scan = behindSize(bytes, at)
      guard case .next(let next) = scan else { return scan }
      at = next
    }
    let scan = lineEnd(bytes, at)
    if case .next = scan { rest = size }
    return scan
  }

  /// What stands between a size and its line's end, which is there: padding, where lenient, and extensions.
  @inline(never) private mutating func behindSize(_ bytes: Span<UInt8>, _ start: Int) -> Scan {
    var at = start
    if isLenient, Ascii.isBlank(bytes[at]) {
      while at < bytes.count, Ascii.isBlank(bytes[at]) {
        at &+= 1
        guard at &- start <= Self.extensionBytesMax else { return .refused(.framingChunk) }
      }
      guard at < bytes.count else { return .incomplete }
      isIrregular = true
    }
    if bytes[at] == 0x3b {  // ;
      while at < bytes.count, bytes[at] != Ascii.cr, !isLenient || bytes[at] != Ascii.lf {
        guard Ascii.isText(bytes[at]) && bytes[at] < 0x80 || bytes[at] == Ascii.tab else {
          return .refused(.framingChunk)
        }
        at &+= 1
        guard at &- start <= Self.extensionBytesMax else { return .refused(.framingChunk) }
      }
      guard at < bytes.count else { return .incomplete }
    }
    return .next(at)
  }

  /// Offers the trailer section once the empty line that ends it is there. Its lines are judged by `TrailerSection`.
  private mutating func trailers(_ bytes: Span<UInt8>, _ start: Int) -> BodyStep {
    let end = min(bytes.count, start &+ trailerBytesMax)
    var lineStart = start
    var at = start
    while at < end {
      if bytes[at] == Ascii.lf {
        guard isLenient else { return .refused(.lineEnding) }
        isIrregular = true
        at &+= 1
      } else if bytes[at] == Ascii.cr {
        guard at &+ 1 < end else { break }
        guard bytes[at &+ 1] == Ascii.lf else { return .refused(.lineEnding) }
        at &+= 2
      } else {
        at &+= 1
        continue
      }
      // Only a line's end fits in so few bytes.
      if at &- lineStart <= 2, bytes[lineStart] == Ascii.cr || bytes[lineStart] == Ascii.lf {
        rest = UInt64(at &- start)
        return .trailers(skip: start, count: at &- start)
      }
      lineStart = at
    }
    return bytes.count &- start >= trailerBytesMax ? .refused(.headTooLarge) : .incomplete(skip: start)
  }
}
