// When what is still under way at SIGTERM ends: requests at one time, tunnels one after the other. The same for all workers of
// the process. A value without a clock.

package struct DrainSchedule: Equatable, Sendable {
  /// All on the monotonic clock.
  package let beganMilliseconds: UInt64
  /// Requests that are not answered then are cut.
  package let requestsEndMilliseconds: UInt64
  /// No tunnel's Close frame is due later.
  package let closesEndMilliseconds: UInt64
  /// Nothing is left of any tunnel then.
  package let tunnelsEndMilliseconds: UInt64

  package init(fromMilliseconds began: UInt64, requests: Int, tunnels: Int, tunnelClose: Int) {
    beganMilliseconds = began
    requestsEndMilliseconds = began + UInt64(requests)
    closesEndMilliseconds = began + UInt64(tunnels)
    tunnelsEndMilliseconds = closesEndMilliseconds + UInt64(tunnelClose)
  }

  package var endMilliseconds: UInt64 { max(requestsEndMilliseconds, tunnelsEndMilliseconds) }

  /// When a tunnel's Close frames are due. Each number lies at another multiple of the golden ratio within the time that there
  /// is: so any count of them is spread over all of it without being known, and the first does not wait.
  /// - Parameters:
  ///   - number: counts the process's tunnels, from 0 on.
  ///   - now: the time that is left begins here.
  package func closeMilliseconds(_ number: UInt64, _ now: UInt64) -> UInt64 {
    let begin = max(now, beganMilliseconds)
    guard begin < closesEndMilliseconds else { return begin }
    // 2^64 divided by the golden ratio; the product's upper half is the part of the time that goes by first.
    let part = number &* 0x9e37_79b9_7f4a_7c15
    return begin + (closesEndMilliseconds - begin).multipliedFullWidth(by: part).high
  }
}
