// One server of one upstream, as one worker sees it: its idle connections, how busy it is, and whether it answered
// lately. Confined to the worker.

import Platform
import Policy
import Wire

package final class ServerPool {
  let address: SocketAddress
  /// As the log shows it.
  let text: [UInt8]
  let tls: TLSClientContext?
  let idleMax: Int
  /// Newest last: the warmest connection is used first, the coldest ages out.
  var idle: ContiguousArray<Upstream> = []
  /// Requests under way.
  package var active = 0
  /// No new request goes here before this time (monotonic ms), unless no other server is left.
  package var avoidUntilMilliseconds: UInt64 = 0
  /// Its plan was replaced: connections are closed instead of kept.
  var isRetired = false

  package init(address: SocketAddress, text: String, tls: TLSClientContext?, idleMax: Int) {
    self.address = address
    self.text = Array(text.utf8)
    self.tls = tls
    self.idleMax = idleMax
    idle.reserveCapacity(idleMax)
  }

  /// How long a server that could not be reached is left alone.
  static let avoidMilliseconds: UInt64 = 1_000
}

/// An upstream of the config with what one worker needs to use it.
package final class UpstreamPlan {
  let name: [UInt8]
  let config: Config.Upstream
  let signer: Signer?
  let tls: TLSClientContext?
  let servers: ContiguousArray<ServerPool>
  private var turn = 0

  package init(config: Config.Upstream, signer: Signer?, tls: TLSClientContext?, servers: ContiguousArray<ServerPool>) {
    name = Array(config.name.utf8)
    self.config = config
    self.signer = signer
    self.tls = tls
    self.servers = servers
  }

  var isBound: Bool { config.proxyProtocol }

  /// The server for a request, or nil when there is none. Servers already tried for this request, and servers that
  /// failed lately, come last.
  /// - Parameters:
  ///   - client: for `client-hash`.
  ///   - tried: bit i for server i.
  package func choose(client: IPAddress?, tried: UInt64, nowMilliseconds: UInt64) -> (pool: ServerPool, index: Int)? {
    let count = servers.count
    guard count > 1 else { return count == 1 ? (servers[0], 0) : nil }
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
      if pool.avoidUntilMilliseconds > nowMilliseconds { cost += 1 << 30 }
      if index < 64, tried & (1 << UInt64(index)) != 0 { cost += 1 << 40 }
      if cost < bestCost {
        best = index
        bestCost = cost
      }
    }
    return (servers[best], best)
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
