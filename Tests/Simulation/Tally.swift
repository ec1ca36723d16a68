// What happened in runs of the simulator, in numbers.

/// How often things happened: what never happens is not tested.
struct Tally {
  var requests = 0, attempts = 0, served = 0, retries = 0, starting = 0, tunnels = 0, reused = 0, reloads = 0
  var queued = 0, ejections = 0, denied = 0
  /// Ends of tunnels that were told to close by a process that drains.
  var closed = 0

  /// What happens in HTTP/2 alone, but for the last.
  enum Event: String, CaseIterable {
    case clientStream = "streams of clients"
    case clientReset = "taken back"
    case clientRefused = "refused"
    case clientToldToGo = "clients told to go"
    case lateData = "data behind a stream's end"
    case serverStream = "streams to servers"
    case serverRefuses = "refused by servers"
    case serverReset = "reset by servers"
    case serverSeesReset = "reset to servers"
    case serverGoes = "connections that servers ended"
    case serverBreaks = "connections that servers broke"
    // And what happens in both.
    case compressed = "responses compressed"
  }
  var events: [Event: Int] = [:]

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
    all.events.merge(one.events, uniquingKeysWith: +)
  }
}
