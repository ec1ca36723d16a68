// An upstream of the configuration as one worker uses it: its servers, which of them is next, and whether one is starting.

import Platform
import Policy
import Wire

/// An upstream of the config with what one worker needs to use it.
package final class UpstreamPlan {
  let name: [UInt8]
  let config: Config.Upstream
  let signer: Signer?
  let tls: TLSClientContext?
  package private(set) var servers: ContiguousArray<ServerPool>
  private var turn = 0
  /// Some server said that it is starting, and that may not be over.
  private var mayBeStarting = false
  /// When it may be warned again that its signatures are not verified.
  var nextWarningMilliseconds: UInt64 = 0

  package init(config: Config.Upstream, signer: Signer?, tls: TLSClientContext?, servers: ContiguousArray<ServerPool>) {
    name = Array(config.name.utf8)
    self.config = config
    self.signer = signer
    self.tls = tls
    self.servers = servers
  }

  var isBound: Bool { config.proxyProtocol }

  /// Its servers are these from now on.
  func replace(servers: ContiguousArray<ServerPool>) {
    self.servers = servers
    turn = 0
  }

  /// The server for a request, or nil when there is none. Servers already tried for this request, and servers that
  /// failed lately, come last; backups behind the others.
  /// - Parameters:
  ///   - client: for `client-hash`.
  ///   - tried: the bits of servers that were tried for it.
  package func choose(client: IPAddress?, tried: UInt64, nowMilliseconds: UInt64) -> ServerPool? {
    let count = servers.count
    guard count > 1 else { return servers.first }
    let start: Int
    switch config.balance {
    case .roundRobin, .leastRequests:
      start = turn
      turn = turn + 1 == count ? 0 : turn + 1
    case .clientHash: start = Int(truncatingIfNeeded: UpstreamPlan.hash(client) % UInt64(count))
    }
    var best = -1
    var bestCost = Int.max
    for step in 0..<count {
      let index = start + step < count ? start + step : start + step - count
      let pool = servers[index]
      var cost = config.balance == .leastRequests ? pool.active : step
      if !pool.isWorthAsking(nowMilliseconds: nowMilliseconds) {
        cost += 1 << 30
      } else if pool.startsUntilMilliseconds > nowMilliseconds {
        cost += 1 << 29
      }
      if pool.isBackup { cost += 1 << 28 }
      if tried & pool.bit != 0 { cost += 1 << 40 }
      if cost < bestCost {
        best = index
        bestCost = cost
      }
    }
    return servers[best]
  }

  /// A server says that it has just started.
  package func noteStarting(_ server: ServerPool, untilMilliseconds: UInt64) {
    server.noteStarting(untilMilliseconds: untilMilliseconds)
    mayBeStarting = true
  }

  /// Until when a request has to wait because every server that is worth asking, and was not tried, is starting; 0 when
  /// it need not.
  package func waitsForStart(tried: UInt64, nowMilliseconds: UInt64) -> UInt64 {
    guard mayBeStarting else { return 0 }
    var earliest = UInt64.max
    var isOver = true
    for pool in servers {
      let until = pool.startsUntilMilliseconds
      if until > nowMilliseconds {
        isOver = false
        earliest = min(earliest, until)
      } else if pool.isWorthAsking(nowMilliseconds: nowMilliseconds), tried & pool.bit == 0 {
        earliest = 0
      }
    }
    if isOver { mayBeStarting = false }
    return isOver ? 0 : earliest
  }

  /// Bits for servers that have none yet: each of the first 64 has one of its own.
  static func freeBits(besides taken: UInt64) -> some Sequence<UInt64> {
    (0..<64).lazy.map { UInt64(1) << UInt64($0) }.filter { taken & $0 == 0 }
  }

  /// A mixing of the address's bits (splitmix64's finalizer); not for security.
  private static func hash(_ address: IPAddress?) -> UInt64 {
    guard let address else { return 0 }
    var z = address.high &* 0x9e37_79b9_7f4a_7c15 ^ address.low
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
