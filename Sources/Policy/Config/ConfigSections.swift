// The configuration's sections, each from its mapping. Bounds stand beside the keys they hold for;
// docs/CONFIG.md repeats them for people. What concerns more than one key is in ConfigChecks.

import Wire

extension Reading {
  mutating func configuration(_ root: YAMLNode) {
    let keys = [
      "identity", "listeners", "routes", "upstreams", "timeouts", "limits", "log", "admin", "workers", "accept_weaker",
      "error_pages", "proxy_status", "include", "path_mismatch", "headers",
    ]
    let required = [
      (key: "listeners", what: "a list of where connections come in"),
      (key: "routes", what: "a list of which request goes to which upstream; `[{ to: NAME }]` sends all to one"),
      (key: "upstreams", what: "a mapping from names to servers"),
    ]
    guard let fields = fields(root, "", keys: keys, required: required) else { return }
    if let node = fields["identity"] { identity(node) }
    if let node = fields["listeners"] { listeners(node) }
    if let node = fields["routes"] { routes(node) }
    if let node = fields["path_mismatch"], let word: Config.PathMismatch = word(node, "path_mismatch") {
      config.pathMismatch = word
    }
    if let node = fields["headers"] { headers(node) }
    if let node = fields["upstreams"] { upstreams(node) }
    if let node = fields["timeouts"] { timeouts(node) }
    if let node = fields["limits"] { limits(node) }
    if let node = fields["log"] { log(node) }
    if let node = fields["admin"] { admin(node) }
    if let node = fields["workers"], !isWord(node, "auto") {
      config.workers = orAuto(node) { $0.count(node, "workers", 1...256) }
    }
    if let node = fields["error_pages"] { config.errorPages = errorPages(node, "error_pages") }
    if let node = fields["proxy_status"], let truth = truth(node, "proxy_status") { config.proxyStatus = truth }
    if let node = fields["accept_weaker"] { config.acceptWeaker = weakerHash(node) }
  }

  // MARK: identity

  private mutating func identity(_ node: YAMLNode) {
    let keys = [
      "edge", "keys", "keys_group", "sign_with", "audience", "edges", "clock_skew", "mode", "infrastructure",
      "claims", "replay_window",
    ]
    guard let fields = fields(node, "identity", keys: keys) else { return }
    if let node = fields["edge"] { config.identity.edge = name(node, "identity.edge", .name) }
    if let node = fields["keys"] {
      config.identity.keys = file(node, "identity.keys", what: "the path of a key set (JWKS)")
    }
    if let node = fields["keys_group"] {
      config.identity.keysGroup = name(node, "identity.keys_group", .name, what: "a group's name")
    }
    if let node = fields["sign_with"] {
      config.identity.signWith = name(node, "identity.sign_with", .keyID, what: "the `kid` of a key")
    }
    if let node = fields["audience"] { config.identity.audience = name(node, "identity.audience", .audience) }
    if let node = fields["edges"], let nodes = elements(node, "identity.edges", of: "edge names") {
      for (index, node) in nodes.enumerated() {
        guard let edge = name(node, "identity.edges[\(index)]", .name, what: "an edge's name") else { continue }
        if config.identity.edges.contains(edge) { error(node.place, "the edge \(quoted(edge)) is given twice") }
        config.identity.edges.append(edge)
      }
    }
    if let node = fields["clock_skew"], let skew = duration(node, "identity.clock_skew", 0...30_000) {
      config.identity.clockSkewMilliseconds = skew
    }
    if let node = fields["mode"], let mode: Config.Identity.Mode = word(node, "identity.mode") {
      config.identity.mode = mode
    }
    if let node = fields["infrastructure"], let ranges = prefixes(node, "identity.infrastructure") {
      for (prefix, place) in ranges {
        if prefix.length == 0 {
          error(place, "`\(prefix)` as infrastructure leaves nobody who could be a client")
        }
        config.identity.infrastructure.append(prefix)
      }
    }
    if let node = fields["claims"] { config.identity.claims = claims(node) }
    if let node = fields["replay_window"], let bits = count(node, "identity.replay_window", 1 << 10...1 << 24) {
      if bits & (bits - 1) != 0 {
        let next = 1 << (Int.bitWidth - bits.leadingZeroBitCount)
        let _: Int? = wrong(node, "identity.replay_window", expected: "a power of two", suggestion: "\(next)")
      } else {
        config.identity.replayWindowBits = bits
      }
    }
  }

