// A simulated server's end of one of the proxy's connections, in HTTP/1.1: it answers by a plan that chance makes, and fails in the
// ways that servers fail.

import TestSupport

final class ServerHTTP1: Server {
  private var reader: MessageReader
  private var attempt: Attempt?
  private var outgoing = ByteQueue()
  /// Bytes of the response's body not yet produced.
  private var bodyAt = 0
  private var hasBegun = false
  private var tunnelReceived = 0
  private var isStalled = false
  /// A request was answered over this connection before.
  private var hasServed = false
  /// Where in its response a cut comes.
  private var cutAt = 0

  override init(world: World, stream: Stream, told: Told) {
    reader = MessageReader(MessageReader.request)
    super.init(world: world, stream: stream, told: told)
  }

  /// A response to nothing.
  private static let unasked = Array("HTTP/1.1 200 OK\r\nX-Sim: 0.0\r\nContent-Length: 0\r\n\r\n".utf8)

  override var openRequests: Int { !isOver && attempt.map { !$0.isResponseWhole || $0.status == 101 } ?? false ? 1 : 0 }

  /// In a tunnel that speaks WebSocket: both ends of it.
  private var sockets: (own: WebSocketEnd, far: WebSocketEnd)? {
    guard let attempt, reader.isTunnel, let own = attempt.socket, let far = attempt.request.socket else { return nil }
    return (own, far)
  }

  /// It was told to close before a byte of a tunnel that is no WebSocket had come: until then it could have been one.
  private var toldFirst: WebSocketEnd?

  private var isIdle: Bool { attempt == nil && reader.isBetween && outgoing.isEmpty }

  // MARK: Acting

  override func act() {
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

  override func leave(reset: Bool) {
    // An orderly end would be the end of such a response.
    let ends = hasBegun && attempt.map { $0.framing == .untilClose && $0.status != 101 && !$0.isResponseWhole } ?? false
    super.leave(reset: reset || ends)
  }

  // MARK: Requests

  private func read() {
    var bytes: [UInt8] = []
    let n = stream.receive(world.amount(), peeks: false) { bytes = Array($0) }
    if n > 0 {
      reader.feed(bytes)
      if told == .bound, announced == nil {
        guard let count = takePreamble({ reader.peek($0) }) else { return }
        reader.skip(count)
      }
      while !isOver, let event = reader.next() { take(event) }
    } else if n != -Int(Errno.again) {
      if reader.isTunnel, n == 0, !outgoing.isEmpty || bodyAt < (attempt?.length ?? 0) { return }
      if !world.hasFaults, reader.isTunnel, let attempt {
        let (came, all) =
          sockets.map { ($0.own.gotCount, $0.far.wire.count) } ?? (tunnelReceived, attempt.request.tunnelSent)
        if n < 0 || came != all { world.violate("a tunnel ended at \(came) of \(all) bytes for the server") }
      }
      leave(reset: n < 0)
    }
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
      checkBody(attempt, at: at, bytes)
      if reader.isTunnel { tunnelReceived += bytes.count } else { attempt.received += bytes.count }
    case .end(let trailers):
      guard let attempt else { return }
      attempt.isBodyWhole = true
      checkWhole(attempt, trailers)
      endIfOver()
    }
  }

  private func take(_ head: Head) {
    if attempt != nil { world.violate("\(head.path) was sent while the response before it is not over") }
    guard let attempt = begin(head) else { return }
    self.attempt = attempt
    hasBegun = false
    bodyAt = 0
    tunnelReceived = 0
    isStalled = false
    cutAt = world.random.below(attempt.length + 150)
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
        if bodyAt == attempt.bodyBytes {
          outgoing.append(Array("0\r\nX-Trailer: \(attempt.takeTrailer())\r\n\r\n".utf8))
        }
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
    if attempt.hasSentTooMuch { return }
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
    if attempt.addsBytes { sayUnasked(ServerHTTP1.unasked.count) }
  }

  /// Says what nobody asked for, and has it arrive at once, with what is left of the response before it: the proxy has no
  /// request on the way to us, so whatever it sends afterwards over this connection would be answered by these bytes.
  private func sayUnasked(_ count: Int) {
    // Nor among what was read with the end of the request before it.
    guard stream.unread == 0, reader.isBetween, stream.peer?.unacknowledged == 0 else { return }
    world.trace { "server \(stream.remote) says what nobody asked for" }
    _ = stream.send(ServerHTTP1.unasked.prefix(count))
    stream.deliver(.max)
    // What is still on its way could meet the next request.
    if stream.unacknowledged > 0 { leave(reset: true) }
  }

  /// Once nothing more is to go wrong: what stalled goes on.
  override func recover() {
    pause = 0
    guard let attempt else { return }
    switch attempt.ending {
    case .whole: break
    case .stalled, .cut, .garbage: leave(reset: false)
    }
  }
}
