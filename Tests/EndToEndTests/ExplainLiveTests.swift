// `explain` with its steps, and `explain --live`: a running process tells how real requests come to their clients.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct ExplainLive {
    private let workspace: Workspace
    private let admin: String
    private let site: Site

    init() throws {
      workspace = try Workspace()
      admin = "unix:\(workspace.file("admin.sock"))"
      let listen = admin
      site = try Site(
        .bound,
        validator: { $0.more.append("admin: { listen: \"\(listen).validator\" }") },
        edge: {
          $0.listeners[0].trust = [
            "from: [\(Peer.balancers)], evidence: proxy-protocol, then: forwarded, hops: [\(Peer.hops)]",
            "from: [127.40.0.0/16], evidence: forwarded, hops: [\(Peer.hops)]", "from: any, evidence: socket",
          ]
          $0.more.append("admin: { listen: \"\(listen)\" }")
        })
    }

    /// Runs it until it has what it waits for, while `send` is done again and again.
    private func live(_ arguments: [String], admin: String? = nil, _ send: () throws -> Void) throws -> (
      ChildProcess.Exit, String
    ) {
      let child = try ChildProcess(
        [try Programs.countersign, "explain", "--live", "--admin", admin ?? self.admin] + arguments)
      let exit: ChildProcess.Exit = try eventually("the requests are seen") {
        try send()
        return child.exit
      }
      child.standardOutput.waitForEnd(by: .usual)
      return (exit, child.standardOutput.lines.joined(separator: "\n"))
    }

    @Test func everyStepOfARealRequestIsTold() throws {
      let (exit, text) = try live(["-n", "1", "--peer", Peer.balancers, "--path", "/wanted"]) {
        _ = try site.connect().get("/wanted/by-nobody")
        let balancer = try Connection(to: site.publicAddress, from: Peer.balancer)
        try balancer.send(
          "PROXY TCP4 \(Peer.hop) 127.0.0.1 1025 443\r\nGET /wanted/1 HTTP/1.1\r\nHost: \(Site.host)\r\n"
            + "X-Forwarded-For: \(Peer.claimed), \(Peer.client(3)), 127.30.9.9\r\n\r\n")
        #expect(try balancer.readResponse().text == Peer.client(3))
      }
      #expect(exit == .code(0))
      let expected = [
        "GET /wanted/1", "peer     \(Peer.balancer) port ", ", at the listener public, connection ",
        "rule     line ", "at       \(site.edge.configurationFile):",
        "step     a PROXY header of version 1 names \(Peer.hop) port 1025",
        "step     \(Peer.hop) is one of `hops`, so the field that it sent is read",
        "step     127.30.9.9 stands next from the right and is one of `hops`: stepped over",
        "step     \(Peer.client(3)) stands next from the right and is none of `hops`; nothing to its left is read",
        "client   \(Peer.client(3)) port 0, by forwarded", "scheme   http, by connection",
      ]
      var rest = text[...]
      for line in expected {
        guard let range = rest.range(of: line) else {
          Issue.record("no \(line) in:\n\(text)")
          return
        }
        rest = rest[range.upperBound...]
      }
    }

    @Test func aRefusalIsToldToo() throws {
      let (_, text) = try live(["-n", "2", "--peer", Peer.balancers]) {
        let bare = try Connection(to: site.publicAddress, from: Peer.balancer)
        try bare.send(Text.request("/bare"))
        #expect(try bare.readToEnd() == [])
        let field = try Connection(to: site.publicAddress, from: Peer.balancer)
        try field.send(
          "PROXY TCP4 \(Peer.hop) 127.0.0.1 1025 443\r\nGET /lost HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
        #expect(try field.readResponse().status == 403)
      }
      #expect(text.contains("a connection, before any request") && text.contains("refused  proxy-missing"), "\(text)")
      #expect(
        text.contains("step     the request has no x-forwarded-for") && text.contains("refused  forwarded-missing"),
        "\(text)")
    }

    @Test func aValidatorTellsOfSignatures() throws {
      let (_, text) = try live(["-n", "1"], admin: "\(admin).validator") { _ = try site.connect().get("/signed") }
      #expect(text.contains("step     an edge's signature for this validator is valid"), "\(text)")
      #expect(text.contains("client   \(Peer.client()) port "), "\(text)")
    }

    @Test func whatMatchesNothingSaysSo() throws {
      let outcome = try ChildProcess.run(
        [try Programs.countersign, "explain", "--live", "--admin", admin, "--path", "/nowhere", "--for", "300ms"])
      #expect(outcome.exit == .code(1) && outcome.error.contains("no request matched within 300ms"), "\(outcome.error)")
      // Nothing is looked at any more.
      #expect(try site.connect().get("/after").status == 200)
    }

    @Test(arguments: [
      (["--live"], "with --live give either --admin"), (["--peer", "10.0.0.1"], "missing -c FILE"),
      (["--live", "--admin", "unix:/x", "-H", "A: b"], "describe a request"),
      (["--live", "--admin", "unix:/x", "--for", "5"], "--for takes a duration"),
      (["-c", "x", "--listener", "a", "--peer", "1.2.3.4", "--path", "/"], "are used with --live"),
    ]) func whatDoesNotGoTogetherIsSaid(_ arguments: [String], _ message: String) throws {
      let outcome = try ChildProcess.run([try Programs.countersign, "explain"] + arguments)
      #expect(outcome.exit == .code(2) && outcome.error.contains(message), "\(outcome.exit) \(outcome.error)")
    }
  }
}
