// The tests' own HTTP/2 client against nginx, so that a red test elsewhere is the product's fault.

import TestSupport
import Testing

extension EndToEnd {
  @Suite struct HTTP2ClientHarness {
    private static func nginx(_ workspace: Workspace, _ backend: RecordingBackend? = nil, isTLS: Bool = false) throws
      -> Nginx
    {
      let certificate = try Certificates.standard.app
      let tls = isTLS ? "ssl_certificate \(certificate.certificate); ssl_certificate_key \(certificate.key);" : ""
      let proxied = backend.map {
        "location /backend/ { proxy_pass http://\($0.address); proxy_request_buffering off; proxy_buffering off; }"
      }
      return try Nginx(
        .http,
        """
        server { listen LISTEN \(isTLS ? "ssl " : "")http2; \(tls)
          location / { add_header X-Proto "$server_protocol"; return 200 "$request_method $uri $http_x_ask\\n"; }
          \(proxied ?? "") }
        """, in: workspace)
    }

    @Test(arguments: [false, true]) func oneRequestAfterTheOther(isTLS: Bool) throws {
      let server = try Self.nginx(try Workspace(), isTLS: isTLS)
      let client: HTTP2Client = try isTLS ? .tls(to: server.address) : .cleartext(to: server.address)
      for index in 0..<3 {
        let response = try client.get("/p/\(index)", fields: [("x-ask", "this \(index)")])
        #expect(response.status == 200)
        #expect(response.text == "GET /p/\(index) this \(index)\n")
        #expect(response["x-proto"] == "HTTP/2.0")
        #expect(response.reset == nil)
      }
      #expect(client.settings[.maxConcurrentStreams] == 128)
      try client.settle()
    }

    @Test func manyStreamsAtOnce() throws {
      let server = try Self.nginx(try Workspace())
      let client = try HTTP2Client.cleartext(to: server.address)
      let streams = try (0..<50).map { try client.begin("/many/\($0)") }
      for (index, stream) in streams.enumerated().reversed() {
        #expect(try client.response(on: stream).text == "GET /many/\(index) \n")
      }
    }

    /// A body of some windows each way, and one that waits for the window that it is given.
    @Test func bodiesUnderFlowControl() throws {
      let backend = try RecordingBackend { exchange in
        let body = try exchange.readBody()
        try exchange.reply(String(repeating: "x", count: body.bytes.count))
      }
      let server = try Self.nginx(try Workspace(), backend)
      let client = try HTTP2Client.cleartext(to: server.address)
      let body = [UInt8](repeating: 0x61, count: 1 << 20)
      let response = try client.get(
        "/backend/echo", method: "POST", fields: [("content-length", "\(body.count)")], body: body)
      #expect(response.body.count == body.count)

      let narrow = try HTTP2Client.cleartext(to: server.address, settings: [(.initialWindowSize, 10)])
      narrow.givesWindowsBack = false
      let stream = try narrow.begin("/narrow")
      try narrow.wait(for: "the first ten bytes") { $0.streams[stream]?.body.count == 10 }
      try narrow.settle()
      #expect(narrow.streams[stream]?.body.count == 10)
      try narrow.send(.windowUpdate(stream, by: 1000))
      #expect(try narrow.response(on: stream).text == "GET /narrow \n")
      #expect(narrow.streams[stream]?.dataFrameCounts.first == 10)
    }

    @Test func resetsAndTheEndAreSeen() throws {
      let server = try Self.nginx(try Workspace())
      let client = try HTTP2Client.cleartext(to: server.address)
      let stream = try client.open(HPACKBlock(client.fields("/x").filter { $0.nameText != ":path" }).bytes)
      let response = try client.response(on: stream)
      #expect(response.reset != nil || response.status == 400)
      #expect(try client.get("/after").status == 200)
      try client.send(HTTP2Frame(.ping, [1, 2, 3]))
      try client.waitForEnd()
      #expect(client.goAway?.code == HTTP2Code.frameSizeError.rawValue)
    }

    /// Indexed fields and names, Huffman coding and table sizes, as another decoder reads them.
    @Test func everyRepresentation() throws {
      let server = try Self.nginx(try Workspace())
      let client = try HTTP2Client.cleartext(to: server.address)
      for indexing in [HPACKBlock.Indexing.incremental, .without, .never] {
        for isHuffman in [false, true] {
          var block = HPACKBlock()
          block.tableSize(0)
          block.tableSize(4096)
          block.indexed(2)
          block.indexed(6)
          block.literal(HPACKField(":path", "/r"), indexing, nameIndex: 4, isHuffman: isHuffman)
          block.literal(HPACKField(":authority", Site.host), indexing, nameIndex: 1, isHuffman: isHuffman)
          block.literal(HPACKField("x-ask", "it{}~"), indexing, isHuffman: isHuffman)
          #expect(try client.response(on: client.open(block.bytes)).text == "GET /r it{}~\n")
        }
      }
      var first = HPACKBlock(client.fields("/r"))
      first.literal(HPACKField("x-ask", "again"), .incremental)
      _ = try client.response(on: client.open(first.bytes))
      var second = HPACKBlock(client.fields("/r"))
      second.indexed(62)
      #expect(try client.response(on: client.open(second.bytes)).text == "GET /r again\n")
    }
  }
}
