// Counts by route and by server: each duration in its bucket, histograms that add up, and labels that are bounded however many
// routes come and go.

import Foundation
import Platform
import Policy
import Proxy
import Testing

@Suite struct RequestCountsTests {
  @Test func eachDurationIsInTheFirstBucketThatHoldsIt() {
    let bounds = DurationBuckets.bounds
    #expect(bounds.count + 1 == DurationBuckets.count)
    #expect(bounds.map(\.microseconds) == bounds.map(\.microseconds).sorted())
    for (index, bound) in bounds.enumerated() {
      #expect(DurationBuckets.index(microseconds: bound.microseconds) == index)
      #expect(DurationBuckets.index(microseconds: bound.microseconds + 1) == index + 1)
      #expect(Double(bound.text) == Double(bound.microseconds) / 1_000_000)
    }
    #expect(DurationBuckets.index(microseconds: 0) == 0)
    #expect(DurationBuckets.index(microseconds: .max) == DurationBuckets.count - 1)
  }

  @Test func statusesAreCountedByClass() {
    let counts = RequestCounts()
    for status in [0, 101, 200, 204, 301, 404, 499, 503, 600, 999, -1] { counts.note(status: status) }
    let total = RequestCounts.Total([counts])
    #expect((0..<RequestCounts.classes.count).map { total.responses($0) } == [2, 1, 2, 1, 2, 3])
  }

  @Test func secondsAreWrittenWithoutRounding() {
    #expect(RequestCounts.Total.seconds(0) == "0.000000")
    #expect(RequestCounts.Total.seconds(1_000_001) == "1.000001")
    #expect(RequestCounts.Total.seconds(123_456_789) == "123.456789")
  }

  private func sample(_ page: String, _ name: String) -> String? {
    page.split(separator: "\n").first { $0.hasPrefix(name + " ") }.map { String($0.dropFirst(name.count + 1)) }
  }

  @Test func aRouteIsTheSumOfItsWorkers() {
    let metrics = RouteMetrics(workers: 2)
    let (one, other) = (metrics.counts(of: ["api"], worker: 0)[0], metrics.counts(of: ["api"], worker: 1)[0])
    #expect(one !== other && one === metrics.counts(of: ["api"], worker: 0)[0])
    for counts in [one, other] {
      counts.note(status: 200)
      counts.note(microseconds: 2_000)
    }
    other.note(microseconds: 90_000_000)
    other.noteRetries(3)
    let page = metrics.text
    #expect(sample(page, "countersign_route_responses_total{route=\"api\",class=\"2xx\"}") == "2")
    #expect(sample(page, "countersign_route_responses_total{route=\"api\",class=\"none\"}") == "0")
    let bucket = { (bound: String) in
      self.sample(page, "countersign_route_duration_seconds_bucket{route=\"api\",le=\"\(bound)\"}")
    }
    #expect(bucket("0.001") == "0" && bucket("0.0025") == "2" && bucket("60") == "2" && bucket("+Inf") == "3")
    #expect(sample(page, "countersign_route_duration_seconds_count{route=\"api\"}") == "3")
    #expect(sample(page, "countersign_route_duration_seconds_sum{route=\"api\"}") == "90.004000")
    #expect(sample(page, "countersign_route_retries_total{route=\"api\"}") == "3")
  }

  @Test func labelsAreBounded() {
    let metrics = RouteMetrics(workers: 1)
    var held: [RequestCounts] = []
    for index in 0..<RouteMetrics.routesMax + 50 {
      let counts = metrics.counts(of: ["r\(index)"], worker: 0)[0]
      counts.note(status: 200)
      held.append(counts)
    }
    // The last of them count together.
    #expect(held[RouteMetrics.routesMax] === held[RouteMetrics.routesMax + 49])
    let labels = Set(metrics.text.matches(of: /route="([^"]*)"/).map { String($0.1) })
    #expect(labels.count == RouteMetrics.routesMax + 1 && labels.contains(RouteMetrics.others))
    #expect(sample(metrics.text, "countersign_route_responses_total{route=\"all others\",class=\"2xx\"}") == "50")
    withExtendedLifetime(held) {}
  }

