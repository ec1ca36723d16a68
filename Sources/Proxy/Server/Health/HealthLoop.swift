// The checker's loop: it begins checks when they are due, drives those under way, and takes in what they come to.
//
// Non-blocking, so that servers which hang delay nobody's check; each check has one deadline. At most `underWayMax` are made at
// the same time; others wait for one to end, in the order in which they fell due.
// Invariant: each server that is to be checked has exactly one ServerCheck, which waits for its time (a timer), for its turn
// (`queue`) or for its connection (a timer: the deadline). Confined to the checker's thread.

import Platform
import Policy
import Wire

final class HealthLoop {
  enum Message: Sendable {
    case targets([HealthTarget])
    case stop
  }

  /// What the loop says to operators, at most once a minute for each `once`.
  typealias Report = @Sendable (_ text: String, _ once: String) -> Void

  let poller: Poller
  let responseHead = ResponseHead(fieldsMax: 256 + HeadGrowth.fields)
  let http2 = HTTP2Shared()
  private let mailbox: Mailbox<Message>
  private let metrics: HealthMetrics
  private let lanes: SenderLanes
  private let report: Report
  private let wheel: TimerWheel
  private let pool = BufferPool(chunkBytes: 32 * 1024, keptMax: 32)
  private let checks = Slots<ServerCheck>()
  private var slots: [HealthTarget.Key: Int] = [:]
  private var signers: [String: Signer] = [:]
  /// Slots of checks that are due.
  private var queue: ContiguousArray<Int> = []
  private var underWay = 0
  private var isStopped = false
  private var nowMilliseconds: UInt64 = 0
  private(set) var wallMilliseconds: UInt64 = 0

  static let underWayMax = 256
  /// What a signature covers of a check's request: a path of 1 KiB, a host.
  private static let signedBytesMax = 4 * 1024

  init(
    mailbox: Mailbox<Message>, metrics: HealthMetrics, lanes: SenderLanes, report: @escaping Report
  ) throws(SystemError) {
    self.mailbox = mailbox
    self.metrics = metrics
    self.lanes = lanes
    self.report = report
    poller = try Poller()
    wheel = TimerWheel(nowMilliseconds: Clock.monotonicMilliseconds())
    readClock()
    guard poller.add(source: mailbox.wakeup.descriptor, Token(.wakeup, slot: 0, generation: 0)) else {
      throw SystemError("epoll_ctl")
    }
  }

  func run() {
    while !isStopped { turn() }
    for check in checks.all where check.isUnderWay { check.close(reset: true) }
  }

  private func turn() {
    let count = poller.wait(timeoutMilliseconds: Int32(wheel.delay(nowMilliseconds: nowMilliseconds, most: 10_000)))
    readClock()
    for i in 0..<count {
      let (token, readiness) = poller.event(i)
      if token.kind == .wakeup {
        takeMessages()
      } else if let check = checks.find(token.slot, token.generation) {
        check.note(readiness)
        carryOn(check, check.advance(self))
      }
    }
    while let slot = wheel.due(nowMilliseconds: nowMilliseconds) { isDue(checks.all[slot]) }
    beginQueued()
  }

  private func readClock() {
    nowMilliseconds = Clock.monotonicMilliseconds()
    wallMilliseconds = Clock.wallMilliseconds()
  }

  private var clock: Clock.Reading {
    Clock.Reading(wallMilliseconds: wallMilliseconds, monotonicMilliseconds: nowMilliseconds)
  }

  // MARK: Targets

  private func takeMessages() {
    for message in mailbox.takeAll() {
      switch message {
      case .targets(let targets): take(targets)
      case .stop: isStopped = true
      }
    }
  }

  /// Checks these servers from now on, and no others. What is known of those that stay is kept.
  private func take(_ targets: [HealthTarget]) {
    signers = [:]
    for target in targets where target.signing != nil && signers[target.key.upstream] == nil {
      signers[target.key.upstream] = makeSigner(target)
    }
    let keys = Set(targets.map(\.key))
    for (key, slot) in slots where !keys.contains(key) { forget(key, slot) }
    for target in targets {
      if let slot = slots[target.key] {
        replace(target, at: slot)
      } else if let check = checks.take(replaces: { _ in false }, make: { [pool] in ServerCheck(slot: $0, pool: pool) })
      {
        slots[target.key] = check.slot
        check.target = target
        check.judge = HealthJudge(rise: target.rise, fall: target.fall)
        check.counts = metrics.counts(of: target.key)
        enqueue(check)
      }
    }
  }

