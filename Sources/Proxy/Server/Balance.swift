// Which server of an upstream a request goes to. First come servers that can have it, then those that were tried for this request, then
// those of which it is known that they fail: when nothing else is left, everybody serves. Among equals the upstream's `balance` decides.
//
// Nothing here allocates: two passes over the servers, of which the first finds out how good a choice there is.

import Policy
import Wire

/// What looking for a server has come to.
package enum ServerChoice {
  /// - Parameter isLastResort: every server is known to fail.
  case server(ServerPool, isLastResort: Bool)
  /// Every server that could have it has as many requests as it may.
  case full
  /// There is none, or operators have withdrawn them all.
  case none
}

/// How good a choice a server is; the least is the best.
private enum Rank: Int {
  case serving, backup, starting, tried, startingTried, failing, failingTried, withdrawn
}

package struct Balance {
  private let kind: Config.Balance
  private let slowStartMilliseconds: Int
  /// The weights differ.
  private var isWeighted = false
  private var random: UInt64

  /// - Parameter seed: so that workers do not choose alike.
  package init(_ kind: Config.Balance, slowStartMilliseconds: Int, seed: UInt64) {
    self.kind = kind
    self.slowStartMilliseconds = slowStartMilliseconds
    random = Balance.mixed(seed &+ 1) | 1
  }

  /// The servers are these from now on.
  mutating func take(_ servers: ContiguousArray<ServerPool>) {
    isWeighted = servers.contains { $0.weight != servers[0].weight }
  }

  /// - Parameters:
  ///   - client: for `client-hash`.
  ///   - tried: the bits of servers that were tried for this request.
  package mutating func choose(
    _ servers: ContiguousArray<ServerPool>, client: IPAddress?, tried: UInt64, nowMilliseconds now: UInt64
  ) -> ServerChoice {
    // What other threads know of servers, and have of their places, may change between the two passes: then both are made again.
    for _ in 0..<Balance.passesMax {
      if let choice = chooseOnce(servers, client: client, tried: tried, nowMilliseconds: now) { return choice }
    }
    for server in servers where server.availability(nowMilliseconds: now) != .withdrawn {
      return .server(server, isLastResort: false)
    }
    return .none
  }

  private static let passesMax = 4

  /// The same of the only server that there is: it has the request, unless it is full or withdrawn.
  static func choose(_ server: ServerPool, slowStartMilliseconds: Int, _ now: UInt64) -> ServerChoice {
    let availability = server.availability(nowMilliseconds: now)
    if case .withdrawn = availability { return .none }
    if server.isFull { return .full }
    // A slow start ends by being asked for.
    if server.status.isMarked {
      _ = server.status.share(slowStartMilliseconds: slowStartMilliseconds, nowMilliseconds: now)
    }
    if case .failing = availability { return .server(server, isLastResort: true) }
    return .server(server, isLastResort: false)
  }

  /// Nil when no server is any more as the first pass found it.
  private mutating func chooseOnce(
    _ servers: ContiguousArray<ServerPool>, client: IPAddress?, tried: UInt64, nowMilliseconds now: UInt64
  ) -> ServerChoice? {
    var best = Rank.withdrawn
    var bestFull = Rank.withdrawn
    var count = 0
    for server in servers {
      let rank = Balance.rank(server, tried: tried, nowMilliseconds: now)
      if rank != .withdrawn, server.isFull {
        if rank.rawValue < bestFull.rawValue { bestFull = rank }
        continue
      }
      if rank.rawValue < best.rawValue {
        best = rank
        count = 0
      }
      if rank == best { count += 1 }
    }
    // A place at a server that is busy is worth waiting for where any other would be a worse choice: a backup, one that was tried.
    let isWorthWaiting = bestFull.rawValue < Rank.failing.rawValue || best == .withdrawn
    if bestFull.rawValue < best.rawValue, isWorthWaiting { return .full }
    guard best != .withdrawn else { return ServerChoice.none }
    let found =
      switch kind {
      case .roundRobin: roundRobin(servers, best, tried, now)
      case .leastRequests: leastRequests(servers, best, count, tried, now)
      case .clientHash: clientHash(servers, best, client, tried, now)
      }
    guard found >= 0 else { return nil }
    return .server(servers[found], isLastResort: best.rawValue >= Rank.failing.rawValue)
  }

  private static func rank(_ server: ServerPool, tried: UInt64, nowMilliseconds now: UInt64) -> Rank {
    let isTried = tried & server.bit != 0
    switch server.availability(nowMilliseconds: now) {
    case .withdrawn: return .withdrawn
    case .failing: return isTried ? .failingTried : .failing
    case .starting: return isTried ? .startingTried : .starting
    case .serving: return isTried ? .tried : server.isBackup ? .backup : .serving
    }
  }

  private static func isCandidate(_ server: ServerPool, _ best: Rank, _ tried: UInt64, _ now: UInt64) -> Bool {
    rank(server, tried: tried, nowMilliseconds: now) == best && !server.isFull
  }

  // Each of these returns the index of a candidate; -1 when there is none any more.

  // MARK: Round robin

  /// Smooth weighted round robin, as nginx has it: each gains its weight, the highest is chosen and loses the sum. So five to one is
  /// not five in a row.
  private func roundRobin(
    _ servers: ContiguousArray<ServerPool>, _ best: Rank, _ tried: UInt64, _ now: UInt64
  ) -> Int {
    var found = -1
    var sum = 0
    for (index, server) in servers.enumerated() where Balance.isCandidate(server, best, tried, now) {
      let weight =
        server.weight * server.status.share(slowStartMilliseconds: slowStartMilliseconds, nowMilliseconds: now)
      sum += weight
      server.credit += weight
      if found < 0 || server.credit > servers[found].credit { found = index }
    }
    if found >= 0 { servers[found].credit -= sum }
    return found
  }

  // MARK: Least requests

  /// The less busy of two that are drawn: nearly as good as the least busy of all, and workers that do not know each other's
  /// requests do not all run to the same one (Mitzenmacher, The power of two choices in randomized load balancing, 2001).
  private mutating func leastRequests(
    _ servers: ContiguousArray<ServerPool>, _ best: Rank, _ count: Int, _ tried: UInt64, _ now: UInt64
  ) -> Int {
    let first = below(count)
    let second = count > 1 ? (first + 1 + below(count - 1)) % count : first
    var one = -1
    var other = -1
    var at = 0
    for (index, server) in servers.enumerated() where Balance.isCandidate(server, best, tried, now) {
      if at == first { one = index }
      if at == second { other = index }
      at += 1
    }
    guard one >= 0, other >= 0 else { return max(one, other) }
    return load(servers[other], now, isBelow: servers[one]) ? other : one
  }

  /// Requests by weight.
  private func load(_ a: ServerPool, _ now: UInt64, isBelow b: ServerPool) -> Bool {
    func weight(_ server: ServerPool) -> Int {
      server.weight * server.status.share(slowStartMilliseconds: slowStartMilliseconds, nowMilliseconds: now)
    }
    return (a.active + 1) * weight(b) < (b.active + 1) * weight(a)
  }

  // MARK: Client hash

  /// Rendezvous hashing (Thaler and Ravishankar, 1998): each server draws a number from its name and the client's address, and the
  /// least wins. A server that comes or goes moves only the clients that are its own, 1/n of all. With weights the numbers are
  /// drawn so that each wins its share (-ln(u) / weight, which is exponentially distributed).
  private func clientHash(
    _ servers: ContiguousArray<ServerPool>, _ best: Rank, _ client: IPAddress?, _ tried: UInt64, _ now: UInt64
  ) -> Int {
    let address = client.map { Balance.mixed($0.high &* 0x9e37_79b9_7f4a_7c15 ^ $0.low) } ?? 0
    var found = -1
    var least: UInt64 = 0
    for (index, server) in servers.enumerated() where Balance.isCandidate(server, best, tried, now) {
      // A slow start is over at once here: a client belongs to its server.
      if server.status.isMarked { _ = server.status.share(slowStartMilliseconds: 0, nowMilliseconds: now) }
      let drawn = Balance.mixed(address ^ server.hash)
      // A larger number has the smaller logarithm.
      let cost = isWeighted ? Balance.negatedLogarithm(drawn) : ~drawn
      let isLess =
        isWeighted
        ? found >= 0 && cost * UInt64(servers[found].weight) < least * UInt64(server.weight) : cost < least
      if found < 0 || isLess {
        found = index
        least = cost
      }
    }
    return found
  }

  /// -log2(u / 2^64), with 32 bits behind the point: at most 2^38.
  static func negatedLogarithm(_ u: UInt64) -> UInt64 {
    guard u > 0 else { return 64 << 32 }
    let whole = UInt64(u.leadingZeroBitCount)
    // 1 ≤ x < 2, with 63 bits behind the point. Each squaring yields one bit of its logarithm.
    var x = u << whole
    var fraction: UInt64 = 0
    for _ in 0..<32 {
      let (high, low) = x.multipliedFullWidth(by: x)
      fraction <<= 1
      if high & (1 << 63) != 0 {
        fraction |= 1
        x = high
      } else {
        x = high << 1 | low >> 63
      }
    }
    return ((whole + 1) << 32) - fraction
  }

  // MARK: Numbers

  /// A mixing of bits (splitmix64's finalizer); not for security.
  static func mixed(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// Of a server's name: the same in every process.
  static func hash(_ name: some Sequence<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in name { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return mixed(hash)
  }

  /// A number below `bound` (xorshift64).
  private mutating func below(_ bound: Int) -> Int {
    random ^= random << 13
    random ^= random >> 7
    random ^= random << 17
    return Int(truncatingIfNeeded: (random >> 32).multipliedFullWidth(by: UInt64(bound) << 32).high)
  }
}
