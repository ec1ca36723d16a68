// Requests of one upstream that wait, in one worker, for a place at a server (`max_connections`). They wait unsent, their bodies with
// their clients, and are bounded in number (over all workers) and time.
//
//   choose: full ─► wait ─┬─ a place is free ──► tried again, the oldest first
//                         └─ deadline, client gone, drain ─► leaves
//
// Invariant: `x.wait` is a place exactly while the exchange counts in WaitingRequests.

import Platform
import Policy
import Wire

final class ServerQueue {
  private struct Entry {
    let slot: Int
    let generation: UInt32
    let ticket: UInt64
    let sinceMilliseconds: UInt64
  }

  /// Those that left stay in it until they come to the front, or are more than those that wait.
  private var entries: ContiguousArray<Entry> = []
  private var first = 0
  private var tickets: UInt64 = 0
  /// Those that have not left.
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  /// A place at the end.
  func append(_ x: Exchange, of group: UpstreamPlan, _ worker: Worker) {
    if entries.count > 2 * count + ServerQueue.leftMax {
      entries = ContiguousArray(entries[first...].filter { exchange(of: $0, worker, group) != nil })
      first = 0
    }
    tickets += 1
    x.wait = .place(ticket: tickets)
    entries.append(
      Entry(
        slot: x.slot, generation: x.generation, ticket: tickets, sinceMilliseconds: worker.nowMilliseconds))
    count += 1
  }

  /// So many entries of requests that left are never worth looking for.
  private static let leftMax = 64

  /// The exchange of an entry while it waits: its slot may have another one since, or be gone.
  private func exchange(of entry: Entry, _ worker: Worker, _ group: UpstreamPlan) -> Exchange? {
    guard let x = worker.exchanges.find(entry.slot, entry.generation), x.wait == .place(ticket: entry.ticket),
      x.group === group
    else { return nil }
    return x
  }

  func noteLeft() { count -= 1 }

  /// The oldest that still waits, and since when.
  func front(_ worker: Worker, of group: UpstreamPlan) -> (exchange: Exchange, milliseconds: UInt64)? {
    while first < entries.count {
      let entry = entries[first]
      if let x = exchange(of: entry, worker, group) { return (x, entry.sinceMilliseconds) }
      first += 1
    }
    entries.removeAll(keepingCapacity: entries.capacity <= 1_024)
    first = 0
    return nil
  }

  // MARK: A request's wait

  /// Every server that could have this request is full: it waits, unless too many do.
  static func wait(_ x: Exchange, for group: UpstreamPlan, _ worker: Worker) -> Step {
    guard group.status.waiting.add(most: group.config.queue.requestsMax) else { return .refuse(.queueFull) }
    if !worker.waitingGroups.contains(where: { $0 === group }) { worker.waitingGroups.append(group) }
    group.queue.append(x, of: group, worker)
    x.timing.beginWait(worker.nowMicroseconds)
    x.triedServers = 0
    if x.queueEndMilliseconds == 0 {
      x.queueEndMilliseconds = worker.nowMilliseconds + UInt64(group.config.queue.timeoutMilliseconds)
    }
    worker.wheel.set(x.timer, deadlineMilliseconds: x.queueEndMilliseconds)
    worker.counters.add(.queued)
    noteWaiting(at: group.status, worker)
    // A place that was given back while this one was counted was offered to nobody.
    worker.offersPlaces = true
    return .parked
  }

  /// It waits no longer, whatever becomes of it.
  static func leave(_ x: Exchange, _ worker: Worker) {
    guard case .place = x.wait, let group = x.group else { return }
    x.wait = .none
    x.timing.endWait(worker.nowMicroseconds)
    group.queue.noteLeft()
    group.status.waiting.remove()
    noteWaiting(at: group.status, worker)
    // Those behind it may have what it waited for in vain.
    if group.status.waiting.count > 0 { worker.offersPlaces = true }
  }

  /// Gives the place back that it has at a server.
  static func leavePlace(_ x: Exchange, _ worker: Worker) {
    guard let status = x.place else { return }
    x.place = nil
    status.givePlace()
    if status.waiting.count > 0 { worker.offersPlaces = true }
  }

  // MARK: All that wait at one worker

  /// The request that waits longest at an upstream. A reload leaves requests in the queue of the plan that they came under.
  private static func oldest(
    at upstream: UpstreamStatus, besides full: ContiguousArray<UpstreamPlan> = [], _ worker: Worker
  ) -> (exchange: Exchange, milliseconds: UInt64)? {
    var oldest: (exchange: Exchange, milliseconds: UInt64)?
    for group in worker.waitingGroups where group.status === upstream && !full.contains(where: { $0 === group }) {
      guard let front = group.queue.front(worker, of: group) else { continue }
      if front.milliseconds < oldest?.milliseconds ?? .max { oldest = front }
    }
    return oldest
  }

  /// Tells the other workers how long this one's requests have waited.
  private static func noteWaiting(at upstream: UpstreamStatus, _ worker: Worker) {
    upstream.waiting.setOldest(worker: worker.index, milliseconds: oldest(at: upstream, worker)?.milliseconds ?? 0)
  }

  /// This worker ends: those that wait at others hear of places that it has given back, or was told of.
  static func handOn(_ worker: Worker) {
    for upstream in worker.shared.servers.all where upstream.waiting.count > 0 {
      upstream.waiting.setOldest(worker: worker.index, milliseconds: 0)
      if let next = upstream.waiting.next { worker.shared.mailboxes[next].post(.places) }
    }
  }

  /// Places may be free: those that wait longest have them, here or at another worker.
  static func offerPlaces(_ worker: Worker) {
    guard worker.offersPlaces, !worker.waitsForLine() else { return }
    worker.offersPlaces = false
    for upstream in worker.shared.servers.all where upstream.waiting.count > 0 { offerPlaces(of: upstream, worker) }
    worker.waitingGroups.removeAll { $0.queue.isEmpty }
  }

  private static func offerPlaces(of upstream: UpstreamStatus, _ worker: Worker) {
    // Plans of that upstream whose servers are all full.
    var full: ContiguousArray<UpstreamPlan> = []
    while let next = upstream.waiting.next {
      guard next == worker.index || !full.isEmpty else {
        worker.shared.mailboxes[next].post(.places)
        return
      }
      guard let x = oldest(at: upstream, besides: full, worker)?.exchange, let group = x.group else {
        guard full.isEmpty else { return }
        upstream.waiting.setOldest(worker: worker.index, milliseconds: 0)
        continue
      }
      switch group.choose(for: x, nowMilliseconds: worker.nowMilliseconds) {
      case .full: full.append(group)
      case .server, .none:
        // Those that wait keep their order.
        guard !worker.waitsForLine() else {
          worker.offersPlaces = true
          return
        }
        x.advance(worker, x.tryAgain(worker))
        // Another worker was faster.
        if case .place = x.wait { return }
      }
    }
  }
}
