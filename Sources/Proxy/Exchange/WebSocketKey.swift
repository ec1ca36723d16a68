// The handshake of a WebSocket with a server whose client came by HTTP/2, where there is none (RFC 8441 section 5): we are the client
// then, and check what a client checks (RFC 6455 section 4.1).

import Platform
import Wire

enum WebSocketKey {
  /// RFC 6455 section 1.3.
  private static let suffix: StaticString = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  /// Appends the field with a new key, whose answer the stream remembers. False without random bytes.
  static func write(for stream: StreamState, into out: Buffer) -> Bool {
    guard let high = try? SecureRandom.word(), let low = try? SecureRandom.word() else { return false }
    let key = Buffer(capacity: 128)
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    for i in 0..<8 {
      bytes[i] = UInt8(truncatingIfNeeded: high >> UInt64(8 * i))
      bytes[i + 8] = UInt8(truncatingIfNeeded: low >> UInt64(8 * i))
    }
    Base64.encode(bytes.span, .standard, to: key)
    out.append("Sec-WebSocket-Key: ")
    out.append(first: key.count, of: key)
    out.append("\r\n")
    key.append(suffix)
    guard let digest = try? key.withReadable({ try SHA1.digest($0) }) else { return false }
    let answer = Buffer(capacity: 64)
    Base64.encode(digest.span, .standard, to: answer)
    stream.webSocketAccept = answer.copyBytes()
    return true
  }

  /// Whether a 101 answers that key.
  static func isAccepted(_ bytes: Span<UInt8>, _ head: ResponseHead, _ stream: StreamState) -> Bool {
    let accept = stream.webSocketAccept
    var found = 0
    for i in 0..<head.fieldCount where bytes.extracting(head.name(i).range).equalsIgnoringCase("sec-websocket-accept") {
      guard ByteComparison.isEqual(bytes.extracting(head.value(i).range), accept.span) else {
        return false
      }
      found += 1
    }
    return found == 1
  }
}
