// The keys of a configuration, in the order in which docs/CONFIG.md explains them. See ConfigSchema.

extension ConfigSchema {
  private static let day = 24 * 3_600_000

  static let name = SchemaValue.text("a name of A-Z, a-z, 0-9, `.`, `_` and `-`", pattern: namePattern)
  private static let audience = SchemaValue.text("a name of a-z, 0-9, `.` and `-`", pattern: "^[a-z0-9.-]{1,64}$")
  private static let keyID = SchemaValue.text(
    "the `kid` of a key, of A-Z, a-z, 0-9, `.`, `_` and `-`", pattern: "^[A-Za-z0-9._-]{1,32}$")
  static let file = SchemaValue.text("the path of a file")
  private static let keySet = SchemaValue.text("the path of a key set (JWKS)")
  static let range = SchemaValue.text("an address, or a range such as `10.0.0.0/8`")
  private static let listen = SchemaValue.text("`ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`")
  private static let endpoint = SchemaValue.text(
    "`HOST:PORT`, `[IPV6]:PORT`, `srv:_SERVICE._tcp.NAME` or `unix:PATH`")
  static let pattern = SchemaValue.text("a pattern (PCRE2) of 1 to 2048 bytes")
  private static let statuses = SchemaValue.list(
    .either([
      .count(100...599), .text("a range of statuses such as `200-299`", pattern: "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"),
    ]))

  static let keys: [SchemaKey] = [
    SchemaKey("identity", .mapping(identity), "Who signs, who verifies, and what can never be a client."),
    SchemaKey("listeners", .list(.mapping(listener)), "Where connections come in.", required: true),
    SchemaKey(
      "routes", .list(.mapping(route)), "Which request goes to which upstream; the first that matches decides.",
      required: true),
    SchemaKey(
      "upstreams", .named(.mapping(upstream)), "Where requests go on to, and what is told there of the client.",
      required: true),
    SchemaKey("timeouts", .mapping(timeouts), "How long each step may take."),
    SchemaKey("limits", .mapping(limits), "How much there may be of what clients send."),
    SchemaKey("log", .mapping(log), "The access log."),
    SchemaKey("admin", .mapping(admin), "Where operators and their monitoring ask."),
    SchemaKey(
      "workers", .either([.words(["auto"]), .count(1...256)]),
      "Threads that serve; auto is one for each processor. Changes at the next start.", standard: "auto"),
    SchemaKey(
      "path_mismatch", .words(["refuse", "stricter"]),
      "What becomes of a path that leads to two routes, by the way it is read.", standard: "refuse"),
    SchemaKey("headers", .mapping(headers), "Fields that every route's requests and responses get."),
    SchemaKey("error_pages", .list(.mapping(errorPage)), "Pages for answers of our own, where the route has none."),
    SchemaKey("proxy_status", .truth, "Such answers name their reason (RFC 9209).", standard: "false"),
    SchemaKey(
      "include", .either([file, .list(file)]),
      "Files whose lists are joined to those of this one, such as `conf.d/*.yaml`."),
    SchemaKey(
      "accept_weaker", .text("16 digits 0-9, a-f", pattern: "^[0-9a-f]{16}$"),
      "The hash, from `check --against`, of exactly the change that may weaken trust at a reload."),
  ]

  private static let identity: [SchemaKey] = [
    SchemaKey("edge", name, "This edge's name, in every attestation."),
    SchemaKey("keys", keySet, "The key set that signs or verifies."),
    SchemaKey("keys_group", name, "A group that may read the key set, which then may have mode 0640."),
    SchemaKey("sign_with", keyID, "The key that signs."),
    SchemaKey("audience", audience, "This process's own name as a validator: only what was signed for it is taken."),
    SchemaKey(
      "edges", .list(name), "Edges whose attestations are taken; empty: any whose key is in the set.", standard: "[]"),
    SchemaKey(
      "clock_skew", .duration(0...30_000), "How far an edge's clock may be ahead of this one.", standard: "2s"),
    SchemaKey(
      "mode", .words(["enforce", "observe"]),
      "observe logs what would be refused and passes it on without an identity.", standard: "enforce"),
    SchemaKey("infrastructure", .list(range), "Addresses that can never be a client.", standard: "[]"),
    SchemaKey(
      "claims", .list(.text("the name of a request field, of at most 64 bytes")),
      "Further request fields that speak of the client: removed at an edge, refused at a validator.", standard: "[]"),
    SchemaKey(
      "replay_window", .count(1 << 10...1 << 24),
      "How many sequence numbers of each sender are remembered: a power of two. Changes at the next start.",
      standard: "262144"),
  ]

