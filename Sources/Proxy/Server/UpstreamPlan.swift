// An upstream of the configuration as one worker uses it: its servers, which of them is next, whether one is starting, and who waits
// for a place.

import Platform
import Policy
import Wire

/// An upstream of the config with what one worker needs to use it.
package final class UpstreamPlan {
  let name: [UInt8]
  let config: Config.Upstream
  let retries: ExchangeMachine.Retries
  let signer: Signer?
  let tls: TLSClientContext?
  /// What the whole process knows of it.
  package let status: UpstreamStatus
  package var servers: ContiguousArray<ServerPool> { pools }
  // Looked at for each request: internal, as in ServerPool.
  private var pools: ContiguousArray<ServerPool>
  /// The only one, where there is no choice.
  private var onlyServer: ServerPool?
  let sticky: StickyCookie?
  private var balance: Balance
  var budget: RetryBudget
  let queue = ServerQueue()
  /// Some server said that it is starting, and that may not be over.
  private var mayBeStarting = false
  /// When it may be warned again that its signatures are not verified.
  var nextWarningMilliseconds: UInt64 = 0

  /// - Parameters:
  ///   - budget: of the upstream of that name in the plan before, so that a reload does not fill it up.
  ///   - worker: so that workers do not choose alike.
  package init(
    config: Config.Upstream, signer: Signer?, tls: TLSClientContext?, status: UpstreamStatus,
    servers: ContiguousArray<ServerPool>, sticky: StickyCookie? = nil, budget: RetryBudget? = nil, worker: Int
  ) {
    name = Array(config.name.utf8)
    self.config = config
    retries = ExchangeMachine.Retries(config.retries.count, on: config.retries.on)
    self.signer = signer
    self.tls = tls
    self.status = status
    pools = servers
    onlyServer = servers.count == 1 ? servers[0] : nil
    self.sticky = sticky
    balance = Balance(
      config.balance, slowStartMilliseconds: config.slowStartMilliseconds,
      seed: Balance.hash(config.name.utf8) &+ UInt64(worker))
    self.budget = budget ?? RetryBudget(percent: config.retries.budgetPercent)
    balance.take(servers)
  }

  var isBound: Bool { config.proxyProtocol }

  /// Its servers are these from now on.
  package func replace(servers: ContiguousArray<ServerPool>) {
    pools = servers
    onlyServer = servers.count == 1 ? servers[0] : nil
    balance.take(servers)
  }

  /// The server for a request.
  /// - Parameters:
  ///   - client: for `client-hash`.
  ///   - tried: the bits of servers that were tried for it.
  package func choose(client: IPAddress?, tried: UInt64, nowMilliseconds: UInt64) -> ServerChoice {
    if let onlyServer {
      return Balance.choose(onlyServer, slowStartMilliseconds: config.slowStartMilliseconds, nowMilliseconds)
    }
    var balance = balance
    defer { self.balance = balance }
    return balance.choose(pools, client: client, tried: tried, nowMilliseconds: nowMilliseconds)
  }

  /// The server for a request: the one that its cookie names where that can have it, or another.
  func choose(for x: Exchange, nowMilliseconds: UInt64) -> ServerChoice {
    if let sticky {
      switch sticky.read(x, servers, nowMilliseconds: nowMilliseconds) {
      case .server(let server):
        x.setsCookie = false
        // While it is busy another one helps out, and the client stays its own.
        if !server.isFull { return .server(server, isLastResort: false) }
      case .nothing: x.setsCookie = true
      }
    }
    return choose(client: x.identity?.address, tried: x.triedServers, nowMilliseconds: nowMilliseconds)
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
    for server in servers {
      let until = server.startsUntilMilliseconds
      if until > nowMilliseconds {
        isOver = false
        earliest = min(earliest, until)
      } else if server.availability(nowMilliseconds: nowMilliseconds) == .serving, tried & server.bit == 0 {
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
}
