// One event loop on one thread: it owns its poller, its listeners' queues, its connections, its upstream pools and its
// buffers. Nothing here is shared with another worker but the replay window, the log queue and a few counts that only
// accepting touches.
//
// A turn: wait ─► read the clock once ─► each event to its connection ─► connections with more to do ─► what is due
// ─► hand over the log. The files beside this one hold what is done for a connection in each phase:
//   WorkerAccept (connections in) · WorkerRequest (head to exchange) · WorkerUpstream (connections out)
//   WorkerRelay (bodies and responses) · WorkerSettling (sending) · WorkerEnding (answers, endings, records) · WorkerTunnel

import Platform
import Policy
import Wire

package final class Worker {
  let index: Int
  let shared: ProcessShared
  let poller: Poller
  let mailbox: Mailbox<Message>
  let counters: Counters
  let log: AccessLog
  var refusedLines = RefusedLines()
  var pool: BufferPool
  let wheel: TimerWheel
  var downstreams = Slots<Downstream>()
  var upstreams = Slots<Upstream>()
  var exchanges = Slots<Exchange>()
  var plan: Plan
  var sources: [ListenerSource] = []

  // Reused for every head: what was parsed last.
  var requestHead: RequestHead
  /// What `requestHead` and `trailers` have room for.
  private(set) var fieldsMax: Int
  private var fieldNames: FieldNames
  /// Counts the makes of `requestHead`: exchanges that keep one of an older make do not hand it on.
  private(set) var headMake = 0
  var responseHead: ResponseHead
  var trailers: TrailerSection
  var responseTrailers: TrailerSection

  /// Connections that stopped only to let others have a turn.
  var queued: ContiguousArray<Downstream> = []
  private var queuedNow: ContiguousArray<Downstream> = []
  /// Slots of connections whose bytes lie ready to be sent, or whose exchange may be over: seen to when the events were.
  var settling: ContiguousArray<Int32> = []
  var settlingNow: ContiguousArray<Int32> = []

  var nowMicroseconds: UInt64 = 0
  var nowMilliseconds: UInt64 = 0
  var wallMilliseconds: UInt64 = 0
  var date = DateField()
  var isDraining = false
  var drainEndMilliseconds: UInt64 = .max
  package private(set) var isStopped = false
  var openTunnels = 0
  var idleUpstreams = 0

  // What WorkerMemory watches.
  var chunkUse = UseWatch()
  var connectionUse = UseWatch()
  var memoryWatchMilliseconds: UInt64 = 0
  var secondsBelow = 0

  /// Accepting rests while descriptors have run out.
  var pausedSources = false
  /// Indices in the timer wheel: accepting's own, then two for each slot.
  static let acceptTimer = 0
  static let firstSlotTimer = 2

  /// Events and requests that one connection may have in one turn before the others come.
  static let requestsPerTurn = 32
  /// Connections that are sent for together. Enough for one wake of the other side to serve many, few enough for what
  /// they send to stay in the processor's cache.
  static let settlingMax = 64

  package enum Message: Sendable {
    case reload(Snapshot, [ListenerSource])
    case drain(untilMilliseconds: UInt64)
    case stop
  }

  package init(
    index: Int, shared: ProcessShared, snapshot: Snapshot, sources: [ListenerSource]
  ) throws(SystemError) {
    self.index = index
    self.shared = shared
    poller = try Poller()
    mailbox = shared.mailboxes[index]
    counters = shared.counters[index]
    log = AccessLog(queue: shared.accessLog)
    pool = Worker.makePool(snapshot.config)
    wheel = TimerWheel(nowMilliseconds: Clock.monotonicMilliseconds())
    plan = Plan(snapshot: snapshot, sources: sources, shared: shared, worker: index, previous: nil)
    fieldsMax = snapshot.config.limits.fields + HeadGrowth.fields
    fieldNames = snapshot.fieldNames
    requestHead = RequestHead(fieldsMax: fieldsMax, names: fieldNames)
    responseHead = ResponseHead(fieldsMax: Worker.responseFieldsMax + HeadGrowth.fields)
    trailers = TrailerSection(fieldsMax: fieldsMax, names: snapshot.fieldNames)
    responseTrailers = TrailerSection(fieldsMax: fieldsMax, names: .response, isLenient: true)
    log.isOn = snapshot.config.log.access != .off
    readClock()
    guard poller.add(source: mailbox.wakeup.descriptor, Token(.wakeup, slot: 0, generation: 0)) else {
      throw SystemError("epoll_ctl")
    }
    open(sources)
  }

  /// How long a connection that brought no request yet is waited for when draining.
  static let drainFirstRequestMilliseconds = 1_000
  /// A response may carry more fields than we let clients send.
  static let responseFieldsMax = 256
  /// What a head may grow by when identity is written to it.
  static let headGrowthBytes = 4_096

  /// Buffers hold a whole head and what we add to it.
  static func makePool(_ config: Config) -> BufferPool {
    BufferPool(
      chunkBytes: max(64 * 1024, config.limits.headBytes + HeadGrowth.bytes) + headGrowthBytes, keptMax: 128)
  }

  var limits: HeadLimits {
    HeadLimits(headBytes: plan.config.limits.headBytes, fields: plan.config.limits.fields)
  }

  /// The limits for the request heads of a connection. An edge that has the same limits as this validator must not be
  /// refused here what it took there.
  func requestLimits(of d: Downstream) -> HeadLimits {
    isAttested(d) ? limits.withEdgeGrowth : limits
  }

  /// Requests of this connection are signed by an edge, or refused.
  func isAttested(_ d: Downstream) -> Bool {
    guard let listener = d.listener else { return false }
    return listener.trust.evidence(of: d.rule) == .attested
  }

  /// The limits for the heads of a server's responses, which are long in some applications; at an edge, with room for
  /// what a validator adds to them.
  func responseLimits(of group: UpstreamPlan?) -> HeadLimits {
    let limits = HeadLimits(headBytes: max(limits.headBytes, 16 * 1024), fields: Worker.responseFieldsMax)
    return group?.config.identity == .attest ? limits.withEdgeGrowth : limits
  }

  /// The limits for a request's trailers, or for a response's, with the same room as its head's has.
  func trailerLimits(_ grown: Bool) -> HeadLimits {
    let limits = HeadLimits(headBytes: trailerBytesMax, fields: limits.fields)
    return grown ? limits.withEdgeGrowth : limits
  }

  /// A head's parser under the present limits and names.
  func makeHead() -> RequestHead { RequestHead(fieldsMax: fieldsMax, names: fieldNames) }

  // MARK: The loop

  func run() {
    while !isStopped { turn() }
    end()
  }

  /// Closes everything, behind the last turn.
  package func end() {
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
    closeEverything()
    shared.noteStopped()
  }

  /// What is in use at this moment.
  package struct Census: Equatable, Sendable {
    package var clientConnections = 0
    package var serverConnections = 0
    package var idleServerConnections = 0
    package var exchanges = 0
    package var tunnels = 0
    package var buffers = 0
    /// Requests under way, as the servers of the present plan count them.
    package var activeRequests = 0

    package init() {}
  }

  package var census: Census {
    var census = Census()
    census.clientConnections = downstreams.usedCount
    census.serverConnections = upstreams.usedCount
    census.idleServerConnections = idleUpstreams
    census.exchanges = exchanges.usedCount
    census.tunnels = openTunnels
    census.buffers = pool.lent
    for group in plan.groups { for server in group.servers { census.activeRequests += server.active } }
    return census
  }

  /// One turn of the loop: waits for events, unless there is more to do at once, and acts on them.
  package func turn() {
    let isDone = queued.isEmpty && settling.isEmpty
    let most: UInt64 = log.hasWaiting ? AccessLog.delayMilliseconds : 1_000
    let delay = isDone ? wheel.delay(nowMilliseconds: nowMilliseconds, most: most) : 0
    let count = poller.wait(timeoutMilliseconds: Int32(delay))
    readClock()
    // Kept connections first: one that has ended, or says what nobody asked, is gone before a request looks for one.
    for i in 0..<count {
      let (token, readiness) = poller.event(i)
      guard token.kind == .upstream, let u = upstreams.find(token.slot, token.generation) else { continue }
      // One in use may be given back within this turn, and has to know by then what came on it.
      u.transport.note(readiness)
      if u.exchange == nil { progress(u) }
    }
    for i in 0..<count {
      let (token, readiness) = poller.event(i)
      switch token.kind {
      case .downstream:
        if let d = downstreams.find(token.slot, token.generation) { handle(d, readiness) }
      case .upstream:
        if let u = upstreams.find(token.slot, token.generation) { progress(u) }
      case .listener: _ = accept(token.slot)
      case .wakeup: takeMessages()
      }
      if settling.count >= Worker.settlingMax { settleOnce() }
    }
    runQueued()
    settleAll()
    while let timer = wheel.due(nowMilliseconds: nowMilliseconds) { expire(timer) }
    updateGauges()
    watchMemory()
    if nowMilliseconds >= refusedLines.dueMilliseconds { recordSuppressed() }
    log.handOver(nowMilliseconds: nowMilliseconds)
    if isDraining { endDrainIfDone() }
  }

  var clock: Clock.Reading {
    Clock.Reading(wallMilliseconds: wallMilliseconds, monotonicMilliseconds: nowMilliseconds)
  }

  func readClock() {
    nowMicroseconds = Clock.monotonicMicroseconds()
    nowMilliseconds = nowMicroseconds / 1_000
    wallMilliseconds = Clock.wallMilliseconds()
    date.update(wallMilliseconds: wallMilliseconds)
  }

  private func runQueued() {
    guard !queued.isEmpty else { return }
    swap(&queued, &queuedNow)
    for d in queuedNow {
      d.isQueued = false
      if d.phase != .free { pump(d) }
    }
    queuedNow.removeAll(keepingCapacity: true)
  }

  func enqueue(_ d: Downstream) {
    guard !d.isQueued else { return }
    d.isQueued = true
    queued.append(d)
  }

  // MARK: Events

  private func handle(_ d: Downstream, _ readiness: Readiness) {
    d.transport.note(readiness)
    // Nobody reads what we would still write: an exchange under way ends here and not at its deadline.
    if readiness.contains(.failed), d.phase == .exchange {
      if let x = d.exchange { fault(x, .clientGone) }
      return
    }
    pump(d)
  }

  /// Does for a client connection whatever can be done now.
  func pump(_ d: Downstream) {
    var requests = 0
    while true {
      switch d.phase {
      case .free: return
      case .announce: guard announce(d) else { return }
      case .handshake: guard handshake(d) else { return }
      case .head:
        guard requests < Worker.requestsPerTurn else {
          enqueue(d)
          return
        }
        requests += 1
        guard readHead(d) else { return }
      case .exchange: guard let x = d.exchange, relay(x, d) else { return }
      case .tunnel:
        if let x = d.exchange { relayTunnel(x) }
        return
      case .linger:
        linger(d)
        return
      }
    }
  }

  // MARK: Deadlines

  private func expire(_ timer: Int) {
    if timer == Worker.acceptTimer {
      resumeAccepting()
      return
    }
    let slot = (timer - Worker.firstSlotTimer) / 2
    if (timer - Worker.firstSlotTimer) % 2 == 0 {
      guard slot < downstreams.all.count else { return }
      expire(downstreams.all[slot])
    } else {
      guard slot < upstreams.all.count else { return }
      expire(upstreams.all[slot])
    }
  }

  private func expire(_ d: Downstream) {
    switch d.phase {
    case .free: return
    case .announce: refuseConnection(d, .proxyTimeout)
    case .handshake: refuseConnection(d, .handshakeTimeout)
    case .head:
      if d.input.isEmpty { closeLate(d) } else { refuseHead(d, .headTimeout, headBytes: 0) }
    case .exchange:
      guard let x = d.exchange else { return }
      if x.isBackingOff {
        tryAgain(x)
        pump(d)
      } else if x.machine.isDiscarding, d.isFlushed {
        x.machine.noteDownstreamCloses()
        settle(d)
        // It had its time.
        if d.phase == .linger { closeLate(d) }
      } else if isHoldingBack(x) {
        x.holdIsOver = true
        pump(d)
      } else if x.machine.request == .body, d.isFlushed {
        fault(x, .request(.bodyTimeout))
      } else {
        fault(x, .clientGone, refusal: .clientTimeout)
      }
    case .tunnel: if let x = d.exchange { endTunnel(x, isLate: true) }
    case .linger: lingerExpired(d)
    }
  }

  private func expire(_ u: Upstream) {
    guard u.phase != .free else { return }
    guard let x = u.exchange else {
      if u.phase == .ready { close(u) } else { unreachable(u, timedOut: true) }
      return
    }
    switch u.phase {
    case .free: return
    case .connecting, .preamble, .handshake: unreachable(u, timedOut: true)
    case .ready: fault(x, .responseTimeout)
    }
  }

  func setDeadline(_ d: Downstream, afterMilliseconds: Int) {
    wheel.set(d.timer, deadlineMilliseconds: nowMilliseconds + UInt64(afterMilliseconds))
  }

  func clearDeadline(_ d: Downstream) { wheel.set(d.timer, deadlineMilliseconds: 0) }

  // MARK: Messages

  private func takeMessages() {
    for message in mailbox.takeAll() {
      switch message {
      case .reload(let snapshot, let sources): reload(snapshot, sources)
      case .drain(let until): beginDrain(untilMilliseconds: until)
      case .stop: isStopped = true
      }
    }
  }

  private func reload(_ snapshot: Snapshot, _ new: [ListenerSource]) {
    closeSources(notIn: new)
    let old = plan
    plan = Plan(snapshot: snapshot, sources: new, shared: shared, worker: index, previous: old)
    log.isOn = snapshot.config.log.access != .off
    let fields = snapshot.config.limits.fields + HeadGrowth.fields
    if fields != fieldsMax || snapshot.config.identity.claims != old.config.identity.claims {
      fieldsMax = fields
      fieldNames = snapshot.fieldNames
      headMake += 1
      requestHead = makeHead()
      trailers = TrailerSection(fieldsMax: fieldsMax, names: snapshot.fieldNames)
      responseTrailers = TrailerSection(fieldsMax: fieldsMax, names: .response, isLenient: true)
    }
    let wanted = Worker.makePool(snapshot.config)
    // Connections made from now on get buffers of the new size; the others keep theirs.
    if wanted.chunkBytes != pool.chunkBytes { pool = wanted }
    for group in old.groups {
      for server in group.servers where server.isRetired {
        while let u = server.idle.last { close(u) }
      }
    }
    open(new)
    counters.add(.reloads)
    // Connections of sockets that are gone end when they are idle.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      if plan.listener(onSocket: d.socket) == nil { close(d) }
    }
    if isDraining { closeSources() }
  }

  // MARK: Ending

  private func beginDrain(untilMilliseconds: UInt64) {
    isDraining = true
    drainEndMilliseconds = untilMilliseconds
    // What waits in the queues is still taken: closing a listener would reset it.
    for i in sources.indices { while accept(i) {} }
    closeSources()
    // A request may have come that its event has not told of yet; `rest` closes those that have none.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      d.transport.noteReadable()
      pump(d)
    }
  }

  private func endDrainIfDone() {
    if downstreams.usedCount == 0 || nowMilliseconds >= drainEndMilliseconds { isStopped = true }
  }

  private func closeEverything() {
    closeSources()
    for d in downstreams.all where d.phase != .free {
      if let x = d.exchange { abandon(x, .draining) }
      if d.phase != .free { close(d) }
    }
    for u in upstreams.all where u.phase != .free { close(u) }
    recordSuppressed()
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
  }

  private func updateGauges() {
    counters.set(.openDownstreams, downstreams.usedCount)
    counters.set(.openUpstreams, upstreams.usedCount)
    counters.set(.idleUpstreams, idleUpstreams)
    counters.set(.openTunnels, openTunnels)
    counters.set(.lentBuffers, pool.lent)
  }
}
