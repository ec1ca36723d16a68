// Members of a line in JSON that only some sites want (`log.extra`), and what templates have by the same names: what a client says of
// itself, what TLS agreed on, and how long each step took.

import Platform
import Policy
import Wire

enum RecordExtras {
  private static let userAgentName = Array("user-agent".utf8)
  private static let refererName = Array("referer".utf8)

  /// Calls `body` with the value of the first field of that name; false where there is none, or no head that was understood.
  private static func withField(_ name: [UInt8], of x: Exchange, _ body: (Span<UInt8>) -> Void) -> Bool {
    guard x.hasRequestLine else { return false }
    return x.headText.withReadable { bytes in
      for index in 0..<x.head.fieldCount {
        let field = x.head.field(index)
        guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: name.span) else { continue }
        body(bytes.extracting(field.value.range))
        return true
      }
      return false
    }
  }

  static func withUserAgent(of x: Exchange, _ body: (Span<UInt8>) -> Void) -> Bool {
    withField(userAgentName, of: x, body)
  }

  static func withReferer(of x: Exchange, _ body: (Span<UInt8>) -> Void) -> Bool {
    withField(refererName, of: x, body)
  }

  /// Whose password was right, where the route asks for one.
  static func withUser(of x: Exchange, _ body: (Span<UInt8>) -> Void) {
    if x.isLoggedIn { x.route?.demands?.login?.withName(x, body) }
  }

  private static let http10 = Array("HTTP/1.0".utf8)
  private static let http11 = Array("HTTP/1.1".utf8)
  private static let http2 = Array("HTTP/2.0".utf8)

  static func versionName(_ x: Exchange) -> [UInt8] {
    guard x.downstream.stream == nil else { return http2 }
    return x.minorVersion == 0 ? http10 : http11
  }

  /// How long it took until the connection of the last try could take the request; nil where none could, or none was tried.
  static func connectMicroseconds(_ x: Exchange) -> UInt64? {
    let (started, ready) = (x.upstreamStartedMicroseconds, x.timing.readyMicroseconds)
    guard started > 0, ready >= started else { return nil }
    return ready - started
  }

  /// From the try to the head of the response.
  static func upstreamMicroseconds(_ x: Exchange) -> UInt64? {
    let (started, answered) = (x.upstreamStartedMicroseconds, x.responseStartedMicroseconds)
    guard started > 0, answered >= started else { return nil }
    return answered - started
  }

  /// From the head of the response to its end.
  static func responseMicroseconds(_ x: Exchange, now: UInt64) -> UInt64? {
    upstreamMicroseconds(x) == nil ? nil : now - x.responseStartedMicroseconds
  }

  /// What X-Request-Id says, where the route needs it; or one request of one connection, in the logs of edge and validator alike as far as
  /// the connection is.
  static func appendRequestID(of x: Exchange, _ connection: ConnectionID, to line: Buffer) {
    if case .none = x.requestID {
    } else {
      x.headText.withReadable { x.requestID.write($0, to: line) }
      return
    }
    connection.write(hex: line)
    line.append(0x2d)
    line.append(decimal: UInt64(x.timing.number))
  }

  /// The members of `log.extra`.
  static func write(_ x: Exchange, _ d: Downstream, of log: AccessLog, nowMicroseconds now: UInt64, into line: Buffer) {
    for member in log.extra {
      switch member {
      case .version: if x.hasRequestLine { line.member(",\"protocol\":", text: versionName(x)) }
      case .user:
        withUser(of: x) { name in
          line.append(",\"user\":\"")
          line.appendEscaped(name, most: LogVariable.userBytesMax)
          line.append(0x22)
        }
      case .userAgent:
        _ = withUserAgent(of: x) { value in
          line.append(",\"user_agent\":\"")
          line.appendEscaped(value, most: LogVariable.userAgentBytesMax)
          line.append(0x22)
        }
      case .referer:
        _ = withReferer(of: x) { value in
          line.append(",\"referer\":\"")
          line.append(value, most: LogVariable.refererBytesMax, query: log.query, .json)
          line.append(0x22)
        }
      case .sni:
        d.connectionTransport.withServerName { name in
          guard !name.isEmpty else { return }
          line.append(",\"sni\":\"")
          line.appendEscaped(name, most: LogVariable.sniBytesMax)
          line.append(0x22)
        }
      case .alpn:
        d.connectionTransport.withApplicationProtocol { name in
          guard !name.isEmpty else { return }
          line.append(",\"alpn\":\"")
          line.appendEscaped(name, most: LogVariable.alpnBytesMax)
          line.append(0x22)
        }
      case .requestID:
        line.append(",\"request_id\":\"")
        appendRequestID(of: x, (x.identity ?? d.client)?.connection ?? d.connection, to: line)
        line.append(0x22)
      case .retries: line.member(",\"retries\":", UInt64(x.timing.retries))
      case .waiting: line.member(",\"queue_ms\":", microseconds: x.timing.waitedMicroseconds)
      case .connecting: if let time = connectMicroseconds(x) { line.member(",\"connect_ms\":", microseconds: time) }
      case .responding:
        if let time = responseMicroseconds(x, now: now) { line.member(",\"response_ms\":", microseconds: time) }
      default: break
      }
    }
  }
}
