// Which server a request goes to.

import Platform
import Policy
import Proxy
import Synchronization
import Testing
import Wire

@Suite struct ServerChoiceTests {
  private func plan(_ balance: Config.Balance, _ count: Int) -> (plan: UpstreamPlan, pools: [ServerPool]) {
    var config = Config.Upstream(name: "app")
    config.balance = balance
    return UpstreamPlan.of(config, count)
  }

  private func choices(
    _ plan: UpstreamPlan, _ count: Int, client: IPAddress? = nil, tried: UInt64 = 0, now: UInt64 = 1_000
  ) -> [Int] { plan.choices(count, client: client, tried: tried, now: now) }

  /// A failure then is not over at any time that is asked about.
  private static let late: UInt64 = 1 << 60
  private static let client = IPAddress(v4: 0xcb00_7109)

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func noServersIsNoChoiceAndOneIsAlwaysIt(_ balance: Config.Balance) {
    #expect(choices(plan(balance, 0).plan, 1, client: Self.client).isEmpty)
    let (one, pools) = plan(balance, 1)
    _ = pools[0].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(one, 3, client: Self.client, tried: 1) == [0, 0, 0])
  }

  // MARK: Round robin

  @Test func everyServerHasItsTurn() {
    #expect(choices(plan(.roundRobin, 3).plan, 7) == [0, 1, 2, 0, 1, 2, 0])
    #expect(choices(plan(.roundRobin, 2).plan, 4) == [0, 1, 0, 1])
  }

  @Test func aServerThatFailedLatelyIsPassedOver() {
    let (plan, pools) = plan(.roundRobin, 3)
    _ = pools[1].noteFailure(nowMilliseconds: 1_000)
    #expect(!choices(plan, 9, now: 1_999).contains(1))
    #expect(Set(choices(plan, 9, now: 1_999)) == [0, 2])
    // And is taken back when its time is over.
    #expect(Set(choices(plan, 3, now: 2_000)) == [0, 1, 2])
  }

  // MARK: Tried and avoided

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func aTriedServerComesLast(_ balance: Config.Balance) {
    let (plan, pools) = plan(balance, 3)
    pools[0].pretend(active: 9)
    for tried in UInt64(0)..<7 {
      for index in choices(plan, 4, client: Self.client, tried: tried) { #expect(tried & 1 << UInt64(index) == 0) }
    }
    // When all were tried one is tried again.
    #expect(choices(plan, 3, client: Self.client, tried: 7).count == 3)
  }

  /// It answered at least; the other one does not even take a connection.
  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func aTriedServerIsBetterThanAnUnreachableOne(_ balance: Config.Balance) {
    let (plan, pools) = plan(balance, 2)
    _ = pools[1].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 4, client: Self.client, tried: 0b01) == [0, 0, 0, 0])
    #expect(choices(plan, 4, client: Self.client, tried: 0b10) == [0, 0, 0, 0])
    _ = pools[0].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 4, client: Self.client, tried: 0b01) == [1, 1, 1, 1])
    #expect(choices(plan, 2, client: Self.client).count == 2)
  }

  @Test func thereMayBeMoreServersThanBits() {
    let (plan, pools) = plan(.roundRobin, 100)
    #expect(choices(plan, 100) == Array(0..<100))
    #expect(choices(plan, 100, tried: .max).allSatisfy { $0 >= 64 })
    for pool in pools { _ = pool.noteFailure(nowMilliseconds: Self.late) }
    #expect(choices(plan, 100, tried: 0).count == 100)
  }

  // MARK: Out of reach

  @Test func eachFurtherRestIsTwiceAsLongUpToHalfAMinute() {
    let pool = plan(.roundRobin, 1).pools[0]
    var now: UInt64 = 10_000
    for seconds in [1, 2, 4, 8, 16, 30, 30, 30] as [UInt64] {
      #expect(pool.noteFailure(nowMilliseconds: now))
      #expect(!pool.isWorthAsking(nowMilliseconds: now + seconds * 1_000 - 1))
      now += seconds * 1_000
      #expect(pool.isWorthAsking(nowMilliseconds: now))
    }
    pool.noteReached()
    #expect(pool.isWorthAsking(nowMilliseconds: 0))
    // It begins anew.
    #expect(pool.noteFailure(nowMilliseconds: now))
    #expect(pool.isWorthAsking(nowMilliseconds: now + 1_000))
  }

  @Test func failuresOfRequestsThatSetOutTogetherAreOne() {
    let pool = plan(.roundRobin, 1).pools[0]
    #expect(pool.noteFailure(nowMilliseconds: 1_000))
    for _ in 0..<100 { #expect(!pool.noteFailure(nowMilliseconds: 1_500)) }
    #expect(pool.isWorthAsking(nowMilliseconds: 2_000))
  }

  @Test func whenARestIsOverOneRequestFindsOutForAll() {
    let (plan, pools) = plan(.roundRobin, 2)
    _ = pools[0].noteFailure(nowMilliseconds: 1_000)
    #expect(choices(plan, 4, now: 2_000).contains(0))
    pools[0].noteOpening()
    #expect(choices(plan, 4, now: 2_000) == [1, 1, 1, 1])
    // It came to nothing of its own: another may ask.
    pools[0].noteOpened()
    #expect(choices(plan, 4, now: 2_000).contains(0))
    pools[0].noteOpening()
    pools[0].noteReached()
    #expect(choices(plan, 4, now: 2_000).contains(0))
  }

  // MARK: Just started

  @Test func aServerThatIsStartingIsPassedOverAndWaitedForWhereThereIsNoOther() {
    let (plan, pools) = plan(.roundRobin, 2)
    #expect(plan.waitsForStart(tried: 0, nowMilliseconds: 1_000) == 0)
    plan.noteStarting(pools[0], untilMilliseconds: 1_700)
    #expect(choices(plan, 4) == [1, 1, 1, 1])
    #expect(plan.waitsForStart(tried: 0b01, nowMilliseconds: 1_000) == 0)
    // The other one has been tried, rests, or is starting too: then the first that is to be asked again.
    #expect(plan.waitsForStart(tried: 0b11, nowMilliseconds: 1_000) == 1_700)
    plan.noteStarting(pools[1], untilMilliseconds: 1_600)
    #expect(plan.waitsForStart(tried: 0b01, nowMilliseconds: 1_000) == 1_600)
    #expect(plan.waitsForStart(tried: 0, nowMilliseconds: 1_600) == 0)
    pools[1].noteAnswered(first: true)
    _ = pools[1].noteFailure(nowMilliseconds: 1_000)
    #expect(plan.waitsForStart(tried: 0, nowMilliseconds: 1_000) == 1_700)
    #expect(plan.waitsForStart(tried: 0, nowMilliseconds: 1_700) == 0)
  }

  /// Only a connection that is still open tells that the process which answered is still there.
  @Test func aServerIsProvenAsLongAsAConnectionOverWhichItAnsweredIsOpen() {
    let (plan, pools) = plan(.roundRobin, 1)
    #expect(!pools[0].isProven)
    pools[0].noteAnswered(first: true)
    pools[0].noteAnswered(first: true)
    pools[0].noteAnsweringEnded()
    #expect(pools[0].isProven)
    plan.noteStarting(pools[0], untilMilliseconds: 2_000)
    #expect(!pools[0].isProven)
    pools[0].noteAnswered(first: false)
    #expect(pools[0].isProven)
    pools[0].noteAnsweringEnded()
    #expect(!pools[0].isProven)
  }

  // MARK: Least requests

  /// Of two that are drawn: the busiest of all is never it, and the least busy always when it is drawn, which is half the time.
  @Test func theLessBusyOfTwoIsChosen() {
    let (plan, pools) = plan(.leastRequests, 4)
    for (pool, active) in zip(pools, [3, 1, 2, 5]) { pool.pretend(active: active) }
    let drawn = choices(plan, 4_000)
    #expect(!drawn.contains(3))
    let counts = (0..<4).map { index in drawn.count { $0 == index } }
    #expect((1_800...2_200).contains(counts[1]), "\(counts)")
    #expect(counts[2] > counts[0])
    // Of two there are no others to draw.
    _ = pools[1].noteFailure(nowMilliseconds: Self.late)
    _ = pools[2].noteFailure(nowMilliseconds: Self.late)
    #expect(Set(choices(plan, 50)) == [0])
  }

  @Test func equallyBusyServersHaveTheirShare() {
    let (plan, _) = plan(.leastRequests, 3)
    let drawn = choices(plan, 3_000)
    for index in 0..<3 { #expect((850...1_150).contains(drawn.count { $0 == index })) }
  }

  // MARK: Client hash

  @Test func aClientStaysWithItsServer() throws {
    let (plan, pools) = plan(.clientHash, 5)
    let other = self.plan(.clientHash, 5).plan
    var counts = [0, 0, 0, 0, 0]
    for i in UInt32(0)..<2_000 {
      let client = IPAddress(v4: 0x0a00_0000 + i)
      let home = choices(plan, 3, client: client)
      #expect(Set(home).count == 1)
      // Every worker finds the same one.
      #expect(choices(other, 1, client: client) == [home[0]])
      counts[home[0]] += 1
    }
    for count in counts { #expect((300...500).contains(count), "\(counts)") }
    // Away only while it must be, and then always to the same one.
    let home = choices(plan, 1, client: Self.client)[0]
    _ = pools[home].noteFailure(nowMilliseconds: 4_000)
    let away = choices(plan, 5, client: Self.client, now: 4_999)
    #expect(Set(away).count == 1 && away[0] != home)
    #expect(choices(plan, 1, client: Self.client, now: 5_000) == [home])
  }

  @Test func addressesOfOnePrefixAreSpreadToo() {
    let (plan, _) = plan(.clientHash, 4)
    var counts = [0, 0, 0, 0]
    for i in UInt64(0)..<1_000 {
      counts[choices(plan, 1, client: IPAddress(v6High: 0x2001_0db8_0000_0000 + i, v6Low: 1))[0]] += 1
    }
    for count in counts { #expect((180...330).contains(count), "\(counts)") }
  }

  @Test func withoutAClientThereIsStillAServer() {
    #expect(Set(choices(plan(.clientHash, 3).plan, 3)).count == 1)
  }

  /// A server that comes takes its share of the clients and moves no others; one that goes gives up its own alone.
  @Test func oneServerMoreOrLessMovesOnlyItsOwnClients() {
    let five = plan(.clientHash, 5).plan
    let six = plan(.clientHash, 6).plan
    var moved = 0
    for i in UInt32(0)..<6_000 {
      let client = IPAddress(v4: 0x0a00_0000 + i)
      let before = choices(five, 1, client: client)[0]
      let after = choices(six, 1, client: client)[0]
      if before != after {
        moved += 1
        #expect(after == 5)
      }
    }
    #expect((850...1_150).contains(moved), "a sixth of 6,000")
  }

  // MARK: Weights, backups, limits

  @Test func roundRobinSpreadsByWeightAndDoesNotBunch() {
    let (plan, pools) = plan(.roundRobin, 3)
    for (pool, weight) in zip(pools, [5, 1, 1]) {
      pool.configure(weight: weight, isBackup: false, connectionsMax: 0)
    }
    #expect(choices(plan, 7) == [0, 0, 1, 0, 2, 0, 0])
  }

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func eachServerHasItsWeightsShare(_ balance: Config.Balance) {
    var config = Config.Upstream(name: "app")
    config.balance = balance
    let (plan, pools) = UpstreamPlan.of(config, 3)
    for (pool, weight) in zip(pools, [1, 2, 5]) { pool.configure(weight: weight, isBackup: false, connectionsMax: 0) }
    plan.replace(servers: plan.servers)
    var counts = [0, 0, 0]
    // Under least-requests it is the requests under way that go by weight.
    for i in UInt32(0)..<8_000 {
      let index = choices(plan, 1, client: IPAddress(v4: 0x0a00_0000 + i))[0]
      counts[index] += 1
      if balance == .leastRequests { pools[index].pretend(active: pools[index].active + 1) }
    }
    for (count, share) in zip(counts, [1_000, 2_000, 5_000]) {
      #expect(abs(count - share) < 200, "\(counts)")
    }
  }

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func aBackupServesOnlyWhileNobodyElseCan(_ balance: Config.Balance) {
    let (plan, pools) = plan(balance, 3)
    pools[2].configure(weight: 1, isBackup: true, connectionsMax: 0)
    #expect(!choices(plan, 20, client: Self.client).contains(2))
    _ = pools[0].noteFailure(nowMilliseconds: Self.late)
    #expect(Set(choices(plan, 20, client: Self.client)) == [1])
    _ = pools[1].status.setChecks(
      pass: false, why: "", now: Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: 0))
    #expect(Set(choices(plan, 20, client: Self.client)) == [2])
    // Everybody fails: everybody serves.
    _ = pools[2].noteFailure(nowMilliseconds: Self.late)
    if balance == .roundRobin { #expect(Set(choices(plan, 20)) == [0, 1, 2]) }
    guard case .server(_, isLastResort: true) = plan.choose(client: Self.client, tried: 0, nowMilliseconds: 1_000)
    else {
      Issue.record("it is a last resort")
      return
    }
  }

  @Test func aFullServerIsPassedOverAndWhereAllAreFullOneWaits() {
    let (plan, pools) = plan(.roundRobin, 3)
    for pool in pools { pool.configure(weight: 1, isBackup: pool === pools[2], connectionsMax: 1) }
    #expect(pools[0].status.takePlace(most: 1))
    #expect(choices(plan, 3) == [1, 1, 1])
    #expect(pools[1].status.takePlace(most: 1))
    // A backup does not stand in for servers that are busy.
    guard case .full = plan.choose(client: nil, tried: 0, nowMilliseconds: 1_000) else {
      Issue.record("it has to wait")
      return
    }
    // But for those that fail; and where it is full too, one waits for it.
    for pool in pools.prefix(2) { _ = pool.noteFailure(nowMilliseconds: Self.late) }
    #expect(choices(plan, 3) == [2, 2, 2])
    #expect(pools[2].status.takePlace(most: 1))
    guard case .full = plan.choose(client: nil, tried: 0, nowMilliseconds: 1_000) else {
      Issue.record("it has to wait")
      return
    }
  }

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func anOnlyServerServesUnlessItIsFullOrWithdrawn(_ balance: Config.Balance) {
    var config = Config.Upstream(name: "app")
    config.balance = balance
    config.slowStartMilliseconds = 10_000
    let (plan, pools) = UpstreamPlan.of(config, 1)
    let server = pools[0]
    let now = Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: 1_000)
    func chosen(_ milliseconds: UInt64 = 1_000) -> ServerChoice {
      plan.choose(client: Self.client, tried: 0, nowMilliseconds: milliseconds)
    }
    if case .server(let found, isLastResort: false) = chosen() {
      #expect(found === server)
    } else {
      Issue.record("it serves")
    }
    server.configure(weight: 1, isBackup: false, connectionsMax: 1)
    #expect(server.status.takePlace(most: 1))
    guard case .full = chosen() else {
      Issue.record("it is full")
      return
    }
    server.status.givePlace()
    // It fails: nobody else could have the request.
    _ = server.status.setChecks(pass: false, why: "", now: now)
    guard case .server(_, isLastResort: true) = chosen() else {
      Issue.record("it is a last resort")
      return
    }
    // Back again it starts slowly, which is over in its time: then nothing is known of it any more.
    _ = server.status.setChecks(pass: true, why: "", now: now)
    guard case .server(_, isLastResort: false) = chosen() else {
      Issue.record("it serves again")
      return
    }
    #expect(server.status.isMarked)
    _ = chosen(11_000)
    #expect(!server.status.isMarked)
    _ = server.status.setOrder(.down, user: 0, why: "", now: now)
    guard case .none = chosen() else {
      Issue.record("there is none")
      return
    }
  }

  @Test func aServerThatAnOperatorHasWithdrawnIsNeverChosen() {
    let (plan, pools) = plan(.roundRobin, 2)
    let now = Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: 0)
    _ = pools[0].status.setOrder(.drain, user: 0, why: "", now: now)
    #expect(Set(choices(plan, 5, tried: 0b10)) == [1])
    _ = pools[1].status.setOrder(.down, user: 0, why: "", now: now)
    guard case .none = plan.choose(client: nil, tried: 0, nowMilliseconds: 1_000) else {
      Issue.record("there is none")
      return
    }
  }

  @Test func onProbationOneRequestAtATimeFindsOut() {
    let (plan, pools) = plan(.roundRobin, 2)
    let passive = Config.Passive()
    for _ in 0..<passive.failures {
      _ = plan.status.noteFailure(
        pools[0].status, passive, what: "reset", now: Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: 0))
    }
    #expect(Set(choices(plan, 5, now: 9_999)) == [1])
    #expect(choices(plan, 5, now: 10_000).contains(0))
    pools[0].pretend(active: 0, isProbed: true)
    #expect(Set(choices(plan, 5, now: 10_000)) == [1])
    // A tunnel from before the ejection keeps nobody from finding out.
    pools[0].pretend(active: 1)
    #expect(choices(plan, 5, now: 10_000).contains(0))
  }

  @Test func aServerThatStartsSlowlyHasLessThanItsShare() {
    var config = Config.Upstream(name: "app")
    config.slowStartMilliseconds = 10_000
    let (plan, pools) = UpstreamPlan.of(config, 2)
    pools[0].status.startSlowly(nowMilliseconds: 1_000)
    func share(_ now: UInt64) -> Int { plan.choices(1_100, now: now).count { $0 == 0 } }
    #expect((95...105).contains(share(1_000)), "a tenth of the other's")
    #expect((360...372).contains(share(6_000)), "half of the other's")
    #expect((549...551).contains(share(11_000)))
  }

  /// Another thread may take the last place, or a server may fail, between two looks at it.
  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func choosingBearsThatServersChangeMeanwhile(_ balance: Config.Balance) throws {
    let (plan, pools) = plan(balance, 3)
    for pool in pools { pool.configure(weight: 1, isBackup: false, connectionsMax: 1) }
    let statuses = pools.map(\.status)
    let isOver = Mutex(false)
    let other = try WorkerThread.start(name: "other", processor: nil) {
      let now = Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: 0)
      var turn = 0
      while !isOver.withLock({ $0 }) {
        let status = statuses[turn % 3]
        turn += 1
        if status.takePlace(most: 1) { status.givePlace() }
        _ = status.setChecks(pass: turn % 2 == 0, why: "", now: now)
      }
    }
    for _ in 0..<100_000 { _ = plan.choose(client: Self.client, tried: 0, nowMilliseconds: 1_000) }
    isOver.withLock { $0 = true }
    other.join()
  }
}
