// One attempt to load a configuration and everything that it names, on a thread of its own: reading files and resolving
// names can wait for a disk or a resolver for as long as these like, and the supervisor has signals to serve.
//
//   running ─► finished ─► taken (the supervisor commits it)
//      └─────► abandoned (it took too long, or the process ends): whatever it still opens is closed again
//
// Invariant: a load changes nothing that is in use. `step` says what it is waiting for.

import Platform
import Policy
import Synchronization
import Wire

final class Load: Sendable {
  /// What is in use while this load runs; nil at the start.
  struct Base: Sendable {
    let snapshot: Snapshot
    let listeners: ListenerSet
    let workers: Int
    let names: NameResolver
  }

  struct Loaded: Sendable {
    let config: Config
    let snapshot: Snapshot
    /// Where the access log goes; nil inside: nowhere; nil: where it goes already.
    let accessLog: LogFile??
    let listeners: ListenerSet
    /// The sockets that were there before, of which those that it keeps are not this load's to close.
    let before: ListenerSet?
    let admin: AdminServers.Opened
    /// In an upgrade.
    let taken: Predecessor.Taken?
    /// Findings that do not stop it, and what changes about trust.
    let notes: [String]
  }

  enum Outcome: Sendable {
    case loaded(Loaded)
    /// Lines that say what is wrong.
    case refused([String])
  }

  private struct State {
    var step = "reading the configuration"
    var outcome: Outcome?
    var isAbandoned = false
    var isOver = false
  }

  private let path: String
  private let generation: UInt64
  private let tickets: TicketKeys
  private let admin: AdminServers
  private let probeLanes: ProbeLanes
  private let base: Base?
  private let predecessor: Predecessor?
  private let state = Mutex(State())
  /// Signalled when there is an outcome.
  let finished: Wakeup
  let deadlineMilliseconds: UInt64

  init(
    path: String, generation: UInt64, tickets: TicketKeys, admin: AdminServers, probeLanes: ProbeLanes, base: Base?,
    predecessor: Predecessor? = nil, mostMilliseconds: UInt64
  ) throws(SystemError) {
    self.path = path
    self.generation = generation
    self.tickets = tickets
    self.admin = admin
    self.probeLanes = probeLanes
    self.base = base
    self.predecessor = predecessor
    finished = try Wakeup()
    deadlineMilliseconds = Clock.monotonicMilliseconds() + mostMilliseconds
  }

  func start() throws(SystemError) {
    _ = try WorkerThread.start(name: "load", processor: nil) { [self] in
      let outcome = run()
      let isLate = state.withLock { state in
        state.isOver = true
        if !state.isAbandoned { state.outcome = outcome }
        return state.isAbandoned
      }
      if isLate { discard(outcome) }
      finished.signal()
    }
  }

  // MARK: The supervisor's side

  /// Nil while it runs.
  var outcome: Outcome? { state.withLock { $0.outcome } }

  /// What it is doing.
  var step: String { state.withLock { $0.step } }

  /// Whether its thread still runs.
  var isRunning: Bool { state.withLock { !$0.isOver } }

  /// Gives it up: what it comes to is closed again, here or by its thread.
  func abandon() {
    let outcome = state.withLock { state in
      state.isAbandoned = true
      return state.outcome
    }
    if let outcome { discard(outcome) }
  }

  private func discard(_ outcome: Outcome) {
    guard case .loaded(let loaded) = outcome else { return }
    loaded.listeners.discard(keeping: loaded.before)
    loaded.admin.discard()
  }

  // MARK: The thread's side

  private func begin(_ step: String) { state.withLock { $0.step = step } }

  /// What was there before the first configuration: of the process that this one goes on for, or of systemd.
  private struct Before {
    var found: Predecessor.Found?
    var activated: [ActivatedSocket] = []
  }

  private func run() -> Outcome {
    var before = Before()
    if let predecessor {
      begin("taking over from the running process")
      do { before.found = try predecessor.receive() } catch {
        return .refused(["the running process cannot be taken over from: \(error)"])
      }
      guard let found = before.found, tickets.take(carried: found.secrets) else {
        return .refused(["the running process's keys of session tickets cannot be read"])
      }
    } else if base == nil {
      do { before.activated = try ActivatedSockets.inherited() } catch { return .refused(["\(error)"]) }
    }
    begin("reading \(path)")
    let read = ConfigReader.read(path: path)
    let said = read.diagnostics.map { $0.text(file: path) }
    guard let config = read.config else { return .refused(said) }
    do {
      return load(config, before, said, try open(config, before))
    } catch {
      return .refused(said + [error.text(config, file: path)])
    }
  }

  /// The sockets that are there already.
  private struct Present {
    var listeners: ListenerSet?
    var admin: [AdminServer.Found] = []
  }

  private func workers(_ config: Config) -> Int { base?.workers ?? config.workers ?? Processors.count }

