// What is known of a server: failures and ejections, checks, orders, slow starts, places.

import Platform
import Policy
import Proxy
import Testing

@Suite struct ServerStatusTests {
  private func upstream(_ count: Int) -> (upstream: UpstreamStatus, servers: [ServerStatus]) {
    let upstream = ServerDirectory(workers: 2).upstream("app")
    upstream.take((0..<count).map { "s\($0)" }, startsSlowly: false, nowMilliseconds: 0)
    return (upstream, upstream.all)
  }

  private func at(_ milliseconds: UInt64) -> Clock.Reading {
    Clock.Reading(wallMilliseconds: 1_700_000_000_000 + milliseconds, monotonicMilliseconds: milliseconds)
  }

  private func fail(
    _ server: ServerStatus, _ upstream: UpstreamStatus, _ times: Int = 1, at now: UInt64,
    _ passive: Config.Passive = Config.Passive()
  ) -> [ServerStatus.Failed] {
    (0..<times).map { _ in upstream.noteFailure(server, passive, what: "no response in time", now: at(now)) }
  }

  // MARK: Failures

  @Test func soManyFailuresWithinTheWindowEjectAServer() {
    let (upstream, servers) = upstream(3)
    #expect(fail(servers[0], upstream, 4, at: 1_000) == [.counted, .counted, .counted, .counted])
    #expect(!servers[0].isMarked)
    #expect(fail(servers[0], upstream, at: 10_999) == [.ejected(milliseconds: 10_000)])
    #expect(servers[0].standing(nowMilliseconds: 20_998) == .ejected)
    #expect(servers[0].standing(nowMilliseconds: 20_999) == .onProbation)
    #expect(!servers[1].isMarked)
  }

  @Test func failuresThatAreOlderThanTheWindowDoNotCount() {
    let (upstream, servers) = upstream(3)
    for second in UInt64(0)..<20 {
      #expect(fail(servers[0], upstream, at: 1_000 + second * 2_500) == [.counted], "4 within any 10 s")
    }
  }

  @Test func onProbationOneFailureIsEnoughAndTheNextEjectionIsTwiceAsLong() {
    let (upstream, servers) = upstream(3)
    var now: UInt64 = 1_000
    #expect(fail(servers[0], upstream, 5, at: now).last == .ejected(milliseconds: 10_000))
    for length in [20_000, 40_000, 80_000, 160_000, 160_000] as [UInt64] {
      // What was under way says nothing new.
      #expect(fail(servers[0], upstream, 9, at: now + 1) == Array(repeating: .counted, count: 9))
      now += length == 20_000 ? 10_000 : length == 160_000 ? 160_000 : length / 2
      #expect(fail(servers[0], upstream, at: now) == [.ejected(milliseconds: length)])
    }
  }

  @Test func aSuccessOnProbationBringsAServerBackAndTimeForgivesIt() {
    let (upstream, servers) = upstream(3)
    _ = fail(servers[0], upstream, 5, at: 1_000)
    #expect(!servers[0].noteSuccess(now: at(5_000)), "it is ejected still; whoever succeeds was under way")
    #expect(servers[0].noteSuccess(now: at(11_000)))
    #expect(!servers[0].noteSuccess(now: at(11_000)))
    #expect(servers[0].standing(nowMilliseconds: 11_000) == .serving)
    // At once again: it has learnt nothing.
    #expect(fail(servers[0], upstream, 5, at: 12_000).last == .ejected(milliseconds: 20_000))
    #expect(servers[0].noteSuccess(now: at(32_000)))
    // Long after: as the first time.
    #expect(fail(servers[0], upstream, 5, at: 90_000).last == .ejected(milliseconds: 10_000))
  }

