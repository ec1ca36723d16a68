// What the metrics page says of servers: whether each may have requests and why not, what it answered and how fast, what failed
// there, and who waits for a place. The servers are those that there are now (ServerDirectory); after the first few hundred the others
// are counted together.

import Platform

package enum ServerMetrics {
  /// Servers with rows of their own.
  package static let serversMax = 256
  /// The label of all others of an upstream. No server is called so.
  package static let others = "all others"

  private struct Row {
    let labels: String
    var total = RequestCounts.Total()
    var report: ServerStatus.Report?
  }

  private static func rows(_ upstreams: [UpstreamStatus], now: Clock.Reading) -> [Row] {
    var rows: [Row] = []
    var named = 0
    for upstream in upstreams {
      var rest: Row?
      for server in upstream.all {
        if named < serversMax {
          named += 1
          let labels = "upstream=\"\(upstream.name)\",server=\"\(MetricsPage.escaped(server.name))\""
          rows.append(
            Row(
              labels: labels, total: RequestCounts.Total(server.counts),
              report: server.report(
                slowStartMilliseconds: upstream.slowStartMilliseconds, nowMilliseconds: now.monotonicMilliseconds)))
        } else {
          var other = rest ?? Row(labels: "upstream=\"\(upstream.name)\",server=\"\(others)\"")
          for counts in server.counts { other.total.add(counts) }
          rest = other
        }
      }
      if let rest { rows.append(rest) }
    }
    return rows
  }

  /// Prometheus text.
  package static func text(_ directory: ServerDirectory, now: Clock.Reading) -> String {
    let upstreams = directory.all
    let rows = rows(upstreams, now: now)
    var page = family(
      "server_up", "gauge",
      "Whether a server may have requests: 0 while checks fail, it is ejected, or an operator says so.")
    for row in rows {
      guard let report = row.report else { continue }
      page += "countersign_server_up{\(row.labels)} \(report.standing == .serving ? 1 : 0)\n"
    }
    page += family("server_state", "gauge", "In which state a server is: 1 for that one.")
    for row in rows {
      guard let report = row.report else { continue }
      for state in ServerStatus.Report.states {
        page += "countersign_server_state{\(row.labels),state=\"\(state)\"} \(state == "\(report.state)" ? 1 : 0)\n"
      }
    }
    page += family("waiting_requests", "gauge", "Requests that wait for a place at a server.")
    for upstream in upstreams {
      page += "countersign_waiting_requests{upstream=\"\(upstream.name)\"} \(upstream.waiting.count)\n"
    }
    page += family(
      "server_responses_total", "counter", "Responses of a server by class of status, also those that were tried again."
    )
    for row in rows { page += row.total.responses("countersign_server_responses_total", row.labels) }
    page += family(
      "server_response_duration_seconds", "histogram",
      "From the try of a request at a server, connecting included, to the head of the response.")
    for row in rows { page += row.total.histogram("countersign_server_response_duration_seconds", row.labels) }
    page += family("server_failed_tries_total", "counter", "Tries of requests that failed at a server.")
    for row in rows { page += "countersign_server_failed_tries_total{\(row.labels)} \(row.total.failures)\n" }
    return page
  }

  private static func family(_ name: String, _ type: String, _ help: String) -> String {
    "# HELP countersign_\(name) \(help)\n# TYPE countersign_\(name) \(type)\n"
  }
}