  /// Else a reload of many routes would hold up every worker for seconds: the rows are under one lock.
  @Test func aPlanLooksOnceForWhatNobodyUses() {
    let metrics = RouteMetrics(workers: 4)
    let routes = (0..<RouteMetrics.routesMax * 4).map { "r\($0)" }
    let plans = (0..<4).map { metrics.counts(of: routes, worker: $0) }
    #expect(metrics.sweeps == 4)
    for plan in plans {
      #expect(plan.count == routes.count)
      #expect(Set(plan.map(ObjectIdentifier.init)).count == RouteMetrics.routesMax + 1)
    }
    withExtendedLifetime(plans) {}
  }

  @Test func aRouteThatNobodyHasIsForgotten() {
    let metrics = RouteMetrics(workers: 2)
    var counts: RequestCounts? = metrics.counts(of: ["old"], worker: 1)[0]
    counts?.note(status: 200)
    // One worker still has the plan with it.
    #expect(metrics.text.contains("route=\"old\""))
    counts = nil
    #expect(metrics.text.isEmpty)
    // It begins anew.
    let again = metrics.counts(of: ["old"], worker: 1)[0]
    #expect(sample(metrics.text, "countersign_route_responses_total{route=\"old\",class=\"2xx\"}") == "0")
    withExtendedLifetime(again) {}
  }

  @Test func serversAreBoundedToo() throws {
    let directory = ServerDirectory(workers: 1)
    let upstream = directory.upstream("app")
    let names = (0..<ServerMetrics.serversMax + 10).map { "10.0.\($0 / 256).\($0 % 256):80" }
    upstream.take(names, startsSlowly: false, nowMilliseconds: 0)
    let page = ServerMetrics.text(directory, now: Clock.read())
    let labels = Set(page.matches(of: /server="([^"]*)"/).map { String($0.1) })
    #expect(labels.count == ServerMetrics.serversMax + 1 && labels.contains(ServerMetrics.others))
    #expect(page.contains("countersign_server_up{upstream=\"app\",server=\"10.0.0.7:80\"} 1\n"))
    #expect(page.contains("countersign_server_state{upstream=\"app\",server=\"10.0.0.7:80\",state=\"up\"} 1\n"))
    #expect(page.contains("countersign_server_state{upstream=\"app\",server=\"10.0.0.7:80\",state=\"ejected\"} 0\n"))
    #expect(page.contains("countersign_server_failed_tries_total{upstream=\"app\",server=\"all others\"} 0\n"))
  }

  @Test func everyStateHasItsSample() {
    #expect(Set(ServerStatus.Report.states).count == ServerStatus.Report.states.count)
    let directory = ServerDirectory(workers: 1)
    let upstream = directory.upstream("app")
    upstream.take(["a:1"], startsSlowly: false, slowStartMilliseconds: 60_000, nowMilliseconds: 0)
    let now = Clock.Reading(wallMilliseconds: 1_000, monotonicMilliseconds: 1_000)
    let server = upstream.server("a:1")
    var seen: Set<String> = []
    func look(_ milliseconds: UInt64 = 1_000) {
      let page = ServerMetrics.text(
        directory, now: Clock.Reading(wallMilliseconds: milliseconds, monotonicMilliseconds: milliseconds))
      let states = page.matches(of: /countersign_server_state\{[^}]*state="([^"]*)"\} 1/).map { String($0.1) }
      #expect(states.count == 1, "\(states)")
      seen.formUnion(states)
    }
    look()
    #expect(server.setChecks(pass: false, why: "x", now: now))
    look()
    #expect(server.setChecks(pass: true, why: "", now: now))
    look()
    #expect(server.setOrder(.drain, user: 0, why: "", now: now))
    look()
    #expect(server.setOrder(.down, user: 0, why: "", now: now))
    look()
    _ = server.setOrder(.up, user: 0, why: "", now: now)
    upstream.take(["a:1", "b:1"], startsSlowly: false, slowStartMilliseconds: 60_000, nowMilliseconds: 1_000)
    var passive = Config.Passive()
    passive.failures = 1
    upstream.take(["a:1", "b:1"], startsSlowly: false, slowStartMilliseconds: 60_000, nowMilliseconds: 0)
    guard case .ejected = upstream.noteFailure(server, passive, what: "x", now: now) else {
      Issue.record("not ejected")
      return
    }
    func state(_ milliseconds: UInt64) -> String {
      "\(server.report(slowStartMilliseconds: 60_000, nowMilliseconds: milliseconds).state)"
    }
    seen.formUnion([state(1_001), state(1_000 + UInt64(passive.ejectMilliseconds))])
    #expect(seen == Set(ServerStatus.Report.states))
  }
}
