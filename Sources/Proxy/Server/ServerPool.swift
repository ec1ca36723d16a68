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
  /// Connections that are being made.
  private(set) var opening = 0
  /// Failures to connect in a row, and until when none is tried after the last (monotonic ms).
  private var failures = 0
  private var restsUntilMilliseconds: UInt64 = 0
  /// It said that it has just started; asked again from then on.
  private(set) var startsUntilMilliseconds: UInt64 = 0
  /// Open connections over which it has answered otherwise than that. They end with its process.
  private var answering = 0
  /// Its plan was replaced: connections are closed instead of kept.
  var isRetired = false

  package init(address: SocketAddress, text: String, tls: TLSClientContext?, idleMax: Int) {
    self.address = address
    self.text = Array(text.utf8)
    self.tls = tls
    self.idleMax = idleMax
    idle.reserveCapacity(idleMax)
  }

  // MARK: Whether it can be reached

  /// How long a server that could not be reached rests: the first time, and at most.
  package static let restMilliseconds: UInt64 = 1_000
  package static let restMillisecondsMax: UInt64 = 30_000

  /// No connection could be made, or it failed before the first request. True when this begins a rest, and is news.
  package func noteFailure(nowMilliseconds: UInt64) -> Bool {
    // Those that set out together fail together, and are one failure.
    guard nowMilliseconds >= restsUntilMilliseconds else { return false }
    let most = ServerPool.restMillisecondsMax
    restsUntilMilliseconds =
      nowMilliseconds + (failures < 5 ? min(ServerPool.restMilliseconds << UInt64(failures), most) : most)
    failures += 1
    return true
  }

  /// A connection is ready for requests.
  package func noteReached() {
    guard failures > 0 else { return }
    failures = 0
    restsUntilMilliseconds = 0
  }

  package func noteOpening() { opening += 1 }
  package func noteOpened() { opening -= 1 }

  /// Not while it rests; and when that is over, one request finds out for all.
  package func isWorthAsking(nowMilliseconds: UInt64) -> Bool {
    failures == 0 || (nowMilliseconds >= restsUntilMilliseconds && opening == 0)
  }

  // MARK: Whether it is starting

  /// It has just started, and is to be asked again then.
  package func noteStarting(untilMilliseconds: UInt64) { startsUntilMilliseconds = untilMilliseconds }

  /// It answered otherwise; `first` for the first time over that connection.
  package func noteAnswered(first: Bool) {
    startsUntilMilliseconds = 0
    if first { answering += 1 }
  }

  /// A connection is closed over which it had answered.
  package func noteAnsweringEnded() { answering -= 1 }

  /// The process that is there now has been heard, and is not starting: a request need not be kept for it. Where no such
  /// connection is open, it may be another process than it was.
  package var isProven: Bool { answering > 0 && startsUntilMilliseconds == 0 }
}

/// An upstream of the config with what one worker needs to use it.
package final class UpstreamPlan {
  let name: [UInt8]
  let config: Config.Upstream
  let signer: Signer?
  let tls: TLSClientContext?
  let servers: ContiguousArray<ServerPool>
  private var turn = 0
  /// Some server said that it is starting, and that may not be over.
  private var mayBeStarting = false

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
      if !pool.isWorthAsking(nowMilliseconds: nowMilliseconds) {
        cost += 1 << 30
      } else if pool.startsUntilMilliseconds > nowMilliseconds {
        cost += 1 << 29
      }
      if index < 64, tried & (1 << UInt64(index)) != 0 { cost += 1 << 40 }
      if cost < bestCost {
        best = index
        bestCost = cost
      }
    }
    return (servers[best], best)
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
    for (index, pool) in servers.enumerated() {
      let until = pool.startsUntilMilliseconds
      if until > nowMilliseconds {
        isOver = false
        earliest = min(earliest, until)
      } else if pool.isWorthAsking(nowMilliseconds: nowMilliseconds), index >= 64 || tried & (1 << UInt64(index)) == 0 {
        earliest = 0
      }
    }
    if isOver { mayBeStarting = false }
    return isOver ? 0 : earliest
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
