// A simulated client that speaks HTTP/2: several requests at once, streams that it takes back at any point, windows that it gives
// slowly or not at all, and whatever else it may say between.

import TestSupport

final class ClientHTTP2: Client {
  /// A request on its stream.
  private final class Call {
    let request: Request
    let id: Int32
    let body: HTTP2End.Body?
    let trailers: HTTP2End.Fields
    /// Bytes of the body that were not handed over.
    var left: ArraySlice<UInt8>
    /// The body waits to be asked for.
    var isWithheld: Bool
    var head: Head?
    var attempt: Attempt?
    var received = 0
    var unpacker: Gunzip?
    /// The response is over.
    var isWhole = false
    /// We have taken it back.
    var isReset = false

    init(_ request: Request, _ id: Int32, _ body: HTTP2End.Body?, _ bytes: [UInt8], _ trailers: HTTP2End.Fields) {
      self.request = request
      self.id = id
      self.body = body
      self.trailers = trailers
      left = bytes[...]
      isWithheld = request.expectsContinue
    }
  }

  private let end: HTTP2End
  private var calls: [Call] = []
  private var nextToSend = 0
  /// So many requests at a time.
  private let most: Int
  private var outgoing = ByteQueue()
  private var sawReset = false
  private var pause = 0
  /// It gives no windows for a while; negative: never again.
  private var holdsWindows = 0
  /// It begins no more requests: it has said so, or was told so.
  private var isGoing = false
  /// One that goes on although it was told to begin no more does so then: at once, or about when it is told which stream was the last.
  private var goesOnNanoseconds: UInt64 = 0

  init(world: World, stream: Stream, sender: Sender, announced: Endpoint?, mayComeBare: Bool, preamble: [UInt8]) {
    var settings: [(HTTP2End.Setting, Int)] = [(.push, 0)]
    if world.isCrowded || !world.random.oneIn(3) {
      settings.append((.window, world.isCrowded ? 1 << 20 : world.window()))
    }
    if world.random.oneIn(4) { settings.append((.tableBytes, [0, 100, 60_000][world.random.below(3)])) }
    end = HTTP2End(isServer: false, random: Seeded(world.random.next()), settings: settings)
    if world.isCrowded { end.growConnectionWindow(to: 1 << 24) }
    end.frameBytesMax = [1, 100, 16_384][world.random.below(3)]
    end.pads = world.random.oneIn(4)
    most = 1 + world.random.below(5)
    super.init(world: world, stream: stream, sender: sender, announced: announced, mayComeBare: mayComeBare)
    outgoing.append(preamble)
  }

  override var hasAll: Bool { calls.isEmpty && (isGoing || again.isEmpty && nextToSend >= requests.count) }
  override var awaited: Request? { calls.first?.request ?? (nextToSend < requests.count ? requests[nextToSend] : nil) }

  // MARK: Acting

