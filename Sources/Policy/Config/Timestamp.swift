// Points in time as configuration and command line write them: RFC 3339 in UTC, to the second or finer.

import Wire

/// `2026-12-01T00:00:00Z`.
package enum Timestamp {
  /// Milliseconds since 1970-01-01T00:00:00Z; nil where the text is no such time. Only the years 1970 to 9999, no leap second,
  /// and no other offset than `Z`: a time that operators compare with a log has one spelling.
  package static func milliseconds(_ text: String) -> UInt64? {
    let bytes = Array(text.utf8)
    guard bytes.count >= 20, bytes.count <= 24, bytes.last == UInt8(ascii: "Z") else { return nil }
    for (index, separator) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")]
    where bytes[index] != separator.utf8.first {
      return nil
    }
    func number(_ range: Range<Int>) -> UInt64? {
      var value: UInt64 = 0
      for byte in bytes[range] {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
      }
      return value
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
      let minute = number(14..<16), let second = number(17..<19), hour < 24, minute < 60, second < 60,
      let days = CivilDate.daysSinceEpoch(year: Int(year), month: Int(month), day: Int(day))
    else { return nil }
    var milliseconds: UInt64 = 0
    if bytes.count > 20 {
      let digits = bytes.count - 21
      guard bytes[19] == UInt8(ascii: "."), digits >= 1, let fraction = number(20..<bytes.count - 1) else { return nil }
      milliseconds = digits == 1 ? fraction * 100 : digits == 2 ? fraction * 10 : fraction
    }
    return ((UInt64(days) * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + milliseconds
  }

  /// The other way, to the second.
  package static func text(milliseconds: UInt64) -> String {
    let (days, rest) = Int(milliseconds / 1_000).quotientAndRemainder(dividingBy: 86_400)
    let date = CivilDate(daysSinceEpoch: days)
    func padded(_ value: Int, _ width: Int = 2) -> String {
      let digits = "\(value)"
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(date.year, 4))-\(padded(date.month))-\(padded(date.day))"
      + "T\(padded(rest / 3_600)):\(padded(rest / 60 % 60)):\(padded(rest % 60))Z"
  }

  /// How long something still lasts, for people: its two greatest units.
  package static func span(milliseconds: UInt64) -> String {
    let units: [(name: String, milliseconds: UInt64)] = [
      ("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000),
    ]
    guard let first = units.firstIndex(where: { milliseconds >= $0.milliseconds }) else { return "less than a second" }
    var rest = milliseconds
    var parts: [String] = []
    for unit in units[first...].prefix(2) {
      let count = rest / unit.milliseconds
      rest %= unit.milliseconds
      if count > 0 { parts.append("\(count) \(unit.name)\(count == 1 ? "" : "s")") }
    }
    return parts.joined(separator: " ")
  }
}
