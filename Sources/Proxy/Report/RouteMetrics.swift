// What is counted by route, for as long as some worker's plan has it: the rows of a route that a reload took away end with the last
// plan, and so does a label that nobody uses. How many labels there are is bounded: what comes on top is counted together.
// Workers ask for their row as they make a plan; nothing here is touched on a request's path.

import Synchronization

package final class RouteMetrics: Sendable {
  /// Routes with rows of their own.
  package static let routesMax = 256
  /// The label of all others. No route has it: the name of one has no blank, and without a name it is `line 12`.
  package static let others = "all others"

  private let workers: Int
  private struct State {
    /// For each route, one for each worker.
    var rows: [String: [RequestCounts]] = [:]
    var sweeps = 0
  }
  private let state = Mutex(State())
  /// How often rows were looked for that nobody uses, which takes time for each row and worker.
  package var sweeps: Int { state.withLock { $0.sweeps } }

  package init(workers: Int) { self.workers = workers }

  /// A worker's counts of a plan's routes, in their order.
  package func counts(of routes: [String], worker: Int) -> [RequestCounts] {
    state.withLock { state in
      if routes.contains(where: { state.rows[$0] == nil }) { RouteMetrics.forgetUnused(&state) }
      return routes.map { route in
        if let known = state.rows[route] { return known[worker] }
        let label = state.rows.count < RouteMetrics.routesMax ? route : RouteMetrics.others
        if let known = state.rows[label] { return known[worker] }
        let new = (0..<workers).map { _ in RequestCounts() }
        state.rows[label] = new
        return new[worker]
      }
    }
  }

  /// A row that no plan has is held here alone. Nobody can ask for it meanwhile.
  private static func forgetUnused(_ state: inout State) {
    state.sweeps += 1
    for label in Array(state.rows.keys) {
      var isUsed = false
      for index in state.rows[label, default: []].indices
      where !isKnownUniquelyReferenced(&state.rows[label, default: []][index]) { isUsed = true }
      if !isUsed { state.rows[label] = nil }
    }
  }

  /// Prometheus text; empty while there is no route.
  package var text: String {
    let all = state.withLock { state in
      RouteMetrics.forgetUnused(&state)
      return state.rows.map { ($0.key, RequestCounts.Total($0.value)) }.sorted { $0.0 < $1.0 }
    }
    guard !all.isEmpty else { return "" }
    var responses = """
      # HELP countersign_route_responses_total Requests that took a route, by class of the answer's status; none: the connection ended without one.
      # TYPE countersign_route_responses_total counter

      """
    var durations = """
      # HELP countersign_route_duration_seconds From the first byte of a request to the end of its response; without WebSockets.
      # TYPE countersign_route_duration_seconds histogram

      """
    var retries = """
      # HELP countersign_route_retries_total Further tries of requests that took a route.
      # TYPE countersign_route_retries_total counter

      """
    for (route, total) in all {
      let labels = "route=\"\(MetricsPage.escaped(route))\""
      responses += total.responses("countersign_route_responses_total", labels)
      durations += total.histogram("countersign_route_duration_seconds", labels)
      retries += "countersign_route_retries_total{\(labels)} \(total.retries)\n"
    }
    return responses + durations + retries
  }
}