  private func open(_ config: Config, _ before: Before) throws(ListenError) -> Present {
    let workers = workers(config)
    if let found = before.found {
      return Present(
        listeners: try ListenerSet.found(found.state, found.descriptors, workers: workers),
        admin: try ListenerSet.admin(found.state, found.descriptors))
    }
    guard !before.activated.isEmpty else { return Present(listeners: base?.listeners) }
    if let stranger = ListenerSet.strangers(before.activated, config).first {
      throw ListenError(
        message: "systemd passed a socket `\(stranger)`, and no listener has that name (FileDescriptorName=)")
    }
    return Present(
      listeners: try ListenerSet.activated(before.activated, config.listeners, workers: workers),
      admin: try ListenerSet.activatedAdmin(before.activated, config.admin))
  }

  private func load(_ config: Config, _ before: Before, _ read: [String], _ sockets: Present) -> Outcome {
    var said = read
    // At the start the admin listener answers while the rest is loaded, and says so. In an upgrade the old process answers.
    var admin = AdminServers.Opened.unchanged
    var problems: [String] = []
    do {
      admin = try self.admin.open(config.admin, found: sockets.admin)
      if base == nil, predecessor == nil {
        self.admin.take(admin)
        admin = .unchanged
      }
    } catch {
      problems.append(error.text(config, file: path))
    }
    var isTaken = false
    defer { if !isTaken { admin.discard() } }

    let generation = before.found.map { $0.state.generation + 1 } ?? generation
    let (built, findings) = Snapshot.build(
      config, generation: generation, tickets: tickets, lastKnown: { base?.names.lastKnown($0) },
      begin: { self.begin($0) })
    said += findings.map { $0.text(file: path) }
    guard let snapshot = built, problems.isEmpty else { return .refused(said + problems) }
    if let inUse = base?.snapshot.boundary ?? before.found?.boundary {
      switch ReloadGuard.judge(old: inUse, new: snapshot.boundary, file: path) {
      case .taken(let notes): said += notes
      case .refused(let why): return .refused(said + why)
      }
    }

    // A load that was given up asks nobody, and opens nothing any more.
    guard !state.withLock({ $0.isAbandoned }) else { return .refused([]) }
    begin("asking validators whether they take what is signed for them")
    // Half of what is left: a validator that does not answer must not be why loading takes too long.
    let left = deadlineMilliseconds - min(deadlineMilliseconds, Clock.monotonicMilliseconds())
    let answers = LiveValidators.findings(
      snapshot, inUse: base?.snapshot, lanes: probeLanes, mostMilliseconds: left / 2)
    let lines = answers.map { $0.text(file: path) }
    // Why it is refused comes first.
    guard !answers.contains(where: { $0.severity == .error }) else { return .refused(lines + said) }
    said += lines

    var accessLog: LogFile??
    if config.log.access != base?.snapshot.config.log.access {
      do { accessLog = .some(try openAccessLog(config.log.access, &said)) } catch {
        let finding = Diagnostic(
          .error, at: config.place(of: "log.access"), "the access log cannot be opened: \(error.call): \(error.reason)")
        return .refused(said + [finding.text(file: path)])
      }
    }

    guard !state.withLock({ $0.isAbandoned }) else { return .refused([]) }
    begin("opening listeners")
    do {
      let listeners = try ListenerSet(
        opening: config.listeners, workers: workers(config), keeping: sockets.listeners)
      if base == nil { sockets.listeners?.closeUnless(in: listeners) }
      var taken: Predecessor.Taken?
      if let predecessor, let found = before.found {
        do { taken = try prepare(predecessor, found, listeners, admin) } catch {
          listeners.discard(keeping: sockets.listeners)
          return .refused(said + ["the running process cannot be taken over from: \(error)"])
        }
      }
      isTaken = true
      return .loaded(
        Loaded(
          config: config, snapshot: snapshot, accessLog: accessLog, listeners: listeners, before: sockets.listeners,
          admin: admin, taken: taken, notes: said))
    } catch {
      return .refused(said + [error.text(config, file: path)])
    }
  }

  /// Waits until the running process leaves the service to this one.
  private func prepare(
    _ predecessor: Predecessor, _ found: Predecessor.Found, _ listeners: ListenerSet, _ admin: AdminServers.Opened
  ) throws(HandoverError) -> Predecessor.Taken {
    begin("waiting for the running process")
    let numbers = Set(listeners.open.map(\.socket))
    let kept = HandoverPrepared(
      // A socket's number is its place and 1.
      listeners: found.state.listeners.indices.filter { numbers.contains($0 + 1) },
      admin: found.state.admin.indices.filter { admin.kept.contains(found.state.admin[$0].name) })
    return try predecessor.prepare(kept, found)
  }

  private func openAccessLog(
    _ destination: Config.Log.Destination, _ said: inout [String]
  ) throws(SystemError) -> LogFile? {
    switch destination {
    case .off: return nil
    case .stdout: return LogFile(.output)
    case .file(let path):
      begin("opening the access log \(path)")
      let file = try LogFile(path: path)
      if !file.isOpen {
        said.append("\(path): the access log is a FIFO that nobody reads; its lines are lost until somebody does")
      }
      return file
    case .syslog(let path):
      begin("connecting to the syslog socket \(path)")
      let file = try LogFile(syslog: path)
      if !file.isOpen {
        said.append("\(path): nobody takes the access log there; its lines are lost until somebody does")
      }
      return file
    }
  }
}
