// One request and its response. Apart from the connection that brought it: an HTTP/1 connection has one at a time,
// another codec may have many. Holds what both directions need; ExchangeMachine decides, the worker acts.

import Platform
import Policy
import Wire

final class Exchange {
  var downstream: Downstream!
  var upstream: Upstream?
  var machine = ExchangeMachine()
  /// The snapshot's part that this exchange began with, as is the connection's `listener`, which only a new one replaces.
  var group: UpstreamPlan?
  var isActive = false

  // The request. Ranges count from the first byte of the client's input as long as the head is held there.
  var method = Method.other
  var methodRange = ByteRange.empty
  var targetRange = ByteRange.empty
  var authorityRange = ByteRange.empty
  var minorVersion = 1
  var requestFraming = BodyFraming.none
  var wantsWebSocket = false
  var expectsContinue = false
  /// Bytes at the front of the client's input that were used but are kept for another try and for the log.
  var heldBytes = 0
  var headBytes = 0
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
  /// Method, host and path in the log's form, made when their bytes had to go before the end.
  var savedRecord: [UInt8] = []
  /// When a byte last moved, on either side; deadlines count from there.
  var downstreamProgressMilliseconds: UInt64 = 0
  var upstreamProgressMilliseconds: UInt64 = 0

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
    isActive = false
    heldBytes = 0
    headBytes = 0
    requestBodyBytes = 0
    identity = nil
    isVerified = false
    isSigned = false
    triedServers = 0
    status = 0
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
    if !savedRecord.isEmpty { savedRecord = [] }
  }
}
