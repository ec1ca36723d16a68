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
  private var isWrong = false
  private var listBytes = 0
  /// Of the trailers that were written last.
  private(set) var trailerBytes = 0

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
    isWrong = false
    listBytes = 0
  }

  /// Takes a field. False when there has been so much that the connection is to end.
  func add(name: Span<UInt8>, value: Span<UInt8>) -> Bool {
    listBytes += name.count + value.count + 32
    guard listBytes <= HTTP2ResponseText.listBytesMax else {
      isWrong = true
      return listBytes <= HTTP2ResponseText.listBytesMax * HTTP2ResponseText.excess
    }
    if name.count > 0, name[0] == 0x3a {
      guard name.equals(":status"), !hasStatus, !hasRegular, value.count == 3 else {
        isWrong = true
        return true
      }
      hasStatus = true
      for i in 0..<3 {
        guard value[i] >= 0x30, value[i] <= 0x39 else {
          isWrong = true
          return true
        }
        status = status * 10 + Int(value[i] - 0x30)
      }
      return true
    }
    hasRegular = true
    guard HTTP2Head.check(name, value) == nil else {
      isWrong = true
      return true
    }
    lines.append(name)
    lines.append(": ")
    lines.append(value)
    lines.append("\r\n")
    return true
  }

  /// Appends the head, and returns its status; nil if there is no such head.
  func write(into out: Buffer) -> Int? {
    guard !isWrong, hasStatus, status >= 100, status != 101, !lines.overflowed else { return nil }
    out.append("HTTP/1.1 ")
    out.append(decimal: UInt64(status))
    out.append(" \r\n")
    out.append(first: lines.count, of: lines)
    out.append("\r\n")
    return out.overflowed ? nil : status
  }

  /// Appends trailers behind what has arrived of the body. False if they are none.
  func writeTrailers(behind arriving: Buffer) -> Bool {
    guard !isWrong, !hasStatus, !lines.overflowed else { return false }
    let before = arriving.count
    arriving.append(first: lines.count, of: lines)
    arriving.append("\r\n")
    trailerBytes = arriving.count - before
    return !arriving.overflowed
  }
}
