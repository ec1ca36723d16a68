// No request, response or text of another program ends the process, as far as the parts that look at them can be asked by themselves:
// inputs that were damaged (TestSupport's Mutator), of whose outcome little is looked at.

import Foundation
import Platform
import Policy
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct TrapHuntProxyTests {
  private static let requests = [
    "GET /a/b?x=1&y=&z HTTP/1.1\r\nHost: a:80\r\nCookie: sid=abc; b=\"c\"\r\nAccept-Encoding: gzip;q=0.5\r\n"
      + "If-None-Match: W/\"x\", \"y\"\r\nAuthorization: Basic YTpi\r\n\r\n",
    "POST http://a/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close, x\r\nX: 1\r\nContent-Length: 5\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nCookie: ;;=;sid\r\ncookie: sid=\r\nRange: bytes=0-\r\n\r\n",
  ]
  private static let responses = [
    "HTTP/1.1 200 OK\r\nContent-Type: text/html;charset=x\r\nETag: \"x\"\r\nVary: Accept\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 304\r\nETag: W/\"x\"\r\ncountersign-verified: enforce\r\nConnection: close, etag\r\n\r\n",
    "\r\nHTTP/1.0 206 x\nContent-Type: a/b\nAccept-Ranges: bytes\nTrailer: digest\nX: y\n\n",
    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0, 0\r\n\r\n",
  ]
  private static let words = ["\r\n", "\n", ": ", ";", "=", ",", "\"", "W/", "?", "&", "sid=", "grpc-status: "]

  @Test func headsOnTheirWay() throws {
    var requests = Mutator(51, texts: Self.requests, fragments: Self.words)
    var responses = Mutator(52, texts: Self.responses, fragments: Self.words)
    let head = RequestHead(fieldsMax: 30)
    let answer = ResponseHead(fieldsMax: 30)
    let limits = HeadLimits(headBytes: 4_096, fields: 30)
    var configured = Config.Compression()
    configured.includesCredentials = true
    let rules = [CompressionRule(Config.Compression()), CompressionRule(configured)]
    let out = Buffer(capacity: 16 * 1024)
    let date = Array(HeadDocument.date.utf8)
    for _ in 0..<1_500 {
      let (request, response) = (requests.next(), responses.next())
      var hasRequest = false
      if case .complete = head.parse(request.span, limits: limits) {
        hasRequest = true
        out.removeAll()
        HeadDocument.writeRequest(
          request.span, head, framing: head.framing, webSocket: head.wantsWebSocket, expectsContinue: true, into: out)
        out.append(request.span.extracting(head.target.range), most: requests.below(40), query: .names, .json)
      }
      let wasHead = responses.below(3) == 0
      guard case .complete(let length) = answer.parse(response.span, limits: limits, requestWasHead: wasHead) else {
        continue
      }
      _ = ValidatorMark.read(response.span, answer)
      var coding = ResponseCoding.asIs
      if hasRequest {
        let verdict = responses.pick(rules).judge(
          request.span, head, CompressionRule.Asker(), response.span, answer, contentBytes: answer.statedLength,
          setsCookie: false)
        coding = ResponseCoding(verdict, response.span, answer, nil)
      }
      for isStream in [false, true] {
        out.removeAll()
        HeadWriter.writeResponse(
          response.span, head: answer, length: length,
          framing: HeadWriter.ResponseFraming(answer, requestWasHead: wasHead, clientMinorVersion: responses.below(2)),
          coding: coding, keepAlive: true, clientMinorVersion: 1, isTunnel: answer.status == 101, isStream: isStream,
          date: date.span, into: out)
      }
    }
  }

  @Test func digestsOfFields() throws {
    let fields = [
      Config.Log.Field(name: "account", source: .header("X-Account")),
      Config.Log.Field(name: "session", source: .cookie("sid")), Config.Log.Field(name: "b", source: .cookie("b")),
    ]
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("traps-\(UUID().uuidString)").path
    try PrivateFile.makeDirectory(directory)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    _ = try KeySetStore.add(id: "log", algorithm: .hmac, to: "\(directory)/key")
    let keys = try LogFieldKeys.load(path: "\(directory)/key", group: nil, fields: fields, identity: nil)
    let digests = try #require(FieldDigests(fields, keys))
    var inputs = Mutator(53, texts: Self.requests, fragments: Self.words)
    let head = RequestHead(fieldsMax: 30)
    let out = Buffer(capacity: 1_024)
    for _ in 0..<1_500 {
      let bytes = inputs.next()
      guard case .complete = head.parse(bytes.span, limits: HeadLimits(headBytes: 4_096, fields: 30)) else { continue }
      out.removeAll()
      digests.write(bytes.span, head, into: out)
    }
  }

  @Test func prioritiesAndBudgets() {
    var inputs = Mutator(
      54, texts: ["u=3, i", "i=?1,u=0", "u=7;x,i=?0"], fragments: ["u=", "i", "?", ","], bytesMax: 80)
    var early = EarlyPriorities()
    var budget = HTTP2Budget(nowMilliseconds: inputs.dice.next())
    for _ in 0..<3_000 {
      let priority = HTTP2Priority.read(inputs.next().span)
      #expect((0...7).contains(priority.urgency))
      let stream = Int32(inputs.below(30))
      early.note(priority, stream: stream)
      _ = early.take(stream: Int32(inputs.below(30)))
      _ = budget.note(emptyFrames: inputs.below(3_000), nowMilliseconds: inputs.dice.next())
      _ = budget.noteReset(nowMilliseconds: inputs.dice.next())
      _ = budget.noteRefused(inputs.below(1_000), nowMilliseconds: inputs.dice.next())
      budget.noteSent(inputs.below(100_000), isCut: inputs.below(2) == 0)
      budget.noteRequest()
    }
  }

  @Test func answersOfHealthChecks() {
    let bodies: [[UInt8]] = [
      [0, 0, 0, 0, 2, 8, 1], [0, 0, 0, 0, 6, 0x12, 2, 1, 1, 8, 2],
      [0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    ]
    var inputs = Mutator(55, samples: bodies, bytesMax: 100)
    var lines = Mutator(
      56, texts: ["grpc-status: 0\r\ngrpc-message: %41b\r\n", "Grpc-Status:12\r\nx: y\r\n"],
      fragments: ["\r\n", ":", "grpc-status: ", "-", "+1", "\u{301}"], bytesMax: 300)
    for _ in 0..<2_000 {
      let status = GRPCStatus(lines.next().span)
      let body = inputs.next()
      // A length that is right lets the message be read.
      var framed = body
      if framed.count >= 5, inputs.below(2) == 0 {
        framed.replaceSubrange(..<5, with: [0, 0, 0, 0, UInt8(body.count - 5)])
      }
      _ = GRPCHealth.serving(framed)
      _ = GRPCHealth.judge(framed, status)
    }
  }

  @Test func queriesOfOperators() {
    var inputs = Mutator(57, texts: ["?name=a&for=1000&why=%41%20b", "name=x/y&n=3"], fragments: ["%", "&", "=", "?"])
    for _ in 0..<2_000 {
      let text = inputs.nextText()
      _ = AdminControl.values(text)
      #expect(AdminControl.values("x=\(AdminControl.encoded(text))")?["x"] == text)
    }
  }
}
