// The collapse alarm on made-up traffic: what must set it off, how soon, and what must not.

import Foundation
import Policy
import TestSupport
import Testing
import Wire

@Suite struct CollapseTests {
  private static let blockSeconds = CollapseDetector.blockSeconds
  private static let balancer = IPAddress(v4: 0x5000_0001)

  /// Plays traffic second by second from `change` on another one, and says when the alarm came, counted from the change; nil: never.
  private func seconds(
    _ before: [Crowd], _ after: [Crowd], seed: UInt64, beforeSeconds: Int = 120, afterSeconds: Int = 120,
    phase: Double = 0,
    become: (IPAddress) -> IPAddress = { $0 }
  ) -> Double? {
    var traffic = Traffic(seed: seed)
    var detector = CollapseDetector()
    for _ in 0..<beforeSeconds / Self.blockSeconds {
      var sketch = ClientSketch()
      traffic.sketch(before, seconds: Double(Self.blockSeconds), into: &sketch)
      if case .collapsed(let finding) = detector.take(sketch) {
        Issue.record("an alarm before anything happened: \(finding)")
        return nil
      }
    }
    // The change comes in the middle of a block.
    var elapsed = -phase
    for _ in 0..<afterSeconds / Self.blockSeconds {
      var sketch = ClientSketch()
      let old = max(0, -elapsed)
      traffic.sketch(before, seconds: old, into: &sketch)
      traffic.sketch(after, seconds: Double(Self.blockSeconds) - old, into: &sketch, become: become)
      elapsed += Double(Self.blockSeconds)
      if case .collapsed = detector.take(sketch) { return elapsed }
    }
    return nil
  }

  // MARK: What must set it off

  /// Of 20 clients and of 10,000, at 100 requests a second within 10 s and at 1,000 within 5 s: the half second in which a worker
  /// hands over what it saw, and the second in which an idle one does, are taken off.
  @Test(arguments: [
    (20, 100.0, 8.5), (60, 100, 8.5), (500, 100, 8.5), (10_000, 100, 8.5), (40, 1_000, 3.5), (10_000, 1_000, 4),
  ])
  func manyClientsThatBecomeOneAreNoticedInTime(_ population: Int, _ rate: Double, _ most: Double) {
    let crowd = [Crowd(name: 1, population: population, rate: rate, skew: population < 50 ? 0.2 : 0.8)]
    var worst = 0.0
    for seed in 0..<40 as Range<UInt64> {
      for phase in [0, 0.5, 1, 1.5] {
        guard let time = seconds(crowd, crowd, seed: seed, phase: phase, become: { _ in Self.balancer }) else {
          Issue.record("seed \(seed), phase \(phase): no alarm")
          continue
        }
        worst = max(worst, time)
      }
    }
    #expect(worst <= most, "\(worst) s")
  }

  /// Load balancers are several: the clients become as few as they are.
  @Test(arguments: [2, 3, 5]) func manyClientsThatBecomeAFewAreNoticed(_ balancers: Int) throws {
    let crowd = [Crowd(name: 1, population: 400, rate: 200)]
    for seed in 0..<20 as Range<UInt64> {
      let time = seconds(crowd, crowd, seed: seed) { IPAddress(v4: 0x5000_0000 + UInt32($0.low % UInt64(balancers))) }
      #expect(try #require(time, "seed \(seed)") <= 10)
    }
  }

  /// Network address translation in front: the clients become the addresses of some fifty hosts.
  @Test func clientsOfTheInternetThatBecomePrivateAreNoticed() throws {
    let crowd = [Crowd(name: 1, population: 400, rate: 200)]
    for seed in 0..<20 as Range<UInt64> {
      let time = seconds(crowd, crowd, seed: seed) { IPAddress(v4: 0x0a01_0000 + UInt32($0.low % 50)) }
      #expect(try #require(time, "seed \(seed)") <= 10)
    }
  }

  /// A tenth of the traffic is by clients whose way is another one, or who kept their connections.
  @Test func aFewWhoStayDoNotHideIt() throws {
    let before = [Crowd(name: 1, population: 400, rate: 190), Crowd(name: 2, population: 20, rate: 10)]
    for seed in 0..<20 as Range<UInt64> {
      let time = seconds(before, before, seed: seed) { $0.low >> 16 == 0x2001 ? Self.balancer : $0 }
      #expect(try #require(time, "seed \(seed)") <= 10)
    }
  }

