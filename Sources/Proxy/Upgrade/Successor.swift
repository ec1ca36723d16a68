// The process that serves instead of this one, which drains beside it: a thread takes the rules that it goes by (HandoverRules), passes
// them on to the process before this one where that still drains, and says what is left. The other side is Predecessor.
//
// Where the connection ends before this process does, nobody says any more what is closed: the other process has ended, or one between
// this one and the service. Then nothing is known to be open, here and in the processes before: tunnels end, and no request is begun.

import Logging
import Platform
import Synchronization
import Wire

final class Successor: Sendable {
  private struct State {
    /// This process ends.
    var isOver = false
    /// Nothing can be said any more.
    var isBroken = false
    /// The number of the latest rules; 0: the new process does not say any.
    var heard: UInt64 = 0
    var said: HandoverDraining?
    var headsAreRefused = false
  }

  private let socket: HandoverSocket
  private let shared: ProcessShared
  private let reading: SuccessorLine
  /// Also held while something is sent: what a frame is cut by is never sent behind it.
  private let state = Mutex(State())

  /// How often it is looked at what is left, where nothing else happens.
  private static let reportMilliseconds: Int32 = 200

  init(_ socket: HandoverSocket, _ shared: ProcessShared) {
    self.socket = socket
    self.shared = shared
    reading = SuccessorLine(socket)
  }

  // MARK: The supervisor

  /// Goes by the rules that came with the handover, before this process drains.
  /// - Parameter rules: nil: the new process is of a version that does not say them, or says them in another way.
  /// - Returns: whether requests may still be begun here: they would get the same there.
  func begin(_ rules: HandoverRules?) -> Bool {
    guard let rules else {
      shared.operationalLog.logger.warning(
        "the new process does not say which routes it closes: their tunnels here end with the drain")
      return false
    }
    state.withLock { state in
      state.headsAreRefused = rules.areOther
      state.heard = rules.number
    }
    take(rules)
    return !rules.areOther
  }

  /// For the workers: nothing that the new process says is overtaken by a request.
  var line: SuccessorLine? { state.withLock { $0.heard > 0 } ? reading : nil }

  /// Leaves the service to the new process, and follows it on a thread of its own.
  func start() {
    // It serves, whether this arrives or not.
    try? socket.send(.done, deadlineMilliseconds: Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds)
    guard state.withLock({ $0.heard > 0 }) else { return }
    do {
      _ = try WorkerThread.start(name: "successor", processor: nil) { [self] in follow() }
    } catch {
      lose(.system(error))
    }
  }

  /// This process ends, and says what it has counted, and what those before it may still have.
  func end(_ counts: [HandoverState.Count]) {
    let (before, heard) = shared.older.said
    state.withLock { state in
      guard !state.isOver, !state.isBroken else { return }
      state.isOver = true
      let deadline = Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds
      do throws(HandoverError) {
        if state.heard > 0 {
          let last = Successor.sum(requests: 0, tunnels: 0, heard: min(state.heard, heard), before)
          try socket.send(.draining, last.bytes, deadlineMilliseconds: deadline)
        }
        try socket.send(.counts, HandoverLate(counts: counts).bytes, deadlineMilliseconds: deadline)
      } catch {
        // The new process has ended too, or will see that this one has.
      }
    }
  }

  private static func sum(
    requests: UInt64, tunnels: UInt64, heard: UInt64, _ before: HandoverDraining.Before?
  ) -> HandoverDraining {
    HandoverDraining(
      requests: requests &+ (before?.sums?.requests ?? 0), tunnels: tunnels &+ (before?.sums?.tunnels ?? 0),
      heard: heard, before: before)
  }

  // MARK: The following thread

  private func follow() {
    while !state.withLock({ $0.isOver }) {
      do throws(HandoverError) {
        try report()
        let isReadable = socket.waitReadable(
          or: shared.older.noted, timeoutMilliseconds: Successor.reportMilliseconds)
        // What is noted from here on is seen by the next report, or ends the next wait.
        shared.older.noted.clear()
        if isReadable {
          reading.begin()
          // Requests and tunnels wait for it.
          let deadline = Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds
          let bytes = try socket.receive(.rules, deadlineMilliseconds: deadline)
          do throws(HandoverFault) { take(try HandoverRules(bytes)) } catch { throw .fault(error) }
          reading.end()
        }
      } catch {
        lose(error)
        return
      }
    }
  }

  /// Nothing is heard any more of what is closed.
  private func lose(_ error: HandoverError) {
    defer { reading.close() }
    let isOver = state.withLock { state in
      state.isBroken = true
      return state.isOver
    }
    guard !isOver else { return }
    // The new process would think that this one is told.
    socket.end()
    shared.operationalLog.logger.warning(
      "upgrade: \(error), and says no more which routes are closed: tunnels end here, and no request is begun")
    take(HandoverRules.unknown(number: Clock.monotonicMicroseconds()))
  }

  private func take(_ rules: HandoverRules) {
    let refuses = state.withLock { state in
      defer { state.headsAreRefused = state.headsAreRefused || rules.areOther }
      return rules.areOther && !state.headsAreRefused
    }
    // First these: what follows takes a while where there are many routes.
    if refuses { shared.tell { _ in .refuseHeads } }
    shared.routes.pass(rules)
    shared.older.tell(number: rules.number)
    shared.routes.follow(rules)
    shared.tell { _ in .closures }
    state.withLock { $0.heard = rules.number }
  }

  private func report() throws(HandoverError) {
    let (before, heard) = shared.older.said
    let now = Successor.sum(
      requests: shared.total(.openRequests), tunnels: shared.total(.openTunnels),
      heard: min(heard, state.withLock { $0.heard }), before)
    let failure: HandoverError? = state.withLock { state in
      guard !state.isOver, state.said != now else { return nil }
      state.said = now
      do throws(HandoverError) {
        let deadline = Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds
        try socket.send(.draining, now.bytes, deadlineMilliseconds: deadline)
        return nil
      } catch {
        state.isBroken = true
        return error
      }
    }
    if let failure { throw failure }
  }
}
