// One connection to a server: shared by requests of any client, or bound to one client connection and dying with it.
//
//   connecting ─► preamble (PROXY header) ─► handshake (TLS) ─► ready ⇄ (idle in its pool) ─► (closed)
//
// Invariant: while `exchange` is set this connection belongs to that exchange; while `isIdle` it stands in its pool.

import Platform
import Policy
import Wire

final class Upstream {
  enum Phase: UInt8 { case free, connecting, preamble, handshake, ready }

  let slot: Int
  var generation: UInt32 = 0
  var phase = Phase.free
  let transport: Transport
  let input: Buffer
  let output: Buffer

  var pool: ServerPool?
  var exchange: Exchange?
  /// The client connection that this one is bound to; nil where it is shared.
  var owner: Downstream?
  /// What the PROXY header on this connection says of the client.
  var boundClient: ClientIdentity?
  /// Who signed that header: requests must be signed by the same key.
  var boundSigner: Signer?
  /// Bytes at the front of `output` that go out before TLS begins.
  var preambleBytes = 0
  var isIdle = false
  /// A response came over it that did not say that the server is starting.
  var hasAnswered = false
  /// Requests that were answered over it.
  var served = 0
  /// Bytes of the response head at hand that an earlier parse has seen.
  var headSeen = 0

  init(slot: Int, pool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool)
    output = Buffer(pool: pool)
  }

  /// Nothing waits to be sent to the server.
  var isFlushed: Bool { output.isEmpty && !transport.hasUnsent }
  /// Not ready for requests yet.
  var isOpening: Bool { phase != .free && phase != .ready }
  var token: Token { Token(.upstream, slot: slot, generation: generation) }
  var timer: Int { Worker.firstSlotTimer + slot * 2 + 1 }

  func clear() {
    generation &+= 1
    phase = .free
    input.reset()
    output.reset()
    pool = nil
    exchange = nil
    owner = nil
    boundClient = nil
    boundSigner = nil
    preambleBytes = 0
    isIdle = false
    hasAnswered = false
    served = 0
    headSeen = 0
  }
}
