// One connection to a server: shared by requests of any client, or bound to one client connection and dying with it.
//
//   connecting ─► preamble (PROXY header) ─► handshake (TLS) ─► ready ⇄ (idle in its pool) ─► (closed)
//
// Methods: here its life and its end, in HTTP1Client what it reads and writes for an exchange (its leg of it), in HTTP2ServerStream
// the same of a stream. Dial makes it.
//
// Invariant: while `exchange` is set this connection belongs to that exchange; while `isIdle` it stands in its pool.

import Platform
import Policy
import Wire

final class Upstream: Slot {
  enum Phase: UInt8 { case free, connecting, preamble, handshake, ready }

  let slot: Int
  var generation: UInt32 = 0
  var phase = Phase.free
  let transport: Transport
  let input: Buffer
  let output: Buffer

  /// Of a connection that speaks HTTP/2.
  var http2: HTTP2Client?
  /// Of a stream.
  var stream: ServerStream?
  /// The memory for that, of a slot in the table of streams to servers.
  var streamState: ServerStream?
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

  /// A stream: `slot` is in the table of streams to servers.
  init(stream slot: Int, pool: BufferPool, small: BufferPool, outputPool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool, small: small)
    output = Buffer(pool: outputPool, small: small)
  }

  func begin(generation: UInt32) { self.generation = generation }

  /// Nothing waits to be sent to the server.
  var isFlushed: Bool {
    guard let stream else { return output.isEmpty && !transport.hasUnsent }
    return output.isEmpty && stream.headsWaiting == 0 && (!stream.outputEnded || stream.isEndOut)
  }
  /// The server takes nothing more before the next event.
  var isWriteBlocked: Bool { stream == nil ? transport.isWriteBlocked : !isFlushed }
  /// A connection that is not ready for requests yet.
  var isOpening: Bool { phase != .free && phase != .ready && !isStream }
  var token: Token { Token(.upstream, slot: slot, generation: generation) }
  var timer: Int { Worker.firstSlotTimer + slot * Worker.timersPerSlot + (isStream ? 3 : 1) }

  func clear() {
    generation &+= 1
    phase = .free
    input.reset()
    output.reset()
    http2 = nil
    if let stream {
      stream.clear()
      self.stream = nil
    }
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

  /// How long it is kept for the next request: a little less than the other side's usual patience, so that it is we who close. A request
  /// that crosses the other side's end on the way is lost where it may not be sent twice.
  func setIdleDeadline(_ worker: Worker) {
    let milliseconds = UInt64(worker.plan.config.timeouts.idleMilliseconds) * 3 / 4
    worker.wheel.set(timer, deadlineMilliseconds: worker.nowMilliseconds + milliseconds)
  }

  // MARK: Sending

  /// Whether what was written for the server is on its way.
  enum Flushed {
    case sent
    /// The connection failed. What the server said before is still to be read, and judged with it.
    case failed
  }

  /// Sends what waits for the server, as far as it is taken. `hasMore`: more is written at once.
  @discardableResult
  func flush(hasMore: Bool = false, _ worker: Worker) -> Flushed {
    guard !isFlushed else { return .sent }
    if let stream { return flushStream(stream) }
    let sent = transport.sentBytes
    let moved = transport.flush(output, more: hasMore)
    if transport.sentBytes != sent, let x = exchange {
      x.machine.noteSent()
      x.upstreamProgressMilliseconds = worker.nowMilliseconds
    }
    switch moved {
    case .bytes, .blocked:
      output.releaseIfEmpty()
      return .sent
    case .ended, .failed:
      // What the server said before it went is still to be read: a refusal with its reason, perhaps.
      output.removeAll()
      output.releaseIfEmpty()
      transport.noteReadable()
      if let x = exchange {
        x.upstreamDeaf = true
        worker.enqueue(x.downstream)
      }
      return .failed
    }
  }

  /// Sends what waits for the server where `n` more bytes have no room. Whether they have now.
  func makeRoom(_ n: Int, _ worker: Worker) -> Bool {
    if output.room >= n { return true }
    flush(worker)
    return output.room >= n
  }

  /// Whether `n` bytes of trailers, no more than the limit, can be written. A colon without a space behind it gets one. Those of a
  /// stream have a place of their own.
  func makeRoom(forTrailers n: Int, _ worker: Worker) -> Bool { isStream || makeRoom(n * 2 + 8, worker) }

  // MARK: Without a request

  enum Kept { case usable, closed }

  /// Looks whether a kept connection may have a request now: bytes that wait on it would be taken for the answer to another
  /// client's request, and close it. What the poller has told so far was acted on before any request of this turn. A request that
  /// may not be sent twice is worth a system call more, to see whether the server has hung up this moment.
  func look(for x: Exchange, _ worker: Worker) -> Kept {
    if !x.method.isIdempotent { transport.noteReadable() }
    guard transport.mayRead else { return .usable }
    checkIdle(worker)
    return phase == .ready ? .usable : .closed
  }

  /// A connection without a request has nothing to say: an end, or bytes that nobody asked for, take it away.
  func checkIdle(_ worker: Worker) {
    switch transport.read(into: input) {
    case .blocked: input.releaseIfEmpty()
    case .bytes, .ended, .failed: close(worker)
    }
  }

  /// The server answered otherwise than that it is starting.
  func noteAnswered() {
    if isStream {
      carrier.noteAnswered()
      return
    }
    guard let server = pool, !hasAnswered || !server.isProven else { return }
    server.noteAnswered(first: !hasAnswered)
    hasAnswered = true
  }

  // MARK: Its end

  func close(_ worker: Worker, reset: Bool = false) {
    guard phase != .free else { return }
    pool?.forget(self, worker)
    if let stream {
      stream.client.endStream(self)
      return
    }
    http2?.closed()
    if let owner {
      if owner.boundUpstream === self { owner.boundUpstream = nil }
      owner.http2?.forget(self)
      if http2 != nil { owner.forgetBound(self) }
    }
    worker.wheel.set(timer, deadlineMilliseconds: 0)
    transport.close(reset: reset)
    worker.shared.giveServerConnection()
    clear()
    worker.upstreams.give(slot)
  }
}
