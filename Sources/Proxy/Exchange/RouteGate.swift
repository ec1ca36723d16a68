// Whether a request may take the route that it matches: a route can be closed, by an operator or in the configuration, and one that
// needs to tell clients apart is closed while that cannot be done.

import Platform
import Policy
import Wire

enum RouteGate {
  /// What a closed route tells clients to wait where nobody knows how long it stays closed.
  private static let usualRetrySeconds = 60
  private static let mostRetrySeconds: UInt64 = 3_600

  static func refusal(_ x: Exchange, _ route: RoutePlan, _ worker: Worker) -> Refusal? {
    guard route.isEnabled else {
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = .text("the configuration says `enabled: false`")
      return .routeClosed
    }
    if let end = worker.closureEnd(route.number) {
      let left = end == .max ? UInt64(usualRetrySeconds) : (end - worker.nowMilliseconds + 999) / 1_000
      x.retryAfterSeconds = Int(min(left, mostRetrySeconds))
      if let closure = worker.shared.routes.closure(number: route.number) {
        x.detail = .named("", closure.whyBytes, "")
      }
      return .routeClosed
    }
    guard route.needsDistinctClients else { return nil }
    if x.isInCutover {
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = .text("a peer in a cutover may stand for many clients")
      return .clientsIndistinct
    }
    if x.downstream.listener?.watch.isClosed == true {
      x.retryAfterSeconds = usualRetrySeconds
      x.detail = .text("the listener's clients have become one (on_collapse: refuse)")
      return .clientsIndistinct
    }
    return nil
  }
}

extension Worker {
  /// Until when a route is closed; nil when it is open.
  func closureEnd(_ number: Int) -> UInt64? {
    guard number < closureEnds.count, nowMilliseconds < closureEnds[number] else { return nil }
    return closureEnds[number]
  }

  /// Some routes were closed or opened, or those that need to tell clients apart are: tunnels of those that are closed now end. Requests under way come to their end.
  func renewClosures() {
    closureEnds = shared.routes.ends()
    for x in exchanges.all where x.isTunnel && x.refusal == nil {
      if let route = x.route, closureEnd(route.number) != nil {
        x.refusal = .routeClosed
      } else if x.route?.needsDistinctClients == true, x.downstream.listener?.watch.isClosed == true {
        x.refusal = .clientsIndistinct
      } else {
        continue
      }
      if let refusal = x.refusal { counters.add(refusal) }
      TunnelClosing.beginAtOnce(x, self)
    }
  }
}
