// One request and its response. Apart from the connection that brought it: a connection of HTTP/1 has one at a time, one of HTTP/2 one
// for each stream, an idle one none. A slot of the worker, used again and again. It owns the request's head, its bytes
// and what they mean, the state of both messages, and what was used of the body while another try may want it, so that nothing
// of it depends on what the client's connection reads next. ExchangeMachine decides, `advance` acts.
//
// Methods: here what it holds, in Advance what moves, in Ending how it ends. What else is done with one takes it as a parameter.
//
// Invariants: `resentBytes <= held.count`, and all of `held` was used on the present try, or on one before it. Memory: one
// chunk while a body is held, one while a head is larger than `smallHeadBytes`, and the head's own few KiB for good.

import Platform
import Policy
import Wire

final class Exchange: Slot {
  /// A head up to this size is kept in memory of the exchange's own; a larger one takes a chunk.
  static let smallHeadBytes = 2_048

  let slot: Int
  var generation: UInt32 = 0
  var downstream: Downstream!
  /// Set and taken away by ServerPool alone.
  var upstream: Upstream?
  var machine = ExchangeMachine()
  /// The snapshot's part that this exchange began with, as is the connection's `listener`, which only a new one replaces.
  var group: UpstreamPlan?
  /// What led to `group`.
  var route: RoutePlan?
  /// Of a path that is read in two ways: what refuses this one refuses the request, too (`RouteGate.chooseStricter`).
  var otherRoute: RoutePlan?
  /// Of `route`.
  var times = RouteTimes()
  /// What its client is told of the rate that it was counted under.
  var rate = RateNotice.none
  /// Its password was right.
  var isLoggedIn = false

  // The request.
  /// The head as it was parsed: its ranges count from the first byte of `headText`.
  var head: RequestHead
  /// `Worker.headVersion` as `head` was made: a reload may bring one with other names.
  var headVersion: Int
  /// The head's bytes; empty for one that was not understood.
  private(set) var headText: Buffer
  private let smallHead = Buffer(capacity: Exchange.smallHeadBytes)
  private let largeHead: Buffer
  /// The request line and the host where they are sent otherwise than they came (RequestTarget); and what a route's own answer is made of.
  let targetText: Buffer
  /// What X-Request-Id says, where something asks for it.
  var requestID = RequestID.none
  var request = MessageState()
  /// What was used of the body, as it came, while another try may want it.
  private let held: Buffer
  /// Something is held. Most requests have no body, and need not look at the buffer.
  private var isHolding = false
  /// How much of `held` was used on this try.
  private(set) var resentBytes = 0
  var method = Method.other
  var minorVersion = 1
  var wantsWebSocket = false
  var expectsContinue = false
  var headBytes: Int { headText.count }
  /// The upstream takes no more of the request; what it said is still read.
  var upstreamDeaf = false
  /// The listener takes only signed identity: what a client could not have sent is refused, not removed.
  var isVerified = false
  /// The upstream gets a signed identity: it is a validator.
  var isSigned = false
  /// What the answer to a signed request says of its signature.
  var verified: ValidatorMark?
  /// Who sent it, once settled; nil in observe mode where nothing was verified.
  var identity: ClientIdentity?
  /// The name of the edge that signed it, within the head; empty where nothing was verified.
  var edge = ByteRange.empty
  /// Its client came without the PROXY header that the rule demands, while that is still allowed.
  var isInCutover = false
  /// A load balancer's check: counted, and not logged.
  var isCheck = false
  /// How the scheme in `identity` is known.
  var schemeSource = ClientScheme.Source.connection
  /// The server of the last try; for the record.
  var server: ServerPool?
  /// The servers that tries were made at, by their bits.
  var triedServers: UInt64 = 0
  /// The server that counts this request among those it may have.
  var place: ServerStatus?
  /// It finds out whether a server that was ejected serves again.
  var isProbe = false
  /// How long it may wait for such a place, over all tries; 0: it has not.
  var queueEndMilliseconds: UInt64 = 0

  /// Its response is to keep the client at the server that it goes to.
  var setsCookie = false

