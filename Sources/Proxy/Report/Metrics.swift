// What is counted. Each worker counts in words of its own; the admin thread adds them up when asked.

import Platform
import Wire

package enum Counter: Int, CaseIterable {
  case connections, requests, responses1xx, responses2xx, responses3xx, responses4xx, responses5xx
  case bytesIn, bytesOut, upstreamConnections, upstreamReused, retries, retriesDenied, startingRetries, tunnels,
    tunnelsClosed, observed
  case serverFailures, ejections, lastResorts, queued, ratesShared, passwordChecks
  case compressedResponses, compressedBytesIn, compressedBytesOut, compressionsSkipped
  case checksReady, checksUnready, checksConnected, cutoverRequests
  case verifiedEnforced, verifiedObserved, verifiedRefused, verifiedNot
  case acceptPauses, reloads
  // Gauges: set, not added to.
  case openDownstreams, openUpstreams, idleUpstreams, openRequests, openTunnels, lentBuffers

  package var isGauge: Bool { rawValue >= Counter.openDownstreams.rawValue }

  package var metric: (name: String, help: String) {
    switch self {
    case .connections: ("countersign_connections_total", "Connections accepted.")
    case .requests: ("countersign_requests_total", "Request heads taken whole.")
    case .responses1xx: ("countersign_responses_total{class=\"1xx\"}", "Responses by class of status.")
    case .responses2xx: ("countersign_responses_total{class=\"2xx\"}", "")
    case .responses3xx: ("countersign_responses_total{class=\"3xx\"}", "")
    case .responses4xx: ("countersign_responses_total{class=\"4xx\"}", "")
    case .responses5xx: ("countersign_responses_total{class=\"5xx\"}", "")
    case .bytesIn: ("countersign_bytes_total{direction=\"in\"}", "Bytes of requests and responses.")
    case .bytesOut: ("countersign_bytes_total{direction=\"out\"}", "")
    case .upstreamConnections: ("countersign_upstream_connections_total", "Connections begun to upstream servers.")
    case .upstreamReused: ("countersign_upstream_reused_total", "Requests sent over a connection that was kept.")
    case .retries: ("countersign_retries_total", "Requests tried again.")
    case .retriesDenied: ("countersign_retries_denied_total", "Further tries that the retry budget did not allow.")
    case .serverFailures:
      ("countersign_server_failures_total", "Requests that failed at a server, whether or not another try served them.")
    case .ejections: ("countersign_server_ejections_total", "Servers that got no more requests because these failed.")
    case .lastResorts:
      ("countersign_last_resort_total", "Requests sent to a server that is known to fail, because all of them are.")
    case .queued: ("countersign_queued_total", "Requests that waited for a place at a server.")
    case .ratesShared:
      (
        "countersign_rate_shared_total",
        "Requests counted under a rate together with another client's, because there was no room in the table."
      )
    case .passwordChecks:
      ("countersign_password_checks_total", "Passwords that had to be checked against an htpasswd file.")
    case .compressedResponses: ("countersign_compressed_responses_total", "Responses that were compressed.")
    case .compressedBytesIn:
      ("countersign_compressed_bytes_total{stage=\"before\"}", "Content of those, before and after it was compressed.")
    case .compressedBytesOut: ("countersign_compressed_bytes_total{stage=\"after\"}", "")
    case .compressionsSkipped:
      (
        "countersign_compressions_skipped_total",
        "Responses that went as they were because as many as there may be were being compressed."
      )
    case .startingRetries: ("countersign_starting_retries_total", "Requests signed anew for a starting validator.")
    case .tunnels: ("countersign_tunnels_total", "WebSocket tunnels begun.")
    case .tunnelsClosed:
      (
        "countersign_tunnels_closed_total",
        "Tunnels ended with a Close frame to both sides: drained, or their route was closed."
      )
    case .observed: ("countersign_observed_total", "Requests that observe mode let pass without an identity.")
    case .checksReady:
      ("countersign_balancer_checks_total{answer=\"ready\"}", "Checks of load balancers, by what they were told.")
    case .checksUnready: ("countersign_balancer_checks_total{answer=\"unready\"}", "")
    case .checksConnected: ("countersign_balancer_checks_total{answer=\"none\"}", "")
    case .cutoverRequests:
      (
        "countersign_cutover_requests_total",
        "Requests that came without the PROXY header that their rule demands, within its cutover."
      )
    case .verifiedEnforced:
      (
        "countersign_attested_responses_total{verified=\"enforce\"}",
        "Responses from upstreams with identity attest, by what they say of the signature; none: nobody says that it was verified."
      )
    case .verifiedObserved: ("countersign_attested_responses_total{verified=\"observe\"}", "")
    case .verifiedRefused: ("countersign_attested_responses_total{verified=\"refused\"}", "")
    case .verifiedNot: ("countersign_attested_responses_total{verified=\"none\"}", "")
    case .acceptPauses:
      ("countersign_accept_pauses_total", "Times accepting paused because there were no more descriptors.")
    case .reloads: ("countersign_worker_reloads_total", "Configurations that workers took over.")
    case .openDownstreams: ("countersign_open_connections{side=\"downstream\"}", "Connections open now.")
    case .openUpstreams: ("countersign_open_connections{side=\"upstream\"}", "")
    case .idleUpstreams: ("countersign_idle_upstream_connections", "Kept upstream connections without a request.")
    case .openRequests: ("countersign_open_requests", "Requests under way now; without tunnels.")
    case .openTunnels: ("countersign_open_tunnels", "Tunnels open now.")
    case .lentBuffers: ("countersign_buffers_in_use", "Pooled buffers that hold bytes.")
    }
  }
}

