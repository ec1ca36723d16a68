// What a process that has just started may not take: messages that the process before it may have taken. Their numbers
// went with that process's windows, so the time at which they were created has to tell.
//
// A process takes nothing that was created later than its clock plus the skew. So whatever the process before took was
// created before this one's start plus the skew, by the wall clock as it stood then, and what was created later is new.
// The wall clock can be set while the process runs. The start is therefore kept on the monotonic clock and read anew on
// the wall clock each time: `now - elapsed`. docs/IDENTITY.md section 5 argues each case:
//
// - set forward: the start moves along with what was signed before it, which stays refused;
// - set back by up to the skew: the latest reading of the start counts, so nothing that was refused becomes new;
// - set back by more: the start moves back with it, or everything would be refused for as long as the clock was wrong.
//
// Called by Verifier for each message in time. Shared by all workers; one atomic load for a message, and none once the
// window is over.

import Platform
import Synchronization
import Wire

package final class StartWindow: Sendable {
  private let monotonicMilliseconds: UInt64
  /// The latest that the start has been on the wall clock.
  private let latestMilliseconds: Atomic<UInt64>
  /// The largest skew with which messages have been taken since: one that a reload makes smaller counts on.
  private let skewMilliseconds = Atomic<UInt64>(0)

  package init(_ start: Clock.Reading) {
    monotonicMilliseconds = start.monotonicMilliseconds
    latestMilliseconds = Atomic(start.wallMilliseconds)
  }

  /// What a process that goes on with this one's windows has to know.
  package struct Carried: Sendable, Equatable {
    /// The start on the monotonic clock, which is the same for all processes of a host.
    package let monotonicMilliseconds: UInt64
    package let latestMilliseconds: UInt64
    /// The largest skew with which messages have been taken since.
    package let skewMilliseconds: UInt64

    package init(monotonicMilliseconds: UInt64, latestMilliseconds: UInt64, skewMilliseconds: UInt64) {
      self.monotonicMilliseconds = monotonicMilliseconds
      self.latestMilliseconds = latestMilliseconds
      self.skewMilliseconds = skewMilliseconds
    }

    /// What refuses all that one of the two does.
    func later(_ other: Carried) -> Carried {
      Carried(
        monotonicMilliseconds: max(monotonicMilliseconds, other.monotonicMilliseconds),
        latestMilliseconds: max(latestMilliseconds, other.latestMilliseconds),
        skewMilliseconds: max(skewMilliseconds, other.skewMilliseconds))
    }
  }

  /// The start of the windows that go on here.
  package init(_ carried: Carried) {
    monotonicMilliseconds = carried.monotonicMilliseconds
    latestMilliseconds = Atomic(carried.latestMilliseconds)
    note(skewMilliseconds: carried.skewMilliseconds)
  }

  package var carried: Carried {
    Carried(
      monotonicMilliseconds: monotonicMilliseconds, latestMilliseconds: latestMilliseconds.load(ordering: .relaxed),
      skewMilliseconds: skewMillisecondsMax)
  }

  package var startMilliseconds: UInt64 { monotonicMilliseconds }

  package var skewMillisecondsMax: UInt64 { skewMilliseconds.load(ordering: .relaxed) }

  package func note(skewMilliseconds skew: UInt64) { skewMilliseconds.max(skew, ordering: .relaxed) }

  /// Whether the process before this one may have taken a message that was created then, in milliseconds. The message
  /// has not expired.
  package func mayPrecede(created: UInt64, now: Clock.Reading, skewMilliseconds skew: UInt64) -> Bool {
    let skew = max(skew, skewMilliseconds.load(ordering: .relaxed))
    let elapsed =
      now.monotonicMilliseconds > monotonicMilliseconds ? now.monotonicMilliseconds - monotonicMilliseconds : 0
    // What is refused below was created before now - elapsed + 2 * skew: all of that has expired by now.
    guard elapsed < Verifier.lifetimeMilliseconds &+ 2 &* skew else { return false }
    let start = now.wallMilliseconds > elapsed ? now.wallMilliseconds - elapsed : 0
    var latest = latestMilliseconds.load(ordering: .relaxed)
    if start > latest {
      latest = latestMilliseconds.max(start, ordering: .relaxed).newValue
    }
    return created < min(latest, start &+ skew) &+ skew
  }
}
