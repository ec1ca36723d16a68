// gRPC by its own client and server, through an edge and a validator: the cases of its interoperability tests, streams that last, and
// what becomes of calls that are refused or fail.

import Foundation
import Testing

extension EndToEnd {
  @Suite struct GRPC {
    /// As https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md names them.
    private static let interoperability = [
      "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
      "cancel_after_begin",
      "cancel_after_first_response", "timeout_on_sleeping_server", "status_code_and_message", "special_status_message",
      "custom_metadata", "unimplemented_method", "unimplemented_service",
    ]

    /// An edge, a validator and servers of gRPC, with HTTP/2 on each hop.
    private final class Hops {
      let site: Site
      let servers: [GRPCServer]
      private let isTLS: Bool

      init(
        _ mode: Site.Mode = .shared, tls: Bool = false, servers: Int = 1, isStarting: Bool = false,
        validator: (inout Configuration) throws -> Void = { _ in },
        edge: (inout Configuration) throws -> Void = { _ in }
      ) throws {
        isTLS = tls
        let certificates = try Certificates.standard
        let started = try (0..<servers).map { _ in try GRPCServer(certificate: tls ? certificates.app : nil) }
        self.servers = started
        site = try Site(
          mode, tls: tls, hopTLS: tls, isStarting: isStarting,
          validator: {
            if !tls { $0.listeners[0].more.append("protocols: [h2c]") }
            $0.upstreams[0].members.append("protocol: http2")
            $0.upstreams[0].servers = started.map { "\($0.address)" }
            if tls { $0.upstreams[0].tls = "ca: \"\(certificates.ca)\", name: app.example.com" }
            try validator(&$0)
          },
          edge: {
            if !tls { $0.listeners[0].more.append("protocols: [h2c]") }
            $0.upstreams[0].members.append("protocol: http2")
            try edge(&$0)
          })
      }

      func client(host: String = Site.host) throws -> GRPCClient {
        GRPCClient(
          address: try site.publicAddress, authorities: isTLS ? try Certificates.standard.ca : nil, host: host)
      }
    }

    private func pass(_ cases: [String], by client: GRPCClient) throws {
      let failures = try client.call(cases).failures
      #expect(failures.isEmpty, "\(failures.joined(separator: "\n"))")
    }

    // MARK: Calls that are served

    @Test(arguments: [(Site.Mode.shared, true), (.bound, true), (.shared, false), (.bound, false)])
    func callsOfEveryKindGoTheWholeWay(_ mode: Site.Mode, tls: Bool) throws {
      let hops = try Hops(mode, tls: tls)
      let client = try hops.client()
      try pass(Self.interoperability + ["deadline", "identity"], by: client)

      // The server was told who the client is, by us, and not by the client.
      let server = hops.servers[0]
      let call = try server.wait("the call") { $0.call == "identity" && $0.event == "begin" }
      let metadata = call.metadata ?? []
      func values(_ key: String) -> [String] { metadata.filter { $0[0] == key }.map { $0[1] } }
      #expect(values("x-forwarded-for") == [client.source])
      #expect(values("x-forwarded-proto") == [tls ? "https" : "http"])
      #expect(values("x-real-ip") == [client.source])
      #expect(values("client-attest").isEmpty && values("signature").isEmpty && values("true-client-ip").isEmpty)
      let line = try hops.site.edge.access.wait(path: "/grpc.testing.TestService/WhoAmI")
      #expect(line.client == client.source && line.status == 200 && line.verified == "enforce")

      // A client that takes its call back, or whose deadline is over, takes it back from the server, too, which was told how long it
      // has. (At its end the server may be first to say so.)
      for name in ["cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server", "deadline"] {
        _ = try server.wait("the end of \(name)") { $0.call == name && $0.event == "end" }
      }
      for name in ["timeout_on_sleeping_server", "deadline"] {
        let begin = try server.wait("the deadline of \(name)") { $0.call == name && $0.event == "begin" }
        #expect((begin.remaining ?? 1_000) < 2, "of 1 s, by whatever the client rounds up to")
      }
      for path in ["StreamingInputCall", "FullDuplexCall"] {
        _ = try hops.site.validator.access.wait(for: "a call that was taken back") {
          $0.path == "/grpc.testing.TestService/\(path)" && $0.refusal == "client-reset"
        }
      }
    }

    /// A response that is its own trailers stays one: a head that ends the stream, and no trailers behind it.
    @Test func trailersAloneStayAlone() throws {
      let hops = try Hops()
      // Without a body: curl 7.88 forgets a response whose end and RST_STREAM with NO_ERROR (RFC 9113, section 8.1) come before it has sent
      // all of one.
      let answer = try ask(hops.site, "/grpc.testing.TestService/UnimplementedCall", body: nil)
      #expect(answer.status == 200, "\(answer.exit), \(answer.error), \(answer.heads)")
      let parts = answer.heads.components(separatedBy: "\r\n\r\n").filter { !$0.isEmpty }
      #expect(parts.count == 1 && parts[0].contains("grpc-status: 12"), "\(answer.heads)")
      // Of one with a body the status comes behind it.
      let whole = try ask(hops.site, "/grpc.testing.TestService/EmptyCall")
      let wholeParts = whole.heads.components(separatedBy: "\r\n\r\n").filter { !$0.isEmpty }
      #expect(wholeParts.count == 2 && wholeParts[1].contains("grpc-status: 0"), "\(whole.heads)")
      #expect(!wholeParts[0].contains("grpc-status"))
    }

