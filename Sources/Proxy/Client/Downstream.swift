// One connection from a client, or from the balancer or edge in front of us: its socket, its buffers, and what is known
// about who stands at its other end. A slot of the worker, used again and again; the generation tells its lives apart.
//
//   accept ─► announce (a PROXY header is due) ─► handshake (TLS) ─► head ⇄ exchange ─► tunnel ─► (closed)
//                                                        │           └──► linger ─► (closed)
//                                                        └─► http2, with streams:  head ─► exchange ─► tunnel ─► (over)
//
// A stream of HTTP/2 is one as well: it has no socket, and its connection's facts (HTTP2Server, HTTP2Stream).
//
// Methods: here its life and its end, in HTTP1Server what it reads and writes for an exchange (its leg of it), in HTTP2Stream the
// same of a stream. Announce begins it, ConnectionRules says who is there.
//
// Invariant: phase is .free exactly when the transport is closed and both buffers hold no memory.

import Platform
import Policy
import Wire

/// The PROXY header of a connection. In memory of its own, for most connections have none and there may be many of them.
final class Announcement {
  let header: ProxyHeader?
  let bound: BoundIdentity?

  init(_ header: ProxyHeader) {
    self.header = header
    bound = nil
  }

  init(_ bound: BoundIdentity) {
    header = nil
    self.bound = bound
  }
}

final class Downstream: Slot {
  enum Phase: UInt8 { case free, announce, handshake, head, exchange, tunnel, linger, http2 }

  let slot: Int
  /// Counts the uses of this slot; part of its token.
  var generation: UInt32 = 0
  var phase = Phase.free
  let transport: Transport
  let input: Buffer
  let output: Buffer
  /// While a request is under way.
  var exchange: Exchange?
  /// Of a connection that speaks HTTP/2.
  var http2: HTTP2Server?
  /// Of a stream.
  var stream: StreamState?
  /// The memory for that, of a slot in the table of streams.
  var streamState: StreamState?

  // Who is there. Settled when the connection begins, or for each request where the evidence is in its fields.
  var listener: ListenerPlan?
  /// The listening socket that it came in by: after a reload, whose rules hold for it (`Plan.listener(onSocket:)`).
  var socket = 0
  var peer: IPAddress?
  var peerPort: UInt16 = 0
  var local: IPAddress?
  var localPort: UInt16 = 0
  /// Index of the trust rule that matched the peer. Set behind `listener`, whose rule it is.
  var rule = 0 {
    didSet { evidence = listener?.trust.evidence(of: rule) }
  }
  /// What that rule asks the peer to show; nil before there is one. Each request looks at it several times.
  private(set) var evidence: Config.Evidence?
  /// Index of the listener's check whose range holds the peer.
  var check: Int?
  var connection = ConnectionID(high: 0, low: 0)
  /// What the PROXY header said, if one was demanded.
  var announcement: Announcement?
  /// From a load balancer; kept so that a reload can judge it by the new rules.
  var announced: ProxyHeader? { announcement?.header }
  /// From an edge, verified: every request must agree with it.
  var bound: BoundIdentity? { announcement?.bound }
  /// The client as far as the connection tells; nil where each request tells.
  var client: ClientIdentity?
  /// Why no request of this connection can be served.
  var clientRefusal: Refusal?
  /// The TLS handshake with whoever connects to us is over.
  var isTLS = false
  /// The client's scheme as far as the connection tells.
  var scheme = ClientScheme.plain
  var isTLS13 = false
  /// The protocol version's name; empty without TLS.
  var tlsVersion: StaticString { isTLS ? (isTLS13 ? "TLSv1.3" : "TLSv1.2") : "" }
  /// Counted under limits.connections_per_client.
  var countedClient: IPAddress?

  /// Facts of few connections, in memory of their own, so that the others do not carry their size while they are idle.
  private final class Uncommon {
    var certificate: CertificateDigest?
    var refusedClient: IPAddress?
    var unnamed: Refusal?
    var probedBy: ConnectionID?
    var boundConnections: ContiguousArray<Upstream> = []
  }
  private var uncommon: Uncommon?
  private func makeUncommon() -> Uncommon {
    let made = uncommon ?? Uncommon()
    uncommon = made
    return made
  }
  /// The client's certificate, if it was asked for one and has sent it.
  var certificate: CertificateDigest? {
    get { uncommon?.certificate }
    set { if newValue != nil || uncommon != nil { makeUncommon().certificate = newValue } }
  }
  /// The address that was refused as infrastructure.
  var refusedClient: IPAddress? {
    get { uncommon?.refusedClient }
    set { if newValue != nil || uncommon != nil { makeUncommon().refusedClient = newValue } }
  }

