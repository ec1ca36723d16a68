// What the access log says about a refusal beyond its name. Small values, so that noting one on a request's path
// allocates nothing; the text is made when the line is written. Set on the exchange (or given to `recordRefused`) by whoever
// finds the fault, written by ExchangeRecord.

import Platform
import Policy
import Wire

package enum RefusalDetail: Sendable {
  case none
  /// A fixed sentence.
  case text(StaticString)
  /// A number between two texts: `"the edge's clock is " 5230 " ms ahead"`.
  case number(StaticString, Int, StaticString)
  /// A text of the configuration's, or of the system's, between two fixed ones.
  case named(StaticString, [UInt8], StaticString)

  /// Appends the member `detail`, or nothing where there is none.
  package func write(to line: Buffer) {
    if case .none = self { return }
    line.append(",\"detail\":\"")
    write(to: line, .json)
    line.append(0x22)
  }

  /// Appends the text alone.
  func write(to line: Buffer, _ escape: TextEscape) {
    switch self {
    case .none: return
    case .text(let text): line.append(fixed: text, escape)
    case .number(let before, let number, let after):
      line.append(fixed: before, escape)
      if number < 0 { line.append(0x2d) }
      line.append(decimal: UInt64(number.magnitude))
      line.append(fixed: after, escape)
    case .named(let before, let name, let after):
      line.append(fixed: before, escape)
      line.append(name.span, most: LogVariable.detailBytesMax, escape)
      line.append(fixed: after, escape)
    }
  }
}
