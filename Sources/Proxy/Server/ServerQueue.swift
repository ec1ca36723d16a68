// Requests of one upstream that wait, in one worker, for a place at a server (`max_connections`). They wait unsent, their bodies with
// their clients, and are bounded in number (over all workers) and time.
//
//   choose: full ─► wait ─┬─ a place is free ──► tried again, the oldest first
//                         └─ deadline, client gone, drain ─► leaves
//
// Invariant: `x.queueTicket` is not 0 exactly while the exchange counts in WaitingRequests.

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
    x.queueTicket = tickets
    entries.append(
      Entry(
        slot: x.slot, generation: x.generation, ticket: tickets, sinceMilliseconds: worker.nowMilliseconds))
    count += 1
  }

  /// So many entries of requests that left are never worth looking for.
  private static let leftMax = 64

  /// The exchange of an entry while it waits: its slot may have another one since, or be gone.
  private func exchange(of entry: Entry, _ worker: Worker, _ group: UpstreamPlan) -> Exchange? {
    guard let x = worker.exchanges.find(entry.slot, entry.generation), x.queueTicket == entry.ticket, x.group === group
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
}

extension Exchange {
  /// Every server that could have this request is full: it waits, unless too many do.
  func waitForPlace(_ group: UpstreamPlan, _ worker: Worker) -> Step {
    guard group.status.waiting.add(most: group.config.queue.requestsMax) else { return .refuse(.queueFull) }
    if !worker.waitingGroups.contains(where: { $0 === group }) { worker.waitingGroups.append(group) }
    group.queue.append(self, of: group, worker)
    timing.beginWait(worker.nowMicroseconds)
    isBackingOff = true
    triedServers = 0
    if queueEndMilliseconds == 0 {
      queueEndMilliseconds = worker.nowMilliseconds + UInt64(group.config.queue.timeoutMilliseconds)
    }
    worker.wheel.set(timer, deadlineMilliseconds: queueEndMilliseconds)
    worker.counters.add(.queued)
    worker.noteWaiting(at: group.status)
    // A place that was given back while this one was counted was offered to nobody.
    worker.offersPlaces = true
    return .parked
  }

  /// It waits no longer, whatever becomes of it.
  func leaveQueue(_ worker: Worker) {
    guard queueTicket != 0, let group else { return }
    queueTicket = 0
    timing.endWait(worker.nowMicroseconds)
    group.queue.noteLeft()
    group.status.waiting.remove()
    worker.noteWaiting(at: group.status)
    // Those behind it may have what it waited for in vain.
    if group.status.waiting.count > 0 { worker.offersPlaces = true }
  }

  /// Gives the place back that it has at a server.
  func leavePlace(_ worker: Worker) {
    guard let status = place else { return }
    place = nil
    status.givePlace()
    if status.waiting.count > 0 { worker.offersPlaces = true }
  }
}

extension Worker {
  /// The request that waits longest at an upstream. A reload leaves requests in the queue of the plan that they came under.
  private func oldestWaiting(
    at upstream: UpstreamStatus, besides full: ContiguousArray<UpstreamPlan> = []
  ) -> (exchange: Exchange, milliseconds: UInt64)? {
    var oldest: (exchange: Exchange, milliseconds: UInt64)?
    for group in waitingGroups where group.status === upstream && !full.contains(where: { $0 === group }) {
      guard let front = group.queue.front(self, of: group) else { continue }
      if front.milliseconds < oldest?.milliseconds ?? .max { oldest = front }
    }
    return oldest
  }

  /// Tells the other workers how long this one's requests have waited.
  func noteWaiting(at upstream: UpstreamStatus) {
    upstream.waiting.setOldest(worker: index, milliseconds: oldestWaiting(at: upstream)?.milliseconds ?? 0)
  }

  /// Places may be free: those that wait longest have them, here or at another worker.
  func offerPlaces() {
    guard offersPlaces else { return }
    offersPlaces = false
    for upstream in shared.servers.all where upstream.waiting.count > 0 { offerPlaces(of: upstream) }
    waitingGroups.removeAll { $0.queue.isEmpty }
  }

  private func offerPlaces(of upstream: UpstreamStatus) {
    // Plans of that upstream whose servers are all full.
    var full: ContiguousArray<UpstreamPlan> = []
    while let next = upstream.waiting.next {
      guard next == index || !full.isEmpty else {
        shared.mailboxes[next].post(.places)
        return
      }
      guard let x = oldestWaiting(at: upstream, besides: full)?.exchange, let group = x.group else {
        guard full.isEmpty else { return }
        upstream.waiting.setOldest(worker: index, milliseconds: 0)
        continue
      }
      switch group.choose(for: x, nowMilliseconds: nowMilliseconds) {
      case .full: full.append(group)
      case .server, .none:
        x.leaveQueue(self)
        x.advance(self, x.tryAgain(self))
        // Another worker was faster.
        if x.queueTicket != 0 { return }
      }
    }
  }
}
