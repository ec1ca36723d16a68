// One server of one upstream, as one worker sees it: its connections, how busy it is, and whether it answered lately. It alone
// gives a connection to an exchange and takes it away. Confined to the worker.
//
// Invariants: `active` counts the exchanges that have one of its connections; a connection is in `idle`, or one of HTTP/2 counted in
// `idleHTTP2`, exactly while `isIdle`.
//
// What each request looks at is stored under internal names: of a stored property that other modules see the compiler cannot tell
// that nobody changes it meanwhile, and each access costs an exclusivity check.

import Platform
import Policy
import Wire

package final class ServerPool {
  let address: SocketAddress
  /// As the log shows it.
  let text: [UInt8]
  let tls: TLSClientContext?
  let isHTTP2: Bool
  let idleMax: Int
  /// What the whole process knows of it.
  package let status: ServerStatus
  /// What this worker counts of it.
  let counts: RequestCounts
  /// Names it in `Exchange.triedServers`; 0 where the upstream has more servers than bits.
  package let bit: UInt64
  /// Of its name, for `client-hash`.
  let hash: UInt64
  /// Names it in a cookie; empty where there are none.
  private(set) var token: [UInt8] = []
  /// What a response says so that its client stays here; over TLS, and without.
  private var cookieLines: (secure: [UInt8], plain: [UInt8]) = ([], [])
  // As configured now.
  private(set) var weight = 1
  private(set) var isBackup = false
  /// Requests at the same time, over all workers; 0: no limit.
  private(set) var connectionsMax = 0
  /// What round robin owes it.
  var credit = 0
  /// Newest last: the warmest connection is used first, the coldest ages out.
  let idle: WorkList<Upstream>
  /// Shared connections that speak HTTP/2.
  let http2 = WorkList<Upstream>()
  /// Of those, how many have no request.
  private var idleHTTP2 = 0
  /// Requests under way.
  package var active: Int { requests }
  private var requests = 0
  /// A request is under way that finds out whether it serves again.
  package var isProbed: Bool { hasProbe }
  private var hasProbe = false
  /// Connections that are being made.
  private(set) var opening = 0
  /// Failures to connect in a row, and until when none is tried after the last (monotonic ms).
  private var failures = 0
  private var restsUntilMilliseconds: UInt64 = 0
  /// It said that it has just started; asked again from then on.
  private(set) var startsUntilMilliseconds: UInt64 = 0
  /// Open connections over which it has answered otherwise than that. They end with its process.
  private var answering = 0
  /// Its plan was replaced: connections are closed instead of kept.
  var isRetired = false

  package init(
    address: SocketAddress, text: String, tls: TLSClientContext?, isHTTP2: Bool = false, idleMax: Int,
    status: ServerStatus, bit: UInt64, worker: Int = 0
  ) {
    self.address = address
    self.text = Array(text.utf8)
    self.tls = tls
    self.isHTTP2 = isHTTP2
    self.idleMax = idleMax
    self.status = status
    counts = status.counts[worker]
    self.bit = bit
    hash = Balance.hash(text.utf8)
    idle = WorkList(capacity: idleMax)
  }

  /// Takes over what the configuration says of it.
  package func configure(weight: Int, isBackup: Bool, connectionsMax: Int) {
    self.weight = weight
    self.isBackup = isBackup
    self.connectionsMax = connectionsMax
  }

  /// The Host that its requests get where the upstream rewrites it.
  var hostField: [UInt8] = []

  func take(_ sticky: StickyCookie?) {
    token = sticky?.token(of: String(decoding: text, as: UTF8.self)) ?? []
    cookieLines = sticky.map { ($0.line(token, isSecure: true), $0.line(token, isSecure: false)) } ?? ([], [])
  }

  func cookieLine(isSecure: Bool) -> [UInt8] { isSecure ? cookieLines.secure : cookieLines.plain }

  // MARK: Connections and exchanges

  /// Gives a connection to an exchange, which has a place here if places are counted.
  func attach(_ u: Upstream, to x: Exchange, _ worker: Worker) {
    u.exchange = x
    x.upstream = u
    requests += 1
    if status.isMarked, status.standing(nowMilliseconds: worker.nowMilliseconds) == .onProbation {
      hasProbe = true
      x.isProbe = true
    }
    noteTry(of: x, isReused: u.served > 0, worker)
    if u.phase == .ready { x.timing.noteReady(worker.nowMicroseconds) }
    worker.wheel.set(u.timer, deadlineMilliseconds: 0)
  }

  /// A try of a request is this server's, even if no connection comes about.
  func noteTry(of x: Exchange, isReused: Bool, _ worker: Worker) {
    x.server = self
    x.triedServers |= bit
    x.upstreamStartedMicroseconds = worker.nowMicroseconds
    x.timing.beginTry()
    x.machine.attempt(reused: isReused)
  }

  /// Takes a connection from its exchange, and gives its place to whoever waits.
  func detach(_ u: Upstream, _ worker: Worker) {
    guard let x = u.exchange else { return }
    u.exchange = nil
    x.upstream = nil
    requests -= 1
    endProbe(of: x)
    ServerQueue.leavePlace(x, worker)
  }

  /// What a request was to find out about this server is known.
  func endProbe(of x: Exchange) {
    guard x.isProbe else { return }
    x.isProbe = false
    hasProbe = false
  }

  /// For tests of the choice: so many requests are under way, and one of them finds out whether the server serves again.
  package func pretend(active: Int, isProbed: Bool = false) {
    requests = active
    hasProbe = isProbed
  }

  /// It has as many requests as it may.
  var isFull: Bool { status.isFull(most: connectionsMax) }

  /// The idle connection that was used last.
  func takeIdle(_ worker: Worker) -> Upstream? {
    guard let u = idle.popLast() else { return nil }
    u.isIdle = false
    worker.idleUpstreams -= 1
    return u
  }

  /// The connection without a request that has been kept longest.
  var oldestIdle: Upstream? { idle.first ?? (idleHTTP2 > 0 ? http2.first(where: \.isIdle) : nil) }

  /// Keeps a connection for another request. False when it has enough of them, or descriptors are short.
  func keep(_ u: Upstream, _ worker: Worker) -> Bool {
    guard idle.count < idleMax, !worker.shared.isShortOfServerConnections else { return false }
    idle.append(u)
    u.isIdle = true
    worker.idleUpstreams += 1
    return true
  }

  /// A shared connection of HTTP/2 that takes another request; `isNew`: over which none was answered yet.
  func takeHTTP2(isNew: Bool) -> HTTP2Client? {
    for at in 0..<http2.count {
      let u = http2[at]
      if let client = u.http2, client.mayOpen, !isNew || u.served == 0 { return client }
    }
    return nil
  }

  func keepHTTP2(_ u: Upstream) { http2.append(u) }

  /// A shared connection of HTTP/2 has no request any more. False when there are enough of those, or it takes none now.
  func keepIdle(_ client: HTTP2Client, _ worker: Worker) -> Bool {
    let u = client.connection
    guard client.mayOpen else { return false }
    if u.isIdle { return true }
    guard idleHTTP2 < idleMax, !worker.shared.isShortOfServerConnections else { return false }
    u.isIdle = true
    idleHTTP2 += 1
    worker.idleUpstreams += 1
    return true
  }

  /// It has one again, or ends.
  func noteUsed(_ client: HTTP2Client, _ worker: Worker) {
    guard client.connection.isIdle else { return }
    client.connection.isIdle = false
    idleHTTP2 -= 1
    worker.idleUpstreams -= 1
  }

  /// A connection is closed.
  func forget(_ u: Upstream, _ worker: Worker) {
    if let client = u.http2 {
      noteUsed(client, worker)
      http2.removeAll { $0 === u }
    } else if u.isIdle, let at = idle.lastIndex(where: { $0 === u }) {
      _ = idle.remove(at: at)
      u.isIdle = false
      worker.idleUpstreams -= 1
    }
    detach(u, worker)
    if u.isOpening { noteOpened() }
    if u.hasAnswered { noteAnsweringEnded() }
  }

  // MARK: Whether it may have requests

  enum Availability { case serving, starting, failing, withdrawn }

  func availability(nowMilliseconds: UInt64) -> Availability {
    if status.isMarked {
      switch status.standing(nowMilliseconds: nowMilliseconds) {
      case .serving: break
      // One request at a time finds out for all; what was under way before says nothing.
      case .onProbation: if isProbed { return .failing }
      case .ejected, .checkFailed: return .failing
      case .withdrawn: return .withdrawn
      }
    }
    if !isWorthAsking(nowMilliseconds: nowMilliseconds) { return .failing }
    return startsUntilMilliseconds > nowMilliseconds ? .starting : .serving
  }

  // MARK: Whether it can be reached

  /// How long a server that could not be reached rests: the first time, and at most.
  package static let restMilliseconds: UInt64 = 1_000
  package static let restMillisecondsMax: UInt64 = 30_000

  /// No connection could be made, or it failed before the first request. True when this begins a rest, and is news.
  package func noteFailure(nowMilliseconds: UInt64) -> Bool {
    // Those that set out together fail together, and are one failure.
    guard nowMilliseconds >= restsUntilMilliseconds else { return false }
    let most = ServerPool.restMillisecondsMax
    restsUntilMilliseconds =
      nowMilliseconds + (failures < 5 ? min(ServerPool.restMilliseconds << UInt64(failures), most) : most)
    failures += 1
    return true
  }

  /// A connection is ready for requests.
  package func noteReached() {
    guard failures > 0 else { return }
    failures = 0
    restsUntilMilliseconds = 0
  }

  package func noteOpening() { opening += 1 }
  package func noteOpened() { opening -= 1 }

  /// Not while it rests; and when that is over, one request finds out for all.
  package func isWorthAsking(nowMilliseconds: UInt64) -> Bool {
    failures == 0 || (nowMilliseconds >= restsUntilMilliseconds && opening == 0)
  }

  // MARK: Whether it is starting

  /// It has just started, and is to be asked again then.
  package func noteStarting(untilMilliseconds: UInt64) { startsUntilMilliseconds = untilMilliseconds }

  /// It answered otherwise; `first` for the first time over that connection.
  package func noteAnswered(first: Bool) {
    startsUntilMilliseconds = 0
    if first { answering += 1 }
  }

  /// A connection is closed over which it had answered.
  package func noteAnsweringEnded() { answering -= 1 }

  /// The process that is there now has been heard, and is not starting: a request need not be kept for it. Where no such
  /// connection is open, it may be another process than it was.
  package var isProven: Bool { answering > 0 && startsUntilMilliseconds == 0 }
}
