// What the access log says about a refusal beyond its name. Small values, so that noting one on a request's path
// allocates nothing; the text is made when the line is written. Set on the exchange (or given to `recordRefused`) by whoever
// finds the fault, written by ExchangeRecord.

import Platform
import Wire

package enum RefusalDetail: Sendable {
  case none
  /// A fixed sentence.
  case text(StaticString)
  /// A number between two texts: `"the edge's clock is " 5230 " ms ahead"`.
  case number(StaticString, Int, StaticString)
  /// A text of the configuration's, or of the system's, between two fixed ones.
  case named(StaticString, [UInt8], StaticString)

  /// The log shows no more of a detail than this.
  private static let bytesMax = 320

  /// Appends the member `detail`, or nothing where there is none.
  package func write(to line: Buffer) {
    switch self {
    case .none: return
    case .text(let text):
      line.append(",\"detail\":\"")
      line.append(text)
    case .number(let before, let number, let after):
      line.append(",\"detail\":\"")
      line.append(before)
      if number < 0 { line.append(0x2d) }
      line.append(decimal: UInt64(number.magnitude))
      line.append(after)
    case .named(let before, let name, let after):
      line.append(",\"detail\":\"")
      line.append(before)
      line.appendEscaped(name.span, most: RefusalDetail.bytesMax)
      line.append(after)
    }
    line.append(0x22)
  }
}
