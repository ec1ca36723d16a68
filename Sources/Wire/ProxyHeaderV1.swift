// PROXY version 1: one line of text.
//
//     PROXY TCP4 192.0.2.7 198.51.100.1 51324 443 CRLF
//
// Invariant: the line is read in its one exact form (single spaces, decimal ports without leading zeros, CRLF) or
// refused; what comes first in the line is judged first, so that an outcome does not depend on how the bytes arrived.

extension ProxyHeader {
  static func decodeV1(_ bytes: Span<UInt8>, rules: ProxyRules, limit: Int) -> ProxyOutcome {
    var line = LineReader(limit: limit)
    switch line.expect([0x50, 0x52, 0x4f, 0x58, 0x59, 0x20], in: bytes) {
    case .found: break
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMissing)
    }
    guard rules == .balancer else { return .refused(.proxyVersion) }

    // The family: TCP4 or TCP6. UNKNOWN names nobody, and a client that is not named is not passed on.
    guard line.at < bytes.count else { return line.outcomeOfMore(in: bytes) }
    if bytes[line.at] == 0x55 { return .refused(.proxyFamily) }
    switch line.expect([0x54, 0x43, 0x50], in: bytes) {
    case .found: break
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    guard line.at < bytes.count else { return line.outcomeOfMore(in: bytes) }
    let family: IPAddress.Family
    switch bytes[line.at] {
    case 0x34: family = .v4
    case 0x36: family = .v6
    default: return .refused(.proxyFamily)
    }
    line.at += 1
    switch line.expect([0x20], in: bytes) {
    case .found: break
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }

    var header = ProxyHeader(version: 1)
    switch line.address(in: bytes, family: family) {
    case .found(let address): header.source = address
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    guard header.source.isPossibleClient else { return .refused(.proxyAddress) }
    switch line.address(in: bytes, family: family) {
    case .found(let address): header.destination = address
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    switch line.port(in: bytes, terminator: 0x20) {
    case .found(let port): header.sourcePort = port
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    switch line.port(in: bytes, terminator: 0x0d) {
    case .found(let port): header.destinationPort = port
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    switch line.expect([0x0a], in: bytes) {
    case .found: break
    case .incomplete: return line.outcomeOfMore(in: bytes)
    case .mismatch: return .refused(.proxyMalformed)
    }
    guard line.at <= limit else { return .refused(.proxyLength) }
    header.length = line.at
    return .complete(header)
  }
}

/// Steps through the line, one piece at a time, each of a bounded length.
private struct LineReader {
  var at = 0
  let limit: Int

  enum Piece<Value> {
    case found(Value)
    /// Everything there is fits; the piece is not over.
    case incomplete
    case mismatch
  }

  /// The outcome where a piece is incomplete.
  func outcomeOfMore(in bytes: Span<UInt8>) -> ProxyOutcome {
    bytes.count < limit ? .incomplete : .refused(.proxyLength)
  }

  /// The bytes of `literal`, and nothing else.
  mutating func expect<let count: Int>(_ literal: InlineArray<count, UInt8>, in bytes: Span<UInt8>) -> Piece<Void> {
    let present = min(count, bytes.count - at)
    for offset in 0..<present where bytes[at + offset] != literal[offset] { return .mismatch }
    guard present == count else { return .incomplete }
    at += count
    return .found(())
  }

  /// Up to `bytesMax` bytes that `isCharacter` takes, and the terminator after them, which is stepped over.
  private mutating func token(
    in bytes: Span<UInt8>, bytesMax: Int, terminator: UInt8, isCharacter: (UInt8) -> Bool
  ) -> Piece<Range<Int>> {
    var end = at
    while end < bytes.count {
      let byte = bytes[end]
      if byte == terminator {
        let range = at..<end
        at = end + 1
        return .found(range)
      }
      guard isCharacter(byte), end - at < bytesMax else { return .mismatch }
      end += 1
    }
    return .incomplete
  }

  mutating func address(in bytes: Span<UInt8>, family: IPAddress.Family) -> Piece<IPAddress> {
    let token =
      switch family {
      case .v4: token(in: bytes, bytesMax: 15, terminator: 0x20) { $0 == 0x2e || $0 >= 0x30 && $0 <= 0x39 }
      case .v6:
        token(in: bytes, bytesMax: 39, terminator: 0x20) { byte in
          switch byte {
          case 0x2e, 0x30...0x39, 0x3a, 0x41...0x46, 0x61...0x66: true
          default: false
          }
        }
      }
    switch token {
    case .incomplete: return .incomplete
    case .mismatch: return .mismatch
    case .found(let range):
      guard let address = IPAddress.parse(bytes.extracting(range)), address.family == family else { return .mismatch }
      return .found(address.unmapped)
    }
  }

  mutating func port(in bytes: Span<UInt8>, terminator: UInt8) -> Piece<UInt16> {
    switch token(in: bytes, bytesMax: 5, terminator: terminator, isCharacter: { $0 >= 0x30 && $0 <= 0x39 }) {
    case .incomplete: return .incomplete
    case .mismatch: return .mismatch
    case .found(let range):
      guard let port = DecimalText.parse(bytes.extracting(range), max: 65535) else { return .mismatch }
      return .found(UInt16(truncatingIfNeeded: port))
    }
  }
}
