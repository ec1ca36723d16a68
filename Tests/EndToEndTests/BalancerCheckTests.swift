// What load balancers send to see whether the edge is there: HAProxy's own checks, and the bytes that other balancers send. A
// check gets the edge's readiness, reaches nobody, and is no line in the log; anything else from there is under the trust rules.

import Foundation
import Testing

extension EndToEnd {
  @Suite(.serialized, .threads(1)) struct BalancerChecks {
    private static func site(
      _ rule: String = "evidence: proxy-protocol", tls: Bool = false, path: String? = "/healthz",
      clock: SettableClock? = nil
    ) throws -> Site {
      try Site(
        .bound, tls: tls, clock: clock,
        edge: {
          $0.listeners[0].trust = ["from: [\(Peer.balancers)], \(rule)", "from: any, evidence: socket"]
          $0.listeners[0].more = [
            "checks: [{ from: [\(Peer.balancers)]\(path.map { ", path: \($0)" } ?? "") }]"
          ]
          $0.hasAdmin = true
        })
    }

    private static let proxied = Result { try site() }
    private static let encrypted = Result { try site(tls: true) }

    private func checks(_ site: Site, _ answer: String) throws -> Int {
      try #require(try site.edge.metric("countersign_balancer_checks_total{answer=\"\(answer)\"}"))
    }

    // MARK: HAProxy

    static let haproxy: [(tls: Bool, options: String, check: String, answer: String)] = [
      (false, "", "send-proxy-v2 check", "none"),
      (false, "", "check check-send-proxy send-proxy", "none"),
      (false, "option httpchk GET /healthz", "send-proxy-v2 check check-send-proxy", "ready"),
      (false, "option httpchk OPTIONS /healthz HTTP/1.0", "send-proxy-v2 check", "ready"),
      (
        false, "option httpchk HEAD /healthz\n  http-check send hdr Host edge", "send-proxy check check-send-proxy",
        "ready"
      ),
      (true, "", "send-proxy-v2 check check-ssl verify none", "none"),
      (true, "option httpchk GET /healthz", "send-proxy-v2 check check-send-proxy check-ssl verify none", "ready"),
      (true, "", "send-proxy-v2 check", "none"),
    ]

    /// Two failed checks in a row would take the server down for good (`rise` is not reached), and a request through it would fail.
    /// HAProxy gives a check `inter` to connect, also where the machine has much else to do.
    @Test(arguments: haproxy.indices)
    func haproxysChecksPassAndItsClientsAreServed(_ index: Int) throws {
      let (tls, options, check, answer) = Self.haproxy[index]
      let site = try Self.site(tls: tls)
      let start = site.edge.access.end
      let before = try checks(site, answer)
      let balancer = try HAProxy(
        """
        listen balancer
          mode tcp
          timeout check 30s
          \(options)
          bind fd@3
          server edge \(try site.publicAddress) source \(Peer.balancer) \(check) inter 700ms fall 2 rise 1000
        """, in: site.workspace)
      try eventually("HAProxy checks") { try checks(site, answer) >= before + 3 }
      let mark = "/checked/\(UUID().uuidString)"
      let fetched = try site.curl.fetch(
        "\(tls ? "https" : "http")://\(Site.host):\(balancer.address.port)\(mark)", ["--insecure"])
      #expect(fetched.status == 200, "\(fetched.error)")
      #expect(fetched.body == Peer.client())
      _ = try site.edge.access.wait(path: mark)
      #expect(site.edge.access.end == start + 1, "a check is a line in the log")
      #expect(!site.backend.saw("/healthz"))
    }

    // MARK: Bytes

    private static let v2: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
    private static let get10 = Array("GET /healthz HTTP/1.0\r\n\r\n".utf8)
    private static let get11 = Array("GET /healthz HTTP/1.1\r\nHost: 10.0.0.9\r\nConnection: close\r\n\r\n".utf8)

    static let requests: [(sender: String, bytes: [UInt8])] = [
      ("a request without Host, as HAProxy's default", Array("OPTIONS /healthz HTTP/1.0\r\n\r\n".utf8)),
      (
        "AWS NLB: LOCAL with the family of its sockets and TLVs",
        v2 + [0x20, 0x11, 0, 19] + [UInt8](repeating: 0, count: 12) + [0x03, 0, 4, 1, 2, 3, 4] + get11
      ),
      ("AWS NLB without PROXY protocol in its checks", get11),
      (
        "AWS ALB",
        Array(
          "GET /healthz HTTP/1.1\r\nHost: 10.0.0.9:8080\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n"
            .utf8)
      ),
      ("GCP with proxyHeader PROXY_V1", Array("PROXY UNKNOWN\r\n".utf8) + get10),
      ("UNKNOWN with addresses", Array("PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n".utf8) + get10),
      (
        "HAProxy's send-proxy names the check's own connection",
        Array("PROXY TCP4 \(Peer.balancer) 127.0.0.1 1025 443\r\n".utf8) + get10
      ),
      ("LOCAL without anything", v2 + [0x20, 0x00, 0, 0] + get10),
      ("PROXY with no family", v2 + [0x21, 0x00, 0, 0] + get11),
      (
        "nginx's and kubelet's",
        Array(
          "GET /healthz HTTP/1.1\r\nHost: 10.0.0.9:8443\r\nUser-Agent: kube-probe/1.29\r\nConnection: close\r\n\r\n"
            .utf8)
      ),
    ]

    /// At every split point.
    @Test(arguments: requests.indices)
    func aCheckIsAnsweredHoweverItsBytesArrive(_ index: Int) throws {
      let site = try Self.proxied.get()
      let bytes = Self.requests[index].bytes
      let start = site.edge.access.end
      for split in 0..<bytes.count {
        let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
        try connection.send(Array(bytes[..<split]))
        try connection.send(Array(bytes[split...]))
        let answer = String(decoding: try connection.readToEnd(), as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(split): \(answer)")
      }
      #expect(site.edge.access.end == start)
      #expect(!site.backend.saw("/healthz"))
    }

    @Test func aConnectionAloneIsACheckHoweverItEnds() throws {
      let site = try Self.proxied.get()
      let tls = try Self.encrypted.get()
      for site in [site, tls] {
        let start = site.edge.access.end
        let before = try checks(site, "none")
        for bytes in [[], Self.v2 + [0x20, 0x00, 0, 0], Array("PROXY UNKNOWN\r\n".utf8)] {
          let closed = try Connection(to: site.publicAddress, from: Peer.balancer)
          if !bytes.isEmpty { try closed.send(bytes) }
          closed.close()
          let reset = try Connection(to: site.publicAddress, from: Peer.balancer)
          if !bytes.isEmpty { try reset.send(bytes) }
          reset.reset()
        }
        try eventually("they are counted") { try checks(site, "none") >= before + 6 }
        #expect(site.edge.access.end == start)
      }
    }

    /// Whatever is no check is refused as it was, and shows nobody's address to a backend.
    static let others: [(refusal: String, bytes: [UInt8])] = [
      ("proxy-missing", Array("GET /other HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("proxy-missing", Array("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".utf8)),
      ("proxy-missing", Array("GET /healthz/ HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("proxy-missing", Array("GET /healthz%2e HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("proxy-local", v2 + [0x20, 0x00, 0, 0] + Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("proxy-family", Array("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("proxy-family", v2 + [0x21, 0x00, 0, 0] + Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)),
      ("host-missing", v2 + [0x20, 0x00, 0, 0] + Array("GET / HTTP/1.0\r\n\r\n".utf8)),
      ("proxy-malformed", Array("PROXY UNKNO".utf8)),
      (
        "client-infrastructure",
        Array("PROXY TCP4 \(Peer.balancer) 127.0.0.1 1025 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
      ),
    ]

    @Test(arguments: others.indices)
    func anythingElseFromThereIsUnderTheTrustRules(_ index: Int) throws {
      let site = try Self.proxied.get()
      let (refusal, bytes) = Self.others[index]
      let start = site.edge.access.end
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send(bytes)
      connection.shutdownWrite()
      let answer = String(decoding: try connection.readToEnd(), as: UTF8.self)
      #expect(!answer.contains(" 200 "))
      #expect(try site.edge.access.wait(from: start, for: refusal) { $0.refusal != nil }.refusal == refusal)
      #expect(site.backend.requests.allSatisfy { !$0.head.text.contains("127.20.") })
    }

    /// A client's request for the same path, announced by the balancer, is the application's.
    @Test func aClientsRequestForThatPathIsRouted() throws {
      let site = try Self.proxied.get()
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send(
        "PROXY TCP4 \(Peer.client(31)) 127.0.0.1 1025 443\r\nGET /healthz HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      #expect(try connection.readResponse().text == Peer.client(31))
      let own = try site.connect().get("/healthz")
      #expect(own.text == Peer.client())
    }

    /// Under `forwarded` a check is a request that names no client.
    @Test func underForwardedARequestThatNamesItsClientIsRouted() throws {
      let site = try Self.site("evidence: forwarded")
      let balancer = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(try balancer.get("/healthz").text == "200 OK\n")
      #expect(try balancer.get("/healthz", fields: ["X-Forwarded-For: \(Peer.client(4))"]).text == Peer.client(4))
      #expect(try balancer.get("/healthz").text == "200 OK\n")
      let start = site.edge.access.end
      #expect(try balancer.get("/other").status == 403)
      #expect(try site.edge.access.wait(from: start, for: "it") { $0.refusal != nil }.refusal == "forwarded-missing")
    }

    /// Its body may never come, and what comes instead is no part of it.
    @Test func aCheckThatHoldsItsBodyBackIsTheLastOfItsConnection() throws {
      let connection = try Connection(to: Self.proxied.get().publicAddress, from: Peer.balancer)
      let response = try connection.get("/healthz", fields: ["Expect: 100-continue", "Content-Length: 10"])
      #expect(response.status == 200)
      #expect(response["connection"] == "close")
    }

    /// Whose checks are answered here is machinery: where it turns up as a client, somebody stopped passing the client on.
    @Test func whereChecksComeFromIsNoClient() throws {
      let site = try Self.site("evidence: socket")
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(try connection.get("/healthz").text == "200 OK\n")
      let start = site.edge.access.end
      #expect(try connection.get("/").status == 403)
      let entry = try site.edge.access.wait(from: start, for: "it") { $0.refusal != nil }
      #expect(entry.refusal == "client-infrastructure")
      #expect(
        entry.detail?.contains("infrastructure by `checks` of the listener public") == true, "\(entry.detail ?? "")")
    }

    @Test func withoutAPathOnlyConnectionsAreChecks() throws {
      let site = try Self.site(path: nil)
      let start = site.edge.access.end
      let connection = try Connection(to: site.publicAddress, from: Peer.balancer)
      try connection.send(Self.v2 + [0x20, 0x00, 0, 0] + Self.get11)
      #expect(try connection.readToEnd() == [])
      _ = try site.edge.access.wait(refusal: "proxy-local", from: start)
      let alone = try Connection(to: site.publicAddress, from: Peer.balancer)
      alone.close()
      try eventually("it is counted") { try checks(site, "none") == 1 }
    }

    /// A validator that has just started takes nothing yet; a load balancer in front of it is told so.
    @Test func anUnreadyProcessSaysWhy() throws {
      let site = try Site(
        .bound,
        validator: {
          $0.identity = $0.identity.map { $0.hasPrefix("clock_skew") ? "clock_skew: 30s" : $0 }
          $0.listeners.append(
            Configuration.Listener(
              name: "checked", trust: $0.listeners[0].trust,
              more: ["checks: [{ from: [127.20.0.0/16], path: /healthz }]"]))
        })
      let late = try Countersign(site.validatorConfiguration, name: "late", in: site.workspace)
      let connection = try Connection(to: late["checked"], from: Peer.balancer)
      let answer = try connection.get("/healthz")
      #expect(answer.status == 503)
      #expect(answer.text.contains("starting: what was signed before the start is not taken"), "\(answer.text)")
      #expect(try connection.get("/healthz").status == 503, "the connection is kept")
    }

    // MARK: A cutover

    /// The balancer does not send its header yet, until the time that the configuration names; then nobody comes without.
    @Test func aCutoverEndsByItself() throws {
      let workspace = try Workspace()
      let clock = try SettableClock(aheadSeconds: 0, in: workspace)
      let end = ISO8601DateFormatter().string(from: Date(timeIntervalSinceNow: 3_600))
      let site = try Site(
        .bound, clock: clock,
        edge: {
          $0.listeners[0].trust = [
            "from: [\(Peer.balancers)], evidence: proxy-protocol, cutover: { also: socket, until: \"\(end)\" }",
            "from: any, evidence: socket",
          ]
          $0.hasAdmin = true
        })
      let said = site.edge.process.standardError.wait { $0.contains("may come without a PROXY header") ? $0 : nil }
      #expect(said?.contains("for 59 minutes 5") == true, "\(said ?? "")")
      let kept = try Connection(to: site.publicAddress, from: Peer.balancer)
      #expect(try kept.get("/cutover/1").text == Peer.balancer)
      let entry = try site.edge.access.wait(path: "/cutover/1")
      #expect(entry.cutover == true && entry.via == "socket")
      let announced = try Connection(to: site.publicAddress, from: Peer.balancer)
      try announced.send(
        "PROXY TCP4 \(Peer.client(31)) 127.0.0.1 1025 443\r\nGET /cutover/2 HTTP/1.1\r\nHost: \(Site.host)\r\n\r\n")
      #expect(try announced.readResponse().text == Peer.client(31))
      #expect(try site.edge.access.wait(path: "/cutover/2").cutover == nil)

      try clock.set(aheadSeconds: 3_601)
      let start = site.edge.access.end
      try kept.send(Text.request("/cutover/3"))
      #expect(try kept.readToEnd() == [])
      _ = try site.edge.access.wait(refusal: "proxy-missing", from: start)
      let late = try Connection(to: site.publicAddress, from: Peer.balancer)
      try late.send(Text.request("/cutover/4"))
      #expect(try late.readToEnd() == [])
      #expect(try site.edge.metric("countersign_cutover_requests_total") == 1)
      #expect(!site.backend.saw("/cutover/3") && !site.backend.saw("/cutover/4"))
    }
  }
}
