// Servers with settings, checks, ejection, retries and queues: what is read, and what is said of mistakes.

import Policy
import Testing

@Suite struct ConfigServersTests {
  private func read(_ upstream: String) -> ConfigResult {
    ConfigReader.read(
      text: """
        listeners: [{ name: a, listen: "127.0.0.1:0" }]
        routes: [{ to: app }]
        upstreams:
          app: { \(upstream) }

        """, path: "/etc/countersign.yaml")
  }

  private func upstream(_ text: String) throws -> Config.Upstream {
    let result = read(text)
    return try #require(result.config?.upstreams.first, "\(result.diagnostics)")
  }

  @Test func everySettingIsReadAndPrintsAsItself() throws {
    let text = """
      servers: ["127.0.0.1:80", { address: "127.0.0.2:80", weight: 7, backup: true, max_connections: 100 }], \
      health: { path: /up, status: [200-299, 301], host: "a.internal:81", interval: 3s, timeout: 2s, rise: 1, fall: 4, \
      port: 8081, tls: off }, \
      passive: { failures: 3, window: 20s, eject: 5s, max_ejected: 30%, status: 503 }, \
      retries: { count: 4, budget: 10%, on: [connect, 503, 502] }, queue: { requests: 9, timeout: 2s }, \
      sticky: { cookie: srv, key: sticky.jwks.json }, slow_start: 30s
      """
    let app = try upstream(text)
    #expect(app.servers.map(\.weight) == [1, 7])
    #expect(app.servers.map(\.isBackup) == [false, true])
    #expect(app.servers.map(\.connectionsMax) == [0, 100])
    #expect(app.health?.kind == .http(path: "/up", host: "a.internal:81", statuses: [200...299, 301...301]))
    #expect(app.health?.port == 8081 && app.health?.tls == .off)
    #expect(app.passive?.failures == 3 && app.passive?.ejectedPercentMax == 30 && app.passive?.statuses == [503...503])
    #expect(app.retries.count == 4 && app.retries.budgetPercent == 10)
    #expect(app.retries.on == [.connect] && app.retries.statuses == [503, 502])
    #expect(app.queue.requestsMax == 9 && app.queue.timeoutMilliseconds == 2_000)
    #expect(app.slowStartMilliseconds == 30_000)
    #expect(app.sticky == Config.Sticky(cookie: "srv", key: "/etc/sticky.jwks.json"))
    let config = try #require(read(text).config)
    let again = ConfigReader.read(text: config.resolved(), path: "/etc/countersign.yaml")
    #expect(again.config?.upstreams == config.upstreams, "\(again.diagnostics)\n\(config.resolved())")
  }

