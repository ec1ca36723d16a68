// When a collapse is over although no request says so: nothing that it leads to may last for ever.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct CollapseMonitorTests {
  private static func sketch(clients: Int) -> ClientSketch {
    var sketch = ClientSketch()
    for number in 0..<200 {
      let client = IPAddress(v4: 0xcb00_7100 | UInt32(number % clients))
      sketch.observe(ClientSketch.key(client, secret: 7), isPrivate: false)
    }
    return sketch
  }

  @Test func aCollapseIsForgottenAfterAnHourWithoutRequests() {
    let monitor = CollapseMonitor(name: "public")
    var now: UInt64 = 0
    func take(clients: Int) -> [CollapseMonitor.Change] {
      now += 2_000
      let sketch = Self.sketch(clients: clients)
      return monitor.take(requests: sketch, connections: sketch, nowMilliseconds: now)
    }
    for _ in 0..<30 { _ = take(clients: 40) }
    for _ in 0..<30 where !monitor.isCollapsed { _ = take(clients: 1) }
    #expect(monitor.isCollapsed)
    #expect(monitor.figures.collapses == 1)
    now += 3_700_000
    let changes = take(clients: 40)
    #expect(!monitor.isCollapsed)
    // Or whoever was told of the collapse is never told of its end.
    #expect(changes.count == 1)
    guard case .forgotten? = changes.first else {
      Issue.record("\(changes)")
      return
    }
    #expect(monitor.figures.collapses == 1, "a counter goes back")
  }

  @Test func aProcessIsReadyAgainAMinuteAfterTheLastRequestOfACollapse() {
    let readiness = ServiceReadiness()
    readiness.set(.loading, false)
    func reason(_ now: UInt64) -> ServiceReadiness.Reason? {
      readiness.reason(Clock.Reading(wallMilliseconds: 1, monotonicMilliseconds: now))
    }
    #expect(reason(1_000) == nil)
    readiness.noteCollapse(nowMilliseconds: 1_000)
    #expect(reason(60_999) == .collapse)
    #expect(reason(61_000) == nil)
    readiness.noteCollapse(nowMilliseconds: 61_000)
    #expect(reason(61_001) == .collapse)
    readiness.endCollapse()
    #expect(reason(61_001) == nil)
  }
}
