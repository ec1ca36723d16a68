// /metrics, /healthz, /status, /routes, /servers and /upgrade on a listener of their own, for operators and their monitoring. A thread of its own
// that serves one small request after another with short deadlines: never in a worker's way. It shows counts and names,
// no secrets; it belongs on loopback or a unix socket, for it asks nobody who they are. What it lets some change is in AdminControl.

import Platform
import Policy
import Synchronization
import Wire

final class AdminServer: Sendable {
  private struct State {
    var descriptor: Int32 = -1
    var address: SocketAddress?
    var ownsFile = false
    var boundText: String?
    var isStopping = false
    /// Nothing is accepted: another process may be about to.
    var isPaused = false
    /// Another process goes on with the socket.
    var isLeft = false
    var isServing = false
    var shared: ProcessShared?
    var reloads: ReloadStatus?
  }

  /// A listening socket that is not in use yet.
  enum Opened: Sendable {
    case unchanged
    case other(descriptor: Int32, address: SocketAddress?, text: String?)
    /// One that was there before this process: an older one, or systemd, goes on with it where this one does not.
    case found(Found)

    func discard() {
      guard case .other(let descriptor, let address, _) = self, descriptor >= 0 else { return }
      Sockets.closeDescriptor(descriptor)
      if case .unix(let path)? = address { Sockets.removeFile(path) }
    }
  }