  private static let listener: [SchemaKey] = [
    SchemaKey("name", name, "For the log, the metrics and `explain`.", required: true),
    SchemaKey("listen", listen, "Where it listens.", required: true),
    SchemaKey(
      "tls",
      .list(
        .mapping([
          SchemaKey("certificate", file, "A PEM file with the chain, the leaf first.", required: true),
          SchemaKey("key", file, "The private key's PEM file.", required: true),
        ])), "Certificates, chosen by the name that the client asks for; the first is the default."),
    SchemaKey("tls_minimum", .words(["1.2", "1.3"]), "With tls: the oldest version that is taken.", standard: "1.2"),
    SchemaKey(
      "protocols", .list(.words(["h2", "http/1.1", "h2c"])),
      "What is spoken; [h2, http/1.1] with tls, [http/1.1] without. h2c is HTTP/2 without TLS."),
    SchemaKey(
      "client_certificates",
      .mapping([
        SchemaKey("ca", file, "A PEM file of who may sign them.", required: true),
        SchemaKey("require", .truth, "Whether clients without one are refused.", standard: "false"),
      ]), "With tls: clients are asked for a certificate."),
    SchemaKey(
      "trust", .list(.mapping(rule)),
      "What a peer must show for the client's address to be known; the longest prefix decides. Empty: every peer is the client itself.",
      standard: "[]"),
    SchemaKey(
      "checks",
      .list(
        .mapping([
          SchemaKey("from", .either([range, .list(range)]), "The load balancer's own addresses.", required: true),
          SchemaKey(
            "path", .text("a path such as `/healthz`"), "The request that is answered; without it only connections are."
          ),
        ])), "A load balancer's own checks, which are answered here with our readiness.", standard: "[]"),
    SchemaKey(
      "on_collapse", .words(["alarm", "refuse"]),
      "What follows when many clients become one; refuse closes the routes that need to tell clients apart.",
      standard: "alarm"),
    SchemaKey("unready_on_collapse", .truth, "The process is not ready while that lasts.", standard: "false"),
    SchemaKey("shared_addresses", .list(range), "Addresses that many clients share by design.", standard: "[]"),
  ]

  private static let rule: [SchemaKey] = [
    SchemaKey(
      "from", .either([.words(["any"]), range, .list(range)]), "The peers that the rule is for.", required: true),
    SchemaKey(
      "evidence", .words(["socket", "proxy-protocol", "forwarded", "attested", "refuse"]), "What they must show.",
      required: true),
    SchemaKey(
      "header", .words(["x-forwarded-for", "forwarded"]), "The field that is read, with forwarded.",
      standard: "x-forwarded-for"),
    SchemaKey(
      "hops", .list(range), "Proxies that may stand in that field and are stepped over, from the right.", standard: "[]"
    ),
    SchemaKey("then", .words(["forwarded"]), "With proxy-protocol: a source among hops names the client in its field."),
    SchemaKey(
      "scheme", .words(["evidence", "http", "https"]), "Where the client's scheme comes from.", standard: "evidence"),
    SchemaKey(
      "proxy_protocol", .words(["off", "required"]), "With attested: whether a signed PROXY v2 header must come first.",
      standard: "off"),
    SchemaKey(
      "cutover",
      .mapping([
        SchemaKey("also", .words(["socket"]), "What a peer is without its header.", required: true),
        SchemaKey("until", .text("a time in UTC such as `2026-12-01T00:00:00Z`"), "When that ends.", required: true),
      ]), "With proxy-protocol: until then, a peer may come without its header."),
  ]

