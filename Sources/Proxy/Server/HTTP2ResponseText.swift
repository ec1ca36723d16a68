// A header block of a response, or its trailers, as it comes field by field, and as the text that HTTP/1 would have: what only HTTP/2
// forbids is found here (RFC 9113 sections 8.2 and 8.3); the rest is judged by the parser of that text. One for each connection.

import Platform
import Policy
import Wire

final class HTTP2ResponseText {
  private let lines: Buffer
  private var status = 0
  private var hasStatus = false
  private var hasRegular = false
  /// The first thing that was wrong.
  private(set) var fault = ResponseFault.none
  private var listBytes = 0

  /// Names, values, and 32 for each field (RFC 9113 section 6.5.2).
  static let listBytesMax = 64 * 1024
  /// A head of more than so many times that ends the connection.
  private static let excess = 4

  /// - Parameter lines: for what has come of a block; nobody else's.
  init(_ lines: Buffer) { self.lines = lines }

  func begin() { clear() }

  func clear() {
    lines.reset()
    status = 0
    hasStatus = false
    hasRegular = false
    fault = .none
    listBytes = 0
  }

  private func refuse(_ what: ResponseFault) { if fault == .none { fault = what } }

  /// Takes a field. False when there has been so much that the connection is to end.
  func add(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    listBytes += name.count + value.count + 32
    guard listBytes <= HTTP2ResponseText.listBytesMax else {
      refuse(.headTooLarge)
      return listBytes <= HTTP2ResponseText.listBytesMax * HTTP2ResponseText.excess
    }
    if name.count > 0, name[0] == 0x3a {
      guard name.equals(":status"), !hasStatus, !hasRegular, value.count == 3 else {
        refuse(.pseudoField)
        return true
      }
      hasStatus = true
      for i in 0..<3 {
        guard value[i] >= 0x30, value[i] <= 0x39 else {
          refuse(.pseudoField)
          return true
        }
        status = status * 10 + Int(value[i] - 0x30)
      }
      return true
    }
    hasRegular = true
    if let refusal = HTTP2Head.check(name, value) {
      refuse(ResponseFault(refusal))
      return true
    }
    lines.append(name)
    lines.append(": ")
    lines.append(value)
    lines.append("\r\n")
    return true
  }

  /// Appends the head, and returns its status; nil if there is no such head, or no room for it: `fault` says what it was.
  /// - Parameter out: holds nothing but interim responses that nobody has taken yet.
  func write(into out: Buffer) -> Int? {
    if !hasStatus || status < 100 { refuse(.pseudoField) }
    if status == 101 { refuse(.http2Upgrade) }
    if lines.overflowed { refuse(.headTooLarge) }
    guard fault == .none else { return nil }
    let isFirst = out.isEmpty
    out.append("HTTP/1.1 ")
    out.append(decimal: UInt64(status))
    out.append(" \r\n")
    out.append(first: lines.count, of: lines)
    out.append("\r\n")
    if out.overflowed { refuse(isFirst ? .headTooLarge : .interimFlood) }
    return out.overflowed ? nil : status
  }

  /// Writes trailers to `out`, which is empty, with an empty line behind them. False if they are none: `fault` says what it was.
  func writeTrailers(into out: Buffer) -> Bool {
    if hasStatus { refuse(.pseudoField) }
    if lines.overflowed || fault == .headTooLarge { fault = .trailers }
    guard fault == .none else { return false }
    out.append(first: lines.count, of: lines)
    out.append("\r\n")
    if out.overflowed { refuse(.trailers) }
    return !out.overflowed
  }
}
