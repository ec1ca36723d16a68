// The harness against real programs, so that a red test elsewhere is the product's fault.

import Foundation
import Testing

/// Every end-to-end test. Several run at once, more than there are processors, because most of what they do is to wait. What
/// they measure is of processes of their own. A suite whose tests share a site runs them one after the other.
@Suite(.threads(12))
enum EndToEnd {}

extension EndToEnd {
  @Suite struct Harness {
    @Test func haproxyTakesTheSocketItIsHanded() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let proxy = try HAProxy(
        """
        listen balancer
          mode http
          bind fd@3
          option forwardfor
          server backend \(backend.address) source \(Peer.balancer)
        """, in: workspace)
      let answer = try Curl(workspace: workspace).fetch("http://app.example.com:\(proxy.address.port)/x")
      #expect(answer.status == 200)
      #expect(answer.body == Peer.client())
      #expect(backend.saw("GET /x HTTP/1.1\r\n"))
      #expect(!backend.saw("GET /y"))
    }

    @Test func nginxTakesTheSocketItIsHanded() throws {
      let workspace = try Workspace()
      let backend = try RecordingBackend()
      let http = try Nginx(
        .http,
        """
        server { listen LISTEN; location / {
          proxy_pass http://\(backend.address); proxy_bind \(Peer.balancer);
          proxy_set_header X-Forwarded-For $remote_addr; } }
        """, in: workspace)
      let answer = try Curl(workspace: workspace).fetch("http://app.example.com:\(http.address.port)/x")
      #expect(answer.status == 200)
      #expect(answer.body == Peer.client())

      let stream = try Nginx(
        .stream, "server { listen LISTEN; proxy_pass \(backend.address); proxy_protocol on; }", in: workspace)
      let connection = try Connection(to: stream.address)
      try connection.send("GET /z HTTP/1.1\r\n\r\n")
      try eventually("the PROXY header at the backend") { backend.saw("PROXY TCP4 \(Peer.client()) ") }
    }

    @Test func opensslIsAStreamLikeAnyOther() throws {
      let workspace = try Workspace()
      let certificates = try Certificates.standard
      let server = try Nginx(
        .http,
        """
        server { listen LISTEN ssl;
          ssl_certificate \(certificates.app.certificate); ssl_certificate_key \(certificates.app.key);
          ssl_client_certificate \(certificates.ca); ssl_verify_client optional;
          location / { return 200 "$remote_addr $ssl_server_name $ssl_client_s_dn\\n"; } }
        """, in: workspace)
      let connection = try Connection.tls(
        to: server.address, from: Peer.client(3),
        options: ["-cert", certificates.client.certificate, "-key", certificates.client.key])
      for _ in 0..<2 {
        let response = try connection.get("/")
        #expect(response.text == "\(Peer.client(3)) app.example.com CN=client\n")
      }
    }

    @Test func aChildsEndAndOutputAreSeen() throws {
      let child = try ChildProcess(["/bin/sh", "-c", "echo out; echo error >&2; echo half | tr -d '\\n'; exit 3"])
      #expect(try child.waitForExit() == .code(3))
      child.standardOutput.waitForEnd(by: .usual)
      child.standardError.waitForEnd(by: .usual)
      #expect(child.standardOutput.lines == ["out", "half"])
      #expect(child.standardError.lines == ["error"])
      let sleeper = try ChildProcess(["/bin/sh", "-c", "sleep 100"])
      sleeper.signal(SIGTERM)
      #expect(try sleeper.waitForExit() == .signal(SIGTERM))
      #expect(child.standardOutput.wait(by: .usual) { $0 == "never" ? $0 : nil } == nil)
    }

    @Test func theBackendKeepsWhatItIsSentAndSeesAReset() throws {
      let backend = try RecordingBackend { exchange in
        let body = try exchange.readBody()
        try exchange.reply(body.text + "|" + body.trailers.joined())
      }
      let connection = try Connection(to: backend.address)
      try connection.send(
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + Text.chunks(["ab", "c"], trailers: ["X-T: 1"]))
      #expect(try connection.readResponse().text == "abc|X-T: 1")
      try connection.send("POST /b HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
      _ = try backend.waitForRequest(to: "/b")
      connection.reset()
      try backend.waitForOpenCount(0)
      #expect(backend.failures.first?.contains("ConnectionReset") == true)
      #expect(backend.requests.map(\.target) == ["/a", "/b"])
      #expect(backend.connectionCount == 1)
    }
  }
}
