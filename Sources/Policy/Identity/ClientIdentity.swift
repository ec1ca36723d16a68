// The settled answer to "who is the client?", which every later step carries and none may change.

import Wire

/// Who a request comes from. Plain values only: copying it costs a memcpy.
package struct ClientIdentity: Sendable, Equatable {
  package var address: IPAddress
  /// 0 where it is not known, which only `via: forwarded` allows.
  package var port: UInt16
  /// The client itself used TLS.
  package var secure: Bool
  package var via: Via
  package var connection: ConnectionID
  package var certificate: CertificateDigest?

  package init(
    address: IPAddress, port: UInt16, secure: Bool, via: Via, connection: ConnectionID,
    certificate: CertificateDigest? = nil
  ) {
    self.address = address
    self.port = port
    self.secure = secure
    self.via = via
    self.connection = connection
    self.certificate = certificate
  }

  /// Whether it may be asserted at all: a real host's address, and a port unless a forwarded field is all there was.
  package var isAssertable: Bool { address.isPossibleClient && (port != 0 || via == .forwarded) }
}
