// The names among the servers of the configuration in use: asked for again when their answers are no longer to be relied on, and the
// servers that they come to handed to the workers when these change.
//
//   new ─► asked (a thread) ─► answered ─► due after its TTL ─► asked …
//                    └───────► failed: what was known stays; due after 1 s, 2 s, … 30 s ─► asked …
//
// One thread watches what is due; each question has a thread of its own while it lasts, because the system's resolver hangs for as
// long as it likes. Nothing of it is on a request's path.
//
// Invariants: a name is asked for once at a time; an answer never leaves an upstream with less than it had (a failure changes
// nothing), and never with servers that its configuration would be refused for; what workers are told belongs to the configuration of
// that generation.

import Logging
import Platform
import Policy
import Synchronization
import Wire

package final class NameResolver: Sendable {
  /// Bounds of how long an answer holds, whatever its TTL is.
  package static let ttlMilliseconds: ClosedRange<UInt64> = 1_000...3_600_000
  /// How long one holds that DNS knows nothing of: /etc/hosts does not say when it will change.
  package static let unknownMilliseconds: UInt64 = 30_000
  /// How long after a failure a name is asked for again: at first, and at most.
  package static let retryMilliseconds: ClosedRange<UInt64> = 1_000...30_000
  /// Questions at the same time, each a thread. Names behind that wait.
  package static let questionsMax = 8
  /// How often it is said again that a name fails.
  static let reminderMilliseconds: UInt64 = 60_000

  private struct Trouble {
    let why: String
    let sinceWallMilliseconds: UInt64
    var reminderMilliseconds: UInt64
  }

  private struct Entry {
    var answer: NameAnswer?
    /// When that came (monotonic).
    var answeredMilliseconds: UInt64 = 0
    var dueMilliseconds: UInt64 = 0
    var isAsked = false
    /// In a row.
    var failures = 0
    var trouble: Trouble?
    var isCutSaid = false

    /// Notes why it cannot be resolved; true when the operator is to be told of it (again).
    mutating func note(_ why: String, _ now: UInt64) -> Bool {
      let isDue = trouble.map { now >= $0.reminderMilliseconds } ?? true
      trouble = NameResolver.trouble(
        why, now, since: trouble?.sinceWallMilliseconds, reminder: isDue ? nil : trouble?.reminderMilliseconds)
      return isDue
    }
  }

  private struct Group {
    let config: Config.Upstream
    var servers: [Snapshot.Server]
    /// Why the last answer was not taken.
    var trouble: Trouble?
  }

  private struct State {
    var generation: UInt64 = 0
    var entries: [ServerName: Entry] = [:]
    var groups: [Group] = []
    var asked = 0
    var isStopping = false
    var change: Change?
    var succeeded: UInt64 = 0
    var failed: UInt64 = 0
    var refused: UInt64 = 0
  }

  private let state = Mutex(State())
  private let wakeup: Wakeup
  private let thread = Mutex<WorkerThread?>(nil)
  private let logger: Logger
  /// Tells everybody of an upstream's servers, under a snapshot of that generation.
  typealias Change = @Sendable (_ upstream: Config.Upstream, _ servers: [Snapshot.Server], _ generation: UInt64) -> Void

  init(log: OperationalLog) throws(SystemError) {
    wakeup = try Wakeup()
    logger = log.logger
  }

  // MARK: The supervisor's side

  /// The names of a snapshot that workers were just told to take. Where more is known of them than when it was built, workers are told.
  func take(_ snapshot: Snapshot) {
    let now = Clock.monotonicMilliseconds()
    state.withLock { state in
      let old = state.entries
      state.generation = snapshot.generation
      state.entries = [:]
      for (name, outcome) in snapshot.names.outcomes {
        var entry = old[name] ?? Entry()
        entry.dueMilliseconds = now
        switch outcome {
        case .answer(let answer):
          if entry.answer == nil || entry.answeredMilliseconds <= snapshot.names.milliseconds {
            entry.answer = answer.completed(by: entry.answer)
            entry.answeredMilliseconds = snapshot.names.milliseconds
          }
        case .failed(let why):
          // The load has said so.
          if entry.trouble == nil { entry.trouble = NameResolver.trouble(why, now) }
          entry.failures = max(1, entry.failures)
          entry.dueMilliseconds = now + NameResolver.retryMilliseconds.lowerBound
        }
        state.entries[name] = entry
      }
      state.groups = snapshot.upstreams.filter { upstream in
        upstream.config.servers.contains { ServerName($0.endpoint) != nil }
      }.map { Group(config: $0.config, servers: $0.servers) }
      for index in state.groups.indices { _ = renew(index, &state, now) }
    }
    wakeup.signal()
  }

  /// What a name came to last.
  func lastKnown(_ name: ServerName) -> NameAnswer? { state.withLock { $0.entries[name]?.answer } }

  /// - Parameter change: called one at a time.
  func start(change: @escaping Change) throws(SystemError) {
    state.withLock { $0.change = change }
    let started = try WorkerThread.start(name: "names", processor: nil) { [self] in run() }
    thread.withLock { $0 = started }
  }

  /// Ends it. False when a question still hangs, whose thread is left behind.
  func stop() -> Bool {
    state.withLock { $0.isStopping = true }
    wakeup.signal()
    let running = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    running?.join()
    return state.withLock { $0.asked == 0 }
  }

  // MARK: Asking

  private func run() {
    while true {
      wakeup.clear()
      let now = Clock.monotonicMilliseconds()
      let (names, next) = state.withLock { state in due(&state, now) }
      guard let names else { return }
      for name in names {
        do {
          try WorkerThread.start(name: "name", processor: nil) { [self] in
            finish(name, Result { () throws(NameLookup.Failure) in try NameAnswer.ask(name, wantsTTL: true) })
          }.detach()
        } catch {
          finish(name, .failure(NameLookup.Failure("\(error)")))
        }
      }
      _ = wakeup.wait(timeoutMilliseconds: next.map { Int32(clamping: $0 - now) } ?? -1)
    }
  }

  /// The names to ask for now, nil when it is to end; and when the next one is due, nil where a question has to end before.
  private func due(_ state: inout State, _ now: UInt64) -> (names: [ServerName]?, next: UInt64?) {
    if state.isStopping { return (nil, nil) }
    let waiting = state.entries.filter { !$0.value.isAsked }.sorted {
      $0.value.dueMilliseconds < $1.value.dueMilliseconds
    }
    let free = NameResolver.questionsMax - state.asked
    let names = waiting.prefix { $0.value.dueMilliseconds <= now }.prefix(free).map(\.key)
    for name in names { state.entries[name]?.isAsked = true }
    state.asked += names.count
    let next = waiting.dropFirst(names.count).first?.value.dueMilliseconds
    return (names, next.flatMap { $0 > now ? $0 : nil })
  }

  private func finish(_ name: ServerName, _ outcome: Result<NameAnswer, NameLookup.Failure>) {
    let now = Clock.monotonicMilliseconds()
    state.withLock { state in
      state.asked -= 1
      // Gone by a reload; or there again by another, which wants to know.
      guard var entry = state.entries[name] else { return }
      entry.isAsked = false
      switch outcome {
      case .failure(let failure):
        state.failed &+= 1
        entry.failures += 1
        let range = NameResolver.retryMilliseconds
        entry.dueMilliseconds = now + min(range.lowerBound << UInt64(min(entry.failures - 1, 5)), range.upperBound)
        let isDue = entry.note(failure.reason, now)
        state.entries[name] = entry
        guard isDue else { break }
        let what =
          entry.answer.map { "its last answer stays in use (\(NameResolver.text($0)))" } ?? "it has no address"
        logger.warning("server name \(name) cannot be resolved: \(failure.reason); \(what)")
      case .success(let answer):
        entry.failures = 0
        let answer = answer.completed(by: entry.answer)
        if let shortfall = answer.shortfall {
          state.failed &+= 1
          if entry.note(shortfall, now) { logger.warning("server name \(name) is resolved in part: \(shortfall)") }
        } else {
          if entry.trouble != nil {
            logger.info("server name \(name) is resolved again: \(NameResolver.text(answer))")
          }
          entry.trouble = nil
        }
        if answer.isCut, !entry.isCutSaid {
          logger.warning("server name \(name) has more than \(NameAnswer.placesMax) addresses; the rest is not used")
        }
        entry.isCutSaid = answer.isCut
        entry.answer = answer
        entry.answeredMilliseconds = now
        entry.dueMilliseconds = now + NameResolver.holdMilliseconds(answer.ttlSeconds)
        state.entries[name] = entry
        var isRefused = false
        for index in state.groups.indices
        where state.groups[index].config.servers.contains(where: { ServerName($0.endpoint) == name }) {
          if !renew(index, &state, now) { isRefused = true }
        }
        if isRefused { state.refused &+= 1 } else if answer.shortfall == nil { state.succeeded &+= 1 }
      }
    }
    wakeup.signal()
  }

  /// How long an answer holds.
  package static func holdMilliseconds(_ ttlSeconds: UInt32?) -> UInt64 {
    guard let ttlSeconds else { return unknownMilliseconds }
    return min(max(UInt64(ttlSeconds) * 1_000, ttlMilliseconds.lowerBound), ttlMilliseconds.upperBound)
  }

  // MARK: What follows

  /// Brings an upstream's servers to what is known of their names, and tells the workers.
  /// - Returns: false where it may not have these.
  private func renew(_ index: Int, _ state: inout State, _ now: UInt64) -> Bool {
    let group = state.groups[index]
    let entries = state.entries
    let servers = ServerList.make(group.config) { entries[$0]?.answer }
    if let problem = ServerList.audienceProblem(group.config, servers) {
      let last = group.trouble
      if last?.why != problem || now >= last?.reminderMilliseconds ?? 0 {
        logger.error(
          "upstream \(group.config.name): an answer of DNS is refused, and \(NameResolver.text(group.servers)) \(group.servers.count == 1 ? "stays" : "stay") in use: \(problem)"
        )
        state.groups[index].trouble = NameResolver.trouble(problem, now, since: last?.sinceWallMilliseconds)
      }
      return false
    }
    state.groups[index].trouble = nil
    guard servers != group.servers else { return true }
    state.groups[index].servers = servers
    state.change?(group.config, servers, state.generation)
    logger.info(
      "upstream \(group.config.name): servers by DNS were \(NameResolver.text(group.servers)), now \(NameResolver.text(servers))"
    )
    return true
  }

  private static func trouble(_ why: String, _ now: UInt64, since: UInt64? = nil, reminder: UInt64? = nil) -> Trouble {
    Trouble(
      why: why, sinceWallMilliseconds: since ?? Clock.wallMilliseconds(),
      reminderMilliseconds: reminder ?? now + reminderMilliseconds)
  }

  /// In a line of the log there are so many.
  private static let toldMax = 16

  private static func text(_ texts: [String]) -> String {
    guard !texts.isEmpty else { return "none" }
    let more = texts.count > toldMax ? " and \(texts.count - toldMax) more" : ""
    return texts.prefix(toldMax).joined(separator: ", ") + more
  }

  private static func text(_ servers: [Snapshot.Server]) -> String {
    text(servers.map { $0.config.isBackup ? "\($0.text) (backup)" : $0.text })
  }

  private static func text(_ answer: NameAnswer) -> String {
    text(answer.places.map(\.text))
  }

  // MARK: Showing

  var metrics: String {
    state.withLock { state in
      """
      # HELP countersign_dns_lookups_total Names of servers that were asked for; refused: an upstream may not have such servers.
      # TYPE countersign_dns_lookups_total counter
      countersign_dns_lookups_total{result="ok"} \(state.succeeded)
      countersign_dns_lookups_total{result="failed"} \(state.failed)
      countersign_dns_lookups_total{result="refused"} \(state.refused)
      # HELP countersign_dns_failing_names Names of servers that cannot be resolved now.
      # TYPE countersign_dns_failing_names gauge
      countersign_dns_failing_names \(state.entries.values.count { $0.trouble != nil })

      """
    }
  }

  /// For `/status`: what each name has come to, and why it fails.
  var json: String {
    let names = state.withLock { state in
      state.entries.sorted { "\($0.key)" < "\($1.key)" }.map { name, entry in
        let places = entry.answer?.places ?? []
        let addresses = places.map { JSONText.quote($0.text) }
        var text = "{\"name\":\(JSONText.quote("\(name)")),\"addresses\":[\(addresses.joined(separator: ","))]"
        if let ttl = entry.answer?.ttlSeconds { text += ",\"ttl\":\(ttl)" }
        if let trouble = entry.trouble {
          text += ",\"failure\":\(JSONText.quote(trouble.why))"
          text += ",\"failing_since\":\"\(Timestamp.text(milliseconds: trouble.sinceWallMilliseconds))\""
        }
        return text + "}"
      }
    }
    return "[\(names.joined(separator: ","))]"
  }
}