/// One worker's counters. Written by the worker alone, read by anyone.
package final class Counters: Sendable {
  private static let refusalBase = Counter.allCases.count
  private let words = CounterWords(count: Counter.allCases.count + Refusal.allCases.count)

  package init() {}

  @inline(__always) package func add(_ counter: Counter, _ n: UInt64 = 1) { words.add(counter.rawValue, n) }
  package func set(_ counter: Counter, _ value: Int) { words.store(counter.rawValue, UInt64(max(0, value))) }
  package func add(_ refusal: Refusal) { words.add(Counters.refusalBase + Int(refusal.rawValue), 1) }

  package func value(_ counter: Counter) -> UInt64 { words.load(counter.rawValue) }
  package func value(_ refusal: Refusal) -> UInt64 { words.load(Counters.refusalBase + Int(refusal.rawValue)) }
}

package enum MetricsPage {
  /// Prometheus text (version 0.0.4) over all workers, and over the processes that this one goes on for.
  package static func text(_ workers: [Counters], earlier: CarriedCounters = CarriedCounters()) -> String {
    var page = ""
    var told: Set<Substring> = []
    for counter in Counter.allCases {
      let (name, help) = counter.metric
      let family = name.prefix { $0 != "{" }
      if told.insert(family).inserted {
        page += "# HELP \(family) \(help)\n# TYPE \(family) \(counter.isGauge ? "gauge" : "counter")\n"
      }
      page += "\(name) \(workers.reduce(earlier.value(counter)) { $0 &+ $1.value(counter) })\n"
    }
    page += "# HELP countersign_refusals_total Refusals by name.\n# TYPE countersign_refusals_total counter\n"
    for refusal in Refusal.allCases {
      let count = workers.reduce(earlier.value(refusal)) { $0 &+ $1.value(refusal) }
      page += "countersign_refusals_total{name=\"\(refusal.name)\"} \(count)\n"
    }
    return page
  }

  /// What is counted, or holds, for the process and not for a worker.
  static func text(_ shared: ProcessShared) -> String {
    """
    # HELP countersign_log_lines_dropped_total Lines lost to a disk or a reader that does not keep up.
    # TYPE countersign_log_lines_dropped_total counter
    countersign_log_lines_dropped_total{log="access"} \(shared.accessLog.dropped)
    countersign_log_lines_dropped_total{log="operational"} \(shared.operationalLog.queue.dropped)
    # HELP countersign_replay_epochs Senders whose sequence numbers are remembered.
    # TYPE countersign_replay_epochs gauge
    countersign_replay_epochs \(shared.windows.epochCount)
    # HELP countersign_routes_closed Routes that an operator has closed.
    # TYPE countersign_routes_closed gauge
    countersign_routes_closed \(shared.routes.closures.count)
    # HELP countersign_start_time_seconds When the process began.
    # TYPE countersign_start_time_seconds gauge
    countersign_start_time_seconds \(shared.start.wallMilliseconds / 1_000)

    """ + shared.names.metrics
  }
}
