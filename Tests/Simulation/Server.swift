// A simulated server's end of one of the proxy's connections. It checks what it is told of the client, answers by a plan that
// chance makes, and fails in the ways that servers fail.

import TestSupport

/// What a server is told of the client, by the port that it listens on.
enum Told: UInt16, CaseIterable {
  case plain = 80
  case attest = 81
  case bound = 82
  case nothing = 83
}

final class Server {
  unowned let world: World
  let stream: Stream
  let told: Told
  private var reader: MessageReader
  /// The client that the PROXY header on this connection names.
  private var announced: Endpoint?
  private var attempt: Attempt?
  private var outgoing = ByteQueue()
  /// Bytes of the response's body not yet produced.
  private var bodyAt = 0
  private var hasBegun = false
  private var tunnelReceived = 0
  private(set) var isOver = false
  private var isStalled = false
  /// A request was answered over this connection before.
  private var hasServed = false
  private var pause = 0
  /// Where in its response a cut comes.
  private var cutAt = 0

  init(world: World, stream: Stream, told: Told) {
    self.world = world
    self.stream = stream
    self.told = told
    reader = MessageReader(MessageReader.request)
  }

  /// A response to nothing.
  private static let unasked = Array("HTTP/1.1 200 OK\r\nX-Sim: 0.0\r\nContent-Length: 0\r\n\r\n".utf8)

  /// A request has come over it whose response is not whole.
  var hasRequest: Bool { !isOver && attempt.map { !$0.isResponseWhole || $0.status == 101 } ?? false }

  /// In a tunnel that speaks WebSocket: both ends of it.
  private var sockets: (own: WebSocketEnd, far: WebSocketEnd)? {
    guard let attempt, reader.isTunnel, let own = attempt.socket, let far = attempt.request.socket else { return nil }
    return (own, far)
  }

  /// It was told to close before a byte of a tunnel that is no WebSocket had come: until then it could have been one.
  private var toldFirst: WebSocketEnd?

  var isIdle: Bool { attempt == nil && reader.isBetween && outgoing.isEmpty }

  // MARK: Acting

  func act() {
    guard !isOver else { return }
    if world.hasFaults {
      switch world.random.below(150 * world.calm) {
      case 0:
        leave(reset: true)
        return
      case 1:
        leave(reset: false)
        return
      case 2...6: pause = world.random.below(40)
      case 7: if isIdle, hasServed { sayUnasked(1 + world.random.below(40)) }
      default: break
      }
    }
    if pause > 0, world.hasFaults {
      pause -= 1
      return
    }
    read()
    guard !isOver else { return }
    answer()
    write()
  }

  func leave(reset: Bool) {
    // An orderly end would be the end of such a response.
    let ends = hasBegun && attempt.map { $0.framing == .untilClose && $0.status != 101 && !$0.isResponseWhole } ?? false
    let reset = reset || ends
    world.trace { "server \(stream.remote) \(reset ? "resets" : "closes") its connection" }
    isOver = true
    stream.close(reset: reset)
  }

  // MARK: Requests

  private func read() {
    var bytes: [UInt8] = []
    let n = stream.receive(world.amount(), peeks: false) { bytes = Array($0) }
    if n > 0 {
      reader.feed(bytes)
      if told == .bound, announced == nil, !takePreamble() { return }
      while !isOver, let event = reader.next() { take(event) }
    } else if n != -Int(Errno.again) {
      if reader.isTunnel, n == 0, !outgoing.isEmpty || bodyAt < (attempt?.length ?? 0) { return }
      if !world.hasFaults, reader.isTunnel, let attempt {
        let (came, all) =
          sockets.map { ($0.own.gotCount, $0.far.wire.count) } ?? (tunnelReceived, attempt.request.client.tunnelSent)
        if n < 0 || came != all { world.violate("a tunnel ended at \(came) of \(all) bytes for the server") }
      }
      leave(reset: n < 0)
    }
  }

  /// The PROXY v2 header in front (docs/IDENTITY.md section 3). False while it is not whole.
  private func takePreamble() -> Bool {
    guard let fixed = reader.peek(16).map(Array.init) else { return false }
    guard fixed[..<12] == [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a], fixed[12] == 0x21,
      fixed[13] == 0x11
    else {
      world.violate("a connection that speaks for one client has no PROXY header in front")
      return false
    }
    let length = 16 + Int(fixed[14]) << 8 + Int(fixed[15])
    guard let header = reader.peek(length).map(Array.init) else { return false }
    reader.skip(length)
    announced = Endpoint(
      address: header[16..<20].reduce(0) { $0 << 8 | UInt32($1) },
      port: header[24..<26].reduce(0) { $0 << 8 | UInt16($1) })
    return true
  }

