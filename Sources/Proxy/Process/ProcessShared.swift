// What the threads of the process have in common. Nothing here is touched on a request's path but the replay windows, the counts of rates
// and the state of its server; the rest is for requests that wait, for accepting, for reloading and for telling operators.

import Platform
import Policy
import Synchronization
import Wire

package final class ProcessShared: Sendable {
  let windows: ReplayWindows
  package let mailboxes: [Mailbox<Worker.Message>]
  /// How often workers were told something that decides about requests. Read for each head, and seldom written, like what stands around it.
  private let told = Atomic<UInt64>(0)
  package let counters: [Counters]
  /// What was counted by the processes that this one goes on for.
  package let earlierCounters = CarriedCounters()
  package let upgrades: UpgradeDesk
  package let older: OlderProcesses
  package let accessLog: LogQueue
  let operationalLog: OperationalLog
  package let readiness: ServiceReadiness
  package let routes = RouteDirectory()
  package let routeMetrics: RouteMetrics
  package let servers: ServerDirectory
  package let health: HealthChecker
  let checkedServers = Mutex(CheckedServers())
  package let names: NameResolver
  package let collapses: CollapseMonitors
  package let walks = WalkRecorder()
  let rates: RateTable
  let passwords: PasswordChecker
  var validators: ValidatorWatch { readiness.validators }
  /// When the process began. How long ago that is only the monotonic clock tells: the other one may be set back.
  let start: Clock.Reading
  let memoryTrimmer = MemoryTrimmer()
  private let senderLanes: SendableLanes
  private let openConnections = Atomic<Int>(0)
  private let openServerConnections = Atomic<Int>(0)
  private let serverConnectionsMax = Atomic<Int>(.max)
  private let stopped = Atomic<Int>(0)
  private let drainedTunnels = Atomic<UInt64>(0)
  private let cutRequests = Atomic<Int>(0)
  private let cutTunnels = Atomic<Int>(0)
  private let clients = Mutex<[IPAddress: Int]>([:])
  /// When a kind may be reported again, in monotonic milliseconds.
  private let reported = Mutex<[String: UInt64]>([:])
  private static let reportedMax = 1_024

  // SAFETY: the lanes of a worker are reached through `lanes(worker:)` only, by that worker's thread (in tests, by the one that has all
  // workers). The last ones are those of health checks: `healthLanes`, which the supervisor
  // hands to the checker's thread as it begins.
  private struct SendableLanes: @unchecked Sendable { let all: [SenderLanes] }

  /// - Parameter continuing: the windows of the process that this one goes on for.
  package init(
    workers: Int, replayWindowBits: Int, log: OperationalLog, readiness: ServiceReadiness = ServiceReadiness(),
    probeLanes: ProbeLanes? = nil, continuing windows: ReplayWindows? = nil, upgrades: UpgradeDesk = UpgradeDesk()
  ) throws {
    self.upgrades = upgrades
    older = try OlderProcesses()
    self.readiness = readiness
    collapses = try CollapseMonitors()
    start = Clock.read()
    self.windows = windows ?? ReplayWindows(start: start, windowBits: replayWindowBits)
    servers = ServerDirectory(workers: workers)
    routeMetrics = RouteMetrics(workers: workers)
    health = try HealthChecker()
    names = try NameResolver(log: log)
    mailboxes = try (0..<workers).map { _ in try Mailbox() }
    passwords = try PasswordChecker(mailboxes)
    guard
      let rates = RateTable(
        key0: try SecureRandom.word(), key1: try SecureRandom.word(), nowMicroseconds: Clock.monotonicMicroseconds())
    else { throw SystemError("memfd_create") }
    self.rates = rates
    counters = (0..<workers).map { _ in Counters() }
    accessLog = try LogQueue(bytesMax: LogQueue.accessBytesMax)
    senderLanes = SendableLanes(
      all: try SenderLanes.make(
        workers: workers + 1, nowMilliseconds: start.wallMilliseconds, apartFrom: probeLanes?.epochBits ?? []))
    operationalLog = log
  }

  /// Of all workers, and of the processes before.
  package func total(_ counter: Counter) -> UInt64 {
    counters.reduce(earlierCounters.value(counter)) { $0 &+ $1.value(counter) }
  }
  package func total(_ refusal: Refusal) -> UInt64 {
    counters.reduce(earlierCounters.value(refusal)) { $0 &+ $1.value(refusal) }
  }

  // MARK: Telling workers

  /// Tells each worker something that decides about requests. When this returns it holds: a worker that has not taken it yet begins no
  /// request before it does, however long its turn takes.
  package func tell(_ message: (_ worker: Int) -> Worker.Message) {
    for (index, mailbox) in mailboxes.enumerated() { mailbox.post(message(index)) }
    // Behind all of them: who sees the number finds the message.
    told.add(1, ordering: .releasing)
  }

  /// Counts what `tell` was called for.
  var toldCount: UInt64 { told.load(ordering: .acquiring) }

  func lanes(worker: Int) -> SenderLanes { senderLanes.all[worker] }
  var healthLanes: SenderLanes { senderLanes.all[mailboxes.count] }

  // MARK: Limits over all workers

  /// Counts one more connection, unless there are `most` (0: no limit).
  func takeConnection(most: Int) -> Bool {
    let now = openConnections.add(1, ordering: .relaxed).newValue
    if most > 0, now > most {
      openConnections.subtract(1, ordering: .relaxed)
      return false
    }
    return true
  }

  func giveConnection() { openConnections.subtract(1, ordering: .relaxed) }

  /// Counts one more connection to a server, unless there are as many as descriptors are set aside for.
  func takeServerConnection() -> Bool {
    guard openServerConnections.add(1, ordering: .relaxed).newValue > serverConnectionsMax.load(ordering: .relaxed)
    else {
      return true
    }
    openServerConnections.subtract(1, ordering: .relaxed)
    return false
  }

  /// Three quarters of them are in use: none is kept without a request.
  var isShortOfServerConnections: Bool {
    let most = serverConnectionsMax.load(ordering: .relaxed)
    return openServerConnections.load(ordering: .relaxed) > most - most / 4
  }

  func giveServerConnection() { openServerConnections.subtract(1, ordering: .relaxed) }

  /// Divides the descriptors that the process may have: what clients, a reload and everything else need is not for servers, of which one
  /// connection of HTTP/2 can occupy as many as it has streams.
  /// - Parameter connections: clients' at most; 0: no limit.
  package func divide(descriptors: Int, connections: Int) {
    let least = descriptors / 4
    let forClients = connections == 0 ? descriptors / 2 : connections
    serverConnectionsMax.store(
      max(least, descriptors - forClients - ProcessShared.otherDescriptors), ordering: .relaxed)
  }

  /// Listeners, pollers, logs, files that are sent, the admin listener, a reload, health checks.
  private static let otherDescriptors = 256

  /// From here on messages are taken for the audience of this configuration.
  func serveAudience(of snapshot: Snapshot) {
    let config = snapshot.config
    windows.serve(
      config.verifiedAudience, keys: snapshot.keys,
      skewMilliseconds: UInt64(config.identity.clockSkewMilliseconds), at: Clock.read())
  }

  package var connectionCount: Int { openConnections.load(ordering: .relaxed) }

  /// Counts a client's connection where there is a limit on them; `counted` is what must be given back.
  func takeClient(_ address: IPAddress, most: Int, counted: inout IPAddress?) -> Bool {
    guard most > 0, counted == nil else { return true }
    let address = address.clientUnit
    let taken = clients.withLock { clients in
      let now = clients[address, default: 0]
      guard now < most else { return false }
      clients[address] = now + 1
      return true
    }
    if taken { counted = address }
    return taken
  }

  func giveClient(_ address: IPAddress) {
    clients.withLock { clients in
      guard let now = clients[address] else { return }
      clients[address] = now > 1 ? now - 1 : nil
    }
  }

  // MARK: Ending

  func noteStopped() { stopped.add(1, ordering: .relaxed) }
  package var stoppedWorkers: Int { stopped.load(ordering: .relaxed) }

  /// Which one of the process's tunnels a drain comes to, from 0 on.
  func nextDrainedTunnel() -> UInt64 { drainedTunnels.add(1, ordering: .relaxed).oldValue }

  func noteCutRequest() { cutRequests.add(1, ordering: .relaxed) }
  func noteCutTunnel() { cutTunnels.add(1, ordering: .relaxed) }
  /// What a drain, or the end of the process, has cut.
  var cut: (requests: Int, tunnels: Int) {
    (cutRequests.load(ordering: .relaxed), cutTunnels.load(ordering: .relaxed))
  }

  // MARK: Telling

  /// Says something to the operator; the same kind at most once in five seconds, or in another time, so that a fault is
  /// no flood.
  func report(_ text: @autoclosure () -> String, once kind: String, everyMilliseconds: UInt64 = 5_000) {
    let now = Clock.monotonicMilliseconds()
    let due = reported.withLock { reported in
      if let next = reported[kind], now < next { return false }
      // Kinds have names of servers in them, of which name servers may say ever new ones.
      if reported.count >= ProcessShared.reportedMax { reported = reported.filter { now < $0.value } }
      if reported.count >= ProcessShared.reportedMax { reported.removeAll() }
      reported[kind] = now + everyMilliseconds
      return true
    }
    guard due else { return }
    let line = text()
    operationalLog.logger.warning("\(line)")
  }

  // MARK: Upgrades

  /// What is known of clients, for a new process that takes it; one of an earlier version begins without.
  func carriedCollapses(for kept: HandoverPrepared) -> HandoverLate.Collapses? {
    if kept.lateSections.contains(.collapses) { return collapses.carried }
    for monitor in collapses.all where monitor.isCollapsed {
      operationalLog.logger.warning(
        "the new process is of a version that does not take over the collapse at the listener \(monitor.name), and takes what comes for usual"
      )
    }
    return nil
  }

  /// By which those who drain go. A process that drains itself passes on what it is told.
  var rulesForOlder: HandoverRules {
    let number = Clock.monotonicMicroseconds()
    var rules =
      routes.successor
      ?? routes.rules(number: number, collapsed: Set(collapses.all.filter(\.isCollapsed).map(\.name)))
    rules.areOther = rules.areOther || older.areRulesOther
    return rules
  }

  /// Something has changed about which routes are closed.
  package func tellOfRoutes() {
    tell { _ in .closures }
    older.tell()
  }
}
