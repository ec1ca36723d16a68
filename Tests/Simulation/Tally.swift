// What happened in runs of the simulator, in numbers.

/// How often things happened: what never happens is not tested.
struct Tally {
  var requests = 0, attempts = 0, served = 0, retries = 0, starting = 0, tunnels = 0, reused = 0, reloads = 0
  var queued = 0, ejections = 0, denied = 0
  /// Ends of tunnels that were told to close by a process that drains.
  var closed = 0

  static func += (all: inout Tally, one: Tally) {
    all.requests += one.requests
    all.attempts += one.attempts
    all.served += one.served
    all.retries += one.retries
    all.starting += one.starting
    all.tunnels += one.tunnels
    all.reused += one.reused
    all.reloads += one.reloads
    all.queued += one.queued
    all.ejections += one.ejections
    all.denied += one.denied
    all.closed += one.closed
  }
}