  private func take(_ event: MessageReader.Event) {
    switch event {
    case .invalid(let why):
      // A proxy that gives a request up half way leaves its server with a part, but never with nonsense.
      world.violate("a server got what is not HTTP: \(why)")
    case .head(let head): take(head)
    case .data(let bytes):
      guard let attempt else { return }
      if let (own, far) = sockets {
        world.noteTold(own.take(bytes, from: far), own, "server \(stream.remote)")
        if own.isTold, !own.hasClosed, !own.ignoresClose, !isOver {
          bodyAt = attempt.length
          outgoing.append(own.close(1001, &world.random))
        }
        return
      }
      if reader.isTunnel, toldFirst != nil || tunnelReceived == 0 && bytes.first == 0x88 {
        let end = toldFirst ?? WebSocketEnd(masks: false, ignoresClose: true)
        toldFirst = end
        world.noteTold(end.take(bytes, from: .silent), end, "server \(stream.remote)")
        return
      }
      let at = reader.isTunnel ? tunnelReceived : attempt.received
      if BodyText.bytes(of: attempt.request.id, from: at, count: bytes.count)[...] != bytes {
        world.violate("the body of /r/\(attempt.request.id) has other bytes at \(at) than its client sent")
      }
      if reader.isTunnel { tunnelReceived += bytes.count } else { attempt.received += bytes.count }
    case .end(let trailers):
      guard let attempt else { return }
      attempt.isBodyWhole = true
      if attempt.received != attempt.request.bodyBytes {
        world.violate(
          "a server took a body of \(attempt.received) bytes for all of /r/\(attempt.request.id), "
            + "which has \(attempt.request.bodyBytes)")
      }
      if attempt.request.flaw == .badChunk { world.violate("a body with a bad chunk came out whole") }
      if trailers.contains(where: { $0.value.contains(Request.spoof) }) {
        world.violate("a client's claim passed in a trailer of /r/\(attempt.request.id)")
      }
      endIfOver()
    }
  }

  private func take(_ head: Head) {
    let path = head.path
    guard path.hasPrefix("/r/"), let id = Int(path.dropFirst(3)), let request = world.requests[id] else {
      world.violate("a server got a request that nobody sent: \(head.startLine)")
      return
    }
    if attempt != nil { world.violate("/r/\(id) was sent while the response before it is not over") }
    world.trace { "server \(stream.remote) gets \(head.startLine)" }
    check(head, request)
    let attempt = Attempt(request)
    checkResend(request)
    request.attempts.append(attempt)
    world.plan(attempt, told, expects: !head.values("expect").isEmpty)
    self.attempt = attempt
    hasBegun = false
    bodyAt = 0
    tunnelReceived = 0
    isStalled = false
    cutAt = world.random.below(attempt.length + 150)
  }

  /// Nothing is sent twice that may not be. What a starting validator refused did nothing.
  private func checkResend(_ request: Request) {
    let used = request.attempts.filter { !$0.saysStarting }
    if !request.isIdempotent, !used.isEmpty {
      world.violate("\(request.method) /r/\(request.id) reached a server twice")
    }
    if used.count > 6 { world.violate("/r/\(request.id) was tried \(used.count + 1) times") }
  }

  // MARK: Identity

  private func check(_ head: Head, _ request: Request) {
    let truth = request.truth.addressText
    func wrong(_ what: String) {
      world.violate("/r/\(request.id), sent by \(request.truth) (\(request.client.sender)): \(what); \(head.fields)")
    }
    if request.flaw != nil, request.flaw != .badChunk { wrong("it has a flaw (\(request.flaw!)) and reached a server") }
    if head.fields.contains(where: { $0.value.contains(Request.spoof) }) {
      wrong("the client's own claim went through")
    }
    if request.client.sender == .switching, request.client.announced == nil, !request.client.mayComeBare {
      wrong("a PROXY header was demanded and none was sent")
    }
    let attests = head.values("client-attest")
    let plain = head.values("x-forwarded-for")
    switch told {
    case .plain:
      if plain != [truth] || head.values("x-real-ip") != [truth] { wrong("X-Forwarded-For says \(plain)") }
      if head.values("forwarded").count != 1 || head.values("forwarded").first?.hasPrefix("for=\(truth);") != true {
        wrong("Forwarded says \(head.values("forwarded"))")
      }
      if !attests.isEmpty { wrong("a signed field went to a server that gets plain ones") }
    case .attest, .bound:
      if attests.count != 1 || !attests[0].hasPrefix("ip=\"\(truth)\", port=\(request.truth.port), ") {
        wrong("client-attest says \(attests)")
      }
      if head.values("signature-input").count != 1 || head.values("signature").count != 1 { wrong("it is not signed") }
      if !plain.isEmpty { wrong("X-Forwarded-For went along with the signed fields") }
      if told == .bound, announced != request.truth { wrong("the PROXY header names \(announced as Any)") }
    case .nothing:
      if !attests.isEmpty || !plain.isEmpty || !head.values("x-real-ip").isEmpty || !head.values("forwarded").isEmpty {
        wrong("identity went where none is to go")
      }
    }
  }

  // MARK: Responses

