// The answer to "who is the client?", before anything is signed.

import Wire

/// A client, or the reason why there is none.
package enum Settlement: Equatable, Sendable {
  /// `port` is 0 only where it is not known, which only a forwarded field can leave open.
  case settled(IPAddress, port: UInt16, Via)
  case refused(Refusal)
}
