// Watches each listener's clients for the moment in which many become one (Policy's CollapseDetector), and says so: in the log, in the
// metrics, where configured in the readiness, and to the routes that need to tell clients apart.
//
// A worker notes each request in sketches of its own and hands them over every 500 ms (`Worker.watchMilliseconds`); whoever hands over
// the first of the next two seconds has the last judged. Monitors are known by their listener's name, so they outlive reloads.

import Platform
import Policy
import Synchronization
import Wire

/// One listener's clients, over all workers.
package final class CollapseMonitor: Sendable {
  private struct State {
    /// By requests, and by the first request of each connection: a load balancer keeps old connections when it is reconfigured.
    var requests = CollapseDetector()
    var connections = CollapseDetector()
    var requestSketch = ClientSketch()
    var connectionSketch = ClientSketch()
    var slot: UInt64?
    var collapses: UInt64 = 0
  }

  let name: String
  private let state = Mutex(State())
  private let collapsed = Atomic<Bool>(false)
  private let slotMilliseconds = UInt64(CollapseDetector.blockSeconds) * 1_000
  /// After a longer time without any request the past says nothing any more.
  private static let slotsMax: UInt64 = 1_800

  package init(name: String) { self.name = name }

  /// Its clients have become one, or a few.
  package var isCollapsed: Bool { collapsed.load(ordering: .relaxed) }

  package enum Change: Sendable {
    case collapsed(CollapseDetector.Finding, what: StaticString)
    case recovered
    case becameUsual
    /// So long without a request that nobody knows.
    case forgotten
  }

  /// Adds what a worker has noted; what follows from it.
  package func take(requests: ClientSketch, connections: ClientSketch, nowMilliseconds: UInt64) -> [Change] {
    state.withLock { state in
      let slot = nowMilliseconds / slotMilliseconds
      var changes: [Change] = []
      if let last = state.slot, slot > last {
        if slot - last > CollapseMonitor.slotsMax {
          if self.isCollapsed { changes.append(.forgotten) }
          let collapses = state.collapses
          state = State()
          state.collapses = collapses
        } else {
          for _ in last..<slot {
            note(state.requests.take(state.requestSketch), "requests", &changes)
            note(state.connections.take(state.connectionSketch), "connections", &changes)
            state.requestSketch = ClientSketch()
            state.connectionSketch = ClientSketch()
          }
        }
      }
      state.slot = max(slot, state.slot ?? slot)
      state.requestSketch.merge(requests)
      state.connectionSketch.merge(connections)
      let isCollapsed = state.requests.isCollapsed || state.connections.isCollapsed
      // One of the two may go on when the other is over.
      if isCollapsed {
        changes.removeAll { if case .collapsed = $0 { self.isCollapsed } else { true } }
        if !self.isCollapsed { state.collapses += 1 }
      } else if !self.isCollapsed {
        changes = []
      }
      collapsed.store(isCollapsed, ordering: .relaxed)
      return Array(changes.prefix(1))
    }
  }

  private func note(_ change: CollapseDetector.Change, _ what: StaticString, _ changes: inout [Change]) {
    switch change {
    case .none: break
    case .collapsed(let finding): changes.append(.collapsed(finding, what: what))
    case .recovered: changes.append(.recovered)
    case .becameUsual: changes.append(.becameUsual)
    }
  }

  /// For the metrics: about how many clients in two seconds are usual, how many there were of late, and how often they have become one.
  package typealias Figures = (usual: Double, last: Double, collapses: UInt64)
  package var figures: Figures {
    state.withLock { ($0.requests.usualClients, $0.requests.lastClients, $0.collapses) }
  }
}

