// Which servers of a snapshot are checked, and who is told: from configuration to checker, and from checker to ServerStatus.

import Platform
import Policy
import Wire

/// Which servers are checked now.
struct CheckedServers {
  fileprivate var snapshot: Snapshot?
  /// Those of upstreams whose names have come to others since.
  fileprivate var changed: [String: [Snapshot.Server]] = [:]

  /// What is to be checked, and how.
  fileprivate func targets(of snapshot: Snapshot, _ shared: ProcessShared) -> [HealthTarget] {
    snapshot.upstreams.flatMap { upstream -> [HealthTarget] in
      guard let health = upstream.config.health else { return [] }
      let status = shared.servers.upstream(upstream.config.name)
      // Behind another port is somebody else than the validator: its admin listener, perhaps.
      let signing = health.port == nil ? CheckedServers.signing(for: upstream.config, of: snapshot) : nil
      return (changed[upstream.config.name] ?? upstream.servers).map { server in
        var address = server.address
        if let port = health.port, case .ip(let ip, _) = address { address = .ip(ip, port: port) }
        return HealthTarget(
          key: HealthTarget.Key(upstream: upstream.config.name, server: server.text), address: address,
          kind: CheckedServers.kind(health, upstream.config, server),
          isHTTP2: health.serverProtocol(of: upstream.config) == .http2, tls: upstream.healthTLS, signing: signing,
          intervalMilliseconds: health.intervalMilliseconds, timeoutMilliseconds: health.timeoutMilliseconds,
          rise: health.rise, fall: health.fall,
          observer: StatusObserver(shared: shared, status: status.server(server.text), upstream: status))
      }
    }
  }

  private static func kind(
    _ health: Config.Health, _ upstream: Config.Upstream, _ server: Snapshot.Server
  ) -> HealthTarget.Kind {
    let written =
      switch server.config.endpoint {
      case .host(let name, let port): "\(name):\(port)"
      case .address(let address, let port): Snapshot.endpointText(address, port)
      case .service(let name): name
      case .unix: "localhost"
      }
    let usual = upstream.tls?.name ?? written
    return switch health.kind {
    case .tcp: .tcp
    case .http(let path, let host, let statuses): .http(target: path, host: host ?? usual, statuses: statuses)
    case .grpc(let service, let host): .grpc(service: service, host: host ?? usual)
    }
  }

  private static func signing(for upstream: Config.Upstream, of snapshot: Snapshot) -> HealthTarget.Signing? {
    guard upstream.identity == .attest, let keys = snapshot.keys, let keyID = snapshot.config.identity.signWith,
      let audience = upstream.audience, let edge = snapshot.config.identity.edge
    else { return nil }
    return HealthTarget.Signing(
      keys: keys, keyID: keyID, audience: audience, edge: edge, isBound: upstream.proxyProtocol)
  }
}

extension ProcessShared {
  /// Has the servers of this snapshot checked, and no others.
  func checkHealth(by snapshot: Snapshot) throws(SystemError) {
    try checkedServers.withLock { state throws(SystemError) in
      state.snapshot = snapshot
      state.changed = [:]
      try check(state)
    }
  }

  /// The names of an upstream's servers have come to others: workers, checks, and who shows them, have to know.
  func change(_ upstream: Config.Upstream, _ list: [Snapshot.Server], _ generation: UInt64) {
    servers.upstream(upstream.name).take(
      list.map(\.text), startsSlowly: upstream.slowStartMilliseconds > 0,
      slowStartMilliseconds: upstream.slowStartMilliseconds,
      nowMilliseconds: Clock.monotonicMilliseconds())
    if upstream.health != nil {
      do {
        try checkedServers.withLock { state throws(SystemError) in
          state.changed[upstream.name] = list
          try check(state)
        }
      } catch {
        operationalLog.logger.error("no health checks can be made: \(error)")
      }
    }
    for mailbox in mailboxes { mailbox.post(.servers(generation: generation, upstream: upstream.name, list)) }
  }

  private func check(_ state: CheckedServers) throws(SystemError) {
    guard let snapshot = state.snapshot else { return }
    let targets = state.targets(of: snapshot, self)
    if !health.isRunning {
      guard !targets.isEmpty else { return }
      try health.start(lanes: healthLanes) { [weak self] text, once in
        self?.report(text, once: once, everyMilliseconds: 60_000)
      }
    }
    health.check(targets)
  }
}

/// Notes what checks decide in the server's status, which workers read.
private struct StatusObserver: HealthObserver {
  // The checker belongs to it.
  unowned let shared: ProcessShared
  let status: ServerStatus
  let upstream: UpstreamStatus

  func noteHealth(passes: Bool, why: String, now: Clock.Reading) {
    shared.noteChecks(status, of: upstream, pass: passes, why: why, now: now)
  }

  func endHealth() { status.forgetChecks() }
}
