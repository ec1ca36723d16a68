// One server's checks: what they have come to so far, and the connection of the one under way.
//
//   idle ─► queued ─► connecting ─► preamble (PROXY header) ─► handshake (TLS) ─► response ─► body ─► idle
//                                                                                   ▲          │
//                                                        the second request of a signed check ─┘
//
// Methods say what a step came to and end nothing: HealthLoop, which calls them, closes the connection and takes the outcome in.
// Invariant: the connection is open exactly in the phases after `queued`; a check never waits longer than its one deadline, which
// HealthLoop keeps. Confined to the checker's thread.

import Platform
import Policy
import Wire

final class ServerCheck: Slot {
  enum Phase { case idle, queued, connecting, preamble, handshake, response, body }

  enum Step {
    /// Nothing more before the next event.
    case waits
    case over(HealthOutcome)
  }

  let slot: Int
  var generation: UInt32 = 0
  var phase = Phase.idle
  /// Nil in a free slot.
  var target: HealthTarget?
  var judge = HealthJudge(rise: 1, fall: 1)
  var counts: HealthCounts?
  /// Why it is down.
  var why = ""
  var startedMilliseconds: UInt64 = 0

  private let transport: Transport
  private let input: Buffer
  private let output: Buffer
  /// Of a connection that speaks HTTP/2.
  private var conversation: HTTP2Conversation?

  // Of the check under way. A reload may replace `target` meanwhile.
  private(set) var checked: HealthTarget?
  private var signer: Signer?
  private var identity: ClientIdentity?
  private var isProbing = false
  private var decoder = BodyDecoder(.none)
  private var framing = BodyFraming.none
  private var keepsConnection = false
  private var verdict = HealthOutcome.passed
  /// From a head that ended the answer.
  private var grpcStatus: GRPCStatus?
  private var mark = ValidatorMark.none
  private var headSeen = 0
  private var interimCount = 0
  private var answers = 0
  private var bodyBytes = 0
  private var answer: [UInt8] = []

  /// Bytes of a body that are read before the connection is closed: whole answers are read so that the server does not see a reset.
  private static let bodyBytesMax = 64 * 1024
  /// Those of a probe's answer that are kept: more than a validator says.
  private static let answerBytesMax = 256
  /// Responses of 1xx before another.
  private static let interimMax = 8
  /// A response's head.
  private static let headLimits = HeadLimits(headBytes: 16 * 1024, fields: 256).withEdgeGrowth

  init(slot: Int, pool: BufferPool) {
    self.slot = slot
    transport = Transport(pool: pool)
    input = Buffer(pool: pool)
    output = Buffer(pool: pool)
  }

  var isUnderWay: Bool { phase != .idle && phase != .queued }
  func begin(generation: UInt32) { self.generation = generation }

  var token: Token { Token(.upstream, slot: slot, generation: generation) }

  func note(_ readiness: Readiness) { transport.note(readiness) }

  /// Closes the connection and forgets the check.
  func close(reset: Bool) {
    generation &+= 1
    transport.close(reset: reset)
    conversation = nil
    input.reset()
    output.reset()
    phase = .idle
    checked = nil
    signer = nil
    identity = nil
    isProbing = false
    decoder = BodyDecoder(.none)
    headSeen = 0
    interimCount = 0
    answers = 0
    bodyBytes = 0
    answer = []
    grpcStatus = nil
  }

  // MARK: Connecting

  func begin(_ target: HealthTarget, signer: Signer?, _ loop: HealthLoop) -> Step {
    precondition(phase == .idle || phase == .queued)
    checked = target
    self.signer = signer
    phase = .connecting
    if target.signing != nil, signer == nil { return .over(.skipped("it cannot be signed for")) }
    let opened: (fd: Int32, connected: Bool)
    do { opened = try Sockets.connect(to: target.address) } catch {
      // That we lack descriptors or memory says nothing about the server.
      return .over(error.isLocalExhaustion ? .skipped("no connection can be made: \(error)") : .failed(error.reason))
    }
    transport.open(opened.fd)
    guard loop.poller.add(connection: opened.fd, token) else {
      return .over(.skipped("its connection cannot be waited for"))
    }
    return opened.connected ? connected(target, loop) : .waits
  }

  /// Does what can be done of the check under way.
  func advance(_ loop: HealthLoop) -> Step {
    guard let checked else { return .waits }
    switch phase {
    case .idle, .queued: return .waits
    case .connecting:
      let result = Sockets.connectResult(transport.descriptor)
      guard result == 0 else { return .over(.failed(SystemError("connect", code: result).reason)) }
      return transport.isWriteBlocked ? .waits : connected(checked, loop)
    case .preamble: return sendPreamble(checked, loop)
    case .handshake: return shakeHands(checked, loop)
    case .response: return readHead(checked, loop)
    case .body: return readBody(checked, loop)
    }
  }

