// How much a client wants something (RFC 9110 section 12.4.2). Callers: CodingPreference, MediaPreference.

enum QualityValue {
  /// Reads `0.5` at `at`, in thousandths, with at most three decimals, and moves `at` behind it; nil where none begins. What is more than
  /// 1,000 (`1.5`) is none; that is for the caller to say.
  static func read(_ line: Span<UInt8>, _ at: inout Int, before end: Int) -> Int? {
    guard at < end, line[at] == 0x30 || line[at] == 0x31 else { return nil }
    var thousandths = Int(line[at] - 0x30) * 1_000
    at += 1
    guard at < end, line[at] == 0x2e else { return thousandths }
    at += 1
    var unit = 100
    while at < end, Ascii.isDigit(line[at]), unit > 0 {
      thousandths += Int(line[at] - 0x30) * unit
      unit /= 10
      at += 1
    }
    return thousandths
  }
}
