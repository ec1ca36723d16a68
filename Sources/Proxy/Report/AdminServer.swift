// /metrics, /healthz, /status, /routes, /servers and /upgrade on a listener of their own, for operators and their monitoring. A thread of its own
// that answers small requests with short deadlines, never in a worker's way. It shows counts and names, no secrets; it belongs on
// loopback or a unix socket, for it asks nobody who they are. What it lets some change is in AdminControl.

import Platform
import Policy
import Synchronization
import Wire

final class AdminServer: Sendable {
  private struct State {
    var descriptor: Int32 = -1
    var address: SocketAddress?
    /// Of a unix socket, where it is this process's to remove.
    var file: SocketFile?
    var boundText: String?
    var isStopping = false
    /// Nothing is accepted: another process may be about to.
    var isPaused = false
    /// Nor is anybody answered who was accepted before.
    var isHeld = false
    /// Another process goes on with the socket.
    var isLeft = false
    var isServing = false
    /// An answer is being made, and what was asked for is done.
    var isAnswering = false
    /// Somebody is connected, who may have asked.
    var hasConnections = false
    /// Who asks is answered.
    var goesOn: Bool { !isHeld || isLeft }
    var shared: ProcessShared?
    var reloads: ReloadStatus?
  }

  /// A listening socket that is not in use yet.
  enum Opened: Sendable {
    case unchanged
    case other(descriptor: Int32, address: SocketAddress?, file: SocketFile?, text: String?)
    /// One that was there before this process: an older one, or systemd, goes on with it where this one does not.
    case found(Found)

    func discard() {
      guard case .other(let descriptor, _, let file, _) = self, descriptor >= 0 else { return }
      Sockets.closeDescriptor(descriptor)
      file?.remove()
    }
  }

  struct Found: Sendable {
    let name: String
    let descriptor: Int32
    let address: SocketAddress
    /// To be removed with it.
    let file: SocketFile?
  }

  private let state = Mutex(State())
  private let wakeup: Wakeup
  private let thread = Mutex<WorkerThread?>(nil)

  private let readiness: ServiceReadiness

  /// `admin`, or `control`.
  private let name: String
  /// In the configuration.
  private var key: String { name == "admin" ? "admin.listen" : "admin.control" }

  init(name: String, readiness: ServiceReadiness) throws(SystemError) {
    self.name = name
    self.readiness = readiness
    wakeup = try Wakeup()
  }

  var boundText: String? { state.withLock { $0.boundText } }

  // MARK: What it shows

  func set(_ reloads: ReloadStatus) { state.withLock { $0.reloads = reloads } }

  /// From here on there is something to count.
  func show(_ shared: ProcessShared) { state.withLock { $0.shared = shared } }

  // MARK: Listening

  /// Opens a socket for the address, unless it is the one in use, or is one of those that were found.
  func open(_ endpoint: Config.Endpoint?, found: [Found] = []) throws(ListenError) -> Opened {
    let address = endpoint.map { ListenerSet.socketAddress($0) }
    guard address != state.withLock({ $0.address }) else { return .unchanged }
    guard let address else { return .other(descriptor: -1, address: nil, file: nil, text: nil) }
    if let its = found.first(where: { $0.name == name && $0.address == address }) { return .found(its) }
    guard !Sockets.isInUse(address) else {
      throw ListenError(
        message:
          "\(name): \(ListenerSet.describe(address)) is already in use; choose another address or end who listens there",
        key: key)
    }
    do {
      let fd = try Sockets.listen(on: address, backlog: 16)
      let text = AdminServer.boundText(fd, address)
      return .other(descriptor: fd, address: address, file: SocketFile(address), text: text)
    } catch {
      throw ListenError(message: "\(name): cannot listen on \(ListenerSet.describe(address)): \(error)", key: key)
    }
  }

  private static func boundText(_ fd: Int32, _ address: SocketAddress) -> String {
    ListenerSet.describe(address.ip == nil ? address : Sockets.local(fd))
  }

  /// Moves to a socket that was opened; the old one is closed.
  func take(_ opened: Opened) {
    let new: (descriptor: Int32, address: SocketAddress?, file: SocketFile?, text: String?)
    switch opened {
    case .unchanged: return
    case .other(let descriptor, let address, let file, let text): new = (descriptor, address, file, text)
    case .found(let found):
      let text = AdminServer.boundText(found.descriptor, found.address)
      new = (found.descriptor, found.address, found.file, text)
    }
    let (old, oldFile) = state.withLock { state in
      let old = (state.descriptor, state.file)
      (state.descriptor, state.address, state.file, state.boundText) = new
      return old
    }
    wakeup.signal()
    if old >= 0 { Sockets.closeDescriptor(old) }
    oldFile?.remove()
  }

  // MARK: In an upgrade

  /// The socket, for another process; it stays this one's.
  var handedOver: Found? {
    state.withLock { state in
      guard state.descriptor >= 0, let address = state.address else { return nil }
      return Found(name: name, descriptor: state.descriptor, address: address, file: state.file)
    }
  }

