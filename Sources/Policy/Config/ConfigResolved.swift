// A configuration written out with every default filled in: what `check --resolved` prints, and what reads back
// to an equal configuration (but for the places of its lines). For people the values of fields stay references where they
// come from outside: they may be keys.

import Wire

extension Config {
  /// YAML that reads back to this configuration. Paths in it are absolute.
  package func resolved(forPeople isShown: Bool = false) -> String {
    var out = Resolved()
    func field(_ value: String, _ written: String?) -> String {
      isShown ? written.map(Resolved.verbatim) ?? Resolved.quote(value) : Resolved.quote(value)
    }
    out.identity(identity, Infrastructure(self))
    out.line(0, "listeners:")
    for listener in listeners { out.listener(listener) }
    out.line(0, "routes:")
    for route in routes {
      out.line(1, "- { \(route.resolved(Resolved.quote, verbatim: Resolved.verbatim, field: field)) }")
    }
    out.line(0, "path_mismatch: \(pathMismatch.rawValue)")
    out.line(0, "headers: \(headers.resolved(Resolved.quote))")
    out.line(0, "upstreams:")
    for upstream in upstreams { out.upstream(upstream) }
    out.rest(self)
    return out.text
  }
}

struct Resolved {
  private(set) var text = ""

  mutating func line(_ depth: Int, _ content: String) {
    text += String(repeating: "  ", count: depth) + content + "\n"
  }

  private mutating func pair(_ depth: Int, _ key: String, _ value: String?) {
    if let value { line(depth, "\(key): \(value)") }
  }

  /// A value, in which `${` would stand for something outside.
  static func quote(_ text: String) -> String { verbatim(text.replacing("${", with: "$${")) }

