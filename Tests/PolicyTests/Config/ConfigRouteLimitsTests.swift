// What a route has of its own: times, sizes, rates, who may take it, and pages.

import Policy
import Testing
import Wire

@Suite struct ConfigRouteLimitsTests {
  private func route(_ more: String) -> String {
    """
    listeners: [{ name: web, listen: "127.0.0.1:8080" }]
    routes: [{ to: app, \(more) }]
    upstreams: { app: { servers: ["127.0.0.1:3000"] } }

    """
  }

  @Test func aRouteHasLimitsOfItsOwn() throws {
    let read = try config(
      route(
        "timeouts: { idle: 5m, upstream_connect: 1s, upstream_response: 10m, tunnel: 2h }, "
          + "limits: { body: 500MiB, rate: { requests: 20/s, burst: 40, key: client_subnet } }, "
          + "access: { allow: [192.0.2.0/24], deny: 192.0.2.7, htpasswd: users, realm: \"Back office\", "
          + "pass_credentials: true }, error_pages: [{ status: [502, 500-599], html: e.html, json: e.json }]")
    ).routes[0]
    #expect(read.limits.idleMilliseconds == 300_000 && read.limits.upstreamConnectMilliseconds == 1_000)
    #expect(read.limits.upstreamResponseMilliseconds == 600_000 && read.limits.tunnelMilliseconds == 7_200_000)
    #expect(read.limits.bodyBytes == 500 << 20)
    let rate = try #require(read.limits.rate)
    #expect(rate.requests == 20 && rate.period == .second && rate.burst == 40 && rate.key == .clientSubnet)
    #expect(read.access.allow.map(\.description) == ["192.0.2.0/24"])
    #expect(read.access.deny.map(\.description) == ["192.0.2.7/32"])
    let basic = try #require(read.access.basic)
    #expect(basic.htpasswd == "/etc/countersign/users" && basic.realm == "Back office" && basic.passesCredentials)
    #expect(
      read.errorPages[0].html == "/etc/countersign/e.html" && read.errorPages[0].json == "/etc/countersign/e.json")
    #expect(read.errorPages[0].statuses == [502...502, 500...599])
  }

  @Test func whatIsNotSaidIsNotThere() throws {
    let read = try config(route("limits: { rate: { requests: 60/m } }")).routes[0]
    #expect(read.limits.idleMilliseconds == nil && read.limits.bodyBytes == nil && read.access == Config.Access())
    let rate = try #require(read.limits.rate)
    #expect(rate.burst == 60 && rate.key == .client && rate.period == .minute)
  }

  @Test(arguments: [
    "limits: { rate: { requests: 3/h, burst: 2, key: client } }",
    "limits: { body: 0, rate: { requests: 10000/s, key: { header: X-Api-Key } } }", "timeouts: { idle: 1ms }",
    "access: { deny: [10.0.0.0/8, \"2001:db8::/32\"] }", "access: { htpasswd: users }",
    "error_pages: [{ status: 401-403, json: e.json }], access: { allow: 10.0.0.1 }",
  ])
  func whatIsWrittenOutReadsBackTheSame(more: String) throws {
    let read = try config(route(more) + "proxy_status: true\nerror_pages: [{ status: 404, html: /x.html }]\n")
    let again = try config(read.resolved())
    #expect(again.withoutPlaces == read.withoutPlaces)
    #expect(again.resolved() == read.resolved())
  }

  @Test(arguments: [
    (
      "limits: { rate: { requests: 20 } }",
      "2:49: expected requests in a time, such as `20/s` (`/s`, `/m`, `/h`), at most 10000/s for "
        + "`routes[0].limits.rate.requests`, found `20`: did you mean `20/s`?"
    ),
    (
      "limits: { rate: { requests: 20/min } }",
      "2:49: expected requests in a time, such as `20/s` (`/s`, `/m`, `/h`), at most 10000/s for "
        + "`routes[0].limits.rate.requests`, found `20/min`: did you mean `20/m`?"
    ),
    (
      "limits: { rate: { requests: 10001/s } }",
      "2:49: expected requests in a time, such as `20/s` (`/s`, `/m`, `/h`), at most 10000/s for "
        + "`routes[0].limits.rate.requests`, found `10001/s`"
    ),
    (
      "limits: { rate: { requests: 1/h, burst: 25 } }",
      "2:61: a burst of 25 at 1/h takes longer than a day to be earned anew"
    ),
    (
      "limits: { rate: { requests: 20/s, key: { header: X-Forwarded-For } } }",
      "2:70: `X-Forwarded-For` is what a client says of itself, or what is removed as that; `key: client` counts by the settled "
        + "client"
    ),
    (
      "limits: { rate: { requests: 20/s, key: { header: x_real_ip } } }",
      "2:70: `x_real_ip` is what a client says of itself, or what is removed as that; `key: client` counts by the settled client"
    ),
    (
      "limits: { rate: { requests: 20/s, key: { header: Host } } }",
      "2:70: `Host` is read by rules of its own, and cannot be a key"
    ),
    ("limits: { rate: {} }", "2:37: `routes[0].limits.rate` lacks `requests`: how many in what time, such as `20/s`"),
    (
      "limits: { rate: { requests: 1/s, key: clients } }",
      "2:59: expected `client`, `client_subnet` or `{ header: NAME }` for `routes[0].limits.rate.key`, found `clients`: "
        + "did you mean `client`?"
    ),
    (
      "limits: { rate: { requests: 1/s, key: { header: 'X Y' } } }",
      "2:69: expected the name of a request field, such as `X-Api-Key`, of at most 64 bytes for "
        + "`routes[0].limits.rate.key.header`, found `X Y`"
    ),
    (
      "limits: { head: 1KiB }",
      "2:31: unknown key `head` in `routes[0].limits`; it takes `body`, `rate`"
    ),
    (
      "timeouts: { handshake: 1s }",
      "2:33: unknown key `handshake` in `routes[0].timeouts`; it takes `idle`, `upstream_connect`, `upstream_response`, "
        + "`tunnel`"
    ),
    (
      "access: { allow: [10.0.0.0/8], deny: [10.0.0.0/8] }",
      "2:59: `10.0.0.0/8` is allowed as well: a range is one or the other"
    ),
    ("access: { allow: [] }", "2:38: `routes[0].access.allow` is empty: nobody is allowed; leave it out"),
    (
      "access: {}",
      "2:29: `routes[0].access` says nothing: give `allow`, `deny` or `htpasswd`, or leave it out"
    ),
    ("access: { allow: 10.0.0.1, realm: x }", "2:55: `realm` is only used with `htpasswd`"),
    (
      "access: { htpasswd: u, realm: 'a\"b' }",
      "2:51: expected a name to show to people, of 1 to 64 visible ASCII characters and spaces, without quotes and "
        + "backslashes for `routes[0].access.realm`, found `a\"b`"
    ),
    (
      "error_pages: [{ status: 418, html: e.html }]",
      "2:45: no refusal has such a status; they have 400, 401, 403, 404, 405, 408, 413, 417, 421, 425, 429, 431, 500, 501, "
        + "502, 503, 504, 505"
    ),
    (
      "error_pages: [{ status: [], html: e.html }]",
      "2:45: expected at least one status in `routes[0].error_pages[0].status`"
    ),
    (
      "error_pages: [{ status: 404 }]",
      "2:35: `routes[0].error_pages[0]` needs `html`, `json` or both: the path of the page"
    ),
  ])
  func whatIsRefused(more: String, message: String) {
    #expect(findings(route(more)) == [message])
  }
}
