// What requests, checks and operators say of servers: noted in their ServerStatus, told to the operator, and to all workers where they
// have to act on it at once.

import Platform
import Policy
import Wire

enum ServerReports {
  /// Notes what a fault says of the server of the present try. The client's own faults say nothing of it, nor does what a client can bring
  /// about at any server.
  static func noteFailure(_ fault: ExchangeMachine.Fault, of x: Exchange, _ worker: Worker) {
    let what: String
    switch fault {
    case .connect: what = "no connection"
    case .connectTimeout: what = "no connection in time"
    case .upstreamTLS: what = "no TLS handshake"
    case .closedBeforeResponse:
      // Kept connections end like that at servers that are well.
      guard !x.machine.isStale else { return }
      what = "the connection ended before a response"
    case .responseTimeout:
      // It may be waiting for a body that the client would send if it said so.
      guard !x.mayNotSend else { return }
      what = "no response in time"
    case .badResponse: what = "a response that cannot be taken"
    case .truncatedResponse: what = "a response that was cut"
    case .responseHeadTooLarge, .badStatus, .serverDown, .unprocessed, .starting, .answerCut, .clientGone,
      .clientTimeout, .request:
      return
    }
    noteFailure(what, isTimeout: fault == .responseTimeout, of: x, worker)
  }

  private static func noteFailure(_ what: String, isTimeout: Bool, of x: Exchange, _ worker: Worker) {
    guard let server = x.server, let group = x.group else { return }
    server.endProbe(of: x)
    worker.counters.add(.serverFailures)
    server.counts.noteFailure()
    guard let passive = group.config.passive else { return }
    worker.shared.noteFailure(
      server.status, of: group.status, passive, what: what, isTimeout: isTimeout, worker.counters, now: worker.clock)
  }

  /// Notes what the status of a response says of its server.
  static func noteStatus(_ status: Int, of u: Upstream, _ x: Exchange, _ worker: Worker) {
    if let server = u.pool {
      server.counts.note(status: status)
      server.counts.note(microseconds: worker.nowMicroseconds - x.upstreamStartedMicroseconds)
    }
    let isFailure = x.group?.config.passive?.statuses.contains { $0.contains(status) } == true
    // Mostly there is nothing to note.
    if isFailure || x.isProbe || u.pool?.status.isMarked == true {
      noteStatus(status, isFailure: isFailure, of: u, x, worker)
    }
  }

  private static func noteStatus(_ status: Int, isFailure: Bool, of u: Upstream, _ x: Exchange, _ worker: Worker) {
    guard let group = x.group, let server = u.pool else { return }
    if isFailure {
      noteFailure("status \(status)", isTimeout: false, of: x, worker)
    } else if server.status.isMarked, server.status.noteSuccess(now: worker.clock) {
      worker.shared.tell(server.status, of: group.status, "serves again: a request has succeeded there")
    }
    server.endProbe(of: x)
  }

  /// A request goes to a server that is known to fail, because there is no other.
  static func noteLastResort(_ group: UpstreamPlan, _ worker: Worker) {
    worker.counters.add(.lastResorts)
    worker.shared.report(
      "upstream \(group.config.name): every server fails or is out of reach; requests are sent there nevertheless",
      once: "last resort \(group.config.name)", everyMilliseconds: 60_000)
  }

  /// A server fails, or was taken away: what waits for its answer goes elsewhere where it may. Or it is back.
  static func changed(_ status: ServerStatus, _ worker: Worker) {
    worker.offersPlaces = true
    let standing = status.standing(nowMilliseconds: worker.nowMilliseconds)
    guard standing != .serving, standing != .onProbation else { return }
    let order = status.order
    for u in worker.upstreams.all where u.phase != .free && u.pool?.status === status {
      if let client = u.http2 {
        client.serverChanged(order)
        continue
      }
      guard let x = u.exchange else {
        // Kept ones, and those of a client that has no request now.
        if u.isIdle || u.phase == .ready || order == .down { u.close(worker) }
        continue
      }
      leave(x, order, worker)
    }
  }

  /// A server that fails, or was taken away, has this request.
  static func leave(_ x: Exchange, _ order: ServerStatus.Order, _ worker: Worker) {
    if order == .drain { return }
    if x.isTunnel {
      if order == .down { TunnelClosing.beginAtOnce(x, worker) }
    } else {
      x.advance(worker, .fault(.serverDown(isTakenAway: order == .down)))
    }
  }
}

extension ProcessShared {
  /// A request failed at a server.
  func noteFailure(
    _ server: ServerStatus, of upstream: UpstreamStatus, _ passive: Config.Passive, what: String, isTimeout: Bool,
    _ counters: Counters, now: Clock.Reading
  ) {
    switch upstream.noteFailure(server, passive, what: what, now: now) {
    case .counted: return
    case .ejected(let milliseconds):
      counters.add(.ejections)
      tell(
        server, of: upstream,
        "gets no requests for \(Timestamp.span(milliseconds: milliseconds)), because requests fail there: \(what)")
      // Whoever waits for its answer waits in vain.
      if isTimeout { post(server) }
    case .kept:
      report(
        "upstream \(upstream.name): requests fail at server \(server.name) (\(what)), which is kept because too many "
          + "servers are ejected (`passive.max_ejected`)", once: "kept \(upstream.name) \(server.name)",
        everyMilliseconds: 60_000)
    }
  }

  /// What checks have decided about a server.
  /// - Parameter why: what the last check has shown.
  package func noteChecks(
    _ server: ServerStatus, of upstream: UpstreamStatus, pass: Bool, why: String, now: Clock.Reading
  ) {
    guard server.setChecks(pass: pass, why: why, now: now) else { return }
    tell(server, of: upstream, pass ? "is up: checks pass" : "is down: \(why)")
    post(server)
  }

  /// What an operator lets a server do. False when it is so already.
  package func setOrder(
    _ server: ServerStatus, of upstream: UpstreamStatus, _ order: ServerStatus.Order, user: UInt32, why: String,
    now: Clock.Reading
  ) -> Bool {
    guard server.setOrder(order, user: user, why: why, now: now) else { return false }
    let what =
      switch order {
      case .up: "may have requests again"
      case .drain: "gets no more requests; those under way go on"
      case .down: "gets no more requests; those that wait for it go elsewhere or end"
      }
    tell(server, of: upstream, "\(what) (user \(user)\(why.isEmpty ? "" : ": \(why)"))")
    post(server)
    return true
  }

  /// Tells the operator what has become of a server, and what is left of its upstream.
  func tell(_ server: ServerStatus, of upstream: UpstreamStatus, _ what: String) {
    let now = Clock.monotonicMilliseconds()
    let all = upstream.all
    let left = all.count { $0.standing(nowMilliseconds: now) == .serving }
    operationalLog.logger.warning(
      "upstream \(upstream.name): server \(server.name) \(what); \(left) of \(all.count) serve")
  }

  private func post(_ server: ServerStatus) { for mailbox in mailboxes { mailbox.post(.server(server)) } }
}
