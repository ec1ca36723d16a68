// The supervisor's part of an upgrade: begins one (SIGUSR2), goes on where it is refused, and leaves the service to the new process
// where it is not. In the new process: takes what came before the workers start.

import Platform
import Policy
import Wire

extension Supervisor {
  // MARK: In turn

  /// At most one of them is under way.
  var waitedFor: Wakeup? { loading?.finished ?? upgrade?.finished ?? (isTakingOver ? predecessor?.left : nil) }

  /// Does what had to wait for a load or an upgrade that is over.
  func loadAgain() {
    guard loading == nil, upgrade == nil, !isTakingOver else { return }
    if loadsAgain {
      loadsAgain = false
      beginReload()
    }
    if loading == nil, upgradesNext {
      upgradesNext = false
      beginUpgrade()
    }
  }

  /// When something is to be done, if no signal comes; -1: never.
  var waitMilliseconds: Int32 {
    var due = loading?.deadlineMilliseconds ?? .max
    if upgradesNext, loading == nil, let its = upgradeDueMilliseconds { due = min(due, its) }
    guard due != .max else { return -1 }
    let now = Clock.monotonicMilliseconds()
    return due > now ? Int32(clamping: due - now) : 0
  }

  // MARK: The old process

  func beginUpgrade() {
    guard let serving, predecessor?.hasLeft != false, loading == nil else {
      // A start, a load or an earlier upgrade comes to its end first.
      upgradesNext = true
      return
    }
    guard upgrade == nil else {
      logger.warning("an upgrade is under way already")
      return
    }
    // The new process has one start for all keys: with that of a key which has just come it would refuse what is signed by any. Reloads
    // go on meanwhile.
    let end = serving.shared.windows.lateStartsEndMilliseconds
    let now = Clock.monotonicMilliseconds()
    guard now >= end else {
      upgradesNext = true
      if upgradeDueMilliseconds != end {
        logger.info("upgrade: waits \(end - now) ms, until what is signed by a key that has just come is taken")
      }
      upgradeDueMilliseconds = end
      return
    }
    upgradeDueMilliseconds = nil
    let attempt = serving.shared.upgrades.begin()
    logger.info("upgrade: starting the new process")
    do {
      let upgrade = try Upgrade(
        try offer(attempt, serving), admin: admin, shared: serving.shared, loadMilliseconds: loadMilliseconds)
      try upgrade.start()
      self.upgrade = upgrade
    } catch {
      refuseUpgrade("\(error)")
    }
  }

  private func offer(_ attempt: UInt64, _ serving: Serving) throws -> Upgrade.Offer {
    let (config, keys) = (serving.snapshot.config, serving.snapshot.keys)
    // A worker may not have come to the latest reload yet: what it will mark then must be shared too.
    if let keys, let audience = config.verifiedAudience {
      guard serving.shared.windows.makeTables(for: keys, audience: audience) else {
        throw HandoverFault.malformed("the replay windows")
      }
    }
    guard let secrets = tickets.carried else { throw HandoverFault.malformed("the keys of session tickets") }
    var state = HandoverState()
    state.attempt = attempt
    state.generation = reloads.generation
    state.startedMilliseconds = serving.startedMilliseconds
    serving.snapshot.boundary.write(to: &state)
    state.takesRules = true
    state.lateSections = HandoverLate.Section.allCases
    state.userFiles = serving.snapshot.routeFiles.users.sorted { $0.key < $1.key }.map {
      HandoverState.UserFile(path: $0.key, digest: $0.value.digest)
    }
    var descriptors = serving.shared.windows.write(to: &state, first: 0)
    serving.listeners.write(to: &state, &descriptors)
    for its in admin.handedOver {
      state.admin.append(
        HandoverState.Socket(
          name: its.name, address: ListenerSet.describe(its.address), isShared: true, ownsFile: its.file != nil,
          first: descriptors.count, count: 1))
      descriptors.append(its.descriptor)
    }
    guard descriptors.count <= HandoverState.descriptorsMax else {
      throw HandoverFault.malformed("so many sockets and replay windows (\(descriptors.count))")
    }
    state.descriptors = descriptors.count
    return Upgrade.Offer(state: state, descriptors: descriptors, secrets: secrets)
  }

  private func refuseUpgrade(_ why: String) {
    serving?.shared.upgrades.refuse(why)
    logger.error("upgrade refused; this process goes on: \(why)")
  }

  /// Whose the service is.
  enum Service {
    case ours
    /// The new process's; this one has drained.
    case handedOver
  }

  /// Sees to an upgrade, which may be over.
  func endUpgrade(_ upgrade: Upgrade) -> Service {
    guard let outcome = upgrade.outcome else { return .ours }
    self.upgrade = nil
    switch outcome {
    case .refused(let why):
      refuseUpgrade(why)
      loadAgain()
      return .ours
    case .handedOver(let handed):
      // What somebody wanted of the service is for who is it now.
      if loadsAgain { Signals.send(.reload, to: handed.process) }
      if upgradesNext { Signals.send(.upgrade, to: handed.process) }
      retire(handed)
      return .handedOver
    }
  }

  /// Before the process drains by itself. A new process to which the service was left meanwhile is told the signal.
  func cancelUpgrade(_ signal: Signal) -> Service {
    guard let upgrade else {
      if upgradesNext { serving?.shared.upgrades.refuse("the process is about to end") }
      return .ours
    }
    self.upgrade = nil
    upgrade.cancel()
    // Its thread sees the end of the new process at once, or has left the service already.
    _ = upgrade.finished.wait(timeoutMilliseconds: Int32(Predecessor.stepMilliseconds))
    guard case .handedOver(let handed)? = upgrade.outcome else { return .ours }
    Signals.send(signal, to: handed.process)
    retire(handed)
    return .handedOver
  }

