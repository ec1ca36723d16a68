// When the steps of a request's way were, beside those that decisions need (Exchange): for the log and the metrics alone.

struct ExchangeTiming {
  /// Which request of its connection it is, from 1 on.
  var number = 0
  /// Tries beyond the first.
  var retries = 0
  /// It waits for a place at a server since then; 0: it does not.
  private var waitsSinceMicroseconds: UInt64 = 0
  /// How long it waited, over all tries.
  private(set) var waitedMicroseconds: UInt64 = 0
  /// When the connection of the last try could take a request; 0: it could not yet.
  private(set) var readyMicroseconds: UInt64 = 0

  mutating func beginWait(_ now: UInt64) { waitsSinceMicroseconds = now }

  mutating func endWait(_ now: UInt64) {
    guard waitsSinceMicroseconds > 0 else { return }
    waitedMicroseconds += now - waitsSinceMicroseconds
    waitsSinceMicroseconds = 0
  }

  mutating func beginTry() { readyMicroseconds = 0 }
  mutating func noteReady(_ now: UInt64) { readyMicroseconds = now }
}
