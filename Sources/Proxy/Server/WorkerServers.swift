// Servers that cannot be reached, and validators that have just started: what a request does about them.

import Platform
import Policy
import Wire

extension Worker {
  // MARK: Out of reach

  /// A connection could not be made, in time or at all, or not secured: the server rests, and the operator is told why.
  func unreachable(_ u: Upstream, _ why: String = "", timedOut: Bool = false) {
    let isSecuring = u.phase != .connecting
    if let server = u.pool {
      let what = timedOut ? (isSecuring ? "no TLS handshake in time" : "no connection in time") : why
      noteUnreachable(server, isSecuring ? "TLS: \(what)" : what)
    }
    guard let x = u.exchange else {
      close(u)
      return
    }
    fault(x, isSecuring ? .upstreamTLS : timedOut ? .connectTimeout : .connect)
  }

  func noteUnreachable(_ server: ServerPool, _ why: @autoclosure () -> String) {
    guard server.noteFailure(nowMilliseconds: nowMilliseconds) else { return }
    let name = String(decoding: server.text, as: UTF8.self)
    shared.report("upstream server \(name) cannot be reached: \(why())", once: "server \(name)")
  }

  /// A client that does not wait for a connection leaves it to find out whether the server can be reached: otherwise
  /// a server that swallows everything would never rest where clients are less patient than `upstream_connect`. One at
  /// a time for each server.
  func leaveConnecting(_ x: Exchange) {
    guard let u = x.upstream, u.phase == .connecting, let server = u.pool, server.opening == 1 else { return }
    x.upstream = nil
    u.exchange = nil
    server.active -= 1
    u.output.reset()
    u.preambleBytes = 0
    u.owner?.boundUpstream = nil
    u.owner = nil
  }

  // MARK: Just started

  /// How long what cannot be held is kept back from a server that may be starting. It says so at once if it is.
  private static let holdMilliseconds = 1_000

  /// A request that has waited this long is sent, whatever other requests were told meanwhile.
  private static let startWaitMilliseconds: UInt64 = 10_000

  /// The validator has said that it has just started. Another one may not have; otherwise the request waits.
  func waitForStart(_ x: Exchange) {
    guard let group = x.group, let server = x.upstream?.pool else { return }
    counters.add(.startingRetries)
    group.noteStarting(server, untilMilliseconds: nextSecondMilliseconds)
    drop(x)
    guard !waitsForStart(x, group) else { return }
    tryAgain(x)
  }

  /// Has a request wait, unsent, while all servers that could take it are starting. Its body stays with the client.
  func waitsForStart(_ x: Exchange, _ group: UpstreamPlan) -> Bool {
    let until = group.waitsForStart(tried: x.triedServers, nowMilliseconds: nowMilliseconds)
    guard until > 0, nowMicroseconds &- x.startedMicroseconds < Worker.startWaitMilliseconds * 1_000,
      let d = x.downstream
    else { return false }
    x.isBackingOff = true
    x.triedServers = 0
    wheel.set(d.timer, deadlineMilliseconds: until)
    return true
  }

  /// What is signed carries whole seconds, so nothing signed before the next one would fare better.
  private var nextSecondMilliseconds: UInt64 { nowMilliseconds + 1_001 - wallMilliseconds % 1_000 }

  func noteAnswered(_ x: Exchange) {
    guard let u = x.upstream, let server = u.pool, !u.hasAnswered || !server.isProven else { return }
    server.noteAnswered(first: !u.hasAnswered)
    u.hasAnswered = true
  }

  /// Whether this request's body is more than can be held, and its validator may have just started. Then a word from it
  /// is asked for (`Expect: 100-continue`), which ends the wait of `holdsBack`; what is held is sent without it.
  func mayHaveToHoldBack(_ x: Exchange, _ d: Downstream, _ u: Upstream) -> Bool {
    guard x.isSigned, x.minorVersion > 0, let server = u.pool, !server.isProven else { return false }
    switch x.requestFraming {
    case .length(let n): return n > UInt64(holdableBytes(x))
    case .chunked: return true
    default: return false
    }
  }

  /// Whether the request may not give up what it holds yet: its validator may be one that has just started, and the
  /// request would have to be sent again.
  func holdsBack(_ x: Exchange, _ u: Upstream) -> Bool {
    guard x.isSigned, !x.holdIsOver, x.machine.response == .awaiting, let server = u.pool, !server.isProven else {
      return false
    }
    if x.holdUntilMilliseconds == 0 {
      // The server's patience with a body is not shorter than ours.
      let most = min(Worker.holdMilliseconds, plan.config.timeouts.idleMilliseconds / 2)
      x.holdUntilMilliseconds = nowMilliseconds + UInt64(most)
    }
    return true
  }

  func isHoldingBack(_ x: Exchange) -> Bool {
    x.holdUntilMilliseconds > 0 && !x.holdIsOver && x.machine.request == .body && x.machine.response == .awaiting
      && x.machine.replayable
  }
}