  private func connected(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    phase = .preamble
    if let signer, let signing = target.signing {
      let local = Sockets.local(transport.descriptor)
      guard let identity = HealthRequest.identity(at: local, isSecure: target.tls != nil) else {
        return .over(.skipped("the system has no random bytes to give"))
      }
      self.identity = identity
      if signing.isBound {
        guard let header = preamble(target, identity, signer, loop) else { return .over(.skipped(unsigned)) }
        header.withBytes { output.append($0) }
      }
    }
    return sendPreamble(target, loop)
  }

  /// The signed PROXY header: of the client that the requests are going to name, or of a connection that brings none.
  private func preamble(
    _ target: HealthTarget, _ identity: ClientIdentity, _ signer: Signer, _ loop: HealthLoop
  ) -> ProxyHeaderDraft? {
    if case .tcp = target.kind {
      return signer.makeHealthHeader(connection: identity.connection, nowMilliseconds: loop.wallMilliseconds)
    }
    return signer.makeProxyHeader(identity, destination: target.address, nowMilliseconds: loop.wallMilliseconds)
  }

  private var unsigned: String {
    "it cannot be signed: the key \(signer?.keyID.description ?? "") is not valid now (`nbf`, `exp`)"
  }

  /// The header goes out in the clear, before TLS.
  private func sendPreamble(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    while !output.isEmpty {
      switch output.withReadable({ transport.write($0) }) {
      case .bytes(let n): output.consume(n)
      case .blocked: return .waits
      case .ended, .failed: return .over(.failed("the connection ended before the PROXY header was sent"))
      }
    }
    guard let tls = target.tls else { return ready(target, loop) }
    guard transport.startTLS(connecting: tls) else { return .over(.skipped("TLS cannot be begun")) }
    phase = .handshake
    return shakeHands(target, loop)
  }

  private func shakeHands(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    switch transport.handshake() {
    case .blocked: return .waits
    case .done: return ready(target, loop)
    case .failed:
      let why = transport.failure ?? "connection closed"
      let hint =
        target.signing?.isBound == true && transport.hasReceivedNothing
        ? " (a refused PROXY header looks like that)" : ""
      return .over(.failed("TLS: \(why)\(hint)"))
    }
  }

  // MARK: Requests

  private func ready(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    if target.isHTTP2, transport.isTLS, !transport.withApplicationProtocol({ $0.equals("h2") }) {
      return .over(.failed("it does not speak HTTP/2 (ALPN)"))
    }
    if case .tcp = target.kind { return .over(.passed) }
    if target.isHTTP2 {
      conversation = HTTP2Conversation(loop.http2)
      guard conversation != nil else { return .over(.skipped("there is no memory for HTTP/2")) }
    }
    isProbing = signer != nil
    return send(isProbing ? .probe : .last, target, loop)
  }

  private func send(_ question: HealthRequest.Question, _ target: HealthTarget, _ loop: HealthLoop) -> Step {
    guard
      let request = HealthRequest(question, of: target, as: identity, signer, wallMilliseconds: loop.wallMilliseconds)
    else { return .over(.skipped(unsigned)) }
    if let conversation {
      guard conversation.ask(request.head.span, body: request.body) else {
        return .over(.failed("it takes no request on a new connection (GOAWAY)"))
      }
    } else {
      output.append(request.head.span)
    }
    phase = .response
    headSeen = 0
    interimCount = 0
    bodyBytes = 0
    answer = []
    return readHead(target, loop)
  }

  /// Reads what has come of the answer.
  private func receive() -> IOResult {
    guard let conversation else { return transport.read(into: input) }
    let moved = conversation.read(from: transport, into: input, output)
    flush()
    return moved
  }

  /// Sends what waits. Where that fails, what the server said before it went is still to be read.
  private func flush() {
    if let conversation { _ = conversation.send(into: output) }
    guard !output.isEmpty || transport.hasUnsent else { return }
    switch transport.flush(output) {
    case .bytes, .blocked: break
    case .ended, .failed:
      output.removeAll()
      transport.noteReadable()
    }
  }

  // MARK: Answers

  private func readHead(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    flush()
    while true {
      if input.count > headSeen {
        let (seen, isFirst) = (headSeen, answers == 0)
        let outcome = input.withReadable {
          loop.responseHead.parse(
            $0, limits: ServerCheck.headLimits, requestWasHead: false, isFirst: isFirst, seen: seen)
        }
        switch outcome {
        case .refused: return .over(.failed("\(loop.responseHead.fault.text)"))
        case .incomplete: headSeen = input.count
        case .complete(let length):
          headSeen = 0
          let status = loop.responseHead.status
          if status >= 200 || status == 101 { return takeHead(length, target, loop) }
          interimCount += 1
          guard interimCount <= ServerCheck.interimMax else {
            return .over(.failed("more than \(ServerCheck.interimMax) responses of 1xx"))
          }
          input.consume(length)
          continue
        }
      }
      switch receive() {
      case .bytes: break
      case .blocked: return .waits
      case .ended, .failed:
        if conversation?.speaksOtherwise == true {
          return .over(.failed("it does not answer in HTTP/2"))
        }
        let hint = isProbing && target.signing?.isBound == true && input.isEmpty
        return .over(
          .failed(
            "the connection ended before a \(input.isEmpty ? "response" : "whole response")"
              + (hint ? " (a refused PROXY header looks like that)" : "")))
      }
    }
  }

