// The process that this one was started by, in an upgrade: what it hands over, and the steps until this process is the service
// (Wire's HandoverFrame has the picture). The other side is Upgrade.
//
// Used by one thread after the other: the load's until it is prepared, then one of its own (`follow`), which hears what the old process
// still has and what it counted, beside one that tells it what is closed here. Invariant: this process accepts no connection before the old one has said `go`, and everything that came was
// checked: sockets are what they are said to be, and the trust of the old process can be compared. An end of the connection that was not said
// does not mean that nothing is left: OlderProcesses knows what may be.

import Platform
import Policy
import Synchronization
import Wire

final class Predecessor: Sendable {
  /// What came.
  struct Found: Sendable {
    let state: HandoverState
    let descriptors: [Int32]
    let boundary: TrustBoundary
    let windows: ReplayWindows
    let secrets: SecretBytes
  }

  /// What this process goes on with.
  struct Taken: Sendable {
    let found: Found
    let late: HandoverLate
    let collapses: CollapseMonitors.Carried?
  }

  private let socket: HandoverSocket
  /// Signalled when the old process has left the service to this one.
  let left: Wakeup
  private let isLeft = Atomic(false)
  /// Signalled when the old process has said all that it counted, or has ended without.
  let counted: Wakeup
  private let isFollowed = Atomic(false)
  private let hasEnded = Atomic(false)
  private let hasFailed = Atomic(false)
  /// Its number. It lives when this process starts.
  let process = ProcessLimits.parentIdentifier

  /// Nil where this process was not started in an upgrade.
  init?() throws(SystemError) {
    guard let socket = try HandoverSocket.inherited() else { return nil }
    self.socket = socket
    left = try Wakeup()
    counted = try Wakeup()
  }

  /// How long one step of the old process may take; it only looks up what it has.
  static let stepMilliseconds: UInt64 = 5_000

  private static var deadline: UInt64 { Clock.monotonicMilliseconds() + stepMilliseconds }

  // MARK: The load's thread

  func receive() throws(HandoverError) -> Found {
    let deadline = Predecessor.deadline
    var descriptors: [Int32] = []
    var secrets: SecretBytes?
    while true {
      var message = try socket.receive(deadlineMilliseconds: deadline)
      switch message.kind {
      case .descriptors where descriptors.count + message.descriptors.count <= HandoverState.descriptorsMax:
        descriptors += message.descriptors
      case .secrets where secrets == nil: secrets = SecretBytes(moving: &message.bytes)
      case .state:
        do throws(HandoverFault) {
          let state = try HandoverState(message.bytes)
          guard state.descriptors == descriptors.count, let secrets else {
            throw .malformed("the number of descriptors")
          }
          let boundary = try TrustBoundary(state)
          return Found(
            state: state, descriptors: descriptors, boundary: boundary,
            windows: try ReplayWindows.continuing(
              state, of: boundary.config, descriptors, nowMilliseconds: Clock.monotonicMilliseconds()),
            secrets: secrets)
        } catch {
          throw .fault(error)
        }
      default: throw .fault(.malformed("a frame out of its turn"))
      }
    }
  }

  /// Says that this process could start, and waits for the word to. Where the old process is gone instead, its sockets are this one's
  /// alone, and it starts.
  func prepare(_ kept: HandoverPrepared, _ found: Found) throws(HandoverError) -> Taken {
    var kept = kept
    // All that it can say and this process knows.
    kept.lateSections = found.state.lateSections
    do throws(HandoverError) {
      try socket.send(.prepared, kept.bytes, deadlineMilliseconds: Predecessor.deadline)
      let bytes = try socket.receive(.go, deadlineMilliseconds: Predecessor.deadline)
      do throws(HandoverFault) {
        let late = try HandoverLate(bytes)
        var collapses: CollapseMonitors.Carried?
        if let its = late.collapses { collapses = try CollapseMonitors.Carried(its) }
        return Taken(found: found, late: late, collapses: collapses)
      } catch {
        throw .fault(error)
      }
    } catch {
      guard case .ended = error else { throw error }
      return Taken(found: found, late: HandoverLate(), collapses: nil)
    }
  }

  // MARK: The supervisor

  /// Tells the old process why this one does not start; it goes on then.
  func fail(_ why: [String]) {
    guard !hasFailed.exchange(true, ordering: .relaxed) else { return }
    let text = why.joined(separator: "\n").utf8.prefix(64 * 1024)
    try? socket.send(.failed, Array(text), deadlineMilliseconds: Clock.monotonicMilliseconds() + 1_000)
  }

