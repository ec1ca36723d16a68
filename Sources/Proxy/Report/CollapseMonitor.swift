// Watches each listener's clients for the moment in which many become one (Policy's CollapseDetector), and says so: in the log, in the
// metrics, where configured in the readiness, and to the routes that need to tell clients apart.
//
// A worker notes each request in sketches of its own and hands them over every 500 ms (`Worker.watchMilliseconds`); whoever hands over
// the first of the next two seconds has the last judged. What a monitor knows is of whoever connects to an address: a reload and an upgrade
// go on with it at the listener that has this address then, whatever that is called (Policy's ListenerPairs), so that neither forgets a
// collapse.

import Platform
import Policy
import Synchronization
import Wire

/// One listener's clients, over all workers.
package final class CollapseMonitor: Sendable {
  private struct State {
    /// Its listener's.
    var name: String
    /// By requests, and by the first request of each connection: a load balancer keeps old connections when it is reconfigured.
    var requests = CollapseDetector()
    var connections = CollapseDetector()
    var requestSketch = ClientSketch()
    var connectionSketch = ClientSketch()
    var slot: UInt64?
    var collapses: UInt64 = 0
  }

  private let state: Mutex<State>
  private let collapsed = Atomic<Bool>(false)
  private let slotMilliseconds = UInt64(CollapseDetector.blockSeconds) * 1_000
  /// After a longer time without any request the past says nothing any more.
  private static let slotsMax: UInt64 = 1_800

  package init(name: String) { state = Mutex(State(name: name)) }

  /// Goes on for the monitor of another process.
  package init(_ carried: HandoverLate.Monitor, nowMilliseconds: UInt64) throws(HandoverFault) {
    var body = HandoverReader(carried.bytes)
    var its = State(name: carried.listener)
    its.collapses = try body.word("a listener's clients")
    its.requests = try CollapseDetector(&body)
    its.connections = try CollapseDetector(&body)
    its.requestSketch = try ClientSketch(&body)
    its.connectionSketch = try ClientSketch(&body)
    if try body.flag("a listener's clients") {
      let slot = try body.word("a listener's clients")
      // Nothing would be judged before that.
      guard slot <= nowMilliseconds / slotMilliseconds else { throw .malformed("a listener's clients") }
      its.slot = slot
    }
    try body.end("a listener's clients")
    let isCollapsed = its.requests.isCollapsed || its.connections.isCollapsed
    state = Mutex(its)
    collapsed.store(isCollapsed, ordering: .relaxed)
  }

  package var name: String { state.withLock { $0.name } }
  fileprivate func rename(_ name: String) { state.withLock { $0.name = name } }

  /// When the last request came, two seconds later at most; 0: none has come.
  var lastMilliseconds: UInt64 { state.withLock { $0.slot.map { ($0 + 1) * slotMilliseconds } ?? 0 } }

  package var carried: HandoverLate.Monitor {
    var out = HandoverWriter()
    let state = state.withLock { $0 }
    out.write(word: state.collapses)
    state.requests.write(to: &out)
    state.connections.write(to: &out)
    state.requestSketch.write(to: &out)
    state.connectionSketch.write(to: &out)
    out.write(flag: state.slot != nil)
    if let slot = state.slot { out.write(word: slot) }
    return HandoverLate.Monitor(listener: state.name, bytes: out.bytes)
  }

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
          state = State(name: state.name)
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
  private struct State {
    /// By their listeners' names. Those of listeners that are gone stay, as long as no other has the name.
    var monitors: [String: CollapseMonitor] = [:]
    var secret: UInt64
  }

  /// What another process knew, as far as it could be read.
  struct Carried: Sendable {
    let secret: UInt64
    let monitors: [CollapseMonitor]

    init(_ late: HandoverLate.Collapses) throws(HandoverFault) {
      secret = late.secret
      let now = Clock.monotonicMilliseconds()
      var made: [CollapseMonitor] = []
      for monitor in late.monitors { made.append(try CollapseMonitor(monitor, nowMilliseconds: now)) }
      monitors = made
    }
  }

  private let state: Mutex<State>

  package init() throws(CryptoError) { state = Mutex(State(secret: try SecureRandom.word())) }

  /// With it addresses are hashed.
  var secret: UInt64 { state.withLock { $0.secret } }

  package func monitor(_ name: String) -> CollapseMonitor {
    state.withLock { state in
      if let known = state.monitors[name] { return known }
      let made = CollapseMonitor(name: name)
      state.monitors[name] = made
      return made
    }
  }

  package var all: [CollapseMonitor] { state.withLock { $0.monitors.values.sorted { $0.name < $1.name } } }

  // MARK: Upgrades

  /// A part of a frame. About 600 listeners have room in it.
  private static let carriedBytesMax = 8 << 20

  /// For the process that goes on. Where there are too many, those that see a collapse have room first; the others learn anew.
  var carried: HandoverLate.Collapses {
    let all = all
    var left = CollapseMonitors.carriedBytesMax
    let monitors = (all.filter(\.isCollapsed) + all.filter { !$0.isCollapsed }).map(\.carried).prefix { monitor in
      left -= monitor.bytes.count + monitor.listener.utf8.count
      return left >= 0
    }
    return HandoverLate.Collapses(secret: secret, monitors: Array(monitors))
  }

  /// Before the workers start: goes on with the monitors of another process, whose listeners were these.
  /// - Returns: those of which no listener is left, and that see a collapse.
  func take(_ carried: Carried, of old: [Config.Listener], by new: [Config.Listener]) -> [CollapseMonitor] {
    state.withLock { state in
      state.secret = carried.secret
      for monitor in carried.monitors { state.monitors[monitor.name] = monitor }
    }
    return follow(old, new)
  }

  /// Before workers take a reload: each listener has the monitor of the one in whose place it is.
  /// - Returns: those of which no listener is left, and that see a collapse.
  package func follow(_ old: [Config.Listener], _ new: [Config.Listener]) -> [CollapseMonitor] {
    let pairs = ListenerPairs(old, new).same
    return state.withLock { state in
      var left = state.monitors
      var next: [String: CollapseMonitor] = [:]
      for pair in pairs { next[new[pair.now].name] = left.removeValue(forKey: old[pair.was].name) }
      for (name, monitor) in next { monitor.rename(name) }
      state.monitors = next.merging(left) { its, _ in its }
      let known = Set(old.map(\.name))
      return left.filter { known.contains($0.key) && $0.value.isCollapsed }.values.sorted { $0.name < $1.name }
    }
  }

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
