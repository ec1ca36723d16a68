// /metrics, /healthz and /status on a listener of their own, for operators and their monitoring. A thread of its own
// that serves one small request after another with short deadlines: never in a worker's way. It shows counts and names,
// no secrets; it belongs on loopback or a unix socket, for it asks nobody who they are.

import Platform
import Policy
import Synchronization
import Wire

final class AdminServer: Sendable {
  private struct State {
    var descriptor: Int32 = -1
    var address: SocketAddress?
    var boundText: String?
    var isStopping = false
  }

  private let shared: ProcessShared
  private let state = Mutex(State())
  private let wakeup: Wakeup
  private let thread = Mutex<WorkerThread?>(nil)

  init(shared: ProcessShared) throws(ListenError) {
    self.shared = shared
    do { wakeup = try Wakeup() } catch { throw ListenError(message: "\(error)") }
  }

  var boundText: String? { state.withLock { $0.boundText } }

  /// Opens, moves or closes the admin listener.
  func listen(_ config: Config.Admin?) throws(ListenError) {
    let address = config.map { ListenerSet.socketAddress($0.address) }
    guard address != state.withLock({ $0.address }) else { return }
    var fd: Int32 = -1
    var text: String?
    if let address {
      guard !Sockets.isTaken(address) else {
        throw ListenError(message: "admin: \(ListenerSet.describe(address)) is already in use by another process")
      }
      do { fd = try Sockets.listen(on: address, backlog: 16) } catch {
        throw ListenError(message: "admin: cannot listen on \(ListenerSet.describe(address)): \(error)")
      }
      text = address.ip == nil ? ListenerSet.describe(address) : ListenerSet.describe(Sockets.local(fd))
    }
    let old = state.withLock { state in
      let old = state.descriptor
      state.descriptor = fd
      state.address = address
      state.boundText = text
      return old
    }
    wakeup.signal()
    if old >= 0 { Sockets.closeDescriptor(old) }
  }

  func start() throws(SystemError) {
    let started = try WorkerThread.start(name: "admin", processor: nil) { [self] in run() }
    thread.withLock { $0 = started }
  }

  func stop() {
    let address = state.withLock { state in
      state.isStopping = true
      return state.address
    }
    wakeup.signal()
    let running = thread.withLock { $0 }
    running?.join()
    let fd = state.withLock { $0.descriptor }
    if fd >= 0 { Sockets.closeDescriptor(fd) }
    if case .unix(let path) = address { Sockets.removeFile(path) }
  }

  private func run() {
    while true {
      let (fd, stopping) = state.withLock { ($0.descriptor, $0.isStopping) }
      if stopping { return }
      guard Sockets.waitReadable(fd, or: wakeup.descriptor, timeoutMilliseconds: -1) else {
        wakeup.clear()
        continue
      }
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

  /// One request: a head of at most 8 KiB within two seconds, an answer within two more.
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
        let path = input.withReadable { bytes in
          String(decoding: (0..<head.path.count).map { bytes[head.path.lower + Int($0)] }, as: UTF8.self)
        }
        answer(transport, path: path, isHead: head.method == .head, isRead: head.method == .get || head.method == .head)
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
        guard now < deadline, Sockets.waitReadable(fd, or: -1, timeoutMilliseconds: Int32(deadline - now)) else {
          return
        }
      case .ended, .failed: return
      }
    }
  }

  private func answer(_ transport: Transport, path: String, isHead: Bool, isRead: Bool) {
    guard isRead else {
      send(transport, status: "405 Method Not Allowed", type: "text/plain", body: "read only\n", isHead: isHead)
      return
    }
    switch path {
    case "/healthz": send(transport, status: "200 OK", type: "text/plain", body: "ok\n", isHead: isHead)
    case "/metrics":
      let page = MetricsPage.text(shared.counters) + extraMetrics()
      send(transport, status: "200 OK", type: "text/plain; version=0.0.4", body: page, isHead: isHead)
    case "/status": send(transport, status: "200 OK", type: "application/json", body: status(), isHead: isHead)
    default: send(transport, status: "404 Not Found", type: "text/plain", body: "not found\n", isHead: isHead)
    }
  }

  private func extraMetrics() -> String {
    """
    # HELP countersign_replay_epochs Senders whose sequence numbers are remembered.
    # TYPE countersign_replay_epochs gauge
    countersign_replay_epochs \(shared.windows.epochCount)
    # HELP countersign_start_time_seconds When the process began.
    # TYPE countersign_start_time_seconds gauge
    countersign_start_time_seconds \(shared.startMilliseconds / 1_000)

    """
  }

  private func status() -> String {
    func sum(_ counter: Counter) -> UInt64 { shared.counters.reduce(0) { $0 &+ $1.value(counter) } }
    let refusals = Refusal.allCases.compactMap { refusal -> String? in
      let count = shared.counters.reduce(0) { $0 &+ $1.value(refusal) }
      return count > 0 ? "\"\(refusal.name)\":\(count)" : nil
    }
    return """
      {"workers":\(shared.counters.count),"uptime_seconds":\((Clock.wallMilliseconds() - shared.startMilliseconds) / 1_000),\
      "connections":\(shared.connectionCount),"requests":\(sum(.requests)),"tunnels":\(sum(.openTunnels)),\
      "upstream_connections":\(sum(.openUpstreams)),"replay_epochs":\(shared.windows.epochCount),\
      "refusals":{\(refusals.joined(separator: ","))}}

      """
  }

  private func send(_ transport: Transport, status: String, type: String, body: String, isHead: Bool) {
    let text =
      "HTTP/1.1 \(status)\r\ncontent-type: \(type)\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n"
      + "cache-control: no-store\r\n\r\n" + (isHead ? "" : body)
    let output = Buffer(capacity: text.utf8.count)
    output.append(text: text)
    let deadline = Clock.monotonicMilliseconds() + 2_000
    while !output.isEmpty {
      transport.noteWritable()
      switch transport.flush(output) {
      case .bytes: continue
      case .blocked:
        let now = Clock.monotonicMilliseconds()
        guard now < deadline, Sockets.waitWritable(transport.descriptor, timeoutMilliseconds: Int32(deadline - now))
        else {
          return
        }
      case .ended, .failed: return
      }
    }
    transport.finish()
  }
}
