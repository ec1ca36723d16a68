// A server that swallows everything: its accept queue is full, so the kernel answers no further SYN and every attempt to
// connect runs into its deadline.

import Foundation

final class BlackHole {
  let address: Address
  private let listening: Int32
  private let waiting: Connection

  init() throws {
    (listening, address) = try Socket.listen()
    // Again, for a queue of one; the connection that fills it is never accepted.
    guard Foundation.listen(listening, 0) == 0 else { throw Trouble("listen: \(errno)") }
    waiting = try Connection(to: address, from: nil)
  }

  /// From now on there is room in the queue: an attempt succeeds, in a second or so, and nobody says anything there.
  func open() { close(accept(listening, nil, nil)) }

  deinit { close(listening) }
}