  /// Drains beside the new process, and tells it what was counted meanwhile.
  private func retire(_ handed: Upgrade.Handed) {
    guard let serving else { return }
    // A socket's number by its place.
    let numbers = Set(
      serving.listeners.open.enumerated().filter { handed.listeners.contains($0.offset) }.map { $0.element.socket })
    logger.info("upgraded: process \(handed.process) serves from here on; this one drains")
    let shared = serving.shared
    let successor = Successor(handed.socket, shared)
    let mayBegin = successor.begin(handed.rules)
    let drain = Drain(
      shared: shared, timeouts: serving.snapshot.config.timeouts, signals: signals, logger: logger,
      handedOver: numbers, refusesHeads: !mayBegin, line: successor.line)
    let outcome = drain.run(reopenLogs: reopenLogs) {
      // What the new process says to be done is done here, and in those before.
      if handed.rules?.areOther == true { waitForOlder(shared) }
      successor.start()
      // Behind the beginning: somebody may be being answered, slowly.
      admin.stop(keeping: handed.admin)
    }
    stop(handedOver: numbers)
    drain.sayWhatWasCut()
    if case .done(let end) = outcome { waitForPredecessor(shared, drain.timeouts, end) }
    successor.end(CarriedCounters.all(shared))
  }

  /// The process before this one hears through this one which routes are closed, and says through it what it counted: as long as it
  /// drains, this one stays. One of a version that hears nothing is waited for no longer than a step may take.
  /// - Parameter end: of the time that a signal has given already.
  private func waitForPredecessor(_ shared: ProcessShared, _ timeouts: Config.Timeouts, _ end: UInt64?) {
    guard let predecessor, predecessor.isDraining else { return }
    var end = end
    if shared.older.isDeaf {
      end = min(end ?? .max, Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds)
    } else {
      logger.info("drained; this process stays until the one before it has drained too")
    }
    var mayShorten = end == nil
    while predecessor.isDraining, Clock.monotonicMilliseconds() < end ?? .max {
      switch signals.next(or: predecessor.counted, timeoutMilliseconds: 100) {
      case .terminate where mayShorten:
        mayShorten = false
        end = Clock.monotonicMilliseconds() + UInt64(timeouts.drainMilliseconds)
        logger.info("the process before this one is waited for \(timeouts.drainMilliseconds) ms at most")
      case .terminate, .interrupt: return
      case .upgrade: shared.upgrades.refuse("the process is about to end")
      default: break
      }
    }
  }

  // MARK: The new process

  /// Has those that drain beside this one go by what a reload has brought. By other rules none of them may begin a request once this one
  /// says that it has loaded.
  func tellOlder(_ shared: ProcessShared) {
    shared.older.tell()
    if shared.older.areRulesOther { waitForOlder(shared) }
  }

  private func waitForOlder(_ shared: ProcessShared) {
    guard !shared.older.waitUntilTold() else { return }
    logger.warning(
      "an older process that drains has not heard by which rules this one goes; until it does it may begin requests by earlier ones"
    )
  }

  /// What was carried over into what the workers share, before they start.
  func take(_ taken: Predecessor.Taken, _ config: Config, _ shared: ProcessShared) {
    shared.routes.take(taken.late.closures)
    for warning in shared.routes.warnings { logger.warning("\(warning)") }
    shared.servers.take(taken.late.servers, by: config)
    shared.earlierCounters.add(taken.late.counts)
    if let carried = taken.collapses { take(carried, of: taken.found.boundary.config, config, shared) }
    shared.older.begin(
      RequestBasis(taken.found), takesRules: taken.found.state.takesRules, process: predecessor?.process ?? 0)
  }

  private func take(
    _ carried: CollapseMonitors.Carried, of old: Config, _ config: Config, _ shared: ProcessShared
  ) {
    say(lost: shared.collapses.take(carried, of: old.listeners, by: config.listeners))
    let collapsed = config.listeners.map { shared.collapses.monitor($0.name) }.filter(\.isCollapsed)
    for monitor in collapsed {
      logger.warning(
        "the collapse at the listener \(monitor.name), which the process before this one saw, lasts here too")
    }
    // Until requests come, which say so again.
    let unready = Set(config.listeners.filter(\.isUnreadyOnCollapse).map(\.name))
    let last = collapsed.filter { unready.contains($0.name) }.map(\.lastMilliseconds).max() ?? 0
    if last > 0 { shared.readiness.noteCollapse(nowMilliseconds: min(last, Clock.monotonicMilliseconds())) }
  }

  /// What is known of listeners' clients goes on to be known of those who are in their places.
  func followCollapses(from old: Config, to new: Config, _ shared: ProcessShared) {
    say(lost: shared.collapses.follow(old.listeners, new.listeners))
  }

  private func say(lost: [CollapseMonitor]) {
    for monitor in lost {
      logger.warning(
        "the collapse at the listener \(monitor.name) is not watched any more: no listener has its address, or its name"
      )
    }
  }

  /// From here on this process is the service.
  func showReady() {
    guard let serving else { return }
    if predecessor != nil { serving.shared.upgrades.finish() }
    log.say(
      "ready listeners=\(readyListeners()) workers=\(serving.threads.count) pid=\(ProcessLimits.processIdentifier)")
    showReloads()
    loadAgain()
  }
}
