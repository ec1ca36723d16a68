// What a client gets to see of an upstream's head, and the answers that are ours.

import Platform
import Proxy
import Testing
import Wire

@Suite struct ResponseWriterTests {
  private static let dated = "Date: \(HeadDocument.date)\n"

  @Test func fieldsStayAsTheyCame() throws {
    #expect(
      try HeadDocument.response(
        "HTTP/1.1 200 Fine by me\nServer: x\nDate: yesterday\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 03")
        == "HTTP/1.1 200 Fine by me\nServer: x\nDate: yesterday\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 3\n\n"
    )
  }

  @Test func whatIsForThisHopStaysHere() throws {
    #expect(
      try HeadDocument.response(
        "HTTP/1.1 200 OK\nConnection: x-hop, keep-alive\nX-Hop: 1\nKeep-Alive: timeout=5\nUpgrade: h2c\nTrailer: x\n"
          + "Proxy-Authenticate: Basic\nProxy-Connection: close\nTE: x\nContent-Length: 0\nA: 1")
        == "HTTP/1.1 200 OK\nA: 1\n\(Self.dated)Content-Length: 0\n\n")
  }

  @Test func aDateIsAddedWhereThereIsNone() throws {
    #expect(try HeadDocument.response("HTTP/1.1 204 No Content") == "HTTP/1.1 204 No Content\n\(Self.dated)\n")
    #expect(try HeadDocument.response("HTTP/1.1 204 No Content\ndate: x") == "HTTP/1.1 204 No Content\ndate: x\n\n")
    // Not to an interim response (RFC 9110 section 6.6.1).
    #expect(try HeadDocument.response("HTTP/1.1 103 Early Hints\nLink: a") == "HTTP/1.1 103 Early Hints\nLink: a\n\n")
  }

  @Test func anEmptyReasonIsWellFormed() throws {
    for line in ["HTTP/1.1 204 ", "HTTP/1.1 204"] {
      #expect(try HeadDocument.response(line) == "HTTP/1.1 204 \n\(Self.dated)\n")
    }
  }

  // MARK: Framing

  @Test func theEndIsToldAsTheClientNeedsIt() throws {
    // Chunks, and an end that only the connection's end tells.
    for head in [
      "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nDate: d", "HTTP/1.1 200 OK\nDate: d", "HTTP/1.0 200 OK\nDate: d",
    ] {
      #expect(try HeadDocument.response(head) == "HTTP/1.1 200 OK\nDate: d\nTransfer-Encoding: chunked\n\n")
      // A client of HTTP/1.0 knows no chunks: the end of the connection is the end.
      #expect(
        try HeadDocument.response(head, keepAlive: false, clientMinorVersion: 0)
          == "HTTP/1.1 200 OK\nDate: d\nConnection: close\n\n")
    }
    for version in [0, 1] {
      #expect(
        try HeadDocument.response(
          "HTTP/1.1 200 OK\nContent-Length: 18446744073\nDate: d", keepAlive: false, clientMinorVersion: version)
          == "HTTP/1.1 200 OK\nDate: d\nContent-Length: 18446744073\nConnection: close\n\n")
    }
  }

  @Test func connectionsAreToldOfToThoseWhoMustKnow() throws {
    let head = "HTTP/1.1 200 OK\nContent-Length: 0\nDate: d"
    let start = "HTTP/1.1 200 OK\nDate: d\nContent-Length: 0\n"
    #expect(try HeadDocument.response(head) == start + "\n")
    #expect(try HeadDocument.response(head, keepAlive: false) == start + "Connection: close\n\n")
    #expect(try HeadDocument.response(head, clientMinorVersion: 0) == start + "Connection: keep-alive\n\n")
    #expect(
      try HeadDocument.response(head, keepAlive: false, clientMinorVersion: 0) == start + "Connection: close\n\n")
    #expect(try HeadDocument.response("HTTP/1.1 100 Continue", keepAlive: false) == "HTTP/1.1 100 Continue\n\n")
  }

  @Test func aTunnelIsOpened() throws {
    #expect(
      try HeadDocument.response(
        "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: k",
        keepAlive: false, isTunnel: true)
        == "HTTP/1.1 101 Switching Protocols\nSec-WebSocket-Accept: k\nConnection: Upgrade\nUpgrade: websocket\n\n")
  }

  /// RFC 9110 sections 8.6 and 9.3.2: the length that content would have had.
  @Test(arguments: [0, 7, 123_456])
  func aHeadResponseKeepsItsLength(length: Int) throws {
    for head in ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"] {
      #expect(
        try HeadDocument.response("\(head)\nA: 1\nContent-Length: \(length)\nDate: d", requestWasHead: true)
          == "\(head)\nA: 1\nContent-Length: \(length)\nDate: d\n\n")
    }
    #expect(
      try HeadDocument.response("HTTP/1.1 304 Not Modified\nContent-Length: \(length)\nDate: d")
        == "HTTP/1.1 304 Not Modified\nContent-Length: \(length)\nDate: d\n\n")
  }

  @Test func withoutContentNoLengthIsMadeUp() throws {
    #expect(
      try HeadDocument.response("HTTP/1.1 200 OK\nDate: d", requestWasHead: true) == "HTTP/1.1 200 OK\nDate: d\n\n")
    #expect(
      try HeadDocument.response("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nDate: d", requestWasHead: true)
        == "HTTP/1.1 200 OK\nDate: d\n\n")
    // RFC 9110 section 8.6: none with 204 and 1xx, not even 0.
    for requestWasHead in [false, true] {
      #expect(
        try HeadDocument.response("HTTP/1.1 204 No Content\nContent-Length: 0\nDate: d", requestWasHead: requestWasHead)
          == "HTTP/1.1 204 No Content\nDate: d\n\n")
      #expect(
        try HeadDocument.response("HTTP/1.1 103 Early Hints\nContent-Length: 0", requestWasHead: requestWasHead)
          == "HTTP/1.1 103 Early Hints\n\n")
    }
  }

  // MARK: What is not how it should be

  private func rewritten(_ raw: String, requestWasHead: Bool = false) -> String {
    let bytes = Array(raw.utf8)
    let head = ResponseHead(fieldsMax: 10)
    guard
      case .complete(let length) = head.parse(
        bytes.span, limits: HeadDocument.limits, requestWasHead: requestWasHead)
    else { return "not a head: \(head.fault.text)" }
    let out = Buffer(capacity: 4_096)
    HeadWriter.writeResponse(
      bytes.span, head: head, length: length,
      framing: HeadWriter.ResponseFraming(head, requestWasHead: requestWasHead, clientMinorVersion: 1), keepAlive: true,
      clientMinorVersion: 1, isTunnel: false, date: Array(HeadDocument.date.utf8).span, into: out)
    return String(decoding: out.copyBytes(), as: UTF8.self)
  }

  /// Whatever its lines ended in, and however often its length was stated: a client reads CRLF, and one length.
  @Test func aBentHeadGoesOutClean() {
    let clean = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nDate: d\r\nContent-Length: 5\r\n\r\n"
    for raw in [
      "HTTP/1.1 200 OK\nA: b\nC: d\nDate: d\nContent-Length: 5\n\n",
      "HTTP/1.1 200 OK\r\nA:b\nContent-Length: 5\r\nC:\td  \r\nDate: d\r\n\r\n",
      "HTTP/1.1 200 OK\nA: b\r\nConnection: x\r\nX: y\r\nC: d\r\nDate: d\r\nContent-Length: 5\r\n\n",
      "\r\nHTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\nContent-Length: 5\r\nC: d\r\nDate: d\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nDate: d\r\nContent-Length: 5, 5\r\n\r\n",
    ] { #expect(rewritten(raw) == clean, "\(raw)") }
    // To HEAD the length stands for content that does not come, and stands once.
    let repeated = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nDate: d\r\n\r\n"
    #expect(
      rewritten(repeated, requestWasHead: true) == "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n\r\n")
    #expect(
      rewritten("HTTP/1.1 204 No\nContent-Length: 3\nDate: d\n\n") == "HTTP/1.1 204 No\r\nDate: d\r\n\r\n")
  }

  // MARK: The mark between a validator and its edge

  @Test(arguments: ["Countersign-Refusal", "countersign-refusal", "COUNTERSIGN-REFUSAL", "Countersign-Verified"])
  func theMarkNeverPassesOn(_ name: String) throws {
    for value in ["starting", "replay", "enforce", ""] {
      #expect(
        try HeadDocument.response("HTTP/1.1 503 S\nA: 1\n\(name): \(value)\nContent-Length: 0\nDate: d")
          == "HTTP/1.1 503 S\nA: 1\nDate: d\nContent-Length: 0\n\n")
    }
  }

  @Test(
    arguments: [
      ("HTTP/1.1 503 x\nCountersign-Refusal: starting", .starting),
      ("HTTP/1.1 503 x\ncountersign-refusal:Starting ", .starting),
      ("HTTP/1.1 503 x\nCountersign-Refusal: replay", .none), ("HTTP/1.1 503 x", .none),
      ("HTTP/1.1 403 x\nCountersign-Refusal: starting", .none), ("HTTP/1.1 503 x\nEarly-Data: starting", .none),
      ("HTTP/1.1 503 x\nX-Countersign-Refusal: starting", .none), ("HTTP/1.1 503 x\nCountersign-Refusal:", .none),
      ("HTTP/1.1 200 x\nCountersign-Verified: enforce", .enforced),
      ("HTTP/1.1 502 x\ncountersign-verified: Enforce", .enforced),
      ("HTTP/1.1 204 x\nCountersign-Verified: observe", .observed),
      ("HTTP/1.1 403 x\nCountersign-Verified: refused", .refused),
      ("HTTP/1.1 200 x\nCountersign-Verified: refused", .none), ("HTTP/1.1 200 x\nCountersign-Verified: yes", .none),
      ("HTTP/1.1 200 x\nCountersign_Verified: enforce", .none),
      ("HTTP/1.1 200 x\nCountersign-Verified: enforce\nCountersign-Verified: enforce", .none),
      ("HTTP/1.1 503 x\nCountersign-Refusal: starting\nCountersign-Verified: enforce", .none),
    ] as [(String, ValidatorMark)])
  func aMarkIsUnderstood(_ text: String, mark: ValidatorMark) throws {
    let bytes = HeadDocument.bytes(text)
    let head = ResponseHead(fieldsMax: 10)
    guard case .complete = head.parse(bytes.span, limits: HeadDocument.limits, requestWasHead: false) else {
      Issue.record("not a head")
      return
    }
    #expect(ValidatorMark.read(bytes.span, head) == mark)
  }

  // MARK: Our own answers

  private func answer(
    _ status: Int, keepAlive: Bool = true, isHead: Bool = false, mark: ValidatorMark = .none
  ) -> [UInt8] {
    let out = Buffer(capacity: 4_096)
    let reason = HeadWriter.reason(status)
    HeadWriter.writeAnswerHead(
      status: status, reason: reason, contentBytes: HeadWriter.answerBytes(reason, ""), keepAlive: keepAlive,
      mark: mark,
      date: Array(HeadDocument.date.utf8).span, into: out)
    if !isHead { HeadWriter.writeAnswerContent(status: status, reason, "", into: out) }
    return out.copyBytes()
  }

  @Test func everyRefusalHasAWholeAnswer() throws {
    for status in Set(Refusal.allCases.map { Int($0.status) }).subtracting([0]).sorted() {
      for keepAlive in [false, true] {
        let bytes = answer(status, keepAlive: keepAlive)
        let head = ResponseHead(fieldsMax: 10)
        guard case .complete(let length) = head.parse(bytes.span, limits: HeadDocument.limits, requestWasHead: false)
        else {
          Issue.record("\(status): not a response")
          continue
        }
        #expect(head.status == status && head.keepAlive == keepAlive && !head.reason.isEmpty && head.has(.date))
        #expect("\(HeadWriter.reason(status))" != "Error", "\(status) has no words")
        #expect(head.framing == .length(UInt64(bytes.count - length)))
        // To HEAD the same head, and nothing after it.
        #expect(answer(status, keepAlive: keepAlive, isHead: true) == Array(bytes.prefix(length)))
      }
    }
  }

  @Test func answersSayWhatTheirStatusAsksFor() {
    #expect(HeadDocument.text(answer(405)).contains("\nAllow: GET, "))
    #expect(HeadDocument.text(answer(503)).contains("\nRetry-After: 1\n"))
    #expect(!HeadDocument.text(answer(503)).contains("countersign"))
    #expect(HeadDocument.text(answer(503, mark: .starting)).contains("\ncountersign-refusal: starting\n"))
    #expect(
      HeadDocument.text(answer(403, keepAlive: false)) == """
        HTTP/1.1 403 Forbidden
        Date: \(HeadDocument.date)
        Content-Type: text/plain
        Content-Length: 14
        Connection: close

        403 Forbidden

        """)
  }
}