/// The monitors of a process.
package final class CollapseMonitors: Sendable {
  private let monitors = Mutex<[String: CollapseMonitor]>([:])
  /// With it addresses are hashed.
  let secret: UInt64

  init() throws(CryptoError) { secret = try SecureRandom.word() }

  func monitor(_ name: String) -> CollapseMonitor {
    monitors.withLock { monitors in
      if let known = monitors[name] { return known }
      let made = CollapseMonitor(name: name)
      monitors[name] = made
      return made
    }
  }

  var all: [CollapseMonitor] { monitors.withLock { $0.values.sorted { $0.name < $1.name } } }

  /// Prometheus text.
  var metrics: String {
    let all = all.map { ("{listener=\"\($0.name)\"}", $0.isCollapsed, $0.figures) }
    func family(_ name: String, _ type: String, _ help: String, _ value: (Bool, CollapseMonitor.Figures) -> Int)
      -> String
    {
      "# HELP countersign_\(name) \(help)\n# TYPE countersign_\(name) \(type)\n"
        + all.map { "countersign_\(name)\($0.0) \(value($0.1, $0.2))\n" }.joined()
    }
    return family("collapse", "gauge", "Whether a listener's many clients have become one, or a few.") {
      isCollapsed, _ in
      isCollapsed ? 1 : 0
    }
      + family("collapses_total", "counter", "How often they have.") { _, figures in
        Int(figures.collapses)
      }
      + family(
        "clients_usual", "gauge", "About how many different clients send requests in two seconds, on average."
      ) { _, figures in Int(figures.usual.rounded()) }
      + family("clients", "gauge", "About how many did in the last two.") { _, figures in
        Int(figures.last.rounded())
      }
  }
}

/// What one worker has noted of one listener's clients since it last handed over.
final class ClientWatch {
  let monitor: CollapseMonitor
  let refuses: Bool
  let isUnready: Bool
  private let shared: PrefixTable?
  private let secret: UInt64
  private var requests = ClientSketch()
  private var connections = ClientSketch()

  init(_ listener: Config.Listener, _ monitors: CollapseMonitors) {
    monitor = monitors.monitor(listener.name)
    secret = monitors.secret
    refuses = listener.onCollapse == .refuse
    isUnready = listener.isUnreadyOnCollapse
    shared = listener.sharedAddresses.isEmpty ? nil : PrefixTable(listener.sharedAddresses)
  }

  /// Routes that need to tell clients apart are closed.
  var isClosed: Bool { refuses && monitor.isCollapsed }

  /// Notes a request of a client that is settled. `isFirst`: of its connection, which stands for that client.
  func note(_ client: IPAddress, isFirst: Bool) {
    if let shared, shared.contains(client) { return }
    let key = ClientSketch.key(client, secret: secret)
    let isPrivate = client.isPrivate
    requests.observe(key, isPrivate: isPrivate)
    if isFirst { connections.observe(key, isPrivate: isPrivate) }
  }

  /// Hands over what was noted, and says what is new.
  func handOver(_ worker: Worker) {
    guard !requests.isEmpty else { return }
    let changes = monitor.take(requests: requests, connections: connections, nowMilliseconds: worker.nowMilliseconds)
    requests = ClientSketch()
    connections = ClientSketch()
    for change in changes { tell(change, worker) }
    // Told again as long as requests come, and not remembered: a listener may be gone with the next reload.
    if isUnready, monitor.isCollapsed { worker.shared.readiness.noteCollapse(nowMilliseconds: worker.nowMilliseconds) }
  }

  private func tell(_ change: CollapseMonitor.Change, _ worker: Worker) {
    let shared = worker.shared
    switch change {
    case .collapsed(let finding, let what):
      let happened =
        finding.kind == .few
        ? "\(finding.usualClients) clients have become \(finding.clients)"
        : "its clients all come from private addresses"
      let closed = refuses ? "; routes with needs_distinct_clients are closed" : ""
      shared.operationalLog.logger.error(
        """
        COLLAPSE at the listener \(monitor.name): \(happened), by \(what) of \(finding.blockSeconds) s (\(finding.requests)); somebody in \
        front of it may have stopped passing clients' addresses on\(closed)
        """)
      if refuses { shared.tellOfRoutes() }
    case .recovered: end("is over: its clients are back", shared)
    case .becameUsual: end("has lasted a day and counts as usual from now on", shared)
    case .forgotten: end("is forgotten: no request came for an hour", shared)
    }
  }

  private func end(_ how: String, _ shared: ProcessShared) {
    shared.operationalLog.logger.warning("collapse at the listener \(monitor.name) \(how)")
    if refuses { shared.tellOfRoutes() }
    // Where it lasts at another listener, that one says so again with its next requests.
    if isUnready { shared.readiness.endCollapse() }
  }
}