  private static let route: [SchemaKey] =
    routeMatch + routeGoals + routeChanges + [
      SchemaKey("name", name, "By which the route is closed and opened, and the log and the metrics know it."),
      SchemaKey(
        "enabled", .truth, "Whether it serves; false closes it until the configuration says otherwise.",
        standard: "true"),
      SchemaKey(
        "needs_distinct_clients", .truth, "Nothing passes while clients cannot be told apart.", standard: "false"),
      SchemaKey(
        "timeouts",
        .mapping([
          SchemaKey("idle", .duration(1...day), "A body that does not move."),
          SchemaKey("upstream_connect", .duration(1...600_000), "Connecting to a server."),
          SchemaKey("upstream_response", .duration(1...day), "The head of a server's response."),
          SchemaKey("tunnel", .duration(1...30 * day), "A WebSocket without traffic in either direction."),
        ]), "In place of those of the configuration."),
      SchemaKey(
        "limits",
        .mapping([
          SchemaKey(
            "body", .size(0...1 << 40), "A request's body, in place of the configuration's limit; 0: no limit."),
          SchemaKey("rate", .mapping(rate), "How many requests each client may have."),
        ]), "How much clients may send here."),
      SchemaKey("access", .mapping(access), "Who may send requests here."),
      SchemaKey(
        "error_pages", .list(.mapping(errorPage)), "Pages for answers of our own, before those of the configuration."),
    ]

  private static let rate: [SchemaKey] = [
    SchemaKey(
      "requests", .text("requests in a time, such as `20/s`", pattern: "^[1-9][0-9]*/(s|m|h)$"),
      "How many in what time.",
      required: true),
    SchemaKey("burst", .count(1...1_000_000), "So many at once; as many as requests by default."),
    SchemaKey(
      "key",
      .either([
        .words(["client", "client_subnet"]),
        .mapping([
          SchemaKey("header", .text("the name of a request field"), "Whoever sends the same value.", required: true)
        ]),
      ]), "Who counts as one.", standard: "client"),
  ]

  private static let access: [SchemaKey] = [
    SchemaKey("allow", .list(range), "Clients that may; of several ranges the longest decides."),
    SchemaKey("deny", .list(range), "Clients that may not."),
    SchemaKey("htpasswd", file, "A file of names and passwords, one of which must be shown."),
    SchemaKey("realm", .text("a name to show to people"), "With htpasswd: what browsers ask for."),
    SchemaKey(
      "pass_credentials", .truth, "With htpasswd: whether the backend gets the field with the password.",
      standard: "false"),
  ]

  private static let errorPage: [SchemaKey] = [
    SchemaKey(
      "status", .either([.count(100...599), .text("a range of statuses such as `500-599`"), statuses]),
      "The statuses that it is for.", required: true),
    SchemaKey("html", file, "The page for browsers; this, json or both."),
    SchemaKey("json", file, "The page for programs."),
  ]

  private static let upstream: [SchemaKey] = [
    SchemaKey(
      "host", .words(["as-sent", "rewritten"]), "Host of requests: the client's, or the server's own name.",
      standard: "as-sent"),
    SchemaKey(
      "servers", .list(.either([endpoint, .mapping(server)])), "Endpoints, or endpoints with settings.", required: true),
    SchemaKey(
      "identity", .words(["attest", "plain", "none"]), "What the backend is told of the client.", standard: "plain"),
    SchemaKey(
      "plain_fields",
      .list(.words(["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"])),
      "With plain: which fields are written; all of them by default."),
    SchemaKey("audience", audience, "With attest: the validator that may believe it."),
    SchemaKey("shared_audience", .truth, "With attest: several servers may have that audience.", standard: "false"),
    SchemaKey(
      "proxy_protocol", .words(["off", "v2"]), "With attest: whether a signed PROXY v2 header is sent too.",
      standard: "off"),
    SchemaKey("protocol", .words(["http1", "http2"]), "What is spoken to the servers.", standard: "http1"),
    SchemaKey("tls", .mapping(clientTLS), "TLS to the servers."),
    SchemaKey(
      "balance", .words(["round-robin", "least-requests", "client-hash"]), "Which server is next.",
      standard: "round-robin"),
    SchemaKey("health", .mapping(health), "Checks of the servers."),
    SchemaKey("passive", .either([.words(["off"]), .mapping(passive)]), "What requests themselves show of a server."),
    SchemaKey("retries", .mapping(retries), "Further tries of one request."),
    SchemaKey(
      "queue",
      .mapping([
        SchemaKey("requests", .count(0...100_000), "How many may wait.", standard: "1000"),
        SchemaKey("timeout", .duration(1...600_000), "For how long.", standard: "3s"),
      ]), "Where requests wait while every server has as many as it may (max_connections)."),
    SchemaKey(
      "sticky",
      .mapping([
        SchemaKey("cookie", .text("the name of a cookie"), "The cookie's name.", required: true),
        SchemaKey("key", keySet, "A key set of its own.", required: true),
      ]), "Keeps a client at a server by a cookie."),
    SchemaKey(
      "slow_start", .duration(0...3_600_000),
      "For how long a server that is new or has come back gets less than its share.",
      standard: "0"),
    SchemaKey(
      "idle_connections", .count(0...10_000), "Idle connections kept for each server by each worker.", standard: "64"),
  ]

