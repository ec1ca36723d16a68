// A simulated client that speaks HTTP/1.1: what it sends, and what it must never be told.

import TestSupport

final class ClientHTTP1: Client {
  /// The next request to be put on its way.
  private var nextToSend = 0
  /// The request whose response comes next.
  private var nextToAnswer = 0
  private var outgoing = ByteQueue()
  /// The body of a request that waits to be asked for.
  private var withheld: [UInt8] = []
  /// It sends its requests without waiting for answers.
  private let pipelines: Bool
  private var reader: MessageReader!
  private var head: Head?
  private var attempt: Attempt?
  private var received = 0
  private var unpacker: Gunzip?
  private var tunnelLeft = 0
  /// Writing told that the connection was reset; reading will not tell it again.
  private var sawReset = false
  /// It stops reading for a while.
  private var pause = 0

  init(
    world: World, stream: Stream, sender: Sender, announced: Endpoint?, mayComeBare: Bool, pipelines: Bool,
    preamble: [UInt8]
  ) {
    self.pipelines = pipelines
    super.init(world: world, stream: stream, sender: sender, announced: announced, mayComeBare: mayComeBare)
    outgoing.append(preamble)
    reader = MessageReader { [unowned self] head in
      MessageReader.response(head, method: nextToAnswer < requests.count ? requests[nextToAnswer].method : "GET")
    }
  }

  /// In a tunnel that speaks WebSocket: both ends of it.
  private var sockets: (own: WebSocketEnd, far: WebSocketEnd)? {
    guard let attempt, reader.isTunnel, let own = attempt.request.socket, let far = attempt.socket else { return nil }
    return (own, far)
  }

  /// It was told to close before a byte of a tunnel that is no WebSocket had come: until then it could have been one.
  private var toldFirst: WebSocketEnd?

  /// The body of the request whose response comes next waits to be asked for.
  private var isWithholding: Bool { !withheld.isEmpty && nextToAnswer == nextToSend - 1 }

  override var hasAll: Bool { nextToAnswer >= requests.count && tunnelLeft == 0 }

  // MARK: Acting

  /// Does one thing that a client may do now.
  override func act() {
    guard !isOver, !isSilent else { return }
    if world.hasFaults, fault() { return }
    if pause > 0, world.hasFaults { pause -= 1 } else { read() }
    guard !isOver else { return }
    queueNext()
    write()
  }

  private func fault() -> Bool {
    switch world.random.below(60 * world.calm) {
    case 0:
      world.trace { "client \(stream.local) resets" }
      leave(reset: true)
      return true
    case 1:
      world.trace { "client \(stream.local) closes" }
      leave(reset: false)
      return true
    case 2:
      world.trace { "client \(stream.local) ends its side" }
      stream.finish()
    case 3...6: pause = world.random.below(40)
    case 7:
      world.trace { "client \(stream.local) falls silent" }
      isSilent = true
      return true
    default: break
    }
    return false
  }

  private func queueNext() {
    while nextToSend < requests.count, withheld.isEmpty, tunnelLeft == 0 {
      guard nextToSend == nextToAnswer || pipelines else { return }
      let request = requests[nextToSend]
      // Behind a request that may change the protocol, or the last one, nothing is sent unasked.
      if nextToSend > nextToAnswer {
        let before = requests[nextToSend - 1]
        guard !before.asksWebSocket, !before.expectsContinue, !before.closes else { return }
      }
      let (head, body) = request.wire(&world.random)
      request.begunStep = world.steps
      outgoing.append(head)
      if request.expectsContinue { withheld = body } else { outgoing.append(body) }
      nextToSend += 1
      world.trace { "client \(stream.local) sends \(request.method) /r/\(request.id), a body of \(body.count)" }
    }
  }

  private func write() {
    if outgoing.isEmpty, tunnelLeft > 0, !stream.isFinished {
      let n = min(tunnelLeft, 1 + world.random.below(3_000))
      let bytes = BodyText.bytes(of: requests[nextToAnswer].id, from: requests[nextToAnswer].tunnelSent, count: n)
      outgoing.append(sockets?.own.frames(of: bytes, &world.random) ?? bytes)
      requests[nextToAnswer].tunnelSent += n
      tunnelLeft -= n
      if let own = sockets?.own, tunnelLeft == 0, world.random.oneIn(2) {
        outgoing.append(own.close(1000, &world.random))
      }
    }
    guard !outgoing.isEmpty, !stream.isFinished else { return }
    let n = stream.send(outgoing.front(min(outgoing.count, world.amount())))
    if n > 0 { outgoing.drop(n) }
    if n < 0, n != -Int(Errno.again) { sawReset = true }
    if outgoing.isEmpty, reader.isTunnel, tunnelLeft == 0, !awaitsEnd { stream.finish() }
  }

  /// It was told to close by a process that drains, which ends the connection then.
  private var awaitsEnd = false

  private func answerClose(_ own: WebSocketEnd) {
    guard own.isTold, !own.hasClosed, !own.ignoresClose else { return }
    world.trace { "client \(stream.local) is told to close" }
    tunnelLeft = 0
    outgoing.append(own.close(1001, &world.random))
    awaitsEnd = world.random.oneIn(2)
  }

  // MARK: What comes back