  /// What the head of an answer tells. Its body follows.
  private func takeHead(_ length: Int, _ target: HealthTarget, _ loop: HealthLoop) -> Step {
    let head = loop.responseHead
    let status = head.status
    if signer != nil {
      mark = input.withReadable { ValidatorMark.read($0, head) }
      if let outcome = HealthRequest.judge(mark, status: status) { return .over(outcome) }
      if mark == .observed { loop.warnOfObserving(target) }
    }
    if isProbing {
      guard mark == .observed || status == 200 else { return .over(.failed("status \(status) for the probe")) }
    } else {
      switch target.kind {
      case .tcp: return .over(.passed)
      case .http(_, _, let statuses):
        verdict = statuses.contains { $0.contains(status) } ? .passed : .failed("status \(status)")
      case .grpc:
        guard status == 200 else { return .over(.failed("status \(status)")) }
        // A response that is its own trailers has its status there.
        grpcStatus = input.withReadable { GRPCStatus($0.extracting(first: length)) }
      }
    }
    input.consume(length)
    answers += 1
    framing = head.framing
    keepsConnection = conversation.map { !$0.isLeaving } ?? head.keepAlive
    decoder = BodyDecoder(framing, isLenient: true)
    phase = .body
    return readBody(target, loop)
  }

  private func readBody(_ target: HealthTarget, _ loop: HealthLoop) -> Step {
    while true {
      let step = input.withReadable { decoder.step($0) }
      switch step {
      case .refused: return bodyEnded(isWhole: false, target, loop)
      case .end(let skip):
        input.consume(skip)
        return bodyEnded(isWhole: true, target, loop)
      case .data(let skip, let count):
        input.consume(skip)
        if isProbing || target.isGRPC, answer.count + count <= ServerCheck.answerBytesMax {
          answer += input.copyBytes().prefix(count)
        }
        input.consume(count)
        decoder.consumed(count)
        bodyBytes += count
      case .trailers(let skip, let count):
        input.consume(skip + count)
        decoder.consumed(count)
        bodyBytes += count
      case .incomplete(let skip):
        input.consume(skip)
        switch receive() {
        case .bytes: break
        case .blocked: return .waits
        case .ended: return bodyEnded(isWhole: framing == .untilClose, target, loop)
        case .failed: return bodyEnded(isWhole: false, target, loop)
        }
      }
      if bodyBytes > ServerCheck.bodyBytesMax { return bodyEnded(isWhole: false, target, loop) }
    }
  }

  /// The body of an answer was read, or as much of it as there is time and room for. The status of the path of the check has decided;
  /// the answer to the probe is its body.
  private func bodyEnded(isWhole: Bool, _ target: HealthTarget, _ loop: HealthLoop) -> Step {
    guard isProbing, let identity else {
      guard case .grpc = target.kind else { return .over(verdict) }
      guard isWhole else { return .over(.failed("the answer is cut or too long")) }
      let status = grpcStatus ?? conversation.flatMap { GRPCStatus($0.trailers.span) }
      return .over(GRPCHealth.judge(answer, status))
    }
    // In observe mode everything passes there, also what is not verified.
    if mark != .observed {
      guard isWhole else { return .over(.failed("the answer to the probe is cut or too long")) }
      if let outcome = HealthRequest.judgeProbe(answer, for: identity) { return .over(outcome) }
    }
    guard isWhole, keepsConnection, input.isEmpty else {
      return .over(.failed("the validator ends the connection behind its answer to the probe: it is shutting down"))
    }
    isProbing = false
    return send(.last, target, loop)
  }

  /// The time of the check is over.
  func expired(timeout: String) -> HealthOutcome {
    switch phase {
    case .idle, .queued, .connecting: .failed("no connection in \(timeout)")
    case .preamble: .failed("the PROXY header was not taken in \(timeout)")
    case .handshake: .failed("TLS: no handshake in \(timeout)")
    case .response:
      .failed(input.isEmpty && answers == 0 ? "no response in \(timeout)" : "no whole response in \(timeout)")
    case .body: isProbing || checked?.isGRPC == true ? .failed("no whole response in \(timeout)") : verdict
    }
  }
}
