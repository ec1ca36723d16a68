// A snapshot as one worker uses it: with MAC contexts, pattern matchers and connection pools of its own, so that
// nothing on a request's path is shared.

import Platform
import Policy
import Wire

/// A listener of the config with what one worker needs to serve it.
final class ListenerPlan {
  /// Which protocol a connection without TLS begins with; `either`: its first bytes tell.
  enum Opening { case http1, http2, either }

  let name: String
  let nameBytes: [UInt8]
  /// By what another process knows it.
  let place: String
  let generation: UInt64
  /// The socket that it has, as the worker's `ListenerSource` numbers it.
  let socket: Int
  let tls: TLSServerContext?
  let tlsMinimum: Config.TLSVersion
  /// How a connection without TLS begins.
  let opening: Opening
  /// It speaks HTTP/2, by ALPN or in cleartext.
  let speaksHTTP2: Bool
  /// What is asked of clients' certificates; connections that began under another demand end.
  let clientDemand: Snapshot.ClientDemand?
  let trust: TrustPolicy
  let checks: BalancerChecks
  let watch: ClientWatch
  let verifier: Verifier?
  let record: RecordMembers

  init(
    _ listener: Snapshot.Listener, _ snapshot: Snapshot, socket: Int, verifier: Verifier?, digests: FieldDigests?,
    watch: ClientWatch
  ) {
    name = listener.config.name
    nameBytes = Array(name.utf8)
    place = listener.config.place
    generation = snapshot.generation
    record = RecordMembers(snapshot, listener.trust, digests)
    self.socket = socket
    tls = listener.tls
    tlsMinimum = listener.config.tlsMinimum
    opening =
      !listener.config.protocols.contains(.h2c) ? .http1 : listener.config.protocols.contains(.http1) ? .either : .http2
    speaksHTTP2 = listener.config.protocols.contains { $0 != .http1 }
    clientDemand = listener.clientDemand
    trust = listener.trust
    checks = BalancerChecks(listener.config.checks)
    self.watch = watch
    self.verifier = verifier
  }
}

final class Plan {
  let config: Config
  let generation: UInt64
  let listeners: [ListenerPlan]
  let groups: [UpstreamPlan]
  /// Of refusals, where the route has none.
  let pages: AnswerPages
  let proxyStatus: ProxyStatus?
  private let table: RouteTable
  private let routes: ContiguousArray<RoutePlan>

  enum Found {
    case route(RoutePlan)
    case none
    /// A pattern gave up at its limit: no later route may be taken for it.
    case undecided
    /// The path as it was sent leads to one route, and its normal form to another; nil: to none.
    case ambiguous(sent: RoutePlan?, normal: RoutePlan?)
    /// The path has no one normal form.
    case unclear
  }

  /// - Parameters:
  ///   - sources: the listening sockets that belong to the snapshot's listeners.
  ///   - previous: its pools live on where the upstream did not change; the others are marked retired.
  init(snapshot: Snapshot, sources: [ListenerSource], shared: ProcessShared, worker: Int, previous: Plan?) {
    config = snapshot.config
    generation = snapshot.generation
    pages = snapshot.routeFiles.pages
    proxyStatus = ProxyStatus(snapshot.config)
    // Everything that can fail here was tried when the snapshot was built.
    var verifier: Verifier?
    if let keys = snapshot.keys, let audience = config.verifiedAudience {
      verifier = try? Verifier(
        keys: keys, audience: audience, edges: config.identity.edges,
        skewMilliseconds: UInt64(config.identity.clockSkewMilliseconds), windows: shared.windows,
        headBytesMax: config.limits.headBytes + HeadGrowth.bytes)
    }
    let digests = snapshot.logFieldKeys.flatMap { FieldDigests(snapshot.config.log.fields, $0) }
    listeners = snapshot.listeners.map { listener in
      guard let source = sources.first(where: { $0.name == listener.config.name }) else {
        preconditionFailure("a listener of the snapshot was not opened")
      }
      return ListenerPlan(
        listener, snapshot, socket: source.socket, verifier: verifier, digests: digests,
        watch: ClientWatch(listener.config, shared.collapses))
    }
    var groups: [UpstreamPlan] = []
    for upstream in snapshot.upstreams {
      let signer = snapshot.keys.flatMap {
        upstream.config.identity == .attest
          ? try? Plan.makeSigner(upstream.config, snapshot.config, $0, shared.lanes(worker: worker)) : nil
      }
      let old = previous?.groups.first { $0.config.name == upstream.config.name }
      // A kept connection may serve the new plan if it was made to the same place in the same way.
      let isReachedAlike =
        upstream.tls == nil && old?.tls == nil && old?.config.proxyProtocol == upstream.config.proxyProtocol
        && old?.config.idleConnections == upstream.config.idleConnections
        && old?.config.serverProtocol == upstream.config.serverProtocol
      let status = shared.servers.upstream(upstream.config.name)
      let servers = Plan.makeServers(
        upstream.servers, of: upstream.config, tls: upstream.tls, sticky: upstream.sticky, status,
        keeping: isReachedAlike ? old?.servers ?? [] : [], worker: worker)
      let keepsBudget = old?.config.retries.budgetPercent == upstream.config.retries.budgetPercent
      groups.append(
        UpstreamPlan(
          config: upstream.config, signer: signer, tls: upstream.tls, status: status, servers: servers,
          sticky: upstream.sticky,
          budget: keepsBudget ? old?.budget : nil, worker: worker))
    }
    self.groups = groups
    // In the order of the file, as the table numbers them.
    let (workspace, scratch) = (PatternWorkspace(), Buffer(capacity: config.limits.headBytes + HeadGrowth.bytes))
    let counts = shared.routeMetrics.counts(of: config.routes.map(RoutePlan.label), worker: worker)
    routes = ContiguousArray(
      zip(config.routes, snapshot.routes).enumerated().map { index, route in
        let group = groups.first { $0.config.name == route.0.to }
        precondition(group != nil || route.0.answer != nil, "a route leads to an upstream that there is not")
        guard
          let plan = try? RoutePlan(
            route.0, index: index, number: shared.routes.number(of: route.0), to: group, route.1, snapshot,
            counts[index], workspace, scratch)
        else { preconditionFailure("a pattern that was checked with the snapshot does not compile") }
        return plan
      })
    guard let table = try? Plan.makeTable(config) else {
      preconditionFailure("a pattern that was checked with the snapshot does not compile")
    }
    self.table = table
    for group in previous?.groups ?? [] {
      for server in group.servers where !groups.contains(where: { $0.servers.contains { $0 === server } }) {
        server.isRetired = true
      }
    }
  }

