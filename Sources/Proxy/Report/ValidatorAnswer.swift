// What came back for a probe (docs/IDENTITY.md section 5): whom a validator says that it verified, or how it refused. Read by `doctor`,
// which asks from outside, and by LiveValidators, which asks as an edge.

import Platform
import Policy
import Wire

struct ValidatorAnswer: Sendable {
  let status: Int
  /// The validator ends the connection with it.
  let closes: Bool
  /// What it says of the signature; an edge on the way removes it.
  let mark: ValidatorMark
  /// `client=192.0.2.7 port=51324 proto=https via=socket`; nil: nobody who answers probes has answered.
  let line: String?
  /// The time that the other side's clock shows.
  let wallMilliseconds: UInt64?

  /// Whom it names; nil where nobody is named.
  var client: IPAddress? {
    guard let line, line.contains(" proto="), line.contains(" via=") else { return nil }
    return IPAddress(String(line.dropFirst(7).prefix { $0 != " " }))
  }

  enum Outcome {
    case answer(ValidatorAnswer)
    case incomplete
    /// It does not answer in HTTP.
    case unread
  }

  private static let headBytesMax = 64 * 1_024
  private static let lineBytesMax = 256

  /// - Parameter isAll: no more bytes come.
  static func read(_ bytes: [UInt8], isAll: Bool) -> Outcome {
    let head = ResponseHead(fieldsMax: 256)
    let limits = HeadLimits(headBytes: headBytesMax, fields: 256)
    switch head.parse(bytes.span, limits: limits, requestWasHead: false) {
    case .incomplete: return isAll ? .unread : .incomplete
    case .refused: return .unread
    case .complete(let length):
      let body = bytes[length...]
      // A validator's own answer says how long it is. Of another, the status is enough.
      if case .length(let count) = head.framing, count <= UInt64(lineBytesMax), body.count < Int(count), !isAll {
        return .incomplete
      }
      let text = String(decoding: body.prefix(lineBytesMax), as: UTF8.self)
      let line = text.prefix { !$0.isNewline }
      let date = head.firstIndex(.date).map { String(decoding: head.value($0).range.map { bytes[$0] }, as: UTF8.self) }
      return .answer(
        ValidatorAnswer(
          status: head.status, closes: !head.keepAlive, mark: ValidatorMark.read(bytes.span, head),
          line: head.status == 200 && line.hasPrefix("client=") ? String(line) : nil,
          wallMilliseconds: date.flatMap { milliseconds(date: $0) }))
    }
  }

  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  /// `Sat, 28 Nov 2026 06:29:01 GMT` (RFC 9110 section 5.6.7); no other form is read.
  private static func milliseconds(date: String) -> UInt64? {
    let parts = date.split(separator: " ")
    guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let year = Int(parts[3]),
      let month = months.firstIndex(of: String(parts[2])),
      let days = CivilDate.daysSinceEpoch(year: year, month: month + 1, day: day)
    else { return nil }
    let time = parts[4].split(separator: ":").compactMap { Int($0) }
    guard time.count == 3, (0..<24).contains(time[0]), (0..<60).contains(time[1]), (0...60).contains(time[2]) else {
      return nil
    }
    return UInt64(((days * 24 + time[0]) * 60 + time[1]) * 60 + time[2]) * 1_000
  }
}