  // The response.
  var status = 0
  /// Interim responses that came before it, from whichever server.
  var interimCount = 0
  /// More are no sign of a server that is at work. One that says so each 20 s, as WebDAV has it, does for half an hour, where
  /// `upstream_response` lets it.
  static let interimMax = 100
  /// Of an answer of the route's own.
  var answerBody = AnswerBody()
  var response = MessageState()
  /// Compresses its content; nil where it goes as it comes. The worker's, given back with the exchange at the latest.
  var compressor: Compressor?
  /// A head of the server's was not how it should be: its connection serves no further request.
  var serverIsIrregular = false
  /// The client takes the end of the connection for the end of the response.
  var endsWithConnection = false
  /// Its route answers it when it is whole.
  var awaitsRequest = false
  /// When the rest of a request whose response is over is no longer read; 0 before that.
  var discardEndMilliseconds: UInt64 = 0
  /// What it waits for without taking a step. Its timer says how long.
  enum Wait: Equatable {
    case none
    /// The next second of a validator that has just started: then it is tried again.
    case serverStart
    /// A place at a server, as this number in its queue.
    case place(ticket: UInt64)
    /// Its password to be checked.
    case login
    /// What the process that serves has said, which a thread is reading: then it is tried again, or refused.
    case line
  }
  var wait = Wait.none
  var isWaiting: Bool { if case .none = wait { false } else { true } }

  /// Waits while the process that serves says something that may close this request's route.
  func waitForLine(_ worker: Worker) -> Step {
    wait = .line
    worker.wheel.set(timer, deadlineMilliseconds: worker.nowMilliseconds + 1)
    return .parked
  }

  /// What does not fit beside the held bytes is not read before this time, in case the server is starting; 0: not asked.
  var holdUntilMilliseconds: UInt64 = 0
  var holdIsOver = false
  /// We asked the server to say that it takes the body; the client did not.
  var asksContinue = false
  var refusal: Refusal?
  /// With a refusal of status 503.
  var retryAfterSeconds = 1
  /// What the log says about the refusal beyond its name.
  var detail = RefusalDetail.none
  static let budgetIsUsedUp = RefusalDetail.text("the upstream's retry budget is used up")
  /// What the log line's `detail` says: more of the refusal, or why a server's failure was passed on without another try.
  var loggedDetail: RefusalDetail {
    if refusal != nil { return detail }
    return machine.isRetryDenied ? Exchange.budgetIsUsedUp : .none
  }

  // The tunnel that it may become.
  var isTunnel = false
  /// The upstream ended its side.
  var upstreamEnded = false
  /// The client takes no more.
  var clientDeaf = false
  /// One side has ended, or takes no more.
  var isTunnelClosing = false
  var tunnel = TunnelState()

  // For the record.
  var startedMicroseconds: UInt64 = 0
  var upstreamStartedMicroseconds: UInt64 = 0
  var responseStartedMicroseconds: UInt64 = 0
  var bytesIn: UInt64 = 0
  var bytesOut: UInt64 = 0
  var timing = ExchangeTiming()
  /// When a byte last moved, on either side; deadlines count from there. Of the client's side: `Deadlines.noteClientSent`.
  var downstreamProgressMilliseconds: UInt64 = 0
  var upstreamProgressMilliseconds: UInt64 = 0
  /// The client does not take what is there for it.
  var clientOwesRoom = false
  var clientRoom = RoomWatch()
  var serverRoom = RoomWatch()

  /// - Parameter middle: has chunks for heads that are neither small nor large, since many may be under way.
  init(slot: Int, pool: BufferPool, middle: BufferPool, head: RequestHead, headVersion: Int) {
    self.slot = slot
    self.head = head
    self.headVersion = headVersion
    largeHead = Buffer(pool: pool, small: middle)
    held = Buffer(pool: pool)
    targetText = Buffer(pool: pool)
    headText = smallHead
  }

  func begin(generation: UInt32) { self.generation = generation }

  /// A call of gRPC, from a client of HTTP/2 to a server of HTTP/2.
  var isGRPC: Bool { downstream.stream?.isGRPC == true && group?.config.serverProtocol == .http2 }

  /// The client used TLS, as far as that is known.
  var isSecure: Bool { identity?.secure ?? downstream.isTLS }

  /// Its head was understood: the log may say what it asks for.
  var hasRequestLine: Bool { headBytes > 0 && !head.methodRange.isEmpty }

  /// Its index in the worker's timer wheel: until when one of its sides owes something, or when it goes on by itself.
  var timer: Int { Worker.firstSlotTimer + slot * Worker.timersPerSlot + 2 }

  /// The size of the chunks that its buffers take.
  var chunkBytes: Int { held.capacity }

  /// Takes the first `count` bytes of `input` for its head.
  func takeHead(_ count: Int, from input: Buffer) {
    headText = count <= smallHead.capacity ? smallHead : largeHead
    headText.append(first: count, of: input)
    input.consume(count)
  }