  /// Double quotes, in which every text can be written (YAML 1.2 section 7.3.1).
  static func verbatim(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      case "\r": out += "\\r"
      default:
        if scalar.value >= 0x20, scalar.value < 0x7f || scalar.value > 0xa0, scalar.value != 0x2028,
          scalar.value != 0x2029,
          scalar.value != 0xfeff
        {
          out.unicodeScalars.append(scalar)
        } else {
          let hex = String(scalar.value, radix: 16)
          out += "\\U" + String(repeating: "0", count: 8 - hex.count) + hex
        }
      }
    }
    return out + "\""
  }

  static func list(_ prefixes: [IPPrefix]) -> String { "[\(prefixes.map { "\"\($0)\"" }.joined(separator: ", "))]" }

  private func endpoint(_ endpoint: Config.Endpoint) -> String {
    switch endpoint {
    case .host(let host, let port): Self.quote("\(host):\(port)")
    case .service(let name): Self.quote("srv:\(name)")
    case .address(let address, let port): address.family == .v4 ? "\"\(address):\(port)\"" : "\"[\(address)]:\(port)\""
    case .unix(let path): Self.quote("unix:\(path)")
    }
  }

  private func certificate(_ certificate: Config.Certificate) -> String {
    "certificate: \(Self.quote(certificate.certificate)), key: \(Self.quote(certificate.key))"
  }

  mutating func identity(_ identity: Config.Identity, _ infrastructure: Infrastructure) {
    line(0, "identity:")
    pair(1, "edge", identity.edge.map(Self.quote))
    pair(1, "keys", identity.keys.map(Self.quote))
    pair(1, "keys_group", identity.keysGroup.map(Self.quote))
    pair(1, "sign_with", identity.signWith.map(Self.quote))
    pair(1, "audience", identity.audience.map(Self.quote))
    pair(1, "edges", "[\(identity.edges.map(Self.quote).joined(separator: ", "))]")
    pair(1, "clock_skew", Unit.duration(identity.clockSkewMilliseconds))
    pair(1, "mode", identity.mode.rawValue)
    pair(1, "infrastructure", Self.list(identity.infrastructure))
    // What `run` adds to it; said, and not written, for it follows from the rest.
    for (prefix, source) in infrastructure.derived {
      let source = source.filter { !$0.isNewline }
      line(1, "#   \(prefix.isHost ? "\(prefix.address)" : "\(prefix)"), by \(source)")
    }
    line(1, "#   and the address that a connection came to")
    pair(1, "claims", "[\(identity.claims.map(Self.quote).joined(separator: ", "))]")
    pair(1, "replay_window", "\(identity.replayWindowBits)")
  }

  mutating func listener(_ listener: Config.Listener) {
    line(1, "- name: \(Self.quote(listener.name))")
    pair(2, "listen", endpoint(listener.address))
    if !listener.certificates.isEmpty {
      line(2, "tls:")
      for certificate in listener.certificates { line(3, "- { \(self.certificate(certificate)) }") }
      pair(2, "tls_minimum", "\"\(listener.tlsMinimum.rawValue)\"")
    }
    pair(2, "protocols", "[\(listener.protocols.map(\.rawValue).joined(separator: ", "))]")
    pair(
      2, "client_certificates",
      listener.clientCertificates.map { "{ ca: \(Self.quote($0.ca)), require: \($0.require) }" })
    if listener.trust.isEmpty {
      line(2, "trust: []  # any: socket")
    } else {
      line(2, "trust:")
      for rule in listener.trust { self.rule(rule) }
    }
    pair(2, "on_collapse", listener.onCollapse.rawValue)
    pair(2, "unready_on_collapse", "\(listener.isUnreadyOnCollapse)")
    pair(2, "shared_addresses", Self.list(listener.sharedAddresses))
    guard !listener.checks.isEmpty else { return }
    line(2, "checks:")
    for check in listener.checks {
      line(3, "- { from: \(Self.list(check.from))\(check.path.map { ", path: \(Self.quote($0))" } ?? "") }")
    }
  }

  private mutating func rule(_ rule: Config.TrustRule) {
    var parts = ["from: \(rule.from.isEmpty ? "any" : Self.list(rule.from))", "evidence: \(rule.evidence.rawValue)"]
    if rule.thenForwarded { parts.append("then: forwarded") }
    if rule.evidence == .forwarded || rule.thenForwarded {
      parts.append("header: \(rule.header.rawValue)")
      parts.append("hops: \(Self.list(rule.hops))")
    }
    if rule.evidence != .attested, rule.evidence != .refuse { parts.append("scheme: \(rule.scheme.rawValue)") }
    if rule.evidence == .attested { parts.append("proxy_protocol: \(rule.proxyProtocolRequired ? "required" : "off")") }
    if let end = rule.cutoverEndMilliseconds {
      parts.append("cutover: { also: socket, until: \"\(Timestamp.text(milliseconds: end))\" }")
    }
    line(3, "- { \(parts.joined(separator: ", ")) }")
  }

  mutating func upstream(_ upstream: Config.Upstream) {
    line(1, "\(Self.quote(upstream.name)):")
    pair(2, "identity", upstream.identity.rawValue)
    if upstream.identity == .plain {
      let names = Config.PlainFields.named.filter { upstream.plainFields.contains($0.field) }.map(\.name)
      pair(2, "plain_fields", "[\(names.joined(separator: ", "))]")
    }
    pair(2, "audience", upstream.audience.map(Self.quote))
    if upstream.identity == .attest { pair(2, "shared_audience", "\(upstream.sharedAudience)") }
    pair(2, "protocol", upstream.serverProtocol.rawValue)
    pair(2, "proxy_protocol", upstream.proxyProtocol ? "v2" : "off")
    servers(upstream.servers)
    pair(2, "tls", upstream.tls.map(tls))
    pair(2, "balance", upstream.balance.rawValue)
    pair(2, "health", upstream.health.map { health($0, of: upstream) })
    pair(2, "passive", upstream.passive.map(passive) ?? "off")
    let occasions = Config.Retries.Occasions.named.filter { upstream.retries.on.contains($0.occasion) }.map(\.name)
    let on = (occasions + upstream.retries.statuses.map(String.init)).joined(separator: ", ")
    pair(
      2, "retries", "{ count: \(upstream.retries.count), budget: \(upstream.retries.budgetPercent)%, on: [\(on)] }")
    if upstream.servers.contains(where: { $0.connectionsMax > 0 }) {
      let timeout = Unit.duration(upstream.queue.timeoutMilliseconds)
      pair(2, "queue", "{ requests: \(upstream.queue.requestsMax), timeout: \(timeout) }")
    }
    pair(
      2, "sticky",
      upstream.sticky.map { "{ cookie: \(Self.quote($0.cookie)), key: \(Self.quote($0.key)) }" })
    pair(2, "slow_start", Unit.duration(upstream.slowStartMilliseconds))
    pair(2, "idle_connections", "\(upstream.idleConnections)")
    pair(2, "host", upstream.rewritesHost ? "rewritten" : "as-sent")
  }

  private mutating func servers(_ servers: [Config.Server]) {
    if servers.allSatisfy({ $0 == Config.Server($0.endpoint) }) {
      line(2, "servers: [\(servers.map { endpoint($0.endpoint) }.joined(separator: ", "))]")
      return
    }
    line(2, "servers:")
    for server in servers {
      var parts = ["address: \(endpoint(server.endpoint))", "weight: \(server.weight)", "backup: \(server.isBackup)"]
      parts.append("max_connections: \(server.connectionsMax)")
      line(3, "- { \(parts.joined(separator: ", ")) }")
    }
  }

  private func tls(_ tls: Config.UpstreamTLS) -> String {
    let own = tls.certificate.map { ", \(certificate($0))" } ?? ""
    return "{ ca: \(Self.quote(tls.ca)), name: \(Self.quote(tls.name))\(own) }"
  }

  private func health(_ health: Config.Health, of upstream: Config.Upstream) -> String {
    var parts: [String]
    switch health.kind {
    case .tcp: parts = ["tcp: true"]
    case .http(let path, let host, let statuses):
      parts = ["path: \(Self.quote(path))", "status: \(ranges(statuses))"]
      if let host { parts.append("host: \(Self.quote(host))") }
    case .grpc(let service, let host):
      parts = ["grpc: \(Self.quote(service))"]
      if let host { parts.append("host: \(Self.quote(host))") }
    }
    if case .http = health.kind { parts.append("protocol: \(health.serverProtocol(of: upstream).rawValue)") }
    parts.append("interval: \(Unit.duration(health.intervalMilliseconds))")
    parts.append("timeout: \(Unit.duration(health.timeoutMilliseconds))")
    parts.append("rise: \(health.rise)")
    parts.append("fall: \(health.fall)")
    if let port = health.port { parts.append("port: \(port)") }
    switch health.tls {
    case .off?: parts.append("tls: off")
    case .own(let own)?: parts.append("tls: \(tls(own))")
    case nil: break
    }
    return "{ \(parts.joined(separator: ", ")) }"
  }

  private func passive(_ passive: Config.Passive) -> String {
    var parts = ["failures: \(passive.failures)", "window: \(Unit.duration(passive.windowMilliseconds))"]
    parts.append("eject: \(Unit.duration(passive.ejectMilliseconds))")
    parts.append("max_ejected: \(passive.ejectedPercentMax)%")
    if !passive.statuses.isEmpty { parts.append("status: \(ranges(passive.statuses))") }
    return "{ \(parts.joined(separator: ", ")) }"
  }

  private func ranges(_ ranges: [ClosedRange<Int>]) -> String {
    let texts = ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
    return "[\(texts.joined(separator: ", "))]"
  }

  mutating func rest(_ config: Config) {
    let timeouts = config.timeouts
    line(0, "timeouts:")
    pair(1, "handshake", Unit.duration(timeouts.handshakeMilliseconds))
    pair(1, "head", Unit.duration(timeouts.headMilliseconds))
    pair(1, "idle", Unit.duration(timeouts.idleMilliseconds))
    pair(1, "upstream_connect", Unit.duration(timeouts.upstreamConnectMilliseconds))
    pair(1, "upstream_response", Unit.duration(timeouts.upstreamResponseMilliseconds))
    pair(1, "tunnel", Unit.duration(timeouts.tunnelMilliseconds))
    pair(1, "tunnel_close", Unit.duration(timeouts.tunnelCloseMilliseconds))
    pair(1, "drain", Unit.duration(timeouts.drainMilliseconds))
    pair(1, "drain_delay", Unit.duration(timeouts.drainDelayMilliseconds))
    pair(1, "drain_tunnels", timeouts.drainTunnelsMilliseconds.map { Unit.duration($0) } ?? "auto")
    let limits = config.limits
    line(0, "limits:")
    pair(1, "connections", "\(limits.connections)")
    pair(1, "connections_per_client", "\(limits.connectionsPerClient)")
    pair(1, "streams", "\(limits.streams)")
    pair(1, "head", Unit.size(limits.headBytes))
    pair(1, "fields", "\(limits.fields)")
    pair(1, "body", Unit.size(limits.bodyBytes))
    line(0, "log:")
    switch config.log.access {
    case .off: pair(1, "access", "off")
    case .stdout: pair(1, "access", "stdout")
    case .file(let path): pair(1, "access", Self.quote(path))
    case .syslog(let path): pair(1, "access", Self.quote("syslog:\(path)"))
    }
    switch config.log.format {
    case .json: pair(1, "format", "json")
    case .combined: pair(1, "format", "combined")
    case .template(let template):
      pair(1, "format", "template")
      pair(1, "template", Self.verbatim(template.text))
    }
    if config.log.format == .json { pair(1, "extra", "[\(config.log.extra.map(\.rawValue).joined(separator: ", "))]") }
    pair(1, "query", config.log.query.rawValue)
    pair(1, "tunnels", config.log.tellsTunnelBegin ? "both" : "end")
    if !config.log.fields.isEmpty {
      line(1, "fields:")
      for field in config.log.fields {
        let source =
          switch field.source {
          case .header(let name): "header: \(Self.quote(name))"
          case .cookie(let name): "cookie: \(Self.quote(name))"
          }
        line(2, "- { name: \(Self.quote(field.name)), \(source) }")
      }
    }
    pair(1, "fields_key", config.log.fieldsKey.map(Self.quote))
    let control = config.admin?.control.map { ", control: \(endpoint($0))" } ?? ""
    pair(0, "admin", config.admin.map { "{ listen: \(endpoint($0.address))\(control) }" })
    if !config.errorPages.isEmpty {
      line(0, "error_pages:")
      for page in config.errorPages { line(1, "- \(page.resolved)") }
    }
    pair(0, "proxy_status", "\(config.proxyStatus)")
    pair(0, "workers", config.workers.map(String.init) ?? "auto")
    pair(0, "accept_weaker", config.acceptWeaker.map(Self.quote))
  }
}