  struct Found: Sendable {
    let name: String
    let descriptor: Int32
    let address: SocketAddress
    /// Its file is to be removed with it.
    let ownsFile: Bool
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
    guard let address else { return .other(descriptor: -1, address: nil, text: nil) }
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
      return .other(descriptor: fd, address: address, text: text)
    } catch {
      throw ListenError(message: "\(name): cannot listen on \(ListenerSet.describe(address)): \(error)", key: key)
    }
  }

  private static func boundText(_ fd: Int32, _ address: SocketAddress) -> String {
    ListenerSet.describe(address.ip == nil ? address : Sockets.local(fd))
  }

  /// Moves to a socket that was opened; the old one is closed.
  func take(_ opened: Opened) {
    let new: (descriptor: Int32, address: SocketAddress?, ownsFile: Bool, text: String?)
    switch opened {
    case .unchanged: return
    case .other(let descriptor, let address, let text): new = (descriptor, address, true, text)
    case .found(let found):
      let text = AdminServer.boundText(found.descriptor, found.address)
      new = (found.descriptor, found.address, found.ownsFile, text)
    }
    let (old, oldFile) = state.withLock { state in
      let old = (state.descriptor, AdminServer.file(state))
      (state.descriptor, state.address, state.ownsFile, state.boundText) = new
      return old
    }
    wakeup.signal()
    if old >= 0 { Sockets.closeDescriptor(old) }
    if let oldFile { Sockets.removeFile(oldFile) }
  }

  /// The file that goes with the socket.
  private static func file(_ state: State) -> String? {
    guard state.ownsFile, case .unix(let path)? = state.address else { return nil }
    return path
  }

  // MARK: In an upgrade

  /// The socket, for another process; it stays this one's.
  var handedOver: Found? {
    state.withLock { state in
      guard state.descriptor >= 0, let address = state.address else { return nil }
      return Found(name: name, descriptor: state.descriptor, address: address, ownsFile: state.ownsFile)
    }
  }

  /// Answers nobody until `resume`: who asks meanwhile waits. Returns when nobody is being answered any more, or soon.
  func pause() {
    state.withLock { $0.isPaused = true }
    wakeup.signal()
    for _ in 0..<AdminServer.pauseMilliseconds where state.withLock({ $0.isServing }) { Clock.sleep(milliseconds: 1) }
  }

  func resume() {
    state.withLock { $0.isPaused = false }
    wakeup.signal()
  }

  private static let pauseMilliseconds = 200

  /// Ends, and leaves the socket to another process, which has it too. Who is being answered gets the answer.
  func leave() {
    state.withLock { state in
      state.ownsFile = false
      state.isLeft = true
    }
    stop()
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
    let (fd, file) = state.withLock { ($0.descriptor, AdminServer.file($0)) }
    if fd >= 0 { Sockets.closeDescriptor(fd) }
    if let file { Sockets.removeFile(file) }
  }

  private func run() {
    while true {
      let (fd, stopping) = state.withLock { ($0.isPaused ? -1 : $0.descriptor, $0.isStopping) }
      if stopping { return }
      let isAsked = Sockets.waitReadable(fd, or: wakeup.descriptor, timeoutMilliseconds: idleMilliseconds())
      if let shared = state.withLock({ $0.shared }) { AdminControl(shared: shared).endClosures() }
      guard isAsked else {
        wakeup.clear()
        continue
      }
      let mayServe = state.withLock { state in
        state.isServing = !state.isPaused
        return state.isServing
      }
      guard mayServe else { continue }
      defer { state.withLock { $0.isServing = false } }
      switch Sockets.accept(fd) {
      case .connection(let connection, _):
        serve(connection)
        Sockets.closeDescriptor(connection)
      // Still readable, and accepting again at once would spin.
      case .exhausted: _ = wakeup.wait(timeoutMilliseconds: 100)
      case .none, .again: break
      }
    }
  }

  /// Until the next closure of a route ends; -1: none does.
  private func idleMilliseconds() -> Int32 {
    let end = state.withLock { $0.shared }?.routes.nextEndMilliseconds ?? .max
    guard end != .max else { return -1 }
    let now = Clock.monotonicMilliseconds()
    return end > now ? Int32(clamping: end - now) : 0
  }

  /// One request: a head of at most 8 KiB within two seconds, an answer within two more; less when the server is to stop.
  private func serve(_ fd: Int32) {
    let transport = Transport()
    guard let copy = try? Sockets.duplicate(fd) else { return }
    transport.open(copy)
    let input = Buffer(capacity: 8 * 1024)
    let head = RequestHead(fieldsMax: 64)
    let deadline = Clock.monotonicMilliseconds() + 2_000
    while true {
      let outcome = input.withReadable { head.parse($0, limits: HeadLimits(headBytes: 8 * 1024, fields: 64)) }
      switch outcome {
      case .complete:
        answer(transport, head, input)
        return
      // HTTP/1.0 may do without Host (RFC 9112 section 3.2), and checks of balancers do. Nothing here depends on it.
      case .refused(.hostMissing) where head.minorVersion == 0:
        answer(transport, head, input)
        return
      case .refused:
        send(transport, status: "400 Bad Request", type: "text/plain", body: "bad request\n", isHead: false)
        return
      case .incomplete: break
      }
      transport.noteReadable()
      switch transport.read(into: input) {
      case .bytes: continue
      case .blocked:
        let now = Clock.monotonicMilliseconds()
        guard now < deadline else { return }
        if Sockets.waitReadable(fd, or: wakeup.descriptor, timeoutMilliseconds: Int32(deadline - now)) { continue }
        // Something changes here, and `run` looks at it next. Who asks is served before, unless there is to be an end.
        wakeup.clear()
        if state.withLock({ $0.isStopping && !$0.isLeft }) { return }
      case .ended, .failed: return
      }
    }
  }

  private func answer(_ transport: Transport, _ head: RequestHead, _ input: Buffer) {
    func text(_ range: ByteRange) -> String {
      input.withReadable { bytes in String(decoding: range.range.map { bytes[$0] }, as: UTF8.self) }
    }
    let path = text(head.path)
    let isHead = head.method == .head
    func reply(_ status: String, _ body: String, type: String = "text/plain") {
      send(transport, status: status, type: type, body: body, isHead: isHead)
    }
    let (shared, reloads) = state.withLock { ($0.shared, $0.reloads) }
    let now = Clock.read()
    if head.method == .post, let shared {
      let answer = AdminControl(shared: shared)
        .change(path, query: text(head.query), user: Sockets.peerUser(transport.descriptor))
      reply(answer.status, answer.body, type: answer.status.hasPrefix("200") ? "application/json" : "text/plain")
      return
    }
    guard isHead || head.method == .get else {
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

  private func send(_ transport: Transport, status: String, type: String, body: String, isHead: Bool) {
    let text =
      "HTTP/1.1 \(status)\r\ncontent-type: \(type)\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n"
      + "cache-control: no-store\r\n\r\n" + (isHead ? "" : body)
    let output = Buffer(capacity: text.utf8.count)
    output.append(text: text)
    let deadline = Clock.monotonicMilliseconds() + 2_000
    guard transport.sendAll(output, deadlineMilliseconds: deadline, or: wakeup.descriptor) == .sent else { return }
    transport.finish()
  }
}
