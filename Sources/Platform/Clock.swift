// The clocks, read once per turn of a worker's loop. Modules above Platform get the time from here only.

import CLinux
import Glibc

package enum Clock {
  /// Both clocks at one moment. Durations that must not change when the wall clock is set are measured on the monotonic one.
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

  /// Milliseconds of CLOCK_MONOTONIC, which never goes back; its zero is arbitrary.
  package static func monotonicMilliseconds() -> UInt64 { cs_monotonic_ns() / 1_000_000 }
  /// Microseconds of the same clock.
  package static func monotonicMicroseconds() -> UInt64 { cs_monotonic_ns() / 1_000 }
  /// For the command line; no thread of the proxy sleeps.
  package static func sleep(milliseconds: Int32) {
    _ = poll(nil, 0, milliseconds)
  }
  /// Milliseconds since 1970-01-01T00:00:00Z.
  package static func wallMilliseconds() -> UInt64 { cs_realtime_ns() / 1_000_000 }
}
