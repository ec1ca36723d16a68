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

  // MARK: Upgrades

  /// Through all of it: while it learns, in a collapse, and until that is over.
  @Test func aMonitorThatIsCarriedOverAtAnyTimeGoesOnAsIfItHadNotBeen() throws {
    let (kept, start) = (CollapseMonitor(name: "public"), UInt64(10_000))
    var carried = CollapseMonitor(name: "public")
    var changes: [String] = []
    for step in 0..<200 {
      // Some of it in the middle of a block.
      let now = start + UInt64(step) * 900
      let sketch = Self.sketch(clients: (70..<120).contains(step) ? 1 : 40 + step % 7)
      let ours = kept.take(requests: sketch, connections: sketch, nowMilliseconds: now)
      let theirs = carried.take(requests: sketch, connections: sketch, nowMilliseconds: now)
      #expect("\(ours)" == "\(theirs)" && kept.isCollapsed == carried.isCollapsed, "step \(step)")
      #expect(kept.figures == carried.figures)
      changes += ours.map { "\($0)".contains("collapsed") ? "collapsed" : "\($0)" }
      carried = try CollapseMonitor(carried.carried, nowMilliseconds: now)
      #expect(carried.isCollapsed == kept.isCollapsed && carried.carried == kept.carried, "step \(step)")
    }
    #expect(changes == ["collapsed", "recovered"])
    #expect(carried.figures.collapses == 1)
  }

  private static func collapsed() -> CollapseMonitor {
    let monitor = CollapseMonitor(name: "public")
    for step in 0..<60 where !monitor.isCollapsed {
      let sketch = sketch(clients: step < 30 ? 40 : 1)
      _ = monitor.take(requests: sketch, connections: sketch, nowMilliseconds: UInt64(step) * 2_000)
    }
    return monitor
  }

  @Test func whatIsCarriedOverIsReadWholeOrNotAtAll() throws {
    let monitor = Self.collapsed()
    #expect(monitor.isCollapsed)
    let carried = monitor.carried
    let now: UInt64 = 60 * 2_000
    #expect(try CollapseMonitor(carried, nowMilliseconds: now).carried == carried)
    func isRead(_ bytes: [UInt8]) -> HandoverLate.Monitor? {
      try? CollapseMonitor(.init(listener: "public", bytes: bytes), nowMilliseconds: now).carried
    }
    for count in carried.bytes.indices { #expect(isRead(Array(carried.bytes[..<count])) == nil, "\(count) bytes") }
    #expect(isRead(carried.bytes + [0]) == nil)
    let sketch = Self.sketch(clients: 40)
    // Whatever is changed, nothing is read that would be written in another way; and nothing that is read ends the process.
    for at in carried.bytes.indices {
      for mask in [1, 0x80, 0xff] as [UInt8] {
        var bytes = carried.bytes
        bytes[at] ^= mask
        guard let read = isRead(bytes) else { continue }
        #expect(read.bytes == bytes, "byte \(at)")
        let other = try CollapseMonitor(read, nowMilliseconds: now)
        for step in 0..<3 as Range<UInt64> {
          _ = other.take(requests: sketch, connections: sketch, nowMilliseconds: now + step * 2_000)
          _ = other.figures
        }
      }
    }
    // A time that is still to come would hold up everything until then.
    #expect(throws: HandoverFault.self) { try CollapseMonitor(carried, nowMilliseconds: 10_000) }
  }

  private static func listeners(_ all: [(name: String, address: String)]) throws -> [Config.Listener] {
    let text = all.map {
      "  - { name: \($0.name), listen: \"\($0.address)\", trust: [{ from: any, evidence: socket }] }\n"
    }.joined()
    let read = ConfigReader.read(
      text: """
        listeners:
        \(text)
        upstreams: { u: { servers: ["127.0.0.1:1"], identity: plain } }
        routes: [{ to: u }]
        """, path: "test.yaml")
    return try #require(read.config, "\(read.diagnostics)").listeners
  }

  /// By a reload as by an upgrade: what a listener is called decides nothing where its address is known.
  @Test func whatIsKnownOfClientsStaysWithTheAddressThatTheyConnectTo() throws {
    let monitors = try CollapseMonitors()
    func follow(
      _ old: [(name: String, address: String)], _ new: [(name: String, address: String)]
    ) throws -> [String] {
      monitors.follow(try Self.listeners(old), try Self.listeners(new)).map(\.name)
    }
    let first = [(name: "a", address: "127.0.0.1:8001"), (name: "b", address: "127.0.0.1:8002")]
    let (a, b) = (monitors.monitor("a"), monitors.monitor("b"))
    for step in 0..<60 where !a.isCollapsed {
      let sketch = Self.sketch(clients: step < 30 ? 40 : 1)
      _ = a.take(requests: sketch, connections: sketch, nowMilliseconds: UInt64(step) * 2_000)
    }
    #expect(a.isCollapsed && !b.isCollapsed)

    let exchanged = [(name: "b", address: "127.0.0.1:8001"), (name: "a", address: "127.0.0.1:8002")]
    #expect(try follow(first, exchanged) == [])
    #expect(monitors.monitor("b") === a && monitors.monitor("a") === b && a.name == "b" && b.name == "a")

    let renamed = [(name: "c", address: "127.0.0.1:8001"), (name: "a", address: "127.0.0.1:8002")]
    #expect(try follow(exchanged, renamed) == [])
    #expect(monitors.monitor("c") === a && a.name == "c" && monitors.all.map(\.name) == ["a", "c"])

    // A new address under the same name is the same listener; one that takes its name is another.
    let moved = [(name: "c", address: "127.0.0.1:8003"), (name: "a", address: "127.0.0.1:8002")]
    #expect(try follow(renamed, moved) == [])
    #expect(monitors.monitor("c") === a)
    let taken = [(name: "c", address: "127.0.0.1:8002")]
    #expect(try follow(moved, taken) == ["c"], "a collapse that nobody watches any more is told")
    #expect(monitors.monitor("c") === b)

    // Gone, and back again.
    #expect(try follow(taken, [(name: "d", address: "127.0.0.1:8004")]) == [])
    #expect(try follow([(name: "d", address: "127.0.0.1:8004")], taken) == [])
    #expect(monitors.monitor("c") === b)
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
