// Upstreams as one worker has them, for tests of how servers are chosen.

import Policy
import Proxy
import Wire

extension UpstreamPlan {
  /// An upstream of `count` servers, 127.0.0.1:9000 and up.
  static func of(_ config: Config.Upstream, _ count: Int) -> (plan: UpstreamPlan, pools: [ServerPool]) {
    let status = ServerDirectory(workers: 1).upstream(config.name)
    let names = (0..<count).map { "127.0.0.1:\(9_000 + $0)" }
    status.take(names, startsSlowly: false, nowMilliseconds: 0)
    let pools = names.indices.map { index in
      ServerPool(
        address: .ip(IPAddress(v4: 0x7f00_0001), port: UInt16(9_000 + index)), text: names[index], tls: nil, idleMax: 1,
        status: status.server(names[index]), bit: index < 64 ? 1 << UInt64(index) : 0)
    }
    let plan = UpstreamPlan(
      config: config, signer: nil, tls: nil, status: status, servers: ContiguousArray(pools), worker: 0)
    return (plan, pools)
  }

  /// The indices of the servers that are chosen one after another; nothing for a choice that finds none.
  func choices(_ count: Int, client: IPAddress? = nil, tried: UInt64 = 0, now: UInt64 = 1_000) -> [Int] {
    (0..<count).compactMap { _ in
      guard case .server(let pool, _) = choose(client: client, tried: tried, nowMilliseconds: now) else { return nil }
      return servers.firstIndex { $0 === pool }
    }
  }
}
