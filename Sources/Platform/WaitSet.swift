// A few descriptors that a thread waits for together. Workers have a Poller, which does not look at each of thousands anew.

import Glibc

package struct WaitSet {
  private var entries: [pollfd] = []

  package init() {}

  package mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

  /// Returns the number by which `isReady` knows it. A negative descriptor is never ready.
  package mutating func add(_ descriptor: Int32, toWrite: Bool = false) -> Int {
    entries.append(pollfd(fd: descriptor, events: Int16(toWrite ? POLLOUT : POLLIN), revents: 0))
    return entries.count - 1
  }

  /// Waits until one is ready, or has failed, or the time is over. A negative time has no end.
  package mutating func wait(timeoutMilliseconds: Int32) {
    // SAFETY: the array has the entries that the call reads and writes.
    guard unsafe poll(&entries, nfds_t(entries.count), timeoutMilliseconds) < 0 else { return }
    for index in entries.indices { entries[index].revents = 0 }
  }

  package func isReady(_ number: Int) -> Bool { entries[number].revents != 0 }
}
