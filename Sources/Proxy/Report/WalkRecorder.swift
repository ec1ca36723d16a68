// Records how the next requests come to their clients, for `explain --live`: asked for over the admin listener, noted by the workers,
// read by whoever asked. While nobody asks, a worker looks at one word for each request.

import Platform
import Policy
import Synchronization
import Wire

package final class WalkRecorder: Sendable {
  /// Which requests are wanted; what is nil does not matter.
  package struct Filter: Sendable {
    package var peers: IPPrefix?
    package var pathPrefix: [UInt8]?
    /// In lower-case hexadecimal, as the log has it.
    package var connection: String?
    package var listener: String?

    package init() {}
  }

  private struct State {
    var recording: UInt64 = 0
    var filter = Filter()
    var left = 0
    var endMilliseconds: UInt64 = 0
    var walks: [String] = []
  }

  package static let walksMax = 100
  /// A recording that nobody ends does.
  package static let mostMilliseconds: UInt64 = 600_000

  private let armed = Atomic<Bool>(false)
  private let state = Mutex(State())

  package init() {}

  /// Somebody waits for walks.
  @inline(__always) var isArmed: Bool { armed.load(ordering: .relaxed) }

  /// Begins a recording in place of the one before. Returns its number.
  func begin(_ filter: Filter, count: Int, forMilliseconds duration: UInt64, nowMilliseconds: UInt64) -> UInt64 {
    state.withLock { state in
      let number = state.recording + 1
      state = State()
      state.recording = number
      state.filter = filter
      state.left = min(count, WalkRecorder.walksMax)
      state.endMilliseconds = nowMilliseconds + min(duration, WalkRecorder.mostMilliseconds)
      armed.store(state.left > 0, ordering: .relaxed)
      return number
    }
  }

  /// The walks of a recording from the given one on, and whether more may come; nil: another one has begun.
  func read(_ recording: UInt64, from first: Int, nowMilliseconds: UInt64) -> (walks: [String], isOver: Bool)? {
    state.withLock { state in
      guard state.recording == recording else { return nil }
      if nowMilliseconds >= state.endMilliseconds {
        state.left = 0
        armed.store(false, ordering: .relaxed)
      }
      return (Array(state.walks.dropFirst(first)), state.left == 0)
    }
  }

  func end(_ recording: UInt64) {
    state.withLock { state in
      guard state.recording == recording else { return }
      state.left = 0
      armed.store(false, ordering: .relaxed)
    }
  }

  /// Adds what `walk` says if it is wanted.
  private func note(
    peer: IPAddress?, listener: String, path: [UInt8], connection: String, nowMilliseconds: UInt64, _ walk: () -> String
  ) {
    let isWanted = state.withLock { state in
      guard state.left > 0 else { return false }
      guard nowMilliseconds < state.endMilliseconds else {
        state.left = 0
        armed.store(false, ordering: .relaxed)
        return false
      }
      if let peers = state.filter.peers { guard let peer, peers.contains(peer) else { return false } }
      if let wanted = state.filter.listener, wanted != listener { return false }
      if let wanted = state.filter.connection, wanted != connection { return false }
      if let prefix = state.filter.pathPrefix, !path.starts(with: prefix) { return false }
      return true
    }
    guard isWanted else { return }
    let text = walk()
    state.withLock { state in
      guard state.left > 0 else { return }
      state.left -= 1
      if state.left == 0 { armed.store(false, ordering: .relaxed) }
      state.walks.append(text)
    }
  }

  // MARK: What the workers note

  /// A request whose client was settled, or not.
  func note(_ x: Exchange, _ d: Downstream, refusal: Refusal?, _ worker: Worker) {
    guard let listener = d.listener else { return }
    let path = x.headText.withReadable { bytes in x.head.path.range.map { bytes[$0] } }
    note(
      peer: d.peer, listener: listener.name, path: path, connection: WalkRecorder.text(of: d.connection),
      nowMilliseconds: worker.nowMilliseconds
    ) {
      let method = x.headText.withReadable { bytes in
        String(decoding: x.head.methodRange.range.map { bytes[$0] }, as: UTF8.self)
      }
      var lines = ["\(method) \(String(decoding: path.prefix(200), as: UTF8.self).filter { !$0.isNewline })"]
      lines += opening(d, listener, worker)
      let identity = x.identity
      let settlement: Settlement =
        if let refusal {
          d.refusedClient.map { .infrastructure($0) } ?? .refused(refusal)
        } else if let identity {
          .settled(
            identity.address, port: identity.port, identity.via,
            ClientScheme(isSecure: identity.secure, source: x.schemeSource))
        } else {
          .refused(.identityMissing)
        }
      let walk = x.headText.withReadable { bytes in
        TrustWalk(
          listener.trust, rule: d.rule, proxy: d.announced, unnamed: d.unnamed, bytes: bytes,
          head: x.head,
          settlement: settlement, isInCutover: x.isInCutover)
      }
      lines += walk.steps.map { "step     \($0)" }
      if listener.trust.evidence(of: d.rule) == .attested {
        lines.append(
          refusal == nil
            ? "step     an edge's signature for this validator is valid" : "step     the signature is not taken")
      }
      if let refusal {
        lines.append("refused  \(refusal.name)")
      } else if let identity {
        lines.append("client   \(identity.address) port \(identity.port), by \(identity.via.text)")
        lines.append("scheme   \(identity.secure ? "https" : "http"), by \(x.schemeSource.text)")
      } else {
        lines.append("client   nobody: observe mode lets it pass")
      }
      return lines.joined(separator: "\n")
    }
  }

  /// A connection that was refused before any request.
  func note(_ d: Downstream, refusal: Refusal, _ worker: Worker) {
    guard let listener = d.listener else { return }
    note(
      peer: d.peer, listener: listener.name, path: [], connection: WalkRecorder.text(of: d.connection),
      nowMilliseconds: worker.nowMilliseconds
    ) {
      (["a connection, before any request"] + opening(d, listener, worker) + ["refused  \(refusal.name)"])
        .joined(separator: "\n")
    }
  }

  private func opening(_ d: Downstream, _ listener: ListenerPlan, _ worker: Worker) -> [String] {
    let rule = listener.trust[d.rule]
    let peer = d.peer.map { "\($0) port \(d.peerPort)" } ?? "unix socket"
    let file = rule.place.file ?? worker.plan.config.file
    return [
      "peer     \(peer), at the listener \(listener.name), connection \(WalkRecorder.text(of: d.connection))",
      "rule     \(rule.description)",
      "at       \(rule.place.line > 0 ? "\(file):\(rule.place.line)" : "\(file), by default")",
    ]
  }

  private static func text(of connection: ConnectionID) -> String {
    let text = Buffer(capacity: 64)
    connection.write(hex: text)
    return String(decoding: text.copyBytes(), as: UTF8.self)
  }
}
