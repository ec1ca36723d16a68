// Answers that come before their request is over, over HTTP/2: they are seen by clients that look at them only when they have nothing more
// to send, and by those that send no more; what is read for nothing is bounded.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2EarlyAnswers {
    private static let answer = "an answer of the route's own"

    /// An edge that answers before it has read any body: a page that is not there, a redirect, a success, no password, too large a body.
    private static func site(_ files: Workspace, timeouts: [String] = []) throws -> HTTP2Site {
      let users = try files.write(
        "users",
        "alice:$6$salt$egUxKNxDs8kPfh8iPMNcosMhb2eWah6d3R44JDm5Rj/j/XWR5E33QPd0YmHXoDHOIDR6kL5D3JcQcz0O8FHE00\n")
      return try HTTP2Site(keepsBytes: false) { exchange in
        exchange.takesBodyItself()
        // What is refused for its body must not be answered before its body was looked at.
        guard exchange.target.hasPrefix("/server/") else {
          _ = try? exchange.connection.readToEnd()
          return exchange.end()
        }
        let status = exchange.target == "/server/success" ? "200 OK" : "403 Forbidden"
        // It reads on for nothing, and takes no further request.
        try exchange.send("HTTP/1.1 \(status)\r\nConnection: close\r\nContent-Length: 6\r\n\r\nserver")
        _ = try? exchange.connection.readToEnd()
        exchange.end()
      } change: {
        $0.timeouts = timeouts
        $0.listeners[0].more = ["protocols: [h2c, http/1.1]"]
        $0.routes = [
          "path: /moved, redirect: { host: other.example }",
          "path: /success, respond: { status: 201, body: \"\(answer)\" }",
          "path: /password, access: { htpasswd: \"\(users)\" }, to: backend",
          "path: /large, limits: { body: 500B }, to: backend",
          "path_prefix: /server/, to: backend",
        ]
      }
    }

    struct Case: Sendable, CustomTestStringConvertible {
      var path: String
      var status: Int
      var text: String
      var refusal: String?
      var testDescription: String { path }
    }

    static let cases = [
      Case(path: "/nowhere", status: 404, text: "404 Not Found\n", refusal: "route-none"),
      Case(path: "/moved", status: 308, text: ""),
      Case(path: "/success", status: 201, text: answer),
      Case(path: "/password", status: 401, text: "401 Unauthorized\n", refusal: "credentials-missing"),
      Case(path: "/large", status: 413, text: "413 Content Too Large\n", refusal: "body-too-large"),
      Case(path: "/server/refusal", status: 403, text: "server"),
    ]

    /// curl 7.88 lost the answer to a reset that came with it.
    @Test(.threads(1), arguments: cases) func curlShowsTheAnswerHoweverLargeTheBody(_ expected: Case) throws {
      let files = try Workspace()
      let site = try Self.site(files)
      for size in [1_000, 100_000, 10_000_000] {
        let data = try files.write("body", String(repeating: "b", count: size))
        for _ in 0..<5 {
          let answer = try Curl(workspace: site.workspace).fetch(
            "https://\(Site.host):\(site.edge["tls"].port)\(expected.path)",
            ["--http2", "--cacert", Certificates.standard.ca, "--data-binary", "@\(data)"])
          #expect(answer.exit == .code(0) && answer.version == "2", "\(size) bytes: \(answer.error)")
          #expect(answer.status == expected.status && answer.body == expected.text)
        }
      }
      let entry = try site.edge.access.wait(path: expected.path)
      #expect(entry.status == expected.status && entry.refusal == expected.refusal && entry.client == Peer.client())
      if let refusal = expected.refusal { #expect(try site.refusals(refusal) == 15) }
      try eventually("no request is left") { try site.edge.metric("countersign_open_requests") == 0 }
    }

    /// A client that reads nothing before it has sent everything needs windows, and no reset.
    @Test(arguments: cases) func theRestOfTheRequestIsReadBehindTheAnswer(_ expected: Case) throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      let stream = try client.open(client.block(expected.path, method: "POST"), ends: false)
      let body = [UInt8](repeating: 0x62, count: 50_000)
      var left = 3_000_000
      while left > 0 {
        try client.wait(for: "a window") { min($0.sendWindow, $0.streams[stream]!.sendWindow) > 0 }
        let piece = min(left, client.sendWindow, client.streams[stream]!.sendWindow, client.frameSizeMax, body.count)
        left -= piece
        try client.send(.data(stream, Array(body.prefix(piece)), ends: left == 0))
      }
      let response = try client.response(on: stream)
      #expect(response.status == expected.status && response.text == expected.text && response.hasEnded)
      try client.settle()
      #expect(client.streams[stream]?.reset == nil && client.goAway == nil)
      // What was dropped takes nothing from the connection's window.
      #expect(client.sendWindow > (1 << 20) / 2)
    }

    /// Once the rest does not come, the stream is reset without an error, and the connection goes on.
    @Test func aClientThatSendsNoMoreIsResetWithoutAnError() throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      let stream = try client.open(client.block("/nowhere", method: "POST", [("content-length", "9000")]), ends: false)
      try client.send(.data(stream, [1, 2, 3]))
      try client.wait(for: "the answer") { $0.streams[stream]?.hasEnded == true }
      #expect(client.streams[stream]?.reset == nil)
      let seconds = try secondsTaken { try client.wait(for: "a reset") { $0.streams[stream]?.reset != nil } }
      #expect(client.streams[stream]?.reset == HTTP2Code.noError.rawValue)
      #expect(seconds < 10)
      #expect(try site.edge.access.wait(path: "/nowhere").refusal == "route-none")
      #expect(try client.get("/nowhere").status == 404)
    }

    /// A server's success that comes early has its reset at once: curl 7.88 would wait for good.
    @Test func curlDoesNotWaitBehindAnEarlySuccess() throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      let stream = try client.open(client.block("/server/success", method: "POST"), ends: false)
      try client.send(.data(stream, [1, 2, 3]))
      try client.wait(for: "a reset") { $0.streams[stream]?.reset != nil }
      #expect(client.streams[stream]?.reset == HTTP2Code.noError.rawValue && client.streams[stream]?.hasEnded == true)
    }

    /// Who has the answer may take the request back as often as it likes: that is no reset before an answer.
    @Test func aRequestThatIsTakenBackBehindItsAnswerIsLoggedAsAnswered() throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      for _ in 0..<400 {
        let stream = try client.open(client.block("/nowhere", method: "POST"), ends: false)
        try client.wait(for: "the answer") { $0.streams[stream]?.hasEnded == true }
        try client.send(.reset(stream))
      }
      try client.settle()
      #expect(client.goAway == nil)
      try eventually("all lines") { try site.refusals("route-none") == 400 }
      #expect(try site.refusals("client-reset") == 0 && site.refusals("http2-resets") == 0)
    }

    @Test func aClientThatGoesBehindItsAnswerIsLoggedAsAnswered() throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      let stream = try client.open(client.block("/server/refusal", method: "POST"), ends: false)
      try client.wait(for: "the answer") { $0.streams[stream]?.hasEnded == true }
      client.connection.close()
      let entry = try site.edge.access.wait(path: "/server/refusal")
      #expect(entry.status == 403 && entry.refusal == nil)
    }

    @Test(arguments: [true, false]) func aProcessThatEndsBehindItsAnswerHasCutNoRequest(isHTTP2: Bool) throws {
      let site = try Self.site(Workspace(), timeouts: ["drain: 0s"])
      let client = isHTTP2 ? try site.begun() : nil
      let connection = isHTTP2 ? nil : try Connection(to: site.edge["cleartext"], from: Peer.client())
      if let client {
        let stream = try client.open(client.block("/server/refusal", method: "POST"), ends: false)
        try client.wait(for: "the answer") { $0.streams[stream]?.hasEnded == true }
      } else if let connection {
        try connection.send("POST /server/refusal HTTP/1.1\r\nHost: \(Site.host)\r\nContent-Length: 9000\r\n\r\n")
        #expect(try connection.readResponse().status == 403)
      }
      site.edge.process.signal(SIGTERM)
      try site.edge.said("drained: 0 requests and 0 tunnels were cut")
      let entry = try site.edge.access.wait(path: "/server/refusal")
      #expect(entry.status == 403 && entry.refusal == nil)
    }

    /// What is read for nothing has an end, and going there counts as a reset that the client has caused.
    @Test func whatIsReadForNothingIsBounded() throws {
      let site = try Self.site(Workspace())
      let client = try site.begun()
      let stream = try client.open(client.block("/nowhere", method: "POST"), ends: false)
      let most = 64 << 20
      var sent = 0
      while client.streams[stream]?.reset == nil, sent < 2 * most {
        try client.wait(for: "a window, or the end") {
          min($0.sendWindow, $0.streams[stream]!.sendWindow) > 0 || $0.streams[stream]?.reset != nil
        }
        let piece = min(client.sendWindow, client.streams[stream]!.sendWindow, client.frameSizeMax)
        guard piece > 0, client.streams[stream]?.reset == nil else { continue }
        try client.send(.data(stream, [UInt8](repeating: 0x62, count: piece)))
        sent += piece
      }
      #expect(client.streams[stream]?.reset == HTTP2Code.noError.rawValue)
      #expect(sent >= most && sent <= most + 2 << 20)
      #expect(try client.get("/nowhere").status == 404)
    }
  }
}
