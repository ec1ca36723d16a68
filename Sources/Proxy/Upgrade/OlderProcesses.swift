// What this process knows of those that it was upgraded from, as long as they drain beside it: what they still have, and whether they
// go by what it says of routes (Wire's HandoverRules). The thread that follows them writes it (Predecessor); whoever changes
// something about routes has them told; the admin thread reads it.

import Platform
import Policy
import Synchronization
import Wire

package final class OlderProcesses: Sendable {
  private struct State {
    var isThere = false
    var takesRules = false
    var areRulesOther = false
    var last = HandoverDraining(requests: 0, tunnels: 0, heard: 0)
    /// The number of the latest change that they should go by.
    var latest: UInt64 = 1
    var basis: RequestBasis?
  }

  private let state = Mutex(State())
  /// Signalled when they should be told.
  let changed: Wakeup

  init() throws(SystemError) { changed = try Wakeup() }

  // MARK: The supervisor

  /// There is one, which gives requests what `basis` says.
  func begin(_ basis: RequestBasis, takesRules: Bool) {
    state.withLock { state in
      state.isThere = true
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

  // MARK: The following thread

  func note(_ last: HandoverDraining) { state.withLock { $0.last = last } }

  func end() {
    state.withLock { $0.isThere = false }
    changed.signal()
  }

  // MARK: Asking

  var isThere: Bool { state.withLock { $0.isThere } }
  var areRulesOther: Bool { state.withLock { $0.areRulesOther } }
  /// One is there that cannot be told.
  var isDeaf: Bool { state.withLock { $0.isThere && !$0.takesRules } }
  /// Nil: there is none, or it does not say.
  var last: HandoverDraining? { state.withLock { $0.isThere && $0.takesRules ? $0.last : nil } }

  /// Waits until all that can be told go by what there was at that time.
  func waitUntilTold(number: UInt64, mostMilliseconds: UInt64) {
    state.withLock { $0.latest = number }
    let until = Clock.monotonicMilliseconds() + mostMilliseconds
    while let last, last.heard < number, Clock.monotonicMilliseconds() < until { Clock.sleep(milliseconds: 5) }
  }

  /// An object for /status, or null where no older process drains.
  var json: String {
    let state = state.withLock { $0 }
    guard state.isThere else { return "null" }
    guard state.takesRules else { return "{\"told\":false,\"requests\":null,\"tunnels\":null}" }
    let last = state.last
    return "{\"told\":\(last.heard >= state.latest),\"requests\":\(last.requests),\"tunnels\":\(last.tunnels)}"
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
