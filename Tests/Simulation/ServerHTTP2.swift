// A simulated server's end of one of the proxy's connections, in HTTP/2: several requests at once, each answered by its own plan;
// streams that it refuses or resets, windows that it gives slowly or not at all, and connections that it ends behind a stream.

import TestSupport

final class ServerHTTP2: Server {
  /// A request on its stream.
  private final class Call {
    let attempt: Attempt
    let id: Int32
    let expects: Bool
    var body: HTTP2End.Body?
    var hasBegun = false
    /// Bytes of the response's body that were handed over.
    var bodyAt = 0
    var isStalled = false
    var isReset = false
    var trailers: HTTP2End.Fields = []
    /// Where in its response a cut comes.
    var cutAt: Int

    init(_ attempt: Attempt, _ id: Int32, expects: Bool, cutAt: Int) {
      self.attempt = attempt
      self.id = id
      self.expects = expects
      self.cutAt = cutAt
    }
  }

  private let end: HTTP2End
  private var calls: [Call] = []
  private var outgoing = ByteQueue()
  /// What came before the PROXY header was whole.
  private var early: [UInt8] = []
  private var holdsWindows = 0
  private var isGoing = false
  /// It has sent what is no HTTP/2: nothing that it says counts any more.
  private var isBroken = false
  /// The last stream with which it does anything.
  private var lastTaken = Int32.max

  override init(world: World, stream: Stream, told: Told) {
    var settings: [(HTTP2End.Setting, Int)] = []
    if world.random.oneIn(3) { settings.append((.streams, 1 + world.random.below(3))) }
    if !world.random.oneIn(3) { settings.append((.window, world.window())) }
    if world.random.oneIn(4) { settings.append((.tableBytes, [0, 100, 60_000][world.random.below(3)])) }
    end = HTTP2End(isServer: true, random: Seeded(world.random.next()), settings: settings)
    end.frameBytesMax = [1, 100, 16_384][world.random.below(3)]
    end.pads = world.random.oneIn(4)
    super.init(world: world, stream: stream, told: told)
  }

  override var openRequests: Int { isOver || isBroken ? 0 : calls.count { !$0.hasBegun } }

  // MARK: Acting

  override func act() {
    guard !isOver else { return }
    if world.hasFaults, fault() { return }
    guard !isBroken else { return actBroken() }
    if pause > 0, world.hasFaults {
      pause -= 1
      return
    }
    read()
    guard !isOver else { return }
    for call in calls.shuffled(using: &world.random) where !isOver { answer(call) }
    giveWindows()
    guard !isOver else { return }
    write()
  }

  private func fault() -> Bool {
    guard !isBroken else { return false }
    switch world.random.below(150 * world.calm) {
    case 0:
      leave(reset: true)
      return true
    case 1:
      leave(reset: false)
      return true
    case 2...6: pause = world.random.below(40)
    case 7: holdsWindows = world.random.oneIn(4) ? -1 : world.random.below(60)
    case 8: end.announce([(.window, world.window())])
    case 9: end.announce([(.streams, 1 + world.random.below(3))])
    case 10: goAway()
    case 11: end.ping()
    case 12: breakConnection()
    default: break
    }
    return false
  }

  /// DATA of no stream, behind what was said before it.
  private func breakConnection() {
    world.trace { "server \(stream.remote) breaks its connection" }
    world.note(.serverBreaks)
    isBroken = true
    outgoing.append([0, 0, 1, 0, 0, 0, 0, 0, 0, 0x61])
  }

  private func actBroken() {
    let n = stream.receive(world.amount(), peeks: false) { _ in }
    if n == 0 || n < 0 && n != -Int(Errno.again) { return leave(reset: n < 0) }
    if !stream.isFinished, !outgoing.isEmpty {
      let n = stream.send(outgoing.front(min(outgoing.count, world.amount())))
      if n > 0 { outgoing.drop(n) } else if n < 0, n != -Int(Errno.again) { leave(reset: false) }
    }
  }

  /// Takes no more requests; nothing was done with those behind the last stream that it names.
  private func goAway() {
    guard !isGoing else { return }
    // What was begun is not denied.
    let begun = calls.filter { $0.hasBegun || $0.attempt.isBodyWhole || $0.bodyAt > 0 }.map(\.id).max() ?? 0
    let last = max(begun, world.random.oneIn(2) ? end.lastStream : calls.randomElement(using: &world.random)?.id ?? 0)
    world.trace { "server \(stream.remote) ends its connection behind stream \(last)" }
    world.note(.serverGoes)
    for call in calls where call.id > last {
      call.attempt.isUnprocessed = true
      call.isReset = true
    }
    goAway(last: last)
  }

