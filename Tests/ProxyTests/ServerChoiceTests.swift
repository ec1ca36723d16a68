// Which server a request goes to.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct ServerChoiceTests {
  private func plan(_ balance: Config.Balance, _ count: Int) -> (plan: UpstreamPlan, pools: [ServerPool]) {
    var config = Config.Upstream(name: "app")
    config.balance = balance
    let pools = (0..<count).map { index in
      let bit = index < 64 ? UInt64(1) << UInt64(index) : 0
      let address = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: UInt16(9_000 + index))
      return ServerPool(address: address, text: "\(index)", tls: nil, idleMax: 1, bit: bit)
    }
    return (UpstreamPlan(config: config, signer: nil, tls: nil, servers: ContiguousArray(pools)), pools)
  }

  private func choices(
    _ plan: UpstreamPlan, _ count: Int, client: IPAddress? = nil, tried: UInt64 = 0, now: UInt64 = 1_000
  ) -> [Int] {
    (0..<count).compactMap { _ in
      let chosen = plan.choose(client: client, tried: tried, nowMilliseconds: now)
      return plan.servers.firstIndex { $0 === chosen }
    }
  }

  /// A failure then is not over at any time that is asked about.
  private static let late: UInt64 = 1 << 60
  private static let client = IPAddress(v4: 0xcb00_7109)

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func noServersIsNoChoiceAndOneIsAlwaysIt(_ balance: Config.Balance) {
    #expect(plan(balance, 0).plan.choose(client: Self.client, tried: 0, nowMilliseconds: 0) == nil)
    let (one, pools) = plan(balance, 1)
    _ = pools[0].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(one, 3, client: Self.client, tried: 1) == [0, 0, 0])
  }

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func aBackupServesOnlyWhenNoOtherCan(_ balance: Config.Balance) {
    let (plan, pools) = plan(balance, 3)
    pools[0].isBackup = true
    #expect(!choices(plan, 9, client: Self.client).contains(0))
    _ = pools[1].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 3, client: Self.client) == [2, 2, 2])
    _ = pools[2].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 3, client: Self.client) == [0, 0, 0])
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
    pools[0].active = 9
    for tried in UInt64(0)..<7 {
      for index in choices(plan, 4, client: Self.client, tried: tried) { #expect(tried & 1 << UInt64(index) == 0) }
    }
    // When all were tried one is tried again.
    #expect(choices(plan, 3, client: Self.client, tried: 7).count == 3)
  }

  @Test(arguments: [Config.Balance.roundRobin, .leastRequests, .clientHash])
  func anUnreachableServerIsBetterThanATriedOne(_ balance: Config.Balance) {
    let (plan, pools) = plan(balance, 2)
    _ = pools[1].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 4, client: Self.client, tried: 0b01) == [1, 1, 1, 1])
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

  @Test func theLeastBusyServerIsChosen() {
    let (plan, pools) = plan(.leastRequests, 4)
    for (pool, active) in zip(pools, [3, 1, 2, 5]) { pool.active = active }
    #expect(choices(plan, 5) == [1, 1, 1, 1, 1])
    pools[1].active = 7
    #expect(choices(plan, 5) == [2, 2, 2, 2, 2])
    _ = pools[2].noteFailure(nowMilliseconds: Self.late)
    #expect(choices(plan, 5) == [0, 0, 0, 0, 0])
  }

  @Test func equallyBusyServersTakeTurns() {
    let (plan, _) = plan(.leastRequests, 3)
    #expect(choices(plan, 6) == [0, 1, 2, 0, 1, 2])
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
}