  var hasLeft: Bool { isLeft.load(ordering: .acquiring) }

  /// On a thread of its own: says that this process accepts, waits for the old one to leave, and then for what it counted while it
  /// drained, which may take as long as it likes. Meanwhile, on another thread, the old one is told which routes are closed here.
  func follow(_ taken: Taken, _ shared: ProcessShared) throws(SystemError) {
    isFollowed.store(true, ordering: .relaxed)
    let takesRules = taken.found.state.takesRules
    _ = try WorkerThread.start(name: "predecessor", processor: nil) { [self] in
      var isOrderly = false
      defer {
        endOlder(isOrderly: isOrderly, taken, shared)
        hasEnded.store(true, ordering: .releasing)
        counted.signal()
      }
      var isWhole = false
      do throws(HandoverError) {
        try socket.send(
          .accepting, takesRules ? shared.rulesForOlder.frame : [], deadlineMilliseconds: Predecessor.deadline)
        isWhole = true
        _ = try socket.receive(.done, deadlineMilliseconds: Predecessor.deadline)
      } catch {
        shared.operationalLog.logger.warning("upgrade: \(error); this process serves")
      }
      isLeft.store(true, ordering: .releasing)
      left.signal()
      if takesRules {
        // Nothing is sent behind half a frame.
        if isWhole { tell(shared) }
      } else {
        shared.operationalLog.logger.warning(
          "upgrade: the old process is of a version that is not told which routes are closed here: its tunnels end with its drain"
        )
      }
      isOrderly = hear(earlier: taken.late.counts, shared)
    }
  }

  private func endOlder(isOrderly: Bool, _ taken: Taken, _ shared: ProcessShared) {
    let timeouts = taken.found.boundary.config.timeouts
    let drain = DrainSchedule(
      fromMilliseconds: 0, requests: timeouts.drainMilliseconds,
      tunnels: timeouts.drainTunnelsMilliseconds ?? timeouts.drainMilliseconds,
      tunnelClose: timeouts.tunnelCloseMilliseconds)
    let left = shared.older.end(
      isOrderly: isOrderly, earlierMilliseconds: drain.endMilliseconds + Predecessor.stepMilliseconds)
    let logger = shared.operationalLog.logger
    if !isOrderly {
      logger.warning(
        "upgrade: the process before this one has ended, or is not heard of any more; what it counted while it drained is missing"
      )
    }
    guard let left else { return }
    let what = left.sums.map { "\($0.requests) requests and \($0.tunnels) tunnels" } ?? "requests and tunnels"
    logger.warning(
      "upgrade: an older process with \(what) may still drain, and is not told any more which routes are closed here; it ends its tunnels when it finds that out"
    )
  }

  /// - Returns: whether the old process has said that it ends.
  private func hear(earlier: [HandoverState.Count], _ shared: ProcessShared) -> Bool {
    while let message = try? socket.receive(deadlineMilliseconds: .max) {
      for descriptor in message.descriptors { Sockets.closeDescriptor(descriptor) }
      switch message.kind {
      case .draining:
        guard let last = try? HandoverDraining(message.bytes) else { return giveUp() }
        shared.older.note(last)
      case .counts:
        if let last = try? HandoverLate(message.bytes) { shared.earlierCounters.add(last.counts, insteadOf: earlier) }
        return true
      // Later than it was waited for.
      case .done: continue
      default: return giveUp()
      }
    }
    return giveUp()
  }

  /// The old process would think that it is still told.
  private func giveUp() -> Bool {
    socket.end()
    return false
  }

  private func tell(_ shared: ProcessShared) {
    do {
      _ = try WorkerThread.start(name: "older", processor: nil) { [self] in
        while true {
          _ = shared.older.changed.wait(timeoutMilliseconds: -1)
          shared.older.changed.clear()
          guard shared.older.isThere else { return }
          do throws(HandoverError) {
            // However long it takes: half a frame would be the end of all further ones.
            try socket.send(.rules, shared.rulesForOlder.frame, deadlineMilliseconds: .max)
          } catch {
            _ = giveUp()
            return
          }
        }
      }
    } catch {
      shared.operationalLog.logger.warning(
        "upgrade: the old process is not told which routes are closed here: \(error)")
    }
  }

  /// Whether the old process still drains, or may do so.
  var isDraining: Bool { isFollowed.load(ordering: .relaxed) && !hasEnded.load(ordering: .acquiring) }
}