  /// Names of request fields, folded: every spelling of one is that one.
  private mutating func claims(_ node: YAMLNode) -> [String] {
    let path = "identity.claims"
    guard let nodes = elements(node, path, of: "names of request fields") else { return [] }
    if nodes.count > FieldNames.claimsMax {
      error(node.place, "expected at most \(FieldNames.claimsMax) names in `\(path)`, found \(nodes.count)")
      return []
    }
    var claims: [String] = []
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      let expected =
        "the name of a request field, such as `X-Acme-Client`, of at most \(FieldNames.claimBytesMax) bytes"
      guard let text = text(node, path, expected: expected) else { continue }
      guard text.utf8.count <= FieldNames.claimBytesMax, let claim = FieldNames.fold(text) else {
        let _: String? = wrong(node, path, expected: expected)
        continue
      }
      if claims.contains(claim) { error(node.place, "the field \(quoted(text)) is given twice") }
      // What the parsers and writers act on by rules of its own.
      guard FieldNames.request.kind(of: claim).mayBeClaimed else {
        error(node.place, "\(quoted(text)) cannot be a claim: this field is read and written by rules of its own")
        continue
      }
      claims.append(claim)
    }
    return claims
  }

  // MARK: listeners

  private mutating func listeners(_ node: YAMLNode) {
    guard let nodes = elements(node, "listeners", of: "listeners") else { return }
    if nodes.isEmpty { error(node.place, "expected at least one listener") }
    for (index, node) in nodes.enumerated() { listener(node, "listeners[\(index)]") }
  }

  private mutating func listener(_ node: YAMLNode, _ path: String) {
    let required = [
      (key: "name", what: "a name for the log and for `explain`"),
      (key: "listen", what: "an address such as `127.0.0.1:8443`"),
    ]
    let keys = [
      "name", "listen", "tls", "client_certificates", "tls_minimum", "protocols", "trust", "checks", "on_collapse",
      "unready_on_collapse",
      "shared_addresses",
    ]
    guard let fields = fields(node, path, keys: keys, required: required) else {
      // Its place in the list is kept, so that indices stay those of the file.
      config.listeners.append(Config.Listener(name: "", address: .unix("")))
      return
    }
    let name = fields["name"].flatMap { self.name($0, "\(path).name", .name) }
    let address = fields["listen"].flatMap { listenAddress($0, "\(path).listen") }
    // A listener that could not be named or placed is still read, so that its other faults are reported too.
    var listener = Config.Listener(name: name ?? "", address: address ?? .unix(""))
    if let node = fields["tls"] { listener.certificates = certificates(node, "\(path).tls") }
    if let node = fields["client_certificates"] {
      listener.clientCertificates = clientCertificates(node, "\(path).client_certificates")
      if fields["tls"] == nil { error(node.place, "`client_certificates` is only used with `tls`") }
    }
    if let node = fields["tls_minimum"] {
      if let version: Config.TLSVersion = word(node, "\(path).tls_minimum") { listener.tlsMinimum = version }
      if fields["tls"] == nil { error(node.place, "`tls_minimum` is only used with `tls`") }
    }
    if let node = fields["protocols"] {
      let stated = protocols(node, "\(path).protocols", hasTLS: fields["tls"] != nil)
      // Whoever states what is the default says nothing else.
      if stated != listener.protocols { listener.statedProtocols = stated }
    }
    if let node = fields["trust"] { listener.trust = trust(node, "\(path).trust", isUnix: address?.isUnix ?? false) }
    if let node = fields["on_collapse"], let word: Config.OnCollapse = word(node, "\(path).on_collapse") {
      listener.onCollapse = word
    }
    if let node = fields["unready_on_collapse"], let truth = truth(node, "\(path).unready_on_collapse") {
      listener.isUnreadyOnCollapse = truth
    }
    if let node = fields["shared_addresses"], let ranges = prefixes(node, "\(path).shared_addresses") {
      for (prefix, place) in ranges where prefix.length == 0 {
        error(place, "`\(prefix)` as shared addresses leaves no client to tell from another")
      }
      listener.sharedAddresses = ranges.map(\.prefix)
    }
    if let node = fields["checks"] {
      listener.checks = checks(node, "\(path).checks", isUnix: address?.isUnix ?? false)
    }
    config.listeners.append(listener)
  }

  private mutating func protocols(_ node: YAMLNode, _ path: String, hasTLS: Bool) -> [Config.ApplicationProtocol] {
    guard let nodes = elements(node, path, of: "protocols, such as `[h2, http/1.1]`") else { return [] }
    if nodes.isEmpty { error(node.place, "expected at least one protocol in `\(path)`") }
    var protocols: [Config.ApplicationProtocol] = []
    for (index, node) in nodes.enumerated() {
      guard let word: Config.ApplicationProtocol = word(node, "\(path)[\(index)]") else { continue }
      if protocols.contains(word) { error(node.place, "the protocol `\(word.rawValue)` is given twice") }
      if word == .http2, !hasTLS { error(node.place, "`h2` is HTTP/2 with TLS; without `tls` it is `h2c`") }
      if word == .h2c, hasTLS { error(node.place, "`h2c` is HTTP/2 without TLS; with `tls` it is `h2`") }
      protocols.append(word)
    }
    return protocols
  }

  private mutating func certificates(_ node: YAMLNode, _ path: String) -> [Config.Certificate] {
    guard let nodes = elements(node, path, of: "mappings of `certificate` and `key`") else { return [] }
    if nodes.isEmpty { error(node.place, "expected at least one certificate in `\(path)`; without TLS, leave it out") }
    var certificates: [Config.Certificate] = []
    for (index, node) in nodes.enumerated() {
      let path = "\(path)[\(index)]"
      let required = [
        (key: "certificate", what: "the path of a PEM file, the chain from the leaf on"),
        (key: "key", what: "the path of the private key's PEM file"),
      ]
      guard let fields = fields(node, path, keys: ["certificate", "key"], required: required) else { continue }
      let certificate = fields["certificate"].flatMap { file($0, "\(path).certificate") }
      let key = fields["key"].flatMap { file($0, "\(path).key") }
      if let certificate, let key { certificates.append(Config.Certificate(certificate: certificate, key: key)) }
    }
    return certificates
  }

  private mutating func clientCertificates(_ node: YAMLNode, _ path: String) -> Config.ClientCertificates? {
    let required = [(key: "ca", what: "the path of the PEM file of those who may sign client certificates")]
    guard let fields = fields(node, path, keys: ["ca", "require"], required: required) else { return nil }
    let ca = fields["ca"].flatMap { file($0, "\(path).ca") }
    let require = fields["require"].flatMap { truth($0, "\(path).require") }
    return ca.map { Config.ClientCertificates(ca: $0, require: require ?? false) }
  }

  // MARK: The rest

  private mutating func weakerHash(_ node: YAMLNode) -> String? {
    let expected = "the \(WeakerHash.digits) digits 0-9, a-f that `check --against` printed"
    guard let text = text(node, "accept_weaker", expected: expected) else { return nil }
    guard WeakerHash.isOne(text) else {
      let lower = text.lowercased()
      return wrong(node, "accept_weaker", expected: expected, suggestion: WeakerHash.isOne(lower) ? lower : nil)
    }
    return text
  }

  private mutating func timeouts(_ node: YAMLNode) {
    let keys = [
      "handshake", "head", "idle", "upstream_connect", "upstream_response", "tunnel", "tunnel_close", "drain",
      "drain_delay", "drain_tunnels",
    ]
    guard let fields = fields(node, "timeouts", keys: keys) else { return }
    let minutes = 10 * 60_000
    let hour = 3_600_000
    let day = 24 * hour
    set(\.timeouts.handshakeMilliseconds, fields, "handshake") { $0.duration($1, $2, 1...minutes) }
    set(\.timeouts.headMilliseconds, fields, "head") { $0.duration($1, $2, 1...minutes) }
    set(\.timeouts.idleMilliseconds, fields, "idle") { $0.duration($1, $2, 1...day) }
    set(\.timeouts.upstreamConnectMilliseconds, fields, "upstream_connect") { $0.duration($1, $2, 1...minutes) }
    set(\.timeouts.upstreamResponseMilliseconds, fields, "upstream_response") { $0.duration($1, $2, 1...day) }
    set(\.timeouts.tunnelMilliseconds, fields, "tunnel") { $0.duration($1, $2, 1...30 * day) }
    set(\.timeouts.tunnelCloseMilliseconds, fields, "tunnel_close") { $0.duration($1, $2, 1...day) }
    set(\.timeouts.drainMilliseconds, fields, "drain") { $0.duration($1, $2, 0...day) }
    set(\.timeouts.drainDelayMilliseconds, fields, "drain_delay") { $0.duration($1, $2, 0...hour) }
    if let node = fields["drain_tunnels"], !isWord(node, "auto") {
      config.timeouts.drainTunnelsMilliseconds = orAuto(node) {
        $0.duration(node, "timeouts.drain_tunnels", 0...30 * day)
      }
    }
  }

  private mutating func limits(_ node: YAMLNode) {
    let keys = ["connections", "connections_per_client", "head", "fields", "body", "streams"]
    guard let fields = fields(node, "limits", keys: keys) else { return }
    set(\.limits.connections, fields, "connections") { $0.count($1, $2, 0...1_000_000) }
    set(\.limits.connectionsPerClient, fields, "connections_per_client") { $0.count($1, $2, 0...1_000_000) }
    set(\.limits.streams, fields, "streams") { $0.count($1, $2, 1...10_000) }
    set(\.limits.headBytes, fields, "head") { $0.size($1, $2, 1 << 10...1 << 20) }
    set(\.limits.fields, fields, "fields") { $0.count($1, $2, 1...1000) }
    set(\.limits.bodyBytes, fields, "body") { $0.size($1, $2, 0...1 << 40) }
  }

  private mutating func admin(_ node: YAMLNode) {
    let required = [(key: "listen", what: "an address such as `127.0.0.1:9901`, or `unix:PATH`")]
    guard let fields = fields(node, "admin", keys: ["listen", "control"], required: required),
      let address = fields["listen"].flatMap({ listenAddress($0, "admin.listen") })
    else { return }
    var admin = Config.Admin(address: address)
    if let node = fields["control"], let control = listenAddress(node, "admin.control") {
      if !control.isUnix {
        error(node.place, "`admin.control` is a unix socket (`unix:PATH`), so that it is known who changes something")
      }
      admin.control = control
    }
    config.admin = admin
  }

  /// Sets one plain value where it is given and right.
  mutating func set<Value>(
    _ target: WritableKeyPath<Config, Value>, _ fields: Fields, _ key: String,
    _ read: (inout Reading, YAMLNode, String) -> Value?
  ) {
    if let node = fields[key], let value = read(&self, node, fields.path(key)) { config[keyPath: target] = value }
  }

  private mutating func orAuto(_ node: YAMLNode, _ read: (inout Reading) -> Int?) -> Int? {
    let known = diagnostics.count
    let value = read(&self)
    for index in known..<diagnostics.count {
      diagnostics[index].message.replace("expected a ", with: "expected `auto` or a ")
    }
    return value
  }
}

extension Config.Endpoint {
  package var isUnix: Bool {
    if case .unix = self { true } else { false }
  }
}
