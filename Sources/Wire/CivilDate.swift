// The calendar: dates from days since 1970-01-01, and back (proleptic Gregorian), by Howard Hinnant's civil_from_days and
// days_from_civil. Wherever a time is written or read as text, this says which day it is.

public struct CivilDate: Equatable, Sendable {
  public let year: Int
  /// 1 to 12.
  public let month: Int
  /// 1 to 31.
  public let day: Int
  /// 0 is Sunday.
  public let weekday: Int

  public init(daysSinceEpoch days: Int) {
    let z = days + 719_468
    let era = z / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shifted + 2) / 5 + 1
    month = shifted < 10 ? shifted + 3 : shifted - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    weekday = (days + 4) % 7
  }

  /// Nil for a day that there is not, before 1970 or behind 9999: a peer may have written any number.
  public static func daysSinceEpoch(year: Int, month: Int, day: Int) -> Int? {
    guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
    // Years that begin in March: then the leap day is a year's last.
    let (years, months) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1 - 719_468
    // A day that its month does not have is one of the next.
    return CivilDate(daysSinceEpoch: days).day == day ? days : nil
  }
}
