// Routes over HTTP/2, towards clients and towards servers: answers of our own are streams that end, and what is changed is signed as it is
// sent.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct RoutesOverHTTP2 {
    @Test func aRouteAnswersAStream() throws {
      let workspace = try Workspace()
      let curl = Curl(workspace: workspace)
      let text = String(repeating: "0123456789abcdef", count: 60_000)
      try workspace.makeDirectory("www")
      try workspace.write("www/large.txt", text)
      let backend = try RecordingBackend()
      var configuration = Configuration.plainEdge(to: ["\(backend.address)"])
      configuration.listeners[0].certificates = [try Certificates.standard.app]
      configuration.routes = [
        "path: /old, redirect: { path: /new }", "path: /page, respond: { status: 404, body: \"no page\\n\" }, hsts: 1d",
        "path: /large, respond: { file: ./www/large.txt }", "path_prefix: /files/, files: www", "to: backend",
      ]
      let edge = try Countersign(configuration, in: workspace)
      func ask(_ path: String, _ more: [String] = []) throws -> Curl.Answer {
        try curl.fetch(
          "https://\(Site.host):\(try edge["public"].port)\(path)",
          ["--http2", "--cacert", try Certificates.standard.ca] + more)
      }
      let old = try ask("/old?q")
      #expect(old.status == 308 && old.version == "2", "\(old)")
      #expect(old.heads.contains("location: https://\(Site.host):\(try edge["public"].port)/new?q"))
      let page = try ask("/page")
      #expect(
        page.status == 404 && page.body == "no page\n"
          && page.heads.contains("strict-transport-security: max-age=86400"))
      #expect(try ask("/large").body == text)
      #expect(try ask("/files/large.txt").body == text)
      let head = try ask("/files/large.txt", ["--head"])
      #expect(head.status == 200 && head.heads.contains("content-length: \(text.utf8.count)"))
      #expect(try ask("/files/none").status == 404)
      #expect(backend.requests.isEmpty)
      #expect(try edge.access.wait(path: "/large").upstream == nil)
    }

    @Test func whatIsChangedIsSignedOnAStreamToo() throws {
      let site = try Site(
        .shared,
        validator: { $0.listeners[0].more.append("protocols: [h2c]") },
        edge: {
          $0.upstreams[0].members += ["protocol: http2", "host: rewritten"]
          $0.routes = [
            "path_regex: '/v([0-9]+)/(.*)', rewrite: '/new/$2?v=$1', to: monitor, request_headers: { set: { X-Kind: $client }, remove: [Cookie] }, response_headers: { set: { X-Seen: $request_id } }"
          ]
        })
      let answer = try site.connect().get("/v7/a/b", fields: ["Cookie: a=b", "X-Kind: mine"])
      #expect(answer.text == Peer.client() && answer["x-seen"]?.isEmpty == false)
      let request = try #require(site.backend.requests.last)
      #expect(request.target == "/new/a/b?v=7" && request.head.all("cookie") == [])
      #expect(request.head["x-kind"] == Peer.client())
      #expect(request.head["host"] == "\(try site.validator["from-edge"])")
      #expect(try site.validator.access.wait(path: "/new/a/b?v=7").client == Peer.client())
    }
  }
}