  private func replace(_ target: HealthTarget, at slot: Int) {
    let check = checks.all[slot]
    let interval = check.target?.intervalMilliseconds
    check.target = target
    check.judge.setThresholds(rise: target.rise, fall: target.fall)
    // Whoever is told from now on may not know.
    if check.judge.state == .down { target.observer.noteHealth(passes: false, why: check.why, now: clock) }
    guard check.phase == .idle, interval != target.intervalMilliseconds else { return }
    let latest = nowMilliseconds + UInt64(target.intervalMilliseconds)
    if wheel.deadline(of: slot) > latest { wheel.set(slot, deadlineMilliseconds: latest) }
  }

  private func forget(_ key: HealthTarget.Key, _ slot: Int) {
    let check = checks.all[slot]
    if check.phase == .queued { queue.removeAll { $0 == slot } }
    if check.isUnderWay { underWay -= 1 }
    check.close(reset: true)
    wheel.set(slot, deadlineMilliseconds: 0)
    check.target?.observer.endHealth()
    check.target = nil
    check.counts = nil
    checks.give(slot)
    slots[key] = nil
    metrics.forget(key)
  }

  private func makeSigner(_ target: HealthTarget) -> Signer? {
    guard let signing = target.signing else { return nil }
    do {
      return try Signer(
        keys: signing.keys, keyID: signing.keyID, audience: signing.audience, edge: signing.edge, lanes: lanes,
        headBytesMax: HealthLoop.signedBytesMax)
    } catch {
      report("upstream \(target.key.upstream): its checks cannot be signed: \(error)", "health \(target.key.upstream)")
      return nil
    }
  }

  // MARK: Checks

  /// The timer of a server: the next check is due, or the one under way has had its time.
  private func isDue(_ check: ServerCheck) {
    guard let target = check.target else { return }
    switch check.phase {
    case .idle: enqueue(check)
    case .queued: break
    default:
      let most = check.checked?.timeoutMilliseconds ?? target.timeoutMilliseconds
      let timeout = most % 1_000 == 0 ? "\(most / 1_000)s" : "\(most)ms"
      end(check, check.expired(timeout: timeout))
    }
  }

  private func enqueue(_ check: ServerCheck) {
    check.phase = .queued
    queue.append(check.slot)
  }

  private func beginQueued() {
    var begun = 0
    while begun < queue.count, underWay < HealthLoop.underWayMax {
      let check = checks.all[queue[begun]]
      begun += 1
      guard let target = check.target else { continue }
      underWay += 1
      check.startedMilliseconds = nowMilliseconds
      wheel.set(check.slot, deadlineMilliseconds: nowMilliseconds + UInt64(target.timeoutMilliseconds))
      carryOn(check, check.begin(target, signer: signers[target.key.upstream], self))
    }
    queue.removeFirst(begun)
  }

  private func carryOn(_ check: ServerCheck, _ step: ServerCheck.Step) {
    if case .over(let outcome) = step { end(check, outcome) }
  }

  /// A check is over: its connection is closed, what it has shown is taken in, and the next one gets its time.
  private func end(_ check: ServerCheck, _ outcome: HealthOutcome) {
    guard let target = check.target else { return }
    underWay -= 1
    check.close(reset: outcome != .passed)
    let counted: HealthCounts.Result
    let result: HealthJudge.Result
    var why = "checks pass"
    switch outcome {
    case .passed: (counted, result) = (.passed, .passed)
    case .starting: (counted, result) = (.starting, .undecided)
    case .failed(let reason):
      (counted, result) = (.failed, .failed)
      why = reason
    case .skipped(let reason):
      (counted, result) = (.skipped, .undecided)
      report(
        "upstream \(target.key.upstream): server \(target.key.server) is not checked: \(reason)",
        "health \(target.key.upstream)")
    }
    let wasUnknown = check.judge.state == .unknown
    // The first one always changes it, which also ends what a process before this one knew.
    let hasChanged = check.judge.take(result)
    if hasChanged || (result == .failed && check.judge.state == .down) {
      check.why = why
      target.observer.noteHealth(passes: check.judge.state == .up, why: why, now: clock)
    }
    // Only now is it counted: whoever sees the count may rely on what it has led to.
    check.counts?.add(counted)
    let wait = HealthPace.waitMilliseconds(
      interval: target.intervalMilliseconds, isFirst: wasUnknown && hasChanged,
      isInTransition: check.judge.isInTransition, random: UInt64.random(in: 0...UInt64.max))
    wheel.set(check.slot, deadlineMilliseconds: max(nowMilliseconds + 1, check.startedMilliseconds + wait))
  }

  /// A validator in observe mode takes whatever comes: it serves, but it protects nobody.
  func warnOfObserving(_ target: HealthTarget) {
    let mark = ValidatorMark.observed
    report(
      "upstream \(target.key.upstream): \(target.key.server) \(mark.warning)", mark.warningKey(target.key.upstream))
  }
}
