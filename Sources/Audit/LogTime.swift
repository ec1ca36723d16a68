// Times as the log writes them (RFC 3339 in UTC, milliseconds), and as an operator writes them; and the window between two of
// them. As numbers they are milliseconds since 1970.

import Wire

package struct LogTime {
  /// `2026-11-28T14:00:00.000Z`
  package static let textCount = 24

  // The day that was seen last: nearly all lines that follow are of the same.
  private var dayWord: UInt64 = 0
  private var dayRest: UInt64 = 0
  private var dayMilliseconds: UInt64 = 0

  package init() {}

  /// Reads the 24 bytes from `at`.
  @inline(__always) package mutating func milliseconds(_ line: Span<UInt8>, at: Int) -> UInt64? {
    let word = line.word(at: at)
    let rest = UInt64(line[at + 8]) | UInt64(line[at + 9]) << 8
    if word != dayWord || rest != dayRest {
      guard let day = LogTime.day(line, at) else { return nil }
      (dayWord, dayRest, dayMilliseconds) = (word, rest, day)
    }
    guard line[at + 10] == 0x54, line[at + 13] == 0x3a, line[at + 16] == 0x3a, line[at + 19] == 0x2e,
      line[at + 23] == 0x5a, let hour = LogTime.two(line, at + 11), let minute = LogTime.two(line, at + 14),
      let second = LogTime.two(line, at + 17), let hundredths = LogTime.two(line, at + 20), line[at + 22] &- 0x30 < 10,
      hour < 24, minute < 60, second < 60
    else { return nil }
    let thousandths = hundredths * 10 + UInt64(line[at + 22] &- 0x30)
    return dayMilliseconds &+ ((hour &* 60 &+ minute) &* 60 &+ second) &* 1_000 &+ thousandths
  }

  @inline(__always) private static func two(_ line: Span<UInt8>, _ at: Int) -> UInt64? {
    let (tens, ones) = (line[at] &- 0x30, line[at + 1] &- 0x30)
    return tens < 10 && ones < 10 ? UInt64(tens) &* 10 &+ UInt64(ones) : nil
  }

  private static func day(_ line: Span<UInt8>, _ at: Int) -> UInt64? {
    guard let century = two(line, at), let year = two(line, at + 2), line[at + 4] == 0x2d,
      let month = two(line, at + 5), line[at + 7] == 0x2d, let day = two(line, at + 8)
    else { return nil }
    return CivilDate.daysSinceEpoch(year: Int(century * 100 + year), month: Int(month), day: Int(day))
      .map { UInt64($0) * 86_400_000 }
  }

  // MARK: An operator's

  package static let forms = "2026-11-28T14:00Z, 2026-11-28T14:00:00.000+01:00, or without a zone for UTC"

  /// RFC 3339, or a part of it: seconds and zone may be missing; without a zone it is UTC.
  package static func milliseconds(_ text: String) -> UInt64? {
    let bytes = Array(text.utf8)
    let span = bytes.span
    guard span.count >= 16, let midnight = day(span, 0), [0x54, 0x74, 0x20].contains(span[10]), span[13] == 0x3a,
      let hour = two(span, 11), let minute = two(span, 14), hour < 24, minute < 60
    else { return nil }
    var time = midnight + (hour * 60 + minute) * 60_000
    var at = 16
    if at < span.count, span[at] == 0x3a {
      guard at + 2 < span.count, let second = two(span, at + 1), second < 60 else { return nil }
      time += second * 1_000
      at += 3
      if at < span.count, span[at] == 0x2e {
        at += 1
        var unit: UInt64 = 100
        let first = at
        while at < span.count, span[at] &- 0x30 < 10 {
          time += unit * UInt64(span[at] &- 0x30)
          unit /= 10
          at += 1
        }
        guard at > first else { return nil }
      }
    }
    guard at < span.count else { return time }
    if span[at] == 0x5a || span[at] == 0x7a { return at + 1 == span.count ? time : nil }
    guard span[at] == 0x2b || span[at] == 0x2d, at + 6 == span.count, span[at + 3] == 0x3a,
      let hours = two(span, at + 1), let minutes = two(span, at + 4), hours < 24, minutes < 60
    else { return nil }
    let offset = (hours * 60 + minutes) * 60_000
    if span[at] == 0x2d { return time + offset }
    return time >= offset ? time - offset : nil
  }

  /// As the log writes it.
  package static func text(_ milliseconds: UInt64) -> String {
    let day = CivilDate(daysSinceEpoch: Int(milliseconds / 86_400_000))
    let rest = Int(milliseconds % 86_400_000)
    func digits(_ number: Int, _ count: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    let date = "\(digits(day.year, 4))-\(digits(day.month, 2))-\(digits(day.day, 2))"
    let time = "\(digits(rest / 3_600_000, 2)):\(digits(rest / 60_000 % 60, 2)):\(digits(rest / 1_000 % 60, 2))"
    return "\(date)T\(time).\(digits(rest % 1_000, 3))Z"
  }
}

/// What is asked about: an exchange is in it when a part of it is, from its first byte to its line in the log.
package struct AuditWindow: Sendable, Equatable {
  /// Within.
  package let from: UInt64
  /// No longer within.
  package let until: UInt64

  package init(from: UInt64, until: UInt64) {
    self.from = from
    self.until = until
  }

  package func holds(_ line: LogLine) -> Bool { line.milliseconds >= from && line.startMilliseconds < until }
}
