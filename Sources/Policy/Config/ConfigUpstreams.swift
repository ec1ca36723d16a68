// Upstreams: where requests go on to, and what identity they carry there.

import Wire

extension Reading {
  mutating func upstreams(_ node: YAMLNode) {
    config.places["upstreams"] = node.place
    guard case .mapping(let pairs) = node.value else {
      faulty.insert("upstreams")
      if node.isRefused { return }
      error(node.place, "expected `upstreams` to be a mapping from names to upstreams, found \(describe(node))")
      return
    }
    if pairs.isEmpty { error(node.place, "expected at least one upstream") }
    for pair in pairs {
      if !NameKind.name.admits(pair.key) {
        error(pair.place, "expected an upstream's name of \(NameKind.name.rawValue), found \(quoted(pair.key))")
      }
      let path = "upstreams.\(pair.key)"
      config.upstreams.append(upstream(pair.value, path, name: pair.key))
      // Findings about the whole upstream are told at its name.
      config.places[path] = pair.place
    }
  }

  private mutating func upstream(_ node: YAMLNode, _ path: String, name: String) -> Config.Upstream {
    var upstream = Config.Upstream(name: name)
    let keys = [
      "identity", "plain_fields", "audience", "shared_audience", "proxy_protocol", "protocol", "servers", "tls",
      "balance",
      "health", "passive", "retries", "queue", "sticky", "slow_start", "idle_connections", "host",
    ]
    let required = [(key: "servers", what: "a list such as `[\"127.0.0.1:3334\"]`")]
    guard let fields = fields(node, path, keys: keys, required: required) else { return upstream }
    if let node = fields["identity"], let identity: Config.UpstreamIdentity = word(node, "\(path).identity") {
      upstream.identity = identity
    }
    if let node = fields["plain_fields"] {
      if let chosen = plainFields(node, "\(path).plain_fields") { upstream.plainFields = chosen }
      if upstream.identity != .plain, !faulty.contains("\(path).identity") {
        error(node.place, "`plain_fields` is only used with `identity: plain`")
      }
    }
    if let node = fields["audience"] { upstream.audience = self.name(node, "\(path).audience", .audience) }
    if let node = fields["shared_audience"], let shared = truth(node, "\(path).shared_audience") {
      upstream.sharedAudience = shared
    }
    if let node = fields["protocol"], let word: Config.ServerProtocol = word(node, "\(path).protocol") {
      upstream.serverProtocol = word
    }
    if let node = fields["proxy_protocol"] {
      upstream.proxyProtocol = word(node, "\(path).proxy_protocol", of: ["off", "v2"]) == 1
    }
    attestation(of: upstream, fields)
    if let node = fields["servers"] { upstream.servers = servers(node, "\(path).servers") }
    if let node = fields["tls"] { upstream.tls = upstreamTLS(node, "\(path).tls") }
    if let node = fields["balance"], let balance: Config.Balance = word(node, "\(path).balance") {
      upstream.balance = balance
    }
    if let node = fields["health"] {
      upstream.health = health(node, "\(path).health")
      if upstream.health?.statedProtocol == upstream.serverProtocol { upstream.health?.statedProtocol = nil }
    }
    if let node = fields["passive"] { upstream.passive = passive(node, "\(path).passive") }
    if let node = fields["retries"] { upstream.retries = retries(node, "\(path).retries") }
    if let node = fields["queue"] {
      upstream.queue = queue(node, "\(path).queue")
      if !faulty.contains("\(path).servers"), upstream.servers.allSatisfy({ $0.connectionsMax == 0 }) {
        error(node.place, "`queue` is only used where a server has `max_connections`")
      }
    }
    if let node = fields["sticky"] { upstream.sticky = sticky(node, "\(path).sticky") }
    if let node = fields["slow_start"], let time = duration(node, "\(path).slow_start", 0...3_600_000) {
      upstream.slowStartMilliseconds = time
      if time > 0, upstream.balance == .clientHash, !isRunning {
        error(
          node.place,
          "`slow_start` is not used with `balance: client-hash`, which gives a client the same server always")
      }
    }
    if let node = fields["idle_connections"], let count = count(node, "\(path).idle_connections", 0...10_000) {
      upstream.idleConnections = count
    }
    if let node = fields["host"] {
      upstream.rewritesHost = word(node, "\(path).host", of: ["as-sent", "rewritten"]) == 1
    }
    return upstream
  }

  private mutating func plainFields(_ node: YAMLNode, _ path: String) -> Config.PlainFields? {
    let names = Config.PlainFields.named.map(\.name)
    guard let nodes = elements(node, path, of: "fields: \(list(names))") else { return nil }
    if nodes.isEmpty {
      error(
        node.place, "expected at least one field in `\(path)`; to tell nothing of the client, write `identity: none`")
    }
    var chosen: Config.PlainFields = []
    for (index, node) in nodes.enumerated() {
      guard let found = word(node, "\(path)[\(index)]", of: names, ignoresCase: true) else { continue }
      if !chosen.insert(Config.PlainFields.named[found].field).inserted {
        error(node.place, "the field `\(names[found])` is given twice")
      }
    }
    return chosen
  }

  /// What attesting takes here; what it takes of `identity` is in ConfigChecks.
  private mutating func attestation(of upstream: Config.Upstream, _ fields: Fields) {
    guard !faulty.contains(fields.path("identity")) else { return }
    if upstream.identity == .attest {
      attests = attests ?? fields["identity"]?.place
      if fields["audience"] == nil, !faulty.contains(fields.path("audience")) {
        error(
          fields["identity"]?.place ?? fields.place,
          "`identity: attest` needs an `audience`: the name of the validator in front of these servers")
      }
      return
    }
    if let node = fields["audience"] {
      error(node.place, "`audience` is only used with `identity: attest`")
    }
    if upstream.sharedAudience, let node = fields["shared_audience"] {
      error(node.place, "`shared_audience` is only used with `identity: attest`")
    }
    if upstream.proxyProtocol, let node = fields["proxy_protocol"] {
      error(node.place, "`proxy_protocol: v2` is only sent with `identity: attest`")
    }
  }

  mutating func upstreamTLS(_ node: YAMLNode, _ path: String) -> Config.UpstreamTLS? {
    let required = [
      (key: "ca", what: "the path of the PEM file of those who may sign the server's certificate"),
      (key: "name", what: "the name that the server's certificate must carry"),
    ]
    guard let fields = fields(node, path, keys: ["ca", "name", "certificate", "key"], required: required) else {
      return nil
    }
    let ca = fields["ca"].flatMap { file($0, "\(path).ca") }
    let name = fields["name"].flatMap { hostName($0, "\(path).name") }
    let certificate = fields["certificate"].flatMap { file($0, "\(path).certificate") }
    let key = fields["key"].flatMap { file($0, "\(path).key") }
    for (given, missing) in [("certificate", "key"), ("key", "certificate")] {
      if let node = fields[given], fields[missing] == nil, !faulty.contains("\(path).\(missing)") {
        error(node.place, "`\(given)` needs a `\(missing)` beside it in `\(path)`")
      }
    }
    guard let ca, let name else { return nil }
    var tls = Config.UpstreamTLS(ca: ca, name: name)
    if let certificate, let key { tls.certificate = Config.Certificate(certificate: certificate, key: key) }
    return tls
  }

  mutating func hostName(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a host name or an address, as the certificate has it"
    guard let text = text(node, path, expected: expected) else { return nil }
    if Self.isHostName(text) || IPAddress(text) != nil { return text }
    return wrong(node, path, expected: expected, suggestion: Self.hostOfURL(text))
  }
}
