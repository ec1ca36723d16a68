// One server of one upstream, as the whole process knows it: whether checks pass, whether it was ejected for failures, what an
// operator said, how many requests it has. Workers read it on each request without a lock: `gate` is 0 for a server of which nothing
// is known, and only then is more looked at. It outlives reloads, by the names of upstream and server (ServerDirectory).
//
// Changed by: the checker (checks), workers (failures, places), the admin listener (operators). What is said about a change is said
// by whoever makes it (ServerReports).

import Platform
import Policy
import Synchronization

package final class ServerStatus: Sendable {
  /// As it is written and shown: `10.0.0.1:80`.
  package let name: String
  /// Requests that wait for a place at any server of the upstream.
  let waiting: WaitingRequests
  /// What each worker counts of it.
  let counts: [RequestCounts]

  init(name: String, waiting: WaitingRequests, workers: Int) {
    self.name = name
    self.waiting = waiting
    counts = (0..<workers).map { _ in RequestCounts() }
  }

  // MARK: Read by workers

  /// Whether a server may have requests.
  package enum Standing: Equatable, Sendable {
    case serving
    /// It was ejected, and may try one request at a time until one succeeds.
    case onProbation
    case ejected
    case checkFailed
    /// An operator lets it have no more requests.
    case withdrawn
  }

  private struct Gate: OptionSet {
    let rawValue: UInt64
    static let checkFailed = Gate(rawValue: 1)
    static let drained = Gate(rawValue: 2)
    static let down = Gate(rawValue: 4)
    static let ejected = Gate(rawValue: 8)
    static let slow = Gate(rawValue: 16)
    static let withdrawn: Gate = [.drained, .down]
  }

  private let gate = Atomic<UInt64>(0)
  private let ejectedUntilMilliseconds = Atomic<UInt64>(0)
  private let slowFromMilliseconds = Atomic<UInt64>(0)
  private let places = Atomic<Int>(0)

  /// Something is known that may keep requests from it, or lets it have fewer.
  @inline(__always) package var isMarked: Bool { gate.load(ordering: .relaxed) != 0 }

  package func standing(nowMilliseconds: UInt64) -> Standing {
    let gate = Gate(rawValue: gate.load(ordering: .relaxed))
    if !gate.isDisjoint(with: .withdrawn) { return .withdrawn }
    if gate.contains(.checkFailed) { return .checkFailed }
    guard gate.contains(.ejected) else { return .serving }
    return nowMilliseconds < ejectedUntilMilliseconds.load(ordering: .relaxed) ? .ejected : .onProbation
  }

  /// The least share that a server has while it starts slowly, in percent.
  package static let slowShareMin = 10

  /// Its share of what it would have by its weight, in percent: less than all while it starts slowly.
  package func share(slowStartMilliseconds: Int, nowMilliseconds: UInt64) -> Int {
    guard gate.load(ordering: .relaxed) & Gate.slow.rawValue != 0 else { return 100 }
    let from = slowFromMilliseconds.load(ordering: .relaxed)
    let gone = nowMilliseconds > from ? Int(clamping: nowMilliseconds - from) : 0
    guard gone < slowStartMilliseconds else {
      remove(.slow)
      return 100
    }
    return max(ServerStatus.slowShareMin, gone * 100 / slowStartMilliseconds)
  }

  // MARK: Places

  /// Requests that it has at the same time, counted where it has a limit.
  package var placesTaken: Int { places.load(ordering: .relaxed) }

  package func isFull(most: Int) -> Bool { most > 0 && places.load(ordering: .sequentiallyConsistent) >= most }

  /// Takes a place for one request, unless there are `most`.
  package func takePlace(most: Int) -> Bool {
    var now = places.load(ordering: .relaxed)
    while now < most {
      let (isDone, other) = places.compareExchange(
        expected: now, desired: now + 1, ordering: .sequentiallyConsistent)
      if isDone { return true }
      now = other
    }
    return false
  }

  package func givePlace() { places.subtract(1, ordering: .sequentiallyConsistent) }

  // MARK: What changes it

  private struct State {
    /// When it failed, within the window; the oldest first.
    var failures: [UInt64] = []
    /// Ejections one after another.
    var ejections = 0
    var returnedMilliseconds: UInt64 = 0
    var lastFailure = ""
    /// What checks and requests have come to.
    var found = Said()
    /// What an operator has ordered. Neither may take the other's place: a check that passes says nothing of the order.
    var ordered = Said()
  }

  /// Why something is as it is, and since when.
  package struct Said: Sendable, Equatable {
    package var why = ""
    package var sinceWallMilliseconds: UInt64 = 0
    /// Of an order.
    package var user: UInt32 = 0
  }

  private let state = Mutex(State())

  private func insert(_ bit: Gate) { gate.bitwiseOr(bit.rawValue, ordering: .relaxed) }
  private func remove(_ bit: Gate) { gate.bitwiseAnd(~bit.rawValue, ordering: .relaxed) }
  private func contains(_ bit: Gate) -> Bool { gate.load(ordering: .relaxed) & bit.rawValue != 0 }

  /// It begins anew, with less than its share for a while.
  package func startSlowly(nowMilliseconds: UInt64) {
    slowFromMilliseconds.store(nowMilliseconds, ordering: .relaxed)
    insert(.slow)
  }

  /// Checks have decided. True when that is news.
  package func setChecks(pass: Bool, why: String, now: Clock.Reading) -> Bool {
    state.withLock { state in
      guard contains(.checkFailed) == pass else {
        if !pass { state.found.why = why }
        return false
      }
      state.found = Said(why: why, sinceWallMilliseconds: now.wallMilliseconds)
      if pass {
        remove(.checkFailed)
        // A server that checks find well again is not kept waiting by what requests had seen of it before.
        remove(.ejected)
        state.failures.removeAll()
        startSlowly(nowMilliseconds: now.monotonicMilliseconds)
      } else {
        insert(.checkFailed)
      }
      return true
    }
  }

  /// It is gone: nothing is known of it any more but what an operator said.
  func forget() {
    state.withLock { state in
      gate.bitwiseAnd(Gate.withdrawn.rawValue, ordering: .relaxed)
      state.failures.removeAll()
      state.ejections = 0
    }
  }

  /// No checks are made of it any more.
  func forgetChecks() { state.withLock { _ in remove(.checkFailed) } }

  /// What an operator lets a server do.
  package enum Order: String, Sendable, CaseIterable { case up, drain, down }

  package var order: Order { contains(.down) ? .down : contains(.drained) ? .drain : .up }

  /// True when that is news.
  package func setOrder(_ order: Order, user: UInt32, why: String, now: Clock.Reading) -> Bool {
    state.withLock { state in
      guard order != self.order else { return false }
      remove(.withdrawn)
      switch order {
      case .up:
        remove(.ejected)
        state.failures.removeAll()
        startSlowly(nowMilliseconds: now.monotonicMilliseconds)
      case .drain: insert(.drained)
      case .down: insert(.down)
      }
      state.ordered = Said(why: why, sinceWallMilliseconds: now.wallMilliseconds, user: user)
      return true
    }
  }

  // MARK: Failures of requests

  /// What a failure has come to.
  package enum Failed: Equatable, Sendable {
    case counted
    /// It has no requests for so long.
    case ejected(milliseconds: UInt64)
    /// It would be ejected, but too many are.
    case kept
  }

  /// A request failed at it. Called by UpstreamStatus, which knows how many others are ejected.
  func noteFailure(
    _ passive: Config.Passive, what: String, mayEject: Bool, now: Clock.Reading
  ) -> Failed {
    let time = now.monotonicMilliseconds
    return state.withLock { state in
      state.lastFailure = what
      let isOnProbation: Bool
      if contains(.ejected) {
        // What was under way when it was ejected says nothing new.
        guard time >= ejectedUntilMilliseconds.load(ordering: .relaxed) else { return .counted }
        isOnProbation = true
      } else {
        isOnProbation = false
        let window = UInt64(passive.windowMilliseconds)
        state.failures.removeAll { $0 + window <= time }
        state.failures.append(time)
        guard state.failures.count >= passive.failures else { return .counted }
      }
      guard isOnProbation || mayEject else {
        // Counting begins anew, so that this is said now and then and not for each request.
        state.failures.removeAll()
        return .kept
      }
      let settled = UInt64(max(passive.windowMilliseconds, passive.ejectMilliseconds))
      if !isOnProbation, state.returnedMilliseconds + settled <= time { state.ejections = 0 }
      let length = UInt64(passive.ejectMilliseconds) << UInt64(min(state.ejections, 4))
      state.ejections += 1
      state.failures.removeAll()
      state.found = Said(why: what, sinceWallMilliseconds: now.wallMilliseconds)
      ejectedUntilMilliseconds.store(time + length, ordering: .relaxed)
      insert(.ejected)
      return .ejected(milliseconds: length)
    }
  }

  /// A request on probation has succeeded. True when it serves again by that.
  package func noteSuccess(now: Clock.Reading) -> Bool {
    guard standing(nowMilliseconds: now.monotonicMilliseconds) == .onProbation else { return false }
    return state.withLock { state in
      guard contains(.ejected) else { return false }
      remove(.ejected)
      state.returnedMilliseconds = now.monotonicMilliseconds
      state.found.sinceWallMilliseconds = now.wallMilliseconds
      startSlowly(nowMilliseconds: now.monotonicMilliseconds)
      return true
    }
  }

  var checksFail: Bool { contains(.checkFailed) }

  /// It is ejected, or on probation.
  var isEjected: Bool { contains(.ejected) }

  // MARK: Showing

  /// For operators.
  package struct Report: Sendable {
    package let standing: Standing
    package let order: Order
    /// Why it does not serve, or what it failed at last.
    package let why: String
    package let sinceWallMilliseconds: UInt64
    package let user: UInt32
    package let startsSlowly: Bool
  }

  /// A start is over when its time is: where no requests come, or it has none, nobody has looked at that yet.
  package func report(slowStartMilliseconds: Int, nowMilliseconds: UInt64) -> Report {
    let standing = standing(nowMilliseconds: nowMilliseconds)
    let from = slowFromMilliseconds.load(ordering: .relaxed)
    let startsSlowly = contains(.slow) && nowMilliseconds < from + UInt64(slowStartMilliseconds)
    return state.withLock { state in
      let said = standing == .withdrawn ? state.ordered : state.found
      // It serves since the last of what kept it from that.
      let since = standing == .serving ? state.ordered.sinceWallMilliseconds : 0
      return Report(
        standing: standing, order: order, why: standing == .serving ? state.lastFailure : said.why,
        sinceWallMilliseconds: max(said.sinceWallMilliseconds, since), user: state.ordered.user,
        startsSlowly: startsSlowly)
    }
  }

  /// For a process that goes on: what checks have found, and what was ordered.
  var said: (found: Said, ordered: Said) { state.withLock { ($0.found, $0.ordered) } }
}
