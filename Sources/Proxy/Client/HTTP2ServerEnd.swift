// The ends of a client's connection of HTTP/2: its deadlines, the two steps of a drain, and what becomes of its streams.

import Platform
import Wire

extension HTTP2Server {
  // MARK: Deadlines

  /// A header block that has begun has its time, and so has a connection without a request; the rest have their exchanges' timers.
  func setDeadline() {
    let d = connection
    if drainStep == .announced { return }
    if head.isOpen || (d.requestCount == 0 && streams.isEmpty) {
      if worker.wheel.deadline(of: d.timer) == 0 {
        worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.headMilliseconds)
      }
      return
    }
    guard streams.isEmpty else {
      worker.clearDeadline(d)
      return
    }
    if worker.wheel.deadline(of: d.timer) == 0 {
      worker.setDeadline(d, afterMilliseconds: worker.plan.config.timeouts.idleMilliseconds)
    }
  }

  func expired() {
    if drainStep == .announced {
      endDrain()
      return
    }
    if head.isOpen {
      end(.headTimeout)
      return
    }
    if !isExpired {
      isExpired = true
      session.terminate(code: HTTP2Session.Code.none)
    }
    flush()
    if connection.phase == .http2 { waitForClient() }
  }

  /// An expired connection's last bytes found the kernel full. They go out as long as the client takes what is before them, as behind
  /// the end of our side.
  private func waitForClient() {
    let d = connection
    let (sent, owed) = (d.transport.sentBytes, d.transport.unacknowledgedBytes)
    guard sent != lastSentBytes || owed < d.lingerOwedBytes else {
      d.closeLate(worker)
      return
    }
    lastSentBytes = sent
    d.lingerOwedBytes = owed
    worker.wheel.set(d.timer, deadlineMilliseconds: worker.nowMilliseconds + Downstream.discardQuietMilliseconds)
  }

  // MARK: Drain

  /// Ends the connection in two steps (RFC 9113 section 6.8): the client is told to begin no more streams, and those that were on
  /// their way meanwhile are served; a second later it is told which one was the last.
  func drain() {
    guard drainStep == .none else { return }
    drainStep = .announced
    session.announceEnd()
    worker.setDeadline(connection, afterMilliseconds: Worker.drainFirstRequestMilliseconds)
    worker.flushLater(connection)
  }

  private func endDrain() {
    drainStep = .final
    lastStream = session.takeNoMore()
    worker.clearDeadline(connection)
    worker.flushLater(connection)
  }

  /// Ends every request that is under way, and the connection unless it has tunnels.
  func cut() {
    for s in Array(streams) where s.phase != .tunnel { worker.cut(s) }
    if streams.isEmpty { connection.close(worker) }
  }

  /// The connection is closed: so are its streams.
  func closed() {
    cutStreams()
    while let u = spare.popLast() { u.close(worker) }
    head.clear()
  }

  func cutStreams() {
    while let s = streams.last {
      guard let x = s.exchange else {
        endStream(s, code: HTTP2Session.Code.cancel)
        continue
      }
      x.cut(.clientReset, worker)
    }
  }
}