  private func goAway(last: Int32) {
    isGoing = true
    lastTaken = last
    end.goAway(last: last)
  }

  // MARK: Requests

  private func read() {
    var bytes: [UInt8] = []
    let n = stream.receive(world.amount(), peeks: false) { bytes = Array($0) }
    if n > 0 {
      if told == .bound, announced == nil {
        early += bytes
        guard let count = takePreamble({ early.count >= $0 ? early[..<$0] : nil }) else { return }
        bytes = Array(early.dropFirst(count))
        early = []
      }
      end.receive(bytes[...])
      for event in end.takeEvents() where !isOver { take(event) }
    } else if n != -Int(Errno.again) {
      leave(reset: n < 0)
    }
  }

  private func find(_ id: Int32) -> Call? { calls.first { $0.id == id } }

  private func take(_ event: HTTP2End.Event) {
    switch event {
    case .invalid(let why): world.violate("a server got what is not HTTP/2: \(why)")
    case .fields(let id, let fields, let ends):
      if let call = find(id) {
        if !ends { world.violate("trailers of /r/\(call.attempt.request.id) do not end it") }
        call.trailers = fields
        return
      }
      take(id, fields)
    case .data(let id, let bytes):
      guard let call = find(id) else { return }
      checkBody(call.attempt, at: call.attempt.received, bytes[...])
      call.attempt.received += bytes.count
    case .ended(let id):
      guard let call = find(id) else { return }
      call.attempt.isBodyWhole = true
      checkWhole(call.attempt, call.trailers)
    case .closed(let id, let code):
      guard let call = find(id) else { return }
      calls.removeAll { $0 === call }
      if code != 0, !call.isReset { world.note(.serverSeesReset) }
    case .notSent: break
    case .goingAway(_, let code):
      if code != 0 { world.violate("a server's connection was ended with \(code)") }
    }
  }

  private func take(_ id: Int32, _ fields: HTTP2End.Fields) {
    func value(_ name: String) -> String {
      let all = fields.filter { $0.name == name }
      if all.count != 1 { world.violate("a request has \(all.count) of \(name): \(fields)") }
      return all.first?.value ?? ""
    }
    let head = Head(startLine: "\(value(":method")) \(value(":path")) HTTP/2", fields: fields)
    _ = value(":scheme")
    let host = head.values("host")
    if value(":authority") != "app.example.com" || !host.isEmpty && host != ["app.example.com"] {
      world.violate("a request is for \(fields)")
    }
    guard let attempt = begin(head) else { return }
    if attempt.request.method != head.method { world.violate("/r/\(attempt.request.id) became a \(head.method)") }
    world.note(.serverStream)
    let call = Call(
      attempt, id, expects: !head.values("expect").isEmpty, cutAt: world.random.below(attempt.length + 150))
    calls.append(call)
    if id > lastTaken {
      attempt.isUnprocessed = true
      call.isReset = true
    } else if attempt.isUnprocessed {
      world.trace { "server \(stream.remote) refuses /r/\(attempt.request.id)" }
      world.note(.serverRefuses)
      call.isReset = true
      end.reset(id, HTTP2End.Code.refused)
    }
  }

  // MARK: Responses

  private func answer(_ call: Call) {
    let attempt = call.attempt
    guard !call.isReset else { return }
    for status in attempt.interims {
      end.inform(call.id, [(":status", "\(status)"), ("x-interim", "\(attempt.request.id)")])
    }
    attempt.interims = []
    if !call.hasBegun {
      guard attempt.isEarly || attempt.isBodyWhole else { return }
      begin(call)
    }
    produce(call)
  }

  private func begin(_ call: Call) {
    let attempt = call.attempt
    call.hasBegun = true
    world.trace { "server \(stream.remote) answers \(attempt)" }
    var fields = attempt.fields()
    var keepsCase = false
    if case .garbage = attempt.ending {
      switch world.random.below(4) {
      case 0: fields[0].value = "2x0"
      case 1: fields.removeFirst()
      case 2: fields.append(("connection", "close"))
      default:
        fields.append(("X-Upper", "a"))
        keepsCase = true
      }
    }
    let hasBody = attempt.bodyBytes > 0 || !attempt.endsWithHead
    noteLength(call)
    call.body = hasBody ? HTTP2End.Body() : nil
    end.respond(call.id, fields, keepsCase: keepsCase, body: call.body)
  }