  private func read() {
    var bytes: [UInt8] = []
    let n = stream.receive(world.amount(), peeks: false) { bytes = Array($0) }
    if n > 0 {
      reader.feed(bytes)
      while let event = reader.next() { take(event) }
    } else if n == 0, reader.isTunnel, !stream.isFinished, !sawReset {
      // The server has said all; what is left of ours may still go.
    } else if n != -Int(Errno.again) {
      ended(isReset: n < 0 || sawReset)
    }
  }

  private func ended(isReset: Bool) {
    if !isReset, reader.endsWithStream { finishResponse() }
    if !world.hasFaults, !isOver {
      if let attempt, reader.isTunnel {
        let (came, all) = sockets.map { ($0.own.gotCount, $0.far.wire.count) } ?? (received, attempt.bodyBytes)
        if came != all || isReset { world.violate("a tunnel ended at \(came) of \(all) bytes for the client") }
      } else if waits {
        world.violate("the connection of \(stream.local) ended before /r/\(requests[nextToAnswer].id) was answered")
      }
    }
    world.trace { "client \(stream.local) sees \(isReset ? "a reset" : "the end")" }
    leave(reset: isReset)
  }

  private func take(_ event: MessageReader.Event) {
    switch event {
    case .invalid(let why):
      // A listener that speaks HTTP/2 alone says so in its frames.
      if !world.hasSpokenHTTP2Alone { world.violate("a client got what is not HTTP: \(why)") }
    case .head(let head): take(head)
    case .data(let bytes):
      guard let attempt else { return }
      if let (own, far) = sockets {
        world.noteTold(own.take(bytes, from: far), own, "client \(stream.local)")
        answerClose(own)
        return
      }
      if reader.isTunnel, toldFirst != nil || received == 0 && bytes.first == 0x88 {
        let end = toldFirst ?? WebSocketEnd(masks: true, ignoresClose: true)
        toldFirst = end
        world.noteTold(end.take(bytes, from: .silent), end, "client \(stream.local)")
        return
      }
      let bytes = unpack(Array(bytes), unpacker, attempt.request)
      let wanted = BodyText.bytes(of: attempt.number, from: received, count: bytes.count)
      if wanted != bytes {
        world.violate(
          "the response to /r/\(attempt.request.id) has other bytes at \(received) than its server sent: "
            + "\(String(decoding: bytes, as: UTF8.self).prefix(100).debugDescription)")
      }
      received += bytes.count
    case .end:
      guard let head, head.status >= 200 else { return }
      finishResponse()
    }
  }

  private func take(_ head: Head) {
    self.head = head
    guard nextToAnswer < requests.count else {
      world.violate("a client got a response to nothing: \(head.startLine)")
      return
    }
    let request = requests[nextToAnswer]
    if nextToAnswer >= nextToSend { world.violate("/r/\(request.id) was answered before it was sent") }
    if head.status == 100, isWithholding {
      outgoing.append(withheld)
      withheld = []
    }
    guard head.status >= 200 || head.status == 101 else { return }
    world.trace { "client \(stream.local) gets \(head.startLine) for /r/\(request.id) \(head.values("x-sim"))" }
    request.isAnswered = true
    // What follows could be the body or the next request (RFC 9110 section 10.1.1).
    if isWithholding, head.status != 101, head.values("connection") != ["close"] {
      world.violate("/r/\(request.id) was not asked for its body, and its connection goes on")
    }
    received = 0
    attempt = nil
    unpacker = nil
    guard let mark = head.values("x-sim").first else {
      noteRefused(request, head)
      return
    }
    guard let found = request.attempts.first(where: { "\(request.id).\($0.number)" == mark }) else {
      world.violate("/r/\(request.id) was answered with the response to \(mark)")
      return
    }
    if found.saysStarting, !world.hasFaults { world.violate("a client was told that a validator is starting") }
    attempt = found
    unpacker = unpacker(of: head, request, found)
    if head.status == 101 {
      if !request.asksWebSocket { world.violate("/r/\(request.id) became a tunnel unasked") }
      tunnelLeft = world.hasFaults ? world.random.below(20_000) : world.random.below(5_000)
      // It has nothing to say, and so ends its side at once.
      if tunnelLeft == 0 {
        if let own = sockets?.own { outgoing.append(own.close(1000, &world.random)) } else { stream.finish() }
      }
    }
  }

  private func finishResponse() {
    let request = requests[nextToAnswer]
    if let attempt {
      if !attempt.isResponseWhole {
        world.violate("the client took a response to /r/\(request.id) for whole that its server had not finished")
      } else if received != attempt.bodyBytes {
        world.violate("the response to /r/\(request.id) has \(received) bytes, not \(attempt.bodyBytes)")
      } else if let unpacker, !unpacker.hasEnded {
        world.violate("the response to /r/\(request.id) lacks gzip's end")
      }
      request.isServed = true
    }
    attempt = nil
    head = nil
    let wasWithholding = isWithholding
    nextToAnswer += 1
    if wasWithholding {
      // Answered without being asked for its body: what the connection would carry next is open.
      withheld = []
      leave(reset: false)
    } else if request.closes || stream.isFinished {
      leave(reset: false)
    } else if nextToAnswer == requests.count, world.random.oneIn(2) {
      leave(reset: false)
    }
  }

  /// Whether a tunnel or a response is still under way.
  private var waits: Bool { !isOver && nextToAnswer < nextToSend }
  override var awaited: Request? { nextToAnswer < requests.count ? requests[nextToAnswer] : nil }
}
