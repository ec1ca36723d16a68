// Connections coming in: the listening sockets of one worker, accepting on them, and the pause when descriptors run out.
// Owned by the worker. Invariant: while accepting is paused, no listening socket is watched.

import Platform
import Policy
import Wire

/// A listening socket as a worker holds it: TCP sockets are the worker's own; a unix socket, and one that systemd has opened
/// alone, is one that all share.
package struct ListenerSource: Sendable {
  let name: String
  /// Names the socket as long as the process lives; the same for every worker.
  let socket: Int
  let descriptor: Int32
  let isShared: Bool

  package init(name: String, socket: Int, descriptor: Int32, isShared: Bool) {
    self.name = name
    self.socket = socket
    self.descriptor = descriptor
    self.isShared = isShared
  }
}

final class Acceptor {
  private(set) var sources: [ListenerSource] = []
  /// Accepting is paused while descriptors have run out.
  private var isPaused = false

  /// Connections taken in one turn from one listener.
  private static let acceptsPerTurn = 64
  /// How long accepting is paused when descriptors or memory have run out.
  private static let pauseMilliseconds: UInt64 = 100

  /// Whether more connections may wait on a listener.
  enum Accepted { case all, some }

  /// Closes the listening sockets that are not in `new`, after taking what waits on them. To be done while the plan is
  /// still theirs: what came to a socket is never put under the rules of another.
  func close(notIn new: [ListenerSource], _ worker: Worker) {
    func isGone(_ source: ListenerSource) -> Bool { !new.contains { $0.socket == source.socket } }
    for (i, source) in sources.enumerated() where isGone(source) { takeAll(i, worker) }
    close(worker, where: isGone)
  }

  /// Listens on a set of sockets; `close(notIn:)` has closed those that are no longer in it.
  func open(_ new: [ListenerSource], _ worker: Worker) {
    let known = sources
    sources = new
    for (i, source) in new.enumerated() {
      if known.contains(where: { $0.socket == source.socket }) { worker.poller.remove(source.descriptor) }
      _ = worker.poller.add(
        source: source.descriptor, Token(.listener, slot: i, generation: 0), exclusive: source.isShared)
    }
    isPaused = false
  }

  func closeAll(_ worker: Worker) { close(worker) { _ in true } }

  /// Leaves the sockets of these numbers to another process, which has them as well: what waits on them is the other's to accept. They
  /// are taken out of the poller first, where they would stay as long as the other has them open. To be done before the drain.
  /// Of a socket that all share what waits is taken: this worker alone may have been woken for it (EPOLLEXCLUSIVE), and nobody would be
  /// before the next connection.
  func release(_ numbers: Set<Int>, _ worker: Worker) {
    for (i, source) in sources.enumerated() where source.isShared && numbers.contains(source.socket) {
      worker.poller.remove(source.descriptor)
      takeAll(i, worker)
    }
    close(worker) { numbers.contains($0.socket) }
  }

  private func close(_ worker: Worker, where isGone: (ListenerSource) -> Bool) {
    for source in sources where isGone(source) {
      worker.poller.remove(source.descriptor)
      Sockets.closeDescriptor(source.descriptor)
    }
    sources.removeAll(where: isGone)
  }

  /// Takes all that waits on every listener.
  func takeAll(_ worker: Worker) { for i in sources.indices { takeAll(i, worker) } }

  private func takeAll(_ index: Int, _ worker: Worker) { while case .some = accept(index, worker) {} }

  /// Takes what waits on a listener, within bounds.
  @discardableResult
  func accept(_ index: Int, _ worker: Worker) -> Accepted {
    guard index < sources.count, !isPaused else { return .all }
    let source = sources[index]
    guard let listener = worker.plan.listener(onSocket: source.socket) else { return .all }
    for _ in 0..<Acceptor.acceptsPerTurn {
      switch Sockets.accept(source.descriptor) {
      case .none: return .all
      case .again: continue
      case .exhausted(let error):
        pause(error, worker)
        return .all
      case .connection(let fd, let peer): Announce.begin(fd, peer, listener, worker)
      }
    }
    return .some
  }

  /// Level-triggered listeners would wake the loop without end: they are taken out until the pause is over.
  private func pause(_ error: SystemError, _ worker: Worker) {
    worker.counters.add(.acceptPauses)
    worker.shared.report(
      "accepting is paused for \(Acceptor.pauseMilliseconds) ms: \(error); raise the limit of open files "
        + "or lower limits.connections", once: "accept")
    isPaused = true
    for source in sources { worker.poller.remove(source.descriptor) }
    worker.wheel.set(
      Worker.acceptTimer, deadlineMilliseconds: worker.nowMilliseconds + Acceptor.pauseMilliseconds)
  }

  func resume(_ worker: Worker) {
    guard isPaused else { return }
    isPaused = false
    for (i, source) in sources.enumerated() {
      _ = worker.poller.add(
        source: source.descriptor, Token(.listener, slot: i, generation: 0), exclusive: source.isShared)
    }
  }
}
