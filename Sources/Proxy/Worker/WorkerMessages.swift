// What the supervisor tells a worker: a new configuration, the beginning of the end, the end.

import Platform
import Policy

extension Worker {
  func takeMessages() {
    for message in mailbox.takeAll() {
      switch message {
      case .reload(let snapshot, let sources): reload(snapshot, sources)
      case .closures: renewClosures()
      case .drain(let schedule): beginDrain(schedule)
      case .stop: isStopped = true
      }
    }
  }

  private func reload(_ snapshot: Snapshot, _ sources: [ListenerSource]) {
    acceptor.close(notIn: sources, self)
    let old = plan
    plan = Plan(snapshot: snapshot, sources: sources, shared: shared, worker: index, previous: old)
    log.isOn = snapshot.config.log.access != .off
    replaceParsers(snapshot, haveNamesChanged: snapshot.config.identity.claims != old.config.identity.claims)
    for group in old.groups {
      for server in group.servers where server.isRetired {
        while let u = server.idle.last { u.close(self) }
      }
    }
    acceptor.open(sources, self)
    counters.add(.reloads)
    // Connections of sockets that are gone end when they are idle.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      if plan.listener(onSocket: d.socket) == nil { d.close(self) }
    }
    if isDraining { acceptor.closeAll(self) }
  }

  private func beginDrain(_ schedule: DrainSchedule) {
    isDraining = true
    drain = schedule
    // What waits in the queues is still taken: closing a listener would reset it.
    acceptor.takeAll(self)
    acceptor.closeAll(self)
    // A request may have come that its event has not told of yet; a connection at rest that has none is closed.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      d.transport.noteReadable()
      pump(d)
    }
    for x in exchanges.all where x.isTunnel { TunnelClosing.schedule(x, schedule, self) }
  }

  /// Cuts requests whose time is over, and ends the worker when nothing is left.
  func endDrainIfDone() {
    guard let drain else { return }
    if !requestsAreCut, nowMilliseconds >= drain.requestsEndMilliseconds {
      requestsAreCut = true
      for d in downstreams.all where d.phase != .free && d.phase != .tunnel { cut(d) }
    }
    if downstreams.usedCount == 0 || nowMilliseconds >= drain.endMilliseconds { isStopped = true }
  }

  /// Ends a connection whatever is under way on it.
  private func cut(_ d: Downstream) {
    if let x = d.exchange {
      if x.isTunnel { if !x.tunnel.closesAreOut { Tunnel.noteCut(x, self) } } else { shared.noteCutRequest() }
      x.abandon(.draining, self)
    }
    d.close(self)
  }

  /// Closes everything, behind the last turn.
  package func end() {
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
    acceptor.closeAll(self)
    for d in downstreams.all where d.phase != .free { cut(d) }
    for u in upstreams.all where u.phase != .free { u.close(self) }
    log.recordSuppressed(self)
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
    shared.noteStopped()
  }
}
