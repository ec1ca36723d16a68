// What the parsers of heads and trailer sections share: their bounds, their outcomes, line endings and the version.
// Callers: RequestHead, ResponseHead, TrailerSection, BodyDecoder.

/// Bounds on a head or a trailer section.
public struct HeadLimits: Sendable {
  /// From the first byte to the empty line, both included.
  public var headBytes: Int
  /// Field lines.
  public var fields: Int

  public init(headBytes: Int, fields: Int) {
    self.headBytes = headBytes
    self.fields = fields
  }

  /// What a validator takes where an edge with these limits has taken it from a client.
  public var withEdgeGrowth: HeadLimits {
    HeadLimits(headBytes: headBytes + HeadGrowth.bytes, fields: fields + HeadGrowth.fields)
  }
}

/// By how much a head may grow between an edge that took it and the validator that it is for, and a response's head on the
/// way back. Requests: `client-attest`, `signature-input` and `signature` at their longest, `Expect`, and the space after
/// the colon of the fields that are written anew. Trailers, in which every field is. Responses: `Date`, framing, `Connection`.
public enum HeadGrowth {
  public static let bytes = 1024
  public static let fields = 8
}

/// What became of the bytes at hand. `incomplete` is not an error: call again with more.
public enum HeadOutcome: Equatable, Sendable {
  case complete(length: Int)
  case incomplete
  case refused(Refusal)
}

/// One step of a parser: where the next begins, or how it stops.
enum Scan: Equatable {
  case next(Int)
  case incomplete
  case refused(Refusal)

  /// CRLF at `at`, where a CR is known to be. A CR by itself is not a line ending (RFC 9112 section 2.2).
  @inline(__always) static func lineEnd(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> Scan {
    guard at &+ 1 < end else { return .incomplete }
    return bytes[at &+ 1] == Ascii.lf ? .next(at &+ 2) : .refused(.lineEnding)
  }

  /// `HTTP/1.0` or `HTTP/1.1` at `start`; sets its last digit.
  static func version(_ bytes: Span<UInt8>, _ start: Int, _ end: Int, minor: inout Int) -> Scan {
    let expected: InlineArray<7, UInt8> = [0x48, 0x54, 0x54, 0x50, 0x2f, 0x31, 0x2e]  // HTTP/1.
    for offset in 0..<7 {
      guard start &+ offset < end else { return .incomplete }
      guard bytes[start &+ offset] == expected[offset] else {
        return offset < 5 ? notALine(bytes, start &+ offset, end) : .refused(.version)
      }
    }
    let digit = start &+ 7
    guard digit < end else { return .incomplete }
    guard bytes[digit] == 0x30 || bytes[digit] == 0x31 else { return .refused(.version) }
    minor = Int(bytes[digit] &- 0x30)
    return .next(digit &+ 1)
  }

  /// Why a start line is none at `at`.
  static func notALine(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> Scan {
    switch bytes[at] {
    case Ascii.lf: return .refused(.lineEnding)
    case Ascii.cr:
      let scan = lineEnd(bytes, at, end)
      guard case .next = scan else { return scan }
      return .refused(.requestLine)
    default: return .refused(.requestLine)
    }
  }
}

extension Span where Element == UInt8 {
  /// Whether bytes that came after the first `seen` could change what a head parser said about those: from the start
  /// they always can, after that only when a line ends among them.
  func endsLine(after seen: Int, before end: Int) -> Bool {
    guard seen > 0 else { return true }
    var at = seen
    while at < end {
      if self[at] == Ascii.lf { return true }
      at &+= 1
    }
    return false
  }
}