  private static let server: [SchemaKey] = [
    SchemaKey("address", endpoint, "Where it listens.", required: true),
    SchemaKey("weight", .count(1...256), "Its share of the requests, beside the others' weights.", standard: "1"),
    SchemaKey("backup", .truth, "It serves only while no other server can.", standard: "false"),
    SchemaKey(
      "max_connections", .count(0...1_000_000), "Requests that it has at the same time; 0: no limit.", standard: "0"),
  ]

  private static let clientTLS: [SchemaKey] = [
    SchemaKey("ca", file, "A PEM file of who may sign the server's certificate.", required: true),
    SchemaKey(
      "name", .text("a host name or an address"), "The name that the certificate must carry; also sent as SNI.",
      required: true),
    SchemaKey("certificate", file, "Our own certificate, where the server asks for one."),
    SchemaKey("key", file, "Its private key."),
  ]

  private static let health: [SchemaKey] = [
    SchemaKey("path", .text("a path such as `/healthz`"), "What is asked for by GET; required, or tcp or grpc."),
    SchemaKey("tcp", .truth, "Only connects, and with tls shakes hands.", standard: "false"),
    SchemaKey("grpc", .text("the name of a service, or nothing"), "Asks gRPC's health service about it."),
    SchemaKey("protocol", .words(["http1", "http2"]), "What the checks speak; what the servers do by default."),
    SchemaKey("interval", .duration(10...3_600_000), "From one check to the next.", standard: "2s"),
    SchemaKey("timeout", .duration(1...600_000), "For a whole check; not longer than interval.", standard: "1s"),
    SchemaKey("rise", .count(1...100), "Passed checks in a row that bring a server back.", standard: "2"),
    SchemaKey("fall", .count(1...100), "Failed checks in a row that take it out.", standard: "3"),
    SchemaKey(
      "status", .either([.count(100...599), .text("a range of statuses such as `200-299`"), statuses]),
      "The good ones.", standard: "[200-399]"),
    SchemaKey("host", .text("a host name or an address, with a port or without"), "The value of Host."),
    SchemaKey("port", .count(1...65_535), "Another port for the checks."),
    SchemaKey("tls", .either([.words(["off"]), .mapping(clientTLS)]), "TLS of the checks; the upstream's by default."),
  ]

  private static let passive: [SchemaKey] = [
    SchemaKey("failures", .count(1...1_000), "So many failures eject a server.", standard: "5"),
    SchemaKey("window", .duration(100...3_600_000), "Within that time.", standard: "10s"),
    SchemaKey("eject", .duration(100...3_600_000), "For how long, the first time.", standard: "10s"),
    SchemaKey("max_ejected", .percent, "Of the upstream's servers at the same time.", standard: "50%"),
    SchemaKey(
      "status", .either([.count(100...599), .text("a range of statuses such as `500-599`"), statuses]),
      "Responses that count as failures."),
  ]