  private func closeAnswerBody() {
    var body = answerBody
    answerBody = AnswerBody()
    body.close()
  }

  func clear() {
    upstream = nil
    server = nil
    group = nil
    route = nil
    otherRoute = nil
    times = RouteTimes()
    rate = .none
    isLoggedIn = false
    retryAfterSeconds = 1
    smallHead.removeAll()
    if headText !== smallHead {
      largeHead.reset()
      headText = smallHead
    }
    targetText.reset()
    requestID = .none
    if answerBody.isGiven { closeAnswerBody() }
    request = MessageState()
    response = MessageState()
    if isHolding { held.reset() }
    isHolding = false
    resentBytes = 0
    identity = nil
    edge = .empty
    isVerified = false
    isInCutover = false
    isCheck = false
    isSigned = false
    verified = nil
    triedServers = 0
    queueEndMilliseconds = 0
    setsCookie = false
    status = 0
    interimCount = 0
    endsWithConnection = false
    serverIsIrregular = false
    wait = .none
    awaitsRequest = false
    discardEndMilliseconds = 0
    clientOwesRoom = false
    clientRoom = RoomWatch()
    serverRoom = RoomWatch()
    holdUntilMilliseconds = 0
    holdIsOver = false
    asksContinue = false
    upstreamDeaf = false
    if isTunnel { tunnel = TunnelState() }
    isTunnel = false
    upstreamEnded = false
    clientDeaf = false
    isTunnelClosing = false
    refusal = nil
    detail = .none
    upstreamStartedMicroseconds = 0
    responseStartedMicroseconds = 0
    bytesIn = 0
    bytesOut = 0
    timing = ExchangeTiming()
    downstream = nil
    generation &+= 1
  }

  // MARK: What is held of the request's body

  /// The body as far as it is at hand and not used: on another try, first what is held.
  func withBody<R>(_ body: (Span<UInt8>) -> R) -> R {
    guard isResending else { return downstream.input.withReadable(body) }
    let used = resentBytes
    return held.withReadable { body($0.extracting(droppingFirst: used)) }
  }

  /// What is held was not all used on this try.
  var isResending: Bool { isHolding && resentBytes < held.count }

  /// `n` bytes at the front of the body are used, for good. They are held as long as another try may want them; there is
  /// room, for payload was taken by `usable` and framing has its margin.
  func use(_ n: Int) {
    guard n > 0 else { return }
    bytesIn += UInt64(n)
    if isResending {
      resentBytes += n
      if !machine.replayable, resentBytes == held.count { discardHeld() }
      return
    }
    if machine.replayable {
      held.append(first: n, of: downstream.input)
      isHolding = true
      resentBytes += n
    }
    downstream.input.consume(n)
    if let stream = downstream.stream { downstream.noteUsed(n, stream) }
  }

  /// `n` bytes of payload, or of trailers, were used.
  func useBody(_ n: Int) {
    var decoder = request.decoder
    decoder.consumed(n)
    request.decoder = decoder
    use(n)
  }

  /// Gives up what is held of the body: no other try is possible after this. What this try has still to use of it stays.
  func discardHeld() {
    machine.noteNotHeld()
    guard isHolding, resentBytes == held.count else { return }
    held.reset()
    isHolding = false
    resentBytes = 0
  }

  /// Begins another try with what is held.
  func rewind(trailerBytesMax: Int) {
    request = MessageState(request.framing, trailerBytesMax: trailerBytesMax, goesInChunks: request.goesInChunks)
    machine.rewind(hasBody: request.hasBody)
    resentBytes = 0
    bytesIn = UInt64(headBytes)
    upstreamDeaf = false
    holdUntilMilliseconds = 0
    holdIsOver = false
  }

  /// Room that is left for framing when payload is held: a chunk's line with its extension, and the line end before it. A step
  /// of the decoder passes over that before it offers payload, so it is used whatever becomes of the payload.
  private static let framingBytesMax = 512

  /// The most of a body that can be held for another try.
  var holdableBytes: Int { held.capacity - Exchange.framingBytesMax }

  /// How many more bytes of payload can be held; nil when what is used is not held, or was before.
  var holdableRoom: Int? {
    guard machine.replayable, !isResending else { return nil }
    return max(0, held.room - Exchange.framingBytesMax)
  }

  /// The client asked to be told before it sends its body, and was not: whether it comes after a final answer is open
  /// (RFC 9110 section 10.1.1), so what follows on the connection could be read in two ways.
  var mayNotSend: Bool { machine.request == .body && expectsContinue && request.bodyBytes == 0 }
}
