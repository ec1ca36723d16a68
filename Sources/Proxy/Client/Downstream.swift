// One connection from a client, or from the balancer or edge in front of us: its socket, its buffers, and what is known
// about who stands at its other end. A slot of the worker, used again and again; the generation tells its lives apart.
//
//   accept ─► announce (a PROXY header is due) ─► handshake (TLS) ─► head ⇄ exchange ─► tunnel ─► (closed)
//                                                                     └──► linger ─► (closed)
//
// Invariant: phase is .free exactly when the transport is closed and both buffers hold no memory.

import Platform
import Policy
import Wire

final class Downstream {
  enum Phase: UInt8 { case free, announce, handshake, head, exchange, tunnel, linger }

  let slot: Int
  /// Counts the uses of this slot; part of its token.
  var generation: UInt32 = 0
  var phase = Phase.free
  let transport: Transport
  let input: Buffer
  let output: Buffer
  /// While a request is under way.
  var exchange: Exchange?

  // Who is there. Settled when the connection begins, or for each request where the evidence is in its fields.
  var listener: ListenerPlan?
  /// The listening socket that it came in by: after a reload, whose rules hold for it (`Plan.listener(onSocket:)`).
  var socket = 0
  var peer: IPAddress?
  var peerPort: UInt16 = 0
  var local: IPAddress?
  var localPort: UInt16 = 0
  /// Index of the trust rule that matched the peer.
  var rule = 0
  var connection = ConnectionID(high: 0, low: 0)
  /// What the PROXY header said, if one was demanded; kept so that a reload can judge it by the new rules.
  var announced: ProxyHeader?
  /// The verified PROXY header of an edge; every request must agree with it.
  var bound: BoundIdentity?
  /// The client as far as the connection tells; nil where each request tells.
  var client: ClientIdentity?
  /// Why no request of this connection can be served.
  var clientRefusal: Refusal?
  /// The address that was refused as infrastructure.
  var refusedClient: IPAddress?
  /// The TLS handshake with whoever connects to us is over.
  var isTLS = false
  /// The client's scheme as far as the connection tells.
  var scheme = ClientScheme.plain
  var tlsVersion: StaticString = ""
  var certificate: CertificateDigest?
  /// Counted under limits.connections_per_client.
  var countedClient: IPAddress?

  /// The upstream connection that only this connection may use (mode `bound`).
  var boundUpstream: Upstream?

  var requestCount = 0
  /// What the transport had sent when progress was last looked at.
  var sentSeen: UInt32 = 0
  /// Bytes of the head at hand that an earlier parse has seen.
  var headSeen = 0
  var acceptedMilliseconds: UInt64 = 0
  /// The peer said that it will send no more.
  var inputEnded = false
  /// In the worker's list of connections that have more to do in this turn.
  var isQueued = false
  /// In the worker's list of connections whose bytes are to be sent.
  var isSettling = false
  /// When a closing connection is no longer read.
  var lingerEndMilliseconds: UInt64 = 0
  /// What the kernel held for the client of a closing connection when its time was last up.
  var lingerOwedBytes = Int.max

  init(slot: Int, pool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool)
    output = Buffer(pool: pool)
  }

  /// Nothing waits to be sent to the client.
  var isFlushed: Bool { output.isEmpty && !transport.hasUnsent }
  var token: Token { Token(.downstream, slot: slot, generation: generation) }
  /// Its index in the worker's timer wheel.
  var timer: Int { Worker.firstSlotTimer + slot * 2 }

  /// Forgets everything about the connection that ended.
  func clear() {
    generation &+= 1
    phase = .free
    input.reset()
    output.reset()
    listener = nil
    peer = nil
    local = nil
    announced = nil
    bound = nil
    client = nil
    clientRefusal = nil
    refusedClient = nil
    isTLS = false
    scheme = .plain
    tlsVersion = ""
    certificate = nil
    boundUpstream = nil
    exchange = nil
    requestCount = 0
    sentSeen = 0
    headSeen = 0
    inputEnded = false
    lingerEndMilliseconds = 0
    countedClient = nil
  }
}