    /// What a validator says while it starts is for the edge, whatever the client speaks.
    @Test func aCallToAValidatorThatStartsIsSentAgain() throws {
      let hops = try Hops(isStarting: true, validator: { $0.identity[3] = "clock_skew: 1s" })
      let answer = try ask(hops.site, "/grpc.testing.TestService/EmptyCall")
      #expect(answer.heads.contains("grpc-status: 0"), "\(answer.heads)")
      _ = try hops.site.validator.access.wait(refusal: "starting")
    }

    /// A call by curl, which shows heads as they are. The body is by itself a message without fields.
    private func ask(_ site: Site, _ path: String, body: Data? = Data([0, 0, 0, 0, 0])) throws -> Curl.Answer {
      var options = [
        "--http2-prior-knowledge", "--request", "POST", "--header", "Content-Type: application/grpc", "--header",
        "TE: trailers",
      ]
      if let body {
        let message = site.workspace.file("message")
        try body.write(to: URL(fileURLWithPath: message))
        options += ["--data-binary", "@\(message)"]
      }
      return try site.curl.fetch(site.url(path), options)
    }

    // MARK: Streams that last

    @Test(arguments: Site.Mode.allCases)
    func aStreamMayBeSilentForLongerThanOtherRequests(_ mode: Site.Mode) throws {
      let short = ["idle: 500ms", "upstream_response: 1s"]
      let hops = try Hops(mode, validator: { $0.timeouts = short }, edge: { $0.timeouts = short })
      try pass(["pauses"], by: try hops.client())
    }

    @Test func aStreamThatIsSilentForLongerThanATunnelMayBeIsEnded() throws {
      let hops = try Hops(edge: { $0.timeouts = ["tunnel: 1s"] })
      try pass(["silence", "silence_before_response"], by: try hops.client())
      // A server with much else to do may not have begun the second at all.
      let begun = Set(hops.servers[0].events.filter { $0.event == "begin" }.map(\.call))
      for name in ["silence", "silence_before_response"] where name == "silence" || begun.contains(name) {
        _ = try hops.servers[0].wait("the end of \(name)") { $0.call == name && $0.event == "end" }
      }
      try eventually("the edge has a line for each") {
        hops.site.edge.access.entries.filter { $0.refusal == "body-timeout" }.count == 2
      }
    }

    /// That a stream may be silent does not mean that a server may: a call that was sent whole has an answer in time.
    @Test func aServerThatDoesNotBeginToAnswerIsGivenUp() throws {
      let hops = try Hops(edge: { $0.timeouts = ["upstream_response: 1s"] })
      try pass(["sleeping_server"], by: try hops.client())
      let line = try hops.site.edge.access.wait(refusal: "upstream-timeout")
      #expect(line.status == 504)
    }

    // MARK: Refusals and failures

    @Test func whatIsRefusedHasAStatusOfGRPC() throws {
      let nobody = try Socket.reserve()
      let hops = try Hops(
        validator: {
          $0.limits = ["body: 100KiB"]
          $0.routes = ["host: gone.example.com, to: nobody", "to: backend"]
          $0.upstreams.append(
            Configuration.Upstream(
              name: "nobody", members: ["identity: plain", "protocol: http2"], servers: ["\(nobody)"]))
        },
        edge: {
          $0.routes = [
            "host: closed.example.com, to: monitor, enabled: false", "host: down.example.com, to: nobody",
            "host_regex: (app|gone)\\.example\\.com, to: monitor",
          ]
          $0.upstreams.append(
            Configuration.Upstream(
              name: "nobody", members: ["identity: none", "protocol: http2"], servers: ["\(nobody)"]))
        })
      try pass(["no_route"], by: try hops.client(host: "none.example.com"))
      try pass(["route_closed"], by: try hops.client(host: "closed.example.com"))
      try pass(["upstream_down"], by: try hops.client(host: "down.example.com"))
      // The same by the validator, whose answer goes on as it is.
      try pass(["upstream_down"], by: try hops.client(host: "gone.example.com"))
      try pass(["body_too_large"], by: try hops.client())
      #expect(hops.servers[0].events.isEmpty)
      let line = try hops.site.edge.access.wait(for: "the validator's 502") { $0.host == "gone.example.com" }
      #expect(line.status == 502 && line.verified == "enforce" && line.refusal == nil, "\(line)")
    }

