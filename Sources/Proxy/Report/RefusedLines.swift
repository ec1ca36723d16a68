// Which connections that never came to a request get a line of their own in the access log: the first few of a peer with
// one refusal, and then a count each interval, so that whoever opens connections cannot fill a disk. One per worker.
//
// Invariants: the table and the counts are made once and never grow; each refused connection is in exactly one line or
// one count. Peers that find no place in the table are counted together, by refusal.

import Platform
import Wire

package final class RefusedLines {
  /// Lines that a peer gets for one refusal before it is counted only.
  package static let wholeMax = 5
  package static let intervalMilliseconds: UInt64 = 60_000
  /// Pairs of a peer and a refusal.
  package static let entriesMax = 256

  package enum Peer: Equatable {
    case address(IPAddress)
    case unix
    /// All that have no place in the table.
    case other
  }

  private struct Entry {
    let refusal: Refusal
    /// Nil: on a unix socket.
    let peer: IPAddress?
    var whole = 0
    var suppressed: UInt64 = 0
    /// Seen in this interval.
    var isActive = true
  }

  private var entries: ContiguousArray<Entry> = []
  private var others: ContiguousArray<UInt64>
  private var hasOthers = false
  /// When counts are due; `.max` while there is nothing to count.
  package var dueMilliseconds: UInt64 { nextMilliseconds }
  private var nextMilliseconds = UInt64.max

  package init() {
    entries.reserveCapacity(RefusedLines.entriesMax)
    others = ContiguousArray(repeating: 0, count: Refusal.allCases.count)
  }

  /// Whether this one gets a line; otherwise it is counted.
  package func admits(_ refusal: Refusal, peer: IPAddress?, nowMilliseconds: UInt64) -> Bool {
    if nextMilliseconds == .max { nextMilliseconds = nowMilliseconds + RefusedLines.intervalMilliseconds }
    for i in entries.indices where entries[i].refusal == refusal && entries[i].peer == peer {
      entries[i].isActive = true
      guard entries[i].whole < RefusedLines.wholeMax else {
        entries[i].suppressed += 1
        return false
      }
      entries[i].whole += 1
      return true
    }
    guard entries.count < RefusedLines.entriesMax else {
      others[Int(refusal.rawValue)] += 1
      hasOthers = true
      return false
    }
    entries.append(Entry(refusal: refusal, peer: peer, whole: 1))
    return true
  }

  /// Gives the counts of the interval that is over to `tell` and begins the next. A peer that was quiet for all of it
  /// is forgotten, and gets whole lines again.
  package func endInterval(nowMilliseconds: UInt64, _ tell: (Refusal, Peer, UInt64) -> Void) {
    var i = 0
    while i < entries.count {
      guard entries[i].isActive else {
        entries.swapAt(i, entries.count - 1)
        entries.removeLast()
        continue
      }
      if entries[i].suppressed > 0 {
        tell(entries[i].refusal, entries[i].peer.map { .address($0) } ?? .unix, entries[i].suppressed)
      }
      entries[i].suppressed = 0
      entries[i].isActive = false
      i += 1
    }
    if hasOthers {
      for refusal in Refusal.allCases where others[Int(refusal.rawValue)] > 0 {
        tell(refusal, .other, others[Int(refusal.rawValue)])
        others[Int(refusal.rawValue)] = 0
      }
      hasOthers = false
    }
    nextMilliseconds = entries.isEmpty ? .max : nowMilliseconds + RefusedLines.intervalMilliseconds
  }
}
