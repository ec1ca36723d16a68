// What an event means for the connection that it is about, what the end of a deadline does, and sending: what a turn's events
// have written leaves when they have all been seen, and then exchanges end (docs/decisions/0015).

import Platform

extension Worker {
  // MARK: Events

  func handle(_ d: Downstream, _ readiness: Readiness) {
    d.transport.note(readiness)
    // Nobody reads what we would still write: an exchange under way ends here and not at its deadline.
    if readiness.contains(.failed), d.phase == .exchange {
      d.exchange?.advance(self, .fault(.clientGone))
      return
    }
    pump(d)
  }

  /// Does for a client connection whatever can be done now.
  func pump(_ d: Downstream) {
    while true {
      switch d.phase {
      case .free: return
      case .announce: guard Announce.readHeader(d, self) == .goesOn else { return }
      case .handshake: guard Announce.handshake(d, self) == .goesOn else { return }
      case .head:
        guard case .request(let step) = d.readHead(self) else { return }
        d.exchange?.advance(self, step)
        return
      case .exchange:
        d.exchange?.advance(self)
        // A tunnel that has just begun may have bytes at hand.
        guard d.phase == .tunnel else { return }
      case .tunnel:
        if let x = d.exchange { Tunnel.relay(x, self) }
        return
      case .linger:
        d.linger(self)
        return
      case .http2:
        d.http2?.progress()
        return
      }
    }
  }

  /// Acts on what a server's connection has come to. The client's side drives: it may have to go on once the exchange is over.
  func carryOn(_ u: Upstream, _ progress: Dial.Progress) {
    switch progress {
    case .waits: return
    case .unwanted: u.close(self)
    case .ready where u.http2 != nil: u.http2?.progress()
    case .ready: if let x = u.exchange { pump(x.downstream) } else { u.checkIdle(self) }
    case .fault(let fault) where u.http2 != nil: u.http2?.fail(fault)
    case .fault(let fault): if let x = u.exchange { x.advance(self, .fault(fault)) } else { u.close(self) }
    }
  }

  // MARK: Deadlines

  func expire(_ timer: Int) {
    if timer == Worker.acceptTimer {
      acceptor.resume(self)
      return
    }
    let (slot, kind) = (timer - Worker.firstSlotTimer).quotientAndRemainder(dividingBy: Worker.timersPerSlot)
    switch kind {
    case 0: if slot < downstreams.all.count { expire(downstreams.all[slot]) }
    case 1: if slot < upstreams.all.count { Dial.expire(upstreams.all[slot], self) }
    case 2: if slot < exchanges.all.count { Deadlines.expired(exchanges.all[slot], self) }
    default: if slot < serverStreams.all.count { Dial.expire(serverStreams.all[slot], self) }
    }
  }

  private func expire(_ d: Downstream) {
    switch d.phase {
    // An exchange has its own.
    case .free, .exchange, .tunnel: return
    case .http2: d.http2?.expired()
    case .announce: Announce.expired(d, self)
    case .handshake: d.refuse(.handshakeTimeout, self)
    case .head: d.headExpired(self)
    case .linger: d.lingerExpired(self)
    }
  }

  // MARK: Sending

  /// Has what was written for a connection's two ends sent once the other connections have had their events. Sending
  /// is most of a request's cost, and it is cheaper together: the receiver is woken once for many, and neither the
  /// kernel's code nor ours pushes the other out of the cache between two.
  func flushLater(_ d: Downstream) {
    guard !d.isToBeFlushed else { return }
    d.isToBeFlushed = true
    // A stream's slot is in another table.
    pendingFlushes.append(d.isStream ? ~Int32(d.slot) : Int32(d.slot))
  }

  func flushPending() {
    // Whoever is added meanwhile comes in the next round.
    let count = pendingFlushes.count
    for at in 0..<count {
      let slot = pendingFlushes[at]
      let d = slot < 0 ? streams.all[Int(~slot)] : downstreams.all[Int(slot)]
      d.isToBeFlushed = false
      // The request behind the one that is over may be there already.
      if flushBothSides(of: d) == .ended { pump(d) }
    }
    pendingFlushes.removeFirst(count)
    flushServers()
  }

  /// Has a server's connection of HTTP/2 send what its streams have written, once for all of them.
  func flushLater(_ client: HTTP2Client) {
    guard !client.isToBeFlushed else { return }
    client.isToBeFlushed = true
    clientsToFlush.append(client)
  }

  /// Has it read on in the next turn.
  func readLater(_ client: HTTP2Client) {
    guard !client.isToBeRead else { return }
    client.isToBeRead = true
    clientsToRead.append(client)
  }

  private func flushServers() {
    while let client = clientsToFlush.popLast() {
      client.isToBeFlushed = false
      client.flush()
    }
  }

  /// Requests that wait behind the ones that are done now come in further rounds, as many as a connection may have in
  /// a turn; what is left has the next turn.
  func flushAll() {
    var rounds = 0
    while !pendingFlushes.isEmpty || !clientsToFlush.isEmpty, rounds < Worker.requestsPerTurn {
      flushPending()
      rounds += 1
    }
  }

  /// What sending at the end of a turn has come to.
  enum FlushOutcome {
    /// The exchange goes on, or there is none.
    case goesOn
    /// The exchange is over, and the connection may go on to the next.
    case ended
  }

  /// Sends what waits on both sides, ends the exchange if that was all of it, and says who owes what from now on.
  @discardableResult
  func flushBothSides(of d: Downstream) -> FlushOutcome {
    if let connection = d.http2 {
      connection.flush()
      return .goesOn
    }
    guard d.phase == .exchange, let x = d.exchange, !x.isWaiting else { return .goesOn }
    let upstream = x.upstream
    let (toServer, toClient, heads) = (upstream?.output.count ?? 0, d.output.count, d.stream?.headsWaiting ?? 0)
    if let u = upstream, u.phase == .ready {
      u.flush(self)
      // What waited for a window has left just here, where nobody goes on; and no event will say that there is room.
      if u.isStream, u.output.count < toServer, x.machine.request == .body { enqueue(d) }
    }
    let ending = x.machine.ending
    guard d.flush(last: ending.map { !$0.keepDownstream || closesKept } ?? false) else {
      x.advance(self, .fault(.clientGone))
      return .goesOn
    }
    if let stream = d.stream {
      switch x.machine.response {
      case .awaiting: if stream.headsWaiting < heads { enqueue(d) }
      case .body: if d.output.count < toClient { enqueue(d) }
      case .done: break
      }
    }
    guard let ending, d.isFlushed else {
      if d.sentBytes != d.sentSeen {
        d.sentSeen = d.sentBytes
        x.downstreamProgressMilliseconds = nowMilliseconds
      }
      Deadlines.setClient(x, d, self)
      if let u = upstream { Deadlines.setServer(x, d, u, self) }
      return .goesOn
    }
    x.finish(ending, self)
    return .ended
  }
}