  private func answer() {
    guard let attempt, !hasBegun else { return }
    guard attempt.isEarly || attempt.isBodyWhole else {
      sendInterims(attempt)
      return
    }
    sendInterims(attempt)
    hasBegun = true
    world.trace { "server \(stream.remote) answers \(attempt)" }
    switch attempt.ending {
    case .garbage: outgoing.append(Array("HTTP/1.1 2x0 \r\nContent-Length: 1\r\n\r\n".utf8))
    default:
      outgoing.append(attempt.head())
      if attempt.framing == .chunked, attempt.length == 0, attempt.request.method != "HEAD" {
        outgoing.append(Array("0\r\n\r\n".utf8))
      }
    }
    if attempt.status == 101 {
      reader.becomeTunnel()
      if attempt.request.socket != nil {
        attempt.socket = WebSocketEnd(masks: false, ignoresClose: world.hasFaults && world.random.oneIn(4))
      }
    }
  }

  private func sendInterims(_ attempt: Attempt) {
    for status in attempt.interims {
      outgoing.append(Array("HTTP/1.1 \(status) Interim\r\nX-Interim: \(attempt.request.id)\r\n\r\n".utf8))
    }
    attempt.interims = []
  }

  private func write() {
    if hasBegun, let attempt, !isStalled, outgoing.isEmpty { produce(attempt) }
    guard !isOver, !outgoing.isEmpty, !stream.isFinished else { return }
    var most = min(outgoing.count, world.amount())
    if let attempt, hasBegun, case .cut(let reset) = attempt.ending {
      guard cutAt > 0 else {
        world.trace { "server \(stream.remote) cuts its response" }
        leave(reset: reset)
        return
      }
      most = min(most, cutAt)
      cutAt -= most
    }
    let n = stream.send(outgoing.front(most))
    if n > 0 { outgoing.drop(n) } else if n < 0, n != -Int(Errno.again) { leave(reset: false) }
    if outgoing.isEmpty, hasBegun, let attempt { finishIfWhole(attempt) }
  }

  private var bodyIsProduced: Bool { attempt.map { bodyAt >= $0.bodyBytes } ?? true }

  private func produce(_ attempt: Attempt) {
    if case .garbage = attempt.ending { return }
    if case .stalled = attempt.ending, world.random.oneIn(4) {
      isStalled = true
      return
    }
    repeat {
      let left = attempt.bodyBytes - bodyAt
      guard left > 0 else { return }
      let most =
        attempt.hasTinyChunks ? 3 : attempt.framing == .chunked && world.random.oneIn(2) ? 50 : nil
      let n = min(left, most.map { 1 + world.random.below($0) } ?? 16_000)
      let bytes = BodyText.bytes(of: attempt.number, from: bodyAt, count: n)
      bodyAt += n
      if attempt.framing == .chunked, attempt.status != 101 {
        outgoing.append(Array("\(String(n, radix: 16))\r\n".utf8))
        outgoing.append(bytes)
        outgoing.append(Array("\r\n".utf8))
        if bodyAt == attempt.bodyBytes { outgoing.append(Array("0\r\nX-Trailer: a\r\n\r\n".utf8)) }
      } else if let own = sockets?.own {
        outgoing.append(own.frames(of: bytes, &world.random))
        if bodyAt == attempt.bodyBytes, world.random.oneIn(2) { outgoing.append(own.close(1000, &world.random)) }
      } else {
        outgoing.append(bytes)
      }
    } while attempt.hasTinyChunks && outgoing.count < 2_000
  }

  private func finishIfWhole(_ attempt: Attempt) {
    guard bodyIsProduced else { return }
    switch attempt.ending {
    case .whole: break
    case .garbage: return
    // All of it may be out before what goes wrong does.
    case .cut, .stalled:
      guard attempt.framing != .untilClose else { return }
    }
    attempt.isResponseWhole = true
    if attempt.status == 101 {
      stream.finish()
      return
    }
    guard attempt.framing != .untilClose, !attempt.closesBehind else {
      // Like a careful server, it reads on: what is closed unread is reset.
      stream.finish()
      if attempt.isBodyWhole || world.hasFaults { leave(reset: false) }
      return
    }
    endIfOver()
  }

  /// The next request may come once both messages are whole.
  private func endIfOver() {
    guard let attempt, attempt.isBodyWhole, attempt.isResponseWhole, attempt.status != 101, !stream.isFinished else {
      return
    }
    self.attempt = nil
    hasBegun = false
    hasServed = true
    if attempt.addsBytes { sayUnasked(Server.unasked.count) }
  }

  /// Says what nobody asked for, and has it arrive at once, with what is left of the response before it: the proxy has no
  /// request on the way to us, so whatever it sends afterwards over this connection would be answered by these bytes.
  private func sayUnasked(_ count: Int) {
    // Nor among what was read with the end of the request before it.
    guard stream.unread == 0, reader.isBetween, stream.peer?.unacknowledged == 0 else { return }
    world.trace { "server \(stream.remote) says what nobody asked for" }
    _ = stream.send(Server.unasked.prefix(count))
    stream.deliver(.max)
    // What is still on its way could meet the next request.
    if stream.unacknowledged > 0 { leave(reset: true) }
  }

  /// Once nothing more is to go wrong: what stalled goes on.
  func recover() {
    pause = 0
    guard let attempt else { return }
    switch attempt.ending {
    case .whole: break
    case .stalled, .cut, .garbage: leave(reset: false)
    }
  }
}
