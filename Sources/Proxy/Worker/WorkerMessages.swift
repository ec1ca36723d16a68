// What a worker is told: a new configuration, other servers of an upstream, the beginning of the end, the end.

import Platform
import Policy

extension Worker {
  func takeMessages() {
    // First: what is told meanwhile may be among them or not. Closures before all, for other messages have requests go on.
    let told = shared.toldCount
    if takenCount != told {
      takenCount = told
      RouteGate.readClosures(self)
    }
    for message in mailbox.takeAll() {
      switch message {
      case .reload(let snapshot, let sources): reload(snapshot, sources)
      case .servers(let generation, let upstream, let servers): take(servers, of: upstream, generation)
      case .closures: RouteGate.renewClosures(self)
      case .places: offersPlaces = true
      case .passwordChecked(let answer): checkedPasswords.append(answer)
      case .server(let status): ServerReports.changed(status, self)
      case .drain(let schedule, let handedOver, let refusesHeads, let line):
        successorLine = line
        beginDrain(schedule, handedOver: handedOver, refusesHeads: refusesHeads)
      case .refuseHeads: refuseHeads()
      case .stop: hasStopped = true
      }
    }
  }

  /// The process that serves has said something that is not taken yet.
  var isLineAhead: Bool { successorLine?.hasMore ?? false }

  /// The same, for what was said in this process is taken at once where it matters (`RouteGate.refusal`). The next turn comes in a millisecond.
  func waitsForLine() -> Bool {
    // Asked once in a turn.
    guard awaitsLine || isLineAhead else { return false }
    awaitsLine = true
    return true
  }

  /// Something was said that decides about requests and is not taken yet: none is begun before. The connection is enqueued, for messages
  /// are taken at the beginning of a turn. Over the line they are said by another thread, which may have to wait for the rest of them.
  func putsOff(_ d: Downstream) -> Bool {
    // First: what comes over the line is counted when it has been read.
    guard waitsForLine() || takenCount != shared.toldCount else { return false }
    enqueue(d)
    return true
  }

  /// It looks at closures when it takes messages next, and nothing that they decide about goes on before.
  func remindOfClosures() {
    mailbox.post(.closures)
    takenCount &-= 1
  }

  private func reload(_ snapshot: Snapshot, _ sources: [ListenerSource]) {
    acceptor.close(notIn: sources, self)
    let old = plan
    plan = Plan(snapshot: snapshot, sources: sources, shared: shared, worker: index, previous: old)
    log.configure(snapshot.config.log)
    replaceParsers(snapshot, haveNamesChanged: snapshot.config.identity.claims != old.config.identity.claims)
    for group in old.groups { closeIdle(group.servers) }
    offersPlaces = true
    acceptor.open(sources, self)
    counters.add(.reloads)
    // Connections of sockets that are gone end when they are idle.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      if plan.listener(onSocket: d.socket) == nil { d.closeAtRest(self) }
    }
    for d in downstreams.all where d.phase == .http2 { d.http2?.adoptRules() }
    RouteGate.endTunnels(self)
    if isDraining { acceptor.closeAll(self) }
  }

  /// An upstream has other servers. One that stays keeps its connections; what is under way at one that goes comes to its end.
  private func take(_ servers: [Snapshot.Server], of upstream: String, _ generation: UInt64) {
    guard generation == plan.generation, let group = plan.groups.first(where: { $0.config.name == upstream }) else {
      return
    }
    let old = group.servers
    group.replace(
      servers: Plan.makeServers(
        servers, of: group.config, tls: group.tls, sticky: group.sticky, group.status,
        keeping: old, worker: index))
    offersPlaces = true
    for server in old { server.isRetired = true }
    for server in group.servers { server.isRetired = false }
    closeIdle(old)
  }

  /// Closes the connections of retired servers that have no request.
  private func closeIdle(_ servers: ContiguousArray<ServerPool>) {
    for server in servers where server.isRetired {
      while let u = server.idle.last { u.close(self) }
      for u in server.http2 { u.http2?.retire() }
    }
  }

  private func beginDrain(_ schedule: DrainSchedule, handedOver: Set<Int>, refusesHeads: Bool) {
    acceptor.release(handedOver, self)
    drain = schedule
    // What waits in the queues is still taken: closing a listener would reset it.
    acceptor.takeAll(self)
    acceptor.closeAll(self)
    // Else a request that is on its way would be lost, though nobody would notice that another process serves.
    takesLastRequests = !handedOver.isEmpty
    if refusesHeads { refuseHeads() }
    // A request may have come that its event has not told of yet; a connection at rest that has none is closed, now or soon.
    for d in downstreams.all where d.phase == .head && d.input.isEmpty {
      d.transport.noteReadable()
      pump(d)
    }
    for d in downstreams.all where d.phase == .http2 { d.http2?.drain() }
    for x in exchanges.all where x.isTunnel { TunnelClosing.schedule(x, schedule, self) }
  }

  /// Another process serves by rules that may be others: what has not begun a request yet ends, and a head that comes is refused
  /// (`ConnectionRules.adopt`). What is begun goes on by the rules that it began with, as behind a reload.
  private func refuseHeads() {
    refusesHeads = true
    takesLastRequests = false
    for d in downstreams.all where d.phase == .announce || d.phase == .handshake { d.refuse(.draining, self) }
    for d in downstreams.all where d.phase == .http2 { d.http2?.adoptRules() }
  }

  /// Cuts requests whose time is over, and ends the worker when nothing is left.
  func endDrainIfDone() {
    guard let drain else { return }
    if !requestsAreCut, nowMilliseconds >= drain.requestsEndMilliseconds {
      requestsAreCut = true
      for d in downstreams.all where d.phase != .free && d.phase != .tunnel { cut(d) }
    }
    if downstreams.usedCount == 0 || nowMilliseconds >= drain.endMilliseconds { hasStopped = true }
  }

  /// Ends a connection whatever is under way on it.
  func cut(_ d: Downstream) {
    if let connection = d.http2 {
      connection.cut()
      return
    }
    if let x = d.exchange {
      if x.isTunnel {
        if !x.tunnel.closesAreOut { Tunnel.noteCut(x, self) }
      } else if !x.hasWholeAnswer {
        shared.noteCutRequest()
      }
      x.cut(.draining, self)
    }
    d.close(self)
  }

  /// Closes everything, behind the last turn.
  package func end() {
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
    acceptor.closeAll(self)
    for d in downstreams.all where d.phase != .free { cut(d) }
    for u in upstreams.all where u.phase != .free { u.close(self) }
    ServerQueue.handOn(self)
    log.recordSuppressed(self)
    log.handOver(nowMilliseconds: nowMilliseconds, force: true)
    shared.noteStopped()
  }
}
