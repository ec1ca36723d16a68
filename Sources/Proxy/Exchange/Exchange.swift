// One request and its response. Apart from the connection that brought it: an HTTP/1 connection has one at a time,
// another codec may have many, an idle connection has none. A slot of the worker, used again and again. It owns the request's
// head, its bytes and what they mean, and what was used of the body while another try may want it, so that nothing of it
// depends on what the client's connection reads next. ExchangeMachine decides, the worker acts.
//
// Invariants: `resentBytes <= held.count`, and all of `held` was used on the present try, or on one before it. Memory: one
// chunk while a body is held, one while a head is larger than `smallHeadBytes`, and the head's own few KiB for good.

import Platform
import Policy
import Wire

final class Exchange {
  /// A head up to this size is kept in memory of the exchange's own; a larger one takes a chunk.
  static let smallHeadBytes = 2_048

  let slot: Int
  var generation: UInt32 = 0
  var downstream: Downstream!
  var upstream: Upstream?
  var machine = ExchangeMachine()
  /// The snapshot's part that this exchange began with, as is the connection's `listener`, which only a new one replaces.
  var group: UpstreamPlan?
  /// A request is under way.
  var isActive: Bool { downstream != nil }

  // The request.
  /// The head as it was parsed: its ranges count from the first byte of `headText`.
  var head: RequestHead
  /// Which of the worker's makes `head` is: a reload may bring one with other names.
  var headMake: Int
  /// The head's bytes; empty for one that was not understood.
  private(set) var headText: Buffer
  private let smallHead = Buffer(capacity: Exchange.smallHeadBytes)
  private let largeHead: Buffer
  /// What was used of the body, as it came, while another try may want it.
  let held: Buffer
  /// How much of `held` was used on this try.
  var resentBytes = 0
  var method = Method.other
  var minorVersion = 1
  private(set) var requestFraming = BodyFraming.none
  var wantsWebSocket = false
  var expectsContinue = false
  var headBytes: Int { headText.count }
  var requestDecoder = BodyDecoder(.none)
  var requestBodyBytes: UInt64 = 0
  /// A trailer section went to the upstream in place of a bare last chunk.
  var requestTrailersSent = false
  /// The upstream takes no more of the request; what it said is still read.
  var upstreamDeaf = false
  // In a tunnel: the upstream ended its side; the client takes no more; one of them has ended or takes no more.
  var upstreamEnded = false
  var clientDeaf = false
  var isTunnelClosing = false
  /// The listener takes only signed identity: what a client could not have sent is refused, not removed.
  var isVerified = false
  /// The upstream gets a signed identity: it is a validator.
  var isSigned = false
  /// Who sent it, once settled; nil in observe mode where nothing was verified.
  var identity: ClientIdentity?
  /// How the scheme in `identity` is known.
  var schemeSource = ClientScheme.Source.connection
  /// The server of the last try; for the record.
  var server: ServerPool?
  /// Which tries have used which server: bit i for the group's server i.
  var triedServers: UInt64 = 0

  // The response.
  var status = 0
  var responseDecoder = BodyDecoder(.none)
  var responseFraming = BodyFraming.none
  /// A head of the server's was not how it should be: its connection serves no further request.
  var serverIsBent = false
  /// The response body goes out in chunks although it came otherwise, or the other way round.
  var chunksResponse = false
  /// A trailer section went to the client in place of a bare last chunk.
  var responseTrailersSent = false
  /// The client takes the end of the connection for the end of the response.
  var endsWithConnection = false
  var isTunnel = false
  /// When the rest of a request whose response is over is no longer read; 0 before that.
  var discardEndMilliseconds: UInt64 = 0
  /// Another try is due when the timer says so.
  var isBackingOff = false
  /// What does not fit beside the held bytes is not read before this time, in case the server is starting; 0: not asked.
  var holdUntilMilliseconds: UInt64 = 0
  var holdIsOver = false
  /// We asked the server to say that it takes the body; the client did not.
  var asksContinue = false
  var refusal: Refusal?
  /// What the log says about the refusal beyond its name.
  var detail = RefusalDetail.none

  // For the record.
  var startedMicroseconds: UInt64 = 0
  var upstreamStartedMicroseconds: UInt64 = 0
  var responseStartedMicroseconds: UInt64 = 0
  var bytesIn: UInt64 = 0
  var bytesOut: UInt64 = 0
  /// When a byte last moved, on either side; deadlines count from there.
  var downstreamProgressMilliseconds: UInt64 = 0
  var upstreamProgressMilliseconds: UInt64 = 0

  init(slot: Int, pool: BufferPool, head: RequestHead, headMake: Int) {
    self.slot = slot
    self.head = head
    self.headMake = headMake
    largeHead = Buffer(pool: pool)
    held = Buffer(pool: pool)
    headText = smallHead
  }

  /// The size of the chunks that its buffers take.
  var chunkBytes: Int { held.capacity }

  /// Takes the first `count` bytes of `input` for its head.
  func takeHead(_ count: Int, from input: Buffer) {
    headText = count <= smallHead.capacity ? smallHead : largeHead
    headText.append(first: count, of: input)
    input.consume(count)
  }

  /// How the request's body ends, with the decoder that reads it, or reads and discards it: one is never without the other, so
  /// that no body is taken for the next request.
  func setBody(_ framing: BodyFraming, trailerBytesMax: Int) {
    requestFraming = framing
    requestDecoder = BodyDecoder(framing, trailerBytesMax: trailerBytesMax)
  }

  var hasBody: Bool { requestFraming != .none && requestFraming != .length(0) }

  // Decoders are changed as copies: a mutating call on a property of a class costs a dynamic exclusivity check.

  func requestConsumed(_ n: Int) {
    var decoder = requestDecoder
    decoder.consumed(n)
    requestDecoder = decoder
  }

  func responseConsumed(_ n: Int) {
    var decoder = responseDecoder
    decoder.consumed(n)
    responseDecoder = decoder
  }

  func clear() {
    upstream = nil
    server = nil
    group = nil
    smallHead.removeAll()
    if headText !== smallHead {
      largeHead.reset()
      headText = smallHead
    }
    held.reset()
    resentBytes = 0
    requestBodyBytes = 0
    identity = nil
    isVerified = false
    isSigned = false
    triedServers = 0
    status = 0
    responseDecoder = BodyDecoder(.none)
    endsWithConnection = false
    isTunnel = false
    serverIsBent = false
    isBackingOff = false
    discardEndMilliseconds = 0
    holdUntilMilliseconds = 0
    holdIsOver = false
    asksContinue = false
    requestTrailersSent = false
    responseTrailersSent = false
    upstreamDeaf = false
    upstreamEnded = false
    clientDeaf = false
    isTunnelClosing = false
    refusal = nil
    detail = .none
    upstreamStartedMicroseconds = 0
    responseStartedMicroseconds = 0
    bytesIn = 0
    bytesOut = 0
    downstream = nil
    generation &+= 1
  }
}