  /// The connection comes from where checks come from, and began with a PROXY header that names nobody, or without the one that
  /// it owes: as what a request on it is refused that is no check.
  var unnamed: Refusal? {
    get { uncommon?.unnamed }
    set { if newValue != nil || uncommon != nil { makeUncommon().unnamed = newValue } }
  }

  /// The connection id of the last probe on it (`ValidatorProbe`).
  var probedBy: ConnectionID? {
    get { uncommon?.probedBy }
    set { if newValue != nil || uncommon != nil { makeUncommon().probedBy = newValue } }
  }

  /// The upstream connection that only this connection may use (mode `bound`).
  var boundUpstream: Upstream?

  /// The same with HTTP/2: as many as it takes, for a client behind a balancer may be another one with each request.
  var boundConnections: ContiguousArray<Upstream> { uncommon?.boundConnections ?? [] }
  /// How many of them there are at most, before one that has no request makes way.
  private static let boundConnectionsMax = 16

  func keepBound(_ u: Upstream, _ worker: Worker) {
    let uncommon = makeUncommon()
    uncommon.boundConnections.append(u)
    guard uncommon.boundConnections.count > Downstream.boundConnectionsMax else { return }
    uncommon.boundConnections.first { $0.http2?.streams.isEmpty ?? true }?.close(worker)
  }

  func forgetBound(_ u: Upstream) { uncommon?.boundConnections.removeAll { $0 === u } }

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
  /// In the worker's list of connections that wait to have more compressed.
  var awaitsCompression = false
  /// In the worker's list of connections whose bytes are to be sent.
  var isToBeFlushed = false
  /// When a closing connection is no longer read.
  var lingerEndMilliseconds: UInt64 = 0
  /// How much of a closing connection is still read.
  var lingerBytesLeft = Int.max
  /// What the kernel held for the client of a closing connection when its time was last up.
  var lingerOwedBytes = Int.max

