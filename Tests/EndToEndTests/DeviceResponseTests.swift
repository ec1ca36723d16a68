// Responses of devices and old servers: what has one reading reaches the client, clean, and its connection serves nothing more;
// what has two is a 502 whose log line says what it was.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct DeviceResponses {
    struct Row: Sendable {
      /// What the server sends; then it waits.
      let sent: String
      let status: Int
      /// What the client reads as content; nil where the connection ends before the content is whole.
      var content: String? = ""
      var isReused = false
      /// In the log, for what is refused.
      var detail: String?
      var method = "GET"
    }

    /// Add a line for what the next device sends.
    static let rows: [Row] = [
      // A head of an interim response counts as well.
      Row(sent: "HTTP/1.1 103 E\n\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 103, content: "ok"),
      Row(
        sent: "HTTP/1.1 103 E\r\nContent-Length: 0, 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        status: 103, content: "ok"),
      Row(
        sent: "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 103, content: "ok",
        isReused: true),
      Row(sent: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\nX: y\n\n", status: 200, content: "ok"),
      Row(sent: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, content: "ok", isReused: true),
      Row(sent: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", status: 200, content: "ok"),
      Row(sent: "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\nok", status: 200, content: "ok"),
      Row(sent: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n", status: 200, content: "ok"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2   \r\nok\r\n0   \r\n\r\n", status: 200,
        content: "ok"),
      Row(sent: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 304),
      Row(sent: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", status: 204, isReused: true),
      Row(sent: "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", status: 204),
      Row(sent: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 204),
      Row(
        sent: "HTTP/1.1 204 No Content\r\nContent-Length: 52\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        status: 204),
      Row(sent: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", status: 200, content: "ok"),
      Row(sent: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", status: 200, content: "ok"),
      Row(sent: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", status: 200, method: "HEAD"),
      Row(sent: "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok", status: 600, content: "ok", isReused: true),
      Row(sent: "HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nok", status: 999, content: "ok", isReused: true),
      Row(
        sent: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\noka", status: 502,
        detail: "the response's Content-Length is no number, or states two that differ"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 502,
        detail: "the response has Content-Length and Transfer-Encoding"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok", status: 502,
        detail: "a folded field line, or a space before the first one, in the response"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok", status: 502,
        detail: "a space between a field's name and its colon in the response"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nX: y\rContent-Length: 2\r\n\r\nok", status: 502,
        detail: "a CR without LF in the response's head"),
      Row(
        sent: "HTTP/1.1 103 Early\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", status: 502,
        detail: "an interim response (1xx) states content"),
      Row(sent: "HTTP/2 200\r\n\r\n", status: 502, detail: "the response's version is neither HTTP/1.0 nor HTTP/1.1"),
      Row(sent: "ICY 200 OK\r\n\r\n", status: 502, detail: "what the server sent is no HTTP/1 response"),
      Row(
        sent: "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", status: 502,
        detail: "the server switches to a protocol that was not asked for"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", status: 200, content: nil,
        detail: "the chunks of the response's body are malformed"),
      Row(
        sent: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 2\r\n\r\n", status: 200,
        content: nil,
        detail: "the response's trailers are malformed, too long, or hold a field that frames a message"),
      Row(
        sent:
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \(String(repeating: "y", count: 9_000))\r\n\r\n",
        status: 200, content: nil,
        detail: "the response's trailers are malformed, too long, or hold a field that frames a message"),
    ]

    /// Behind another response an empty line says that the connection is out of step: what follows may be another request's.
    @Test func anEmptyLineBehindAResponseIsNotPassedOver() throws {
      let backend = try RecordingBackend { exchange in
        try exchange.finishBody()
        let lead = exchange.target.hasPrefix("/lead") ? "\r\n" : ""
        try exchange.send("\(lead)HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      }
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      let connection = try Connection(to: edge["public"])
      // Before the first response it means nothing; its connection is not kept all the same.
      #expect(try connection.get("/leading").text == "ok")
      #expect(try connection.get("/first").text == "ok")
      #expect(backend.connectionCount == 2)
      #expect(try connection.get("/lead").status == 502)
      #expect(backend.connectionCount == 2)
      #expect(try edge.access.wait(path: "/lead").detail == "what the server sent is no HTTP/1 response")
    }

    @Test func whatHasOneReadingReachesTheClientAndTheRestIsNamed() throws {
      let backend = try RecordingBackend { exchange in
        guard let row = Int(exchange.target.dropFirst()) else { return try exchange.reply("fresh") }
        try exchange.finishBody()
        try exchange.send(Self.rows[row].sent)
      }
      let workspace = try Workspace()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.workers = "1"
      let edge = try Countersign(configuration, in: workspace)
      for (index, row) in Self.rows.enumerated() {
        let connection = try Connection(to: edge["public"])
        let before = backend.connectionCount
        #expect(try connection.get("/first").text == "fresh")
        let serving = backend.connectionCount
        try connection.send(Text.request("/\(index)", method: row.method))
        let name = "row \(index): \(row.sent.debugDescription)"
        if let content = row.content {
          var head = try #require(try connection.readHead(), "\(name)")
          #expect(head.text.hasPrefix("HTTP/1.1 \(row.status) "), "\(name): \(head.text)")
          // Clean: every LF has its CR, and a length stands once.
          #expect(!head.text.replacing("\r\n", with: "").contains { $0 == "\n" || $0 == "\r" }, "\(name)")
          #expect(head.all("content-length").count <= 1, "\(name)")
          if row.status < 200 { head = try #require(try connection.readHead(), "\(name)") }
          if row.status != 502 {
            let body =
              head.isChunked
              ? try connection.readChunked().text
              : try connection.readText(row.method == "HEAD" ? 0 : head.contentLength ?? 0)
            #expect(body == content, "\(name)")
            // The client's connection goes on, over another one to the server unless all was as it should be.
            #expect(try connection.get("/after").text == "fresh", "\(name)")
            #expect(
              (backend.connectionCount == serving) == row.isReused,
              "\(name): \(before) \(serving) \(backend.connectionCount)")
          }
        } else {
          // Begun, and visibly cut.
          let text = String(decoding: (try? connection.readToEnd()) ?? [], as: UTF8.self)
          #expect(!text.hasSuffix("0\r\n\r\n"), "\(name)")
        }
        let entry = try edge.access.wait(path: "/\(index)")
        #expect(entry.detail == row.detail, "\(name)")
        #expect((entry.refusal != nil) == (row.detail != nil), "\(name)")
      }
    }
  }
}
