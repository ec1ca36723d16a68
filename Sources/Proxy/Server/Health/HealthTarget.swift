// A server that is checked, and how: made from a snapshot, given to the checker, and never changed.

import Platform
import Policy
import Wire

/// Told what the checks of a server have come to, on the checker's thread.
package protocol HealthObserver: Sendable {
  /// Checks have decided. Also told again while it is so, with the latest reason.
  func noteHealth(passes: Bool, why: String, now: Clock.Reading)
  /// No checks are made any more.
  func endHealth()
}

package struct HealthTarget: Sendable {
  /// The upstream's name, and the server as it is shown: what a target is known by across reloads.
  package struct Key: Hashable, Sendable {
    package let upstream: String
    package let server: String

    package init(upstream: String, server: String) {
      self.upstream = upstream
      self.server = server
    }
  }

  package enum Kind: Sendable {
    /// A connection comes about, with TLS where there is TLS.
    case tcp
    /// - Parameters:
    ///   - target: path and query.
    ///   - host: the value of Host.
    ///   - statuses: the good ones.
    case http(target: String, host: String, statuses: [ClosedRange<Int>])
    /// What grpc.health.v1.Health/Check says of this service; empty: of the server.
    case grpc(service: String, host: String)
  }

  /// What it takes to sign for the validator that the server is.
  package struct Signing: Sendable {
    let keys: KeySet
    let keyID: String
    let audience: String
    let edge: String
    /// A signed PROXY header goes first (`proxy_protocol: v2`).
    let isBound: Bool

    package init(keys: KeySet, keyID: String, audience: String, edge: String, isBound: Bool) {
      self.keys = keys
      self.keyID = keyID
      self.audience = audience
      self.edge = edge
      self.isBound = isBound
    }
  }

  package let key: Key
  let address: SocketAddress
  let kind: Kind
  /// What is spoken; always with gRPC.
  let isHTTP2: Bool
  let tls: TLSClientContext?
  let signing: Signing?
  let intervalMilliseconds: Int
  let timeoutMilliseconds: Int
  let rise: Int
  let fall: Int
  let observer: any HealthObserver

  package init(
    key: Key, address: SocketAddress, kind: Kind, isHTTP2: Bool = false, tls: TLSClientContext?, signing: Signing?,
    intervalMilliseconds: Int, timeoutMilliseconds: Int, rise: Int, fall: Int, observer: any HealthObserver
  ) {
    self.key = key
    self.address = address
    self.kind = kind
    self.isHTTP2 = isHTTP2
    self.tls = tls
    self.signing = signing
    self.intervalMilliseconds = intervalMilliseconds
    self.timeoutMilliseconds = timeoutMilliseconds
    self.rise = rise
    self.fall = fall
    self.observer = observer
  }

  var isGRPC: Bool { if case .grpc = kind { true } else { false } }
}
