// Time, read once per turn of a worker's loop. Nothing above Platform asks the system for it.

import CLinux

package enum Clock {
  /// Both clocks at one moment. What must hold when the wall clock is set is measured on the other one.
  package struct Reading: Sendable, Equatable {
    package var wallMilliseconds: UInt64
    package var monotonicMilliseconds: UInt64

    package init(wallMilliseconds: UInt64, monotonicMilliseconds: UInt64) {
      self.wallMilliseconds = wallMilliseconds
      self.monotonicMilliseconds = monotonicMilliseconds
    }
  }

  package static func read() -> Reading {
    Reading(wallMilliseconds: wallMilliseconds(), monotonicMilliseconds: monotonicMilliseconds())
  }

  /// Milliseconds of a clock that never goes back; its zero is arbitrary.
  package static func monotonicMilliseconds() -> UInt64 { cs_monotonic_ns() / 1_000_000 }
  /// Microseconds of the same clock.
  package static func monotonicMicroseconds() -> UInt64 { cs_monotonic_ns() / 1_000 }
  /// Milliseconds since 1970-01-01T00:00:00Z.
  package static func wallMilliseconds() -> UInt64 { cs_realtime_ns() / 1_000_000 }
}