  /// Answers nobody until `resume`: who asks meanwhile waits. Returns when nobody is being answered any more; who takes an answer slowly
  /// is waited for a moment.
  /// - Returns: false where an answer is still being made, which may change something that another process would not hear of.
  func pause() -> Bool {
    func wait(_ milliseconds: Int, while isBusy: (State) -> Bool) {
      for _ in 0..<milliseconds where state.withLock({ isBusy($0) }) { Clock.sleep(milliseconds: 1) }
    }
    state.withLock { $0.isPaused = true }
    wakeup.signal()
    wait(AdminServer.pauseMilliseconds) { $0.hasConnections }
    state.withLock { $0.isHeld = true }
    wait(AdminServer.answerMilliseconds) { $0.isAnswering }
    wait(AdminServer.pauseMilliseconds) { $0.isServing }
    return state.withLock { !$0.isAnswering }
  }

  func resume() {
    state.withLock { state in
      state.isPaused = false
      state.isHeld = false
    }
    wakeup.signal()
  }

  private static let pauseMilliseconds = 200
  /// One that waits for an older process takes a second.
  private static let answerMilliseconds = 2_000

  /// Leaves the socket to another process, which has it too, and ends soon. Who is being answered gets the answer.
  func leave() {
    state.withLock { state in
      state.file = nil
      state.isLeft = true
      state.isStopping = true
    }
    wakeup.signal()
  }

  func start() throws(SystemError) {
    let started = try WorkerThread.start(name: name, processor: nil) { [self] in run() }
    thread.withLock { $0 = started }
  }

  func stop() {
    state.withLock { $0.isStopping = true }
    wakeup.signal()
    let running = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let running else { return }
    running.join()
    closeListening()
  }

  /// Whoever connects to a socket that another process has left, too, must not wait for this one.
  private func closeListening() {
    let (fd, file) = state.withLock { state in
      defer { (state.descriptor, state.file) = (-1, nil) }
      return (state.descriptor, state.file)
    }
    if fd >= 0 { Sockets.closeDescriptor(fd) }
    file?.remove()
  }

  /// So many connections at once. One more takes the place of the one that has waited longest.
  private static let connectionsMax = 32
  /// For those who have not asked yet, once another process goes on with the socket.
  private static let leftMilliseconds: UInt64 = 2_000

  private func run() {
    defer { if state.withLock({ $0.isLeft }) { closeListening() } }
    var connections: [AdminConnection] = []
    var waiting = WaitSet()
    while true {
      let (fd, isPaused, goesOn, isStopping) = state.withLock { state in
        state.isServing = connections.contains { $0.stage == .answering }
        state.hasConnections = !connections.isEmpty
        // Only what another process goes on with has a time to end.
        if state.isStopping, !state.isLeft {
          for each in connections { each.end() }
          connections.removeAll()
        }
        return (state.descriptor, state.isPaused, state.goesOn, state.isStopping)
      }
      if isStopping, connections.isEmpty { return }
      var now = Clock.monotonicMilliseconds()
      if isStopping { for each in connections { each.hasAtMost(AdminServer.leftMilliseconds, nowMilliseconds: now) } }

      waiting.removeAll()
      let wakeupNumber = waiting.add(wakeup.descriptor)
      let listenNumber = waiting.add(isPaused || isStopping ? -1 : fd)
      for each in connections {
        let isAwaited = goesOn || each.stage == .answering
        _ = waiting.add(isAwaited ? each.transport.descriptor : -1, toWrite: each.stage == .answering)
      }
      let end = connections.map(\.deadlineMilliseconds).min() ?? .max
      waiting.wait(timeoutMilliseconds: AdminServer.milliseconds(until: min(end, nextClosureEnd), now: now))
      if waiting.isReady(wakeupNumber) { wakeup.clear() }
      if let shared = state.withLock({ $0.shared }) { AdminControl(shared: shared).endClosures() }

      // From here to the end of the turn `pause` waits.
      let mayServe = state.withLock { state in
        if state.goesOn { state.isServing = true }
        return state.goesOn
      }
      now = Clock.monotonicMilliseconds()
      for (index, each) in connections.enumerated() where waiting.isReady(listenNumber + 1 + index) {
        if each.stage == .answering { each.send() } else if mayServe { each.read() }
      }
      if mayServe, waiting.isReady(listenNumber) { accept(from: fd, into: &connections, nowMilliseconds: now) }
      for each in connections where each.stage == .asked || each.stage == .malformed {
        // Each by itself: one may take a second.
        let (mayAnswer, isLeft) = state.withLock { state in
          state.isAnswering = state.goesOn
          return (state.goesOn, state.isLeft)
        }
        guard mayAnswer else { break }
        answer(each, nowMilliseconds: now, isLeft: isLeft)
        state.withLock { $0.isAnswering = false }
      }
      for each in connections where each.stage == .over || now >= each.deadlineMilliseconds { each.end() }
      connections.removeAll { $0.stage == .over }
    }
  }