  @Test(arguments: [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5)])
  func neverMoreThanMaxEjectedAreAway(_ servers: Int, _ most: Int) {
    let (upstream, all) = upstream(servers)
    let results = all.map { fail($0, upstream, 5, at: 1_000).last }
    #expect(results.count { $0 == .ejected(milliseconds: 10_000) } == most)
    #expect(results.count { $0 == .kept } == servers - most)
  }

  @Test(arguments: [(0, 0), (100, 4)]) func theShareIsTheConfigurations(_ percent: Int, _ most: Int) {
    var passive = Config.Passive()
    passive.ejectedPercentMax = percent
    let (upstream, all) = upstream(5)
    let ejected = all.count { fail($0, upstream, 5, at: 1_000, passive).last == .ejected(milliseconds: 10_000) }
    // One always stays.
    #expect(ejected == most)
  }

  /// What fails while it is being taken away is no deadlock: failures and changes of the servers take their locks apart.
  @Test func serversMayFailWhileTheyComeAndGo() async {
    let upstream = upstream(1).upstream
    var passive = Config.Passive()
    passive.failures = 1
    passive.ejectedPercentMax = 0
    let first = (0..<100).map { "first \($0)" }
    let second = (0..<100).map { "second \($0)" }
    upstream.take(first, startsSlowly: false, nowMilliseconds: 0)
    await withTaskGroup(of: Void.self) { [passive] group in
      group.addTask {
        for turn in 0..<400 {
          upstream.take(turn % 2 == 0 ? second : first, startsSlowly: true, nowMilliseconds: UInt64(turn))
        }
      }
      for _ in 0..<2 {
        group.addTask {
          for turn in 0..<400 {
            for server in upstream.all.prefix(20) {
              let now = Clock.Reading(wallMilliseconds: 0, monotonicMilliseconds: UInt64(turn))
              _ = upstream.noteFailure(server, passive, what: "reset", now: now)
            }
          }
        }
      }
    }
  }

  // MARK: Checks and orders

  @Test func checksThatFailTakeAServerOutAndChecksThatPassBringItBackSlowly() {
    let server = upstream(2).servers[0]
    #expect(!server.setChecks(pass: true, why: "", now: at(0)), "it serves already")
    #expect(server.setChecks(pass: false, why: "status 503", now: at(1_000)))
    #expect(server.standing(nowMilliseconds: 1_000) == .checkFailed)
    #expect(!server.setChecks(pass: false, why: "connection refused", now: at(2_000)))
    #expect(server.report(slowStartMilliseconds: 0, nowMilliseconds: 2_000).why == "connection refused")
    #expect(
      server.report(slowStartMilliseconds: 0, nowMilliseconds: 2_000).sinceWallMilliseconds
        == at(1_000).wallMilliseconds)
    #expect(server.setChecks(pass: true, why: "", now: at(3_000)))
    #expect(server.standing(nowMilliseconds: 3_000) == .serving)
    #expect(server.share(slowStartMilliseconds: 10_000, nowMilliseconds: 3_000) == 10)
    #expect(server.share(slowStartMilliseconds: 10_000, nowMilliseconds: 8_000) == 50)
    #expect(server.share(slowStartMilliseconds: 10_000, nowMilliseconds: 13_000) == 100)
    #expect(!server.isMarked)
  }

  /// Also where no request comes, which would have found that out.
  @Test func aSlowStartIsShownForItsTimeAndNoLonger() {
    let server = upstream(2).servers[0]
    _ = server.setChecks(pass: false, why: "status 503", now: at(1_000))
    _ = server.setChecks(pass: true, why: "", now: at(3_000))
    func state(_ slowStart: Int, _ now: UInt64) -> String {
      "\(server.report(slowStartMilliseconds: slowStart, nowMilliseconds: now).state)"
    }
    #expect(state(0, 3_000) == "up", "there is no slow start")
    #expect(state(10_000, 12_999) == "starting-slowly")
    #expect(state(10_000, 13_000) == "up")
  }

  @Test func anOrderIsAboveWhatIsKnownOtherwise() {
    let (upstream, servers) = upstream(2)
    #expect(!servers[0].setOrder(.up, user: 0, why: "", now: at(0)))
    #expect(servers[0].setOrder(.drain, user: 7, why: "new kernel", now: at(0)))
    #expect(servers[0].standing(nowMilliseconds: 0) == .withdrawn)
    #expect(servers[0].setOrder(.down, user: 7, why: "", now: at(0)))
    #expect(servers[0].order == .down)
    _ = servers[0].setChecks(pass: false, why: "status 500", now: at(0))
    _ = servers[0].setOrder(.up, user: 7, why: "", now: at(0))
    #expect(servers[0].standing(nowMilliseconds: 0) == .checkFailed)
    _ = fail(servers[1], upstream, 5, at: 0)
    _ = servers[1].setOrder(.drain, user: 0, why: "", now: at(0))
    _ = servers[1].setOrder(.up, user: 0, why: "", now: at(0))
    #expect(servers[1].standing(nowMilliseconds: 0) == .serving, "who says up means it")
  }

  /// Neither takes the other's words.
  @Test func whyAnOperatorTookAServerOutIsToldWhateverChecksFind() {
    let (_, servers) = upstream(1)
    let server = servers[0]
    func report() -> ServerStatus.Report { server.report(slowStartMilliseconds: 0, nowMilliseconds: 9_000) }
    _ = server.setOrder(.drain, user: 7, why: "new kernel", now: at(1_000))
    _ = server.setChecks(pass: false, why: "status 500", now: at(2_000))
    #expect(report().why == "new kernel" && report().sinceWallMilliseconds == at(1_000).wallMilliseconds)
    _ = server.setChecks(pass: true, why: "checks pass", now: at(3_000))
    #expect(report().why == "new kernel" && report().user == 7)
    _ = server.setChecks(pass: false, why: "status 503", now: at(4_000))
    // Nor does the end of an order hide what checks have found.
    _ = server.setOrder(.up, user: 7, why: "", now: at(5_000))
    #expect(report().standing == .checkFailed && report().why == "status 503")
    #expect(report().sinceWallMilliseconds == at(4_000).wallMilliseconds)
    _ = server.setChecks(pass: true, why: "checks pass", now: at(6_000))
    #expect(report().standing == .serving && report().sinceWallMilliseconds == at(6_000).wallMilliseconds)
  }

  // MARK: Coming and going

  @Test func whatIsKnownOutlivesAReloadAndOrdersOutliveAbsence() {
    let (upstream, servers) = upstream(3)
    _ = servers[0].setOrder(.drain, user: 0, why: "", now: at(0))
    _ = servers[1].setChecks(pass: false, why: "", now: at(0))
    upstream.take(["s0", "s1", "s2"], startsSlowly: false, nowMilliseconds: 1)
    #expect(upstream.all.map { $0.standing(nowMilliseconds: 1) } == [.withdrawn, .checkFailed, .serving])
    upstream.take(["s2"], startsSlowly: false, nowMilliseconds: 2)
    #expect(upstream.all.map(\.name) == ["s2"])
    upstream.take(["s2", "s1", "s0", "s3"], startsSlowly: true, nowMilliseconds: 3)
    #expect(upstream.all.map(\.name) == ["s2", "s1", "s0", "s3"])
    #expect(
      upstream.all.map { $0.standing(nowMilliseconds: 3) } == [.serving, .serving, .withdrawn, .serving])
    #expect(upstream.all.map { $0.share(slowStartMilliseconds: 100, nowMilliseconds: 3) } == [100, 10, 10, 10])
  }

  /// Requests under way at a server that went and came back are still its own.
  @Test func aServerThatComesBackHasTheRequestsThatItHad() {
    let (upstream, servers) = upstream(2)
    #expect(servers[0].takePlace(most: 1))
    _ = servers[0].setChecks(pass: false, why: "", now: at(0))
    upstream.take(["s1"], startsSlowly: false, nowMilliseconds: 1)
    upstream.take(["s0", "s1"], startsSlowly: false, nowMilliseconds: 2)
    let again = upstream.all[0]
    #expect(again.standing(nowMilliseconds: 2) == .serving, "what else was known is forgotten")
    #expect(!again.takePlace(most: 1))
    servers[0].givePlace()
    #expect(again.takePlace(most: 1))
  }

  // MARK: Places

  @Test func noServerHasMoreThanItsPlaces() async {
    let server = upstream(1).servers[0]
    let most = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var seen = 0
          for _ in 0..<20_000 where server.takePlace(most: 3) {
            seen = max(seen, server.placesTaken)
            server.givePlace()
          }
          return seen
        }
      }
      return await group.reduce(0) { max($0, $1) }
    }
    #expect((1...3).contains(most))
    #expect(server.placesTaken == 0)
  }

  @Test func waitingRequestsAreBoundedAndTheOldestIsNext() {
    let waiting = WaitingRequests(workers: 3)
    #expect(waiting.next == nil)
    #expect(waiting.add(most: 2) && waiting.add(most: 2) && !waiting.add(most: 2))
    #expect(waiting.count == 2)
    waiting.setOldest(worker: 2, milliseconds: 50)
    waiting.setOldest(worker: 0, milliseconds: 60)
    #expect(waiting.next == 2)
    waiting.setOldest(worker: 2, milliseconds: 0)
    #expect(waiting.next == 0)
    waiting.remove()
    #expect(waiting.add(most: 2))
  }
}

