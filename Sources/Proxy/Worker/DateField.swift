// The Date field's value and the log's time, made once a second and once a millisecond.

import Wire

package struct DateField {
  package private(set) var imf = InlineArray<29, UInt8>(repeating: 0x20)
  package private(set) var rfc3339 = InlineArray<24, UInt8>(repeating: 0x20)
  private var second: UInt64 = .max
  private var millisecond: UInt64 = .max

  package init() {}

  private static let weekdays: InlineArray<7, InlineArray<3, UInt8>> = [
    [0x53, 0x75, 0x6e], [0x4d, 0x6f, 0x6e], [0x54, 0x75, 0x65], [0x57, 0x65, 0x64], [0x54, 0x68, 0x75],
    [0x46, 0x72, 0x69], [0x53, 0x61, 0x74],
  ]
  private static let months: InlineArray<12, InlineArray<3, UInt8>> = [
    [0x4a, 0x61, 0x6e], [0x46, 0x65, 0x62], [0x4d, 0x61, 0x72], [0x41, 0x70, 0x72], [0x4d, 0x61, 0x79],
    [0x4a, 0x75, 0x6e], [0x4a, 0x75, 0x6c], [0x41, 0x75, 0x67], [0x53, 0x65, 0x70], [0x4f, 0x63, 0x74],
    [0x4e, 0x6f, 0x76], [0x44, 0x65, 0x63],
  ]

  /// The last second of the year 9999, behind which neither text can tell a time.
  private static let secondsMax: UInt64 = 253_402_300_799

  /// Brings both texts to a file's time, which whoever may write the file can have set to anything, and some file systems keep.
  package mutating func update(fileSeconds: Int64) {
    update(wallMilliseconds: min(UInt64(clamping: fileSeconds), DateField.secondsMax) * 1_000)
  }

  /// Brings both texts to `wallMilliseconds` since 1970, or to the last time that they can tell.
  package mutating func update(wallMilliseconds: UInt64) {
    let wallMilliseconds = min(wallMilliseconds, DateField.secondsMax * 1_000 + 999)
    guard wallMilliseconds != millisecond else { return }
    millisecond = wallMilliseconds
    let now = wallMilliseconds / 1_000
    let rest = wallMilliseconds % 1_000
    if now != second {
      second = now
      writeSecond(now)
    }
    put3(&rfc3339, 20, Int(rest))
  }

  /// «Sun, 06 Nov 1994 08:49:37 GMT» (RFC 9110 section 5.6.7) and «1994-11-06T08:49:37.000Z».
  private mutating func writeSecond(_ now: UInt64) {
    let date = CivilDate(daysSinceEpoch: Int(now / 86_400))
    let ofDay = Int(now % 86_400)
    let hour = ofDay / 3_600
    let minute = ofDay / 60 % 60
    let secondOfMinute = ofDay % 60
    for i in 0..<3 {
      imf[i] = DateField.weekdays[date.weekday][i]
      imf[8 + i] = DateField.months[date.month - 1][i]
    }
    imf[3] = 0x2c
    put2(&imf, 5, date.day)
    put2(&imf, 12, date.year / 100)
    put2(&imf, 14, date.year % 100)
    put2(&imf, 17, hour)
    imf[19] = 0x3a
    put2(&imf, 20, minute)
    imf[22] = 0x3a
    put2(&imf, 23, secondOfMinute)
    imf[26] = 0x47
    imf[27] = 0x4d
    imf[28] = 0x54

    put2(&rfc3339, 0, date.year / 100)
    put2(&rfc3339, 2, date.year % 100)
    rfc3339[4] = 0x2d
    put2(&rfc3339, 5, date.month)
    rfc3339[7] = 0x2d
    put2(&rfc3339, 8, date.day)
    rfc3339[10] = 0x54
    put2(&rfc3339, 11, hour)
    rfc3339[13] = 0x3a
    put2(&rfc3339, 14, minute)
    rfc3339[16] = 0x3a
    put2(&rfc3339, 17, secondOfMinute)
    rfc3339[19] = 0x2e
    rfc3339[23] = 0x5a
  }

  private func put2<let n: Int>(_ into: inout InlineArray<n, UInt8>, _ at: Int, _ value: Int) {
    into[at] = 0x30 + UInt8(value / 10)
    into[at + 1] = 0x30 + UInt8(value % 10)
  }

  private func put3<let n: Int>(_ into: inout InlineArray<n, UInt8>, _ at: Int, _ value: Int) {
    into[at] = 0x30 + UInt8(value / 100)
    put2(&into, at + 1, value % 100)
  }
}
