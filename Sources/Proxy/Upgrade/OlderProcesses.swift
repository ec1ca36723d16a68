// What this process knows of those that it was upgraded from, as long as they drain beside it: what they still have, and whether they
// go by what it says of routes (Wire's HandoverRules). The thread that follows them writes it (Predecessor); whoever changes
// something about routes has them told; the admin thread reads it.
//
// They are a chain, of which this process is connected to the next one alone:
//
//   there ─► ended, with all before it: nothing is left
//     └────► lost: it, or those before it, may still be there, and hear nothing any more. They end what they hold by themselves
//            (Successor); until that is certain they are shown as not told

import Platform
import Policy
import Synchronization
import Wire

package final class OlderProcesses: Sendable {
  private struct State {
    var isThere = false
    var takesRules = false
    var areRulesOther = false
    /// Nil: nothing has been heard yet.
    var last: HandoverDraining?
    /// The number of the latest change that they should go by.
    var latest: UInt64 = 1
    var basis: RequestBasis?
    /// The number of the next one.
    var process: Int32 = 0
    var lost: Lost?

    /// What may still be there.
    func left(nowMilliseconds: UInt64) -> HandoverDraining.Before? {
      guard let lost else { return nil }
      // A process whose parent is gone has another one.
      if let parent = lost.parent, ProcessLimits.parentIdentifier == parent { return lost.all }
      guard let earlier = lost.earlier, nowMilliseconds < lost.earlierEndMilliseconds,
        earlier.processes.contains(where: { ProcessLimits.exists(Int32(clamping: $0)) })
      else { return nil }
      return earlier
    }

    /// What they have, as far as the next one has said it.
    func all(_ process: Int32) -> HandoverDraining.Before {
      var sums: HandoverDraining.Before.Sums?
      if takesRules, let last, last.before == nil || last.before?.sums != nil {
        sums = .init(requests: last.requests, tunnels: last.tunnels)
      }
      return .init(processes: [UInt64(process)] + (last?.before?.processes ?? []), sums: sums)
    }
  }

  private struct Lost {
    /// The next one, where it has not said that it ends.
    let parent: Int32?
    /// What it had, with those before it.
    let all: HandoverDraining.Before
    let earlier: HandoverDraining.Before?
    /// Their drain is over then. A number of a process may be another's later.
    let earlierEndMilliseconds: UInt64
  }

  private let state = Mutex(State())
  /// Signalled when they should be told.
  let changed: Wakeup
  /// Signalled when something else is known of them.
  let noted: Wakeup

  init() throws(SystemError) {
    changed = try Wakeup()
    noted = try Wakeup()
  }

  // MARK: The supervisor

  /// There is one, which gives requests what `basis` says.
  func begin(_ basis: RequestBasis, takesRules: Bool, process: Int32) {
    state.withLock { state in
      state.isThere = true
      state.process = process
      state.takesRules = takesRules
      state.basis = basis
    }
  }

  /// What this process goes by now. What an older one was once told to serve no more, it does not serve again.
  func compare(with now: RequestBasis) {
    state.withLock { state in
      if let basis = state.basis, !basis.isSame(as: now) { state.areRulesOther = true }
    }
  }

  // MARK: Telling

  /// Something has changed that they should go by: rules that are made from here on have a greater number.
  /// - Parameter number: of the rules that are passed on to them, where they are another process's.
  func tell(number: UInt64 = Clock.monotonicMicroseconds()) {
    state.withLock { $0.latest = number }
    changed.signal()
  }

  /// Waits until all that can be told go by the latest change, for `toldMilliseconds` at most.
  /// - Returns: whether they do.
  func waitUntilTold() -> Bool {
    let number = state.withLock { $0.latest }
    let until = Clock.monotonicMilliseconds() + OlderProcesses.toldMilliseconds
    while isWaitedFor(number) {
      guard Clock.monotonicMilliseconds() < until else { return false }
      Clock.sleep(milliseconds: 5)
    }
    return true
  }

  /// More than any that runs takes.
  private static let toldMilliseconds: UInt64 = 1_000

  private func isWaitedFor(_ number: UInt64) -> Bool {
    state.withLock { $0.isThere && $0.takesRules && ($0.last?.heard ?? 0) < number }
  }

  // MARK: The following thread

  func note(_ last: HandoverDraining) {
    state.withLock { $0.last = last }
    noted.signal()
  }

  /// The connection to the next one has ended.
  /// - Parameters:
  ///   - isOrderly: it has said that it ends.
  ///   - earlierMilliseconds: how long those before it may still drain.
  /// - Returns: what may still be there, and hears nothing any more.
  func end(isOrderly: Bool, earlierMilliseconds: UInt64) -> HandoverDraining.Before? {
    defer {
      changed.signal()
      noted.signal()
    }
    let process = state.withLock { $0.process }
    if !isOrderly {
      // The kernel closes what a process had a moment before it gives its children another parent.
      let until = Clock.monotonicMilliseconds() + OlderProcesses.endingMilliseconds
      while ProcessLimits.parentIdentifier == process, Clock.monotonicMilliseconds() < until {
        Clock.sleep(milliseconds: 5)
      }
    }
    let now = Clock.monotonicMilliseconds()
    return state.withLock { state in
      state.isThere = false
      var earlier = state.last?.before
      // It ends by itself then.
      if earlier?.sums == .init(requests: 0, tunnels: 0) { earlier = nil }
      state.lost = Lost(
        parent: isOrderly ? nil : process, all: state.all(process), earlier: earlier,
        earlierEndMilliseconds: now + earlierMilliseconds)
      return state.left(nowMilliseconds: now)
    }
  }

  private static let endingMilliseconds: UInt64 = 200

  // MARK: Asking

  var isThere: Bool { state.withLock { $0.isThere } }
  var areRulesOther: Bool { state.withLock { $0.areRulesOther } }
  /// One is there that cannot be told.
  var isDeaf: Bool { state.withLock { $0.isThere && !$0.takesRules } }

  /// What they have, and the number of the latest rules by which all of them go; `.max` where there is none.
  var said: (before: HandoverDraining.Before?, heard: UInt64) {
    let now = Clock.monotonicMilliseconds()
    return state.withLock { state in
      guard state.isThere else {
        let left = state.left(nowMilliseconds: now)
        return (left, left == nil ? .max : 0)
      }
      return (state.all(state.process), state.takesRules ? state.last?.heard ?? 0 : 0)
    }
  }

  /// An object for /status, or null where no older process drains.
  var json: String {
    let (before, heard) = said
    guard let before else { return "null" }
    let isTold = heard >= state.withLock { $0.latest }
    let requests = before.sums.map { "\($0.requests)" } ?? "null"
    let tunnels = before.sums.map { "\($0.tunnels)" } ?? "null"
    return "{\"told\":\(isTold),\"requests\":\(requests),\"tunnels\":\(tunnels)}"
  }
}

/// All that decides what a request gets, as far as two processes can compare it.
struct RequestBasis: Sendable {
  let boundary: TrustBoundary
  /// Digests of password files, by their paths.
  let userFiles: [String: [UInt8]]

  init(_ snapshot: Snapshot) {
    boundary = snapshot.boundary
    userFiles = snapshot.routeFiles.users.mapValues(\.digest)
  }

  init(_ found: Predecessor.Found) {
    boundary = found.boundary
    userFiles = found.state.userFiles.reduce(into: [:]) { $0[$1.path] = $1.digest }
  }

  func isSame(as other: RequestBasis) -> Bool {
    userFiles == other.userFiles && boundary.decides(as: other.boundary)
  }
}