  /// Mostly an outage comes first: nothing gets through, and somebody "repairs" that.
  @Test(arguments: [4, 10, 60, 600], [0, 4, 14])
  func anOutageBeforeItDoesNotHideIt(_ outageSeconds: Int, _ goodSeconds: Int) {
    for seed in 0..<10 as Range<UInt64> {
      var traffic = Traffic(seed: seed)
      var detector = CollapseDetector()
      let crowd = [Crowd(name: 1, population: 40, rate: 100, skew: 0.3)]
      var noticed: Int?
      for second in stride(from: -120 - outageSeconds - goodSeconds, to: 60, by: 2) where noticed == nil {
        var sketch = ClientSketch()
        let isOut = second >= -outageSeconds - goodSeconds && second < -goodSeconds
        if !isOut { traffic.sketch(crowd, seconds: 2, into: &sketch) { second < 0 ? $0 : Self.balancer } }
        if case .collapsed = detector.take(sketch) { noticed = second }
      }
      #expect((0...8).contains(noticed ?? -1), "seed \(seed): \(noticed.map { "\($0) s" } ?? "not noticed")")
    }
  }

  /// At three requests a second it takes minutes, for there is not much to see.
  @Test func itIsNoticedAtANight() throws {
    let crowd = [Crowd(name: 1, population: 60, rate: 3)]
    for seed in 0..<10 as Range<UInt64> {
      let time = seconds(
        crowd, crowd, seed: seed, beforeSeconds: 3_600, afterSeconds: 600, become: { _ in Self.balancer })
      #expect(try #require(time, "seed \(seed)") <= 130)
    }
  }

  /// It is over when the others are back, and the next one is noticed as well.
  @Test func itEndsWhenTheOthersAreBack() {
    var traffic = Traffic(seed: 7)
    var detector = CollapseDetector()
    let crowd = [Crowd(name: 1, population: 200, rate: 100)]
    var changes: [String] = []
    for block in 0..<600 {
      var sketch = ClientSketch()
      let isBroken = (100..<200).contains(block) || (400..<450).contains(block)
      traffic.sketch(crowd, seconds: 2, into: &sketch) { isBroken ? Self.balancer : $0 }
      switch detector.take(sketch) {
      case .none: break
      case .collapsed: changes.append("collapsed \(block)")
      case .recovered: changes.append("recovered \(block)")
      case .becameUsual: changes.append("usual")
      }
    }
    #expect(changes == ["collapsed 100", "recovered 201", "collapsed 400", "recovered 451"], "\(changes)")
    #expect(!detector.isCollapsed)
  }

  @Test func aDayOfItIsUsual() {
    var traffic = Traffic(seed: 7)
    var detector = CollapseDetector()
    var changes: [CollapseDetector.Change] = []
    for block in 0..<44_000 {
      var sketch = ClientSketch()
      traffic.sketch([Crowd(name: 1, population: 200, rate: 40)], seconds: 2, into: &sketch) {
        block < 100 ? $0 : Self.balancer
      }
      let change = detector.take(sketch)
      if change != .none { changes.append(change) }
    }
    #expect(changes.count == 2 && changes.last == .becameUsual, "\(changes)")
  }

  // MARK: What must not

  /// Each is a day of its own, of two-second blocks, by the hour of the day: what comes then.
  static let days: [(name: String, crowds: @Sendable (Double) -> [Crowd])] = [
    ("a day and a night", { [Crowd(name: 1, population: 3_000, rate: 2 + 38 * sun($0))] }),
    (
      "a night with a monitor that asks all the time",
      {
        [Crowd(name: 1, population: 3_000, rate: 0.2 + 40 * sun($0)), Crowd(name: 2, population: 1, rate: 1)]
      }
    ),
    (
      "one NAT of a school that comes and goes",
      {
        [Crowd(name: 1, population: 800, rate: 20), Crowd(name: 2, population: 1, rate: $0 > 8 && $0 < 16 ? 120 : 0)]
      }
    ),
    (
      "a load test from one host for an hour, and again",
      {
        [
          Crowd(name: 1, population: 800, rate: 5 + 20 * sun($0)),
          Crowd(name: 2, population: 1, rate: $0 > 3 && $0 < 4 || $0 > 14 && $0 < 14.2 ? 400 : 0),
        ]
      }
    ),
    (
      "a provider's customers behind thirty addresses, most of the traffic in the evening",
      {
        [Crowd(name: 1, population: 200, rate: 12), Crowd(name: 2, population: 30, rate: 60 * evening($0), skew: 0.3)]
      }
    ),
    (
      "a privacy relay of a hundred addresses",
      {
        [Crowd(name: 1, population: 300, rate: 10 + 10 * sun($0)), Crowd(name: 2, population: 100, rate: 30 * sun($0))]
      }
    ),
    (
      "an office that all sit in during the day",
      {
        let home = $0 < 9 || $0 > 17 ? 1.0 : $0 < 10 ? 10 - $0 : 0
        return [
          Crowd(name: 1, population: 40, rate: 20 * home), Crowd(name: 2, population: 1, rate: 20 * (1 - home)),
        ]
      }
    ),
    (
      "a hundred devices that ask on the minute, and one that always does",
      { hour in
        let second = Int((hour * 3_600).rounded()) % 60
        return [
          Crowd(name: 1, population: 1_000, rate: second < 2 ? 500 : 0, skew: 0),
          Crowd(name: 2, population: 1, rate: 40),
        ]
      }
    ),
    (
      "an outage of ten minutes in which only the monitor gets through",
      {
        [Crowd(name: 1, population: 500, rate: $0 > 11 && $0 < 11.17 ? 0 : 30), Crowd(name: 2, population: 1, rate: 2)]
      }
    ),
    ("a link on a front page", { [Crowd(name: 1, population: 20_000, rate: $0 > 12 && $0 < 13 ? 150 : 8)] }),
    ("few clients", { [Crowd(name: 1, population: 6, rate: 10 + 10 * sun($0))] }),
    (
      "a partner's one server beside the public, now less and now more",
      {
        [Crowd(name: 1, population: 400, rate: 15), Crowd(name: 2, population: 1, rate: 100 * abs(sin($0 * 3)))]
      }
    ),
    (
      "an intranet, and a few from outside",
      {
        [
          Crowd(name: 1, population: 200, rate: 20 * sun($0) + 1, isPrivate: true),
          Crowd(name: 2, population: 50, rate: 4),
        ]
      }
    ),
  ]

