// Whether this process should be sent requests: for /healthz of the admin listener, for the checks of load balancers, and as a
// metric. Each reason is set and taken back by whoever knows of it; all threads read them.

import Platform
import Synchronization

package final class ServiceReadiness: Sendable {
  /// Why no request should be sent here now; the first that holds is told.
  package enum Reason: Int, CaseIterable, Sendable {
    case loading, starting, draining, signing, validators, collapse

    package var text: StaticString {
      switch self {
      case .loading: "starting: the configuration is being loaded"
      case .starting: "starting: what was signed before the start is not taken, for it may be a replay"
      case .draining: "draining: this process is about to end"
      case .signing: "signing: the key that signs is not valid now"
      case .validators: "validators: every request of late was refused by the validators behind this edge"
      case .collapse:
        "collapse: many clients have become one; somebody in front may have stopped passing their addresses on"
      }
    }

    fileprivate var bit: UInt64 { 1 << UInt64(rawValue) }
  }

  private let reasons = Atomic<UInt64>(Reason.loading.bit)
  /// A validator takes what was signed from this time of the monotonic clock on.
  private let servingFromMilliseconds = Atomic<UInt64>(0)

  /// For how long a collapse counts after a request that was sent in it: as nothing is sent to a process that is not ready, only
  /// trying tells that it is over.
  package static let collapseMilliseconds: UInt64 = 60_000
  private let collapsedUntilMilliseconds = Atomic<UInt64>(0)

  let validators = ValidatorWatch()
  /// The seconds since 1970 in which the key that signs is valid.
  private let signsFrom = Atomic<UInt64>(0)
  private let signsUntil = Atomic<UInt64>(.max)

  package init() {}

  func setSigning(from: UInt64?, until: UInt64?) {
    signsFrom.store(from ?? 0, ordering: .relaxed)
    signsUntil.store(until ?? .max, ordering: .relaxed)
  }

  package func set(_ reason: Reason, _ holds: Bool) {
    if holds {
      reasons.bitwiseOr(reason.bit, ordering: .relaxed)
    } else {
      reasons.bitwiseAnd(~reason.bit, ordering: .relaxed)
    }
  }

  /// A request came to a listener that makes the process not ready while its clients are one.
  package func noteCollapse(nowMilliseconds: UInt64) {
    collapsedUntilMilliseconds.store(nowMilliseconds + ServiceReadiness.collapseMilliseconds, ordering: .relaxed)
  }

  package func endCollapse() { collapsedUntilMilliseconds.store(0, ordering: .relaxed) }

  /// Serving; `.starting` holds until `fromMilliseconds` of the monotonic clock.
  func serve(fromMilliseconds: UInt64) {
    servingFromMilliseconds.store(fromMilliseconds, ordering: .relaxed)
    set(.loading, false)
  }

  /// Nil: requests may come.
  package func reason(_ now: Clock.Reading) -> Reason? {
    var held = reasons.load(ordering: .relaxed)
    let seconds = now.wallMilliseconds / 1_000
    if now.monotonicMilliseconds < servingFromMilliseconds.load(ordering: .relaxed) { held |= Reason.starting.bit }
    if seconds < signsFrom.load(ordering: .relaxed) || seconds >= signsUntil.load(ordering: .relaxed) {
      held |= Reason.signing.bit
    }
    if validators.isRefusing(nowMilliseconds: now.monotonicMilliseconds) { held |= Reason.validators.bit }
    if now.monotonicMilliseconds < collapsedUntilMilliseconds.load(ordering: .relaxed) { held |= Reason.collapse.bit }
    guard held != 0 else { return nil }
    return Reason(rawValue: held.trailingZeroBitCount)
  }

  /// Prometheus text.
  func metrics(_ now: Clock.Reading) -> String {
    let reason = reason(now)
    var page = """
      # HELP countersign_ready Whether requests may be sent here; what /healthz and the checks of load balancers are told.
      # TYPE countersign_ready gauge
      countersign_ready \(reason == nil ? 1 : 0)
      # HELP countersign_unready Why they may not.
      # TYPE countersign_unready gauge

      """
    for each in Reason.allCases { page += "countersign_unready{reason=\"\(each)\"} \(each == reason ? 1 : 0)\n" }
    return page
  }
}
