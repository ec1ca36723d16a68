// An upstream's servers, how they are watched, and when a request is tried again.

import Wire

extension Reading {
  // MARK: Servers

  mutating func servers(_ node: YAMLNode, _ path: String) -> [Config.Server] {
    guard let nodes = elements(node, path, of: "endpoints such as `\"127.0.0.1:3334\"`") else { return [] }
    if nodes.isEmpty { error(node.place, "expected at least one server in `\(path)`") }
    if nodes.count > Config.serversMax {
      error(node.place, "expected at most \(Config.serversMax) servers in `\(path)`, found \(nodes.count)")
    }
    var servers: [Config.Server] = []
    for (index, node) in nodes.enumerated() {
      guard let server = server(node, "\(path)[\(index)]") else {
        faulty.insert(path)
        continue
      }
      if servers.contains(where: { $0.endpoint == server.endpoint }) {
        error(node.place, "the server `\(server.endpoint.text)` is given twice")
      }
      servers.append(server)
    }
    if !faulty.contains(path), !servers.isEmpty, servers.allSatisfy(\.isBackup) {
      error(node.place, "every server in `\(path)` is a `backup`; at least one has to serve without")
    }
    return servers
  }

  /// An endpoint alone, or with settings.
  private mutating func server(_ node: YAMLNode, _ path: String) -> Config.Server? {
    guard case .mapping = node.value else { return serverAddress(node, path).map { Config.Server($0) } }
    let keys = ["address", "weight", "backup", "max_connections"]
    let required = [(key: "address", what: "where the server listens, such as `10.0.0.1:80`")]
    guard let fields = fields(node, path, keys: keys, required: required),
      let endpoint = fields["address"].flatMap({ serverAddress($0, "\(path).address") })
    else { return nil }
    var server = Config.Server(endpoint)
    if let node = fields["weight"], let weight = count(node, "\(path).weight", 1...256) { server.weight = weight }
    if let node = fields["backup"], let truth = truth(node, "\(path).backup") { server.isBackup = truth }
    if let node = fields["max_connections"], let most = count(node, "\(path).max_connections", 0...1_000_000) {
      server.connectionsMax = most
    }
    return server
  }

  // MARK: Watching them

  mutating func health(_ node: YAMLNode, _ path: String) -> Config.Health? {
    let keys = [
      "path", "tcp", "grpc", "protocol", "interval", "timeout", "rise", "fall", "status", "host", "port", "tls",
    ]
    guard let fields = fields(node, path, keys: keys) else { return nil }
    var isTCP = false
    if let node = fields["tcp"], let truth = truth(node, "\(path).tcp") { isTCP = truth }
    var health = Config.Health(.tcp)
    if isTCP {
      for key in ["path", "grpc", "status", "host"] + (isRunning ? [] : ["protocol"]) {
        if let node = fields[key] { error(node.place, "`\(key)` is not used with `tcp: true`") }
      }
    } else if let node = fields["grpc"] {
      for key in ["path", "status", "protocol"] {
        if let node = fields[key] { error(node.place, "`\(key)` is not used with `grpc`") }
      }
      health.kind = .grpc(
        service: grpcService(node, "\(path).grpc") ?? "",
        host: fields["host"].flatMap { healthHost($0, "\(path).host") })
    } else {
      if fields["path"] == nil {
        error(
          node.place,
          "`\(path)` lacks `path`: what is asked for, such as `/healthz`; `grpc` asks gRPC's health service, `tcp: true` only connects"
        )
      }
      health.kind = .http(
        path: fields["path"].flatMap { target($0, "\(path).path") } ?? "/",
        host: fields["host"].flatMap { healthHost($0, "\(path).host") },
        statuses: fields["status"].flatMap {
          statuses($0, "\(path).status", whenEmpty: "; for the usual ones, leave it out")
        } ?? Config.Health.statuses)
    }
    if let node = fields["interval"], let interval = duration(node, "\(path).interval", 10...3_600_000) {
      health.intervalMilliseconds = interval
    }
    if let node = fields["timeout"] {
      if let timeout = duration(node, "\(path).timeout", 1...600_000) {
        health.timeoutMilliseconds = timeout
        if timeout > health.intervalMilliseconds {
          error(node.place, "`timeout` is longer than `interval` (\(Unit.duration(health.intervalMilliseconds)))")
        }
      }
    } else {
      health.timeoutMilliseconds = min(health.timeoutMilliseconds, health.intervalMilliseconds)
    }
    if let node = fields["protocol"], let word: Config.ServerProtocol = word(node, "\(path).protocol") {
      health.statedProtocol = word
    }
    if let node = fields["rise"], let rise = count(node, "\(path).rise", 1...100) { health.rise = rise }
    if let node = fields["fall"], let fall = count(node, "\(path).fall", 1...100) { health.fall = fall }
    if let node = fields["port"], let port = count(node, "\(path).port", 1...65_535) { health.port = UInt16(port) }
    if let node = fields["tls"] {
      if isWord(node, "off") {
        health.tls = .off
      } else {
        health.tls = upstreamTLS(node, "\(path).tls").map { .own($0) }
      }
    }
    return health
  }

