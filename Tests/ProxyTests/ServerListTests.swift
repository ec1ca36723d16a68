// Which servers an upstream has by the answers to its names, and for how long an answer holds.

import Platform
import Policy
import Proxy
import Testing
import Wire

@Suite struct ServerListTests {
  private static func address(_ last: UInt32) -> IPAddress { IPAddress(v4: 0x0a00_0000 + last) }
  private static let v6 = IPAddress(v6High: 0x2001_0db8_0000_0000, v6Low: 1)

  private func upstream(_ servers: [Config.Endpoint], attests: Bool = false) -> Config.Upstream {
    var upstream = Config.Upstream(name: "app")
    upstream.servers = servers.map { Config.Server($0) }
    if attests {
      upstream.identity = .attest
      upstream.audience = "monitor-1"
    }
    return upstream
  }

  private func servers(_ upstream: Config.Upstream, _ answers: [ServerName: NameAnswer]) -> [Snapshot.Server] {
    ServerList.make(upstream) { answers[$0] }
  }

  @Test func namesAreReplacedByTheirAddressesInTheOrderOfTheFile() {
    let upstream = upstream([
      .host("b.test", port: 80), .address(Self.address(9), port: 81), .host("gone.test", port: 80), .unix("/run/s"),
    ])
    let answer = NameAnswer([.init(Self.v6), .init(Self.address(2)), .init(Self.address(1))], ttlSeconds: nil)
    #expect(
      servers(upstream, [.host("b.test"): answer]).map(\.text) == [
        "10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80", "10.0.0.9:81", "unix:/run/s",
      ])
    #expect(servers(self.upstream([.host("gone.test", port: 80)]), [:]).isEmpty)
  }

  @Test func anAddressThatTwoNamesComeToIsOneServer() {
    let upstream = upstream([
      .host("a.test", port: 80), .address(Self.address(1), port: 80), .host("a.test", port: 81),
    ])
    let answer = NameAnswer([.init(Self.address(1))], ttlSeconds: 1)
    #expect(servers(upstream, [.host("a.test"): answer]).map(\.text) == ["10.0.0.1:80", "10.0.0.1:81"])
  }

  @Test func anAnswerInAnotherOrderIsTheSame() {
    let places = (1...20).map { NameAnswer.Place(Self.address($0)) }
    #expect(NameAnswer(places.reversed() + places, ttlSeconds: 1) == NameAnswer(places, ttlSeconds: 1))
  }

  @Test func anAnswerIsBounded() {
    func answer(_ count: Int) -> NameAnswer {
      NameAnswer((1...UInt32(count)).map { .init(Self.address($0)) }, ttlSeconds: 1)
    }
    let most = NameAnswer.placesMax
    #expect(answer(most).places.count == most && !answer(most).isCut)
    #expect(answer(most + 1).places.count == most && answer(most + 1).isCut)
    let names = (0..<20).map { Config.Endpoint.host("n\($0).test", port: UInt16(80 + $0)) }
    let all = ServerList.make(upstream(names)) { _ in answer(most) }
    #expect(all.count == ServerList.serversMax)
  }

  @Test func theLowestPriorityServesAndTheOthersAreBackups() {
    let answer = NameAnswer(
      [
        .init(Self.address(1), port: 8_001, priority: 20, weight: 5),
        .init(Self.address(2), port: 8_002, priority: 10, weight: 0),
        .init(Self.address(3), port: 8_003, priority: 10, weight: 65_535),
        .init(Self.address(4), port: 8_004, priority: 30, weight: 1),
      ], ttlSeconds: 1)
    let found = servers(upstream([.service("_http._tcp.a.test")]), [.service("_http._tcp.a.test"): answer])
    #expect(found.map(\.text) == ["10.0.0.2:8002", "10.0.0.3:8003", "10.0.0.1:8001", "10.0.0.4:8004"])
    #expect(found.map(\.config.isBackup) == [false, false, true, true])
    #expect(found.map(\.config.weight) == [1, 65_535, 5, 1])
  }

  // MARK: One audience, one validator

  @Test func oneAudienceHasOnePlaceOfAFamily() {
    let upstream = upstream([.host("a.test", port: 80)], attests: true)
    func problem(_ upstream: Config.Upstream, _ addresses: IPAddress...) -> String? {
      let answer = NameAnswer(addresses.map { .init($0) }, ttlSeconds: 1)
      return ServerList.audienceProblem(upstream, servers(upstream, [.host("a.test"): answer]))
    }
    #expect(problem(upstream, Self.address(1)) == nil)
    #expect(problem(upstream, Self.address(1), Self.v6) == nil)
    #expect(problem(upstream, Self.address(1), Self.address(2))?.hasPrefix("2 addresses of a.test share") == true)
    var shared = upstream
    shared.sharedAudience = true
    #expect(problem(shared, Self.address(1), Self.address(2)) == nil)
    var plain = upstream
    plain.identity = .plain
    #expect(problem(plain, Self.address(1), Self.address(2)) == nil)
  }

  /// Two ports of one host are two processes.
  @Test func aServiceOfTwoPortsHasTwoPlaces() {
    let upstream = upstream([.service("_http._tcp.a.test")], attests: true)
    let answer = NameAnswer(
      [.init(Self.address(1), port: 80), .init(Self.address(1), port: 81, priority: 9)], ttlSeconds: 1)
    let found = servers(upstream, [.service("_http._tcp.a.test"): answer])
    #expect(ServerList.audienceProblem(upstream, found)?.contains("srv:_http._tcp.a.test") == true)
  }

  // MARK: Time

  @Test(
    arguments: [
      (nil, 30_000), (0, 1_000), (1, 1_000), (2, 2_000), (3_600, 3_600_000), (3_601, 3_600_000),
      (.max, 3_600_000),
    ] as [(UInt32?, UInt64)])
  func anAnswerHoldsForItsTTLWithinBounds(_ ttl: UInt32?, _ milliseconds: UInt64) {
    #expect(NameResolver.holdMilliseconds(ttl) == milliseconds)
  }
}
