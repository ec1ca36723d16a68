// The process that serves instead of this one, which drains beside it: a thread takes the rules that it goes by (HandoverRules), passes
// them on to the process before this one where that still drains, and says what is left. The other side is Predecessor.

import Logging
import Platform
import Synchronization
import Wire

final class Successor: Sendable {
  private struct State {
    var isOver = false
    /// The number of the latest rules; 0: the new process does not say any.
    var heard: UInt64 = 0
    var said: HandoverDraining?
    var headsAreRefused = false
  }

  private let socket: HandoverSocket
  private let shared: ProcessShared
  /// Also held while something is sent: what a frame is cut by is never sent behind it.
  private let state = Mutex(State())

  /// How often it is looked at what is left.
  private static let reportMilliseconds: Int32 = 200

  init(_ socket: HandoverSocket, _ shared: ProcessShared) {
    self.socket = socket
    self.shared = shared
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

  /// Leaves the service to the new process, and follows it on a thread of its own.
  func start() {
    // It serves, whether this arrives or not.
    try? socket.send(.done, deadlineMilliseconds: Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds)
    guard state.withLock({ $0.heard > 0 }) else { return }
    do {
      _ = try WorkerThread.start(name: "successor", processor: nil) { [self] in follow() }
    } catch {
      shared.operationalLog.logger.warning("upgrade: what is closed from here on is not heard of here: \(error)")
    }
  }

  /// This process ends, and says what it has counted.
  func end(_ counts: [HandoverState.Count]) {
    state.withLock { state in
      guard !state.isOver else { return }
      state.isOver = true
      try? socket.send(
        .counts, HandoverLate(counts: counts).bytes,
        deadlineMilliseconds: Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds)
    }
  }

  // MARK: The following thread

  private func follow() {
    while !state.withLock({ $0.isOver }) {
      do throws(HandoverError) {
        if socket.waitReadable(timeoutMilliseconds: Successor.reportMilliseconds) {
          let bytes = try socket.receive(.rules, deadlineMilliseconds: .max)
          do throws(HandoverFault) { take(try HandoverRules(bytes)) } catch { throw .fault(error) }
        }
        try report()
      } catch {
        if case .ended = error { return }
        shared.operationalLog.logger.warning("upgrade: \(error); what is closed from here on is not heard of here")
        // The new process would think that it is.
        socket.end()
        return
      }
    }
  }

  private func take(_ rules: HandoverRules) {
    shared.routes.follow(rules)
    // Tells the process before this one too.
    shared.tellOfRoutes()
    let refuses = state.withLock { state in
      defer { state.headsAreRefused = state.headsAreRefused || rules.areOther }
      state.heard = rules.number
      return rules.areOther && !state.headsAreRefused
    }
    if refuses { for mailbox in shared.mailboxes { mailbox.post(.refuseHeads) } }
  }

  private func report() throws(HandoverError) {
    let before = shared.older.last
    var heard = state.withLock { $0.heard }
    if let before { heard = min(heard, before.heard) } else if shared.older.isDeaf { heard = 0 }
    let now = HandoverDraining(
      requests: shared.total(.openRequests) + (before?.requests ?? 0),
      tunnels: shared.total(.openTunnels) + (before?.tunnels ?? 0), heard: heard)
    let failure: HandoverError? = state.withLock { state in
      guard !state.isOver, state.said != now else { return nil }
      state.said = now
      do throws(HandoverError) {
        let deadline = Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds
        try socket.send(.draining, now.bytes, deadlineMilliseconds: deadline)
        return nil
      } catch {
        state.isOver = true
        return error
      }
    }
    if let failure { throw failure }
  }
}
