// The tables of faults, and what a client says of itself, by HTTP/2: to an edge and to a validator. What is refused is refused by
// name on its own stream, and nothing of it reaches the backend.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct HTTP2Spoof {
    private static let edge = Result { try HTTP2Site() }
    private static let validator = Result { try ValidatorBench(.shared, speaksHTTP2: true) }
    private static let bound = Result { try ValidatorBench(.bound, speaksHTTP2: true) }

    private func mark() -> String { "/http2/\(UUID().uuidString)" }

    /// Refused at the edge, whose backend sees nothing; then an honest request is served on a connection of its own.
    private func refusedAtTheEdge(
      _ message: HTTP2Message, as refusal: String, status: Int, isInBody: Bool = false, mark: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let site = try Self.edge.get()
      let start = site.edge.access.end
      let client = try site.begun()
      let stream = try client.send(message)
      let response = try client.outcome(on: stream)
      expectRefused(response, status: status, sourceLocation)
      #expect(!response.text.contains(refusal), "the client is told too much", sourceLocation: sourceLocation)
      let entry = try site.edge.access.wait(from: start, for: refusal) { $0.refusal != nil }
      #expect(entry.refusal == refusal, sourceLocation: sourceLocation)
      #expect(entry.client == Peer.client(), sourceLocation: sourceLocation)
      let honest = "\(mark)/honest"
      #expect(try site.begun().get(honest).text == Peer.client(), sourceLocation: sourceLocation)
      _ = try site.backend.waitForRequest(to: honest)
      if isInBody {
        #expect(!site.backend.completed.contains(mark), "it reached the backend whole", sourceLocation: sourceLocation)
      } else {
        #expect(!site.backend.saw("\(mark) "), "the backend saw it", sourceLocation: sourceLocation)
      }
      #expect(!site.backend.saw(Peer.claimed), "the backend saw the claim", sourceLocation: sourceLocation)
      #expect(!site.backend.saw("/smuggled"), "another request came of it", sourceLocation: sourceLocation)
    }

    /// Answered with the status, or reset as a message that is none.
    private func expectRefused(_ response: HTTP2Response, status: Int, _ sourceLocation: SourceLocation) {
      if response.status == 0 {
        #expect(response.reset == HTTP2Code.protocolError.rawValue, sourceLocation: sourceLocation)
      } else {
        #expect(response.status == status, sourceLocation: sourceLocation)
      }
    }

    // MARK: By the tables of HTTP/1

    /// Those that HTTP/2 can say.
    static let sayable = MalformedRequest.all.filter { HTTP2Message(Array($0.text("/x", "").utf8)) != nil }

    @Test func mostOfTheTableCanBeSaid() {
      let unsayable = Set(MalformedRequest.all.map(\.testDescription)).subtracting(Self.sayable.map(\.testDescription))
      #expect(
        unsayable == [
          "line-ending: a bare line feed after the start line", "obs-fold: a space before the first field",
          "name-token: no colon", "request-line: two spaces", "request-line: a fourth word", "request-line: no version",
          "version: HTTP/1.2", "version: HTTP/2.0",
        ])
    }

    @Test(arguments: sayable) func theEdgeRefusesMalformedRequests(_ item: MalformedRequest) throws {
      let mark = mark()
      let message = try #require(HTTP2Message(Array(item.text(mark, "").utf8)))
      try refusedAtTheEdge(message, as: message.refusal(for: item.refusal), status: item.status, mark: mark)
    }

    @Test(arguments: sayable) func theValidatorRefusesMalformedRequests(_ item: MalformedRequest) throws {
      let bench = try Self.validator.get()
      let mark = mark()
      let identity = SignedRequest(mark, by: bench.forger).identityFields.map { $0 + "\r\n" }.joined()
      let message = try #require(HTTP2Message(Array(item.text(mark, identity).utf8)))
      try bench.refuses(message, as: message.refusal(for: item.refusal), status: item.status, mark: mark)
    }

    @Test(arguments: ForgedRequest.all) func theValidatorRefusesForgedRequests(_ item: ForgedRequest) throws {
      let bench = try Self.validator.get()
      let mark = mark()
      let message = try #require(HTTP2Message(Array(item.text(mark, bench.forger).utf8), decodesChunks: true))
      let refusal = message.refusal(for: item.refusal)
      try bench.refuses(
        message, as: refusal, status: refusal == item.refusal ? item.status : 400, isInBody: item.isInBody, mark: mark)
    }

    @Test(arguments: ForgedHeader.all.filter { $0.refusal != "request-line" })
    func theValidatorRefusesForgedHeaders(_ item: ForgedHeader) throws {
      let bench = try Self.bound.get()
      let mark = mark()
      let bytes = item.bytes(mark, bench.forger)
      let at = try #require(bytes.withUnsafeBytes { $0.firstIndex(of: "GET /") })
      let message = try #require(HTTP2Message(Array(bytes[at...])))
      try bench.refuses(message, behind: Array(bytes[..<at]), as: item.refusal, status: item.status, mark: mark)
    }

    /// The requests that two readers of HTTP/1 could divide in two ways.
    @Test(arguments: Document.smuggling.filter { HTTP2Message(Array($0.bytes.prefix($0.length))) != nil })
    func whatSmugglesByHTTP1SmugglesNothing(_ document: Document) throws {
      let mark = mark()
      let text = String(decoding: document.bytes, as: UTF8.self)
      // Its own path, so that it is known at the backend; what is no UTF-8 keeps the one that it has.
      let bytes =
        Array(text.utf8) == document.bytes
        ? Array(text.replacing(" / HTTP", with: " \(mark) HTTP").utf8) : document.bytes
      let message = try #require(HTTP2Message(bytes))
      switch document.expected {
      case .refused(let name):
        try refusedAtTheEdge(message, as: message.refusal(for: name), status: 400, mark: mark)
      case .complete where message.refusal(for: "") != "":
        try refusedAtTheEdge(message, as: message.refusal(for: ""), status: 400, mark: mark)
      case .complete where message.hasOtherLength:
        try refusedAtTheEdge(message, as: "content-length-mismatch", status: 400, mark: mark)
      case .complete:
        let client = try Self.edge.get().begun()
        #expect(try client.response(on: client.send(message)).status == 200)
      case .incomplete: Issue.record("no case of the table is")
      }
    }

    // MARK: What only HTTP/2 can say

    @Test(arguments: HTTP2Malformed.all) func theEdgeRefusesMalformedMessages(_ item: HTTP2Malformed) throws {
      let mark = mark()
      try refusedAtTheEdge(
        item.message(mark, []), as: item.refusal, status: item.status, isInBody: item.isInBody, mark: mark)
    }

    @Test(arguments: HTTP2Malformed.all) func theValidatorRefusesMalformedMessages(_ item: HTTP2Malformed) throws {
      let bench = try Self.validator.get()
      let mark = mark()
      var request = SignedRequest(mark, by: bench.forger)
      if item.message(mark, []).fields.first?.valueText == "POST" { request.method = "POST" }
      let identity = request.identityFields.map { line in
        let colon = line.firstIndex(of: ":")!
        return HPACKField(String(line[..<colon]), String(line[colon...].dropFirst(2)))
      }
      try bench.refuses(
        item.message(mark, identity), as: item.refusal, status: item.status, isInBody: item.isInBody, mark: mark)
    }

    /// What is said to have no body is whole with its head, and may have gone on; nothing behind it goes anywhere.
    @Test func dataBehindALengthOfNothingGoesNowhere() throws {
      let site = try Self.edge.get()
      let mark = mark()
      let client = try site.begun()
      let fields = client.fields(mark, method: "POST", [("content-length", "0")])
      let stream = try client.send(HTTP2Message(fields, body: Array("GET /smuggled HTTP/1.1\r\n".utf8)))
      try client.wait(for: "a reset") { $0.streams[stream]?.reset != nil }
      #expect(client.streams[stream]?.reset == HTTP2Code.protocolError.rawValue)
      #expect(try client.get("\(mark)/after").text == Peer.client())
      #expect(!site.backend.saw("/smuggled"))
    }

    /// RFC 9113 section 8.1.1, where more comes than was said: while the request is under way it is refused, though all that was said is at
    /// the backend already.
    @Test(arguments: [0, 2]) func dataBehindAWholeBodyIsRefused(length: Int) throws {
      let gate = Guarded(false)
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        if exchange.target == "/waits" { _ = gate.wait(until: .usual) { $0 ? true : nil } }
        try exchange.reply("answer")
      }
      defer { gate.with { $0 = true } }
      let client = try site.begun()
      let stream = try client.open(
        client.block("/waits", method: "POST", [("content-length", "\(length)")]), ends: false)
      if length > 0 { try client.send(.data(stream, [UInt8](repeating: 0x61, count: length))) }
      _ = try site.backend.waitForRequest(to: "/waits")
      try client.settle()
      try client.send(.data(stream, Array("GET /smuggled HTTP/1.1\r\n".utf8), ends: true))
      let response = try client.outcome(on: stream)
      #expect(response.status == 400)
      try client.wait(for: "a reset") { $0.streams[stream]?.reset != nil }
      #expect(client.streams[stream]?.reset == HTTP2Code.protocolError.rawValue)
      #expect(try site.edge.access.wait(path: "/waits").refusal == "content-length-mismatch")
      #expect(try site.refusals("content-length-mismatch") == 1)
      #expect(try client.get("/after").status == 200)
      #expect(!site.backend.saw("/smuggled"))
    }

    /// Where the answer is whole, the exchange is over and recorded; what comes behind it is dropped with the stream.
    @Test(arguments: [0, 2]) func dataBehindTheAnswerGoesNowhere(length: Int) throws {
      let site = try HTTP2Site { exchange in
        try exchange.finishBody()
        try exchange.reply("answer")
      }
      let client = try site.begun()
      for index in 0..<10 {
        let fields = [("content-length", "\(length)")]
        let stream = try client.open(client.block("/\(index)", method: "POST", fields), ends: false)
        if length > 0 { try client.send(.data(stream, [UInt8](repeating: 0x61, count: length))) }
        #expect(try client.response(on: stream).text == "answer")
        try client.send(.data(stream, Array("GET /smuggled HTTP/1.1\r\n".utf8), ends: true))
        let line = try site.edge.access.wait(path: "/\(index)")
        #expect(line.status == 200 && line.refusal == nil)
      }
      #expect(try client.get("/after").text == "answer")
      #expect(!site.backend.saw("/smuggled"))
    }

    /// RFC 9113 section 8.2.3.
    @Test func cookieCrumbsArriveAsOneLine() throws {
      let site = try Self.edge.get()
      let mark = mark()
      let crumbs = (0..<200).map { "crumb\($0)=value\($0)" }
      let response = try site.begun().get(mark, fields: crumbs.map { ("cookie", $0) })
      #expect(response.status == 200)
      let head = try site.backend.waitForRequest(to: mark).head
      #expect(head.all("cookie") == [crumbs.joined(separator: "; ")])
    }

    @Test func whatHTTP2AllowsIsServed() throws {
      let site = try Self.edge.get()
      let client = try site.begun()
      for fields in [
        [("te", "trailers")], [("host", Site.host)], [("host", Site.host.uppercased())], [("x-empty", "")],
      ] {
        let mark = mark()
        #expect(try client.get(mark, fields: fields).text == Peer.client(), "\(fields)")
        let head = try site.backend.waitForRequest(to: mark).head
        #expect(head["host"]?.lowercased() == Site.host)
        #expect(head["te"] == nil)
      }
      // Host in place of :authority (RFC 9113 section 8.3.1).
      let mark = mark()
      let fields = client.fields(mark).filter { $0.nameText != ":authority" } + [HPACKField("host", Site.host)]
      #expect(try client.response(on: client.send(HTTP2Message(fields))).text == Peer.client())
      #expect(try site.backend.waitForRequest(to: mark).head["host"] == Site.host)
    }
  }
}
