// Heads as documents: a line of text is a line of the head, CRLF at its end, the empty line at the end of all.

import Platform
import Policy
import Proxy
import Testing
import Wire

enum HeadDocument {
  static let limits = HeadLimits(headBytes: 32 * 1024, fields: 200)

  /// The bytes of a head; the text's last line is its last field.
  static func bytes(_ text: String) -> [UInt8] {
    Array((text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n") + "\r\n\r\n").utf8)
  }

  /// Lines as a document again; what is not whole lines is marked.
  static func text(_ bytes: [UInt8]) -> String {
    let text = String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "\n")
    guard !text.contains("\r") else { return "a bare CR: \(text.debugDescription)" }
    return text
  }

  /// What goes to the upstream for a head that no route changes.
  static func writeRequest(
    _ bytes: Span<UInt8>, _ head: RequestHead, framing: BodyFraming, webSocket: Bool = false,
    expectsContinue: Bool = false, into out: Buffer
  ) {
    HeadWriter.writeRequest(
      bytes, head: head, line: bytes, RequestTarget(head), framing: framing, webSocket: webSocket,
      expectsContinue: expectsContinue, edit: nil, FieldValues(), into: out)
  }

  /// What goes to the upstream for a client's head, without identity.
  static func request(
    _ head: String, framing: BodyFraming? = nil, webSocket: Bool = false, expectsContinue: Bool = false,
    then more: (Span<UInt8>, RequestHead, Buffer) -> Void = { _, _, _ in }
  ) throws -> String {
    let bytes = bytes(head)
    let parsed = RequestHead(fieldsMax: limits.fields)
    guard case .complete(bytes.count) = parsed.parse(bytes.span, limits: limits) else {
      Issue.record("not a head: \(parsed.parse(bytes.span, limits: limits)): \(head)")
      return ""
    }
    let out = Buffer(capacity: 64 * 1024)
    writeRequest(
      bytes.span, parsed, framing: framing ?? parsed.framing, webSocket: webSocket,
      expectsContinue: expectsContinue, into: out)
    more(bytes.span, parsed, out)
    #expect(!out.overflowed)
    return text(out.copyBytes())
  }

  static let date = "Sun, 06 Nov 1994 08:49:37 GMT"

  /// What goes to the client for an upstream's head.
  static func response(
    _ head: String, requestWasHead: Bool = false, keepAlive: Bool = true, clientMinorVersion: Int = 1,
    isTunnel: Bool = false
  ) throws -> String {
    let bytes = bytes(head)
    let parsed = ResponseHead(fieldsMax: limits.fields)
    let outcome = parsed.parse(bytes.span, limits: limits, requestWasHead: requestWasHead)
    guard case .complete(bytes.count) = outcome else {
      Issue.record("not a head: \(outcome): \(head)")
      return ""
    }
    let framing = HeadWriter.ResponseFraming(
      parsed, requestWasHead: requestWasHead, clientMinorVersion: clientMinorVersion)
    let out = Buffer(capacity: 64 * 1024)
    HeadWriter.writeResponse(
      bytes.span, head: parsed, length: bytes.count, framing: framing, keepAlive: keepAlive,
      clientMinorVersion: clientMinorVersion, isTunnel: isTunnel, date: Array(date.utf8).span, into: out)
    #expect(!out.overflowed)
    return text(out.copyBytes())
  }
}