  private func produce(_ call: Call) {
    let attempt = call.attempt
    guard let body = call.body, !call.isStalled, !body.isEnded, body.count == 0 else { return }
    if case .stalled = attempt.ending, world.random.oneIn(4) {
      call.isStalled = true
      return
    }
    if case .cut(let resets) = attempt.ending {
      guard call.cutAt > 0 else { return cut(call, resets) }
    }
    let left = attempt.bodyBytes - call.bodyAt
    var n = min(left, attempt.hasTinyChunks ? 1 + world.random.below(3) : 16_000)
    if case .cut = attempt.ending {
      n = min(n, call.cutAt)
      call.cutAt -= max(n, 1)
    }
    end.append(BodyText.bytes(of: attempt.number, from: call.bodyAt, count: n), to: body, of: call.id)
    call.bodyAt += n
    noteLength(call)
    guard call.bodyAt == attempt.bodyBytes else { return }
    if case .cut = attempt.ending, call.cutAt > 0 || left > 0 { return }
    if case .stalled = attempt.ending { return }
    let hasTrailer = attempt.framing == .chunked && attempt.request.method != "HEAD"
    end.end(body, of: call.id, trailers: hasTrailer ? [("x-trailer", attempt.takeTrailer())] : [])
  }

  /// Where the head says how long the response is, it is whole with its last byte, whatever becomes of the stream.
  private func noteLength(_ call: Call) {
    let attempt = call.attempt
    guard call.bodyAt == attempt.bodyBytes else { return }
    switch attempt.framing {
    case .length, .none: attempt.isResponseWhole = true
    case .chunked, .untilClose: if attempt.request.method == "HEAD" { attempt.isResponseWhole = true }
    }
  }

  /// Resets the stream in the middle of its response, or ends the connection.
  private func cut(_ call: Call, _ resets: Bool) {
    guard resets || world.random.oneIn(2) else { return leave(reset: world.random.oneIn(2)) }
    let codes = [
      HTTP2End.Code.cancel, HTTP2End.Code.internalError, HTTP2End.Code.none, HTTP2End.Code.refused,
      HTTP2End.Code.protocolError,
    ]
    let code = codes[world.random.below(codes.count)]
    // Without a byte of its response this says that nothing was done.
    if code == HTTP2End.Code.refused, !end.hasSentHead(call.id) { call.attempt.isUnprocessed = true }
    world.trace { "server \(stream.remote) resets /r/\(call.attempt.request.id), \(code)" }
    world.note(.serverReset)
    call.isReset = true
    end.reset(call.id, code)
  }

  private func giveWindows() {
    if holdsWindows != 0, world.hasFaults {
      if holdsWindows > 0 { holdsWindows -= 1 }
      return
    }
    end.giveBack(world.random.oneIn(2) ? .max : world.amount())
  }

  private func write() {
    guard !stream.isFinished else { return }
    if outgoing.isEmpty {
      outgoing.append(end.fetch(20_000))
      let ending = end.takeEndsOut().compactMap { find($0)?.attempt }
      for attempt in ending where !attempt.hasSentTooMuch { attempt.isResponseWhole = true }
      if ending.contains(where: { $0.closesBehind }), !isGoing {
        goAway(last: end.lastStream)
      }
      // A stream that both sides have ended is over with that.
      for event in end.takeEvents() { take(event) }
    }
    guard !outgoing.isEmpty else {
      // What is closed unread is reset, and our last word lost: a fault. Without faults the proxy ends the connection, which it was told.
      if isGoing, calls.isEmpty, world.hasFaults { stream.finish() }
      return
    }
    let n = stream.send(outgoing.front(min(outgoing.count, world.amount())))
    if n > 0 { outgoing.drop(n) } else if n < 0, n != -Int(Errno.again) { leave(reset: false) }
  }

  override func recover() {
    pause = 0
    holdsWindows = 0
    for call in calls where !call.isReset {
      switch call.attempt.ending {
      case .whole: break
      case .stalled, .cut, .garbage:
        call.isReset = true
        end.reset(call.id, HTTP2End.Code.cancel)
      }
    }
  }
}