  /// The name of a service of gRPC, or nothing: then the server as a whole is asked for.
  private mutating func grpcService(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "the name of a service, at most 256 visible ASCII characters, or `\"\"` for the whole server"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard text.utf8.count <= 256, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      return wrong(node, path, expected: expected)
    }
    return text
  }

  /// A name, or an address, with or without a port: as it stands in Host.
  private mutating func healthHost(_ node: YAMLNode, _ path: String) -> String? {
    let expected = "a host name or an address, with a port or without"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard Self.isAuthority(text) || isRunning else {
      return wrong(node, path, expected: expected, suggestion: Self.hostOfURL(text))
    }
    return text
  }

  /// `off`, or the settings; nil where it is off.
  mutating func passive(_ node: YAMLNode, _ path: String) -> Config.Passive? {
    if isWord(node, "off") { return nil }
    if case .scalar(let text, let plain) = node.value, !(plain && text.isEmpty) {
      return wrong(
        node, path, expected: "`off`, or a mapping such as `{ failures: 3 }`",
        suggestion: ["false", "no", "none"].contains(text.lowercased())
          ? "off" : Spelling.nearest(to: text, among: ["off"]))
    }
    var passive = Config.Passive()
    let keys = ["failures", "window", "eject", "max_ejected", "status"]
    guard let fields = fields(node, path, keys: keys) else { return passive }
    if let node = fields["failures"], let count = count(node, "\(path).failures", 1...1000) { passive.failures = count }
    if let node = fields["window"], let time = duration(node, "\(path).window", 100...3_600_000) {
      passive.windowMilliseconds = time
    }
    if let node = fields["eject"], let time = duration(node, "\(path).eject", 100...3_600_000) {
      passive.ejectMilliseconds = time
    }
    if let node = fields["max_ejected"], let percent = percent(node, "\(path).max_ejected") {
      passive.ejectedPercentMax = percent
    }
    if let node = fields["status"], let statuses = statuses(node, "\(path).status", whenEmpty: nil) {
      passive.statuses = statuses
    }
    return passive
  }

  // MARK: Trying again, and waiting

  mutating func retries(_ node: YAMLNode, _ path: String) -> Config.Retries {
    var retries = Config.Retries()
    guard let fields = fields(node, path, keys: ["count", "budget", "on"]) else { return retries }
    if let node = fields["count"], let count = count(node, "\(path).count", 0...10) { retries.count = count }
    if let node = fields["budget"], let percent = percent(node, "\(path).budget") { retries.budgetPercent = percent }
    guard let node = fields["on"] else { return retries }
    let names = Config.Retries.Occasions.named.map(\.name) + Config.Retries.statusesKnown.map(String.init)
    guard let nodes = elements(node, "\(path).on", of: "occasions: \(list(names))") else { return retries }
    retries.on = []
    for (index, node) in nodes.enumerated() {
      guard let found = word(node, "\(path).on[\(index)]", of: names) else { continue }
      let occasions = Config.Retries.Occasions.named
      let isNew: Bool
      if found < occasions.count {
        isNew = retries.on.insert(occasions[found].occasion).inserted
      } else {
        let status = Config.Retries.statusesKnown[found - occasions.count]
        isNew = !retries.statuses.contains(status)
        retries.statuses.append(status)
      }
      if !isNew { error(node.place, "`\(names[found])` is given twice") }
    }
    return retries
  }

  mutating func queue(_ node: YAMLNode, _ path: String) -> Config.Queue {
    var queue = Config.Queue()
    guard let fields = fields(node, path, keys: ["requests", "timeout"]) else { return queue }
    if let node = fields["requests"], let count = count(node, "\(path).requests", 0...100_000) {
      queue.requestsMax = count
    }
    if let node = fields["timeout"], let time = duration(node, "\(path).timeout", 1...600_000) {
      queue.timeoutMilliseconds = time
    }
    return queue
  }

  mutating func sticky(_ node: YAMLNode, _ path: String) -> Config.Sticky? {
    let required = [
      (key: "cookie", what: "the name of the cookie"),
      (key: "key", what: "the path of a key set of its own, made with `countersign keys new`"),
    ]
    guard let fields = fields(node, path, keys: ["cookie", "key"], required: required) else { return nil }
    let cookie = fields["cookie"].flatMap {
      token($0, "\(path).cookie", "the name of a cookie", Config.Log.cookieNameBytesMax)
    }
    let key = fields["key"].flatMap { file($0, "\(path).key", what: "the path of a key set (JWKS)") }
    if let node = fields["key"], key == config.identity.keys {
      error(node.place, "`\(path).key` must be a key set of its own, not `identity.keys`")
    }
    guard let cookie, let key else { return nil }
    return Config.Sticky(cookie: cookie, key: key)
  }

  // MARK: Values

  /// A share, with its sign: `20%`.
  private mutating func percent(_ node: YAMLNode, _ path: String) -> Int? {
    let expected = "a share from 0% to 100%"
    guard let text = text(node, path, expected: expected) else { return nil }
    guard let (number, unit) = Unit.split(text), number <= 100, unit == "%" else {
      let isBare = Unit.split(text).map { $0.unit.isEmpty && $0.number <= 100 } ?? false
      return wrong(node, path, expected: expected, suggestion: isBare ? "\(text)%" : nil)
    }
    return number
  }

  /// Statuses and ranges of them: `[200-299, 301]`, or one.
  /// - Parameter whenEmpty: how the message ends where there are none; nil where none are meant then.
  mutating func statuses(_ node: YAMLNode, _ path: String, whenEmpty: String?) -> [ClosedRange<Int>]? {
    let expected = "a status or a range of them, such as `200-299`, within 100-599"
    guard let nodes = elements(node, path, of: "statuses such as `200` and `200-299`", orOne: true) else { return nil }
    if nodes.isEmpty, let whenEmpty, !isRunning {
      error(node.place, "expected at least one status in `\(path)`\(whenEmpty)")
    }
    var ranges: [ClosedRange<Int>] = []
    for (index, node) in nodes.enumerated() {
      let path = nodes.count == 1 ? path : "\(path)[\(index)]"
      guard let text = text(node, path, expected: expected) else { continue }
      let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      guard ends.count <= 2, let first = ends.first, let last = ends.last, first <= last, first >= 100, last <= 599
      else {
        let _: Int? = wrong(node, path, expected: expected)
        continue
      }
      ranges.append(first...last)
    }
    return ranges.isEmpty ? nil : ranges
  }
}