  init(slot: Int, pool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool)
    output = Buffer(pool: pool)
  }

  /// A stream: `slot` is in the table of streams.
  init(stream slot: Int, pool: BufferPool, small: BufferPool, outputPool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool, small: small)
    output = Buffer(pool: outputPool, small: small)
  }

  func begin(generation: UInt32) { self.generation = generation }

  /// How long a client is read after its answer, so that it gets our last bytes and not a reset: in all, and without a
  /// byte. Bounded by time, for a client that reads only after it has sent everything sends as much as it has.
  static let discardMilliseconds: UInt64 = 30_000
  static let discardQuietMilliseconds: UInt64 = 5_000
  /// A response of more is seen to the client before its connection is closed; less is left to the kernel.
  static let kernelBytesMax: UInt64 = 128 * 1024
  /// Reads of one closing connection in one turn.
  private static let lingerReadsPerTurn = 16
  /// How a TLS handshake begins (RFC 8446 section 5.1).
  private static let handshakeRecordType: UInt8 = 22

  /// Nothing waits to be sent to the client.
  var isFlushed: Bool {
    guard let stream else { return output.isEmpty && !transport.hasUnsent }
    guard output.isEmpty, !stream.isClosed else { return output.isEmpty }
    return stream.headsWaiting == 0 && (!stream.outputEnded || stream.isEndOut || stream.resetCode != 0)
  }
  /// The client takes nothing more before the next event.
  var isWriteBlocked: Bool { stream == nil ? transport.isWriteBlocked : !output.isEmpty }
  /// Counts what the client's side has taken, and wraps around.
  var sentBytes: UInt32 { stream?.sentBytes ?? transport.sentBytes }
  /// That of the connection, which a stream of HTTP/2 has in common with others.
  var connectionTransport: Transport { stream?.server.connection.transport ?? transport }
  var token: Token { Token(.downstream, slot: slot, generation: generation) }
  /// Its index in the worker's timer wheel.
  var timer: Int { Worker.firstSlotTimer + slot * Worker.timersPerSlot }

  /// Forgets everything about the connection that ended.
  func clear() {
    generation &+= 1
    phase = .free
    input.reset()
    output.reset()
    listener = nil
    evidence = nil
    peer = nil
    local = nil
    announcement = nil
    uncommon = nil
    check = nil
    client = nil
    clientRefusal = nil
    isTLS = false
    scheme = .plain
    isTLS13 = false
    boundUpstream = nil
    exchange = nil
    http2 = nil
    if let stream {
      stream.clear()
      self.stream = nil
    }
    requestCount = 0
    sentSeen = 0
    headSeen = 0
    inputEnded = false
    lingerEndMilliseconds = 0
    lingerOwedBytes = .max
    countedClient = nil
  }

  func shareUncommon(of d: Downstream) { uncommon = d.makeUncommon() }

  // MARK: What is known of it

  /// Requests of this connection are signed by an edge, or refused.
  var isAttested: Bool { if case .attested? = evidence { true } else { false } }

  /// It may bring the requests of many clients, none of which may end it, or take the room of the others. Known when it has shown who it is.
  var bringsMany: Bool { listener?.trust.bringsMany(rule: rule, announced: announced?.source) ?? false }

  /// The client is a program on this host, and speaks for nobody else: a proxy or an edge there would pass on what it is told.
  var isTriedOut: Bool {
    guard case .socket? = evidence else { return false }
    return peer?.unmapped.isLoopback == true
  }

  var beginsWithTLS: Bool { input.withReadable { !$0.isEmpty && $0[0] == Downstream.handshakeRecordType } }

  // MARK: Ends

  /// Ends our side, and waits for the client's if it may still be sending: what came after a close would be answered
  /// with a reset, which can take our last bytes from it.
  func closeInOrder(waits: Bool, _ worker: Worker) {
    if let stream {
      endStream(stream)
      return
    }
    if let u = boundUpstream { u.close(worker) }
    for u in boundConnections { u.close(worker) }
    transport.finish()
    if !waits, input.isEmpty, !transport.mayRead {
      close(worker)
      return
    }
    phase = .linger
    input.removeAll()
    lingerEndMilliseconds = worker.nowMilliseconds + Downstream.discardMilliseconds
    lingerOwedBytes = .max
    lingerBytesLeft = .max
    worker.wheel.set(timer, deadlineMilliseconds: worker.nowMilliseconds + Downstream.discardQuietMilliseconds)
  }

  /// Ends a connection that has no request. Its client may still be taking the last response from our kernel.
  func closeAtRest(_ worker: Worker) {
    if transport.hasUndeliveredBytes { closeInOrder(waits: true, worker) } else { close(worker) }
  }

  func linger(_ worker: Worker) {
    // The end of our side may have found the kernel full.
    transport.sendRecords()
    for _ in 0..<Downstream.lingerReadsPerTurn {
      switch transport.read(into: input) {
      case .bytes(let n):
        input.removeAll()
        lingerBytesLeft -= n
        guard lingerBytesLeft > 0 else {
          close(worker, reset: true)
          return
        }
        // Behind that time only what it takes keeps the connection, however often it sends.
        guard worker.nowMilliseconds < lingerEndMilliseconds else { continue }
        let quiet = worker.nowMilliseconds + Downstream.discardQuietMilliseconds
        worker.wheel.set(timer, deadlineMilliseconds: min(lingerEndMilliseconds, quiet))
      case .blocked:
        input.releaseIfEmpty()
        return
      case .ended:
        // It sends no more, but may still be taking.
        if !transport.hasUndeliveredBytes { close(worker) }
        return
      case .failed:
        close(worker)
        return
      }
    }
    worker.enqueue(self)
  }

  /// A closing connection's time is over, unless the client has taken some of what the kernel holds for it.
  func lingerExpired(_ worker: Worker) {
    let owed = transport.unacknowledgedBytes
    guard owed > 1, owed < lingerOwedBytes else {
      closeLate(worker)
      return
    }
    lingerOwedBytes = owed
    worker.wheel.set(timer, deadlineMilliseconds: worker.nowMilliseconds + Downstream.discardQuietMilliseconds)
  }

  /// Closes a connection whose time is over. What its peer did not take in all that time is not kept for it.
  func closeLate(_ worker: Worker) { close(worker, reset: transport.hasUndeliveredBytes) }

  /// Refuses a connection that never came to a request: nothing is sent, one line is written.
  func refuse(_ refusal: Refusal, detail: RefusalDetail = .none, _ worker: Worker) {
    worker.counters.add(refusal)
    worker.log.recordRefused(self, refusal, detail, worker)
    if worker.shared.walks.isArmed { worker.shared.walks.note(self, refusal: refusal, worker) }
    close(worker)
  }

  /// Frees the connection and everything that lives and dies with it.
  func close(_ worker: Worker, reset: Bool = false) {
    guard phase != .free else { return }
    if let u = boundUpstream { u.close(worker) }
    if let stream {
      exchange?.giveBack(worker)
      stream.server.endStream(self, code: reset ? HTTP2Session.Code.cancel : stream.resetCode)
      return
    }
    http2?.closed()
    if let client = countedClient { worker.shared.giveClient(client) }
    worker.clearDeadline(self)
    transport.close(reset: reset)
    exchange?.giveBack(worker)
    for u in boundConnections { u.close(worker) }
    clear()
    worker.downstreams.give(slot)
    worker.shared.giveConnection()
  }
}
