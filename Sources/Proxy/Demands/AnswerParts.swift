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

  /// Appends the lines.
  func writeFields(into out: Buffer) {
    if page?.varies == true { out.append("Vary: Accept\r\n") }
    if !challengeLine.isEmpty { out.append(challengeLine.span) }
    if !proxyStatusLine.isEmpty { out.append(proxyStatusLine.span) }
    if let rateOfRoute { rate.write(rateOfRoute, into: out) }
  }
}

extension Exchange {
  /// What goes with a refusal of this request.
  func parts(of refusal: Refusal, _ worker: Worker) -> AnswerParts {
    var parts = AnswerParts()
    let status = Int(refusal.status)
    // A page is left out where it has no room; the answer is not.
    if let page = page(status: status, worker), page.bytes.count + 2_048 <= downstream.output.room { parts.page = page }
    if status == 401 { parts.challengeLine = route?.demands?.login?.challengeLine ?? [] }
    parts.proxyStatusLine = worker.plan.proxyStatus?.line(of: refusal) ?? []
    parts.rate = rate
    parts.rateOfRoute = rateOfRoute
    return parts
  }

  /// The page of a status; nil where there is none.
  func page(status: Int, _ worker: Worker) -> AnswerPage? {
    let own = route?.pages
    guard own != nil || !worker.plan.pages.isEmpty else { return nil }
    return own?.page(status: status, prefersJSON: prefersJSON)
      ?? worker.plan.pages.page(status: status, prefersJSON: prefersJSON)
  }

  private var prefersJSON: Bool {
    // Of a head that was not understood nothing is known.
    guard headBytes > 0 else { return false }
    var preference = MediaPreference()
    headText.withReadable { bytes in
      for index in 0..<head.fieldCount {
        let field = head.field(index)
        guard bytes.extracting(field.name.range).equalsIgnoringCase(lowercase: Exchange.acceptName.span) else {
          continue
        }
        preference.note(bytes.extracting(field.value.range))
      }
    }
    return preference.prefersJSON
  }

  private static let acceptName = Array("accept".utf8)
}
