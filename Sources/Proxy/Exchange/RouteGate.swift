// Whether a request may take the route that it matches: a route can be closed, by an operator or in the configuration, and one that
// needs to tell clients apart is closed while that cannot be done; and a route may be for some addresses only.

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
    if let demands = route.demands, !demands.admits(x.identity) {
      x.detail = .text("the client's address may not take this route")
      return .accessDenied
    }
    guard route.needsDistinctClients, let why = whyIndistinct(x) else { return nil }
    x.retryAfterSeconds = usualRetrySeconds
    x.detail = why
    return .clientsIndistinct
  }

  /// Why it is not known that this request's client is not many; nil: it is.
  private static func whyIndistinct(_ x: Exchange) -> RefusalDetail? {
    // Only in observe mode: the backend would take its peer for the client of each such request.
    if x.identity == nil {
      let refusal = x.refusal.map { Array("\($0.name)".utf8) } ?? []
      return .named("there is no client to tell apart: not verified (", refusal, ")")
    }
    if x.isInCutover { return .text("a peer in a cutover may stand for many clients") }
    if x.downstream.listener?.watch.isClosed == true {
      return .text("the listener's clients have become one (on_collapse: refuse)")
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

  /// Some routes were closed or opened, or those that need to tell clients apart are.
  func renewClosures() {
    closureEnds = shared.routes.ends()
    endTunnelsOfClosedRoutes()
  }

  /// Ends each tunnel that took a route which is closed, and each that could not be begun now: a reload may have closed its route,
  /// or given its requests to another one. Requests under way come to their end.
  func endTunnelsOfClosedRoutes() {
    for x in exchanges.all where x.isTunnel && x.refusal == nil {
      var refusal = x.route.flatMap { RouteGate.refusal(x, $0, self) }
      if refusal == nil, case .route(let now) = plan.route(of: x) {
        refusal = RouteGate.refusal(x, now, self)
      }
      guard let refusal else { continue }
      x.refusal = refusal
      counters.add(refusal)
      TunnelClosing.beginAtOnce(x, self)
    }
  }
}
