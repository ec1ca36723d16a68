// One upgrade, in the process that is to be replaced: starts the new one, hands over, and waits for it, on a thread of its own. The
// other side is Predecessor; Wire's HandoverFrame has the picture.
//
//   running ─► handed over: the new process accepts, and this one drains
//      └─────► refused: the new process is gone, and this one goes on as before
//
// Invariants: every step has a deadline, and where one passes, the new process is ended before anything else. This process changes
// nothing before the new one accepts, but for its admin listeners, which answer nobody for the moment in which counts are taken.

import Platform
import Synchronization
import Wire

final class Upgrade: Sendable {
  /// What the new process gets, but for what is only known late.
  struct Offer: Sendable {
    let state: HandoverState
    let descriptors: [Int32]
    let secrets: SecretBytes
  }

  struct Handed: Sendable {
    let process: Int32
    /// Listeners that the new process goes on with, by their place in the state.
    let listeners: Set<Int>
    /// The same of admin listeners, by their names.
    let admin: Set<String>
    /// By which it serves, where it says so.
    let rules: HandoverRules?
    /// For what is closed there, and counted here, from here on.
    let socket: HandoverSocket
  }

  enum Outcome: Sendable {
    case handedOver(Handed)
    case refused(String)
  }

  private struct State {
    var outcome: Outcome?
    /// The new process, as long as nobody has waited for its end.
    var process: Int32?
    var isCancelled = false
  }

  private let offer: Offer
  private let admin: AdminServers
  private let shared: ProcessShared
  private let loadMilliseconds: UInt64
  private let state = Mutex(State())
  /// Signalled when there is an outcome.
  let finished: Wakeup

  /// Beside its load, a new process has to be started, to read what it is handed, and to start its workers.
  private static let marginMilliseconds: UInt64 = 5_000

  init(_ offer: Offer, admin: AdminServers, shared: ProcessShared, loadMilliseconds: UInt64) throws(SystemError) {
    self.offer = offer
    self.admin = admin
    self.shared = shared
    self.loadMilliseconds = loadMilliseconds
    finished = try Wakeup()
  }

  func start() throws(SystemError) {
    _ = try WorkerThread.start(name: "upgrade", processor: nil) { [self] in
      let outcome = run()
      state.withLock { $0.outcome = outcome }
      finished.signal()
    }
  }

  // MARK: The supervisor's side

  /// Nil while it runs.
  var outcome: Outcome? { state.withLock { $0.outcome } }

  /// Ends the new process, unless it serves already: the outcome tells.
  func cancel() {
    state.withLock { state in
      state.isCancelled = true
      if state.outcome == nil, let process = state.process { Signals.kill(process) }
    }
  }

  // MARK: The thread's side

  private func run() -> Outcome {
    let own: HandoverSocket
    let process: Int32
    do {
      let ends = try HandoverSocket.pair()
      defer { Sockets.closeDescriptor(ends.other) }
      own = ends.own
      process = try ChildProgram.start(handover: ends.other)
    } catch {
      return .refused("\(error)")
    }
    let isCancelled = state.withLock { state in
      state.process = process
      return state.isCancelled
    }
    guard !isCancelled else { return refuse(process, "the process is ending") }
    let most = loadMilliseconds + Upgrade.marginMilliseconds
    var awaited = "get ready within \(most) ms"
    do throws(HandoverError) {
      let deadline = Clock.monotonicMilliseconds() + most
      try send(own, deadline)
      let kept = try prepared(own, deadline)
      awaited = "begin to accept within \(Predecessor.stepMilliseconds) ms of being ready"
      return try leave(own, process, kept)
    } catch {
      admin.resume()
      switch error {
      case .late: return refuse(process, "the new process did not \(awaited)")
      case .ended: return refuse(process, nil, ends: true)
      case .refused(let text): return refuse(process, Upgrade.reason(text), ends: true)
      default: return refuse(process, "\(error)")
      }
    }
  }

  private func send(_ own: HandoverSocket, _ deadline: UInt64) throws(HandoverError) {
    var rest = offer.descriptors[...]
    while !rest.isEmpty {
      let some = rest.prefix(HandoverFrame.descriptorsMax)
      try own.send(.descriptors, descriptors: Array(some), deadlineMilliseconds: deadline)
      rest = rest.dropFirst(some.count)
    }
    try own.send(.secrets, secret: offer.secrets, deadlineMilliseconds: deadline)
    try own.send(.state, offer.state.bytes, deadlineMilliseconds: deadline)
  }

  private func prepared(_ own: HandoverSocket, _ deadline: UInt64) throws(HandoverError) -> HandoverPrepared {
    let bytes = try own.receive(.prepared, deadlineMilliseconds: deadline)
    do throws(HandoverFault) {
      let kept = try HandoverPrepared(bytes)
      guard kept.listeners.allSatisfy(offer.state.listeners.indices.contains),
        kept.admin.allSatisfy(offer.state.admin.indices.contains)
      else { throw .malformed("what is kept") }
      return kept
    } catch {
      throw .fault(error)
    }
  }

  /// The new process takes over. What was counted and closed is taken once nobody can ask for it here any more, so that no counter is
  /// seen to go back.
  private func leave(
    _ own: HandoverSocket, _ process: Int32, _ kept: HandoverPrepared
  ) throws(HandoverError) -> Outcome {
    guard admin.pause() else { throw .refused("the admin listener does not come to the end of an answer") }
    let late = HandoverLate(
      closures: shared.routes.carried, servers: shared.servers.carried, counts: CarriedCounters.all(shared),
      collapses: shared.carriedCollapses(for: kept))
    let deadline = Clock.monotonicMilliseconds() + Predecessor.stepMilliseconds
    try own.send(.go, late.bytes, deadlineMilliseconds: deadline)
    let said = try own.receive(.accepting, deadlineMilliseconds: deadline)
    // It must be known to be the service before it says that it is ready, which it does when this process drains.
    ServiceNotifier.notify("MAINPID=\(process)")
    let names = Set(kept.admin.map { offer.state.admin[$0].name })
    return .handedOver(
      Handed(
        process: process, listeners: Set(kept.listeners), admin: names, rules: try? HandoverRules(said), socket: own))
  }

  /// The line that says what is wrong, of all that a process says when it does not start.
  static func reason(_ text: String) -> String {
    let lines = text.split(whereSeparator: \.isNewline).map(String.init)
    return lines.first { !$0.contains(": warning: ") && !$0.hasPrefix(" ") } ?? lines.first ?? "for an unknown reason"
  }

  /// - Parameters:
  ///   - why: nil: the new process ended without a word.
  ///   - ends: it ends by itself, and may have something to say in the log before; another is ended.
  private func refuse(_ process: Int32, _ why: String?, ends: Bool = false) -> Outcome {
    state.withLock { $0.process = nil }
    let status = ChildProgram.exitStatus(process, waitMilliseconds: ends ? 1_000 : 0) ?? ChildProgram.end(process)
    if let why { return .refused(why) }
    let text = status.map { "the new process ended with status \($0) before it was ready" }
    return .refused(text ?? "the new process closed the connection before it was ready")
  }
}
