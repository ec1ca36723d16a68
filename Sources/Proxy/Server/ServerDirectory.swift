// The upstreams of the process and their servers by name, for as long as the process lives: what is known of a server outlives
// reloads and changes of addresses. Each worker's pools hold the status of their server; nothing here is touched on a request's path
// but through that.

import Platform
import Policy
import Synchronization
import Wire

/// One upstream, as the whole process knows it.
package final class UpstreamStatus: Sendable {
  package let name: String
  package let waiting: WaitingRequests
  /// Present ones, and those that are gone and that an operator has withdrawn, or that have requests.
  private let servers = Mutex<[ServerStatus]>([])
  /// Those that there are now, in the order of the configuration. No lock of a server's is taken under a lock of this type's, nor the other
  /// way round.
  private let present = Mutex<[ServerStatus]>([])

  private let workers: Int
  /// As the configuration says: for how long a server starts slowly.
  private let slowStart = Atomic<Int>(0)
  package var slowStartMilliseconds: Int { slowStart.load(ordering: .relaxed) }

  init(name: String, workers: Int) {
    self.name = name
    self.workers = workers
    waiting = WaitingRequests(workers: workers)
  }

  /// The server of that name, known from now on.
  package func server(_ name: String) -> ServerStatus {
    servers.withLock { servers in
      if let known = servers.first(where: { $0.name == name }) { return known }
      let new = ServerStatus(name: name, waiting: waiting, workers: workers)
      servers.append(new)
      return new
    }
  }

  /// Which there are now. What is known of the others is forgotten, unless an operator said it.
  /// - Parameter startsSlowly: those that were not there before begin with less than their share.
  package func take(
    _ names: [String], startsSlowly: Bool, slowStartMilliseconds: Int = 0, nowMilliseconds: UInt64
  ) {
    slowStart.store(slowStartMilliseconds, ordering: .relaxed)
    let all = names.map { server($0) }
    let before = present.withLock { present in
      defer { present = all }
      return Set(present.map(\.name))
    }
    if startsSlowly {
      for server in all where !before.contains(server.name) { server.startSlowly(nowMilliseconds: nowMilliseconds) }
    }
    let now = Set(names)
    let gone = servers.withLock { servers in
      let gone = servers.filter { !now.contains($0.name) }
      // One that comes back still has the requests that it had.
      servers.removeAll { !now.contains($0.name) && $0.order == .up && $0.placesTaken == 0 }
      return gone
    }
    for server in gone { server.forget() }
  }

  /// Those that there are now, in the order of the configuration.
  package var all: [ServerStatus] { present.withLock { $0 } }

  /// Those that are out, gone ones among them.
  fileprivate var carried: [HandoverState.Server] {
    servers.withLock { $0 }.flatMap { server in
      let (said, order) = (server.said, server.order)
      func entry(_ reason: HandoverState.Server.Reason, _ said: ServerStatus.Said) -> HandoverState.Server {
        HandoverState.Server(
          upstream: name, name: server.name, reason: reason, why: said.why, user: UInt64(said.user),
          sinceWallMilliseconds: said.sinceWallMilliseconds)
      }
      return (server.checksFail ? [entry(.checksFail, said.found)] : [])
        + (order == .up ? [] : [entry(order == .drain ? .drained : .takenDown, said.ordered)])
    }
  }

  /// A request failed at one of them.
  package func noteFailure(
    _ server: ServerStatus, _ passive: Config.Passive, what: String, now: Clock.Reading
  ) -> ServerStatus.Failed {
    let all = all
    let ejected = all.count { $0 !== server && $0.isEjected }
    let share = all.count * passive.ejectedPercentMax / 100
    let most = passive.ejectedPercentMax > 0 && all.count > 1 ? max(1, share) : 0
    // One always stays.
    return server.noteFailure(passive, what: what, mayEject: ejected < min(most, all.count - 1), now: now)
  }
}

package final class ServerDirectory: Sendable {
  private let upstreams = Mutex<[String: UpstreamStatus]>([:])
  private let workers: Int

  package init(workers: Int) { self.workers = workers }

  package func upstream(_ name: String) -> UpstreamStatus {
    upstreams.withLock { upstreams in
      if let known = upstreams[name] { return known }
      let new = UpstreamStatus(name: name, workers: workers)
      upstreams[name] = new
      return new
    }
  }

  /// In the order of their names.
  package var all: [UpstreamStatus] { upstreams.withLock { Array($0.values) }.sorted { $0.name < $1.name } }

  /// The upstreams and servers of a configuration that is in use from now on.
  /// - Parameter isFirst: nothing has served before, so that there is no reason to begin slowly.
  package func take(_ snapshot: Snapshot, isFirst: Bool, nowMilliseconds: UInt64) {
    for upstream in snapshot.upstreams {
      self.upstream(upstream.config.name).take(
        upstream.servers.map(\.text), startsSlowly: !isFirst && upstream.config.slowStartMilliseconds > 0,
        slowStartMilliseconds: upstream.config.slowStartMilliseconds, nowMilliseconds: nowMilliseconds)
    }
    let names = Set(snapshot.upstreams.map(\.config.name))
    for upstream in all where !names.contains(upstream.name) {
      upstream.take([], startsSlowly: false, nowMilliseconds: nowMilliseconds)
    }
  }

  // MARK: Upgrades

  /// The servers that an operator or checks have taken out, for the process that goes on for this one.
  var carried: [HandoverState.Server] { all.flatMap(\.carried) }

  /// Those of the process that this one goes on for. What checks have said holds until the first check here, and not where none is made.
  func take(_ carried: [HandoverState.Server], by config: Config) {
    let checked = Set(config.upstreams.filter { $0.health != nil }.map(\.name))
    for each in carried where each.reason != .checksFail || checked.contains(each.upstream) {
      let now = Clock.Reading(
        wallMilliseconds: each.sinceWallMilliseconds, monotonicMilliseconds: Clock.monotonicMilliseconds())
      let server = upstream(each.upstream).server(each.name)
      switch each.reason {
      case .checksFail: _ = server.setChecks(pass: false, why: each.why, now: now)
      case .drained, .takenDown:
        _ = server.setOrder(
          each.reason == .drained ? .drain : .down, user: UInt32(clamping: each.user), why: each.why, now: now)
      }
    }
  }
}
