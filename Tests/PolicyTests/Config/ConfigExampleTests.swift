// The configurations that people start from, and the round trip of `check --resolved`.

import Foundation
import Policy
import Testing
import Wire

@Suite struct ConfigExampleTests {
  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  static func shipped(_ name: String) -> ConfigResult {
    ConfigReader.read(path: repository.appendingPathComponent("conf/\(name).yaml").path)
  }

  @Test(arguments: ["edge", "validator"])
  func shippedConfigurationsReadWithoutAFinding(name: String) throws {
    let result = Self.shipped(name)
    #expect(result.diagnostics == [])
    #expect(result.config != nil)
  }

  @Test func theShippedEdge() throws {
    let edge = try #require(Self.shipped("edge").config)
    #expect(edge.identity.edge == "edge-a")
    #expect(edge.identity.signWith == "k1")
    #expect(edge.identity.keys?.hasSuffix("/certs/dev/edge.jwks.json") == true)
    #expect(edge.identity.keys?.hasPrefix("/") == true)
    #expect(edge.identity.keys?.contains("..") == false)
    #expect(edge.listeners.map(\.name) == ["public"])
    #expect(edge.listeners[0].address == .address(try #require(IPAddress("127.0.0.1")), port: 8443))
    #expect(edge.listeners[0].clientCertificates?.require == false)
    #expect(
      edge.listeners[0].trust.map(\.evidence) == [.proxyProtocol, .forwarded, .proxyProtocol, .attested, .socket])
    #expect(edge.identity.audience == "edge-a")
    #expect(edge.routes.map(\.match.host) == [.name("app.example.com"), nil])
    #expect(edge.upstreams[0].identity == .attest)
    #expect(edge.upstreams[0].proxyProtocol)
    #expect(edge.limits == Config.Limits())
    #expect(edge.timeouts == Config.Timeouts())
    #expect(edge.workers == nil)
  }

  @Test func theShippedValidator() throws {
    let validator = try #require(Self.shipped("validator").config)
    #expect(validator.identity.audience == "monitor-1")
    #expect(validator.identity.edges == ["edge-a"])
    #expect(validator.identity.mode == .enforce)
    #expect(validator.listeners[0].trust.map(\.proxyProtocolRequired) == [true])
    #expect(validator.upstreams[0].identity == .plain)
    #expect(!validator.upstreams[0].proxyProtocol)
  }

  /// Everything that can be written, in the contract's words.
  static let full = #"""
    identity:
      edge: edge-a
      keys: ../certs/dev/edge.jwks.json
      keys_group: proxy
      sign_with: k1
      audience: edge-a
      edges: [edge-b, edge_C.1]
      clock_skew: 250ms
      mode: observe
      infrastructure: [10.0.0.0/8, "2001:db8::/32"]
      claims: [X-Acme-Client, x_shop_visitor]
      replay_window: 1024
    listeners:
      - name: public
        listen: "127.0.0.1:8443"
        tls:
          - { certificate: ../certs/dev/server.pem, key: ../certs/dev/server.key }
          - { certificate: 'it''s "two".pem', key: "tab\t.key" }
        client_certificates: { ca: ../certs/dev/clients.pem, require: true }
        tls_minimum: 1.3
        trust:
          - { from: [10.0.0.0/24], evidence: proxy-protocol, scheme: https }
          - { from: [10.0.1.0/24], evidence: forwarded, header: x-forwarded-for, hops: [192.0.2.0/24] }
          - { from: [10.0.2.0/24], evidence: proxy-protocol, then: forwarded, hops: [198.51.100.0/24] }
          - { from: [10.0.3.0/24], evidence: attested }
          - { from: any, evidence: socket }
      - { name: six, listen: "[::1]:0", trust: [{ from: any, evidence: attested, proxy_protocol: required }] }
      - { name: local, listen: "unix:../run/é.sock" }
    routes:
      - { host_regex: "app\\.example\\.com", path_regex: "/api/.*", to: monitor }
      - { path_regex: '/a{2}: "x" #[]', to: on }
      - { listener: [six, local], host: "*.example.com", path_prefix: /x, normalize: true, method: [GET, PUT],
          header: [{ name: X-A }, { name: X-B, value: 'it''s "1"' }], client: [192.0.2.0/24, "2001:db8::/32"], to: on }
      - { host: WWW.example.com, redirect: { scheme: https, host: "example.com:8443", path: /new, status: 301 } }
      - { path: /robots.txt, respond: { status: 200, body: "User-agent: *\n", headers: { Cache-Control: no-store } } }
      - { path: /down, respond: { status: 503, file: ./down.html } }
      - { path_prefix: /.well-known/acme-challenge/, files: ../acme, name: acme }
      - { path_prefix: /api/, strip_prefix: /api, to: on, response_headers: { add: { X-A: "$request_id $$" } }, hsts: 180d }
      - { path_regex: "/v([0-9]+)/(.*)", rewrite: "/$2?v=$1", to: plain, hsts: { max_age: 0, preload: true },
          request_headers: { set: { X-A: "1" }, add: { X-B: $client }, remove: [X-C] } }
      - { path: /plain, to: plain }
      - { to: monitor }
    upstreams:
      monitor:
        identity: attest
        audience: monitor-1
        proxy_protocol: v2
        servers: ["127.0.0.1:9443"]
        tls: { ca: ../certs/dev/ca.pem, name: monitor-1.internal, certificate: c.pem, key: c.key }
        balance: least-requests
        health: { path: /healthz, interval: 90s, timeout: 1500ms, rise: 4, fall: 5 }
        retries: { count: 0 }
        idle_connections: 7
      on:
        identity: none
        servers: ["unix:/run/app.sock", "[::1]:80", "app.example:65535"]
      plain:
        plain_fields: [X-Real-IP, x-forwarded-for]
        host: rewritten
        servers: ["127.0.0.1:3001"]
    timeouts: { handshake: 1s, head: 2s, idle: 3m, upstream_connect: 4s, upstream_response: 5h, tunnel: 6h, drain: 0 }
    limits: { connections: 7, connections_per_client: 8, head: 9KiB, fields: 10, body: 11MiB }
    log:
      access: ../log/access.log
      format: json
      fields: [{ name: account, header: X-Account }, { name: session, cookie: "s'id" }]
      fields_key: log.jwks.json
    admin: { listen: "unix:admin.sock" }
    workers: 3
    accept_weaker: "0123456789012345"
    path_mismatch: stricter
    headers: { request_id: keep, server: 'an "edge"', via: edge-a }
    """#

  @Test(arguments: [full, minimal(), minimal("log: { access: off }\n")])
  func resolvedReadsBackToTheSame(yaml: String) throws {
    let first = try config(yaml)
    // From another directory: nothing in it is relative any more.
    let again = ConfigReader.read(text: first.resolved(), path: "/somewhere/else/resolved.yaml")
    #expect(again.diagnostics == [])
    let second = try #require(again.config)
    #expect(second.withoutPlaces == first.withoutPlaces)
    #expect(second.resolved() == first.resolved())
  }

  @Test(arguments: ["edge", "validator"])
  func shippedConfigurationsResolveToTheSame(name: String) throws {
    let first = try #require(Self.shipped(name).config)
    let second = try #require(ConfigReader.read(text: first.resolved(), path: "/x.yaml").config)
    #expect(second.withoutPlaces == first.withoutPlaces)
  }

  // MARK: The manual

  static func manual(_ name: String = "CONFIG") throws -> String {
    try String(contentsOf: repository.appendingPathComponent("docs/\(name).md"), encoding: .utf8)
  }

  @Test(arguments: ConfigKeyTests.whole.map(\.key))
  func theManualHasEveryKey(key: String) throws {
    let name = key.split(separator: ".").last ?? ""
    let whole = ["log", "admin", "headers"].contains(key.prefix { $0 != "." }) ? key : String(name)
    #expect(try Self.manual().contains("`\(whole)`"))
  }

  /// Each example, put into a configuration that holds the sections it lacks.
  @Test(arguments: [("CONFIG", 15), ("BALANCERS", 13)])
  func theManualsExamplesReadWithoutAnError(manual: String, count: Int) throws {
    let examples = try Self.manual(manual).split(separator: "```yaml\n").dropFirst().compactMap { part in
      part.range(of: "```").map { String(part[..<$0.lowerBound]) }
    }
    #expect(examples.count == count)
    for example in examples {
      var yaml = example
      if yaml.hasPrefix("trust:") {
        yaml =
          "listeners:\n  - name: web\n    listen: 127.0.0.1:1\n"
          + yaml.split(separator: "\n").map { "    \($0)\n" }.joined()
      }
      if !yaml.contains("identity:\n") { yaml += "identity: { edge: e, keys: k, sign_with: k1, audience: me }\n" }
      if !yaml.contains("listeners:") { yaml += "listeners: [{ name: web, listen: \"127.0.0.1:1\" }]\n" }
      let name = yaml.contains("to: app") || yaml.contains("  app:") || yaml.contains("{ app:") ? "app" : "monitor"
      if !yaml.contains("upstreams:") { yaml += "upstreams: { \(name): { servers: [\"127.0.0.1:3000\"] } }\n" }
      if !yaml.contains("routes:") { yaml += "routes: [{ to: \(name) }]\n" }
      // What is on another machine is not here.
      let isElsewhere = ["cannot be listed", "no such file", "is not set"]
      let found = findings(yaml).filter { finding in
        !finding.contains(" warning: ") && !isElsewhere.contains { finding.contains($0) }
      }
      #expect(found == [], "\(yaml)")
    }
  }

  @Test func defaultsAreWrittenOut() throws {
    let resolved = try config(minimal()).resolved()
    for line in [
      "  clock_skew: 2s", "  mode: enforce", "  claims: []", "  replay_window: 262144", "    identity: plain",
      "    plain_fields: [x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-real-ip, forwarded]",
      "    balance: round-robin",
      "    idle_connections: 64", "  tunnel: 1h", "  head: 32KiB", "  body: 0", "  access: stdout", "workers: auto",
      "    trust: []  # any: socket",
    ] {
      #expect(resolved.contains(line + "\n"))
    }
  }

  @Test func whatReadsOtherwiseIsNotTheSame() throws {
    #expect(try config(minimal("workers: 2\n")).withoutPlaces != config(minimal("workers: 3\n")).withoutPlaces)
    #expect(try config("\n\n" + minimal()).withoutPlaces == config(minimal()).withoutPlaces)
    #expect(try config("\n\n" + minimal()) != config(minimal()))
  }

  @Test func everyValueHasItsPlace() throws {
    let read = try config(Self.full)
    #expect(read.place(of: "identity.keys") == Place(line: 3, column: 9))
    #expect(read.place(of: "listeners[0].tls[1].key") == Place(line: 18, column: 48))
    #expect(read.place(of: "routes[1].path_regex") == Place(line: 31, column: 19))
    #expect(read.place(of: "upstreams.monitor.tls.ca") == Place(line: 49, column: 16))
    // What was not written has the place of what would hold it.
    #expect(read.place(of: "listeners[2].tls[0].key") == Place(line: 28, column: 5))
    #expect(read.place(of: "nonsense") == Place(line: 1, column: 1))
  }
}