  private static func sun(_ hour: Double) -> Double { max(0, sin((hour - 6) / 12 * .pi)) }
  private static func evening(_ hour: Double) -> Double { max(0, sin((hour - 15) / 9 * .pi)) }

  @Test(arguments: days.indices) func aDayOfRealCrowdsSetsNothingOff(_ index: Int) {
    var traffic = Traffic(seed: UInt64(index) + 1)
    var detector = CollapseDetector()
    var alarms: [String] = []
    for block in 0..<86_400 / Self.blockSeconds {
      var sketch = ClientSketch()
      let hour = Double(block * Self.blockSeconds) / 3_600
      traffic.sketch(Self.days[index].crowds(hour), seconds: Double(Self.blockSeconds), into: &sketch)
      if case .collapsed(let finding) = detector.take(sketch) { alarms.append("at \(hour): \(finding)") }
    }
    #expect(alarms.isEmpty, "\(Self.days[index].name): \(alarms)")
  }

  // MARK: The sketch

  @Test(arguments: [1, 2, 5, 20, 100, 500, 2_000]) func distinctClientsAreCountedToAFewInAHundred(_ clients: Int) {
    for secret in 1...20 as ClosedRange<UInt64> {
      var sketch = ClientSketch()
      for client in 0..<clients {
        for _ in 0..<3 {
          sketch.observe(ClientSketch.key(IPAddress(v4: UInt32(client)), secret: secret << 40), isPrivate: false)
        }
      }
      #expect(
        abs(sketch.distinct - Double(clients)) <= max(2, Double(clients) * 0.09), "\(sketch.distinct) of \(clients)")
    }
  }

  /// In whatever order, and in however many parts they came.
  @Test func theMostFrequentAreKept() {
    var random = Seeded(3)
    for _ in 0..<50 {
      var parts = [ClientSketch](repeating: ClientSketch(), count: 4)
      var requests = [UInt32](repeating: 1, count: 3_000) + [UInt32](repeating: 2, count: 1_500)
      requests += (0..<1_500).map { _ in UInt32(truncatingIfNeeded: 10 + random.next() % 5_000) }
      for client in requests.shuffled(using: &random) {
        parts[Int(random.next() % 4)].observe(
          ClientSketch.key(IPAddress(v4: client), secret: 9), isPrivate: client == 2)
      }
      var whole = ClientSketch()
      for part in parts { whole.merge(part) }
      #expect(whole.count == 6_000 && whole.privateCount == 1_500)
      var others = InlineArray<8, Double>(repeating: 0)
      whole.countOthers(&others)
      #expect((3_000...3_400).contains(others[0]) && (1_500...2_200).contains(others[1]), "\(others[0]) \(others[1])")
    }
  }

  @Test(arguments: [
    ("10.1.2.3", true), ("172.16.0.1", true), ("172.32.0.1", false), ("192.168.9.9", true), ("100.64.0.1", true),
    ("100.128.0.1", false), ("127.0.0.1", true), ("169.254.1.1", true), ("8.8.8.8", false), ("fd00::1", true),
    ("fe80::1", true),
    ("2001:db8::1", false), ("::1", true), ("::ffff:10.0.0.1", true), ("11.0.0.1", false),
  ]) func aPrivateAddressIsKnown(_ text: String, _ isPrivate: Bool) throws {
    #expect(try #require(IPAddress(text)).isPrivate == isPrivate)
  }
}