  private func accept(from descriptor: Int32, into connections: inout [AdminConnection], nowMilliseconds: UInt64) {
    // One that was closed meanwhile may be another socket's number by now.
    let accepted = state.withLock { state -> Sockets.Accepted in
      guard state.descriptor == descriptor, !state.isPaused else { return .none }
      state.hasConnections = true
      return Sockets.accept(descriptor)
    }
    switch accepted {
    case .connection(let new, _):
      if connections.count == AdminServer.connectionsMax {
        connections.remove(at: connections.firstIndex { $0.stage == .asking } ?? 0).end()
      }
      let connection = AdminConnection(new, nowMilliseconds: nowMilliseconds)
      // Most have asked by now.
      connection.read()
      connections.append(connection)
    // Still readable, and accepting again at once would spin.
    case .exhausted: _ = wakeup.wait(timeoutMilliseconds: 100)
    case .none, .again: break
    }
  }

  /// When the next closure of a route ends; `.max` if none does.
  private var nextClosureEnd: UInt64 { state.withLock { $0.shared }?.routes.nextEndMilliseconds ?? .max }

  private static func milliseconds(until end: UInt64, now: UInt64) -> Int32 {
    guard end != .max else { return -1 }
    return end > now ? Int32(clamping: end - now) : 0
  }

  private func answer(_ connection: AdminConnection, nowMilliseconds: UInt64, isLeft: Bool) {
    func reply(_ status: String, _ body: String, type: String = "text/plain") {
      connection.answer(status: status, type: type, body: body, nowMilliseconds: nowMilliseconds)
    }
    guard connection.stage == .asked else { return reply("400 Bad Request", "bad request\n") }
    let head = connection.head
    let path = connection.text(head.path)
    let (shared, reloads) = state.withLock { ($0.shared, $0.reloads) }
    let now = Clock.read()
    // The next process has told greater counts, and what is changed here reaches it no more.
    guard !isLeft || path == "/healthz" else {
      return reply("503 Service Unavailable", "upgraded: another process answers here now\n")
    }
    if head.method == .post, let shared {
      let answer = AdminControl(shared: shared)
        .change(path, query: connection.text(head.query), user: Sockets.peerUser(connection.transport.descriptor))
      reply(answer.status, answer.body, type: answer.status.hasPrefix("200") ? "application/json" : "text/plain")
      return
    }
    guard head.method == .head || head.method == .get else {
      reply("405 Method Not Allowed", "GET, HEAD, and POST for changes\n")
      return
    }
    switch (path, shared) {
    case ("/healthz", _):
      let reason = readiness.reason(now)
      reply(reason == nil ? "200 OK" : "503 Service Unavailable", "\(reason?.text ?? "ok")\n")
    case ("/metrics", let shared?):
      let page =
        BuildInfo.metrics + MetricsPage.text(shared.counters, earlier: shared.earlierCounters)
        + MetricsPage.text(shared)
        + shared.collapses.metrics + readiness.metrics(now) + ServerMetrics.text(shared.servers, now: now)
        + shared.routeMetrics.text
        + shared.health.metrics.text + (reloads?.metrics ?? "")
      reply("200 OK", page, type: "text/plain; version=0.0.4")
    case ("/status", let shared?):
      reply("200 OK", AdminServer.status(shared, reloads), type: "application/json")
    case ("/routes", let shared?): reply("200 OK", AdminControl.json(shared.routes) + "\n", type: "application/json")
    case ("/upgrade", let shared?): reply("200 OK", shared.upgrades.json + "\n", type: "application/json")
    case ("/servers", let shared?):
      reply("200 OK", AdminControl.json(shared.servers, now: now) + "\n", type: "application/json")
    case ("/metrics", nil), ("/status", nil), ("/routes", nil), ("/servers", nil), ("/upgrade", nil):
      reply("503 Service Unavailable", "starting: the configuration is being loaded\n")
    default: reply("404 Not Found", "not found\n")
    }
  }

  private static func status(_ shared: ProcessShared, _ reloads: ReloadStatus?) -> String {
    let upMilliseconds = Clock.monotonicMilliseconds() - shared.start.monotonicMilliseconds
    let refusals = Refusal.allCases.compactMap { refusal -> String? in
      let count = shared.total(refusal)
      return count > 0 ? "\"\(refusal.name)\":\(count)" : nil
    }
    return """
      {"workers":\(shared.counters.count),"uptime_seconds":\(upMilliseconds / 1_000),\
      "connections":\(shared.connectionCount),"requests":\(shared.total(.requests)),"tunnels":\(shared.total(.openTunnels)),\
      "older_processes":\(shared.older.json),\
      "upstream_connections":\(shared.total(.openUpstreams)),"replay_epochs":\(shared.windows.epochCount),\
      "config":\(reloads?.json ?? "null"),"routes":\(AdminControl.json(shared.routes)),\
      "names":\(shared.names.json),"servers":\(AdminControl.json(shared.servers, now: Clock.read())),"refusals":{\(refusals.joined(separator: ","))}}

      """
  }
}
