// What a validator says to its edge in each of its answers, in a field that the edge removes: whether it verified who the client is
// (docs/IDENTITY.md section 5). A response without it came from somebody who does not.
// Neither a client nor a backend can make or see a mark: each process removes whatever marks come, in requests and in responses.

import Platform
import Wire

package enum ValidatorMark: UInt8, Sendable, CaseIterable {
  case none
  /// Nothing passes here whose signature was not verified.
  case enforced
  /// Looked at in observe mode, in which what cannot be verified passes too.
  case observed
  /// Refused, because the identity could not be verified.
  case refused
  /// Refused because the validator has just started: to be signed anew and sent again.
  case starting

  /// The field line, with its line end.
  var line: StaticString {
    switch self {
    case .none: ""
    case .enforced: "countersign-verified: enforce\r\n"
    case .observed: "countersign-verified: observe\r\n"
    case .refused: "countersign-verified: refused\r\n"
    case .starting: "countersign-refusal: starting\r\n"
    }
  }

  /// For the log.
  var name: StaticString {
    switch self {
    case .none: "none"
    case .enforced: "enforce"
    case .observed: "observe"
    case .refused: "refused"
    case .starting: "starting"
    }
  }

  /// What operators are told of a server that answers so.
  var warning: StaticString {
    switch self {
    case .observed: "looks at signatures but lets every request pass (identity.mode: observe)"
    case .refused: "refused a request that this edge signed: the reason stands in its access log"
    case .none, .enforced, .starting:
      "answered without saying that it verified the signature: nobody may be checking who the client is there"
    }
  }

  /// What such a warning is known by, so that it is not said over and over.
  func warningKey(_ upstream: String) -> String { "validator \(upstream) \(name)" }

  private static let verified: StaticString = "countersign-verified"
  private static let refusal: StaticString = "countersign-refusal"

  /// Whether a field of a response is a mark, whatever it says.
  static func isOne(_ bytes: Span<UInt8>, _ head: ResponseHead, _ i: Int, _ kind: FieldKind) -> Bool {
    guard kind == .claim else { return false }
    let name = bytes.extracting(head.name(i).range)
    return name.equalsIgnoringCase(verified) || name.equalsIgnoringCase(refusal)
  }

  /// What a response from an attested upstream says. One with two marks, or with one that is not known, says nothing.
  package static func read(_ bytes: Span<UInt8>, _ head: ResponseHead) -> ValidatorMark {
    guard head.has(.claim) else { return .none }
    var mark = ValidatorMark.none
    var count = 0
    for i in 0..<head.fieldCount where isOne(bytes, head, i, head.kind(i)) {
      count += 1
      let value = bytes.extracting(head.value(i).range)
      if bytes.extracting(head.name(i).range).equalsIgnoringCase(refusal) {
        if head.status == 503, value.equalsIgnoringCase("starting") { mark = .starting }
      } else if value.equalsIgnoringCase("enforce") {
        mark = .enforced
      } else if value.equalsIgnoringCase("observe") {
        mark = .observed
      } else if value.equalsIgnoringCase("refused"), head.status >= 400 {
        mark = .refused
      }
    }
    return count == 1 ? mark : .none
  }

  /// What this process, as a validator, says in its answer.
  static func own(_ x: Exchange, _ worker: Worker) -> ValidatorMark {
    guard x.downstream.isAttested else { return .none }
    if x.refusal == .starting { return .starting }
    if case .observe = worker.plan.config.identity.mode { return .observed }
    return x.refusal.map(\.isOfIdentity) ?? false ? .refused : .enforced
  }
}
