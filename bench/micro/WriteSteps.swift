// Heads as they go out: to an upstream without and with identity, and to the client.

import Platform
import Policy
import Proxy
import Wire

enum WriteSteps {
  static var all: [Step] {
    [
      request("of a browser", { Samples.browser }, at: "Host: printers.example.com"),
      request("of a page's script", { Samples.many }, at: "Traceparent: "),
      signedRequest, plainIdentity, response,
    ]
  }

  /// `text` must be in what was written.
  private static func request(_ whose: String, _ bytes: @escaping () -> [UInt8], at text: String) -> Step {
    Step("write: request head \(whose)") {
      let bytes = bytes()
      let head = try Samples.parsed(bytes)
      let out = Buffer(capacity: 8_192)
      func write() {
        out.removeAll()
        Samples.write(bytes, head, into: out)
      }
      let length = try checked(out, holds: text, write)
      return Operation { _ in
        write()
        return out.count == length && !out.overflowed
      }
    }
  }

  private static var signedRequest: Step {
    Step("write: request head of a browser, and sign it, HMAC") {
      let signer = try Samples.signer(Samples.keys(.hmac))
      let bytes = Samples.browser
      let head = try Samples.parsed(bytes)
      let (client, now) = (Samples.client, Samples.nowMilliseconds)
      let out = Buffer(capacity: 8_192)
      func write() {
        out.removeAll()
        Samples.write(bytes, head, into: out)
        // Where it cannot sign it writes nothing, and the length is wrong.
        _ = signer.writeFields(
          client, head: bytes.span, method: head.methodRange, authority: head.authority, path: head.path,
          query: head.query, nowMilliseconds: now, into: out)
        out.append("\r\n")
      }
      let length = try checked(out, holds: "client-attest: ip=\"198.51.100.9\"", write)
      return Operation { _ in
        write()
        return out.count == length && !out.overflowed
      }
    }
  }

  private static var plainIdentity: Step {
    Step("write: plain identity") {
      let client = Samples.client
      let host = Array("printers.example.com".utf8)
      let out = Buffer(capacity: 8_192)
      func write() {
        out.removeAll()
        HeadWriter.writePlainIdentity(client, host: host.span, into: out)
      }
      let length = try checked(out, holds: "X-Forwarded-For: 198.51.100.9\r\n", write)
      return Operation { _ in
        write()
        return out.count == length && !out.overflowed
      }
    }
  }

  private static var response: Step {
    Step("write: response head") {
      let bytes = Samples.response
      let head = try Samples.parsedResponse()
      let date = Array("Sun, 06 Nov 1994 08:49:37 GMT".utf8)
      let out = Buffer(capacity: 8_192)
      func write() {
        out.removeAll()
        HeadWriter.writeResponse(
          bytes.span, head: head, length: bytes.count,
          framing: HeadWriter.ResponseFraming(head, requestWasHead: false, clientMinorVersion: 1), keepAlive: true,
          clientMinorVersion: 1, isTunnel: false, date: date.span, into: out)
      }
      let length = try checked(out, holds: "Content-Length: 88\r\n", write)
      return Operation { _ in
        write()
        return out.count == length && !out.overflowed
      }
    }
  }

  /// Writes once and looks at every byte; afterwards the length is enough, for nothing else changes.
  private static func checked(_ out: Buffer, holds text: String, _ write: () -> Void) throws -> Int {
    write()
    guard !out.overflowed, String(decoding: out.copyBytes(), as: UTF8.self).contains(text) else { throw NotASample() }
    return out.count
  }
}
