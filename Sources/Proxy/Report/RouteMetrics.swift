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
  /// For each route, one for each worker.
  private let rows = Mutex<[String: [RequestCounts]]>([:])

  package init(workers: Int) { self.workers = workers }

  /// A worker's counts of a route.
  package func counts(of route: String, worker: Int) -> RequestCounts {
    rows.withLock { rows in
      if let known = rows[route] { return known[worker] }
      RouteMetrics.forgetUnused(&rows)
      let label = rows.count < RouteMetrics.routesMax ? route : RouteMetrics.others
      if let known = rows[label] { return known[worker] }
      let new = (0..<workers).map { _ in RequestCounts() }
      rows[label] = new
      return new[worker]
    }
  }

  /// A row that no plan has is held here alone. Nobody can ask for it meanwhile.
  private static func forgetUnused(_ rows: inout [String: [RequestCounts]]) {
    for label in Array(rows.keys) {
      var isUsed = false
      for index in rows[label, default: []].indices
      where !isKnownUniquelyReferenced(&rows[label, default: []][index]) { isUsed = true }
      if !isUsed { rows[label] = nil }
    }
  }

  /// Prometheus text; empty while there is no route.
  package var text: String {
    let all = rows.withLock { rows in
      RouteMetrics.forgetUnused(&rows)
      return rows.map { ($0.key, RequestCounts.Total($0.value)) }.sorted { $0.0 < $1.0 }
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
