// Whether the process that serves has said something that this one, which drains beside it, has not taken yet. A worker asks before it
// begins a request: what was said before that request came holds for it, also where this process stood still meanwhile.

import Platform
import Synchronization

package final class SuccessorLine: Sendable {
  private let socket: HandoverSocket
  /// Something is being read, or acted on.
  private let isBusy = Atomic(false)
  /// Nothing comes any more.
  private let isClosed = Atomic(false)

  init(_ socket: HandoverSocket) { self.socket = socket }

  /// Asked in this order nothing is missed: before the socket has nothing more to read, whoever reads it has said so.
  var hasMore: Bool {
    if isClosed.load(ordering: .acquiring) { return false }
    return socket.isReadable || isBusy.load(ordering: .acquiring)
  }

  // MARK: The thread that reads

  /// Before it reads.
  func begin() { isBusy.store(true, ordering: .sequentiallyConsistent) }

  /// Workers have been told what came.
  func end() { isBusy.store(false, ordering: .releasing) }

  /// Workers have been told that nothing comes any more.
  func close() { isClosed.store(true, ordering: .releasing) }
}