  @Test func whatIsNotGivenHasItsDefault() throws {
    let app = try upstream("servers: [\"127.0.0.1:80\"]")
    #expect(app.health == nil)
    #expect(app.passive == Config.Passive())
    #expect(
      app.retries.count == 1 && app.retries.budgetPercent == 20 && app.retries.on == [.connect, .reset, .timeout])
    #expect(try upstream("servers: [\"127.0.0.1:80\"], passive: off").passive == nil)
    // No status counts, as is usual.
    #expect(try upstream("servers: [\"127.0.0.1:80\"], passive: { status: [] }").passive == Config.Passive())
    #expect(try upstream("servers: [\"127.0.0.1:80\"], health: { tcp: true }").health?.kind == .tcp)
  }

  /// A start that is none is what `check --resolved` writes out.
  @Test func noSlowStartIsRightForEveryBalance() throws {
    let text = "servers: [\"127.0.0.1:80\"], balance: client-hash, slow_start: 0, health: { tcp: true }"
    let config = try #require(read(text).config)
    let again = ConfigReader.read(text: config.resolved(), path: "/etc/countersign.yaml")
    #expect(again.config?.upstreams == config.upstreams, "\(again.diagnostics)")
  }

  /// Checks speak what the servers speak, unless it says otherwise; those of gRPC speak HTTP/2.
  @Test(arguments: [
    (
      "health: { path: / }", Config.Health.Kind.http(path: "/", host: nil, statuses: [200...399]),
      Config.ServerProtocol.http1
    ),
    ("protocol: http2, health: { path: / }", .http(path: "/", host: nil, statuses: [200...399]), .http2),
    (
      "protocol: http2, health: { path: /, protocol: http2 }", .http(path: "/", host: nil, statuses: [200...399]),
      .http2
    ),
    (
      "protocol: http2, health: { path: /, protocol: http1 }", .http(path: "/", host: nil, statuses: [200...399]),
      .http1
    ),
    ("health: { grpc: \"\" }", .grpc(service: "", host: nil), .http2),
    ("protocol: http2, health: { grpc: a.B, host: a.internal }", .grpc(service: "a.B", host: "a.internal"), .http2),
    ("protocol: http2, health: { tcp: true }", .tcp, .http2),
  ])
  func aCheckKnowsWhatToSpeak(_ text: String, _ kind: Config.Health.Kind, _ spoken: Config.ServerProtocol) throws {
    let app = try upstream("servers: [\"127.0.0.1:80\"], \(text)")
    #expect(app.health?.kind == kind && app.health?.serverProtocol(of: app) == spoken)
    let config = try #require(read("servers: [\"127.0.0.1:80\"], \(text)").config)
    let again = ConfigReader.read(text: config.resolved(), path: "/etc/countersign.yaml")
    #expect(again.config?.upstreams == config.upstreams, "\(again.diagnostics)\n\(config.resolved())")
  }

  @Test(arguments: [
    (
      "servers: [{ address: \"127.0.0.1:80\", backup: true }]",
      "every server in `upstreams.app.servers` is a `backup`; at least one has to serve without"
    ),
    (
      "servers: [{ weight: 2 }]",
      "`upstreams.app.servers[0]` lacks `address`: where the server listens, such as `10.0.0.1:80`"
    ),
    (
      "servers: [{ address: \"127.0.0.1:80\", weight: 0 }]",
      "expected a whole number from 1 to 256 for `upstreams.app.servers[0].weight`, found `0`"
    ),
    (
      "servers: [{ address: \"127.0.0.1:80\", wieght: 2 }]",
      "unknown key `wieght` in `upstreams.app.servers[0]`: did you mean `weight`?"
    ),
    (
      "servers: [\"127.0.0.1:80\", { address: \"127.0.0.1:80\" }]", "the server `127.0.0.1:80` is given twice"
    ),
    (
      "servers: [\"127.0.0.1:80\"], retries: { budget: 20 }",
      "expected a share from 0% to 100% for `upstreams.app.retries.budget`, found `20`: did you mean `20%`?"
    ),
    (
      "servers: [\"127.0.0.1:80\"], passive: { max_ejected: 101% }",
      "expected a share from 0% to 100% for `upstreams.app.passive.max_ejected`, found `101%`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], retries: { on: [connect, 404] }",
      "expected one of `connect`, `reset`, `timeout`, `500`, `502`, `503`, `504` for `upstreams.app.retries.on[1]`, found `404`: did you mean `504`?"
    ),
    ("servers: [\"127.0.0.1:80\"], retries: { on: [reset, reset] }", "`reset` is given twice"),
    (
      "servers: [\"127.0.0.1:80\"], queue: { requests: 5 }",
      "`queue` is only used where a server has `max_connections`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], sticky: { cookie: \"a b\", key: k.json }",
      "expected the name of a cookie, of at most 64 bytes for `upstreams.app.sticky.cookie`, found `a b`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], sticky: { cookie: srv }",
      "`upstreams.app.sticky` lacks `key`: the path of a key set of its own, made with `countersign keys new`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { tcp: true, path: /x }", "`path` is not used with `tcp: true`"
    ),
    ("servers: [\"127.0.0.1:80\"], health: { tcp: true, protocol: http1 }", "`protocol` is not used with `tcp: true`"),
    (
      "servers: [\"127.0.0.1:80\"], balance: client-hash, slow_start: 5s",
      "`slow_start` is not used with `balance: client-hash`, which gives a client the same server always"
    ),
    (
      "servers: [\"127.0.0.1:80\"], passive: false",
      "expected `off`, or a mapping such as `{ failures: 3 }` for `upstreams.app.passive`, found `false`: did you mean `off`?"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { path: /x, host: \"https://a.internal\" }",
      "expected a host name or an address, with a port or without for `upstreams.app.health.host`, found `https://a.internal`: did you mean `a.internal`?"
    ),
    (
      "servers: [\"127.0.0.1:80\"], tls: { ca: c.pem, name: \"https://a.internal:443\" }",
      "expected a host name or an address, as the certificate has it for `upstreams.app.tls.name`, found `https://a.internal:443`: did you mean `a.internal`?"
    ),
    ("servers: [\"127.0.0.1:80\"], health: { tcp: true, grpc: a }", "`grpc` is not used with `tcp: true`"),
    ("servers: [\"127.0.0.1:80\"], health: { grpc: a, path: /x }", "`path` is not used with `grpc`"),
    ("servers: [\"127.0.0.1:80\"], health: { grpc: a, status: 200 }", "`status` is not used with `grpc`"),
    ("servers: [\"127.0.0.1:80\"], health: { grpc: a, protocol: http2 }", "`protocol` is not used with `grpc`"),
    (
      "servers: [\"127.0.0.1:80\"], health: { grpc: \"a b\" }",
      "expected the name of a service, at most 256 visible ASCII characters, or `\"\"` for the whole server for `upstreams.app.health.grpc`, found `a b`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { grpc: }",
      "expected the name of a service, at most 256 visible ASCII characters, or `\"\"` for the whole server for `upstreams.app.health.grpc`, found nothing"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { path: /x, status: 299-200 }",
      "expected a status or a range of them, such as `200-299`, within 100-599 for `upstreams.app.health.status`, found `299-200`"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { path: /x, status: [] }",
      "expected at least one status in `upstreams.app.health.status`; for the usual ones, leave it out"
    ),
    (
      "servers: [\"127.0.0.1:80\"], health: { path: /x, host: \"a b\" }",
      "expected a host name or an address, with a port or without for `upstreams.app.health.host`, found `a b`"
    ),
  ])
  func aMistakeIsNamed(_ text: String, _ message: String) {
    let result = read(text)
    #expect(result.config == nil)
    #expect(result.diagnostics.map(\.message).contains(message), "\(result.diagnostics.map(\.message))")
  }
}
