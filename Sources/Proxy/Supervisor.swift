// The process: reads the configuration, opens what must be open, starts the workers, and then waits for signals.
//
//   start ─► ready ─► SIGHUP: read, check, build, swap (or keep the old and say why) ─► ready
//                 └─► SIGTERM: drain within timeouts.drain ─► end     SIGINT: end     SIGUSR1: reopen the logs
//
// Invariant: a configuration that does not check whole changes nothing.

import Logging
import Platform
import Policy
import Wire

package final class Supervisor {
  private let path: String
  private let signals: Signals
  private let tickets: TicketKeys
  private let shared: ProcessShared
  private let logger: Logger
  private var snapshot: Snapshot
  private var generation: UInt64 = 1
  private var listeners: ListenerSet
  private var threads: [WorkerThread] = []
  private var logThread: WorkerThread?
  private let admin: AdminServer

  /// Serves by the configuration at `path` until a signal ends it.
  /// - Returns: the exit status: 0 after a signal, 1 when it could not start.
  package static func run(configPath path: String) -> Int32 {
    RecordMemory.install()
    var logger = Logger(label: "countersign") { _ in StandardErrorLog() }
    logger.logLevel = .info
    do {
      let supervisor = try Supervisor(path: path, logger: logger)
      return supervisor.serve()
    } catch {
      switch error {
      case .told: break
      case .failed(let why): StandardError.write("countersign: \(why)\n")
      }
      return 1
    }
  }

  enum StartError: Error {
    /// Standard error has it already.
    case told
    case failed(String)
  }

  private init(path: String, logger: Logger) throws(StartError) {
    self.path = path
    self.logger = logger
    do {
      // Before any thread is made: they inherit the mask.
      signals = try Signals()
      tickets = try TicketKeys()
    } catch {
      throw .failed("\(error)")
    }
    guard let config = Supervisor.read(path),
      let snapshot = Supervisor.build(config, path: path, generation: 1, tickets: tickets)
    else { throw .told }
    self.snapshot = snapshot
    Supervisor.raiseOpenFiles(for: config, logger)
    let workers = config.workers ?? Processors.count
    do {
      shared = try ProcessShared(
        workers: workers, replayWindowBits: config.identity.replayWindowBits, logger: logger)
    } catch {
      throw .failed("\(error)")
    }
    if case .file(let path) = config.log.access {
      do { _ = try LogFile(path: path) } catch { throw .failed("the access log cannot be opened: \(error)") }
    }
    do {
      listeners = try ListenerSet(opening: config.listeners, workers: workers, keeping: nil)
      admin = try AdminServer(shared: shared)
      try admin.listen(config.admin)
    } catch {
      throw .failed("\(path): \(error.message)")
    }
  }

  // MARK: Loading

  private static func read(_ path: String) -> Config? {
    let result = ConfigReader.read(path: path)
    tell(result.diagnostics, path: path)
    return result.config
  }

  private static func build(_ config: Config, path: String, generation: UInt64, tickets: TicketKeys) -> Snapshot? {
    let (snapshot, diagnostics) = Snapshot.build(config, generation: generation, tickets: tickets)
    tell(diagnostics, path: path)
    return snapshot
  }

  private static func tell(_ diagnostics: [Diagnostic], path: String) {
    for diagnostic in diagnostics { StandardError.write(diagnostic.text(file: path) + "\n") }
  }

  /// Each client connection may need one to an upstream.
  private static func raiseOpenFiles(for config: Config, _ logger: Logger) {
    let limit = ProcessLimits.raiseOpenFiles()
    let wanted = config.limits.connections * 2 + 64
    if config.limits.connections == 0 || wanted <= limit { return }
    logger.warning(
      "limits.connections is \(config.limits.connections), for which \(wanted) open files may be needed, but only \(limit) are allowed; raise the limit (ulimit -n, LimitNOFILE=) or lower limits.connections"
    )
  }

  // MARK: Serving

  private func serve() -> Int32 {
    do {
      let (queue, destination, logger) = (shared.logQueue, snapshot.config.log.access, logger)
      logThread = try WorkerThread.start(name: "log", processor: nil) {
        LogThread.run(queue: queue, destination: destination) { logger.warning("\($0)") }
      }
      for index in shared.mailboxes.indices {
        let (shared, snapshot, sources) = (shared, snapshot, listeners.sources(worker: index))
        let worker = try WorkerBox(Worker(index: index, shared: shared, snapshot: snapshot, sources: sources))
        threads.append(
          try WorkerThread.start(name: "worker-\(index)", processor: index) { worker.worker.run() })
      }
      try admin.start()
    } catch {
      StandardError.write("countersign: \(error)\n")
      return 1
    }
    StandardError.write(
      "ready listeners=\(readyListeners()) workers=\(threads.count) pid=\(ProcessLimits.processIdentifier)\n")
    ServiceNotifier.notify("READY=1")
    while true {
      guard let signal = signals.next(timeoutMilliseconds: -1) else { continue }
      switch signal {
      case .reload: reload()
      case .reopenLogs:
        shared.logQueue.post(.reopen)
        logger.info("logs reopened")
      case .terminate:
        drain()
        return 0
      case .interrupt:
        stop()
        return 0
      }
    }
  }

  private func readyListeners() -> String {
    var all = listeners.bound.map { "\($0.name)=\($0.text)" }
    if let admin = admin.boundText { all.append("admin=\(admin)") }
    return all.joined(separator: ",")
  }

  // MARK: Reloading

  private func reload() {
    ServiceNotifier.reloading()
    defer { ServiceNotifier.notify("READY=1") }
    guard let config = Supervisor.read(path),
      let next = Supervisor.build(config, path: path, generation: generation + 1, tickets: tickets)
    else {
      logger.error("reload refused; the configuration in use stays (what is wrong stands above)")
      return
    }
    let opened: ListenerSet
    do {
      opened = try ListenerSet(opening: config.listeners, workers: threads.count, keeping: listeners)
    } catch {
      logger.error("reload refused; the configuration in use stays: \(error.message)")
      return
    }
    do {
      try admin.listen(config.admin)
    } catch {
      opened.discard(keeping: listeners)
      logger.error("reload refused; the configuration in use stays: \(error.message)")
      return
    }
    for note in Supervisor.needsRestart(from: snapshot.config, to: config, workers: threads.count) {
      logger.warning("\(note) takes effect at the next start")
    }
    generation += 1
    if config.log.access != snapshot.config.log.access { shared.logQueue.post(.destination(config.log.access)) }
    for (index, mailbox) in shared.mailboxes.enumerated() {
      mailbox.post(.reload(next, opened.sources(worker: index)))
    }
    // Workers close what is no longer theirs; the set here only remembers what is open.
    listeners.removeSocketFiles(unlessIn: opened)
    listeners = opened
    snapshot = next
    logger.info("reloaded generation=\(generation) listeners=\(readyListeners())")
  }

  /// Settings that a running process cannot change.
  private static func needsRestart(from old: Config, to new: Config, workers: Int) -> [String] {
    var notes: [String] = []
    if let wanted = new.workers, wanted != workers { notes.append("workers: \(wanted)") }
    if old.identity.replayWindowBits != new.identity.replayWindowBits { notes.append("identity.replay_window") }
    return notes
  }

  // MARK: Ending

  /// How long the last lines of the access log may take to be written.
  private static let logEndMilliseconds: Int32 = 2_000

  private func drain() {
    ServiceNotifier.notify("STOPPING=1")
    let until = Clock.monotonicMilliseconds() + UInt64(snapshot.config.timeouts.drainMilliseconds)
    logger.info("draining for at most \(snapshot.config.timeouts.drainMilliseconds) ms")
    for mailbox in shared.mailboxes { mailbox.post(.drain(untilMilliseconds: until)) }
    // A second signal ends it at once.
    while Clock.monotonicMilliseconds() < until, shared.stoppedWorkers < threads.count {
      if let signal = signals.next(timeoutMilliseconds: 50), signal == .interrupt || signal == .terminate { break }
    }
    stop()
  }

  private func stop() {
    ServiceNotifier.notify("STOPPING=1")
    for mailbox in shared.mailboxes { mailbox.post(.stop) }
    for thread in threads { thread.join() }
    admin.stop()
    shared.logQueue.post(.stop)
    // Whoever should read standard output may have stopped: the process ends without its last lines then.
    if shared.logQueue.ended.wait(timeoutMilliseconds: Supervisor.logEndMilliseconds) {
      logThread?.join()
    } else {
      logger.warning("the access log is not being taken; its last lines are lost")
    }
    listeners.removeSocketFiles()
  }

  /// A worker is made here and handed to its thread, which alone uses it from then on.
  private final class WorkerBox: @unchecked Sendable {
    let worker: Worker
    init(_ worker: Worker) { self.worker = worker }
  }
}

/// The operational log: one line each on standard error, with the time and the level.
struct StandardErrorLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.info

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var date = DateField()
    date.update(wallMilliseconds: Clock.wallMilliseconds())
    var time = ""
    for i in 0..<24 { time.unicodeScalars.append(Unicode.Scalar(date.rfc3339[i])) }
    StandardError.write("\(time) \(event.level) \(event.message)\n")
  }
}