  /// The pools of an upstream's servers. One that is kept keeps its connections and its bit.
  static func makeServers(
    _ servers: [Snapshot.Server], of upstream: Config.Upstream, tls: TLSClientContext?, sticky: StickyCookie?,
    _ status: UpstreamStatus, keeping old: ContiguousArray<ServerPool>, worker: Int
  ) -> ContiguousArray<ServerPool> {
    let old = Dictionary(old.map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first })
    let kept = servers.map { old[$0.address] }
    var bits = UpstreamPlan.freeBits(besides: kept.reduce(0) { $0 | ($1?.bit ?? 0) }).makeIterator()
    return ContiguousArray(
      zip(servers, kept).map { server, kept in
        let pool =
          kept
          ?? ServerPool(
            address: server.address, text: server.text, tls: tls, isHTTP2: upstream.serverProtocol == .http2,
            idleMax: upstream.idleConnections, status: status.server(server.text),
            bit: bits.next() ?? 0, worker: worker)
        pool.configure(
          weight: server.config.weight, isBackup: server.config.isBackup, connectionsMax: server.config.connectionsMax)
        pool.take(sticky)
        if upstream.rewritesHost {
          pool.hostField = Array(RequestTarget.hostField(of: server, at: upstream).utf8)
        }
        return pool
      })
  }

  static func makeSigner(
    _ upstream: Config.Upstream, _ config: Config, _ keys: KeySet, _ lanes: SenderLanes
  ) throws(KeySetError) -> Signer {
    guard let edge = config.identity.edge, let kid = config.identity.signWith, let audience = upstream.audience else {
      throw KeySetError(
        source: config.file, problem: "identity.edge, identity.sign_with and audience are needed to sign")
    }
    return try Signer(
      keys: keys, keyID: kid, audience: audience, edge: edge, lanes: lanes, headBytesMax: config.limits.headBytes)
  }

  // MARK: Limits of heads

  /// A response may carry more fields than we let clients send.
  static let responseFieldsMax = 256

  /// Those of the configuration.
  private var limits: HeadLimits { HeadLimits(headBytes: config.limits.headBytes, fields: config.limits.fields) }

  /// The limits for the request heads of a connection. `hasGrown`: an edge added to them; one that has the same limits as this
  /// validator must not be refused here what it took there.
  func requestLimits(hasGrown: Bool) -> HeadLimits { hasGrown ? limits.withEdgeGrowth : limits }

  /// The limits for the heads of a server's responses, which are long in some applications; at an edge, with room for
  /// what a validator adds to them.
  func responseLimits(of group: UpstreamPlan?) -> HeadLimits {
    let limits = HeadLimits(headBytes: max(limits.headBytes, 16 * 1024), fields: Plan.responseFieldsMax)
    return group?.config.identity == .attest ? limits.withEdgeGrowth : limits
  }

  /// The limits for a request's trailers, or for a response's, with the same room as its head's has.
  func trailerLimits(hasGrown: Bool) -> HeadLimits {
    let limits = HeadLimits(headBytes: min(8_192, config.limits.headBytes), fields: limits.fields)
    return hasGrown ? limits.withEdgeGrowth : limits
  }

  /// The listener that a socket belongs to now. A name is no way to find it: a reload may give it to another socket.
  func listener(onSocket socket: Int) -> ListenerPlan? {
    for listener in listeners where listener.socket == socket { return listener }
    return nil
  }

  /// Which of a configuration's routes a request takes.
  static func makeTable(_ config: Config) throws(Pattern.SyntaxError) -> RouteTable {
    try RouteTable(
      config.routes, listeners: config.listeners.map(\.name),
      pathBytesMax: config.limits.headBytes + HeadGrowth.bytes)
  }

  /// The first route that takes a request whose client is settled.
  func route(of x: Exchange) -> Found {
    if table.firstTakesAll { return .route(routes[0]) }
    let socket = x.downstream.socket
    let facts = RouteFacts(
      listener: listeners.count == 1 ? 0 : listeners.firstIndex { $0.socket == socket } ?? -1,
      client: x.identity?.address, isSecure: x.isSecure)
    return switch x.headText.withReadable({ table.find($0, x.head, facts) }) {
    case .route(let i): .route(routes[i])
    case .none: .none
    case .undecided: .undecided
    case .unclear: .unclear
    case .ambiguous(let sent, let normal): .ambiguous(sent: sent.map { routes[$0] }, normal: normal.map { routes[$0] })
    }
  }
}
