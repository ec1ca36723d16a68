// Validators that have just started and cannot tell a replay yet: what a request does about them. It waits unsent, or is sent
// again in the next second; what is too large to be sent again is held back until the validator has been heard.

import Platform
import Policy
import Wire

enum StartWait {
  /// How long what cannot be held is kept back from a server that may be starting. It says so at once if it is.
  private static let holdMilliseconds = 1_000

  /// A request that has waited this long is sent, whatever other requests were told meanwhile.
  private static let waitMilliseconds: UInt64 = 10_000

  /// The validator has said that it has just started. Another one may not have; otherwise the request waits.
  static func begin(_ x: Exchange, _ worker: Worker) -> Step {
    guard let group = x.group, let server = x.upstream?.pool else { return .refuse(.upstreamNone) }
    worker.counters.add(.startingRetries)
    // What is signed carries whole seconds, so nothing signed before the next one would fare better.
    group.noteStarting(server, untilMilliseconds: worker.nowMilliseconds + 1_001 - worker.wallMilliseconds % 1_000)
    // The header in front of a connection that speaks for a client is from before that second, too.
    if let client = x.upstream?.stream?.client, client.connection.boundClient != nil { client.isLeaving = true }
    x.drop(worker)
    switch park(x, group, worker) {
    case .parked: return .parked
    case .notNeeded: return x.tryAgain(worker)
    }
  }

  enum Parking {
    case parked
    /// A server may take it now, or it has waited for long enough.
    case notNeeded
  }

  /// Has a request wait, unsent, while all servers that could take it are starting. Its body stays with the client.
  static func park(_ x: Exchange, _ group: UpstreamPlan, _ worker: Worker) -> Parking {
    let until = group.waitsForStart(tried: x.triedServers, nowMilliseconds: worker.nowMilliseconds)
    guard until > 0, worker.nowMicroseconds &- x.startedMicroseconds < waitMilliseconds * 1_000 else {
      return .notNeeded
    }
    x.wait = .serverStart
    x.triedServers = 0
    worker.wheel.set(x.timer, deadlineMilliseconds: until)
    return .parked
  }

  /// Whether this request's body is more than can be held, and its validator may have just started. Then a word from it
  /// is asked for (`Expect: 100-continue`), which ends the wait of `holdBack`; what is held is sent without it.
  static func mayHoldBack(_ x: Exchange, _ u: Upstream) -> Bool {
    guard x.isSigned, x.minorVersion > 0, let server = u.pool, !server.isProven else { return false }
    switch x.request.framing {
    case .length(let n): return n > UInt64(x.holdableBytes)
    case .chunked, .untilClose: return true
    default: return false
    }
  }

  enum Hold { case held, givenUp }

  /// Has the request keep what it holds while its validator may be one that has just started, for the request would have to be sent
  /// again; at the first call the time for it begins.
  static func holdBack(_ x: Exchange, _ u: Upstream, _ worker: Worker) -> Hold {
    guard x.isSigned, !x.holdIsOver, x.machine.response == .awaiting, let server = u.pool, !server.isProven else {
      return .givenUp
    }
    if x.holdUntilMilliseconds == 0 {
      // The server's patience with a body is not shorter than ours.
      let most = min(holdMilliseconds, x.times.idleMilliseconds(worker) / 2)
      x.holdUntilMilliseconds = worker.nowMilliseconds + UInt64(most)
    }
    return .held
  }

  static func isHoldingBack(_ x: Exchange) -> Bool {
    x.holdUntilMilliseconds > 0 && !x.holdIsOver && x.machine.request == .body && x.machine.response == .awaiting
      && x.machine.replayable
  }
}