@Suite struct RetryBudgetTests {
  @Test func tenTriesInTenSecondsMayAlwaysBe() {
    var budget = RetryBudget(percent: 0)
    for _ in 0..<10 {
      let isAllowed = budget.allows(nowMilliseconds: 5_000)
      #expect(isAllowed)
      budget.noteRetry(nowMilliseconds: 5_000)
    }
    let (before, after) = (budget.allows(nowMilliseconds: 14_999), budget.allows(nowMilliseconds: 15_000))
    #expect(!before && after)
  }

  /// Whatever the requests and the faults: a storm adds no more than the share.
  @Test(arguments: [0, 1, 20, 50, 100]) func noTenSecondsHaveMoreThanTheShare(_ percent: Int) {
    var budget = RetryBudget(percent: percent)
    var random: UInt64 = 88_172_645_463_325_252
    var log: [(second: UInt64, requests: Int, retries: Int)] = []
    var now: UInt64 = 0
    for _ in 0..<3_000 {
      random ^= random << 13
      random ^= random >> 7
      random ^= random << 17
      now += random % 10 == 0 ? random >> 32 % 4_000 : random >> 40 % 50
      let second = now / 1_000
      if log.last?.second != second { log.append((second, 0, 0)) }
      let requests = Int(random >> 20 % 30)
      for _ in 0..<requests { budget.noteRequest(nowMilliseconds: now) }
      log[log.count - 1].requests += requests
      while budget.allows(nowMilliseconds: now) {
        budget.noteRetry(nowMilliseconds: now)
        log[log.count - 1].retries += 1
      }
      let within = log.suffix(10).filter { $0.second + 10 > second }
      let all = within.reduce(0) { $0 + $1.requests }
      let retries = within.reduce(0) { $0 + $1.retries }
      #expect(budget.requests == all && budget.retries == retries)
      // What was allowed when there were more requests stays allowed until it leaves the window with them.
      #expect(retries <= max(10, log.suffix(20).reduce(0) { $0 + $1.requests } * percent / 100 + 10))
    }
  }
}
