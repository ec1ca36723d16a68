// Dates: known ones, every day of four centuries, and against Foundation.

import Foundation
import Proxy
import TestSupport
import Testing
import Wire

@Suite struct DateFieldTests {
  private func texts(_ milliseconds: UInt64) -> (imf: String, rfc3339: String) {
    var field = DateField()
    field.update(wallMilliseconds: milliseconds)
    return texts(field)
  }

  private func texts(_ field: DateField) -> (imf: String, rfc3339: String) {
    (
      String(decoding: (0..<29).map { field.imf[$0] }, as: UTF8.self),
      String(decoding: (0..<24).map { field.rfc3339[$0] }, as: UTF8.self)
    )
  }

  @Test(
    arguments: [
      (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
      (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.000Z"),  // RFC 9110 section 5.6.7
      (951_782_400_001, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.001Z"),
      (946_684_799_999, "Fri, 31 Dec 1999 23:59:59 GMT", "1999-12-31T23:59:59.999Z"),
      (1_709_251_199_050, "Thu, 29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59.050Z"),
      (1_709_251_200_000, "Fri, 01 Mar 2024 00:00:00 GMT", "2024-03-01T00:00:00.000Z"),
      (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01T00:00:00.000Z"),
      (4_107_542_399_000, "Sun, 28 Feb 2100 23:59:59 GMT", "2100-02-28T23:59:59.000Z"),
      (2_147_483_648_000, "Tue, 19 Jan 2038 03:14:08 GMT", "2038-01-19T03:14:08.000Z"),
      (253_402_300_799_999, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999Z"),
      // No text of that length can tell them.
      (253_402_300_800_000, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999Z"),
      (99_999_999_999_999_000, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999Z"),
      (.max, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999Z"),
    ] as [(UInt64, String, String)])
  func knownDates(_ milliseconds: UInt64, _ imf: String, _ rfc3339: String) {
    #expect(texts(milliseconds) == (imf, rfc3339))
  }

  @Test(
    arguments: [
      (.min, "Thu, 01 Jan 1970 00:00:00 GMT"), (-1, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
      (.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] as [(Int64, String)])
  func timesOfFiles(_ seconds: Int64, _ imf: String) {
    var field = DateField()
    field.update(fileSeconds: seconds)
    #expect(texts(field).imf == imf)
  }

  /// Day by day by the calendar's own rules, for more than the 400 years after which it repeats.
  @Test func everyDayFollowsTheOneBefore() throws {
    var year = 1970
    var month = 1
    var day = 1
    var weekday = 4
    for days in 0..<150_000 {
      let date = CivilDate(daysSinceEpoch: days)
      try #require(
        (date.year, date.month, date.day, date.weekday) == (year, month, day, weekday), "\(days) days after the epoch")
      try #require(CivilDate.daysSinceEpoch(year: year, month: month, day: day) == days)
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      let length = month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
      day += 1
      if day > length { try #require(CivilDate.daysSinceEpoch(year: year, month: month, day: day) == nil) }
      if day > length { (day, month) = (1, month + 1) }
      if month > 12 { (month, year) = (1, year + 1) }
      weekday = (weekday + 1) % 7
    }
  }

  @Test func foundationAgrees() {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "GMT")
    formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    var random = Seeded(1)
    for day in stride(from: UInt64(0), to: 60_000, by: 13) {
      let second = day * 86_400 + UInt64.random(in: 0..<86_400, using: &random)
      #expect(texts(second * 1_000).imf == formatter.string(from: Date(timeIntervalSince1970: Double(second))))
    }
  }

  @Test func oneFieldIsBroughtForwardAndBack() {
    var field = DateField()
    for milliseconds: UInt64 in [
      1_000, 1_001, 1_999, 2_000, 2_000, 86_399_999, 86_400_000, 1_700_000_000_123, 1_700_000_000_124, 999, 0,
    ] {
      field.update(wallMilliseconds: milliseconds)
      #expect(texts(field) == texts(milliseconds))
    }
  }
}
