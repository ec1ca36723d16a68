// Members of a line in JSON that only some sites want (`log.extra`), and what templates have by the same names: what a client says of
// itself, what TLS agreed on, and how long each step took.

import Platform
import Policy
import Wire

extension Exchange {
  private static let userAgentName = Array("user-agent".utf8)
  private static let refererName = Array("referer".utf8)

  /// Calls `body` with the value of the first field of that name; false where there is none, or no head that was understood.
  private func withField(_ name: [UInt8], _ body: (Span<UInt8>) -> Void) -> Bool {
    guard hasRequestLine else { return false }
    return headText.withReadable { bytes in
      for index in 0..<head.fieldCount {
        let field = head.field(index)
        guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: name.span) else { continue }
        body(bytes.extracting(field.value.range))
        return true
      }
      return false
    }
  }

  func withUserAgent(_ body: (Span<UInt8>) -> Void) -> Bool { withField(Exchange.userAgentName, body) }
  func withReferer(_ body: (Span<UInt8>) -> Void) -> Bool { withField(Exchange.refererName, body) }

  /// Whose password was right, where the route asks for one.
  func withUser(_ body: (Span<UInt8>) -> Void) { if isLoggedIn { route?.demands?.login?.withName(self, body) } }

  /// Its head was understood: the log may say what it asks for.
  var hasRequestLine: Bool { headBytes > 0 && !head.methodRange.isEmpty }

  private static let http10 = Array("HTTP/1.0".utf8)
  private static let http11 = Array("HTTP/1.1".utf8)
  private static let http2 = Array("HTTP/2.0".utf8)
  var versionName: [UInt8] {
    guard downstream.stream == nil else { return Exchange.http2 }
    return minorVersion == 0 ? Exchange.http10 : Exchange.http11
  }

  /// How long it took until the connection of the last try could take the request; nil where none could, or none was tried.
  var connectMicroseconds: UInt64? {
    guard upstreamStartedMicroseconds > 0, timing.readyMicroseconds >= upstreamStartedMicroseconds else { return nil }
    return timing.readyMicroseconds - upstreamStartedMicroseconds
  }

  /// From the try to the head of the response.
  var upstreamMicroseconds: UInt64? {
    guard upstreamStartedMicroseconds > 0, responseStartedMicroseconds >= upstreamStartedMicroseconds else {
      return nil
    }
    return responseStartedMicroseconds - upstreamStartedMicroseconds
  }

  /// From the head of the response to its end.
  func responseMicroseconds(now: UInt64) -> UInt64? {
    upstreamMicroseconds == nil ? nil : now - responseStartedMicroseconds
  }

  /// What X-Request-Id says, where the route needs it; or one request of one connection, in the logs of edge and validator alike as far as
  /// the connection is.
  func appendRequestID(_ connection: ConnectionID, to line: Buffer) {
    if case .none = requestID {
    } else {
      headText.withReadable { requestID.write($0, to: line) }
      return
    }
    connection.write(hex: line)
    line.append(0x2d)
    line.append(decimal: UInt64(timing.number))
  }
}

extension Downstream {
  /// That of the connection, which a stream of HTTP/2 has in common with others.
  var connectionTransport: Transport { stream?.server.connection.transport ?? transport }
}

extension AccessLog {
  /// The members of `log.extra`.
  func writeExtra(_ x: Exchange, _ d: Downstream, nowMicroseconds now: UInt64, into line: Buffer) {
    for member in extra {
      switch member {
      case .version: if x.hasRequestLine { line.member(",\"protocol\":", text: x.versionName) }
      case .user:
        x.withUser { name in
          line.append(",\"user\":\"")
          line.appendEscaped(name, most: LogVariable.userBytesMax)
          line.append(0x22)
        }
      case .userAgent:
        _ = x.withUserAgent { value in
          line.append(",\"user_agent\":\"")
          line.appendEscaped(value, most: LogVariable.userAgentBytesMax)
          line.append(0x22)
        }
      case .referer:
        _ = x.withReferer { value in
          line.append(",\"referer\":\"")
          line.append(value, most: LogVariable.refererBytesMax, query: query, .json)
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
        x.appendRequestID((x.identity ?? d.client)?.connection ?? d.connection, to: line)
        line.append(0x22)
      case .retries: line.member(",\"retries\":", UInt64(x.timing.retries))
      case .waiting: line.member(",\"queue_ms\":", microseconds: x.timing.waitedMicroseconds)
      case .connecting: if let time = x.connectMicroseconds { line.member(",\"connect_ms\":", microseconds: time) }
      case .responding:
        if let time = x.responseMicroseconds(now: now) { line.member(",\"response_ms\":", microseconds: time) }
      default: break
      }
    }
  }
}
