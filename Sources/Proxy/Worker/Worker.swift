// One event loop on one thread: it owns its poller, its listening sockets, its connections, its upstream pools and its
// buffers. What it shares with other workers lies in `ProcessShared`. On the path of a request that is the replay windows; the counts of
// rates, where its route has one; of its server whether it may be used and, where that has a limit, its places (`ServerStatus`). Requests
// that wait for a place or for their password to be checked do so in common; the log is handed over once a turn, what was noted of
// clients every `watchMilliseconds`; the counts of connections are touched when one comes and goes.
//
// A turn: wait ─► read the clock once ─► each event to its connection ─► connections with more to do ─► what waits to be
// compressed ─► send ─► what is due ─► hand over the log
//
// Here are the stored state and the loop; in WorkerEvents what an event, a deadline and the end of a turn mean; in WorkerMessages
// reload and drain. What is done for a connection or an exchange is theirs: they are handed the worker.

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
  let refusedLines = RefusedLines()
  var pool: BufferPool
  /// Small chunks, for what there may be many of: a stream's buffers begin with one.
  let smallPool = BufferPool(chunkBytes: 4 * 1024, keptMax: 512)
  /// What a stream's response may have waiting for its client.
  let streamPool = BufferPool(chunkBytes: 32 * 1024, keptMax: 64)
  let compressors = Compressors()
  let compressionTurn: CompressionTurn
  let http2Memory = HTTP2Memory()
  let http2Lines = HTTP2Lines(fieldsMax: Worker.http2FieldsMax)
  /// A head on its way to a session of HTTP/2.
  var http2Text: Buffer
  let wheel: TimerWheel
  let acceptor = Acceptor()
  let downstreams = Slots<Downstream>()
  let upstreams = Slots<Upstream>()
  let exchanges = Slots<Exchange>()
  /// Streams of HTTP/2, each with the exchange that it is there for.
  let streams = Slots<Downstream>()
  /// Streams to servers, likewise.
  let serverStreams = Slots<Upstream>()
  var plan: Plan
  /// Until when each route is closed, by its number; 0: open.
  var closureEnds: ContiguousArray<UInt64> = []
  /// While it drains beside the process that serves: what that one says of routes, and by what it says it.
  var successorRules: SuccessorRules?
  var successorLine: SuccessorLine?
  /// That one may answer requests otherwise: none is begun here any more.
  var refusesHeads = false
  /// While it drains beside one that serves alike: a kept connection may have another request, whose answer says that it ends.
  var takesLastRequests = false
  /// A connection ends with its response, whatever that has said of it.
  var closesKept: Bool { isDraining && !takesLastRequests }

  // Reused for every head: what was parsed last.
  var requestHead: RequestHead
  /// What `requestHead` and `trailers` have room for.
  private var fieldsMax: Int
  private var fieldNames: FieldNames
  /// Counts how often the rules for `requestHead` have changed: exchanges that keep one of an older version do not hand it on.
  private(set) var headVersion = 0
  var responseHead: ResponseHead
  private(set) var trailers: TrailerSection
  private(set) var responseTrailers: TrailerSection

  /// What it has taken of `ProcessShared.toldCount`.
  var takenCount: UInt64 = 0
  /// Something waits for what comes over the line.
  var awaitsLine = false
  /// Connections that stopped only to let others have a turn.
  private let queued = WorkList<Downstream>()
  /// Slots of connections whose bytes lie ready to be sent, or whose exchange may be over: seen to when the events were.
  let pendingFlushes = WorkList<Int32>()

  /// Servers' connections of HTTP/2 whose bytes are to be sent, and which have more to be read.
  let clientsToFlush = WorkList<HTTP2Client>()
  let clientsToRead = WorkList<HTTP2Client>()

  private(set) var nowMicroseconds: UInt64 = 0
  private(set) var nowMilliseconds: UInt64 = 0
  private(set) var wallMilliseconds: UInt64 = 0
  private(set) var date = DateField()
  /// While it drains.
  var drain: DrainSchedule?
  var isDraining: Bool { drain != nil }
  var requestsAreCut = false
  package var isStopped: Bool { hasStopped }
  var hasStopped = false
  /// Answers for requests that wait for them.
  var checkedPasswords: [PasswordChecker.Answer] = []
  /// Made with the first password.
  var knownLogins: KnownLogins?
  /// Upstreams at which requests of this worker wait for a place.
  var waitingGroups: ContiguousArray<UpstreamPlan> = []
  /// Places may have become free for them, or for another worker's.
  var offersPlaces = false
  var openTunnels = 0
  var idleUpstreams = 0
  private var memory = MemoryWatch()
  private var watchesDueMilliseconds: UInt64 = 0

  /// Indices in the timer wheel: accepting's own, then four for each slot: a client's connection, a server's, an exchange, a stream to a
  /// server.
  static let acceptTimer = 0
  static let firstSlotTimer = 4
  static let timersPerSlot = 4

  /// Requests that one connection may have in one turn before the others come.
  static let requestsPerTurn = 32
  /// Connections that are sent for together. Enough for one wake of the other side to serve many, few enough for what
  /// they send to stay in the processor's cache.
  static let flushesTogetherMax = 64
  /// How often what was noted of clients is handed over.
  static let watchMilliseconds: UInt64 = 500
  /// How long a connection that brought no request yet, or may have a last one, is waited for when draining.
  static let drainFirstRequestMilliseconds = 1_000
  /// Fields of a head on its way to HTTP/2: as many as `limits.fields` can allow, pseudo-fields, and what we add.
  private static let http2FieldsMax = 1_000 + HeadGrowth.fields + 32
  /// What a head may grow by when identity is written to it.
  static let headGrowthBytes = 4_096

  package enum Message: Sendable {
    case reload(Snapshot, [ListenerSource])
    /// The names of an upstream's servers have come to these; in the plan of that generation.
    case servers(generation: UInt64, upstream: String, [Snapshot.Server])
    /// Routes were closed or opened.
    case closures
    /// A place at a server is free that a request of this worker waits for.
    case places
    case passwordChecked(PasswordChecker.Answer)
    /// A server fails, or was taken away; or it is back.
    case server(ServerStatus)
    /// `handedOver`: sockets from which another process accepts, by their numbers.
    /// `refusesHeads`: what it serves by may answer requests otherwise.
    /// `line`: what that process says further.
    case drain(DrainSchedule, handedOver: Set<Int> = [], refusesHeads: Bool = false, line: SuccessorLine? = nil)
    /// The process that serves may answer requests otherwise from now on.
    case refuseHeads
    case stop
  }

  package init(
    index: Int, shared: ProcessShared, snapshot: Snapshot, sources: [ListenerSource],
    compressedBytesMax: Int = CompressionTurn.usualBytesMax
  ) throws(SystemError) {
    self.index = index
    self.shared = shared
    poller = try Poller()
    mailbox = shared.mailboxes[index]
    counters = shared.counters[index]
    compressionTurn = CompressionTurn(bytesMax: compressedBytesMax)
    log = AccessLog(queue: shared.accessLog)
    pool = Worker.makePool(snapshot.config)
    http2Text = Buffer(capacity: pool.chunkBytes + Worker.headGrowthBytes)
    wheel = TimerWheel(nowMilliseconds: Clock.monotonicMilliseconds())
    plan = Plan(snapshot: snapshot, sources: sources, shared: shared, worker: index, previous: nil)
    fieldsMax = snapshot.config.limits.fields + HeadGrowth.fields
    fieldNames = snapshot.fieldNames
    requestHead = RequestHead(fieldsMax: fieldsMax, names: fieldNames)
    responseHead = ResponseHead(fieldsMax: Plan.responseFieldsMax + HeadGrowth.fields)
    trailers = TrailerSection(fieldsMax: fieldsMax, names: snapshot.fieldNames)
    responseTrailers = TrailerSection(fieldsMax: fieldsMax, names: .response, isLenient: true)
    log.configure(snapshot.config.log)
    closureEnds = shared.routes.ends()
    readClock()
    guard poller.add(source: mailbox.wakeup.descriptor, Token(.wakeup, slot: 0, generation: 0)) else {
      throw SystemError("epoll_ctl")
    }
    acceptor.open(sources, self)
  }

  /// Buffers hold a whole head and what we add to it.
  private static func makePool(_ config: Config) -> BufferPool {
    BufferPool(
      chunkBytes: max(64 * 1024, config.limits.headBytes + HeadGrowth.bytes) + headGrowthBytes, keptMax: 128)
  }

  /// A head's parser under the present limits and names.
  func makeHead() -> RequestHead { RequestHead(fieldsMax: fieldsMax, names: fieldNames) }

  /// The parser of the request's trailers. What is an identity's name was decided when its head came: a reload may have brought others.
  func trailers(of x: Exchange) -> TrailerSection {
    x.headVersion == headVersion ? trailers : x.head.makeTrailers(fieldsMax: fieldsMax)
  }

  /// Replaces the parsers where a reload brings other limits or names, and the pool where buffers have another size.
  func replaceParsers(_ snapshot: Snapshot, haveNamesChanged: Bool) {
    let fields = snapshot.config.limits.fields + HeadGrowth.fields
    if fields != fieldsMax || haveNamesChanged {
      fieldsMax = fields
      fieldNames = snapshot.fieldNames
      headVersion += 1
      requestHead = makeHead()
      trailers = TrailerSection(fieldsMax: fieldsMax, names: snapshot.fieldNames)
      responseTrailers = TrailerSection(fieldsMax: fieldsMax, names: .response, isLenient: true)
    }
    let wanted = Worker.makePool(snapshot.config)
    // Connections made from now on get buffers of the new size; the others keep theirs.
    if wanted.chunkBytes != pool.chunkBytes {
      pool = wanted
      http2Text = Buffer(capacity: pool.chunkBytes + Worker.headGrowthBytes)
    }
  }

  // MARK: The loop

  func run() {
    while !hasStopped { turn() }
    end()
  }

  /// One turn of the loop: waits for events, unless there is more to do at once, and acts on them.
  package func turn() {
    let isDone =
      queued.isEmpty && pendingFlushes.isEmpty && clientsToFlush.isEmpty && clientsToRead.isEmpty && !offersPlaces
      && !compressionTurn.isAwaited && checkedPasswords.isEmpty
    let most: UInt64 = log.hasWaiting ? AccessLog.delayMilliseconds : 1_000
    // Deadlines are judged by the time from before the poll. Where this process had stood still, what came meanwhile is read first.
    let dueMilliseconds = nowMilliseconds
    let delay = isDone ? wheel.delay(nowMilliseconds: nowMilliseconds, most: most) : awaitsLine ? 1 : 0
    awaitsLine = false
    let count = poller.wait(timeoutMilliseconds: Int32(delay))
    readClock()
    if takenCount != shared.toldCount { takeMessages() }
    compressionTurn.begin()
    // Kept connections first: one that has ended, or says what nobody asked, is gone before a request looks for one.
    for i in 0..<count {
      let (token, readiness) = poller.event(i)
      guard token.kind == .upstream, let u = upstreams.find(token.slot, token.generation) else { continue }
      // One in use may be given back within this turn, and has to know by then what came on it.
      u.transport.note(readiness)
      if u.exchange == nil { carryOn(u, Dial.progress(u, self)) }
    }
    for i in 0..<count {
      let (token, readiness) = poller.event(i)
      switch token.kind {
      case .downstream:
        if let d = downstreams.find(token.slot, token.generation) { handle(d, readiness) }
      case .upstream:
        if let u = upstreams.find(token.slot, token.generation) { carryOn(u, Dial.progress(u, self)) }
      case .listener: acceptor.accept(token.slot, self)
      case .wakeup: takeMessages()
      }
      if pendingFlushes.count >= Worker.flushesTogetherMax { flushPending() }
    }
    if !checkedPasswords.isEmpty { RouteLogin.takeChecked(self) }
    runQueued()
    compressFurther()
    ServerQueue.offerPlaces(self)
    flushAll()
    while let timer = wheel.due(nowMilliseconds: dueMilliseconds) { expire(timer) }
    updateGauges()
    watchMemory()
    if nowMilliseconds >= watchesDueMilliseconds { handOverWatches() }
    if nowMilliseconds >= refusedLines.dueMilliseconds { log.recordSuppressed(self) }
    log.handOver(nowMilliseconds: nowMilliseconds)
    if isDraining { endDrainIfDone() }
  }

  var clock: Clock.Reading {
    Clock.Reading(wallMilliseconds: wallMilliseconds, monotonicMilliseconds: nowMilliseconds)
  }

  private func readClock() {
    nowMicroseconds = Clock.monotonicMicroseconds()
    nowMilliseconds = nowMicroseconds / 1_000
    wallMilliseconds = Clock.wallMilliseconds()
    // As a copy, like its readers have it: else each reading costs an exclusivity check.
    var date = date
    date.update(wallMilliseconds: wallMilliseconds)
    self.date = date
  }

  private func runQueued() {
    // Whoever is added meanwhile has the next turn.
    let clients = clientsToRead.count
    for at in 0..<clients {
      let client = clientsToRead[at]
      client.isToBeRead = false
      if client.connection.http2 === client { client.progress() }
    }
    clientsToRead.removeFirst(clients)
    let connections = queued.count
    for at in 0..<connections {
      let d = queued[at]
      d.isQueued = false
      pump(d)
    }
    queued.removeFirst(connections)
  }

  /// Those whose responses waited to be compressed further have their share of the turn.
  private func compressFurther() { while let d = compressionTurn.next() { pump(d) } }

  /// Has a connection carried on in the next turn.
  func enqueue(_ d: Downstream) {
    guard !d.isQueued else { return }
    d.isQueued = true
    queued.append(d)
  }

  /// Streams have none: their exchanges' timers are enough, and the index of a stream is a connection's in the wheel.
  func setDeadline(_ d: Downstream, afterMilliseconds: Int) {
    guard !d.isStream else { return }
    wheel.set(d.timer, deadlineMilliseconds: nowMilliseconds + UInt64(afterMilliseconds))
  }

  func clearDeadline(_ d: Downstream) { if !d.isStream { wheel.set(d.timer, deadlineMilliseconds: 0) } }

  // MARK: What is in use

  /// What is in use at this moment.
  package struct Census: Equatable, Sendable {
    package var clientConnections = 0
    package var serverConnections = 0
    package var idleServerConnections = 0
    package var exchanges = 0
    package var tunnels = 0
    package var buffers = 0
    /// Streams of HTTP/2, from clients and to servers.
    package var streams = 0
    /// Requests under way, as the servers of the present plan count them.
    package var activeRequests = 0
    package var compressedResponses = 0

    package init() {}
  }

  package var census: Census {
    var census = Census()
    census.clientConnections = downstreams.usedCount
    census.serverConnections = upstreams.usedCount
    census.idleServerConnections = idleUpstreams
    census.exchanges = exchanges.usedCount
    census.tunnels = openTunnels
    census.streams = streams.usedCount + serverStreams.usedCount
    census.compressedResponses = compressors.used
    census.buffers = pool.lent + smallPool.lent + streamPool.lent
    for group in plan.groups { for server in group.servers { census.activeRequests += server.active } }
    return census
  }

  /// The retry budgets of the present plan's upstreams.
  package var retryBudgets: [RetryBudget] { plan.groups.map(\.budget) }

  /// What was noted of clients goes to the monitors of all workers.
  private func handOverWatches() {
    watchesDueMilliseconds = nowMilliseconds + Worker.watchMilliseconds
    for listener in plan.listeners { listener.watch.handOver(self) }
  }

  private func updateGauges() {
    counters.set(.openDownstreams, downstreams.usedCount)
    counters.set(.openUpstreams, upstreams.usedCount)
    counters.set(.idleUpstreams, idleUpstreams)
    counters.set(.openRequests, exchanges.usedCount - openTunnels)
    counters.set(.openTunnels, openTunnels)
    counters.set(.lentBuffers, pool.lent + smallPool.lent + streamPool.lent)
  }

  private func watchMemory() {
    let finding = memory.note(
      chunks: pool.lent, connections: downstreams.usedCount,
      isQuiet: queued.isEmpty && pendingFlushes.isEmpty && !compressionTurn.isAwaited,
      nowMilliseconds: nowMilliseconds)
    guard finding == .giveBack else { return }
    pool.release(keeping: MemoryWatch.quietChunks)
    downstreams.shrink()
    upstreams.shrink()
    exchanges.shrink()
    streams.shrink()
    serverStreams.shrink()
    smallPool.release(keeping: MemoryWatch.quietChunks)
    streamPool.release(keeping: MemoryWatch.quietChunks)
    http2Memory.release()
    compressors.release(keeping: Compressors.quietCount)
    shared.memoryTrimmer.trim()
  }
}