    @Test func whatAValidatorRefusesHasAStatusOfGRPC() throws {
      let strangers = try Workspace()
      let others = try Keys(in: strangers, prefix: "other-")
      let hops = try Hops(validator: { $0.identity[0] = "keys: \"\(others.validator)\"" })
      try pass(["refused_by_validator"], by: try hops.client())
      let line = try hops.site.edge.access.wait(path: "/grpc.testing.TestService/UnaryCall")
      #expect(line.status == 403 && line.verified == "refused", "\(line)")
      #expect(try hops.site.validator.access.wait(refusal: "signature-invalid").status == 403)
      #expect(hops.servers[0].events.isEmpty)
    }

    // MARK: Many clients, one connection

    /// Calls that clients take back in great numbers, each within its budget at the edge, do not end the connection that the edge has to
    /// its validator, and with it the calls of others.
    @Test func callsThatAreTakenBackCostOthersNothing() throws {
      let hops = try Hops(validator: { $0.workers = "1" }, edge: { $0.workers = "1" })
      let pipe = try Pipe()
      defer { Foundation.close(pipe.readEnd) }
      let held = try hops.client().start(["hold"], standardInput: pipe.readEnd)
      try waitFor("open", of: held)
      let others = try (1...4).map { number in
        var client = try hops.client()
        client.source = Peer.client(number * 10)
        return try client.start(["cancels"])
      }
      for other in others { try waitFor("pass cancels", of: other) }
      try eventually("they were taken back from the validator") {
        hops.site.validator.access.entries.filter { $0.refusal == "client-reset" }.count >= 4 * 150
      }
      pipe.closeWriteEnd()
      try waitFor("pass hold", of: held)
      #expect(!hops.site.validator.access.entries.contains { $0.refusal == "http2-resets" })
    }

    @Test func reloadsCostNoCall() throws {
      let hops = try Hops()
      let (stream, calls) = (try Pipe(), try Pipe())
      defer { for pipe in [stream, calls] { Foundation.close(pipe.readEnd) } }
      let held = try hops.client().start(["hold"], standardInput: stream.readEnd)
      let caller = try hops.client().start(["calls"], standardInput: calls.readEnd)
      try waitFor("open", of: held)
      try waitFor("made 1", of: caller)
      for _ in 0..<10 {
        try hops.site.validator.reloadAccepting(hops.site.validatorConfiguration)
        try hops.site.edge.reloadAccepting(hops.site.edgeConfiguration)
      }
      // It wants to have made that many, however fast the reloads were.
      try waitFor("made 20", of: caller)
      stream.closeWriteEnd()
      calls.closeWriteEnd()
      try waitFor("pass hold", of: held)
      try waitFor("pass calls", of: caller)
      #expect(!caller.standardOutput.lines.contains("cancelled"))
      let failed = (hops.site.edge.access.entries + hops.site.validator.access.entries).filter { $0.status != 200 }
      #expect(failed.isEmpty, "\(failed)")
    }

    private func waitFor(_ line: String, of process: ChildProcess) throws {
      guard process.standardOutput.wait({ $0 == line ? true : nil }) != nil else {
        throw Trouble("\(process.name) never said \(line)\n\(process.standardOutput.text)\n\(process.tail)")
      }
    }

    // MARK: Servers that go

    /// A server that ends in order (GOAWAY) serves what it has, and what it does not take any more goes elsewhere.
    @Test func aServerThatEndsInOrderCostsNoCall() throws {
      let hops = try Hops(servers: 2)
      let client = try hops.client()
      let (stream, calls) = (try Pipe(), try Pipe())
      let held = try client.start(["hold"], standardInput: stream.readEnd)
      let caller = try client.start(["calls"], standardInput: calls.readEnd)
      defer {
        for pipe in [stream, calls] { Foundation.close(pipe.readEnd) }
      }
      try waitFor("open", of: held)
      try waitFor("made 1", of: caller)
      let leaving = try #require(hops.servers.first { $0.events.contains { $0.call == "hold" } })
      let staying = try #require(hops.servers.first { $0 !== leaving })
      leaving.process.signal(SIGTERM)
      let before = staying.events.count
      try eventually("the other one has all calls") {
        guard caller.exit == nil else {
          throw Trouble(
            "a call failed: \(caller.standardOutput.text)\(caller.tail)\(hops.site.validator.access.entries.last!)")
        }
        return staying.events.count > before + 100
      }
      func cancelled() -> Int { caller.standardOutput.lines.count { $0 == "cancelled" } }
      let early = cancelled()
      stream.closeWriteEnd()
      try waitFor("pass hold", of: held)
      #expect(try leaving.process.waitForExit() == .code(0))
      calls.closeWriteEnd()
      try waitFor("pass calls", of: caller)
      // Only what was on its way when the server was told to stop.
      #expect(cancelled() == early)
      let failed = hops.site.validator.access.entries.filter { $0.status != 200 }
      #expect(failed.isEmpty, "\(failed)")
    }
  }
}
