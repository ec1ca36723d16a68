// The process: loads the configuration, starts the workers, and serves signals.
//
//   loading ─► ready ─► SIGHUP: load (Load), then swap, or keep the old and say why ─► ready
//      │         ├─► SIGUSR2: start another process (Upgrade), then drain beside it ─► end, or keep on and say why ─► ready
//      │         └─► SIGTERM: drain (Drain) ─► end     SIGINT: end     SIGUSR1: reopen the access log
//      └─► SIGTERM, SIGINT: end
//
// Invariants: a configuration that does not check whole changes nothing; this thread waits for nothing but signals and
// the end of a load or an upgrade, so that a signal is served within a fraction of a second whatever else hangs: a resolver, a disk,
// whoever should read a log. What hangs is left behind by the process when it ends.

import Logging
import Platform
import Policy
import Wire

package final class Supervisor {
  private let path: String
  let loadMilliseconds: UInt64
  let signals: Signals
  let tickets: TicketKeys
  let log: OperationalLog
  let admin: AdminServers
  private let probeLanes: ProbeLanes
  private let readiness = ServiceReadiness()
  var loading: Load?
  /// A SIGHUP came while a load was under way: what that one read may be old.
  var loadsAgain = false
  var upgrade: Upgrade?
  /// A SIGUSR2 came while a load was under way, or before an upgrade may begin.
  var upgradesNext = false
  /// When it may.
  var upgradeDueMilliseconds: UInt64?
  /// The process that this one goes on for.
  let predecessor: Predecessor?
  /// Loads that took too long; their threads may still hang.
  private var abandoned: [Load] = []
  /// In an upgrade, until the process before this one has left the service to it.
  var isTakingOver = false
  var serving: Serving?
  var reloads = ReloadStatus(nowMilliseconds: 0)

  var logger: Logger { log.logger }

  /// What there is once the first configuration is loaded.
  struct Serving {
    let shared: ProcessShared
    /// When it began, on the monotonic clock.
    let startedMilliseconds: UInt64
    var snapshot: Snapshot
    var listeners: ListenerSet
    var threads: [WorkerThread] = []
  }

  /// Loads that may hang at the same time; each has a thread.
  private static let abandonedMax = 4
  /// How long workers may take to stop.
  private static let stopMilliseconds: UInt64 = 5_000

  /// Serves by the configuration at `path` until a signal ends it.
  /// - Parameter loadMilliseconds: how long reading a configuration and what it names may take.
  /// - Returns: the exit status: 0 after a signal, 1 when it could not start.
  package static func run(configPath path: String, loadMilliseconds: UInt64) -> Int32 {
    let supervisor: Supervisor
    do {
      supervisor = try Supervisor(path: path, loadMilliseconds: loadMilliseconds)
    } catch {
      StandardError.write("countersign: \(error)\n")
      return 1
    }
    let code = supervisor.run()
    supervisor.admin.stop()
    supervisor.abandoned.removeAll { !$0.isRunning }
    // What standard error does not take now is lost, and so is a thread that still hangs.
    let isWhole = supervisor.log.queue.end() && supervisor.abandoned.isEmpty && supervisor.serving == nil
    if !isWhole { ProcessLimits.exitImmediately(code) }
    return code
  }

  private init(path: String, loadMilliseconds: UInt64) throws {
    self.path = path
    self.loadMilliseconds = loadMilliseconds
    // Before any thread is made: they inherit the mask.
    signals = try Signals()
    predecessor = try Predecessor()
    log = try OperationalLog.start()
    tickets = try TicketKeys()
    admin = try AdminServers(readiness: readiness)
    probeLanes = try ProbeLanes()
    try admin.start()
  }

  // MARK: Signals

  private func run() -> Int32 {
    if case .ends(let status) = beginLoad() { return status }
    while true {
      switch signals.next(or: waitedFor, timeoutMilliseconds: waitMilliseconds) {
      case .reload:
        loadsAgain = true
        loadAgain()
      case .reopenLogs: reopenLogs()
      case .upgrade: beginUpgrade()
      case .terminate:
        giveUpLoading()
        if case .ours = cancelUpgrade(.terminate) { drain() }
        return 0
      case .interrupt:
        giveUpLoading()
        if case .ours = cancelUpgrade(.interrupt) { stop() }
        return 0
      case nil: break
      }
      if let loading, case .ends(let status) = endLoad(loading) { return status }
      if let upgrade, case .handedOver = endUpgrade(upgrade) { return 0 }
      if isTakingOver, predecessor?.hasLeft == true {
        isTakingOver = false
        showReady()
      }
      if upgradesNext, let due = upgradeDueMilliseconds, Clock.monotonicMilliseconds() >= due { loadAgain() }
    }
  }

  func reopenLogs() {
    guard let serving else { return }
    serving.shared.accessLog.post(.reopen)
    logger.info("logs reopened")
  }

  // MARK: Loading

  private enum Course {
    case goesOn
    /// With this exit status.
    case ends(Int32)
  }

  private func beginLoad() -> Course {
    do {
      let base = serving.map {
        Load.Base(
          snapshot: $0.snapshot, listeners: $0.listeners, workers: $0.threads.count, names: $0.shared.names)
      }
      let load = try Load(
        path: path, generation: reloads.generation + (base == nil ? 0 : 1), tickets: tickets, admin: admin,
        probeLanes: probeLanes, base: base, predecessor: base == nil ? predecessor : nil,
        mostMilliseconds: loadMilliseconds)
      try load.start()
      loading = load
      return .goesOn
    } catch {
      refuse(["the configuration cannot be loaded: \(error)"])
      return .ends(1)
    }
  }

  /// Sees to a load that is over, or has taken too long. It ends a process that cannot start without it.
  private func endLoad(_ load: Load) -> Course {
    let outcome: Load.Outcome
    if let its = load.outcome {
      outcome = its
    } else {
      guard Clock.monotonicMilliseconds() >= load.deadlineMilliseconds else { return .goesOn }
      let step = load.step
      giveUpLoading()
      outcome = .refused(["loading \(path) took longer than \(loadMilliseconds) ms; it was still \(step)"])
    }
    loading = nil
    let isReload = serving != nil
    switch outcome {
    case .refused(let why): refuse(why)
    case .loaded(let loaded):
      for line in loaded.notes { log.say(line) }
      if isReload { take(loaded) } else { begin(loaded) }
    }
    guard serving != nil else { return .ends(1) }
    loadAgain()
    return .goesOn
  }

  private func giveUpLoading() {
    guard let load = loading else { return }
    loading = nil
    load.abandon()
    abandoned.append(load)
  }

  /// Says why a configuration is not taken.
  private func refuse(_ why: [String]) {
    for line in why { log.say(serving == nil && !line.hasPrefix("\(path):") ? "countersign: \(line)" : line) }
    guard serving != nil else {
      predecessor?.fail(why)
      return
    }
    let reason = why.first { !$0.contains(": warning: ") } ?? "for an unknown reason"
    reloads.noteFailure(reason, nowMilliseconds: Clock.wallMilliseconds())
    // Whoever has read the line sees it in the metrics.
    showReloads()
    logger.error("reload refused; the configuration in use stays (what is wrong stands above)")
  }

  func showReloads() {
    admin.set(reloads)
    ServiceNotifier.notify("READY=1\nSTATUS=\(reloads.text)")
  }

  // MARK: The start

  private func begin(_ loaded: Load.Loaded) {
    let config = loaded.config
    raiseOpenFiles(for: config)
    let threads: [WorkerThread]
    let shared: ProcessShared
    do {
      // Only now that the sockets are open: an earlier process has taken its last request, or, in an upgrade, hands over its windows.
      shared = try ProcessShared(
        workers: config.workers ?? Processors.count, replayWindowBits: config.identity.replayWindowBits, log: log,
        readiness: readiness,
        probeLanes: probeLanes, continuing: loaded.taken?.found.windows,
        upgrades: loaded.taken.map { UpgradeDesk(takingOver: $0.found.state.attempt) } ?? UpgradeDesk())
      shared.divide(descriptors: ProcessLimits.openFiles, connections: config.limits.connections)
      shared.serveAudience(of: loaded.snapshot)
      shared.routes.take(config)
      shared.servers.take(loaded.snapshot, isFirst: true, nowMilliseconds: Clock.monotonicMilliseconds())
      if let taken = loaded.taken {
        take(taken, config, shared)
        shared.older.compare(with: RequestBasis(loaded.snapshot))
      }
      let (queue, file, logger) = (shared.accessLog, loaded.accessLog ?? nil, logger)
      _ = try WorkerThread.start(name: "log-access", processor: nil) {
        LogThread(queue, to: file, name: "access log") { logger.warning("\($0)") }.run()
      }
      let start = try WorkerStart(count: shared.mailboxes.count)
      threads = try start.makeAll { index throws(SystemError) in
        try Worker(
          index: index, shared: shared, snapshot: loaded.snapshot, sources: loaded.listeners.sources(worker: index))
      }
      do {
        try shared.checkHealth(by: loaded.snapshot)
        shared.names.take(loaded.snapshot)
        try shared.names.start { [weak shared] in shared?.change($0, $1, $2) }
      } catch {
        start.giveUp(threads)
        throw error
      }
      start.run()
      if let taken = loaded.taken { try predecessor?.follow(taken, shared) }
    } catch {
      log.say("countersign: \(error)")
      predecessor?.fail(["\(error)"])
      // Those that were handed over are still the other process's.
      loaded.listeners.removeSocketFiles(keeping: Set(loaded.before?.open.map(\.socket) ?? []))
      return
    }
    let started = loaded.taken?.found.state.startedMilliseconds ?? Clock.monotonicMilliseconds()
    serving = Serving(
      shared: shared, startedMilliseconds: started, snapshot: loaded.snapshot, listeners: loaded.listeners,
      threads: threads)
    reloads = ReloadStatus(
      nowMilliseconds: Clock.wallMilliseconds(), generation: loaded.snapshot.generation,
      expiries: loaded.snapshot.expiries)
    // Who asks has an answer from the first one on.
    admin.show(shared)
    admin.set(reloads)
    setReadiness()
    admin.take(loaded.admin)
    if let taken = loaded.taken {
      isTakingOver = true
      let bits = config.identity.replayWindowBits
      if bits != taken.found.state.windowBits {
        logger.warning("identity.replay_window takes effect at the next start")
      }
    } else {
      showReady()
    }
  }

  private func setReadiness() {
    guard let serving else { return }
    let config = serving.snapshot.config
    // Attestations count whole seconds, so the first that is late enough may be made a second after the skew.
    let start = serving.shared.windows.start
    let from = max(serving.startedMilliseconds, start.startMilliseconds) + start.skewMillisecondsMax + 1_000
    let key = config.upstreams.contains { $0.identity == .attest } ? serving.snapshot.signingKey : nil
    readiness.setSigning(from: key?.notBefore, until: key?.expires)
    readiness.serve(fromMilliseconds: config.verifiedAudience != nil ? from : 0)
  }

  /// Each client connection may need one to an upstream.
  private func raiseOpenFiles(for config: Config) {
    let limit = ProcessLimits.raiseOpenFiles()
    let wanted = config.limits.connections * 2 + 64
    if config.limits.connections == 0 || wanted <= limit { return }
    logger.warning(
      "limits.connections is \(config.limits.connections), for which \(wanted) open files may be needed, but only \(limit) are allowed; raise the limit (ulimit -n, LimitNOFILE=) or lower limits.connections"
    )
  }

  func readyListeners() -> String {
    var all = serving?.listeners.bound.map { "\($0.name)=\($0.text)" } ?? []
    all += admin.boundTexts
    return all.joined(separator: ",")
  }

  // MARK: Reloading

  func beginReload() {
    ServiceNotifier.reloading()
    abandoned.removeAll { !$0.isRunning }
    if abandoned.count >= Supervisor.abandonedMax {
      let steps = abandoned.map(\.step).joined(separator: "; ")
      refuse(["\(abandoned.count) earlier loads still hang: \(steps)"])
      return
    }
    _ = beginLoad()
  }

  private func take(_ loaded: Load.Loaded) {
    guard var serving else { return }
    let (config, shared) = (loaded.config, serving.shared)
    for note in Supervisor.needsRestart(from: serving.snapshot.config, to: config, workers: serving.threads.count) {
      logger.warning("\(note) takes effect at the next start")
    }
    admin.take(loaded.admin)
    if let file = loaded.accessLog { shared.accessLog.post(.destination(file)) }
    shared.serveAudience(of: loaded.snapshot)
    shared.routes.take(config)
    for warning in shared.routes.warnings { logger.warning("\(warning)") }
    followCollapses(from: serving.snapshot.config, to: config, shared)
    shared.older.compare(with: RequestBasis(loaded.snapshot))
    shared.divide(descriptors: ProcessLimits.openFiles, connections: config.limits.connections)
    shared.servers.take(loaded.snapshot, isFirst: false, nowMilliseconds: Clock.monotonicMilliseconds())
    shared.tell { .reload(loaded.snapshot, loaded.listeners.sources(worker: $0)) }
    do { try shared.checkHealth(by: loaded.snapshot) } catch { logger.error("no health checks can be made: \(error)") }
    shared.names.take(loaded.snapshot)
    // Workers close what is no longer theirs; the set here only remembers what is open.
    serving.listeners.removeSocketFiles(unlessIn: loaded.listeners)
    serving.listeners = loaded.listeners
    serving.snapshot = loaded.snapshot
    self.serving = serving
    reloads.noteSuccess(loaded.snapshot, nowMilliseconds: Clock.wallMilliseconds())
    setReadiness()
    tellOlder(shared)
    showReloads()
    logger.info("reloaded generation=\(reloads.generation) listeners=\(readyListeners())")
  }

  /// Settings that a running process cannot change.
  private static func needsRestart(from old: Config, to new: Config, workers: Int) -> [String] {
    var notes: [String] = []
    if let wanted = new.workers, wanted != workers { notes.append("workers: \(wanted)") }
    if old.identity.replayWindowBits != new.identity.replayWindowBits { notes.append("identity.replay_window") }
    return notes
  }

  // MARK: Ending

  private func drain() {
    readiness.set(.draining, true)
    let drain = serving.map {
      Drain(shared: $0.shared, timeouts: $0.snapshot.config.timeouts, signals: signals, logger: logger)
    }
    drain?.run(reopenLogs: reopenLogs)
    stop()
    drain?.sayWhatWasCut()
  }

  /// Ends everything; `serving` is nil afterwards, unless a worker does not end.
  /// - Parameter handedOver: the sockets that another process goes on with, which is the service then; nil: there is none.
  func stop(handedOver: Set<Int>? = nil) {
    if handedOver == nil { ServiceNotifier.notify("STOPPING=1") }
    admin.stop()
    guard let serving else { return }
    let shared = serving.shared
    shared.health.stop()
    for mailbox in shared.mailboxes { mailbox.post(.stop) }
    let until = Clock.monotonicMilliseconds() + Supervisor.stopMilliseconds
    while shared.stoppedWorkers < serving.threads.count, Clock.monotonicMilliseconds() < until {
      _ = signals.next(timeoutMilliseconds: 5)
    }
    let isStopped = shared.stoppedWorkers == serving.threads.count
    let isUnasked = shared.names.stop()
    if isStopped {
      for thread in serving.threads { thread.join() }
    } else {
      logger.error("a worker does not end; its connections are cut")
    }
    // Whoever should read the log may have stopped: the process ends without its last lines then.
    let isWritten = shared.accessLog.end()
    if !isWritten { logger.warning("the access log is not being taken; its last lines are lost") }
    serving.listeners.removeSocketFiles(keeping: handedOver ?? [])
    if isStopped, isWritten, isUnasked { self.serving = nil }
  }
}