  override func act() {
    guard !isOver, !isSilent else { return }
    if world.hasFaults, fault() { return }
    if pause > 0, world.hasFaults { pause -= 1 } else { read() }
    guard !isOver else { return }
    begin()
    for call in calls { sendBody(call) }
    giveWindows()
    write()
    if hasAll, outgoing.isEmpty, !world.clientsStay, isGoing || world.random.oneIn(4), !world.random.oneIn(3) {
      leave(reset: false)
    }
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
    case 3: pause = world.random.below(40)
    case 4:
      world.trace { "client \(stream.local) falls silent" }
      isSilent = true
      return true
    case 5...9: resetSome()
    case 10: holdsWindows = world.random.oneIn(4) ? -1 : world.random.below(60)
    case 11:
      world.trace { "client \(stream.local) says that it goes" }
      end.goAway(last: 0)
      isGoing = true
    case 12: end.announce([(.window, world.window())])
    default: break
    }
    return false
  }

  /// Takes a request back, at whatever point it is.
  private func resetSome() {
    guard let call = calls.randomElement(using: &world.random), !call.isReset else { return }
    world.trace { "client \(stream.local) resets /r/\(call.request.id)" }
    call.isReset = true
    end.reset(call.id, [HTTP2End.Code.cancel, HTTP2End.Code.none, HTTP2End.Code.internalError][world.random.below(3)])
    world.note(.clientReset)
  }

  /// Requests that were refused before it could know how many streams it may have.
  private var again: [Request] = []
  /// What it still says without need.
  private var pingsLeft = 20

  private func begin() {
    while !again.isEmpty || nextToSend < requests.count, calls.count < most, !isGoing, !stream.isFinished,
      kernel.monotonicNanoseconds >= goesOnNanoseconds, !world.random.oneIn(3)
    {
      let isAgain = !again.isEmpty
      let request = isAgain ? again.removeFirst() : requests[nextToSend]
      let (fields, trailers) = request.fields(&world.random)
      request.begunStep = world.steps
      // A request without a body ends with its head; or with a frame of its own.
      let body = request.body.isSent || request.bodyBytes > 0 || world.random.oneIn(4) ? HTTP2End.Body() : nil
      guard let id = end.request(fields, keepsCase: request.flaw == .upperCase, body: body) else {
        isGoing = true
        return
      }
      let bytes = BodyText.bytes(of: request.id, from: 0, count: request.bodyBytes)
      calls.append(Call(request, id, body, bytes, trailers))
      if !isAgain { nextToSend += 1 }
      // The last one, whatever it would have asked for.
      if request.closes, again.isEmpty { nextToSend = requests.count }
      world.note(.clientStream)
      world.trace {
        "client \(stream.local) sends \(request.method) /r/\(request.id) on stream \(id), a body of \(request.bodyBytes)"
          + "\(request.flaw.map { ", \($0)" } ?? "")"
      }
    }
    guard pingsLeft > 0 else { return }
    switch world.random.below(40) {
    case 0:
      pingsLeft -= 1
      end.ping()
    case 1:
      pingsLeft -= 1
      if let call = calls.first { end.update(priority: "u=\(world.random.below(8)), i", of: call.id) }
    default: break
    }
  }

  private func sendBody(_ call: Call) {
    guard let body = call.body, !call.isWithheld, !call.isReset, body.count == 0, !body.isEnded else { return }
    let n = min(call.left.count, max(1, world.amount()))
    end.append(call.left.prefix(n), to: body, of: call.id)
    call.left = call.left.dropFirst(n)
    if call.left.isEmpty { end.end(body, of: call.id, trailers: call.trailers) }
  }

  private func giveWindows() {
    if holdsWindows != 0, world.hasFaults {
      if holdsWindows > 0 { holdsWindows -= 1 }
      return
    }
    end.giveBack(world.random.oneIn(2) ? .max : max(world.amount(), world.hasFaults ? 1 : 300))
  }

  private func write() {
    guard !stream.isFinished else { return }
    if outgoing.isEmpty {
      outgoing.append(end.fetch(20_000))
      // Between two frames: data on a stream that is over, as of one that did not know.
      if world.hasFaults, outgoing.isEmpty, let id = lastOver, world.random.oneIn(20) {
        lastOver = nil
        outgoing.append([0, 0, 3, 0, 0, 0, 0, UInt8(id >> 8 & 255), UInt8(id & 255), 1, 2, 3])
        world.note(.lateData)
      }
    }
    guard !outgoing.isEmpty else { return }
    let n = stream.send(outgoing.front(min(outgoing.count, world.amount())))
    if n > 0 { outgoing.drop(n) }
    if n < 0, n != -Int(Errno.again) { sawReset = true }
  }

  /// A stream that was reset before all of its request was sent.
  private var lastOver: Int32?

  // MARK: What comes back

  private func read() {
    var bytes: [UInt8] = []
    let n = stream.receive(world.amount(), peeks: false) { bytes = Array($0) }
    if n > 0 {
      end.receive(bytes[...])
      for event in end.takeEvents() where !isOver { take(event) }
    } else if n != -Int(Errno.again) {
      ended(isReset: n < 0 || sawReset)
    }
  }

  private func ended(isReset: Bool) {
    if !world.hasFaults, let call = calls.first {
      world.violate("the connection of \(stream.local) ended before /r/\(call.request.id) was answered")
    }
    world.trace { "client \(stream.local) sees \(isReset ? "a reset" : "the end")" }
    leave(reset: isReset)
  }

  private func take(_ event: HTTP2End.Event) {
    switch event {
    case .invalid(let why):
      // One that speaks HTTP/1.1 alone answers what it takes for nonsense.
      if world.hasSpokenHTTP1Alone { return leave(reset: true) }
      world.violate("a client got what is not HTTP/2: \(why)")
    case .fields(let id, let fields, let ends): if let call = find(id) { take(call, fields, ends: ends) }
    case .data(let id, let bytes):
      guard let call = find(id), let attempt = call.attempt else { return }
      let bytes = unpack(bytes, call.unpacker, call.request)
      let wanted = BodyText.bytes(of: attempt.number, from: call.received, count: bytes.count)
      if wanted != bytes {
        world.violate(
          "the response to /r/\(call.request.id) has other bytes at \(call.received) than its server sent: "
            + "\(String(decoding: bytes, as: UTF8.self).prefix(100).debugDescription)")
      }
      call.received += bytes.count
    case .ended(let id):
      guard let call = find(id), call.head.map({ $0.status >= 200 }) ?? false else { return }
      finishResponse(call)
    case .closed(let id, let code): closed(id, code)
    case .notSent(let id):
      guard let call = find(id) else { return }
      call.request.isRefused = true
      calls.removeAll { $0 === call }
    case .goingAway(let last, let code):
      world.trace { "client \(stream.local) is told that the connection ends behind stream \(last), \(code)" }
      if last == .max, world.hasFaults, world.random.oneIn(2) {
        goesOnNanoseconds = kernel.monotonicNanoseconds + UInt64(world.random.oneIn(2) ? 0 : 990) * 1_000_000
        for _ in 0...world.random.below(6) { world.addRequest(to: self) }
      } else {
        isGoing = true
      }
      world.note(.clientToldToGo)
      for call in calls where call.id > last { call.request.isRefused = true }
      if code != 0, !world.hasFaults { world.violate("the connection of \(stream.local) was ended with \(code)") }
    }
  }

  private func find(_ id: Int32) -> Call? { calls.first { $0.id == id } }

  private func take(_ call: Call, _ fields: HTTP2End.Fields, ends: Bool) {
    guard call.head.map({ $0.status < 200 }) ?? true else { return }
    let status = fields.first { $0.name == ":status" }?.value ?? ""
    let head = Head(startLine: "HTTP/2 \(status)", fields: fields)
    call.head = head
    let request = call.request
    if head.status == 100 { call.isWithheld = false }
    guard head.status >= 200 else { return }
    world.trace { "client \(stream.local) gets \(status) for /r/\(request.id) \(head.values("x-sim"))" }
    request.isAnswered = true
    if call.isWithheld {
      // It was not asked for its body: what it sends now nobody waits for.
      if world.random.oneIn(2) { call.isWithheld = false } else { end.reset(call.id, HTTP2End.Code.cancel) }
    }
    guard let mark = head.values("x-sim").first else {
      noteRefused(request, head)
      return
    }
    guard let found = request.attempts.first(where: { "\(request.id).\($0.number)" == mark }) else {
      world.violate("/r/\(request.id) was answered with the response to \(mark)")
      return
    }
    if found.saysStarting, !world.hasFaults { world.violate("a client was told that a validator is starting") }
    if case .garbage = found.ending { world.violate("what is no response to /r/\(request.id) was passed on") }
    call.attempt = found
    call.unpacker = unpacker(of: head, request, found)
  }

  private func finishResponse(_ call: Call) {
    call.isWhole = true
    guard let attempt = call.attempt else { return }
    if !attempt.isResponseWhole {
      world.violate("the client took a response to /r/\(call.request.id) for whole that its server had not finished")
    } else if call.received != attempt.bodyBytes {
      world.violate("the response to /r/\(call.request.id) has \(call.received) bytes, not \(attempt.bodyBytes)")
    } else if let unpacker = call.unpacker, !unpacker.hasEnded {
      world.violate("the response to /r/\(call.request.id) lacks gzip's end")
    }
    call.request.isServed = true
  }

  private func closed(_ id: Int32, _ code: UInt32) {
    guard let call = find(id) else { return }
    calls.removeAll { $0 === call }
    if code == HTTP2End.Code.refused, !call.isReset {
      world.note(.clientRefused)
      guard world.hasFaults || !call.request.attempts.isEmpty else { return again.append(call.request) }
      call.request.isRefused = true
    }
    if call.body.map({ !$0.isEnded }) ?? false { lastOver = id }
    guard !call.isWhole else { return }
    world.trace { "client \(stream.local) sees /r/\(call.request.id) cut, \(code)" }
    if !world.hasFaults { world.violate("/r/\(call.request.id) was cut (\(code)) without a fault") }
  }
}
