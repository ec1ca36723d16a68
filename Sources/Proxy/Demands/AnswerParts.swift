// What an answer of our own has besides its status: a page, and fields that say why and when to come again.

import Platform
import Policy
import Wire

package struct AnswerParts {
  package var page: AnswerPage?
  /// Lines that are the same for each such answer.
  package var challengeLine: [UInt8] = []
  package var proxyStatusLine: [UInt8] = []
  var rate = RateNotice.none
  var rateOfRoute: RouteRate?

  package init() {}

  /// What goes with a refusal of this request.
  init(of refusal: Refusal, _ x: Exchange, _ worker: Worker) {
    let status = Int(refusal.status)
    // A page is left out where it has no room; the answer is not.
    if let page = AnswerParts.page(status: status, x, worker), page.bytes.count + 2_048 <= x.downstream.output.room {
      self.page = page
    }
    if status == 401 { challengeLine = x.route?.demands?.login?.challengeLine ?? [] }
    proxyStatusLine = worker.plan.proxyStatus?.line(of: refusal) ?? []
    rate = x.rate
    rateOfRoute = RouteRate.of(x)
  }

  /// Appends the lines.
  func writeFields(into out: Buffer) {
    if page?.varies == true { out.append("Vary: Accept\r\n") }
    if !challengeLine.isEmpty { out.append(challengeLine.span) }
    if !proxyStatusLine.isEmpty { out.append(proxyStatusLine.span) }
    if let rateOfRoute { rate.write(rateOfRoute, into: out) }
  }

  /// The page of a status; nil where there is none.
  static func page(status: Int, _ x: Exchange, _ worker: Worker) -> AnswerPage? {
    let own = x.route?.pages
    guard own != nil || !worker.plan.pages.isEmpty else { return nil }
    return own?.page(status: status, prefersJSON: prefersJSON(x))
      ?? worker.plan.pages.page(status: status, prefersJSON: prefersJSON(x))
  }

  private static func prefersJSON(_ x: Exchange) -> Bool {
    // Of a head that was not understood nothing is known.
    guard x.headBytes > 0 else { return false }
    var preference = MediaPreference()
    x.headText.withReadable { bytes in
      for index in 0..<x.head.fieldCount {
        let field = x.head.field(index)
        guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: acceptName.span) else {
          continue
        }
        preference.note(bytes.extracting(field.value.range))
      }
    }
    return preference.prefersJSON
  }

  private static let acceptName = Array("accept".utf8)
}