  private static let retries: [SchemaKey] = [
    SchemaKey("count", .count(0...10), "Further tries of one request.", standard: "1"),
    SchemaKey("budget", .percent, "Of the requests, so many may be further tries.", standard: "20%"),
    SchemaKey(
      "on", .list(.words(["connect", "reset", "timeout", "500", "502", "503", "504"])), "After what.",
      standard: "[connect, reset, timeout]"),
  ]

  private static let timeouts: [SchemaKey] = [
    SchemaKey("handshake", .duration(1...600_000), "The PROXY header and the TLS handshake.", standard: "5s"),
    SchemaKey("head", .duration(1...600_000), "A request's head, from its first byte to its last.", standard: "10s"),
    SchemaKey(
      "idle", .duration(1...day), "A connection between requests, and a body that does not move.", standard: "60s"),
    SchemaKey("upstream_connect", .duration(1...600_000), "Connecting to a server.", standard: "3s"),
    SchemaKey("upstream_response", .duration(1...day), "The head of a server's response.", standard: "60s"),
    SchemaKey("tunnel", .duration(1...30 * day), "A WebSocket without traffic in either direction.", standard: "1h"),
    SchemaKey("tunnel_close", .duration(1...day), "A WebSocket of which one side has ended.", standard: "10s"),
    SchemaKey("drain", .duration(0...day), "Requests in flight when a drain begins.", standard: "30s"),
    SchemaKey("drain_delay", .duration(0...3_600_000), "Between SIGTERM and the drain.", standard: "0"),
    SchemaKey(
      "drain_tunnels", .either([.words(["auto"]), .duration(0...30 * day)]),
      "When the last WebSocket is told to close in a drain; auto is as long as drain.", standard: "auto"),
  ]

  private static let limits: [SchemaKey] = [
    SchemaKey(
      "connections", .count(0...1_000_000), "Client connections of the process; 0: no limit.", standard: "10000"),
    SchemaKey(
      "connections_per_client", .count(0...1_000_000), "Connections of one client's address; 0: no limit.",
      standard: "0"),
    SchemaKey("head", .size(1 << 10...1 << 20), "A message's head.", standard: "32KiB"),
    SchemaKey("fields", .count(1...1_000), "Field lines in a request's head.", standard: "100"),
    SchemaKey("body", .size(0...1 << 40), "A request's body; 0: no limit.", standard: "0"),
    SchemaKey(
      "streams", .count(1...10_000), "Requests under way at a time on one connection of HTTP/2.", standard: "100"),
  ]

  private static let log: [SchemaKey] = [
    SchemaKey(
      "access", .text("`stdout`, `off`, `syslog`, `syslog:PATH` or the path of a file"), "Where the access log goes.",
      standard: "stdout"),
    SchemaKey("format", .words(["json", "combined", "template"]), "What a line looks like.", standard: "json"),
    SchemaKey(
      "template", .text("a line with variables, such as `$time $client $status`"), "With format template: the line."),
    SchemaKey(
      "extra", .list(.words(LogVariable.extras.map(\.rawValue))),
      "With format json: members that lines have beside the usual ones.", standard: "[]"),
    SchemaKey(
      "query", .words(["full", "names", "none"]),
      "What is shown of a query: all of it, the names with * for each value, or nothing.", standard: "full"),
    SchemaKey(
      "tunnels", .words(["end", "both"]), "Whether a WebSocket has a line also when it begins.", standard: "end"),
    SchemaKey(
      "fields",
      .list(
        .mapping([
          SchemaKey(
            "name", .text("a name of a-z, 0-9 and _, a letter first", pattern: "^[a-z][a-z0-9_]{0,31}$"),
            "The member's name.", required: true),
          SchemaKey("header", .text("the name of a request field"), "The request field that is digested."),
          SchemaKey("cookie", .text("the name of a cookie"), "Or the cookie."),
        ])), "Request fields and cookies of which lines have digests.", standard: "[]"),
    SchemaKey("fields_key", keySet, "The key set that makes the digests; required with fields."),
  ]

  private static let admin: [SchemaKey] = [
    SchemaKey("listen", listen, "/metrics, /healthz, /status; it asks nobody who they are.", required: true),
    SchemaKey(
      "control", .text("`unix:PATH`"), "A second one, over which operators change things, where listen is an address."),
  ]
}
