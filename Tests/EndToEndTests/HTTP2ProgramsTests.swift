// Real clients of HTTP/2: curl, nghttp and h2load.

import Foundation
import TestSupport
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct HTTP2Programs {
    /// An edge with TLS, a validator and a backend that says how much it was sent, and by whom.
    private static let site = Result {
      try Site(
        .shared, tls: true, keepsBytes: false,
        script: { exchange in
          let body = try exchange.readBody()
          try exchange.reply(
            "\(exchange.request.method) \(body.bytes.count) \(exchange.clientAddress) \(body.trailers.joined())")
        },
        edge: {
          // nghttp and h2load come from where they are.
          $0.listeners[0].trust = ["from: [127.0.0.1], evidence: socket", "from: any, evidence: socket"]
          $0.listeners.append(.init(name: "cleartext", more: ["protocols: [h2c]"]))
        })
    }

    private func curl(_ options: [String]) throws -> [String] {
      try ["--cacert", Certificates.standard.ca] + options
    }

    @Test(arguments: [["--http2"], []]) func curlSpeaksHTTP2WhereItIsOffered(_ options: [String]) throws {
      let site = try Self.site.get()
      let answer = try site.curl.fetch(site.url("/curl", scheme: "https"), curl(options))
      #expect(answer.version == "2" && answer.status == 200)
      #expect(answer.body == "GET 0 \(Peer.client()) ")
      #expect(answer.heads.hasPrefix("HTTP/2 200"))
    }

    @Test func curlSpeaksHTTP1WhereItWants() throws {
      let site = try Self.site.get()
      let answer = try site.curl.fetch(site.url("/curl", scheme: "https"), curl(["--http1.1"]))
      #expect(answer.version == "1.1" && answer.status == 200)
    }

    @Test func curlSpeaksHTTP2WithPriorKnowledge() throws {
      let site = try Self.site.get()
      let url = "http://\(Site.host):\(try site.edge["cleartext"].port)/prior"
      let answer = try site.curl.fetch(url, ["--http2-prior-knowledge"])
      #expect(answer.version == "2" && answer.body == "GET 0 \(Peer.client()) ")
    }

    @Test func curlUploads() throws {
      let site = try Self.site.get()
      let file = site.workspace.file("upload")
      let data = Data(repeating: 0x61, count: 3 << 20)
      #expect(FileManager.default.createFile(atPath: file, contents: data))
      for more in [[], ["--header", "Content-Length:"]] {
        let answer = try site.curl.fetch(
          site.url("/upload", scheme: "https"), curl(["--http2", "--upload-file", file] + more))
        #expect(answer.version == "2" && answer.body == "PUT \(data.count) \(Peer.client()) ")
      }
    }

    /// A hundred requests, one after the other and at once, on one connection.
    @Test(arguments: [[], ["--parallel", "--parallel-max", "50"]]) func curlKeepsItsConnection(_ options: [String])
      throws
    {
      let site = try Self.site.get()
      let outcome = try ChildProcess.run(
        [
          try Programs.curl, "--silent", "--show-error", "--noproxy", "*", "--connect-to", "::127.0.0.1:", "--http2",
          "--interface", Peer.client(), "--cacert", try Certificates.standard.ca, "--output", "/dev/null",
          "--write-out",
          "%{http_code} %{http_version}\n", site.url("/kept/\(options.count)/[1-100]", scheme: "https"),
        ] + options)
      #expect(outcome.succeeded, "\(outcome.error)")
      let answers = outcome.output.split(separator: "\n")
      #expect(answers.count == 100 && answers.allSatisfy { $0 == "200 2" })
      let lines: [AccessEntry] = try eventually("all lines of the log") {
        let lines = site.edge.access.entries.filter { $0.path?.hasPrefix("/kept/\(options.count)/") == true }
        return lines.count == 100 ? lines : nil
      }
      #expect(Set(lines.map(\.connection)).count == 1)
    }

    @Test func nghttpIsServed() throws {
      let site = try Self.site.get()
      let url = "https://localhost:\(try site.publicAddress.port)/nghttp"
      let answer = try ChildProcess.succeed([try Programs.nghttp, "--no-verify-peer", url])
      #expect(answer == "GET 0 127.0.0.1 \n")
      let file = try site.workspace.write("nghttp.data", String(repeating: "b", count: 200_000))
      let posted = try ChildProcess.succeed([
        try Programs.nghttp, "--no-verify-peer", "--no-content-length", "--data", file, "--trailer", "x-last: one", url,
      ])
      #expect(posted == "POST 200000 127.0.0.1 x-last: one\n")
    }

    @Test(arguments: [1, 10, 100]) func h2loadIsServed(streams: Int) throws {
      let site = try Self.site.get()
      let output = try ChildProcess.succeed([
        try Programs.h2load, "--requests", "400", "--clients", "4", "--max-concurrent-streams", "\(streams)",
        "https://localhost:\(try site.publicAddress.port)/h2load",
      ])
      #expect(
        output.contains("400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout"),
        "\(output)")
      #expect(output.contains("Application protocol: h2"))
    }
  }
}
